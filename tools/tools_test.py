#!/usr/bin/env python3
"""Tests of the tools themselves: each rule of check_layers finds what breaks it, run_tests counts what happened, snippets that
should not compile and do are found, and so are tags and rules that do not fit together."""

import pathlib
import shutil
import sys
import tempfile
import unittest

from project import code_only, run
from run_tests import count, without_passed

TOOLS = pathlib.Path(__file__).resolve().parent

CLEAN = {
    "runtime/include/weft/go.hpp": "#pragma once\n#include <cstdint>\n",
    "runtime/include/weft/detail/park.hpp": '#pragma once\n#include "weft/go.hpp"\n',
    "runtime/src/idle.hpp": "#pragma once\n",
    "runtime/src/stack.hpp": "#pragma once\n",
    "runtime/src/stack.cpp": '#include "stack.hpp"\nvoid f() { ::mmap(nullptr, 0, 0, 0, 0, 0); }\n',
    "runtime/src/worker.cpp": "thread_local int worker;\n",
    "channels/include/weft/chan.hpp": "#pragma once\n#include <weft/detail/park.hpp>\n",
    "examples/hello.cpp": "#include <weft/chan.hpp>\n// thread_local mmap( are words here\n",
}

# what to add to which file, and a piece of what the check must say
BROKEN = [
    ("runtime/include/weft/go.hpp", "#include <weft/chan.hpp>", "channels stands above it"),
    ("channels/src/core.cpp", '#include "idle.hpp"', "private to runtime"),
    ("examples/hello.cpp", "#include <weft/detail/park.hpp>", "public headers only"),
    ("bench/b.cpp", '#include "../runtime/src/idle.hpp"', "public headers only"),
    ("runtime/include/weft/go.hpp", "#include <functional>", "<functional> may not"),
    ("runtime/include/weft/go.hpp", "#include <boost/any.hpp>", "<boost/any.hpp> may not"),
    ("runtime/include/weft/go.hpp", "#define X 1", "no macros"),
    ("runtime/include/weft/go.hpp", "#include <weft/detail/park.hpp>", "cycle:"),
    ("runtime/src/new.hpp", "int x;", "#pragma once"),
    ("runtime/src/new.cpp", "thread_local int x;", "thread_local belongs"),
    ("runtime/src/new.cpp", "void g() { madvise(0, 0, 0); }", "mmap and its family belongs"),
    ("runtime/src/new.cpp", "#include <boost/context/detail/fcontext.hpp>", "Boost.Context belongs"),
    ("runtime/src/new.cpp", "moodycamel::ConcurrentQueue<int> q;", "moodycamel belongs"),
    ("runtime/src/new.cpp", "int e = epoll_create1(0);", "epoll belongs"),
    ("runtime/src/new.cpp", "#ifdef __clang__", "the compiler or the processor belongs"),
    ("sync/src/new.cpp", "#include <weft/nosuch.hpp>", "not a header of ours"),
    ("sync/src/new.cpp", "int n;  // release [new.tag]: who knows", "[new.tag] is not in the table"),
]


class LayersTest(unittest.TestCase):
    def check(self, path=None, line=None):
        """Runs check_layers on the clean tree with one line added; returns (exit status, output)."""
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            shutil.copytree(TOOLS, root / "tools", ignore=shutil.ignore_patterns("__pycache__"))
            for name, text in CLEAN.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text)
            if path:
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                with open(root / path, "a", encoding="utf-8") as file:
                    file.write(line + "\n")
            result = run([sys.executable, root / "tools" / "check_layers.py"])
            return result.returncode, result.stdout

    def test_a_clean_tree_passes(self):
        self.assertEqual(self.check()[0], 0, self.check()[1])

    def test_each_broken_rule_is_found(self):
        for path, line, expected in BROKEN:
            with self.subTest(line=line):
                status, output = self.check(path, line)
                self.assertEqual(status, 1, output)
                self.assertIn(expected, output)


class CodeOnlyTest(unittest.TestCase):
    def test_comments_and_literals_go_and_lines_stay(self):
        text = "int a; // x\n/* y\n */ char b = '\"'; const char* c = \"z \\\" z\"; auto d = R\"(q)\"; int e = 1'000;\n"
        code = code_only(text)
        self.assertEqual(code.count("\n"), text.count("\n"))
        for gone in "xyzq":
            self.assertNotIn(gone, code)
        for kept in ("int a;", "int e = 1'000;"):
            self.assertIn(kept, code)


class CountTest(unittest.TestCase):
    OUTPUT = "[==========] Running 3 tests\n[ RUN      ] A.B\n[       OK ] A.B (0 ms)\n[ RUN      ] A.C\n"

    def record(self, result, ending=""):
        return {"name": "a", "stdout": self.OUTPUT + ending, "result": result}

    def test_cases_are_counted(self):
        ending = "[  SKIPPED ] A.C (0 ms)\n[ RUN      ] A.D/1\n[  FAILED  ] A.D/1, where GetParam() = 1 (2 ms)\n"
        self.assertEqual(count(self.record("FAIL", ending)), (1, 1, ["A.D/1"]))

    def test_a_case_that_never_ends_has_failed(self):
        self.assertEqual(count(self.record("TIMEOUT")), (1, 0, ["A.C"]))

    def test_a_bad_exit_after_good_cases_has_failed(self):
        self.assertEqual(count(self.record("FAIL", "[       OK ] A.C (1 ms)\n")), (2, 0, ["a"]))

    def test_any_other_program_is_one_test(self):
        self.assertEqual(count({"name": "e", "result": "OK"}), (1, 0, []))
        self.assertEqual(count({"name": "e", "result": "SKIP"}), (0, 1, []))
        self.assertEqual(count({"name": "e", "result": "FAIL"}), (0, 0, ["e"]))


