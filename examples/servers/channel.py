"""An MCP server over stdio for a chat channel, kept in SQLite: post a message, read the latest.

Run it with the database file as its argument, or in `DATABASE_PATH`; with neither, the
messages are in memory and gone when the client disconnects. It sends nothing anywhere. Where
`TOKEN_SHA256` is set, a message needs the token with this digest as `example.com/token` in the `_meta` of
the call. Runs on mcp 1.24 and later, 2.x included.
"""

import hashlib
import hmac
import os
import sqlite3
import sys
from contextlib import closing
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING or not version("mcp").startswith("1."):
    from mcp.server.mcpserver import Context, MCPServer
    from mcp.server.mcpserver.exceptions import ToolError

    Request: TypeAlias = Context[Any]
else:
    from mcp.server.fastmcp import Context as Request
    from mcp.server.fastmcp import FastMCP as MCPServer
    from mcp.server.fastmcp.exceptions import ToolError

__all__ = ["build"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (id INTEGER PRIMARY KEY, channel TEXT NOT NULL, text TEXT NOT NULL);
"""


def build(database: sqlite3.Connection) -> MCPServer[Any]:
    """The server over an open database, with its table made if it is missing."""
    database.executescript(SCHEMA)
    server: MCPServer[Any] = MCPServer("channel")
    wanted = os.environ.get("TOKEN_SHA256", "")

    def authorize(request: Request) -> None:
        meta: Any = request.request_context.meta
        members: Any = meta.model_dump() if hasattr(meta, "model_dump") else meta or {}
        given = str(members.get("example.com/token", ""))
        if wanted and not hmac.compare_digest(hashlib.sha256(given.encode()).hexdigest(), wanted):
            raise ToolError("This takes a token in _meta, and the one that was given is not it.")

    @server.tool()
    async def notify(channel: str, text: str, request: Request) -> str:
        """Post a message to a channel, or to somebody's address."""
        authorize(request)
        with database:
            database.execute("INSERT INTO messages (channel, text) VALUES (?, ?)", (channel, text))
        return f"Posted to {channel}."

    @server.tool()
    async def read_channel(channel: str, limit: int = 10) -> list[str]:
        """The latest messages of a channel, newest first."""
        found = database.execute(
            "SELECT text FROM messages WHERE channel = ? ORDER BY id DESC LIMIT ?", (channel, limit)
        )
        return [str(text) for (text,) in found]

    return server


def main() -> None:
    """Serve until the client closes the connection."""
    path = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("DATABASE_PATH", ":memory:")
    with closing(sqlite3.connect(path)) as database:
        build(database).run("stdio")


if __name__ == "__main__":
    main()
