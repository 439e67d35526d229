"""An MCP server over stdio that knows who is on duty, once it has come up: asked too soon, it starts over.

Run it with the database file as its argument, or in `DATABASE_PATH`; with neither, its record of requests
is in memory and gone when the client disconnects. The first request wakes it up, which takes `WARM_UP`
seconds; a request within them fails, and costs it the time again. So does many a service that is
overloaded. Runs on mcp 1.24 and later, 2.x included.
"""

import os
import sqlite3
import sys
import time
from contextlib import closing
from importlib.metadata import version
from math import inf
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or not version("mcp").startswith("1."):
    from mcp.server.mcpserver import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError
else:
    from mcp.server.fastmcp import FastMCP as MCPServer
    from mcp.server.fastmcp.exceptions import ToolError

__all__ = ["build"]

WARM_UP = 1.5
"""Seconds without a request that it takes to come up."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS requests (id INTEGER PRIMARY KEY, team TEXT NOT NULL);
"""


def build(database: sqlite3.Connection, *, warm_up: float = WARM_UP) -> MCPServer[Any]:
    """The server over an open database, with its table made if it is missing."""
    database.executescript(SCHEMA)
    server: MCPServer[Any] = MCPServer("rota")
    up_at = inf

    @server.tool()
    async def on_duty(team: str) -> str:
        """Who is on duty in a team."""
        nonlocal up_at
        with database:
            database.execute("INSERT INTO requests (team) VALUES (?)", (team,))
        now = time.monotonic()
        if now < up_at:
            up_at = now + warm_up
            raise ToolError("Not up yet. Please try again.")
        return f"Ana is on duty for {team}."

    return server


def main() -> None:
    """Serve until the client closes the connection."""
    path = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("DATABASE_PATH", ":memory:")
    with closing(sqlite3.connect(path)) as database:
        build(database).run("stdio")


if __name__ == "__main__":
    main()
