#!/usr/bin/env python3
"""Where one operation's instructions go: a table by function, per operation, on one processor.

  explain.py <weft_counts> <scenario>[=<n>] [--least 1]

As the gate, it runs the scenario n and 3n times under callgrind, which simulates caches of this machine's sizes too, and takes
the difference. The scenarios need not be the gate's: any that has a size will do. Page faults and voluntary context
switches are counted in runs of the same lengths without callgrind.
"""

import argparse
import os
import pathlib
import re
import resource
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict

from gate import SIZES, Failure

EVENTS = ("Ir", "Ge", "D1m", "DLm")  # instructions, locked ones, misses of the first and of the last cache


def costs_by_function(text):
    """function -> Counter of events, its own only."""
    names, found = {}, defaultdict(Counter)
    events, function, skip = [], None, False
    for line in text.splitlines():
        if line.startswith("events:"):
            events = line.split()[1:]
        elif line.startswith(("fn=", "cfn=")):
            number, _, name = line.partition("=")[2].partition(" ")
            known = names.setdefault(number, name)
            function = known if line.startswith("fn=") else function
        elif line.startswith("calls="):
            skip = True  # the next line is what the callee cost
        elif line[:1] in "0123456789+-*" and line:
            if not skip and function is not None:
                for event, cost in zip(events, line.split()[1:]):
                    found[function][event] += int(cost)
            skip = False
    for counter in found.values():
        counter["D1m"] = counter["D1mr"] + counter["D1mw"]
        counter["DLm"] = counter["DLmr"] + counter["DLmw"]
    return found


def run_counted(program, scenario, size):
    """(operations, function -> Counter)"""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder, "out")
        command = ["valgrind", "--tool=callgrind", "--collect-bus=yes", "--cache-sim=yes", f"--callgrind-out-file={out}",
                   str(program), f"{scenario}={size}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ, WEFT_PROCS="1"))
        ops = re.search(r'"ops":(\d+)', done.stdout)
        if done.returncode or not ops:
            raise Failure(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
        return int(ops[1]), costs_by_function(out.read_text())


def run_plainly(program, scenario, size):
    """(operations, page faults, voluntary context switches)"""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([program, f"{scenario}={size}"], stdout=subprocess.PIPE, text=True, check=True,
                          env=dict(os.environ, WEFT_PROCS="1"))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    ops = re.search(r'"ops":(\d+)', done.stdout)
    return int(ops[1]), after.ru_minflt - before.ru_minflt, after.ru_nvcsw - before.ru_nvcsw


def short_name(function):
    """Without parameters and what namespaces everybody knows."""
    name = re.sub(r"'\d+$", "", function).replace("(anonymous namespace)::", "")
    while (shorter := re.sub(r"\([^()]*\)|<[^<>]*>", "", name)) != name:
        name = shorter
    name = re.sub(r" \[clone .*\]| const$", "", name).strip()
    return re.sub(r"\b(weft|detail|compare|std)::", "", name).split(" ")[-1]  # without the return type


def per_operation(short, long):
    """function -> Counter of costs per operation."""
    ops, result = long[0] - short[0], defaultdict(Counter)
    for sign, (_, functions) in ((-1, short), (1, long)):
        for function, costs in functions.items():
            for event in EVENTS:
                result[short_name(function)][event] += sign * costs[event] / ops
    return result


def table(costs, least):
    """Markdown; functions with fewer instructions than `least` make one row."""
    lines = ["| function | instructions | locked | L1 misses | LL misses |", "|---|---:|---:|---:|---:|"]
    rest, total = Counter(), Counter()
    for function, counter in sorted(costs.items(), key=lambda item: -item[1]["Ir"]):
        total.update(counter)
        if counter["Ir"] < least:
            rest.update(counter)
            continue
        lines.append(row(f"`{function}`", counter))
    return [*lines, row("the rest", rest), row("**all**", total)]


def row(name, counter):
    return f"| {name} | {counter['Ir']:.1f} | " + " | ".join(f"{counter[event]:.2f}" for event in EVENTS[1:]) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=pathlib.Path, help="weft_counts")
    parser.add_argument("scenario", help="with its size n, if it is none of the gate's")
    parser.add_argument("--least", type=float, default=1, help="instructions of a function that has a row (default: 1)")
    args = parser.parse_args()
    name, _, size = args.scenario.partition("=")
    n = int(size) if size else SIZES.get(name)
    if n is None:
        parser.error(f"{name} needs a size: {name}=10000")
    try:
        short, long = (run_counted(args.program, name, n * factor) for factor in (1, 3))
        if short[0] == long[0]:
            raise Failure(f"{name} does as many operations whatever its size: nothing to take the difference of")
    except Failure as failure:
        print(f"explain: {failure}")
        return 1
    print("\n".join(table(per_operation(short, long), args.least)))
    short, long = (run_plainly(args.program, name, n * factor) for factor in (10, 30))
    ops = long[0] - short[0]
    print(f"\nPage faults: {(long[1] - short[1]) / ops:.4f}; voluntary context switches: {(long[2] - short[2]) / ops:.6f}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
