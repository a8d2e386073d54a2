#!/usr/bin/env python3
"""Runs clang-tidy 14 over the library's sources, several at a time, with the flags of a Clang build folder.

  check_tidy.py <build folder> [text]    only the files whose path contains the text

A file that was clean stays clean until its preprocessed text or .clang-tidy changes; such files are skipped.
"""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shlex
import sys

from project import ROOT, die, report, run

LIBRARY = ("runtime", "channels", "sync", "net")  # the rest would take most of the time


def sources(build, text):
    """(path relative to the root, compile command as a list) of each source of ours in the build folder."""
    seen = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        path = (build / entry["file"]).resolve()
        if not path.is_relative_to(ROOT):
            continue
        relative = path.relative_to(ROOT)
        if relative.parts[0] in LIBRARY and text in str(relative):
            seen.setdefault(relative, shlex.split(entry["command"]))
    return sorted(seen.items())


def preprocess_command(command):
    """The compile command turned into one that prints the preprocessed text, comments (NOLINT) kept."""
    kept, skip = [], False
    for word in command:
        if skip or word in ("-MD", "-c"):
            skip = False
        elif word in ("-o", "-MQ", "-MF"):
            skip = True
        else:
            kept.append(word)
    return kept + ["-E", "-C"]


def check(build, path, command):
    """None when clean (now or last time), else what clang-tidy says."""
    text = run(preprocess_command(command), cwd=build).stdout
    key = hashlib.sha256((text + (ROOT / ".clang-tidy").read_text()).encode()).hexdigest()
    known_clean = build / "tidy-clean" / key
    if known_clean.exists():
        return None
    result = run(["clang-tidy-14", "--quiet", "-p", str(build), str(path)], cwd=ROOT)
    if result.returncode:
        noise = ("warnings generated", "Suppressed ", "Use -header-filter", "warnings treated as errors")
        return "\n".join(l for l in result.stdout.splitlines() if not any(n in l for n in noise))
    known_clean.parent.mkdir(exist_ok=True)
    known_clean.touch()
    return None


def findings(output):
    """The findings in what clang-tidy printed, each with the lines that belong to it; paths relative to the root."""
    found = []
    for line in output.splitlines():
        if re.search(r": (error|warning): ", line) or not found:
            found.append(re.sub(r"^(/\S*?/)?(\.\./)+", "", line).replace(f"{ROOT}/", ""))
        else:
            found[-1] += "\n" + line
    return found


def main():
    if len(sys.argv) < 2:
        die("usage: check_tidy.py <build folder> [text]")
    build = pathlib.Path(sys.argv[1]).resolve()
    chosen = sources(build, sys.argv[2] if len(sys.argv) > 2 else "")
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("JOBS", os.cpu_count()))) as pool:
        results = list(pool.map(lambda item: check(build, *item), chosen))
    # A finding in a header shows in every source that includes it: each finding once.
    problems = dict.fromkeys(finding for output in filter(None, results) for finding in findings(output))
    return report(f"tidy ({len(chosen)} files)", problems, "A false alarm gets // NOLINT(check-name): reason.")


if __name__ == "__main__":
    sys.exit(main())
