#!/usr/bin/env python3
"""Checks servers.py with stand-ins for servers and load: what it computes, and that a bad server is only a row. Then it runs the
bare servers for a second each, as `./dev bench` does."""

import argparse
import collections
import contextlib
import io
import json
import pathlib
import resource
import shutil
import stat
import subprocess
import sys
import tempfile
import textwrap
import unittest
import xml.etree.ElementTree
from unittest import mock

sys.dont_write_bytecode = True

import contests
import programs
import servers
import servers_report

SERVER = """\
    #!/usr/bin/env python3
    import os, signal, socketserver, sys
    behaviour = {behaviour!r}
    if behaviour == "crash": os.abort()
    if behaviour == "refuse": sys.exit("bind: address in use")
    if behaviour == "deaf": signal.pause()
    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            while data := self.request.recv(10_000):
                if data == b"die": os.abort()
                self.request.sendall(data[::-1] if behaviour == "wrong" else data)
    socketserver.ThreadingTCPServer.allow_reuse_address = True
    socketserver.ThreadingTCPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""

LOAD = """\
    #!/usr/bin/env python3
    import json, socket, sys, time
    behaviour, port = {behaviour!r}, int(sys.argv[1])
    if behaviour == "hang": time.sleep(60)
    if behaviour == "fail": sys.exit("unable to connect")
    if behaviour == "silent": sys.exit()
    if behaviour == "kill":
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(b"die")
        connection.recv(1)
    errors = dict(read=2 if behaviour == "errors" else 0, timeout=0)
    print("a report for people")
    print(json.dumps(dict(requests=0 if behaviour == "nothing" else 500, seconds=2.0, p50_us=250, p99_us=120_000.0, errors=errors)))
