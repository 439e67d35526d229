"""An MCP server over stdio for a chat channel, kept in SQLite: post a message, read the latest.

Run it with the database file as its argument, or in `DATABASE_PATH`; with neither, the
messages are in memory and gone when the client disconnects. It sends nothing anywhere. Runs on
mcp 1.24 and later, 2.x included.
"""

import os
import sqlite3
import sys
from contextlib import closing
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or not version("mcp").startswith("1."):
    from mcp.server.mcpserver import MCPServer
else:
    from mcp.server.fastmcp import FastMCP as MCPServer

__all__ = ["build"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS messages (id INTEGER PRIMARY KEY, channel TEXT NOT NULL, text TEXT NOT NULL);
"""


def build(database: sqlite3.Connection) -> MCPServer[Any]:
    """The server over an open database, with its table made if it is missing."""
    database.executescript(SCHEMA)
    server: MCPServer[Any] = MCPServer("channel")

    @server.tool()
    async def notify(channel: str, text: str) -> str:
        """Post a message to a channel."""
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
