#!/usr/bin/env python3
"""Repeats the tests with varied processors and chaos seeds, and says how to repeat what failed.

  soak.py <build folder> [minutes | <n>x] [--seed n] [--as-ci] [filter]

Races that CI repeats ten thousand times are repeated a hundred thousand times here (WEFT_SOAK in the environment), unless
--as-ci asks for the tests as they are: more rounds in the same time.
`5` goes on for five minutes (the default), `50x` for fifty rounds. A round runs every chosen program once, with
WEFT_PROCS from 1 2 4 8 in turn, and every second round has a random WEFT_CHAOS; eight rounds see all combinations.
"""

import argparse
import itertools
import os
import pathlib
import random
import re
import sys
import time

from run_tests import count, is_gtest, run_directly, select, show_failure, tests_of

PROCESSORS = (1, 2, 4, 8)


def rounds(seed):
    """(WEFT_PROCS, WEFT_CHAOS or None), for ever."""
    source = random.Random(seed)
    for start in itertools.cycle((0, 1)):
        for number, processors in enumerate(PROCESSORS, start):
            yield processors, source.randrange(1, 2**31) if number % 2 else None


def environment_of(processors, chaos, as_ci):
    environment = dict(os.environ, WEFT_PROCS=str(processors), WEFT_SOAK="1")
    environment.pop("WEFT_CHAOS", None)
    if as_ci:
        environment.pop("WEFT_SOAK")
    if chaos is not None:
        environment["WEFT_CHAOS"] = str(chaos)
    return environment


def repeat_line(result, case, environment):
    """The command line that runs the failed case again as it ran."""
    command = " ".join(result["command"])
    if not case.startswith(result["name"]):
        command += f" --gtest_filter={case}"
    settings = [f"{name}={environment[name]}" for name in ("WEFT_SOAK", "WEFT_PROCS", "WEFT_CHAOS") if name in environment]
    return " ".join([*settings, command])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("length", nargs="?", default="5", help="minutes, or <n>x for n rounds")
    parser.add_argument("filter", nargs="?")
    parser.add_argument("--repeat", type=int, help="the same as <n>x")
    parser.add_argument("--seed", type=int, default=None, help="of the chaos seeds")
    parser.add_argument("--as-ci", action="store_true", help="no longer races than CI's")
    parser.add_argument("--slower", type=float, default=5.0)
    options = parser.parse_intermixed_args()
    if options.repeat and not options.filter and options.length != parser.get_default("length"):
        options.filter = options.length  # `--repeat 50 select`: the one word left is the filter
    length = f"{options.repeat}x" if options.repeat else options.length
    if not re.fullmatch(r"\d+x|\d+(\.\d+)?", length):
        parser.error(f"'{length}' is neither minutes (5) nor rounds (50x)")
    last_round = int(length[:-1]) if length.endswith("x") else None
    end = None if last_round else time.monotonic() + 60 * float(length)

    options.quick, options.suite = False, None
    tests, gtest_filter = select([t for t in tests_of(options.build) if is_gtest(t)], options)
    if not tests:
        parser.error(f"no test matches '{options.filter}'")
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(2**31)
    unit = "" if last_round else " minutes"
    programs = len({t["cmd"][0] for t in tests})
    print(f"soak: {programs} test programs in {options.build}, {length}{unit}, --seed {seed}", flush=True)

    passed, failures = 0, []
    try:
        for number, (processors, chaos) in enumerate(rounds(seed), 1):
            if (last_round and number > last_round) or (end and time.monotonic() > end):
                break
            began, broken = time.monotonic(), 0
            environment = environment_of(processors, chaos, options.as_ci)
            for result in run_directly(tests, environment, gtest_filter, options.slower):
                counts = count(result)
                passed += counts[0]
                for case in counts[2]:
                    broken += 1
                    failures.append(repeat_line(result, case, environment))
                if counts[2]:
                    show_failure(result)
                    print("    again: " + "\n           ".join(failures[-len(counts[2]):]))
            print(f"round {number:>3}  WEFT_PROCS={processors}  WEFT_CHAOS={'-' if chaos is None else chaos:<10}  "
                  f"{f'{broken} failed' if broken else 'ok':<9} {time.monotonic() - began:6.1f} s", flush=True)
    except KeyboardInterrupt:
        print("stopped")
    if failures:
        print("\nto repeat what failed:")
        for line in dict.fromkeys(failures):
            print(f"  {line}")
    print(f"\n{passed} passed, {len(failures)} failed")
    return 1 if failures or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
