"""FastMCP's client: an agent with a guarded server, and a script for a model.

`python fastmcp_agent.py` prints what the model is told by each tool. One call is
refused, and the agent goes on. The policy is `policy.yaml`, the same for all frameworks.
"""

import asyncio
import sys
from pathlib import Path

from fastmcp.client.transports import StdioTransport

from mcpguard import Guard, Principal
from mcpguard.integrations.fastmcp import guarded_client

HERE = Path(__file__).parent
SERVER = StdioTransport(sys.executable, [str(HERE.parent / "servers" / "tickets.py")])
SCRIPT = [
    ("open_ticket", {"title": "Printer", "body": "It is on fire."}),
    ("close_ticket", {"number": 1}),
    ("get_ticket", {"number": 1}),
]
"""What the model does, a call at a time."""


async def main() -> None:
    """Do what the script says: there is no agent in FastMCP."""
    guard = Guard.from_policy(HERE / "policy.yaml")
    async with (
        guard,
        guard.run(principal=Principal(user="ana")),
        guarded_client(guard, SERVER, name="tickets") as client,
    ):
        for name, arguments in SCRIPT:
            result = await client.call_tool(name, arguments, raise_on_error=False)
            print(f"{name}: {result.content[0].text}")


if __name__ == "__main__":
    asyncio.run(main())
