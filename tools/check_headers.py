#!/usr/bin/env python3
"""Checks that each installed header compiles alone, with nothing from above its component.

By Clang, which is quicker, each on its own; by GCC, which reads the same standard library, a component's headers all at once.
"""

import concurrent.futures
import os
import sys

from project import COMPONENTS, ROOT, component_of, include_flags, installed_headers, report, run

FLAGS = ["-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror", "-x", "c++", "-"]


def name_of(header):
    return header.relative_to(*header.parts[:1]).relative_to("include")


def check(compiler, component, headers):
    """None, or what the compiler says of these headers, each included twice."""
    source = "".join(f"#include <{name_of(header)}>\n" for header in headers * 2)
    result = run([compiler] + include_flags(component) + FLAGS, input=source, cwd=ROOT)
    what = headers[0] if len(headers) == 1 else component
    return f"{what}: does not compile with {compiler} alone\n{result.stdout}" if result.returncode else None


def main():
    headers = installed_headers()
    jobs = [("clang++-14", component_of(header), [header]) for header in headers]
    jobs += [("g++", c, [h for h in headers if component_of(h) == c]) for c in COMPONENTS]
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("JOBS", os.cpu_count()))) as pool:
        results = pool.map(lambda job: check(*job), jobs)
    return report(f"headers ({len(headers)} alone, 2 compilers)", [r for r in results if r])


if __name__ == "__main__":
    sys.exit(main())
