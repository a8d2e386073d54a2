#!/usr/bin/env python3
"""Checks cost.py's verdicts: each promise that is broken is said, and none else."""

import pathlib
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True

import cost

KEPT = {"three_headers": 0.7, "hello_weft": 1.2, "hello_boost_fiber": 2.3}


class CostTest(unittest.TestCase):
    def test_compile_times_that_keep_the_promises(self):
        self.assertEqual(cost.broken_promises("g++", KEPT), [])
        self.assertEqual(cost.broken_promises("g++", {k: v for k, v in KEPT.items() if "boost" not in k}), [])

    def test_compile_times_that_do_not(self):
        self.assertIn("as long as with Boost.Fiber", cost.broken_promises("g++", KEPT | {"hello_boost_fiber": 1.1})[0])
        self.assertIn("2.40 times as long", cost.broken_promises("g++", KEPT | {"three_headers": 0.5})[0])
        self.assertIn("does not compile", cost.broken_promises("g++", {"three_headers": 0.7})[0])

    def test_a_source_that_does_not_compile_has_no_time(self):
        with tempfile.TemporaryDirectory() as folder:
            source = pathlib.Path(folder, "x.cpp")
            source.write_text("int main() {}\n")
            self.assertGreater(cost.compile_seconds("g++", source), 0)
            source.write_text("#include <nowhere.hpp>\n")
            self.assertIsNone(cost.compile_seconds("g++", source))

    def test_a_runtime_that_is_not_idle_is_found(self):
        with tempfile.TemporaryDirectory() as folder:
            program = pathlib.Path(folder, "idle")
            program.write_text('#!/bin/sh\necho \'{"processors": 2, "threads": 2, "percent_of_a_core": \'$1\'}\'\n')
            program.chmod(0o755)
            self.assertEqual(cost.idle_table(program, 0.05)[1], [])
            lines, broken = cost.idle_table(program, 0.2)
            self.assertEqual(broken, ["2 idle processors use 0.200% of a core"])
            self.assertIn("| 2 | 2 | 0.200% of a core |", lines)


if __name__ == "__main__":
    unittest.main()
