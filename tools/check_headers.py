#!/usr/bin/env python3
"""Checks that each installed header compiles alone, with both compilers and nothing from above its component."""

import concurrent.futures
import os
import sys

from project import ROOT, component_of, include_flags, installed_headers, report, run

COMPILERS = ["g++", "clang++-14"]
FLAGS = ["-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror", "-x", "c++", "-"]


def check(compiler, header):
    name = header.relative_to(*header.parts[:1]).relative_to("include")
    source = f"#include <{name}>\n#include <{name}>\n"
    result = run([compiler] + include_flags(component_of(header)) + FLAGS, input=source, cwd=ROOT)
    return f"{header}: does not compile alone with {compiler}\n{result.stdout}" if result.returncode else None


def main():
    headers = installed_headers()
    jobs = [(compiler, header) for header in headers for compiler in COMPILERS]
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("JOBS", os.cpu_count()))) as pool:
        results = pool.map(lambda job: check(*job), jobs)
    return report(f"headers ({len(headers)} alone, {len(COMPILERS)} compilers)", [r for r in results if r])


if __name__ == "__main__":
    sys.exit(main())
