"""haystack: an agent with a guarded server, and a script for a model.

`python haystack_agent.py` prints what the model is told by each tool. One call is
refused, and the agent goes on. The policy is `policy.yaml`, the same for all frameworks.
"""

import asyncio
import sys
from pathlib import Path

from haystack.components.agents import Agent
from haystack.components.generators.chat import MockChatGenerator
from haystack.dataclasses import ChatMessage, ToolCall
from haystack_integrations.tools.mcp import MCPToolset
from mcp import StdioServerParameters

from mcpguard import Guard, Principal
from mcpguard.integrations.haystack import guarded_server

HERE = Path(__file__).parent
SERVER = StdioServerParameters(command=sys.executable, args=[str(HERE.parent / "servers" / "tickets.py")])
SCRIPT = [
    ("open_ticket", {"title": "Printer", "body": "It is on fire."}),
    ("close_ticket", {"number": 1}),
    ("get_ticket", {"number": 1}),
]
"""What the model does, a call at a time."""


async def main() -> None:
    """Run the agent, on a thread as it blocks."""
    guard = Guard.from_policy(HERE / "policy.yaml")
    calls = [ToolCall(tool_name=name, arguments=arguments, id=name) for name, arguments in SCRIPT]
    messages = [ChatMessage.from_assistant(tool_calls=[call]) for call in calls]
    model = MockChatGenerator([*messages, ChatMessage.from_assistant("Done.")])
    async with guard, guard.run(principal=Principal(user="ana")) as run:
        server = guarded_server(guard, SERVER, name="tickets", run=run)
        tools = await asyncio.to_thread(MCPToolset, server, eager_connect=True)
        agent = Agent(chat_generator=model, tools=tools)
        asked = [ChatMessage.from_user("The printer is on fire.")]
        done = await asyncio.to_thread(agent.run, messages=asked)
        await asyncio.to_thread(tools.close)
    for message in done["messages"]:
        for result in message.tool_call_results:
            print(f"{result.origin.tool_name}: {result.result}")


if __name__ == "__main__":
    asyncio.run(main())
