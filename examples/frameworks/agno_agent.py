"""agno: an agent with a guarded server, and a script for a model.

`python agno_agent.py` prints what the model is told by each tool. One call is
refused, and the agent goes on. The policy is `policy.yaml`, the same for all frameworks.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from agno.agent import Agent
from agno.models.base import Model
from agno.models.response import ModelResponse
from mcp import StdioServerParameters

from mcpguard import Guard, Principal
from mcpguard.integrations.agno import guarded_tools

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
        super().__init__(id="scripted")
        self._calls = list(SCRIPT)

    async def ainvoke(self, *args: Any, **options: Any) -> ModelResponse:
        """A call, or the end."""
        if not self._calls:
            return ModelResponse(role="assistant", content="Done.")
        name, arguments = self._calls.pop(0)
        function = {"name": name, "arguments": json.dumps(arguments)}
        return ModelResponse(
            role="assistant", tool_calls=[{"id": name, "type": "function", "function": function}]
        )

    def invoke(self, *args: Any, **options: Any) -> ModelResponse:
        """It is asynchronous."""
        raise NotImplementedError

    invoke_stream = ainvoke_stream = invoke
    _parse_provider_response = _parse_provider_response_delta = invoke


async def main() -> None:
    """Run the agent."""
    guard = Guard.from_policy(HERE / "policy.yaml")
    async with (
        guard,
        guard.run(principal=Principal(user="ana")),
        guarded_tools(guard, SERVER, name="tickets", timeout_seconds=60) as tools,
    ):
        done = await Agent(model=Scripted(), tools=[tools], telemetry=False).arun("The printer is on fire.")
    for message in done.messages:
        if message.role == "tool":
            print(f"{message.tool_name}: {message.content}")


if __name__ == "__main__":
    asyncio.run(main())
