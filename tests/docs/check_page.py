"""The example of docs/testing.md is the test that is compiled and run."""

import pathlib
import sys

root = pathlib.Path(__file__).resolve().parents[2]
code = (root / "tests/docs/debounce_test.cpp").read_text()
if f"```cpp\n{code}```\n" not in (root / "docs/testing.md").read_text():
    sys.exit("docs/testing.md does not show tests/docs/debounce_test.cpp as it is")
