#!/usr/bin/env python3
"""Compiles snippets that must not compile, and checks that the compiler says why in words that a user can act on.

  check_compile_fail.py <file>... -- <compiler> [flags]

A file is a preamble and then snippets. Each begins with a line

  //! what it does: <regular expression>    must not compile, and what the compiler prints matches
  //! what it does: compiles                the same done right; without one the file proves nothing

and is compiled on its own behind the preamble, without linking, with messages in English.
"""

import concurrent.futures
import os
import pathlib
import re
import sys

from project import die, report, run

HEAD = re.compile(r"//! (?P<what>[^:]+): (?P<expected>.+)")
AT_ONCE = 2


def snippets(path):
    """(line, what, expected, text) of each snippet. The text has the whole file's lines, those of the others blank."""
    lines = pathlib.Path(path).read_text(encoding="utf-8").splitlines()
    heads = [(number, HEAD.fullmatch(line)) for number, line in enumerate(lines) if line.startswith("//!")]
    wrong = [f"{path}:{number + 1}: neither `//! what: expression` nor `//! what: compiles`" for number, m in heads if not m]
    if wrong or not heads:
        die("\n".join(wrong) or f"{path}: no snippets")
    found = []
    for (start, match), (end, _) in zip(heads, heads[1:] + [(len(lines), None)]):
        kept = lines[: heads[0][0]] + [""] * (start - heads[0][0]) + lines[start:end]
        found.append((start + 1, match["what"], match["expected"], "\n".join(kept) + "\n"))
    return found


def problem_with(path, compiler, line, what, expected, text):
    """None when the snippet does what its head says."""
    command = compiler + ["-std=c++20", "-fsyntax-only", "-fdiagnostics-color=never", "-x", "c++", "-"]
    result = run(command, input=text, env={**os.environ, "LC_ALL": "C"})
    compiles = result.returncode == 0
    place = f"{path}:{line}: {what}"
    if expected == "compiles":
        return None if compiles else f"{place}: should compile:\n{result.stdout}"
    if compiles:
        return f"{place}: compiles, and must not"
    if not re.search(expected, result.stdout):
        return f"{place}: the compiler does not say `{expected}`, but:\n{result.stdout}"
    return None


def main():
    if "--" not in sys.argv[1:]:
        die("usage: check_compile_fail.py <file>... -- <compiler> [flags]")
    split = sys.argv.index("--")
    files, compiler = sys.argv[1:split], sys.argv[split + 1 :]
    jobs, problems = [], []
    for path in files:
        found = snippets(path)
        if not any(expected == "compiles" for _, _, expected, _ in found):
            problems.append(f"{path}: has no snippet that compiles")
        jobs += [(path, compiler, *snippet) for snippet in found]
    workers = min(AT_ONCE, int(os.environ.get("JOBS", AT_ONCE)))
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        problems += filter(None, pool.map(lambda job: problem_with(*job), jobs))
    return report(f"compile_fail ({len(jobs)} snippets)", problems)


if __name__ == "__main__":
    sys.exit(main())
