#!/usr/bin/env python3
"""Runs the same scenarios on weft and on other runtimes, side by side, and writes who is ahead where.

Absolute times say little on a shared machine; ratios within one run do. So the programs take turns (A B A B ...),
each scenario in a process of its own, and medians are compared. A program that crashes, hangs or computes something
wrong becomes a row that says so.
"""

import argparse
import json
import os
import pathlib
import platform
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import report
from scenarios import SCENARIOS

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def say(text):
    print(text, file=sys.stderr, flush=True)


@dataclass
class Peer:
    """One runtime of the comparison: how to build its program and how to tell it the number of processors."""

    name: str
    processors_variable: str
    build: Callable[[pathlib.Path], pathlib.Path]  # of a build folder: the program; raises Skip
    program: pathlib.Path | None = None
    version: str = ""
    scenarios: frozenset | None = None  # names of those that it has a counterpart of; None: all
    optional: bool = True  # a run without it has not failed


@dataclass
class Samples:
    """What all runs of one scenario on one runtime gave."""

    ns: list = field(default_factory=list)
    bytes: list = field(default_factory=list)
    cpu_ns: list = field(default_factory=list)  # CPU time of the whole process, per operation
    failures: list = field(default_factory=list)  # one short sentence each


class Skip(Exception):
    """Why a runtime is left out, and what would bring it in."""


def run_quietly(command, what, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    if done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-30:])
        raise Skip(f"{what} failed:\n{tail}")
    return done.stdout


def build_weft(folder):
    if shutil.which("meson") is None:
        raise Skip("meson is not installed (Debian: apt install meson g++, then ./dev setup)")
    if not (folder / "meson-info").is_dir():
        options = ["-Dtests=false", "-Dexamples=false", "-Dbenchmarks=true"]
        run_quietly(["meson", "setup", str(folder), str(ROOT), *options], "meson setup")
    run_quietly(["meson", "compile", "-C", str(folder), "weft_bench"], "the build of weft_bench")
    return folder / "bench" / "weft_bench"


def build_go(folder):
    if shutil.which("go") is None:
        raise Skip("go is not installed (Debian: apt install golang-go; newest: https://go.dev/dl)")
    program = folder / "go_bench"
    run_quietly(["go", "build", "-o", str(program), "go_bench.go", "go_sync.go"], "the build of go_bench", cwd=HERE)
    return program


def build_cpp(folder, name, *libraries):
    """A peer in C++ is one file. It is no part of weft's build, so that nobody needs its libraries."""
    program = folder / name
    options = ["-std=c++20", "-O2", "-DNDEBUG", "-pthread"]
    run_quietly(["g++", *options, "-o", str(program), f"{name}.cpp", *libraries], f"the build of {name}", cwd=HERE)
    return program


def build_std(folder):
    if shutil.which("g++") is None:
        raise Skip("g++ is not installed (Debian: apt install g++)")
    return build_cpp(folder, "std_bench")


