"""test_listen.py PROGRAM: a server started with --listen serves until SIGINT, hangs up on who is connected then, and ends
with status 0."""

import re
import signal
import socket
import subprocess
import sys

PATIENCE = 60  # seconds, for a slow machine


def expect(got, wanted):
    if got != wanted:
        sys.exit(f"got {got!r}, not {wanted!r}")


def talk_to_echo(address):
    with socket.create_connection(address, PATIENCE) as stream:
        stream.sendall(b"hello\n")
        lines = stream.makefile("rb")
        expect(lines.readline(), b"hello\n")
        stream.shutdown(socket.SHUT_WR)
        expect(lines.read(), b"")


def talk_to_chat(address):
    with socket.create_connection(address, PATIENCE) as stream:
        lines = stream.makefile("rb")
        lines.readline()
        expect(lines.readline(), b"* you are in lobby, with guest1, guest2\n")
        stream.sendall(b"/nick somebody\r\n/nick what is this\n/sing\n" + b"x" * 4097)
        expect(lines.readline(), b"* you are now somebody\n")
        expect(lines.readline(), b"* a name has 1 to 16 letters and digits\n")
        expect(lines.readline(), b"* /sing is unknown; there are /nick NAME, /join ROOM, /who and /quit\n")
        expect(lines.readline(), b"* that line was too long\n")


def main():
    program = sys.argv[1]
    with subprocess.Popen([program, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True) as server:
        try:
            first = server.stdout.readline()
            host, port = re.search(r"on (\S+):(\d+);", first).groups()
            address = (host, int(port))
            with socket.create_connection(address, PATIENCE) as bystander:
                if "chat" in program:
                    bystander.recv(1)  # it was the first to come
                    talk_to_chat(address)
                else:
                    talk_to_echo(address)
                server.send_signal(signal.SIGINT)
                while bystander.recv(4096):
                    pass
            rest = server.stdout.read()
            expect(server.wait(PATIENCE), 0)
            expect(rest.splitlines()[-1], "0 goroutines left over")
        finally:
            server.kill()


main()
