#!/usr/bin/env python3
"""Runs the same scenarios on weft and on other runtimes, side by side, and writes who is ahead where.

Absolute times say little on a shared machine; ratios within one run do. So the programs take turns (A B A B ...),
each scenario in a process of its own, and medians are compared. A program that crashes, hangs or computes something
wrong becomes a row that says so.
"""

import argparse
import pathlib
import signal
import sys
from dataclasses import dataclass, field

import bars
import overview
import programs
import report
from measure import measure
from peers import PEERS, build
from programs import BENCH, ROOT, say
from scenarios import SCENARIOS


@dataclass
class Samples:
    """What all runs of one scenario on one runtime gave."""

    ns: list = field(default_factory=list)
    bytes: list = field(default_factory=list)
    cpu_ns: list = field(default_factory=list)  # CPU time of the whole process, per operation
    failures: list = field(default_factory=list)  # one short sentence each


def peers_of(scenario, peers):
    """Those that have a counterpart of it."""
    return [peer for peer in peers if scenario.name in peer.scenarios]


def run_scenario(scenario, peers, args, progress):
    """All runs of one scenario, the runtimes taking turns; fills progress.results."""
    for turn in range(args.runs):
        for peer in programs.in_turn(peers_of(scenario, peers), turn):
            samples = progress.samples(scenario, peer)
            if any("timed out" in failure for failure in samples.failures):
                progress.step(scenario, peer, turn, "skipped, it timed out before")
                continue
            line, failure = measure(peer, scenario.name, args.procs, args.timeout)
            if failure:
                samples.failures.append(failure)
                progress.step(scenario, peer, turn, failure)
                continue
            samples.ns.append(line["ns_per_op"])
            samples.cpu_ns.append(line["cpu_ns_per_op"])
            text = report.time_text(line["ns_per_op"])
            if "bytes_per_op" in line:
                samples.bytes.append(line["bytes_per_op"])
                text += f", {line['bytes_per_op']:,.0f} B"
            progress.step(scenario, peer, turn, text)


class Progress(programs.Progress):
    """The measurements so far, and a line on stderr for each."""

    def __init__(self, total):
        super().__init__(total)
        self.results = {}  # scenario name -> peer name -> Samples

    def samples(self, scenario, peer):
        return self.results.setdefault(scenario.name, {}).setdefault(peer.name, Samples())

    def step(self, scenario, peer, turn, text):
        self.say(f"{scenario.name:17} run {turn + 1}  {peer.name:11} {text}")


def describe(peers, args):
    method = f"medians of {args.runs} runs, interleaved, {args.procs} processors each; load average before: {args.load:.1f}"
    return programs.describe(peers, method)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", nargs="*", help="scenarios to run (default: all; see --list)")
    parser.add_argument("--list", action="store_true", help="list the scenarios and stop")
    parser.add_argument("--runs", type=int, default=5, help="runs per scenario and runtime (default: %(default)s)")
    parser.add_argument("--procs", type=int, default=2, help="processors for each runtime (default: %(default)s)")
    parser.add_argument("--timeout", type=float, default=60, help="seconds per scenario and run (default: %(default)s)")
    programs.add_peers_option(parser, PEERS)
    parser.add_argument("--judge", action="store_true", help="fail when a target is missed")
    parser.add_argument("--build-dir", type=pathlib.Path, default=ROOT / "build" / "compare",
                        help="meson build folder, made if missing (default: build/compare)")
    parser.add_argument("--out", type=pathlib.Path, default=BENCH / "results",
                        help="folder for compare.md, .json, .svg and overview.svg (default: bench/results)")
    args = parser.parse_args()
    known = {s.name for s in SCENARIOS}
    if unknown := [name for name in args.scenario if name not in known]:
        parser.error(f"no scenario {', '.join(unknown)}; --list shows them")
    args.wanted = programs.wanted(parser, args.peers, PEERS)
    if args.runs < 1 or args.procs < 1 or args.timeout <= 0:
        parser.error("--runs, --procs and --timeout must be positive")
    args.build_dir = args.build_dir.resolve()
    return args


def main():
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `compare.py --list | head` ends quietly
    args = parse_arguments()
    if args.list:
        for scenario in SCENARIOS:
            print(f"{scenario.name:17} {scenario.operation}")
        return 0
    chosen = [s for s in SCENARIOS if not args.scenario or s.name in args.scenario]
    peers = build(args.wanted, args.build_dir)
    if not peers:
        say("nothing to run")
        return 1
    args.load = programs.load_before()
    progress = Progress(sum(len(peers_of(scenario, peers)) for scenario in chosen) * args.runs)
    try:
        for scenario in chosen:
            run_scenario(scenario, peers, args, progress)
    except KeyboardInterrupt:
        say("interrupted; the table holds what was measured so far")
    facts, names = describe(peers, args), [p.name for p in peers]
    rows = report.rows(chosen, progress.results)
    programs.write_results(args.out, "compare", report.markdown(facts, rows, names), report.as_json(facts, rows),
                           bars.svg(facts, rows, names))
    (args.out / "overview.svg").write_text(overview.svg(facts, rows, names))
    failed = any(samples.failures for by_peer in progress.results.values() for samples in by_peer.values())
    missed = report.missed(rows) if args.judge else []
    for line in missed:
        print(f"missed: {line}")
    if args.judge and not missed:
        print("every target was met")
    return 1 if failed or missed or programs.lacks_weft(args.wanted, peers) else 0


if __name__ == "__main__":
    sys.exit(main())
