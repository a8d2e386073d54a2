"""What the other tools share: where weft's files are, and a C++ file's text without its comments and strings."""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Lowest first. A component may include itself and what stands before it.
COMPONENTS = ["runtime", "channels", "sync", "net", "http"]

# Everything that holds C++ of ours.
FOLDERS = COMPONENTS + ["examples", "bench", "tests"]


def cxx_files(folders=FOLDERS):
    """Every C++ file of ours, as paths relative to the root, sorted."""
    found = []
    for folder in folders:
        found += [p for p in (ROOT / folder).rglob("*") if p.suffix in (".hpp", ".cpp") and p.is_file()]
    return sorted(p.relative_to(ROOT) for p in found)


def component_of(path):
    """`channels` for channels/include/weft/chan.hpp; None outside the components."""
    return path.parts[0] if path.parts[0] in COMPONENTS else None


def is_installed_header(path):
    return component_of(path) is not None and path.parts[1] == "include" and path.suffix == ".hpp"


def is_detail_header(path):
    return is_installed_header(path) and "detail" in path.parts


def installed_headers():
    """Public and detail headers, lowest component first."""
    return [p for c in COMPONENTS for p in cxx_files([c]) if is_installed_header(p)]


def include_flags(component):
    """-I flags for a component's include folder and those below it, as the build has them."""
    below = COMPONENTS[: COMPONENTS.index(component) + 1]
    return [f"-I{ROOT / c / 'include'}" for c in below if (ROOT / c / "include").is_dir()]


# A comment, a raw string, a string or a character; digits first, so that 10'000 does not open a character.
NOT_CODE = re.compile(
    r"//[^\n]*|/\*.*?\*/"
    r"|R\"(?P<tag>[^()\s\\]*)\(.*?\)(?P=tag)\"|\"(?:\\.|[^\"\\\n])*\""
    r"|\b\d[\w.']*|'(?:\\.|[^'\\\n])+'",
    re.DOTALL,
)


def code_only(text):
    """The text with comments and literals blanked; line numbers stay, and so do the names in #include lines."""

    def blank(match):
        found = match.group()
        if found[0].isdigit():
            return found
        line_start = text.rfind("\n", 0, match.start()) + 1
        if found[0] == '"' and re.match(r"\s*#\s*include", text[line_start:match.start()]):
            return found
        return re.sub(r"[^\n]", " ", found)

    return NOT_CODE.sub(blank, text)


def report(name, problems, hint=""):
    """Prints the problems, one a line, and returns the exit status."""
    for problem in problems:
        print(problem)
    if problems:
        print(f"{name}: {len(problems)} problem{'s' if len(problems) > 1 else ''}{'. ' + hint if hint else ''}")
    else:
        print(f"{name}: clean")
    return 1 if problems else 0


def run(command, **options):
    """Runs a command, both streams captured together as text."""
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options)


def die(message):
    sys.exit(f"{pathlib.Path(sys.argv[0]).name}: {message}")
