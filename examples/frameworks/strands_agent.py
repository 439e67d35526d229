"""strands-agents: an agent with a guarded server, and a script for a model.

`python strands_agent.py` prints what the model is told by each tool. One call is
refused, and the agent goes on. The policy is `policy.yaml`, the same for all frameworks.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from mcp import StdioServerParameters
from mcp.client.stdio import stdio_client
from strands import Agent
from strands.models import Model

from mcpguard import Guard, Principal
from mcpguard.integrations.strands import guarded_client

HERE = Path(__file__).parent
SERVER = StdioServerParameters(command=sys.executable, args=[str(HERE.parent / "servers" / "tickets.py")])
SCRIPT = [
    ("open_ticket", {"title": "Printer", "body": "It is on fire."}),
    ("close_ticket", {"number": 1}),
    ("get_ticket", {"number": 1}),
]
"""What the model does, a call at a time."""


class Scripted(Model):
    """A model that makes the next call of the script."""

    def __init__(self) -> None:
        self._calls = list(SCRIPT)

    def update_config(self, **options: Any) -> None:
        """It has none."""

    def get_config(self) -> Any:
        """It has none."""
        return {}

    def structured_output(self, *args: Any, **options: Any) -> Any:
        """It has none."""
        raise NotImplementedError

    async def stream(self, *args: Any, **options: Any) -> AsyncIterator[Any]:
        """A call, or the end."""
        name, arguments = self._calls.pop(0) if self._calls else (None, {})
        yield {"messageStart": {"role": "assistant"}}
        start = {} if name is None else {"toolUse": {"toolUseId": name, "name": name}}
        yield {"contentBlockStart": {"start": start}}
        said = {"text": "Done."} if name is None else {"toolUse": {"input": json.dumps(arguments)}}
        yield {"contentBlockDelta": {"delta": said}}
        yield {"contentBlockStop": {}}
        yield {"messageStop": {"stopReason": "end_turn" if name is None else "tool_use"}}


async def main() -> None:
    """Run the agent, on a thread as it blocks."""
    guard = Guard.from_policy(HERE / "policy.yaml")
    client = guarded_client(guard, lambda: stdio_client(SERVER), name="tickets")
    async with guard, guard.run(principal=Principal(user="ana")):
        agent = Agent(model=Scripted(), tools=[client], callback_handler=None)
        await asyncio.to_thread(agent, "The printer is on fire.")
        for message in agent.messages:
            for block in message["content"]:
                if "toolResult" in block:
                    print(f"{block['toolResult']['toolUseId']}: {block['toolResult']['content'][0]['text']}")
        agent.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
