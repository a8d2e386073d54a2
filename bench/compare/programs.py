"""What comparisons share: programs in several languages, how they are built, and what machine they ran on.

All but weft's are built here and are no part of weft's build, so that nobody needs their libraries. A program is built anew when
a source is newer.
"""

import os
import pathlib
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

BENCH = pathlib.Path(__file__).resolve().parent.parent
ROOT = BENCH.parent


def say(text):
    print(text, file=sys.stderr, flush=True)


@dataclass
class Peer:
    """One side of a comparison: how to build its program and how to tell it the number of processors."""

    name: str
    processors_variable: str
    build: Callable[[pathlib.Path], pathlib.Path]  # of a build folder: the program; raises Skip
    program: pathlib.Path | None = None
    version: str = ""


def add_peers_option(parser, known):
    parser.add_argument("--peers", help=f"some of {','.join(peer.name for peer in known)} (default: those installed)")


def wanted(parser, names, known):
    """The peers that --peers names; without it all."""
    if names is None:
        return known
    chosen = [name for name in names.split(",") if name]
    if unknown := [name for name in chosen if name not in {peer.name for peer in known}]:
        parser.error(f"no peer {', '.join(unknown)}; there are {', '.join(peer.name for peer in known)}")
    return [peer for peer in known if peer.name in chosen]


def in_turn(peers, turn):
    """The order of a turn: every other one backwards, so that nobody always runs after the same one. A program with much memory
    leaves warm pages to the next; some seconds later a virtual machine's host has taken them back."""
    return peers if turn % 2 == 0 else peers[::-1]


class Skip(Exception):
    """Why a peer is left out, and what would bring it in."""


def run_quietly(command, what, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options)
    if done.returncode != 0:
        tail = "\n".join(done.stdout.splitlines()[-30:])
        raise Skip(f"{what} failed:\n{tail}")
    return done.stdout


def needs(tool, advice):
    if shutil.which(tool) is None:
        raise Skip(f"{tool} is not installed ({advice})")


def is_up_to_date(program, sources):
    if not program.exists():
        return False
    return program.stat().st_mtime > max(source.stat().st_mtime for source in sources)


def build_weft_program(folder, name):
    """A target of bench/meson.build."""
    needs("meson", "Debian: apt install meson g++, then ./dev setup")
    if not (folder / "meson-info").is_dir():
        run_quietly(["meson", "setup", str(folder), str(ROOT), "-Dtests=false", "-Dexamples=false"], "meson setup")
    run_quietly(["meson", "compile", "-C", str(folder), name], f"the build of {name}")
    return folder / "bench" / name


def build_go_program(folder, name, sources):
    """Of sources that are no module."""
    needs("go", "Debian: apt install golang-go; a newer one is with Go's project")
    program = folder / name
    if not is_up_to_date(program, sources):
        run_quietly(["go", "build", "-o", str(program), *map(str, sources)], f"the build of {name}")
    return program


def build_cpp_program(folder, name, sources, headers, *libraries):
    needs("g++", "Debian: apt install g++")
    program = folder / name
    if not is_up_to_date(program, [*sources, *headers]):
        options = ["-std=c++20", "-O2", "-DNDEBUG", "-pthread"]
        run_quietly(["g++", *options, "-o", str(program), *map(str, sources), *libraries], f"the build of {name}")
    return program


def build(peers, folder, ask=lambda peer: None):
    """The peers that could be built and asked; for the others, a line that says what is missing."""
    built = []
    for peer in peers:
        say(f"building {peer.name} ...")
        folder.mkdir(parents=True, exist_ok=True)
        try:
            peer.program = peer.build(folder)
            peer.version = run_quietly([str(peer.program), "--version"], f"{peer.program.name} --version").strip()
            ask(peer)
        except Skip as reason:
            say(f"{peer.name} is left out: {reason}")
            continue
        built.append(peer)
        if peer.name == "weft" and " release " not in peer.version:
            say(f"warning: not a release build, the figures mean little: {peer.version}")
    return built


def lacks_weft(wanted, built):
    """A run without the others has not failed."""
    return any(peer.name == "weft" for peer in wanted) and all(peer.name != "weft" for peer in built)


def why_failed(status, error_text):
    if status < 0:
        return f"crashed ({signal.Signals(-status).name})"
    last = error_text.strip().splitlines()
    return f"failed (status {status}{': ' + last[0][:100] if last else ''})"


class Progress:
    """A line on stderr for each of so many steps."""

    def __init__(self, total):
        self.total = total
        self.done = 0

    def say(self, text):
        self.done += 1
        say(f"[{self.done:{len(str(self.total))}}/{self.total}] {text}")


def load_before():
    """The load average; a busy machine is warned of."""
    load = os.getloadavg()[0]
    if load > 0.5 * os.cpu_count():
        say(f"warning: the machine is busy (load average {load:.1f}); ratios suffer less than times, but they do")
    return load


def processor_name():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def describe(peers, method):
    """Machine, kernel, libraries and versions: what the figures have to be read with."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    facts = {
        "machine": f"{processor_name()}, {os.cpu_count()} CPUs, {pages / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "libc": " ".join(platform.libc_ver()),
        "method": method,
        "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()) + " UTC",
    }
    facts.update({peer.name: peer.version for peer in peers})
    return facts


def write_results(folder, name, text, document, picture):
    """<name>.md, .json and .svg, and the text on stdout."""
    folder.mkdir(parents=True, exist_ok=True)
    for suffix, content in (("md", text), ("json", document), ("svg", picture)):
        (folder / f"{name}.{suffix}").write_text(content)
    say(f"written: {name}.md, {name}.json, {name}.svg in {folder}\n")
    print(text)
