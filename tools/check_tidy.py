#!/usr/bin/env python3
"""Runs clang-tidy 14 over the library's sources with the flags of a Clang build folder.

  check_tidy.py <build folder> [text]    only the files whose path contains the text

Nearly all of clang-tidy's time goes into what the sources include. So a component's sources are included, a dozen at a
time, into one file that is checked for all of them. What was clean stays clean until its preprocessed text or .clang-tidy
changes; it is skipped.
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
BUNDLE = 12  # sources checked together: more save time, fewer keep all processors busy


def units_of(path):
    """What a unity file of Meson's includes; otherwise the file itself."""
    if "-unity" not in path.name:
        return [path]
    return [pathlib.Path(name).resolve() for name in re.findall(r"^#include ?<(.+)>$", path.read_text(), re.MULTILINE)]


def sources(build, text):
    """(path relative to the root, compile command as a list) of each source of ours in the build folder's libraries."""
    seen = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        if pathlib.Path(entry["output"]).parts[0] not in LIBRARY:
            continue
        for path in units_of((build / entry["file"]).resolve()):
            relative = path.relative_to(ROOT)
            if text in str(relative):
                seen.setdefault(relative, shlex.split(entry["command"]))
    return sorted(seen.items())


def flags(command):
    """What tells the compiler how to read a source, without the names of the files that it reads and writes."""
    kept, skip = [], False
    for word in command[command.index(next(w for w in command if w.startswith("-"))) :]:
        if skip or word in ("-MD", "-c") or word.endswith(".cpp") or word.startswith("-Werror"):
            skip = False
        elif word in ("-o", "-MQ", "-MF"):
            skip = True
        else:
            kept.append(word)
    return [word for word in kept if not re.fullmatch(r"-I\S+\.p", word)]  # Meson's folder for the target: empty


def bundles(chosen):
    """The sources in lists of a few whose flags are alike, and these flags."""
    alike = {}
    for path, command in chosen:
        alike.setdefault((path.parts[0], tuple(flags(command))), []).append(path)
    return [
        (paths[first : first + BUNDLE], list(words))
        for (_, words), paths in alike.items()
        for first in range(0, len(paths), BUNDLE)
    ]


def check(build, number, paths, words):
    """None when clean (now or last time), else what clang-tidy says."""
    folder = build / "tidy"
    folder.mkdir(exist_ok=True)
    whole = folder / f"bundle{number}.cpp"
    whole.write_text("".join(f'#include "{ROOT / path}"  // NOLINT(bugprone-suspicious-include)\n' for path in paths))
    text = run(["clang++-14", *words, "-E", "-C", str(whole)], cwd=build).stdout
    key = hashlib.sha256((text + (ROOT / ".clang-tidy").read_text()).encode()).hexdigest()
    known_clean = folder / "clean" / key
    if known_clean.exists():
        return None
    shown = f".*/({'|'.join(LIBRARY)})/.*\\.[ch]pp$"
    tidy = ["clang-tidy-14", "--quiet", f"--config-file={ROOT / '.clang-tidy'}", f"--header-filter={shown}"]
    result = run([*tidy, str(whole), "--", *words], cwd=build)
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
        results = list(pool.map(lambda item: check(build, item[0], *item[1]), enumerate(bundles(chosen))))
    # A finding in a header shows in every bundle that includes it: each finding once.
    problems = dict.fromkeys(finding for output in filter(None, results) for finding in findings(output))
    return report(f"tidy ({len(chosen)} files)", problems, "A false alarm gets // NOLINT(check-name): reason.")


if __name__ == "__main__":
    sys.exit(main())
