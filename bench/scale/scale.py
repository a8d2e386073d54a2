#!/usr/bin/env python3
"""How the cost of an operation changes with the number of processors, of goroutines and of channels: curves and figures.

Two kinds of curve. `processors`: the scenarios of the comparison with 1, 2, 4 and 8 processors (a machine with fewer CPUs is
oversubscribed then). `size`: scenarios of their own (compare/weft/scale.cpp), whose size n is the number of goroutines or
channels. The programs take turns, as in the comparison; the median of the runs is drawn.
"""

import argparse
import json
import pathlib
import statistics
import sys
from dataclasses import dataclass

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "compare"))

import plot
import programs
import report
from measure import measure
from peers import PEERS, build
from programs import BENCH, ROOT, say
from scenarios import SCALES, SCENARIOS

PROCESSORS = (1, 2, 4, 8)
BY_NAME = {s.name: s for s in [*SCENARIOS, *SCALES]}
LEFT_OUT = {"park_1m", "park_1m_fmt", "timers_1m", "hog_latency", "hog_worst"}  # their time is memory's, or the clock's


@dataclass
class Point:
    """A place of a curve."""

    scenario: str
    x: int
    processors: int
    size: int | None = None


def points_of_processors(names):
    return [Point(s.name, p, p) for s in SCENARIOS if s.name in names for p in PROCESSORS]


def points_of_size(names, processors, largest):
    return [Point(s.name, n, processors, n)
            for s in SCALES if s.name in names for n in s.sizes if largest is None or n <= largest]


def measure_all(points, peers, args):
    """scenario -> runtime -> x -> list of ns; a failure is said and leaves its list as it is."""
    figures = {}
    progress = programs.Progress(len(points) * args.runs * len(peers))
    for point in points:
        for turn in range(args.runs):
            for peer in programs.in_turn(peers, turn):
                if point.scenario not in peer.scenarios:
                    continue
                samples = figures.setdefault(point.scenario, {}).setdefault(peer.name, {}).setdefault(point.x, [])
                line, failure = measure(peer, point.scenario, point.processors, args.timeout, point.size)
                if line:
                    samples.append(line["ns_per_op"])
                outcome = failure or report.time_text(line["ns_per_op"])
                progress.say(f"{point.scenario:16} at {point.x:<8} run {turn + 1}  {peer.name:11} {outcome}")
    return figures


def panels(figures):
    made = []
    for scenario, by_peer in figures.items():
        curves = {peer: [(x, statistics.median(ns)) for x, ns in by_x.items() if ns] for peer, by_x in by_peer.items()}
        known = BY_NAME[scenario]
        made.append(plot.Panel(scenario, known.operation, getattr(known, "across", "processors"), curves))
    return made


def table(figures, runtimes):
    """Markdown: a row for each place of each curve."""
    lines = ["| scenario | at | " + " | ".join(runtimes) + " |", "|---|---:|" + "---:|" * len(runtimes)]
    for scenario, by_peer in figures.items():
        for x in sorted({x for by_x in by_peer.values() for x in by_x}):
            cells = []
            for runtime in runtimes:
                ns = by_peer.get(runtime, {}).get(x)
                cells.append(report.time_text(statistics.median(ns)) if ns else "–")
            lines.append(f"| {scenario} | {x:,} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def write(args, name, title, facts, figures):
    runtimes = [key for key in facts if key in {peer.name for peer in PEERS}]
    notes = ["; ".join(facts[key] for key in ("machine", *runtimes) if key in facts), facts["method"]]
    document = json.dumps({"facts": facts, "ns_per_op": figures}, indent=1, ensure_ascii=False) + "\n"
    heading = "\n".join([f"# {title}", "", *(f"- {key}: {value}" for key, value in facts.items()), "", ""])
    programs.write_results(args.out, name, heading + table(figures, runtimes), document,
                           plot.svg(title, notes, panels(figures), runtimes))


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", nargs="*", help="scenarios of either kind (default: nearly all)")
    parser.add_argument("--kind", choices=["processors", "size"], help="only these curves")
    parser.add_argument("--runs", type=int, default=3, help="runs for each place and runtime (default: %(default)s)")
    parser.add_argument("--procs", type=int, default=2, help="processors for the curves of size (default: %(default)s)")
    parser.add_argument("--largest", type=int, help="leave out greater sizes")
    parser.add_argument("--timeout", type=float, default=100, help="seconds for each run (default: %(default)s)")
    programs.add_peers_option(parser, PEERS)
    parser.add_argument("--build-dir", type=pathlib.Path, default=ROOT / "build" / "compare")
    parser.add_argument("--out", type=pathlib.Path, default=BENCH / "results",
                        help="folder for scale_processors.* and scale_size.* (default: bench/results)")
    args = parser.parse_args()
    if unknown := [name for name in args.scenario if name not in BY_NAME]:
        parser.error(f"no scenario {', '.join(unknown)}; there are {', '.join(sorted(BY_NAME))}")
    if args.runs < 1 or args.procs < 1 or args.timeout <= 0:
        parser.error("--runs, --procs and --timeout must be positive")
    args.wanted = programs.wanted(parser, args.peers or "weft,go", PEERS)
    return args


def main():
    args = parse_arguments()
    wanted = args.scenario or [name for name in BY_NAME if name not in LEFT_OUT]
    peers = build(args.wanted, args.build_dir.resolve())
    if not peers:
        say("nothing to run")
        return 1
    facts = programs.describe(peers, f"medians of {args.runs} runs, interleaved; load average before: "
                                     f"{programs.load_before():.1f}")
    if args.kind != "size" and (points := points_of_processors(wanted)):
        write(args, "scale_processors", "What an operation costs with 1, 2, 4 and 8 processors", facts,
              measure_all(points, peers, args))
    if args.kind != "processors" and (points := points_of_size(wanted, args.procs, args.largest)):
        write(args, "scale_size", f"What an operation costs with n goroutines or channels, {args.procs} processors", facts,
              measure_all(points, peers, args))
    return 0


if __name__ == "__main__":
    sys.exit(main())
