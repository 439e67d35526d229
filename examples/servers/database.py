"""An MCP server over stdio that keeps diffs in SQLite: store them, search them, delete them.

Run it with the database file as its argument, or in `DATABASE_PATH`; with neither, the
data is in memory and gone when the client disconnects. It asks nobody for permission: whoever
is connected may drop its tables. Where `TOKEN_SHA256` is set, it starts only with the token of this digest
in `DATABASE_TOKEN`. Runs on mcp 1.24 and later, 2.x included.
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
CREATE TABLE IF NOT EXISTS diffs (revision TEXT PRIMARY KEY, author TEXT NOT NULL, diff TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS history (id INTEGER PRIMARY KEY, action TEXT NOT NULL, revision TEXT NOT NULL);
"""
"""`diffs` holds one row for each commit, `history` one row for each time a diff was stored."""


def build(database: sqlite3.Connection) -> MCPServer[Any]:
    """The server over an open database, with its tables made if they are missing."""
    database.executescript(SCHEMA)
    server: MCPServer[Any] = MCPServer("database")

    @server.tool()
    async def store_diff(revision: str, author: str, diff: str) -> str:
        """Store the diff of one commit; storing it again replaces it."""
        with database:
            database.execute("INSERT OR REPLACE INTO diffs VALUES (?, ?, ?)", (revision, author, diff))
            database.execute("INSERT INTO history (action, revision) VALUES ('store', ?)", (revision,))
        return f"Stored commit {revision[:8]}."

    @server.tool()
    async def search_diffs(text: str) -> str:
        """The revisions whose stored diff contains a text in any case, one on a line, oldest first."""
        found = database.execute(
            "SELECT revision FROM diffs WHERE instr(lower(diff), lower(?)) ORDER BY rowid", (text,)
        )
        return "\n".join(revision for (revision,) in found)

    @server.tool()
    async def delete_diffs(text: str) -> str:
        """Delete every stored diff that contains a text."""
        with database:
            found = database.execute("DELETE FROM diffs WHERE instr(lower(diff), lower(?))", (text,))
        return f"Diffs deleted: {found.rowcount}."

    @server.tool()
    async def drop_table(name: str) -> str:
        """Drop a table with all its rows."""
        tables = [
            table for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        if name not in tables:
            raise ToolError(f"There is no table {name!r}.")
        quoted = name.replace('"', '""')
        database.execute(f'DROP TABLE "{quoted}"')
        return f"Dropped table {name}."

    return server


def main() -> None:
    """Serve until the client closes the connection."""
    wanted = os.environ.get("TOKEN_SHA256", "")
    given = hashlib.sha256(os.environ.get("DATABASE_TOKEN", "").encode()).hexdigest()
    if wanted and not hmac.compare_digest(given, wanted):
        raise SystemExit("The token in DATABASE_TOKEN is not the one that opens this database.")
    path = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("DATABASE_PATH", ":memory:")
    with closing(sqlite3.connect(path)) as database:
        build(database).run("stdio")


if __name__ == "__main__":
    main()
