"""An MCP server over stdio that keeps tickets in SQLite: open them, read them, close them.

Run it with the database file as its argument, or in `DATABASE_PATH`; with neither, the
tickets are in memory and gone when the client disconnects. A ticket stays open until somebody
closes it; nothing here does so by itself. Where `TOKEN_SHA256` is set, every call has to have the token
with this digest as its argument `token`. Runs on mcp 1.24 and later, 2.x included.
"""

import hashlib
import hmac
import os
import sqlite3
import sys
from contextlib import closing
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or not version("mcp").startswith("1."):
    from mcp.server.mcpserver import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError
else:
    from mcp.server.fastmcp import FastMCP as MCPServer
    from mcp.server.fastmcp.exceptions import ToolError

__all__ = ["build"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS tickets (
    number INTEGER PRIMARY KEY, title TEXT NOT NULL, body TEXT NOT NULL, status TEXT NOT NULL DEFAULT 'open'
);
"""


def build(database: sqlite3.Connection) -> MCPServer[Any]:
    """The server over an open database, with its table made if it is missing."""
    database.executescript(SCHEMA)
    server: MCPServer[Any] = MCPServer("tickets")
    wanted = os.environ.get("TOKEN_SHA256", "")

    def authorize(token: str) -> None:
        if wanted and not hmac.compare_digest(hashlib.sha256(token.encode()).hexdigest(), wanted):
            raise ToolError("This takes a token, and the one that was given is not it.")

    @server.tool()
    async def open_ticket(title: str, body: str, token: str = "") -> str:
        """Open a ticket; the answer is its number."""
        authorize(token)
        with database:
            ticket = database.execute("INSERT INTO tickets (title, body) VALUES (?, ?)", (title, body))
        return str(ticket.lastrowid)

    @server.tool()
    async def get_ticket(number: int, token: str = "") -> str:
        """The status and the title of a ticket, as `open: title` or `closed: title`."""
        authorize(token)
        found = database.execute("SELECT status, title FROM tickets WHERE number = ?", (number,)).fetchone()
        if found is None:
            raise ToolError(f"There is no ticket {number}.")
        status, title = found
        return f"{status}: {title}"

    @server.tool()
    async def close_ticket(number: int, token: str = "") -> str:
        """Close a ticket."""
        authorize(token)
        with database:
            closed = database.execute("UPDATE tickets SET status = 'closed' WHERE number = ?", (number,))
        if not closed.rowcount:
            raise ToolError(f"There is no ticket {number}.")
        return f"Closed ticket {number}."

    return server


def main() -> None:
    """Serve until the client closes the connection."""
    path = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("DATABASE_PATH", ":memory:")
    with closing(sqlite3.connect(path)) as database:
        build(database).run("stdio")


if __name__ == "__main__":
    main()
