"""llama-index: an agent with a guarded server, and a script for a model.

`python llama_index_agent.py` prints what the model is told by each tool. One call is
refused, and the agent goes on. The policy is `policy.yaml`, the same for all frameworks.
"""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llama_index.core.agent.workflow import FunctionAgent, ToolCallResult
from llama_index.core.base.llms.types import ToolCallBlock
from llama_index.core.llms import ChatMessage, MessageRole
from llama_index.core.llms.mock import MockFunctionCallingLLM
from mcp import StdioServerParameters

from mcpguard import Guard, Principal
from mcpguard.integrations.llama_index import guarded_tools

HERE = Path(__file__).parent
SERVER = StdioServerParameters(command=sys.executable, args=[str(HERE.parent / "servers" / "tickets.py")])
SCRIPT = [
    ("open_ticket", {"title": "Printer", "body": "It is on fire."}),
    ("close_ticket", {"number": 1}),
    ("get_ticket", {"number": 1}),
]
"""What the model does, a call at a time."""


def model(messages: Sequence[ChatMessage], **options: Any) -> ChatMessage:
    """The next call of the script, or the end."""
    done = sum(message.role == MessageRole.TOOL for message in messages)
    if done == len(SCRIPT):
        return ChatMessage(role="assistant", content="Done.")
    name, arguments = SCRIPT[done]
    call = ToolCallBlock(tool_call_id=name, tool_name=name, tool_kwargs=arguments)
    return ChatMessage(role="assistant", blocks=[call])


async def main() -> None:
    """Run the agent."""
    guard = Guard.from_policy(HERE / "policy.yaml")
    async with (
        guard,
        guard.run(principal=Principal(user="ana")),
        guarded_tools(guard, SERVER, name="tickets") as tools,
    ):
        agent = FunctionAgent(
            tools=await tools.to_tool_list_async(),
            llm=MockFunctionCallingLLM(response_generator=model),
            streaming=False,
        )
        running = agent.run("The printer is on fire.")
        async for event in running.stream_events():
            if isinstance(event, ToolCallResult):
                for block in event.tool_output.raw_output.content:
                    print(f"{event.tool_name}: {block.text}")
        await running


if __name__ == "__main__":
    asyncio.run(main())
