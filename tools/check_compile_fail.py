#!/usr/bin/env python3
"""Compiles snippets that must not compile, and checks that the compiler says why in words that a user can act on.

  check_compile_fail.py <file>... -- <compiler> [flags]

A file is a preamble and then snippets. Each begins with a line

  //! what it does: <regular expression>    must not compile, and what the compiler prints matches
  //! what it does: compiles                the same done right; without one the file proves nothing

and is compiled on its own behind the preamble, which has been compiled before, without linking, with messages in English.
"""

import concurrent.futures
import os
import pathlib
import re
import sys
import tempfile

from project import die, report, run

FLAGS = ["-std=c++20", "-fdiagnostics-color=never"]
HEAD = re.compile(r"//! (?P<what>[^:]+): (?P<expected>.+)")
AT_ONCE = 2


def run_compiler(compiler, arguments, **options):
    return run([*compiler, *FLAGS, *arguments], env={**os.environ, "LC_ALL": "C"}, **options)


def parts(path):
    """(the preamble, a list of snippets: line, what, expected, text). A text has the whole file's lines, those of the others
    blank, so that what a compiler says of it is true of the file."""
    lines = pathlib.Path(path).read_text(encoding="utf-8").splitlines()
    heads = [(number, HEAD.fullmatch(line)) for number, line in enumerate(lines) if line.startswith("//!")]
    wrong = [f"{path}:{number + 1}: neither `//! what: expression` nor `//! what: compiles`" for number, m in heads if not m]
    if wrong or not heads:
        die("\n".join(wrong) or f"{path}: no snippets")
    found = []
    for (start, match), (end, _) in zip(heads, heads[1:] + [(len(lines), None)]):
        kept = [""] * start + lines[start:end]
        found.append((start + 1, match["what"], match["expected"], "\n".join(kept) + "\n"))
    return "\n".join(lines[: heads[0][0]]) + "\n", found


def precompile(compiler, path, preamble, folder):
    """The arguments with which the compiler puts the preamble before what it compiles."""
    header = pathlib.Path(folder) / (pathlib.Path(path).stem + ".hpp")
    header.write_text(preamble, encoding="utf-8")
    result = run_compiler(compiler, ["-x", "c++-header", "-o", f"{header}.gch", header])
    if result.returncode:
        die(f"{path}: what stands before the snippets does not compile:\n{result.stdout}")
    return ["-include", header]


def problem_with(path, compiler, before, line, what, expected, text):
    """None when the snippet does what its head says."""
    result = run_compiler(compiler, [*before, "-fsyntax-only", "-x", "c++", "-"], input=text)
    compiles = result.returncode == 0
    place = f"{path}:{line}: {what}"
    if expected == "compiles":
        return None if compiles else f"{place}: should compile:\n{result.stdout}"
    if compiles:
        return f"{place}: compiles, and must not"
    if not re.search(expected, result.stdout):
        return f"{place}: the compiler does not say `{expected}`, but:\n{result.stdout}"
    return None


def check(compiler, path, folder, pool):
    """(how many snippets, a list of problems)"""
    preamble, snippets = parts(path)
    before = precompile(compiler, path, preamble, folder)
    problems = list(filter(None, pool.map(lambda snippet: problem_with(path, compiler, before, *snippet), snippets)))
    if not any(expected == "compiles" for _, _, expected, _ in snippets):
        problems.append(f"{path}: has no snippet that compiles")
    return len(snippets), problems


def main():
    if "--" not in sys.argv[1:]:
        die("usage: check_compile_fail.py <file>... -- <compiler> [flags]")
    split = sys.argv.index("--")
    files, compiler = sys.argv[1:split], sys.argv[split + 1 :]
    workers = min(AT_ONCE, int(os.environ.get("JOBS", AT_ONCE)))
    with concurrent.futures.ThreadPoolExecutor(workers) as pool, tempfile.TemporaryDirectory() as folder:
        results = [check(compiler, path, folder, pool) for path in files]
    problems = [problem for _, found in results for problem in found]
    return report(f"compile_fail ({sum(count for count, _ in results)} snippets)", problems)


if __name__ == "__main__":
    sys.exit(main())
