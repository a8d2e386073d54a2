#!/usr/bin/env python3
"""Runs the fuzz targets of a build folder for some minutes in all, and ends with one line: N passed, N failed.

  fuzz.py <build folder> [minutes] [target]

Each target starts from its corpus in the tree and from what earlier runs have found worth keeping (<build folder>/corpus). An input
that it dies of is written to <build folder>/crash-<target>-*; once it is mended, the input belongs into the tree's corpus.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys

SEEDS = pathlib.Path(__file__).resolve().parent.parent / "tests" / "fuzz"


def run(program, seconds):
    """True when nothing was found."""
    build, name = program.parent.parent.parent, program.name.removeprefix("fuzz_")
    found = build / "corpus" / name
    found.mkdir(parents=True, exist_ok=True)
    command = [str(program), f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=2048", "-max_len=4096",
               "-print_final_stats=1", f"-dict={SEEDS / 'http.dict'}", f"-artifact_prefix={build}/crash-{name}-",
               str(found), str(SEEDS / "corpus" / name)]
    print(f"{name}: {' '.join(command)}", flush=True)
    environment = dict(os.environ, ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "detect_stack_use_after_return=0"),
                       UBSAN_OPTIONS=os.environ.get("UBSAN_OPTIONS", "halt_on_error=1:print_stacktrace=1"))
    log = build / f"fuzz-{name}.log"
    with log.open("w") as output:
        status = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment,
                                check=False).returncode
    text = log.read_text(errors="replace")
    executed = re.search(r"stat::number_of_executed_units: (\d+)", text)
    coverage = re.findall(r"cov: (\d+)", text)
    print(f"{name}: {executed[1] if executed else '?'} inputs, {coverage[-1] if coverage else '?'} edges, "
          f"{len(list(found.iterdir()))} kept beside the tree's: {'nothing found' if status == 0 else 'FAILED'}", flush=True)
    if status:
        print("\n".join(f"    {line}" for line in text.splitlines()[-60:]))
    return status == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("minutes", type=float, nargs="?", default=10)
    parser.add_argument("target", nargs="?", default="")
    options = parser.parse_args()
    programs = sorted(p for p in options.build.resolve().glob("tests/fuzz/fuzz_*")
                      if options.target in p.name and p.is_file() and os.access(p, os.X_OK))
    if not programs:
        parser.error(f"no fuzz target matches '{options.target}'")
    seconds = max(1, round(60 * options.minutes / len(programs)))
    passed = sum(run(program, seconds) for program in programs)
    print(f"\n{passed} passed, {len(programs) - passed} failed")
    return 0 if passed == len(programs) else 1


if __name__ == "__main__":
    sys.exit(main())
