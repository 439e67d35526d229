"""pydantic-ai: an agent with a guarded server, and a script for a model.

`python pydantic_ai_agent.py` prints what the model is told by each tool. One call is
refused, and the agent goes on. The policy is `policy.yaml`, the same for all frameworks.
"""

import asyncio
import sys
from pathlib import Path

from fastmcp.client.transports import StdioTransport
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from mcpguard import Guard, Principal
from mcpguard.integrations.pydantic_ai import guarded_toolset

HERE = Path(__file__).parent
SERVER = StdioTransport(sys.executable, [str(HERE.parent / "servers" / "tickets.py")])
SCRIPT = [
    ("open_ticket", {"title": "Printer", "body": "It is on fire."}),
    ("close_ticket", {"number": 1}),
    ("get_ticket", {"number": 1}),
]
"""What the model does, a call at a time."""


def model(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """The next call of the script, or the end."""
    done = sum(isinstance(message, ModelResponse) for message in messages)
    if done == len(SCRIPT):
        return ModelResponse([TextPart("Done.")])
    name, arguments = SCRIPT[done]
    return ModelResponse([ToolCallPart(name, arguments)])


async def main() -> None:
    """Run the agent."""
    guard = Guard.from_policy(HERE / "policy.yaml")
    toolset = guarded_toolset(guard, SERVER, name="tickets", init_timeout=60)
    agent = Agent(FunctionModel(model), toolsets=[toolset])
    async with guard, guard.run(principal=Principal(user="ana")):
        done = await agent.run("The printer is on fire.")
    for message in done.all_messages():
        for part in message.parts:
            if part.part_kind in ("tool-return", "retry-prompt"):
                print(f"{part.tool_name}: {part.content}")


if __name__ == "__main__":
    asyncio.run(main())
