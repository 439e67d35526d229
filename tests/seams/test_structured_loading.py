"""Where what validates structured content is loaded: half a second, in which no event loop may stand still."""

import subprocess
import sys

import pytest

SCRIPT = '''
import json, sys, threading
from importlib.abc import MetaPathFinder
import anyio
from mcp import ClientSession, StdioServerParameters, stdio_client
from mcpguard import ConnectionLimits, Guard

SERVER = """
import json, sys
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
TOOL = {"name": "count", "inputSchema": {"type": "object"}, "outputSchema": SCHEMA}
for line in sys.stdin:
    asked = json.loads(line)
    told = {"initialize": {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                           "serverInfo": {"name": "s", "version": "1"}},
            "tools/list": {"tools": [TOOL]},
            "tools/call": {"content": [], "structuredContent": {"n": 1}}}.get(asked["method"])
    if "id" in asked:
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": told}), flush=True)
"""


class Loads(MetaPathFinder):
    threads = []

    def find_spec(self, name, path, target=None):
        if name == "jsonschema":
            self.threads.append(threading.current_thread() is threading.main_thread())


async def main(seam):
    guard = Guard(connection=ConnectionLimits())
    transport = stdio_client(StdioServerParameters(command=sys.executable, args=["-c", SERVER]))
    if seam == "transport":
        transport = guard.transport(transport, name="counting")
    async with transport as (read, write):
        session = ClientSession(read, write)
        if seam == "session":
            session = guard.session(session, name="counting")
        async with session:
            await session.initialize()
            await session.list_tools()
            result = await session.call_tool("count", {})
    print(json.dumps([result.model_dump(by_alias=True)["structuredContent"], any(Loads.threads)]))


sys.meta_path.insert(0, Loads())
anyio.run(main, sys.argv[1], backend=sys.argv[2])
'''


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("seam", ["session", "transport"])
def test_a_validator_is_loaded_in_a_thread(seam: str, backend: str) -> None:
    """The SDK of 2.x loads it with the first result that it validates, on the event loop."""
    command = [sys.executable, "-c", SCRIPT, seam, backend]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ran.stdout.strip() == '[{"n": 1}, false]', ran.stderr
