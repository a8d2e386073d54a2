#!/usr/bin/env python3
"""Runs the tests of a build folder through Meson, shows what failed and ends with one line: N passed, N failed.

  run_tests.py <build folder> [--quick] [--suite name]... [--slower factor] [filter]

The filter is a part of a test's name (`channels`, `procs1`) or, when no test is called so, of a GoogleTest case in any
spelling (`recvonclosed`, `ChanTest.`). --quick runs each program in two modes only. --slower stretches the time limits.

Each program runs in several modes (processors, chaos seeds; tests/meson.build). With WEFT_PROCS or WEFT_CHAOS in the
environment it runs once, in that mode: WEFT_PROCS=1 WEFT_CHAOS=7 run_tests.py build/release select
"""

import argparse
import contextlib
import functools
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

LEFT_OUT_OF_QUICK = {"procs1", "procs4", "procs8", "chaos2", "bench"}
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
    return test["protocol"] == "gtest"


@functools.lru_cache
def cases_of(program):
    """The names of a GoogleTest program's cases."""
    listed = subprocess.run([program, "--gtest_list_tests"], stdout=subprocess.PIPE, text=True, check=False)
    names, suite = [], ""
    for line in listed.stdout.splitlines():
        word = line.split("#")[0].strip()
        if not line.startswith(" "):
            suite = word
        elif word:
            names.append(suite + word)
    return names


def select(tests, options):
    """(the tests to run, a GTEST_FILTER or None)"""
    if options.suite:
        tests = [t for t in tests if t["suite"] & set(options.suite)]
    if options.quick:
        tests = [t for t in tests if not t["suite"] & LEFT_OUT_OF_QUICK]
    if not options.filter:
        return tests, None
    by_name = [t for t in tests if options.filter in t["name"]]
    if by_name:
        return by_name, None
    wanted = options.filter.replace("*", "").lower()
    matching = {t["cmd"][0]: [c for c in cases_of(t["cmd"][0]) if wanted in c.lower()] for t in tests if is_gtest(t)}
    cases = sorted({case for found in matching.values() for case in found})
    return [t for t in tests if matching.get(t["cmd"][0])], ":".join(cases)


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


def without_passed(text):
    """GoogleTest's output without the cases that passed: what a failed one said must not be cut off."""
    return re.sub(r"^\[ RUN      \] (\S+)\n(?:(?!\[ RUN ).*\n)*?\[       OK \] \1 .*\n", "", text, flags=re.MULTILINE)


def show_failure(result):
    settings = " ".join(f"{k}={v}" for k, v in sorted(result["env"].items()) if k.startswith(("WEFT_", "GTEST_")))
    print(f"\n--- {result['name']}: {result['result']} (status {result['returncode']})")
    print(f"    {settings} {' '.join(result['command'])}")
    for stream in ("stdout", "stderr"):
        for line in tail(without_passed(result.get(stream, ""))):
            print(f"    {line}")


def closing_line(passed, failed, skipped):
    return f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else "")


def run(build, tests, gtest_filter=None, slower=1.0):
    """Runs these tests through Meson; returns its result records."""
    log = build / "meson-logs" / "testlog.json"
    log.unlink(missing_ok=True)
    environment = dict(os.environ)
    if gtest_filter:
        environment["GTEST_FILTER"] = gtest_filter
    command = ["meson", "test", "-C", str(build), "--no-rebuild", "-t", str(slower)]
    jobs = int(os.environ.get("JOBS", os.cpu_count()))
    at_once = jobs + 1 if jobs > 1 else 1  # a quarter of their time they wait
    command += ["--num-processes", str(at_once)] + [t["name"] for t in tests]
    subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False)
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def text_file():
    return tempfile.TemporaryFile("w+", errors="replace")


def run_directly(tests, environment, gtest_filter=None, slower=1.0):
    """Runs each program among these tests once, in this environment; returns records like Meson's."""
    if gtest_filter:
        environment = dict(environment, GTEST_FILTER=gtest_filter)
    for test in {tuple(t["cmd"]): t for t in tests}.values():
        record = {"name": pathlib.Path(test["cmd"][0]).name, "command": test["cmd"], "env": environment}
        began = time.monotonic()
        with text_file() as out, text_file() as err:
            process = subprocess.Popen(test["cmd"], env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                       cwd=test["workdir"], start_new_session=True)
            try:
                record["returncode"] = process.wait(test["timeout"] * slower)
                record["result"] = "FAIL" if record["returncode"] else "OK"
            except subprocess.TimeoutExpired:
                record["result"] = "TIMEOUT"
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # with any child it has left behind
                record.setdefault("returncode", process.wait())
            for name, stream in (("stdout", out), ("stderr", err)):
                stream.seek(0)
                record[name] = stream.read()
        record["duration"] = time.monotonic() - began
        yield record


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("filter", nargs="?")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--suite", action="append")
    parser.add_argument("--slower", type=float, default=1.0)
    options = parser.parse_intermixed_args()

    tests, gtest_filter = select(tests_of(options.build), options)
    if not tests:
        print(f"no test matches '{options.filter}'" if options.filter else "no tests", file=sys.stderr)
        return 2
    is_direct = "WEFT_PROCS" in os.environ or "WEFT_CHAOS" in os.environ
    if is_direct:
        tests = [t for t in tests if is_gtest(t)]
        results, expected = run_directly(tests, os.environ, gtest_filter, options.slower), 0
    else:
        results, expected = run(options.build, tests, gtest_filter, options.slower), len({t["name"] for t in tests})
    passed = failed = skipped = 0
    for result in results:
        counts = count(result)
        if is_direct:
            print(f"{result['name']:<20} {result['result']:<8} {result['duration']:6.2f} s", flush=True)
        passed, skipped, failed = passed + counts[0], skipped + counts[1], failed + len(counts[2])
        if counts[2]:
            show_failure(result)
        expected -= 1
    if expected > 0:
        print("\nthe test run ended early")
        failed += 1
    print(f"\n{closing_line(passed, failed, skipped)}")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
