#!/usr/bin/env python3
"""Runs the tests of a build folder through Meson, shows what failed and ends with one line: N passed, N failed.

  run_tests.py <build folder> [--quick] [--suite name]... [--slower factor] [filter]

The filter is a part of a test program's name (`chan`) or, when no program is called so, of a GoogleTest case
(`RecvOnClosed`, `ChanTest.*`). --quick leaves out the long suites. --slower stretches every time limit.
The environment goes through: WEFT_PROCS=1 WEFT_CHAOS=7 run_tests.py build/release select
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys

LONG_SUITES = {"stress", "examples", "install"}
SHOWN_LINES = 120  # of each stream of a failed program

RESULT = re.compile(
    r"\[  (?P<what>     OK|FAILED |SKIPPED) \] (?P<case>\S+?),? .*\(\d+ ms\)$|\[ RUN      \] (?P<run>\S+)"
)


def tests_of(build):
    """Meson's list of tests: dicts with name, suite (short names) and cmd."""
    listed = subprocess.run(["meson", "introspect", "--tests", str(build)], stdout=subprocess.PIPE, check=True)
    found = json.loads(listed.stdout)
    for test in found:
        test["suite"] = {s.split(":")[-1] for s in test["suite"]}
    return found


def is_gtest(test):
    return test["protocol"] == "gtest" or pathlib.Path(test["cmd"][0]).name.endswith("_test")


def has_case(test, pattern):
    command = [test["cmd"][0], "--gtest_list_tests", f"--gtest_filter={pattern}"]
    listed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    return any(line.startswith("  ") for line in listed.stdout.splitlines())


def select(tests, options):
    """(the tests to run, a GTEST_FILTER or None)"""
    if options.suite:
        tests = [t for t in tests if t["suite"] & set(options.suite)]
    if options.quick:
        tests = [t for t in tests if not t["suite"] & LONG_SUITES]
    if not options.filter:
        return tests, None
    by_name = [t for t in tests if options.filter in t["name"]]
    if by_name:
        return by_name, None
    pattern = options.filter if "*" in options.filter else f"*{options.filter}*"
    return [t for t in tests if is_gtest(t) and has_case(t, pattern)], pattern


def count(result):
    """(passed, skipped, names of what failed) of one program: GoogleTest cases, or the program itself as one."""
    output, fine = result.get("stdout", ""), result["result"] in ("OK", "EXPECTEDFAIL")
    if "[==========] Running" not in output:
        skipped = result["result"] == "SKIP"
        return int(fine), int(skipped), [] if fine or skipped else [result["name"]]
    passed, skipped, failed, unfinished = 0, 0, [], None
    for match in filter(None, map(RESULT.search, output.splitlines())):
        if match["run"]:
            unfinished = match["run"]
            continue
        unfinished = None
        passed += "OK" in match["what"]
        skipped += "SKIPPED" in match["what"]
        if "FAILED" in match["what"]:
            failed.append(match["case"])
    # A crash or a time limit ends a case without a result; a leak report fails a program whose cases all passed.
    if unfinished or (not fine and not failed):
        failed.append(unfinished or result["name"])
    return passed, skipped, failed


def tail(text):
    lines = text.splitlines()
    if len(lines) <= SHOWN_LINES:
        return lines
    return [f"... {len(lines) - SHOWN_LINES} lines left out ..."] + lines[-SHOWN_LINES:]


def show_failure(result):
    settings = " ".join(f"{k}={v}" for k, v in sorted(result["env"].items()) if k.startswith(("WEFT_", "GTEST_")))
    print(f"\n--- {result['name']}: {result['result']} (status {result['returncode']})")
    print(f"    {settings} {' '.join(result['command'])}")
    for stream in ("stdout", "stderr"):
        for line in tail(result.get(stream, "")):
            print(f"    {line}")


def closing_line(passed, failed, skipped):
    return f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else "")


def run(build, tests, gtest_filter=None, slower=1.0, environment=None, quiet=False):
    """Runs these tests; returns Meson's result records."""
    log = build / "meson-logs" / "testlog.json"
    log.unlink(missing_ok=True)
    environment = dict(os.environ if environment is None else environment)
    if gtest_filter:
        environment["GTEST_FILTER"] = gtest_filter
    command = ["meson", "test", "-C", str(build), "--no-rebuild", "-t", str(slower)] + [t["name"] for t in tests]
    output = subprocess.DEVNULL if quiet else None
    subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("filter", nargs="?")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--suite", action="append")
    parser.add_argument("--slower", type=float, default=1.0)
    options = parser.parse_args()

    tests, gtest_filter = select(tests_of(options.build), options)
    if not tests:
        print(f"no test matches '{options.filter}'" if options.filter else "no tests", file=sys.stderr)
        return 2
    results = run(options.build, tests, gtest_filter, options.slower)
    passed = failed = skipped = 0
    for result in results:
        counts = count(result)
        passed, skipped, failed = passed + counts[0], skipped + counts[1], failed + len(counts[2])
        if counts[2]:
            show_failure(result)
    if len(results) < len({t["name"] for t in tests}):
        print("\nthe test run ended early")
        failed += 1
    print(f"\n{closing_line(passed, failed, skipped)}")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
