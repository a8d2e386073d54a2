"""The runtimes of the comparison: how to build each one's program, and what to say when that cannot be done.

Each has a folder of its name beside this file. All but weft's are built here and are no part of weft's build, so that
nobody needs their libraries. A program is built anew when a source is newer.
"""

import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def say(text):
    print(text, file=sys.stderr, flush=True)


class Skip(Exception):
    """Why a runtime is left out, and what would bring it in."""


@dataclass
class Peer:
    """One runtime: how to build its program and how to tell it the number of processors."""

    name: str
    processors_variable: str
    build: Callable[[pathlib.Path], pathlib.Path]  # of a build folder: the program; raises Skip
    program: pathlib.Path | None = None
    version: str = ""
    scenarios: frozenset = frozenset()  # names of those that it has a counterpart of


def run_quietly(command, what, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options)
    if done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-30:])
        raise Skip(f"{what} failed:\n{tail}")
    return done.stdout


def is_up_to_date(program, sources):
    if not program.exists():
        return False
    return program.stat().st_mtime > max(source.stat().st_mtime for source in sources)


def build_weft(folder):
    if shutil.which("meson") is None:
        raise Skip("meson is not installed (Debian: apt install meson g++, then ./dev setup)")
    if not (folder / "meson-info").is_dir():
        run_quietly(["meson", "setup", str(folder), str(ROOT), "-Dtests=false", "-Dexamples=false"], "meson setup")
    run_quietly(["meson", "compile", "-C", str(folder), "weft_bench"], "the build of weft_bench")
    return folder / "bench" / "weft_bench"


def build_go(folder):
    if shutil.which("go") is None:
        raise Skip("go is not installed (Debian: apt install golang-go; a newer one is with Go's project)")
    program, sources = folder / "go_bench", sorted((HERE / "go").glob("*.go"))
    if not is_up_to_date(program, sources):
        run_quietly(["go", "build", "-o", str(program), *map(str, sources)], "the build of go_bench")
    return program


def build_cpp(folder, name, *libraries):
    """A peer in C++: all sources of its folder."""
    program, sources = folder / f"{name}_bench", sorted((HERE / name).glob("*.cpp"))
    headers = [*HERE.glob("*.hpp"), *(HERE / name).glob("*.hpp")]
    if not is_up_to_date(program, sources + headers):
        options = ["-std=c++20", "-O2", "-DNDEBUG", "-pthread"]
        run_quietly(["g++", *options, "-o", str(program), *map(str, sources), *libraries], f"the build of {name}_bench")
    return program


def has_cpp(header, *libraries):
    """Whether a program that includes the header links with the libraries."""
    return shutil.which("g++") is not None and subprocess.run(
        ["g++", "-std=c++20", "-x", "c++", "-", "-o", os.devnull, *libraries], text=True, check=False,
        input=f"#include <{header}>\nint main() {{}}\n", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def build_std(folder):
    if shutil.which("g++") is None:
        raise Skip("g++ is not installed (Debian: apt install g++)")
    return build_cpp(folder, "std")


def build_boost_fiber(folder):
    libraries = ["-lboost_fiber", "-lboost_context"]
    if not has_cpp("boost/version.hpp", *libraries):  # the headers come with any Boost: it is the library that tells
        raise Skip("Boost.Fiber is not installed (Debian: apt install g++ libboost-fiber1.81-dev)")
    return build_cpp(folder, "boost_fiber", *libraries)


def build_tbb(folder):
    if not has_cpp("oneapi/tbb/version.h", "-ltbb"):
        raise Skip("oneTBB is not installed (Debian: apt install g++ libtbb-dev)")
    return build_cpp(folder, "tbb", "-ltbb")


def build_tokio(folder):
    if shutil.which("cargo") is None:
        raise Skip("cargo is not installed (it comes with Rust; Debian's is too old for today's tokio)")
    target = folder / "tokio"
    rustc = run_quietly(["rustc", "--version"], "rustc --version").split(" (")[0].strip()
    run_quietly(["cargo", "build", "--release", "--locked", "--manifest-path", str(HERE / "tokio" / "Cargo.toml"),
                 "--target-dir", str(target)], "the build of tokio_bench", env=dict(os.environ, TOKIO_BENCH_RUSTC=rustc))
    return target / "release" / "tokio_bench"


PEERS = [
    Peer("weft", "WEFT_PROCS", build_weft),
    Peer("go", "GOMAXPROCS", build_go),
    Peer("std", "STD_PROCS", build_std),
    Peer("boost_fiber", "BOOST_FIBER_PROCS", build_boost_fiber),
    Peer("tokio", "TOKIO_WORKER_THREADS", build_tokio),
    Peer("tbb", "TBB_PROCS", build_tbb),
]


def build(peers, folder):
    """The peers that could be built; for the others, a line that says what is missing."""
    built = []
    for peer in peers:
        say(f"building {peer.name} ...")
        folder.mkdir(parents=True, exist_ok=True)
        try:
            peer.program = peer.build(folder)
            peer.version = run_quietly([str(peer.program), "--version"], f"{peer.program.name} --version").strip()
            listed = run_quietly([str(peer.program), "--list"], f"{peer.program.name} --list").split()
        except Skip as reason:
            say(f"{peer.name} is left out: {reason}")
            continue
        peer.scenarios = frozenset(listed)
        built.append(peer)
        if peer.name == "weft" and " release " not in peer.version:
            say(f"warning: not a release build, the figures mean little: {peer.version}")
    return built
