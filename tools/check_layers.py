#!/usr/bin/env python3
"""Checks the rules that keep weft a house (docs/architecture.md): who may include whom, and who may use what.

  direction     http -> net -> sync -> channels -> runtime; private headers stay in their component
  outsiders     examples and bench include public headers only
  cycles        no include cycle among files, and none among the rooms of src/ (x.hpp with x.cpp)
  sole users    each hazard lives in one file
  headers       no macros, no heavy standard headers, no third party in what is installed
  orderings     every tag of an acquire or a release ("release [parker]: ...") is on the page docs/memory-model.md
"""

import pathlib
import re
import sys

from project import COMPONENTS, ROOT, code_only, component_of, cxx_files, is_installed_header, report

# What a hazard looks like in code, and the only files that may have it. Tests, benches and examples are exempt.
SOLE_USERS = [
    (r"\bthread_local\b", "thread_local", r"runtime/src/worker\.cpp"),
    (r"#\s*include\s*<boost/context|\bboost::context\b", "Boost.Context", r"runtime/src/switch\.\w+"),
    (r"#\s*include\s*<(concurrentqueue/)?(blocking)?concurrentqueue|\bmoodycamel\b", "moodycamel",
     r"runtime/src/inject_queue\.\w+"),
    (r"\b(mmap|munmap|mremap|madvise|mprotect|mincore)\s*\(", "mmap and its family", r"runtime/src/stack\.\w+"),
    (r"\b(epoll_\w+|eventfd)\s*\(", "epoll", r"runtime/src/netpoll_epoll\.\w+"),
    (r"\bsigaction\s*\(", "signal handlers", r"(runtime/src/(fault|photo|dump_signal)|net/src/signal)\.\w+"),
    (r"\b(posix_spawn\w*|fork|vfork)\s*\(", "starting processes", r"net/src/process_launch\.\w+"),
    (r"\bsigaltstack\s*\(", "signal stacks", r"runtime/src/signal_stack\.\w+"),
    (r"\b(SYS_futex\w*|__NR_futex\w*)\b", "futex", r"runtime/src/thread_parker\.\w+"),
    (r"\b__cxa_get_globals\w*\s*\(", "C++ exception state", r"runtime/src/switch\.\w+"),
    (r"\b_Unwind_\w+", "the unwinder", r"runtime/src/switch_\w+\.\w+"),
    (r"#\s*include\s*<openssl/", "OpenSSL", r"net/src/tls_\w+\.\w+"),
    # Compilers, processors and sanitizers are told apart in two rooms; everybody else asks those.
    (r"\b(__SANITIZE_\w+|__has_feature|__clang__|__GNUC__|__x86_64__|__aarch64__)\b", "the compiler or the processor",
     r"runtime/(include/weft/detail/platform\.hpp|src/switch\w*\.\w+)"),
]

# The scheduler's core: one state (sched.hpp), seen from its loop, its sleepers, its monitor and its end. Its headers have no cycle;
# its sources know each other, so for the rooms of src/ they count as one. (held_locks: of some debug builds.)
CORE = re.compile(r"runtime/src/(sched|idle|monitor|worker\w*|deadlock|held_locks)")

# Not in any installed header: they cost every user compile time, or force a dependency on them.
# Where such a header is what the interface is made of.
MAY_INCLUDE = {
    "functional": r"http/include/weft/http/\w+\.hpp",
    "boost/json.hpp": r"http/include/weft/http/json\.hpp",
    "boost/asio/buffer.hpp": r"net/include/weft/net/asio_stream\.hpp",
    "boost/asio/error.hpp": r"net/include/weft/net/asio_stream\.hpp",
    "boost/system/error_code.hpp": r"net/include/weft/net/asio_stream\.hpp",
    "boost/system/system_error.hpp": r"net/include/weft/net/asio_stream\.hpp",
}
BANNED_IN_HEADERS = re.compile(r"^(iostream|functional|thread|mutex|regex)$|^boost/|concurrentqueue")

# The sanitizers' names differ between the compilers; the private switch.hpp makes one of them.
MAY_DEFINE = r"runtime/src/switch\.hpp"

# In a comment at an atomic operation: "release [parker]: publishes what the waker prepared".
ORDERING_TAG = re.compile(r"//.*\b(?:acquire|release|acq_rel) \[([a-z_.]+)\]")

INCLUDE = re.compile(r"^\s*#\s*include\s*([<\"])([^>\"]+)[>\"]")


def includes(code):
    """(line number, '<' or '"', name) of each include."""
    for number, line in enumerate(code.splitlines(), 1):
        match = INCLUDE.match(line)
        if match:
            yield number, match.group(1), match.group(2)