"""


class ServersTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def program(self, name, source, behaviour):
        program = self.folder / name
        program.write_text(textwrap.dedent(source.format(behaviour=behaviour)))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return program

    def run_once(self, server, load="good", others=()):
        """The rows, and all three documents, of two rounds with ten connections."""
        peers = [programs.Peer("bare", "PROCS", None, self.program("bare", SERVER, server), "1.0"), *others]
        args = argparse.Namespace(rounds=2, procs=2, seconds=1, load_program=self.program("load", LOAD, load))
        contest = contests.Contest("echo", "echo", peers, contests.probe_echo, None,
                                   lambda program, port, connections, args: [str(program), str(port)])
        progress = programs.Progress(2 * len(peers))
        results = {10: collections.defaultdict(servers.Samples)}
        with contextlib.redirect_stderr(io.StringIO()):
            servers.run_connections(contest, 10, peers, args, progress, results[10])
        self.assertEqual(progress.done, progress.total)
        rows, facts = servers_report.rows(results, peers), programs.describe(peers, "two rounds")
        self.picture = servers_report.svg("echo", facts, rows)
        xml.etree.ElementTree.fromstring(self.picture)  # is well-formed
        return rows, servers_report.markdown("echo", facts, rows), json.loads(servers_report.as_json(facts, rows))

    def test_a_row_has_the_load_s_figures_and_the_server_s_memory(self):
        rows, text, document = self.run_once("good")
        self.assertIn("| 10 | bare | 250 (250–250) | 1.00x | – | 0.25 | 120 | ", text)
        self.assertEqual(rows[0].samples.failures, [])
        self.assertEqual(document["rows"][0]["requests_per_s"], [250, 250])
        for peak in document["rows"][0]["peak_bytes"]:
            self.assertTrue(2e6 < peak < 200e6, peak)  # a Python process
        self.assertIn("250/s, p99 120 ms", self.picture)

    def test_ratios_are_of_medians_and_each_reference_has_a_column(self):
        def samples(*speeds):
            figures = [1.0] * len(speeds)
            return servers.Samples(list(speeds), figures, figures, figures, figures)

        peers = [programs.Peer(name, "PROCS", None) for name in ("bare", "weft", "go")]
        rows = servers_report.rows({10: {"bare": samples(90, 100, 180), "weft": samples(80), "go": samples(40)}}, peers)
        self.assertEqual(rows[1].ratios, {"bare": 0.8, "go": 2.0})
        text = servers_report.markdown("echo", {}, rows)
        self.assertIn("| 10 | bare | 100 (90–180) | 1.00x | 2.50x |", text)
        self.assertIn("| 10 | weft | 80 | 0.80x | 2.00x |", text)

    def test_a_bad_server_is_a_row_that_says_so(self):
        good = programs.Peer("go", "PROCS", None, self.program("good", SERVER, "good"))
        for behaviour, words in [
            ("crash", "the server crashed (SIGABRT)"),
            ("refuse", "the server failed (status 1: bind: address in use)"),
            ("wrong", "sent back 3000 bytes, not those 3000 that it got"),
        ]:
            with self.subTest(behaviour):
                rows, text, document = self.run_once(behaviour, others=[good])
                self.assertIn(f"| 10 | bare | **{words}** | – | – | – |", text)
                self.assertEqual(len(document["rows"][0]["failures"]), 2)
                self.assertIn(f"bare: {words}", self.picture)
                self.assertEqual(rows[1].samples.failures, [], "the other one")

    def test_a_server_that_does_not_listen_is_not_waited_for_long(self):
        with mock.patch("servers.START_TIMEOUT", 1):
            _, text, _ = self.run_once("deaf")
        self.assertIn("| 10 | bare | **took no connection within 1 s** |", text)

    def test_a_bad_load_is_a_row_that_says_so(self):
        for behaviour, words in [
            ("errors", "errors: 2 read"),
            ("nothing", "not one request was answered"),
            ("fail", "the load failed (status 1: unable to connect)"),
            ("silent", "the load printed no result"),
        ]:
            with self.subTest(behaviour), mock.patch("servers.ENDING_TIME", 0):
                rows, text, _ = self.run_once("good", behaviour)
                self.assertIsNone(rows[0].median("requests_per_s"))
                self.assertIn(words, text)

    def test_a_server_that_crashes_under_the_load_is_to_blame_for_what_the_load_says(self):
        _, text, _ = self.run_once("good", "kill")
        self.assertIn("| 10 | bare | **the server crashed (SIGABRT)** |", text)

    def test_a_load_that_hangs_is_ended(self):
        with mock.patch("servers.LOAD_EXTRA_TIME", 0):
            _, text, _ = self.run_once("good", "hang")
        self.assertIn("the load has not ended after 1 s", text)

    def test_what_failed_now_and_then_is_told_beside_the_figures(self):
        samples = servers.Samples([50.0], [1.0], [1.0], [1.0], [1.0], ["errors: 3 timeout"])
        rows = servers_report.rows({10: {"bare": samples}}, [programs.Peer("bare", "PROCS", None)])
        self.assertIn("| 50; **1 of 2 runs: errors: 3 timeout** |", servers_report.markdown("echo", {}, rows))
        self.assertIn(", 1 failed", servers_report.svg("echo", {"machine": "", "method": ""}, rows))

    def test_too_low_a_limit_of_open_files_means_fewer_connections(self):
        def refuse(_, limits):
            if limits[1] > 1000:
                raise ValueError("not allowed to raise maximum limit")

        with (mock.patch.object(resource, "getrlimit", return_value=(500, 1000)),
              mock.patch.object(resource, "setrlimit", side_effect=refuse) as setrlimit,
              contextlib.redirect_stderr(io.StringIO()) as log):
            self.assertEqual(servers.limit_connections([100, 1000, 10_000]), [100, 800])
        setrlimit.assert_called_with(resource.RLIMIT_NOFILE, (1000, 1000))
        self.assertIn("allows 800 connections", log.getvalue())

    def smoke(self, contest):
        command = [sys.executable, servers.__file__, contest, "--peers", "bare", "--connections", "20", "--rounds", "1",
                   "--seconds", "1", "--build-dir", str(self.folder / "build"), "--out", str(self.folder / "out")]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertRegex(done.stdout, r"\n\| 20 \| bare \| [\d,]+ \| 1.00x \|")
        self.assertEqual(sorted(file.name for file in (self.folder / "out").iterdir()),
                         [f"{contest}.json", f"{contest}.md", f"{contest}.svg"])

    def test_the_bare_echo_server_withstands_the_load(self):
        self.smoke("echo")

    @unittest.skipUnless(shutil.which("wrk"), "wrk is not installed")
    def test_the_bare_http_server_withstands_the_load(self):
        self.smoke("http")


if __name__ == "__main__":
    unittest.main()
