#!/usr/bin/env python3
"""Counts what one operation costs on one processor, in instructions and locked ones, and compares with bench/gate/baseline.tsv.

  gate.py <weft_counts>             print the table; fail when an operation is off by more than 5%, either way
  gate.py <weft_counts> --update    write the baseline anew; the commit says why

Counts are what a noisy machine cannot spoil. Each operation is run n and 3n times under callgrind and the difference taken, so
start and end do not count. The program has a clock that runs the same each time (clock.cpp): two runs differ by a tenth of
a percent. Compilers differ by more, so the baseline holds for the one that it names; with another one this is skipped.
"""

import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass

BASELINE = pathlib.Path(__file__).resolve().parent / "baseline.tsv"
TOLERANCE = 0.05
LOCKED_SLACK = 0.05  # a lock for every twentieth operation is a matter of chance, say of where a queue overflows

# The size n of the short run. It takes a second or two; the long one does three times as much.
SIZES = {
    "yield": 20_000,
    "spawn_batch": 10_000,
    "spawn_join": 10_000,
    "pingpong": 10_000,
    "chan_128_1p1c": 40_000,
    "chan_128_4p4c": 40_000,
    "select2": 10_000,
    "mutex_1": 400_000,  # few instructions each: start and end, which vary by some ten thousand, must not count
}


class Failure(Exception):
    """One sentence for the reader."""


@dataclass
class Count:
    """Per operation."""

    instructions: float
    locked: float


@dataclass
class Totals:
    """Of one run."""

    instructions: int
    locked: int
    ops: int


def run_once(program, scenario, size):
    command = ["valgrind", "--tool=callgrind", "--collect-bus=yes", "--callgrind-out-file=/dev/null",
               str(program), f"{scenario}={size}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ, WEFT_PROCS="1"))
    collected = re.search(r"Collected : (\d+) (\d+)", done.stderr)
    ops = re.search(r'"ops":(\d+)', done.stdout)
    if done.returncode or not collected or not ops:
        tail = "\n".join(done.stderr.splitlines()[-15:])
        raise Failure(f"{scenario}: this failed (status {done.returncode}): {' '.join(command)}\n{tail}")
    return Totals(int(collected[1]), int(collected[2]), int(ops[1]))


def per_operation(short, long):
    ops = long.ops - short.ops
    # Of no locked instruction the two runs may have one more or less: not "-0.00".
    return Count((long.instructions - short.instructions) / ops, max(0.0, (long.locked - short.locked) / ops))


def count_all(program, scenarios):
    """scenario -> Count. As many runs at once as JOBS allows: they do not disturb each other."""
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("JOBS", os.cpu_count()))) as pool:
        runs = {(name, factor): pool.submit(run_once, program, name, SIZES[name] * factor)
                for name in scenarios for factor in (3, 1)}
        return {name: per_operation(runs[name, 1].result(), runs[name, 3].result()) for name in scenarios}


def read_baseline(text):
    """(what built it, scenario -> Count)"""
    built_by, counts = "", {}
    for line in text.splitlines():
        if line.startswith("# built by: "):
            built_by = line.removeprefix("# built by: ")
        elif line and not line.startswith("#"):
            name, instructions, locked = line.split("\t")
            counts[name] = Count(float(instructions), float(locked))
    return built_by, counts


def baseline_text(built_by, counts):
    lines = [
        "# What one operation costs on one processor: instructions, of which locked. Checked by ./dev check gate, to within 5%.",
        "# A number changes with a reason in the commit. Written by: ./dev bench gate --update",
        f"# built by: {built_by}",
    ]
    lines += [f"{name}\t{count.instructions:.1f}\t{count.locked:.2f}" for name, count in counts.items()]
    return "\n".join(lines) + "\n"


def judge(count, wanted):
    """What is wrong with an operation, in a few words; empty if nothing is."""
    if wanted is None:
        return "not in the baseline"
    words = []
    change = count.instructions / wanted.instructions - 1
    if abs(change) > TOLERANCE:
        words.append(f"{abs(change):.1%} {'more' if change > 0 else 'fewer'} instructions")
    if abs(count.locked - wanted.locked) > max(LOCKED_SLACK, wanted.locked * TOLERANCE):
        words.append(f"{abs(count.locked - wanted.locked):.2f} {'more' if count.locked > wanted.locked else 'fewer'} locked")
    return ", ".join(words)


def table(counts, baseline):
    """(the lines, how many operations are off)"""
    lines, off = [f"{'operation':<15} {'instructions':>12} {'baseline':>9} {'locked':>7} {'baseline':>9}"], 0
    for name, count in counts.items():
        wanted = baseline.get(name)
        verdict = judge(count, wanted)
        off += verdict != ""
        wanted_cells = (f"{wanted.instructions:.1f}", f"{wanted.locked:.2f}") if wanted else ("-", "-")
        lines.append(f"{name:<15} {count.instructions:>12.1f} {wanted_cells[0]:>9} {count.locked:>7.2f} "
                     f"{wanted_cells[1]:>9}  {verdict}".rstrip())
    return lines, off


WHAT_TO_DO = """
gate: {off} of these differ from bench/gate/baseline.tsv by more than {tolerance:.0%}.
  Dearer: find what was added, and take it out of the way of those who do not need it:
    WEFT_PROCS=1 valgrind --tool=callgrind {program} yield=20000 && callgrind_annotate callgrind.out.<pid>
  Meant, or cheaper: ./dev bench gate --update, and the reason in the commit.
"""


def build_of(program):
    """What --version says of compiler, libraries and options, without weft's own version."""
    version = subprocess.run([program, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    return version.partition(", ")[2]


def compiler_of(built_by):
    return built_by.partition(",")[0]


def main(arguments):
    if len(arguments) < 1 or arguments[1:] not in ([], ["--update"]):
        print(__doc__, file=sys.stderr)
        return 2
    program, update = pathlib.Path(arguments[0]), len(arguments) > 1
    if shutil.which("valgrind") is None:
        print("gate: SKIPPED, valgrind is not installed (Debian: apt install valgrind)")
        return 0
    built_by = build_of(program)
    wanted_build, baseline = read_baseline(BASELINE.read_text()) if BASELINE.exists() else ("", {})
    if not update and compiler_of(built_by) != compiler_of(wanted_build):
        print(f"gate: SKIPPED, the baseline is for {compiler_of(wanted_build)}, this is {compiler_of(built_by)}")
        return 0
    if not update and built_by != wanted_build:
        print(f"gate: this is built by {built_by}; the baseline is for {wanted_build}")
        return 1
    try:
        counts = count_all(program, SIZES)
    except Failure as failure:
        print(f"gate: {failure}")
        return 1
    if update:
        BASELINE.write_text(baseline_text(built_by, counts))
    lines, off = table(counts, baseline)
    print("\n".join(lines))
    if update:
        print("gate: the baseline is written; the commit says why it changed")
        return 0
    if off:
        print(WHAT_TO_DO.format(off=off, tolerance=TOLERANCE, program=program))
        return 1
    print(f"gate ({len(counts)} operations): within {TOLERANCE:.0%} of the baseline")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