def resolve(path, quote, name, files):
    """The file of ours that an include means, or None."""
    if quote == '"':
        for base in [path.parent] + [pathlib.Path(c) / "src" for c in COMPONENTS]:
            normal = pathlib.Path(*(ROOT / base / name).resolve().parts[len(ROOT.parts):])
            if normal in files:
                return normal
    for component in COMPONENTS:
        candidate = pathlib.Path(component) / "include" / name
        if candidate in files:
            return candidate
    return None


def check_include(path, quote, name, target):
    """What is wrong with this include, or None."""
    here, there = component_of(path), component_of(target) if target else None
    if path.parts[0] in ("examples", "bench"):
        if name.startswith("weft/detail/") or (there and not is_installed_header(target)):
            return f"{path.parts[0]} may include public headers only, not {name}"
    if here is None:
        return None
    if name.startswith("weft/") and target is None:
        return f"<{name}> is not a header of ours"
    if there and COMPONENTS.index(there) > COMPONENTS.index(here):
        return f"{here} may not include {name}: {there} stands above it"
    if there and there != here and not is_installed_header(target):
        return f"{name} is private to {there}"
    if is_installed_header(path):
        if quote == '"' and not name.startswith("weft/"):
            return f"an installed header names others as weft/..., not \"{name}\""
        if BANNED_IN_HEADERS.search(name) and not re.fullmatch(MAY_INCLUDE.get(name, ""), str(path)):
            return f"<{name}> may not be included by an installed header"
    return None


def cycles(graph):
    """Each include cycle once, as a list of nodes, shortest way found by a depth-first walk."""
    found, done = [], set()

    def walk(node, trail):
        if node in trail:
            found.append(trail[trail.index(node):] + [node])
            return
        if node in done:
            return
        for following in sorted(graph.get(node, ())):
            walk(following, trail + [node])
        done.add(node)

    for node in sorted(graph):
        walk(node, [])
    return found


def room(path):
    """x.hpp and x.cpp of one src/ folder are one room; any other file is a room by itself."""
    if len(path.parts) < 2 or path.parts[1] != "src":
        return str(path)
    name = str(path.with_suffix(""))
    return "runtime/src/sched" if CORE.fullmatch(name) else name


def readable(pattern):
    """A file pattern as people write it."""
    return pattern.replace(r"\w+", "*").replace(r"\w*", "*").replace("\\", "")


def main():
    files = {path: code_only((ROOT / path).read_text()) for path in cxx_files()}
    problems, graph, rooms = [], {}, {}

    for path, code in files.items():
        for number, quote, name in includes(code):
            target = resolve(path, quote, name, files)
            wrong = check_include(path, quote, name, target)
            if wrong:
                problems.append(f"{path}:{number}: {wrong}")
            if target:
                graph.setdefault(str(path), set()).add(str(target))
                if room(path) != room(target):
                    rooms.setdefault(room(path), set()).add(room(target))

        for number, line in enumerate(code.splitlines(), 1):
            if path.suffix == ".hpp" and re.match(r"\s*#\s*define\b", line) and not re.fullmatch(MAY_DEFINE, str(path)):
                problems.append(f"{path}:{number}: a header defines no macros")
            if component_of(path) is None:
                continue
            for pattern, what, owner in SOLE_USERS:
                if re.search(pattern, line) and not re.fullmatch(owner, str(path)):
                    problems.append(f"{path}:{number}: {what} belongs to {readable(owner)} alone")
        is_precompiled = path.parent.name == "pch"  # GCC warns of the pragma in what it compiles by itself
        if path.suffix == ".hpp" and not is_precompiled and not re.search(r"^\s*#\s*pragma\s+once\b", code, re.MULTILINE):
            problems.append(f"{path}:1: a header starts with #pragma once")

    page = ROOT / "docs/memory-model.md"
    explained = page.read_text() if page.exists() else ""
    for path in files:
        if component_of(path) is None:
            continue
        for number, line in enumerate((ROOT / path).read_text().splitlines(), 1):
            for tag in ORDERING_TAG.findall(line):
                if not re.search(rf"^\| [^|]*\b{re.escape(tag)}\b", explained, re.MULTILINE):
                    problems.append(f"{path}:{number}: [{tag}] is not in the table of docs/memory-model.md")

    file_cycles = cycles(graph)
    for cycle in file_cycles or cycles(rooms):
        problems.append("cycle: " + " -> ".join(cycle))
    return report(f"layers ({len(files)} files)", problems, "The rules are in docs/architecture.md.")


if __name__ == "__main__":
    sys.exit(main())
