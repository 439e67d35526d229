"""A raw HTTP server with one behaviour: `python -S http_server.py RUNS BEHAVIOUR`; it prints its port.

It appends a line to the file RUNS for each time the tool `go` has run, with the `number` of its arguments. The tool `honest` is honest.
"""

import json
import socket
import socketserver
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import behaviours
import exchanges
import oddities
import wire

RUNS = Path(sys.argv[1])
STATUS: dict[str, tuple[str, dict[str, str]]] = {
    "401": ("401 Unauthorized", {"WWW-Authenticate": 'Bearer scope="files"'}),
    "403": ("403 Forbidden", {}),
    "429": ("429 Too Many Requests", {"Retry-After": "7"}),
    "503": ("503 Service Unavailable", {"Retry-After": "7"}),
    "500": ("500 Internal Server Error", {}),
    "redirect": ("307 Temporary Redirect", {"Location": "http://127.0.0.1:9/elsewhere"}),
}
SESSIONS = {"current": "one"}
REDIRECTS = ("redirects to itself", "redirect with a bomb")
"""Behaviours in which the call does not get as far as the tool."""

EVENTS = iter(range(1, 10**9))


class Exchange(socketserver.StreamRequestHandler):
    """One connection, one request."""

    def handle(self) -> None:
        """Read a request and answer it."""
        first = self.rfile.readline().split()
        headers: dict[str, str] = {}
        while (line := self.rfile.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        if len(first) < 2:
            return
        self.behaviour = behaviours.chosen(sys.argv[2])
        body = self.rfile.read(int(headers.get("content-length", 0)))
        try:
            self.answer(first[0].decode(), headers, body)
        except (OSError, ValueError):
            pass  # the client has gone, perhaps in the middle of what it said

    def answer(self, verb: str, headers: dict[str, str], body: bytes) -> None:
        """Answer a request."""
        if verb == "DELETE":
            if self.behaviour == "DELETE hangs":
                time.sleep(60)
            return self.send("200 OK", {}, b"")
        if verb == "GET":
            if self.behaviour in exchanges.STREAMS and (
                "last-event-id" in headers or self.behaviour.startswith("GET")
            ):
                return self.raw(exchanges.STREAMS[self.behaviour]())
            if "last-event-id" in headers:
                return self.resume()
            return self.send("405 Method Not Allowed", {}, b"")
        message = json.loads(body)
        id, method, params = message.get("id"), message.get("method"), message.get("params") or {}
        if id is None or method is None:
            return self.send("202 Accepted", {}, b"")
        if method == "initialize" and self.behaviour.startswith(behaviours.OPENING):
            self.behaviour = self.behaviour.removeprefix(behaviours.OPENING)
            return self.go(id)
        if method == "initialize":
            result = {
                "protocolVersion": "2025-06-18",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "raw", "version": "1"},
            }
            session = {"Mcp-Session-Id": SESSIONS["current"]}
            return self.json(wire.answer(id, result=result), session)
        if headers.get("mcp-session-id") != SESSIONS["current"] and method != "server/discover":
            return self.send("404 Not Found", {}, b"")
        if method == "tools/list":
            return self.json(wire.answer(id, result=oddities.listed(self.behaviour, params)))
        if method == "tools/call" and params.get("name") == "go":
            if self.behaviour in REDIRECTS:
                return self.raw(exchanges.EXCHANGES[self.behaviour][1](id))
            with RUNS.open("a") as file:
                file.write(f"{(params.get('arguments') or {}).get('number')}\n")
            return self.go(id)
        if method == "tools/call":
            return self.json(wire.good(id))
        return self.json(wire.answer(id, error={"code": -32601, "message": "Method not found"}))

    def go(self, id: Any) -> None:
        """Misbehave."""
        good = wire.good(id)
        if self.behaviour in exchanges.EXCHANGES:
            return self.raw(exchanges.EXCHANGES[self.behaviour][1](id))
        if self.behaviour in oddities.WHOLE:
            return self.raw(iter([oddities.WHOLE[self.behaviour](id)]))
        if self.behaviour in STATUS:
            status, headers = STATUS[self.behaviour]
            return self.send(status, headers, b"no")
        if self.behaviour.startswith("SSE"):
            return self.stream(id)
        match self.behaviour:
            case "404 for the session":
                SESSIONS["current"] = "two"
                self.send("404 Not Found", {}, b"")
            case "202 for a call":
                self.send("202 Accepted", {}, b"")
            case "text/html":
                self.send("200 OK", {"Content-Type": "text/html"}, b"<p>done</p>")
            case "not HTTP":
                self.wfile.write(b"SSH-2.0-OpenSSH_9.0\r\n\r\n")
            case "closes at once":
                pass
            case "closes after the headers":
                self.head("200 OK", {"Content-Type": "application/json", "Content-Length": "100"})
            case "cut body":
                self.head(
                    "200 OK", {"Content-Type": "application/json", "Content-Length": str(2 * len(good))}
                )
                self.wfile.write(good)
            case "resets":
                self.head("200 OK", {"Content-Type": "application/json", "Content-Length": "100"})
                self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.request.close()
            case "bad chunks":
                self.head("200 OK", {"Content-Type": "application/json", "Transfer-Encoding": "chunked"})
                self.wfile.write(b"zz\r\n" + good)
            case "bad gzip":
                self.json(good, {"Content-Encoding": "gzip"})
            case "unknown encoding":
                self.json(good, {"Content-Encoding": "br"})
            case "compression bomb":
                self.json(exchanges.bomb(), {"Content-Encoding": "deflate"})
            case "slow headers":
                self.wfile.write(b"HTTP/1.1 200 OK\r\n")
                self.drip(b"X-Slow: 1\r\n")
            case "slow body":
                self.head("200 OK", {"Content-Type": "application/json", "Content-Length": "100000"})
                self.drip(b" ")
            case "only a notification":
                self.json(wire.notification("notifications/tools/list_changed"))
            case _:
                said = oddities.said(self.behaviour, id)
                if b"\n" not in said:
                    return self.json(said)
                self.head("200 OK", {"Content-Type": "text/event-stream"})
                for line in said.split(b"\n"):
                    self.wfile.write(b"data: " + line + b"\n\n")
        return None

    def stream(self, id: Any) -> None:
        """Misbehave on an event stream."""
        good = wire.good(id)
        self.head("200 OK", {"Content-Type": "text/event-stream"})
        match self.behaviour:
            case "SSE: another id":
                self.wfile.write(b"data: " + wire.good(777) + b"\n\n")
            case "SSE: malformed":
                self.wfile.write(b"data: {broken\n\n")
            case "SSE: huge event":
                self.wfile.write(b"data: " + good[:-10] + b"x" * 100 * 2**20 + b'"}]}}\n\n')
            case "SSE: never ends":
                self.drip(b": still here\n\n")
            case "SSE: resumes for ever, retry 0":
                self.wfile.write(b"id: %d\nretry: 0\ndata:\n\n" % next(EVENTS))
            case "SSE: retry of a day":
                self.wfile.write(b"id: 1\nretry: 86400000\ndata:\n\n")
            case _:
                pass

    def resume(self) -> None:
        """Answer a resumption: the stream ends again."""
        with RUNS.with_suffix(".resumed").open("a") as file:
            file.write("again\n")
        self.head("200 OK", {"Content-Type": "text/event-stream"})
        self.wfile.write(b"id: %d\nretry: 0\ndata:\n\n" % next(EVENTS))

    def raw(self, said: Iterator[bytes]) -> None:
        """Send bytes as they come."""
        for piece in said:
            self.wfile.write(piece)
            self.wfile.flush()

    def drip(self, piece: bytes) -> None:
        """Send a little for ever."""
        while True:
            self.wfile.write(piece)
            self.wfile.flush()
            time.sleep(0.2)

    def json(self, body: bytes, headers: dict[str, str] | None = None) -> None:
        """Send a JSON body."""
        self.send("200 OK", {"Content-Type": "application/json", **(headers or {})}, body)

    def send(self, status: str, headers: dict[str, str], body: bytes) -> None:
        """Send a whole answer."""
        self.head(status, {**headers, "Content-Length": str(len(body))})
        self.wfile.write(body)

    def head(self, status: str, headers: dict[str, str]) -> None:
        """Send the headers."""
        lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers.items())]
        self.wfile.write("\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1"))


class Server(socketserver.ThreadingTCPServer):
    """Listens on a free port of the loopback."""

    daemon_threads = True
    allow_reuse_address = True


def main() -> None:
    """Serve until the process is ended."""
    with Server(("127.0.0.1", 0), Exchange) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
