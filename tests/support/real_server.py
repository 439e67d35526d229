"""An ordinary server made with the SDK's own server classes: `python real_server.py stdio | http | sse`.

Over HTTP it listens on a free port of the loopback and prints it as its first line.
"""

import socket
import sys
from importlib.metadata import version
from typing import Any

import uvicorn

if version("mcp").startswith("1."):
    from mcp.server.fastmcp import Context, FastMCP

    app: Any = FastMCP("real")
else:
    from mcp.server.mcpserver import Context, MCPServer

    app = MCPServer("real")


@app.tool()
def echo(text: str) -> str:
    """Say it again."""
    return text


@app.tool()
async def count(to: int, ctx: Context) -> int:  # type: ignore[type-arg]
    """Count, with progress."""
    for number in range(1, to + 1):
        await ctx.report_progress(number, to)
    return to


@app.resource("memo://today")
def memo() -> str:
    """One resource."""
    return "remember"


def main() -> None:
    """Serve as the first argument says."""
    if sys.argv[1] == "stdio":
        app.run(transport="stdio")
        return
    web = app.streamable_http_app() if sys.argv[1] == "http" else app.sse_app()
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    print(listener.getsockname()[1], flush=True)
    server = uvicorn.Server(uvicorn.Config(web, log_level="error"))
    server.run(sockets=[listener])


if __name__ == "__main__":
    main()
