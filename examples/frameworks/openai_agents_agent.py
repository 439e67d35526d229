"""openai-agents: an agent with a guarded server, and a script for a model.

`python openai_agents_agent.py` prints what the model is told by each tool. One call is
refused, and the agent goes on. The policy is `policy.yaml`, the same for all frameworks.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from agents import Agent, Runner, set_tracing_disabled
from agents.items import ModelResponse
from agents.mcp import MCPServerStdio
from agents.models.interface import Model
from agents.usage import Usage
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

from mcpguard import Guard, Principal
from mcpguard.integrations.openai_agents import guarded_server

HERE = Path(__file__).parent
SERVER = {"command": sys.executable, "args": [str(HERE.parent / "servers" / "tickets.py")]}
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

    async def get_response(self, *args: Any, **options: Any) -> ModelResponse:
        """A call, or the end."""
        output: Any
        if self._calls:
            name, arguments = self._calls.pop(0)
            output = ResponseFunctionToolCall(
                type="function_call", call_id=name, name=name, arguments=json.dumps(arguments)
            )
        else:
            said = ResponseOutputText(type="output_text", text="Done.", annotations=[])
            output = ResponseOutputMessage(
                id="m", type="message", role="assistant", status="completed", content=[said]
            )
        return ModelResponse(output=[output], usage=Usage(), response_id=None)

    def stream_response(self, *args: Any, **options: Any) -> Any:
        """It does not stream."""
        raise NotImplementedError


async def main() -> None:
    """Run the agent."""
    set_tracing_disabled(True)
    guard = Guard.from_policy(HERE / "policy.yaml")
    async with (
        guard,
        guard.run(principal=Principal(user="ana")),
        guarded_server(
            guard, MCPServerStdio(SERVER, client_session_timeout_seconds=60), name="tickets"
        ) as server,
    ):
        agent = Agent(name="clerk", mcp_servers=[server], model=Scripted())
        done = await Runner.run(agent, "The printer is on fire.")
    said = [item.output for item in done.new_items if item.type == "tool_call_output_item"]
    for (name, _), output in zip(SCRIPT, said, strict=True):
        print(f"{name}: {output}")


if __name__ == "__main__":
    asyncio.run(main())
