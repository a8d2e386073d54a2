#!/usr/bin/env python3
"""What weft costs when it is only included, and when it is only there: compile times, and CPU time of an idle runtime. And what the
kernel takes for a goroutine that parks: that is the floor under weft's rows of a million goroutines.

  cost.py <weft_idle> <weft_page> [--seconds 10] [--runs 7]

A program that greets over a channel, on weft and on Boost.Fiber, is compiled at -O0, in turn with an empty one that includes
<chrono>, <memory> and <optional>; figures are medians of the compiler's CPU time. Fails when a promise is broken: weft in less
time than Boost.Fiber, and in less than twice that of the three headers; an idle runtime below 0.1% of a core.
"""

import argparse
import json
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SOURCES = {
    "three_headers": "<chrono>, <memory> and <optional>, and an empty main",
    "hello_weft": "hello with <weft/weft.hpp>",
    "hello_boost_fiber": "hello with <boost/fiber/all.hpp>",
}
COMPILERS = ("g++", "clang++-14")
INCLUDES = [f"-I{ROOT / component / 'include'}" for component in ("runtime", "channels", "sync")]
MOST_PERCENT = 0.1


def compile_seconds(compiler, source):
    """CPU time, or None if it does not compile: its library is not there."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([compiler, "-std=c++20", "-O0", *INCLUDES, "-c", str(source), "-o", os.devnull], check=False,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        return None
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def compile_times(compiler, runs):
    """name -> median, of those that compile."""
    samples = {name: [] for name in SOURCES}
    for _ in range(runs):
        for name in SOURCES:
            samples[name].append(compile_seconds(compiler, HERE / f"{name}.cpp"))
    return {name: statistics.median(seconds) for name, seconds in samples.items() if None not in seconds}


def broken_promises(compiler, times):
    broken = []
    weft = times.get("hello_weft")
    if weft is None:
        return [f"{compiler}: hello with weft does not compile"]
    if weft >= times.get("hello_boost_fiber", float("inf")):
        broken.append(f"{compiler}: hello with weft takes as long as with Boost.Fiber")
    if weft >= 2 * times["three_headers"]:
        broken.append(f"{compiler}: hello with weft takes {weft / times['three_headers']:.2f} times as long as three headers")
    return broken


def compile_table(runs):
    """(Markdown lines, broken promises)"""
    lines, broken = ["| compiled at -O0 | " + " | ".join(COMPILERS) + " |", "|---|" + "---:|" * len(COMPILERS)], []
    by_compiler = {c: compile_times(c, runs) if shutil.which(c) else {} for c in COMPILERS}
    for name, what in SOURCES.items():
        cells = [f"{times[name]:.2f} s" if name in times else "–" for times in by_compiler.values()]
        lines.append(f"| {what} | " + " | ".join(cells) + " |")
    for compiler, times in by_compiler.items():
        if times:
            broken += broken_promises(compiler, times)
    return lines, broken


def idle_table(program, seconds):
    """(Markdown lines, broken promises)"""
    lines, broken = ["| processors | threads | CPU time when idle |", "|---:|---:|---:|"], []
    done = subprocess.run([program, str(seconds)], stdout=subprocess.PIPE, text=True, check=True)
    for line in map(json.loads, done.stdout.splitlines()):
        percent = line["percent_of_a_core"]
        lines.append(f"| {line['processors']} | {line['threads']} | {percent:.3f}% of a core |")
        if percent >= MOST_PERCENT:
            broken.append(f"{line['processors']} idle processors use {percent:.3f}% of a core")
    return lines, broken


def page_table(program):
    """Markdown lines"""
    lines = ["| a stack's first page and guard | page | guard | both |", "|---|---:|---:|---:|"]
    done = subprocess.run([program], stdout=subprocess.PIPE, text=True, check=True)
    rounds = [json.loads(line) for line in done.stdout.splitlines()]
    for threads in sorted({r["threads"] for r in rounds}):
        page, guard = (statistics.median(r[what] for r in rounds if r["threads"] == threads) for what in ("page_ns", "guard_ns"))
        lines.append(f"| {threads} thread{'s' if threads > 1 else ''} | {page:.0f} ns | {guard:.0f} ns | {page + guard:.0f} ns |")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("idle", type=pathlib.Path, help="the program weft_idle")
    parser.add_argument("page", type=pathlib.Path, help="the program weft_page")
    parser.add_argument("--runs", type=int, default=7, help="of each compiler and source (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=10, help="that each runtime idles (default: %(default)s)")
    args = parser.parse_args()
    compiled, broken = compile_table(args.runs)
    print("\n".join(compiled), end="\n\n", flush=True)
    print("\n".join(page_table(args.page)), end="\n\n", flush=True)
    idle, more = idle_table(args.idle, args.seconds)
    print("\n".join(idle), end="\n\n")
    for promise in [*broken, *more]:
        print(f"broken: {promise}")
    if not [*broken, *more]:
        print("all promises are kept")
    return 1 if [*broken, *more] else 0


if __name__ == "__main__":
    sys.exit(main())
