"""autogen: an agent with a guarded server, and a script for a model.

`python autogen_agent.py` prints what the model is told by each tool. One call is
refused, and the agent goes on. The policy is `policy.yaml`, the same for all frameworks.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.messages import ToolCallExecutionEvent
from autogen_core import FunctionCall
from autogen_core.models import CreateResult, ModelFamily, ModelInfo, RequestUsage
from autogen_ext.models.replay import ReplayChatCompletionClient
from autogen_ext.tools.mcp import StdioServerParams

from mcpguard import Guard, Principal
from mcpguard.integrations.autogen import guarded_tools

HERE = Path(__file__).parent
SERVER = StdioServerParams(
    command=sys.executable,
    args=[str(HERE.parent / "servers" / "tickets.py")],
    read_timeout_seconds=60,
)
INFO = ModelInfo(
    vision=False,
    function_calling=True,
    json_output=False,
    family=ModelFamily.UNKNOWN,
    structured_output=False,
)
SCRIPT = [
    ("open_ticket", {"title": "Printer", "body": "It is on fire."}),
    ("close_ticket", {"number": 1}),
    ("get_ticket", {"number": 1}),
]
"""What the model does, a call at a time."""


def said(content: Any) -> CreateResult:
    """What a model says at once."""
    is_text = isinstance(content, str)
    usage = RequestUsage(prompt_tokens=1, completion_tokens=1)
    reason = "stop" if is_text else "function_calls"
    return CreateResult(finish_reason=reason, content=content, usage=usage, cached=False)


async def main() -> None:
    """Run the agent."""
    guard = Guard.from_policy(HERE / "policy.yaml")
    calls = [
        said([FunctionCall(id=name, name=name, arguments=json.dumps(arguments))])
        for name, arguments in SCRIPT
    ]
    model = ReplayChatCompletionClient([*calls, said("Done.")], model_info=INFO)
    async with (
        guard,
        guard.run(principal=Principal(user="ana")),
        guarded_tools(guard, SERVER, name="tickets") as tools,
    ):
        agent = AssistantAgent("clerk", model_client=model, tools=tools, max_tool_iterations=5)
        done = await agent.run(task="The printer is on fire.")
    for message in done.messages:
        if isinstance(message, ToolCallExecutionEvent):
            print(f"{message.content[0].name}: {message.content[0].content}")


if __name__ == "__main__":
    asyncio.run(main())
