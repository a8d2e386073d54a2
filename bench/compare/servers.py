#!/usr/bin/env python3
"""Puts servers that do the same under the same load, one at a time, and writes who answers how much, how fast, with what.

  servers.py http    a JSON of 46 bytes, driven by wrk
  servers.py echo    the bytes that were sent, driven by echo/echo_load.cpp

For each number of connections the servers take turns, each time in a new process, so that the peak of its memory belongs to
these connections. The load runs on the same processors as the server; that costs all servers alike, so what counts are the
ratios. A server that crashes, answers something wrong or keeps a connection waiting becomes a row that says so.
"""

import argparse
import collections
import contextlib
import http.client
import json
import os
import pathlib
import resource
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field

import programs
import servers_report
from contests import CONTESTS, START_TIMEOUT, Failure
from programs import BENCH, ROOT, Skip, say, why_failed

SPARE_DESCRIPTORS = 200  # what a process has open besides its connections
ENDING_TIME = 2  # seconds from a server's last words to its end
LOAD_EXTRA_TIME = 60  # seconds that a load may take longer than it was told to: connecting, and a busy machine


@dataclass
class Samples:
    """What all runs of one server with so many connections gave; a list has a figure for each."""

    requests_per_s: list = field(default_factory=list)
    p50_us: list = field(default_factory=list)
    p99_us: list = field(default_factory=list)
    peak_bytes: list = field(default_factory=list)  # resident
    cpu_us: list = field(default_factory=list)  # CPU time of the server, per request
    failures: list = field(default_factory=list)  # one short sentence each


