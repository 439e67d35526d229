"""LangChain's agent on `langchain.mcp`: an agent with a guarded server, and a script for a model.

`python langchain_agent.py` prints what the model is told by each tool. One call is
refused, and the agent goes on. The policy is `policy.yaml`, the same for all frameworks.
"""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastmcp.client.transports import StdioTransport
from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

from mcpguard import Guard, Principal
from mcpguard.integrations.langchain import guarded_adapter

HERE = Path(__file__).parent
SERVER = StdioTransport(sys.executable, [str(HERE.parent / "servers" / "tickets.py")])
SCRIPT = [
    ("open_ticket", {"title": "Printer", "body": "It is on fire."}),
    ("close_ticket", {"number": 1}),
    ("get_ticket", {"number": 1}),
]
"""What the model does, a call at a time."""


class Scripted(GenericFakeChatModel):
    """A model that says what is on a list."""

    def bind_tools(self, tools: Any, **options: Any) -> "Scripted":
        """It knows its tools already."""
        return self


def messages() -> Iterator[AIMessage]:
    """The script, as messages of a model."""
    for name, arguments in SCRIPT:
        yield AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": name}])
    yield AIMessage("Done.")


async def main() -> None:
    """Run the agent."""
    guard = Guard.from_policy(HERE / "policy.yaml")
    async with (
        guard,
        guard.run(principal=Principal(user="ana")),
        guarded_adapter(guard, SERVER, name="tickets") as adapter,
    ):
        agent = create_agent(Scripted(messages=messages()), await adapter.list_tools())
        done = await agent.ainvoke({"messages": [("user", "The printer is on fire.")]})
    for message in done["messages"]:
        if message.type == "tool":
            print(f"{message.name}: {message.text}")


if __name__ == "__main__":
    asyncio.run(main())
