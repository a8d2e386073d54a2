#!/usr/bin/env python3
"""Checks gate.py's arithmetic and verdicts, and that a program that fails or is missing is said so."""

import pathlib
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True

import explain
import gate
from gate import Count, Totals


class GateTest(unittest.TestCase):
    def test_start_and_end_do_not_count(self):
        count = gate.per_operation(Totals(1_000_000 + 100 * 50, 7 + 200, 100), Totals(1_000_000 + 300 * 50, 7 + 600, 300))
        self.assertEqual(count, Count(50, 2))

    def test_five_percent_either_way_are_allowed(self):
        wanted = Count(100, 2)
        for instructions in (95.1, 100, 104.9):
            self.assertEqual(gate.judge(Count(instructions, 2), wanted), "")
        self.assertEqual(gate.judge(Count(106, 2), wanted), "6.0% more instructions")
        self.assertEqual(gate.judge(Count(90, 2), wanted), "10.0% fewer instructions")

    def test_one_locked_instruction_more_is_found_among_many(self):
        self.assertEqual(gate.judge(Count(1000, 12), Count(1000, 11)), "1.00 more locked")
        self.assertEqual(gate.judge(Count(1000, 0.04), Count(1000, 0)), "")
        self.assertEqual(gate.judge(Count(1000, 2), Count(1000, 3)), "1.00 fewer locked")

    def test_an_operation_without_a_baseline_is_off(self):
        lines, off = gate.table({"yield": Count(1, 0), "new": Count(1, 0)}, {"yield": Count(1, 0)})
        self.assertEqual(off, 1)
        self.assertIn("not in the baseline", lines[-1])

    def test_a_baseline_is_read_as_it_was_written(self):
        counts = {"yield": Count(187.6, 1.0), "mutex_1": Count(16.0, 2.0)}
        self.assertEqual(gate.read_baseline(gate.baseline_text("gcc 12", counts)), ("gcc 12", counts))

    def test_the_committed_baseline_has_all_operations(self):
        built_by, counts = gate.read_baseline(gate.BASELINE.read_text())
        self.assertEqual(counts.keys(), gate.SIZES.keys())
        self.assertRegex(built_by, r"^gcc 12\.\S+, .*release -O2")

    @unittest.skipIf(gate.shutil.which("valgrind") is None, "valgrind is not installed")
    def test_a_program_that_fails_is_said_so(self):
        with tempfile.TemporaryDirectory() as folder:
            program = pathlib.Path(folder, "program")
            program.write_text("#!/bin/sh\necho wrong result >&2\nexit 1\n")
            program.chmod(0o755)
            with self.assertRaisesRegex(gate.Failure, "yield: this failed .status 1"):
                gate.run_once(program, "yield", 10)


CALLGRIND = """\
events: Ir D1mr D1mw DLmr DLmw Ge
fn=(1) compare::(anonymous namespace)::bench_yield(long)
10 5 1 0 0 0 0
cfn=(2) weft::detail::Worker::pick(bool) const
calls=3 12
10 999 9 9 9 9 9
+1 2
fn=(2)
12 30 0 2 0 1 3
fi=(4)
* 4
"""


class ExplainTest(unittest.TestCase):
    def test_a_function_has_its_own_costs_and_not_those_of_what_it_calls(self):
        costs = explain.costs_by_function(CALLGRIND)
        self.assertEqual(sorted(counter["Ir"] for counter in costs.values()), [7, 34])
        self.assertEqual(costs["weft::detail::Worker::pick(bool) const"]["Ge"], 3)
        self.assertEqual(costs["weft::detail::Worker::pick(bool) const"]["D1m"], 2)

    def test_costs_are_those_of_an_operation(self):
        short = (10, {"f": explain.Counter(Ir=1_000 + 10 * 4)})
        long = (30, {"f": explain.Counter(Ir=1_000 + 30 * 4), "g(int)": explain.Counter(Ir=20)})
        costs = explain.per_operation(short, long)
        self.assertEqual((costs["f"]["Ir"], costs["g"]["Ir"]), (4, 1))
        self.assertIn("| the rest | 1.0 | 0.00 | 0.00 | 0.00 |", explain.table(costs, 2))

    def test_names_are_short(self):
        for name, short in (
            ("compare::(anonymous namespace)::bench_yield(long)", "bench_yield"),
            ("bool weft::chan_recv_value<long>(weft::ChanCore&, void (*)(int)) const", "chan_recv_value"),
            ("weft::detail::park(weft::WaitPoint&)'2", "park"),
        ):
            self.assertEqual(explain.short_name(name), short)


if __name__ == "__main__":
    unittest.main()
