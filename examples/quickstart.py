"""Put a guard around an MCP client session: who may use what, how often, and a record of it.

Run it with `python quickstart.py`. The server is a fake one in the same process, so that nothing else is
needed; a program of yours has `stdio_client(...)` or another transport in its place.
"""

import json
import tempfile
from pathlib import Path

import anyio
from mcp import ClientSession
from mcp.types import TextContent

from mcpguard import Access, AccessRule, Budget, Guard, JsonLines, Principal
from mcpguard.testing import FakeServer


async def work(session: ClientSession) -> None:
    """What an agent does, told by a script: look at the tools, and call some of them."""
    listed = await session.list_tools()
    print("tools:", ", ".join(tool.name for tool in listed.tools))
    for tool in ("read_note", "delete_note", "read_note", "read_note"):
        result = await session.call_tool(tool, {"id": 1})
        for block in result.content:
            if isinstance(block, TextContent):
                print(f"{tool}: {block.text}")


async def main(record: Path) -> None:
    """Guard a session, and work."""
    server = FakeServer("notes")
    server.tool("read_note", description="Read a note.").returns("Buy milk.")
    server.tool("delete_note", description="Delete a note.").returns("Deleted.")

    guard = Guard(
        [
            Access(default="deny", allow=[AccessRule(servers=["notes"], tools=["read_*"])]),
            Budget(per="run", calls=2),
        ],
        sinks=[JsonLines(record)],
    )
    async with guard, server.connect() as (read, write):
        session = guard.session(ClientSession(read, write), name="notes")
        async with session, guard.run(id="task-1", principal=Principal(user="ana")):
            await session.initialize()
            await work(session)

    print("sent to the server:", len(server.calls("read_note")) + len(server.calls("delete_note")))


def show(record: Path) -> None:
    """What became of every tool call, as the record has it."""
    print("recorded:")
    for line in record.read_text("utf-8").splitlines():
        event = json.loads(line)["record"]
        if event.get("method") == "tools/call" and event["kind"] == "completed":
            print(f"  {event['user']} {event['target']} {event.get('code', event['outcome'])}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        events = Path(folder) / "events.jsonl"
        anyio.run(main, events)
        show(events)
