#!/usr/bin/env python3
"""Checks the curves: which points they have, what is drawn, and that a program that fails leaves a gap and no more."""

import argparse
import contextlib
import io
import pathlib
import re
import sys
import tempfile
import unittest
import xml.etree.ElementTree

sys.dont_write_bytecode = True

import scale  # first: it finds the others
import plot
from peers import Peer

FAKE = """\
#!/usr/bin/env python3
import os, sys
name, _, size = sys.argv[1].partition("=")
if size == "10": sys.exit("wrong result")
ns = int(size or 1) * 100 + int(os.environ["PROCS"])
print(f'{{"scenario": "{name}", "ops": 1, "ns_per_op": {ns}}}')
"""


class ScaleTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = pathlib.Path(folder.name)
        program = self.out / "program"
        program.write_text(FAKE)
        program.chmod(0o755)
        self.peers = [Peer(name, "PROCS", None, program, "1.0", frozenset(["pairs_n", "yield"])) for name in ("weft", "go")]

    def measured(self, points):
        log = io.StringIO()
        with contextlib.redirect_stderr(log):
            figures = scale.measure_all(points, self.peers, argparse.Namespace(runs=2, timeout=20))
        self.log = log.getvalue()
        return figures

    def test_the_processors_are_told_to_the_program(self):
        figures = self.measured(scale.points_of_processors(["yield"]))
        self.assertEqual(figures["yield"]["go"], {p: [100 + p, 100 + p] for p in (1, 2, 4, 8)})

    def test_the_size_is_told_to_the_program_and_a_failure_is_a_gap(self):
        figures = self.measured(scale.points_of_size(["pairs_n"], 2, 100))
        self.assertEqual(figures["pairs_n"]["weft"], {1: [102, 102], 10: [], 100: [10_002, 10_002]})
        self.assertIn("failed (status 1: wrong result)", self.log)
        self.assertEqual(scale.panels(figures)[0].curves["weft"], [(1, 102), (100, 10_002)])
        self.assertIn("| pairs_n | 10 | – | – |", scale.table(figures, ["weft", "go"]))

    def test_all_three_documents_are_written(self):
        figures = self.measured(scale.points_of_size(["pairs_n"], 2, 100))
        facts = {"machine": "this one", "method": "2 runs", "weft": "1.0", "go": "1.0"}
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            scale.write(argparse.Namespace(out=self.out), "size", "Costs & curves", facts, figures)
        picture = xml.etree.ElementTree.parse(self.out / "size.svg")
        self.assertEqual(len(re.findall("polyline", (self.out / "size.svg").read_text())), 2)
        self.assertIn("Costs & curves", "".join(picture.getroot().itertext()))
        self.assertIn('"ns_per_op"', (self.out / "size.json").read_text())
        self.assertIn("| pairs_n | 100 | 10.0 µs | 10.0 µs |", (self.out / "size.md").read_text())

    def test_an_axis_frames_what_it_shows(self):
        for low, high in ((0.7, 3), (33, 41), (90, 4_000_000)):
            marks = plot.decades(low, high)
            self.assertLessEqual(marks[0], low)
            self.assertGreaterEqual(marks[-1], high)
        self.assertAlmostEqual(plot.Axis(10, 1000, 0, 100).at(100), 50)


if __name__ == "__main__":
    unittest.main()
