"""The servers that servers.py puts side by side: how they are built, what they must answer, what drives them."""

import argparse
import contextlib
import http.client
import json
import os
import pathlib
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass

from programs import BENCH, Peer, build_cpp_program, build_go_program, build_weft_program, needs, run_quietly

START_TIMEOUT = 20  # seconds that a server may take to be ready, or to answer the first request


class Failure(Exception):
    """Why a run has no figures, in one short sentence."""


@dataclass
class Contest:
    """What the servers of one kind are asked for."""

    name: str
    title: str
    peers: list
    probe: Callable[[int], None]  # of a port: raises Failure unless the server there does what it should
    build_load: Callable[[pathlib.Path], pathlib.Path]  # of a build folder: the program; raises Skip
    load: Callable[[pathlib.Path, int, int, argparse.Namespace], list]  # of program, port, connections, options: the command


def build_cpp(folder, name, source):
    """A program that is one file under bench/."""
    return build_cpp_program(folder, name, [BENCH / source], (BENCH / "support").glob("*.hpp"))


# ---- HTTP ------------------------------------------------------------------------------------------------------------

REPLY = {"message": "Hello, World!", "id": 42, "new": True}
REPLY_BYTES = 46


def build_hyper(folder):
    """In a copy, so that what cargo writes stays in the build folder."""
    needs("cargo", "it comes with Rust; Debian's is too old for today's tokio")
    copy = folder / "hyper"
    shutil.copytree(BENCH / "http" / "hyper", copy, dirs_exist_ok=True)
    run_quietly(["cargo", "build", "--quiet", "--release"], "the build of http_hyper", cwd=copy)
    return copy / "target" / "release" / "http_hyper"


def probe_http(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START_TIMEOUT)
    with contextlib.closing(connection):
        connection.request("GET", "/json")
        reply = connection.getresponse()
        body = reply.read()
    if reply.status != 200:
        raise Failure(f"answered with status {reply.status}")
    kind = reply.getheader("Content-Type", "none")
    if not kind.startswith("application/json"):
        raise Failure(f"answered with the content type {kind}")
    if len(body) != REPLY_BYTES or json.loads(body) != REPLY:
        raise Failure(f"answered {body[:60]!r}")


def find_wrk(_folder):
    needs("wrk", "Debian: apt install wrk")
    return pathlib.Path(shutil.which("wrk"))


def wrk(program, port, connections, args):
    script = BENCH / "http" / "wrk_report.lua"
    return [str(program), "-t1", f"-c{connections}", f"-d{args.seconds}s", "--latency", f"-s{script}",
            f"http://127.0.0.1:{port}/json"]


HTTP = Contest("http", "HTTP, a JSON of 46 bytes (wrk -t1)", [
    Peer("bare", "BARE_PROCS", lambda folder: build_cpp(folder, "http_bare", "http/bare_epoll.cpp")),
    Peer("weft", "WEFT_PROCS", lambda folder: build_weft_program(folder, "weft_http")),
    Peer("go", "GOMAXPROCS", lambda folder: build_go_program(folder, "http_go", [BENCH / "http" / "go_net_http" / "main.go"])),
    Peer("hyper", "TOKIO_WORKER_THREADS", build_hyper),
], probe_http, find_wrk, wrk)

# ---- echo ------------------------------------------------------------------------------------------------------------


def probe_echo(port):
    message = os.urandom(3000)
    with socket.create_connection(("127.0.0.1", port), timeout=START_TIMEOUT) as connection:
        connection.sendall(message)
        got = b""
        while len(got) < len(message) and (part := connection.recv(len(message))):
            got += part
    if got != message:
        raise Failure(f"sent back {len(got)} bytes, not those {len(message)} that it got")


def echo_load(program, port, connections, args):
    return [str(program), str(port), f"--connections={connections}", f"--seconds={args.seconds}", f"--bytes={args.bytes}"]


ECHO = Contest("echo", "TCP echo of {bytes} bytes", [
    Peer("bare", "BARE_PROCS", lambda folder: build_cpp(folder, "echo_bare", "echo/bare_epoll.cpp")),
    Peer("weft", "WEFT_PROCS", lambda folder: build_weft_program(folder, "weft_echo")),
    Peer("go", "GOMAXPROCS", lambda folder: build_go_program(folder, "echo_go", [BENCH / "echo" / "go_net" / "main.go"])),
], probe_echo, lambda folder: build_cpp(folder, "echo_load", "echo/echo_load.cpp"), echo_load)

CONTESTS = {contest.name: contest for contest in (HTTP, ECHO)}