def allow_descriptors(connections):
    """Raises the limit of open files, for the children too; returns for how many connections it is enough."""
    wanted = connections + SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return connections
    with contextlib.suppress(ValueError, OSError):  # past the hard limit only root comes
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
        return connections
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard - SPARE_DESCRIPTORS


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """A process that serves on a port, as long as the with statement lasts."""

    def __init__(self, peer, processors):
        self.port = free_port()
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [str(peer.program), str(self.port)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.errors,
            start_new_session=True, env=dict(os.environ, **{peer.processors_variable: str(processors)}))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.errors.close()

    def check(self):
        """Raises Failure if it has ended."""
        status = self.process.poll()
        if status is not None:
            self.errors.seek(0)
            raise Failure("the server " + why_failed(status, self.errors.read().decode(errors="replace")))

    def check_within(self, seconds):
        """The same, for one that may be about to end: its connections go first."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        self.check()

    def wait_until_it_listens(self, timeout):
        deadline = time.monotonic() + timeout
        while True:
            with contextlib.suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", self.port), timeout=timeout).close()
                return
            self.check()
            if time.monotonic() > deadline:
                raise Failure(f"took no connection within {timeout:g} s")
            time.sleep(0.01)

    def cpu_seconds(self):
        after_name = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")  # utime, stime

    def peak_bytes(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise Failure("the server's peak memory is not known")


def drive(command, timeout):
    """Runs a load; returns its last line, checked."""
    load = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        out, err = load.communicate(timeout=timeout)
    except BaseException as stop:  # also Ctrl-C: the program is in a session of its own
        load.kill()
        load.communicate()
        if isinstance(stop, subprocess.TimeoutExpired):
            raise Failure(f"the load has not ended after {timeout:g} s") from None
        raise
    if load.returncode != 0:
        raise Failure("the load " + why_failed(load.returncode, err or out))
    try:
        line = json.loads(out.splitlines()[-1])
        errors = [f"{count:,} {kind}" for kind, count in line["errors"].items() if count]
    except (ValueError, LookupError, TypeError, AttributeError):
        raise Failure(f"the load printed no result but {out[-60:]!r}") from None
    if errors:
        raise Failure(f"errors: {', '.join(errors)}")
    if line["requests"] == 0:
        raise Failure("not one request was answered")
    return line


def measure(contest, peer, connections, args):
    """One run, added to nothing yet: the load's line with the server's memory and CPU time; raises Failure."""
    with Server(peer, args.procs) as server:
        server.wait_until_it_listens(START_TIMEOUT)
        try:
            contest.probe(server.port)
        except (OSError, http.client.HTTPException, ValueError) as error:
            server.check_within(ENDING_TIME)
            raise Failure(f"gave no right answer ({type(error).__name__}: {error})") from None
        cpu_before = server.cpu_seconds()
        try:
            line = drive(contest.load(args.load_program, server.port, connections, args), args.seconds + LOAD_EXTRA_TIME)
        except Failure:
            server.check_within(ENDING_TIME)  # a crash explains more than what the load saw of it
            raise
        server.check()
        line["cpu_us"] = (server.cpu_seconds() - cpu_before) * 1e6 / line["requests"]
        line["peak_bytes"] = server.peak_bytes()
    return line


def run_connections(contest, connections, peers, args, progress, results):
    """All runs with so many connections, the servers taking turns; fills results, by name."""
    for turn in range(args.rounds):
        for peer in peers:
            samples = results[peer.name]
            try:
                line = measure(contest, peer, connections, args)
            except Failure as failure:
                samples.failures.append(str(failure))
                text = str(failure)
            else:
                samples.requests_per_s.append(line["requests"] / line["seconds"])
                for name in ("p50_us", "p99_us", "peak_bytes", "cpu_us"):
                    getattr(samples, name).append(line[name])
                text = servers_report.run_text(samples)
            progress.say(f"{connections:6,} connections  round {turn + 1}  {peer.name:6} {text}")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("contest", choices=CONTESTS)
    parser.add_argument("--connections", default="100,1000,10000", help="numbers of connections (default: %(default)s)")
    parser.add_argument("--rounds", type=int, help="runs of each server (default: 3)")
    parser.add_argument("--seconds", type=int, help="of load in each run (default: 5)")
    parser.add_argument("--quick", action="store_true", help="one round of 2 seconds")
    parser.add_argument("--procs", type=int, default=2, help="processors, or threads, of each server (default: %(default)s)")
    parser.add_argument("--bytes", type=int, default=64, help="of an echo's message (default: %(default)s)")
    parser.add_argument("--peers", help="some of the servers, like bare,weft,go (default: those that can be built)")
    parser.add_argument("--build-dir", type=pathlib.Path, default=ROOT / "build" / "compare",
                        help="meson build folder, made if missing (default: build/compare)")
    parser.add_argument("--out", type=pathlib.Path, default=BENCH / "results",
                        help="folder for <contest>.md, .json, .svg (default: bench/results)")
    args = parser.parse_args()
    args.contest = CONTESTS[args.contest]
    args.wanted = programs.wanted(parser, args.peers, args.contest.peers)
    args.rounds = args.rounds or (1 if args.quick else 3)
    args.seconds = args.seconds or (2 if args.quick else 5)
    try:
        args.connections = [int(number) for number in args.connections.split(",")]
    except ValueError:
        parser.error("--connections takes numbers with commas between them")
    if min(args.rounds, args.seconds, args.procs, args.bytes, *args.connections) < 1:
        parser.error("all numbers must be positive")
    args.build_dir = args.build_dir.resolve()
    return args


def limit_connections(wanted):
    """The numbers that the limit of open files allows."""
    most = allow_descriptors(max(wanted))
    if most < max(wanted):
        say(f"the hard limit of open files (ulimit -Hn) allows {most:,} connections: larger numbers become that")
    return sorted({min(number, most) for number in wanted})


def main():
    args = parse_arguments()
    contest = args.contest
    args.connections = limit_connections(args.connections)
    try:
        args.build_dir.mkdir(parents=True, exist_ok=True)
        args.load_program = contest.build_load(args.build_dir)
    except Skip as reason:
        say(f"there is no load: {reason}")
        return 1
    peers = programs.build(args.wanted, args.build_dir)
    if not peers:
        say("nothing to run")
        return 1
    load_average = programs.load_before()
    progress = programs.Progress(len(args.connections) * args.rounds * len(peers))
    results = {number: collections.defaultdict(Samples) for number in args.connections}  # by connections, then by name
    try:
        for connections in args.connections:
            run_connections(contest, connections, peers, args, progress, results[connections])
    except KeyboardInterrupt:
        say("interrupted; the table holds what was measured so far")
    facts = programs.describe(peers, (
        f"medians of {args.rounds} rounds of {args.seconds} s, interleaved, {args.procs} processors for each server, shared with "
        f"the load; load average before: {load_average:.1f}"))
    table, title = servers_report.rows(results, peers), contest.title.format(bytes=args.bytes)
    programs.write_results(args.out, contest.name, servers_report.markdown(title, facts, table),
                           servers_report.as_json(facts, table), servers_report.svg(title, facts, table))
    failed = any(row.samples.failures for row in table)
    return 1 if failed or programs.lacks_weft(args.wanted, peers) else 0


if __name__ == "__main__":
    sys.exit(main())
