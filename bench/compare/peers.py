"""The runtimes of the comparison: how to build each one's program, and what to say when that cannot be done.

Each has a folder of its name beside this file.
"""

import os
import pathlib
import shutil
import subprocess
from dataclasses import dataclass

import programs
from programs import Skip, build_cpp_program, build_go_program, build_weft_program, run_quietly

HERE = pathlib.Path(__file__).resolve().parent


@dataclass
class Peer(programs.Peer):
    """One runtime."""

    scenarios: frozenset = frozenset()  # names of those that it has a counterpart of


def build_weft(folder):
    return build_weft_program(folder, "weft_bench")


def build_go(folder):
    return build_go_program(folder, "go_bench", sorted((HERE / "go").glob("*.go")))


def build_cpp(folder, name, *libraries):
    """A peer in C++: all sources of its folder."""
    headers = [*HERE.glob("*.hpp"), *(HERE / name).glob("*.hpp")]
    return build_cpp_program(folder, f"{name}_bench", sorted((HERE / name).glob("*.cpp")), headers, *libraries)


def has_cpp(header, *libraries):
    """Whether a program that includes the header links with the libraries."""
    return shutil.which("g++") is not None and subprocess.run(
        ["g++", "-std=c++20", "-x", "c++", "-", "-o", os.devnull, *libraries], text=True, check=False,
        input=f"#include <{header}>\nint main() {{}}\n", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def build_std(folder):
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
    run_quietly(["cargo", "build", "--release", "--manifest-path", str(HERE / "tokio" / "Cargo.toml"),
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


def ask_for_scenarios(peer):
    peer.scenarios = frozenset(run_quietly([str(peer.program), "--list"], f"{peer.program.name} --list").split())


def build(peers, folder):
    return programs.build(peers, folder, ask_for_scenarios)
