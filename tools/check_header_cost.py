#!/usr/bin/env python3
"""Measures what including each public header costs, in preprocessed lines, against tools/header_budget.txt.

  check_header_cost.py             print the table; fail when a header is over its budget or has none
  check_header_cost.py --update    write the budget anew: what is measured now plus a tenth, in round numbers
"""

import concurrent.futures
import os
import sys

from project import ROOT, component_of, include_flags, installed_headers, is_detail_header, run

BUDGET = ROOT / "tools" / "header_budget.txt"
INTRO = """\
# The most preprocessed lines (g++ 12, C++20, blank lines and line markers left out) that including each public header
# may cost. Raise a number only with a reason in the commit. Written by: python3 tools/check_header_cost.py --update
"""


def lines_of(header):
    """Preprocessed lines that are code, or None when the header does not preprocess."""
    name = header.relative_to(*header.parts[:1]).relative_to("include")
    command = ["g++", "-std=c++20", "-E", "-x", "c++", "-"] + include_flags(component_of(header))
    result = run(command, input=f"#include <{name}>\n", cwd=ROOT)
    if result.returncode:
        print(result.stdout)
        return name, None
    return name, sum(1 for line in result.stdout.splitlines() if line.strip() and not line.startswith("#"))


def read_budget():
    if not BUDGET.exists():
        return {}
    pairs = [line.split() for line in BUDGET.read_text().splitlines() if line.strip() and not line.startswith("#")]
    return {name: int(number) for name, number in pairs}


def judge(lines, allowed):
    if lines is None:
        return "does not compile"
    if allowed is None:
        return "no budget"
    return "OVER" if lines > allowed else ""


def main():
    headers = [h for h in installed_headers() if not is_detail_header(h)]
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("JOBS", os.cpu_count()))) as pool:
        measured = {str(name): lines for name, lines in pool.map(lines_of, headers)}

    if "--update" in sys.argv[1:]:
        rounded = {name: -(-lines * 11 // 10 // 500) * 500 for name, lines in measured.items() if lines}
        BUDGET.write_text(INTRO + "".join(f"{name:<28} {number:>6}\n" for name, number in sorted(rounded.items())))

    budget, over = read_budget(), 0
    print(f"{'header':<28} {'lines':>7} {'budget':>7}")
    for name, lines in sorted(measured.items()):
        allowed = budget.get(name)
        verdict = judge(lines, allowed)
        over += verdict != ""
        print(f"{name:<28} {lines or '-':>7} {allowed or '-':>7}  {verdict}".rstrip())
    for name in sorted(set(budget) - set(measured)):
        print(f"{name:<28} is in the budget but not in the tree")
        over += 1
    print(f"header cost: {over} problem(s). After a deliberate change: python3 tools/check_header_cost.py --update"
          if over else f"header cost ({len(measured)} headers): clean")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
