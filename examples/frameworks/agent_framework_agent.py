"""agent-framework: an agent with a guarded server, and a script for a model.

`python agent_framework_agent.py` prints what the model is told by each tool. One call is
refused, and the agent goes on. The policy is `policy.yaml`, the same for all frameworks.
"""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent_framework import Agent, BaseChatClient, ChatResponse, Content, FunctionInvocationLayer, Message
from mcp import StdioServerParameters

from mcpguard import Guard, Principal
from mcpguard.integrations.agent_framework import guarded_tool

HERE = Path(__file__).parent
SERVER = StdioServerParameters(command=sys.executable, args=[str(HERE.parent / "servers" / "tickets.py")])
SCRIPT = [
    ("open_ticket", {"title": "Printer", "body": "It is on fire."}),
    ("close_ticket", {"number": 1}),
    ("get_ticket", {"number": 1}),
]
"""What the model does, a call at a time."""


class Scripted(FunctionInvocationLayer, BaseChatClient):
    """A model that makes the next call of the script."""

    async def _inner_get_response(
        self, *, messages: Sequence[Message], stream: bool, options: Any, **more: Any
    ) -> ChatResponse:
        """A call, or the end."""
        contents = [content for message in messages for content in message.contents]
        done = sum(content.type == "function_result" for content in contents)
        said: Any = "Done."
        if done < len(SCRIPT):
            name, arguments = SCRIPT[done]
            said = Content.from_function_call(name, name, arguments=arguments)
        return ChatResponse(messages=[Message(role="assistant", contents=[said])])


async def main() -> None:
    """Run the agent."""
    guard = Guard.from_policy(HERE / "policy.yaml")
    async with (
        guard,
        guard.run(principal=Principal(user="ana")),
        guarded_tool(guard, SERVER, name="tickets", load_prompts=False) as tool,
    ):
        model = Scripted(function_invocation_configuration={"include_detailed_errors": True})
        done = await Agent(model, tools=[tool]).run("The printer is on fire.")
    for message in done.messages:
        for content in message.contents:
            if content.type == "function_result":
                print(f"{content.call_id}: {content.result}")


if __name__ == "__main__":
    asyncio.run(main())
