#!/usr/bin/env python3
"""Checks the format of every C++ file of ours with clang-format 16; with --fix, applies it instead."""

import sys

from project import ROOT, cxx_files, report, run


def main():
    files = [str(p) for p in cxx_files()]
    if not files:
        return report("format", [])
    fix = "--fix" in sys.argv[1:]
    result = run(["clang-format-16", "--style=file"] + (["-i"] if fix else ["--dry-run", "-Werror"]) + files, cwd=ROOT)
    if fix:
        print(result.stdout, end="")
        return result.returncode
    # The first line of each finding names the file and the place; the excerpt below it says little more.
    findings = [line for line in result.stdout.splitlines() if "[-Wclang-format-violations]" in line]
    if result.returncode and not findings:
        findings = result.stdout.splitlines()
    per_file = {}
    for line in findings:
        per_file.setdefault(line.split(":")[0], line)
    return report(f"format ({len(files)} files)", sorted(per_file.values()), "Apply it with: ./dev format")


if __name__ == "__main__":
    sys.exit(main())
