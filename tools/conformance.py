#!/usr/bin/env python3
"""Which test shows which rule: docs/conformance.md, made of the `// Rules: CH-1, SEL-2` comments in tests/.

  conformance.py             fail when the page is not what the tags say, when a tag names an unknown rule or belongs to no
                             test, or when a contract rule of the required sections has neither test nor excuse
  conformance.py --update    write the page

A tag belongs to the next test below it; in tests/compile_fail, where a file is one test, to the file. The rules are in
tools/rules.tsv, the excuses in tools/rules_untested.tsv.
"""

import re
import sys

from project import NOT_CODE, ROOT, report

RULES = ROOT / "tools" / "rules.tsv"
EXCUSES = ROOT / "tools" / "rules_untested.tsv"
PAGE = ROOT / "docs" / "conformance.md"

SECTIONS = {
    "GEN": "Failure model",
    "CH": "Channels",
    "SEL": "Select",
    "MM": "Memory model",
    "TM": "Time",
    "HZ": "Hazards of C++",
    "GO": "Goroutines",
    "PAN": "Panics",
    "SCH": "Scheduler",
    "MP": "Number of processors",
    "LT": "Pinned threads",
    "DL": "Deadlocks",
    "LEAK": "Leaks",
    "SYN": "Bubbles",
    "CTX": "Context",
    "WG": "WaitGroup",
    "MU": "Mutex",
    "RW": "RWMutex",
    "ON": "Once",
    "CO": "Cond",
    "PO": "Pool",
    "MAP": "Map",
    "SM": "Semaphore",
    "EG": "ErrGroup",
    "SF": "SingleFlight",
    "WP": "Worker pools",
    "NET": "The network",
    "S": "Programs",
    "I": "The scheduler's invariants",
}
REQUIRED = (
    "GEN", "CH", "SEL", "MM", "TM", "HZ", "LEAK", "CTX", "WG", "MU", "RW", "ON", "CO", "PO", "MAP", "SM", "EG", "SF", "WP", "NET",
)  # shown in full; the others as far as tests carry their tags

TAG = re.compile(r"//[/\s]*Rules:\s*(?P<rules>.*)")
TEST = re.compile(r"\b(?:TYPED_)?TEST(?:_F|_P)?\s*\(\s*(\w+)\s*,\s*(\w+)\s*\)")

INTRO = """\
# Conformance: which test shows which rule

Made by `tools/conformance.py --update` from the `// Rules:` comments in `tests/`; `./dev check conformance` holds the two
together. Rules are named as in weft's contract of Go's semantics. Grades: C must hold in every execution, Q is quality that
programs feel (tested with bounds), N is promised by nobody, W is weft's own. Every C rule of the sections up to Hazards has a
test, or says why not. `compile_fail/…` are snippets that must not compile.
"""


def section_of(rule):
    return re.match(r"[A-Z]+", rule)[0]


def table(path):
    """The rows of a tab-separated file, without comments."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [line.split("\t") for line in lines if line.strip() and not line.startswith("#")]


def tags_in(path, text):
    """Yields (line, rules, test) of each tag; test is None when none follows before the next tag or the end."""
    pieces = [m for m in NOT_CODE.finditer(text) if TAG.match(m.group())]  # comments only: a string is no tag
    whole_file = f"compile_fail/{path.stem}" if path.parent.name == "compile_fail" else None
    # Comments and strings are blanked, so that a test's name in one of them is not taken for a test.
    code = NOT_CODE.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)
    for piece, following in zip(pieces, pieces[1:] + [None]):
        rules = [rule.strip() for rule in TAG.match(piece.group())["rules"].split(",")]
        test = TEST.search(code, piece.end(), following.start() if following else len(code))
        name = whole_file or (f"{test[1]}.{test[2]}" if test else None)
        yield text.count("\n", 0, piece.start()) + 1, rules, name


def collect(rules, problems):
    """rule -> names of its tests, in the order of files and lines."""
    tests = {rule: [] for rule in rules}
    for path in sorted((ROOT / "tests").rglob("*.[ch]pp")):
        for line, tagged, test in tags_in(path, path.read_text(encoding="utf-8")):
            place = f"{path.relative_to(ROOT)}:{line}"
            if test is None:
                problems.append(f"{place}: no test follows the tag")
            for rule in tagged:
                if rule not in rules:
                    problems.append(f"{place}: there is no rule '{rule}' (tools/rules.tsv)")
                elif test is not None and test not in tests[rule]:
                    tests[rule].append(test)
    return tests


def check_excuses(rules, tests, excuses, problems):
    for rule in excuses:
        if rule not in rules:
            problems.append(f"{EXCUSES.name}: there is no rule '{rule}'")
        elif tests[rule]:
            problems.append(f"{EXCUSES.name}: {rule} has a test now ({tests[rule][0]}): take its line out")
    for rule, (grade, title) in rules.items():
        if section_of(rule) in REQUIRED and grade == "C" and not tests[rule] and rule not in excuses:
            problems.append(f"{rule} ({title}) has neither a test nor a reason in {EXCUSES.name}")


def page(rules, tests, excuses):
    text = INTRO
    for section, title in SECTIONS.items():
        shown = [r for r in rules if section_of(r) == section and (section in REQUIRED or tests[r])]
        if not shown:
            continue
        text += f"\n## {title} ({section})\n\n| rule | grade | what | tests |\n|---|---|---|---|\n"
        for rule in shown:
            grade, what = rules[rule]
            shows = ", ".join(f"`{test}`" for test in tests[rule]) or (f"*{excuses[rule]}*" if rule in excuses else "")
            text += f"| {rule} | {grade} | {what} | {shows} |\n"
    return text


def main():
    rules = {row[0]: (row[1], row[2]) for row in table(RULES)}
    excuses = {row[0]: row[1] for row in table(EXCUSES)}
    problems = [f"{RULES.name}: {r}: no such section" for r in rules if section_of(r) not in SECTIONS]
    tests = collect(rules, problems)
    check_excuses(rules, tests, excuses, problems)
    wanted = page(rules, tests, excuses)
    if sys.argv[1:] == ["--update"]:
        PAGE.write_text(wanted, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != wanted:
        problems.append(f"{PAGE.relative_to(ROOT)} is not what the tags say: run tools/conformance.py --update")
    return report(f"conformance ({sum(map(bool, tests.values()))} of {len(rules)} rules have tests)", problems)


if __name__ == "__main__":
    sys.exit(main())