def build_boost_fiber(folder):
    libraries = ["-lboost_fiber", "-lboost_context"]
    # The headers come with any Boost, so it is the library that tells.
    found = shutil.which("g++") and subprocess.run(
        ["g++", "-x", "c++", "-", "-o", os.devnull, *libraries], input="int main() {}", text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
    if not found:
        raise Skip("Boost.Fiber is not installed (Debian: apt install g++ libboost-fiber1.81-dev)")
    return build_cpp(folder, "boost_fiber_bench", *libraries)


PEERS = [
    Peer("weft", "WEFT_PROCS", build_weft, optional=False),
    Peer("go", "GOMAXPROCS", build_go, optional=False),
    Peer("std", "STD_PROCS", build_std),
    Peer("boost_fiber", "BOOST_FIBER_PROCS", build_boost_fiber),
]


def build(peers, folder):
    """The peers that could be built; for the others, a line that says what is missing."""
    built = []
    for peer in peers:
        say(f"building {peer.name} ...")
        folder.mkdir(parents=True, exist_ok=True)
        try:
            peer.program = peer.build(folder)
            peer.version = run_quietly([str(peer.program), "--version"], f"{peer.program.name} --version").strip()
            listed = run_quietly([str(peer.program), "--list"], f"{peer.program.name} --list").split()
        except Skip as reason:
            say(f"{peer.name} is left out: {reason}")
            continue
        if peer.optional:  # the others have to have all of them
            peer.scenarios = frozenset(listed)
        built.append(peer)
        if peer.name == "weft" and " release " not in peer.version:
            say(f"warning: not a release build, the figures mean little: {peer.version}")
    return built


def why_failed(status, error_text):
    if status < 0:
        return f"crashed ({signal.Signals(-status).name})"
    last = error_text.strip().splitlines()
    return f"failed (status {status}{': ' + last[0][:100] if last else ''})"


def cpu_seconds():
    """What all programs that have ended used, one after the other."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(peer, scenario, processors, timeout):
    """One run in a process of its own: (its JSON line, None) or (None, why there is none)."""
    cpu_before = cpu_seconds()
    process = subprocess.Popen(
        [str(peer.program), scenario.name],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
        env=dict(os.environ, **{peer.processors_variable: str(processors)}),
    )
    try:
        out, err = process.communicate(timeout=timeout)
    except BaseException as stop:  # also Ctrl-C: the program is in a session of its own
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        if isinstance(stop, subprocess.TimeoutExpired):
            return None, f"timed out after {timeout:g} s"
        raise
    if process.returncode != 0:
        return None, why_failed(process.returncode, err)
    try:
        line = json.loads(out)
        if line["scenario"] == scenario.name and line["ns_per_op"] > 0:
            line["cpu_ns_per_op"] = (cpu_seconds() - cpu_before) * 1e9 / line["ops"]
            return line, None
    except (ValueError, KeyError, TypeError):
        pass
    return None, f"printed no result but {out[:60]!r}"


def peers_of(scenario, peers):
    """Those that have a counterpart of it."""
    return [peer for peer in peers if peer.scenarios is None or scenario.name in peer.scenarios]


def run_scenario(scenario, peers, args, progress):
    """All runs of one scenario, the runtimes taking turns; fills progress.results."""
    for turn in range(args.runs):
        for peer in peers_of(scenario, peers):
            samples = progress.samples(scenario, peer)
            if any("timed out" in failure for failure in samples.failures):
                progress.step(scenario, peer, turn, "skipped, it timed out before")
                continue
            line, failure = measure(peer, scenario, args.procs, args.timeout)
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


class Progress:
    """The measurements so far, and a line on stderr for each."""

    def __init__(self, total):
        self.results = {}  # scenario name -> peer name -> Samples
        self.total = total
        self.done = 0

    def samples(self, scenario, peer):
        return self.results.setdefault(scenario.name, {}).setdefault(peer.name, Samples())

    def step(self, scenario, peer, turn, text):
        self.done += 1
        width = len(str(self.total))
        say(f"[{self.done:{width}}/{self.total}] {scenario.name:17} run {turn + 1}  {peer.name:11} {text}")


def processor_name():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def describe(peers, args):
    """Machine, kernel, libraries and versions: what the figures have to be read with."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    facts = {
        "machine": f"{processor_name()}, {os.cpu_count()} CPUs, {pages / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "libc": " ".join(platform.libc_ver()),
        "method": f"medians of {args.runs} runs, interleaved, {args.procs} processors each; load average before: {args.load:.1f}",
        "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()) + " UTC",
    }
    facts.update({peer.name: peer.version for peer in peers})
    return facts


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenario", nargs="*", help="scenarios to run (default: all; see --list)")
    parser.add_argument("--list", action="store_true", help="list the scenarios and stop")
    parser.add_argument("--runs", type=int, default=5, help="runs per scenario and runtime (default: %(default)s)")
    parser.add_argument("--procs", type=int, default=2, help="processors for each runtime (default: %(default)s)")
    parser.add_argument("--timeout", type=float, default=60, help="seconds per scenario and run (default: %(default)s)")
    parser.add_argument("--peers", help=f"runtimes (default: those installed of {','.join(p.name for p in PEERS)})")
    parser.add_argument("--build-dir", type=pathlib.Path, default=ROOT / "build" / "compare",
                        help="meson build folder, made if missing (default: build/compare)")
    parser.add_argument("--out", type=pathlib.Path, default=HERE.parent / "results",
                        help="folder for compare.md, .json, .svg (default: bench/results)")
    args = parser.parse_args()
    known = {s.name for s in SCENARIOS}
    if unknown := [name for name in args.scenario if name not in known]:
        parser.error(f"no scenario {', '.join(unknown)}; --list shows them")
    names = {p.name for p in PEERS}
    args.peers_named = args.peers is not None
    args.peers = [name for name in args.peers.split(",") if name] if args.peers_named else [p.name for p in PEERS]
    if unknown := [name for name in args.peers if name not in names]:
        parser.error(f"no runtime {', '.join(unknown)}; there are {', '.join(sorted(names))}")
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
    wanted = [p for p in PEERS if p.name in args.peers]
    peers = build(wanted, args.build_dir)
    if not peers:
        say("nothing to run")
        return 1
    args.load = os.getloadavg()[0]
    if args.load > 0.5 * os.cpu_count():
        say(f"warning: the machine is busy (load average {args.load:.1f}); ratios suffer less than times, but they do")
    progress = Progress(sum(len(peers_of(scenario, peers)) for scenario in chosen) * args.runs)
    try:
        for scenario in chosen:
            run_scenario(scenario, peers, args, progress)
    except KeyboardInterrupt:
        say("interrupted; the table holds what was measured so far")
    facts = describe(peers, args)
    rows = report.rows(chosen, progress.results)
    text = report.markdown(facts, rows, [p.name for p in peers])
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "compare.md").write_text(text)
    (args.out / "compare.json").write_text(report.as_json(facts, rows))
    (args.out / "compare.svg").write_text(report.svg(facts, rows, [p.name for p in peers]))
    say(f"written: compare.md, compare.json, compare.svg in {args.out}\n")
    print(text)
    failed = any(samples.failures for by_peer in progress.results.values() for samples in by_peer.values())
    missing = [peer for peer in wanted if peer not in peers and (args.peers_named or not peer.optional)]
    return 1 if failed or missing else 0


if __name__ == "__main__":
    sys.exit(main())
