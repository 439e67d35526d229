"""An MCP server over stdio that assesses texts, for money: each assessment is put on a bill in SQLite.

Run it with the database file as its argument, or in `DATABASE_PATH`; with neither, the bill is in
memory and gone when the client disconnects. The assessments are made up on the spot. Runs on mcp 1.24
and later, 2.x included.
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


def main() -> None:
    """Serve until the client closes the connection."""
    path = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("DATABASE_PATH", ":memory:")
    with closing(sqlite3.connect(path)) as database:
        build(database).run("stdio")


if __name__ == "__main__":
    main()
