"""test_listen.py PROGRAM: a server started with --listen serves until SIGINT, hangs up on who is connected then, and ends
with status 0."""

import http.client
import json
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


def talk_to_user_api(address):
    connection = http.client.HTTPConnection(*address, timeout=PATIENCE)
    token = ""

    def ask(status, method, path, body=None):
        headers = {"Authorization": "Bearer " + token} if token else {}
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"Content-Type": "application/json", **headers})
        reply = connection.getresponse()
        expect(reply.status, status)
        content = reply.read()
        return json.loads(content) if content else None

    user = {"email": "ada@example.com", "name": "Ada", "password": "analytical engine"}
    expect(ask(200, "GET", "/health"), {"status": "healthy"})
    expect(ask(201, "POST", "/users", user)["id"], 1)
    ask(401, "GET", "/users/1")
    token = ask(200, "POST", "/login", user)["access_token"]
    expect(ask(200, "PATCH", "/users/1", {"name": "Augusta"})["name"], "Augusta")
    expect([one["name"] for one in ask(200, "GET", "/users?skip=0&limit=10")], ["Augusta"])
    ask(204, "DELETE", "/users/1")


def talk_to_http_server(address):
    connection = http.client.HTTPConnection(*address, timeout=PATIENCE)
    for method, path, body, wanted in [
        ("GET", "/json", None, {"message": "Hello, World!"}),
        ("GET", "/health", None, {"status": "healthy"}),
        ("POST", "/count", "one two\nthree\n", {"bytes": 14, "lines": 2, "words": 3}),
    ]:
        connection.request(method, path, body)
        expect(json.loads(connection.getresponse().read()), wanted)


TALKS = {
    "echo_server": talk_to_echo,
    "chat_server": talk_to_chat,
    "http_server": talk_to_http_server,
    "user_api": talk_to_user_api,
}


def main():
    program = sys.argv[1]
    name = program.rsplit("/", 1)[-1]
    with subprocess.Popen([program, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True) as server:
        try:
            first = server.stdout.readline()
            host, port = re.search(r"on (\S+):(\d+);", first).groups()
            address = (host, int(port))
            with socket.create_connection(address, PATIENCE) as bystander:
                if name == "chat_server":
                    bystander.recv(1)  # it was the first to come
                TALKS[name](address)
                server.send_signal(signal.SIGINT)
                while bystander.recv(4096):
                    pass
            rest = server.stdout.read()
            expect(server.wait(PATIENCE), 0)
            expect(rest.splitlines()[-1], "0 goroutines left over")
        finally:
            server.kill()


main()
