#!/usr/bin/env python3
"""Checks compare.py with stand-ins for the runtimes' programs: what it computes, and that a bad program is only a row."""

import argparse
import contextlib
import io
import json
import pathlib
import re
import stat
import sys
import tempfile
import textwrap
import unittest
import xml.etree.ElementTree

sys.dont_write_bytecode = True

import bars
import compare
import overview
import peers
import report
from scenarios import SCALES, SCENARIOS

FAKE = """\
    #!/usr/bin/env python3
    import json, os, sys, time
    behaviour, scenario = {behaviour!r}, sys.argv[1]
    if behaviour == "crash": os.abort()
    if behaviour == "hang": time.sleep(60)
    if behaviour == "wrong": sys.exit("wrong result: sum 3")
    if behaviour == "silent": sys.exit()
    line = dict(runtime="x", scenario=scenario, ops=1, ns_per_op=behaviour)
    if scenario.startswith("park"): line["bytes_per_op"] = 10 * behaviour
    print(json.dumps(line))
"""


class CompareTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def peer(self, name, behaviour):
        program = self.folder / f"{name}_program"
        program.write_text(textwrap.dedent(FAKE.format(behaviour=behaviour)))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        everything = frozenset(s.name for s in SCENARIOS)
        return peers.Peer(name, "PROCS", lambda folder: program, program, "1.0", scenarios=everything)

    def table(self, scenario_name, go, weft, runs=2, timeout=20, others=()):
        """The rows, and all three documents, of one scenario."""
        scenario = next(s for s in SCENARIOS if s.name == scenario_name)
        chosen = [self.peer("weft", weft), self.peer("go", go), *others]
        args = argparse.Namespace(runs=runs, procs=2, timeout=timeout, load=0.0)
        progress = compare.Progress(runs * len(compare.peers_of(scenario, chosen)))
        with contextlib.redirect_stderr(io.StringIO()):
            compare.run_scenario(scenario, chosen, args, progress)
        self.assertEqual(progress.done, progress.total)
        rows = report.rows([scenario], progress.results)
        facts = compare.describe(chosen, args)
        names = [peer.name for peer in chosen]
        self.picture = bars.svg(facts, rows, names)
        self.overview = overview.svg(facts, rows, names)
        for picture in (self.picture, self.overview):
            xml.etree.ElementTree.fromstring(picture)  # is well-formed
        return rows, report.markdown(facts, rows, names), json.loads(report.as_json(facts, rows))

    def test_ratio_is_the_others_figure_over_the_subjects(self):
        rows, text, document = self.table("yield", 120, 40)
        self.assertEqual(rows[0].ratio("go"), 3)
        self.assertIn("| 3.00x | 2x met | 6x **missed** |", text)
        self.assertEqual(document["rows"][0]["peers"]["weft"]["samples"], [40, 40])
        self.assertEqual(len(document["rows"][0]["peers"]["weft"]["cpu_ns"]), 2)
        self.assertIn("CPU time of the whole process", text)

    def test_resident_bytes_are_a_row_of_their_own(self):
        rows, text, _ = self.table("park_1m", 800, 300)
        self.assertEqual([row.name for row in rows], ["park_1m", "park_1m bytes"])
        self.assertIn("| ≤ 4,400 B met |", text)
        self.assertAlmostEqual(rows[1].ratio("go"), 8 / 3)

    def test_the_range_has_the_unit_of_the_median(self):
        row = report.Row("x", "", "ns", {"go": [9_119, 10_500, 21_000]}, {"go": []}, None, None)
        self.assertEqual(report.cell(row, "go"), "10.5 µs (9.1–21.0)")

    def test_every_other_turn_is_backwards(self):
        order = self.folder / "order"
        chosen = []
        for name in ("weft", "go", "std"):
            chosen.append(self.peer(name, 40))
            chosen[-1].program.write_text(
                f"#!/bin/sh\necho {name} >> {order}\necho '" + json.dumps({"ops": 1, "ns_per_op": 40}) + "'\n")
        args = argparse.Namespace(runs=3, procs=2, timeout=20)
        with contextlib.redirect_stderr(io.StringIO()):
            compare.run_scenario(SCENARIOS[0], chosen, args, compare.Progress(9))
        self.assertEqual(order.read_text().split(), "weft go std std go weft weft go std".split())

    def test_a_failing_program_is_a_row_that_says_so(self):
        for behaviour, words in [
            ("crash", "crashed (SIGABRT)"),
            ("wrong", "failed (status 1: wrong result: sum 3)"),
            ("silent", "printed no result"),
        ]:
            with self.subTest(behaviour):
                rows, text, document = self.table("yield", 120, behaviour)
                self.assertIsNone(rows[0].ratio("go"))
                self.assertIn(words, text)
                self.assertEqual(len(document["rows"][0]["peers"]["weft"]["failures"]), 2)

    def test_a_program_that_hangs_is_ended_and_not_run_again(self):
        rows, text, _ = self.table("yield", 120, "hang", timeout=1)
        self.assertIn("timed out after 1 s", text)
        self.assertEqual(len(rows[0].failures["weft"]), 1)

    def test_without_the_reference_no_target_is_judged(self):
        rows, text, _ = self.table("yield", "crash", 40)
        self.assertIsNone(rows[0].ratio("go"))
        self.assertIn("| 40.0 ns (40.0–40.0) | **crashed (SIGABRT)** | – | 2x | 6x |", text)

    def test_every_peer_has_a_column_a_ratio_and_a_bar(self):
        rows, text, document = self.table("yield", 120, 40, others=[self.peer("std", 8000), self.peer("other", 20)])
        self.assertIn("| weft | go | :weft | std | :weft | other | :weft | first bar | target |", text)
        self.assertIn("| 120 ns (120–120) | 3.00x | 8,000 ns (8,000–8,000) | 200x | 20.0 ns (20.0–20.0) | 0.50x | 2x met", text)
        self.assertEqual(document["rows"][0]["peers"]["other"]["times_the_subject"], 0.5)
        for words in ("weft against go, std, other", "3.00x  go 120 ns", "200x  std 8,000 ns", "0.50x  other 20.0 ns"):
            self.assertIn(words, self.picture)

    def test_a_peer_without_a_counterpart_is_a_dash_and_not_run(self):
        std = self.peer("std", "crash")
        std.scenarios = frozenset(["mutex_1"])
        rows, text, document = self.table("yield", 120, 40, others=[std])
        self.assertIn("| 3.00x | – | – | 2x met |", text)
        self.assertNotIn("crashed", text + self.picture)
        self.assertNotIn("std", document["rows"][0]["peers"])

    def test_a_peer_that_cannot_be_built_is_a_line_that_says_why(self):
        def build(folder):
            raise peers.Skip("it is not installed (Debian: apt install it)")

        log = io.StringIO()
        with contextlib.redirect_stderr(log):
            built = peers.build([peers.Peer("x", "PROCS", build)], self.folder)
        self.assertEqual(built, [])
        self.assertIn("x is left out: it is not installed (Debian: apt install it)", log.getvalue())

    def test_what_is_missed_and_who_is_ahead_is_said(self):
        rows, text, _ = self.table("yield", 120, 40, others=[self.peer("other", 20)])
        self.assertEqual(report.missed(rows), ["yield: 3.00x of go, the target is 6x"])
        self.assertIn("- yield: other 20.0 ns, weft 40.0 ns", text)
        rows, text, _ = self.table("yield", 400, 40)
        self.assertEqual(report.missed(rows), [])
        self.assertIn("Where another runtime is ahead: none.", text)
        rows, text, _ = self.table("mutex_1", 97, 100)
        self.assertEqual(report.missed(rows), [])  # within noise
        self.assertIn("1x met", text)
        rows, _, _ = self.table("park_1m", 8000, 500)
        self.assertEqual(report.missed(rows), ["park_1m bytes: 5,000 B, at most 4,400 B are allowed"])

    def test_the_overview_has_a_bar_and_a_dot_and_arrows_for_what_is_beyond_the_edge(self):
        self.table("yield", 120, 40, others=[self.peer("near", 60), self.peer("far", 80_000)])
        self.assertIn("40.0 ns, 3.00x", self.overview)
        self.assertEqual(self.overview.count('r="4" fill="#4a76b8" stroke'), 1)
        self.assertEqual(self.overview.count("<path"), 1)

    def test_a_target_without_a_figure_is_missed(self):
        rows, _, _ = self.table("yield", 120, "crash")
        self.assertEqual(report.missed(rows), ["yield: no figure, the target is 6x"])

    def names_in(self, folder, pattern):
        sources = [source for source in (peers.HERE / folder).rglob("*") if source.suffix in (".cpp", ".go", ".rs")]
        return [name for source in sources for name in re.findall(pattern, source.read_text(), re.MULTILINE)]

    def test_the_programs_know_no_scenario_that_the_table_does_not(self):
        names = {s.name for s in [*SCENARIOS, *SCALES]}
        for peer in peers.PEERS:
            listed = self.names_in(peer.name, r'\{ ?(?:name: )?"(\w+)", (?:run: |sized: |bench)')
            self.assertTrue(listed, peer.name)
            self.assertEqual(set(listed) - names, set(), peer.name)

    def test_go_and_weft_have_every_scenario(self):
        weft = self.names_in("weft", r'\{"(\w+)", bench_\w+[},]')
        go = self.names_in("go", r'^\t\{name: "(\w+)", (?:run|sized): bench\w+')
        for scenario in [*SCENARIOS, *SCALES]:
            self.assertEqual(weft.count(scenario.name), 1, scenario.name)
            self.assertEqual(go.count(scenario.name), 1, scenario.name)


if __name__ == "__main__":
    unittest.main()