class CompileFailTest(unittest.TestCase):
    CONTROL = "//! allowed: compiles\nint f() { return one; }\n"

    def check(self, text):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "snippets.cpp"
            file.write_text("constexpr int one = 1;\n" + text)
            result = run([sys.executable, TOOLS / "check_compile_fail.py", file, "--", "g++"])
            return result.returncode, result.stdout

    def test_what_must_not_compile_is_told_from_what_does(self):
        for text, status, expected in [
            ("//! not allowed: not declared\nint g() { return two; }\n", 0, "clean"),
            ("//! not allowed: no such phrase\nint g() { return two; }\n", 1, "does not say"),
            ("//! not allowed: not declared\nint g() { return one; }\n", 1, "compiles, and must not"),
            ("//! another: compiles\nint g() { return two; }\n", 1, "should compile"),
            ("//! no expectation\n", 1, "neither"),
        ]:
            with self.subTest(text=text):
                found, output = self.check(self.CONTROL + text)
                self.assertEqual(found, status, output)
                self.assertIn(expected, output)

    def test_a_file_without_a_control_proves_nothing(self):
        self.assertIn("no snippet that compiles", self.check("//! not allowed: not declared\nint g() { return two; }\n")[1])


class ConformanceTest(unittest.TestCase):
    RULES = "# rules\nCH-1\tC\tfirst\nCH-2\tQ\tsecond\nCH-3\tC\tthird\nGO-1\tC\telsewhere\n"
    TESTS = '''
// Rules: CH-1
int helper();
TYPED_TEST(ChanTest, Typed) {}
/// Rules: CH-1, CH-2
TEST_P(ChanTest, WithParameter) { const char* text = "// Rules: CH-9"; }
'''

    def check(self, tests, excuses="CH-3\tno room\n", *arguments):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            shutil.copytree(TOOLS, root / "tools", ignore=shutil.ignore_patterns("__pycache__"))
            (root / "docs").mkdir()
            (root / "tests" / "compile_fail").mkdir(parents=True)
            (root / "tools" / "rules.tsv").write_text(self.RULES)
            (root / "tools" / "rules_untested.tsv").write_text(excuses)
            (root / "tests" / "a_test.cpp").write_text(tests)
            (root / "tests" / "compile_fail" / "b.cpp").write_text("// Rules: CH-2\n")
            command = [sys.executable, root / "tools" / "conformance.py"]
            run(command + ["--update"])
            result = run(command)
            return result.returncode, result.stdout, (root / "docs" / "conformance.md").read_text()

    def test_tags_of_every_kind_of_test_are_found(self):
        status, output, page = self.check(self.TESTS)
        self.assertEqual(status, 0, output)
        self.assertIn("| CH-1 | C | first | `ChanTest.Typed`, `ChanTest.WithParameter` |", page)
        self.assertIn("| CH-2 | Q | second | `ChanTest.WithParameter`, `compile_fail/b` |", page)
        self.assertIn("| CH-3 | C | third | *no room* |", page)
        self.assertNotIn("GO-1", page)

    def test_what_does_not_fit_is_reported(self):
        for tests, excuses, expected in [
            (self.TESTS, "", "CH-3 (third) has neither a test nor a reason"),
            (self.TESTS, "CH-1\tx\nCH-3\tx\n", "CH-1 has a test now"),
            (self.TESTS, "CH-3\tx\nCH-8\tx\n", "no rule 'CH-8'"),
            (self.TESTS + "// Rules: CH-1, CH-7\nTEST(A, B) {}\n", "CH-3\tx\n", "a_test.cpp:7: there is no rule 'CH-7'"),
            (self.TESTS + "// Rules: CH-1\n", "CH-3\tx\n", "a_test.cpp:7: no test follows"),
            (self.TESTS + "// Rules: CH-1\n// TEST(A, B)\n", "CH-3\tx\n", "a_test.cpp:7: no test follows"),
        ]:
            with self.subTest(expected=expected):
                status, output, _ = self.check(tests, excuses)
                self.assertEqual(status, 1, output)
                self.assertIn(expected, output)


class FailureOutputTest(unittest.TestCase):
    def test_only_what_passed_is_left_out(self):
        passed = "[ RUN      ] A.a\nsaid in passing\n[       OK ] A.a (3 ms)\n"
        failed = "[ RUN      ] A.b\nbad thing\n[  FAILED  ] A.b (0 ms)\n"
        self.assertEqual(without_passed(f"x\n{passed}{failed}{passed}end\n"), f"x\n{failed}end\n")


if __name__ == "__main__":
    unittest.main()
