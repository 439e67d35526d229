"""An MCP server that assesses texts, for money: each assessment is put on a bill in SQLite.

Run it with the database file as its argument, or in `DATABASE_PATH`; with neither, the bill is in
memory and gone when the client disconnects. It speaks over stdio; with `--http` over HTTP on a free port of
this machine: it prints the URL, and ends when its input does. There, and where `TOKEN_SHA256` is set, each
request needs the bearer token with this digest. The assessments are made up on the spot. Runs on mcp 1.24
and later, 2.x included.
"""

import hashlib
import hmac
import os
import socket
import sqlite3
import sys
import threading
from contextlib import closing
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

if TYPE_CHECKING or not version("mcp").startswith("1."):
    from mcp.server.mcpserver import MCPServer
else:
    from mcp.server.fastmcp import FastMCP as MCPServer

__all__ = ["build"]

CENTS = 20
"""What one assessment costs, in cents."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS bill (id INTEGER PRIMARY KEY, subject TEXT NOT NULL, cents INTEGER NOT NULL);
"""


def build(database: sqlite3.Connection) -> MCPServer[Any]:
    """The server over an open database, with its table made if it is missing."""
    database.executescript(SCHEMA)
    server: MCPServer[Any] = MCPServer("advisor")

    @server.tool()
    async def assess(subject: str, depth: str = "short") -> str:
        """An expert's opinion; each costs 0.20 USD."""
        with database:
            database.execute("INSERT INTO bill (subject, cents) VALUES (?, ?)", (subject, CENTS))
        return f"{subject}: nothing unusual ({depth} assessment)."

    return server


class Protected:
    """An application that lets in only who has the token."""

    def __init__(self, application: ASGIApp, wanted: str) -> None:
        self.application = application
        self.wanted = wanted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or answer it with 401."""
        if scope["type"] == "http" and self.wanted:
            given = dict(scope["headers"]).get(b"authorization", b"").removeprefix(b"Bearer ")
            if not hmac.compare_digest(hashlib.sha256(given).hexdigest(), self.wanted):
                await send({"type": "http.response.start", "status": 401, "headers": []})
                await send({"type": "http.response.body"})
                return
        await self.application(scope, receive, send)


def serve_http(server: MCPServer[Any]) -> None:
    """Serve over HTTP until the input ends."""
    listening = socket.create_server(("127.0.0.1", 0))
    application = Protected(server.streamable_http_app(), os.environ.get("TOKEN_SHA256", ""))
    serving = uvicorn.Server(uvicorn.Config(application, log_level="warning", timeout_graceful_shutdown=1))

    def until_the_input_ends() -> None:
        sys.stdin.read()
        serving.should_exit = True

    threading.Thread(target=until_the_input_ends, daemon=True).start()
    print(f"http://127.0.0.1:{listening.getsockname()[1]}/mcp", flush=True)
    serving.run(sockets=[listening])


def main() -> None:
    """Serve until the client closes the connection, or over HTTP until the input ends."""
    arguments = [one for one in sys.argv[1:] if one != "--http"]
    path = arguments[0] if arguments else os.environ.get("DATABASE_PATH", ":memory:")
    with closing(sqlite3.connect(path)) as database:
        server = build(database)
        if "--http" in sys.argv:
            serve_http(server)
        else:
            server.run("stdio")


if __name__ == "__main__":
    main()
