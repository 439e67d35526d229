"""smolagents: an agent with a guarded server, and a script for a model.

`python smolagents_agent.py` prints what the model is told by each tool. One call is
refused, and the agent goes on. The policy is `policy.yaml`, the same for all frameworks.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

from mcp import StdioServerParameters
from smolagents import ActionStep, ToolCallingAgent
from smolagents.models import (
    ChatMessage,
    ChatMessageToolCall,
    ChatMessageToolCallFunction,
    MessageRole,
    Model,
)

from mcpguard import Guard, Principal
from mcpguard.integrations.smolagents import guarded_tools

HERE = Path(__file__).parent
SERVER = StdioServerParameters(command=sys.executable, args=[str(HERE.parent / "servers" / "tickets.py")])
SCRIPT = [
    ("open_ticket", {"title": "Printer", "body": "It is on fire.", "token": ""}),
    ("close_ticket", {"number": 1, "token": ""}),
    ("get_ticket", {"number": 1, "token": ""}),
]
"""What the model does, a call at a time."""


class Scripted(Model):
    """A model that makes the next call of the script."""

    def __init__(self) -> None:
        super().__init__()
        self._calls = [*SCRIPT, ("final_answer", {"answer": "Done."})]

    def generate(self, *args: Any, **options: Any) -> ChatMessage:
        """A call."""
        name, arguments = self._calls.pop(0)
        function = ChatMessageToolCallFunction(name=name, arguments=arguments)
        call = ChatMessageToolCall(function=function, id=name, type="function")
        return ChatMessage(role=MessageRole.ASSISTANT, content="", tool_calls=[call])


async def main() -> None:
    """Run the agent, on a thread as it blocks."""
    guard = Guard.from_policy(HERE / "policy.yaml")
    async with guard, guard.run(principal=Principal(user="ana")):
        with guarded_tools(guard, SERVER, name="tickets") as tools:
            agent = ToolCallingAgent(tools, model=Scripted(), verbosity_level=0)
            await asyncio.to_thread(agent.run, "The printer is on fire.")
    steps = [step for step in agent.memory.steps if isinstance(step, ActionStep)]
    for (name, _), step in zip(SCRIPT, steps, strict=False):
        print(f"{name}: {step.observations}")


if __name__ == "__main__":
    asyncio.run(main())
