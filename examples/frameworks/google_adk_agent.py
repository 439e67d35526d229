"""google-adk: an agent with a guarded server, and a script for a model.

`python google_adk_agent.py` prints what the model is told by each tool. One call is
refused, and the agent goes on. The policy is `policy.yaml`, the same for all frameworks.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from google.adk.agents import Agent
from google.adk.models import BaseLlm, LlmRequest, LlmResponse
from google.adk.runners import InMemoryRunner
from google.adk.tools.mcp_tool import StdioConnectionParams
from google.genai.types import Content, Part
from mcp import StdioServerParameters

from mcpguard import Guard, Principal
from mcpguard.integrations.google_adk import guarded_toolset

HERE = Path(__file__).parent
SERVER = StdioServerParameters(command=sys.executable, args=[str(HERE.parent / "servers" / "tickets.py")])
SCRIPT = [
    ("open_ticket", {"title": "Printer", "body": "It is on fire."}),
    ("close_ticket", {"number": 1}),
    ("get_ticket", {"number": 1}),
]
"""What the model does, a call at a time."""


class Scripted(BaseLlm):
    """A model that makes the next call of the script."""

    model: str = "scripted"

    async def generate_content_async(
        self, llm_request: LlmRequest, stream: bool = False
    ) -> AsyncIterator[LlmResponse]:
        """A call, or the end."""
        parts = [part for content in llm_request.contents for part in content.parts]
        done = sum(part.function_response is not None for part in parts)
        if done == len(SCRIPT):
            said = Part.from_text(text="Done.")
        else:
            name, arguments = SCRIPT[done]
            said = Part.from_function_call(name=name, args=arguments)
        yield LlmResponse(content=Content(role="model", parts=[said]))


async def main() -> None:
    """Run the agent."""
    guard = Guard.from_policy(HERE / "policy.yaml")
    async with guard, guard.run(principal=Principal(user="ana")):
        params = StdioConnectionParams(server_params=SERVER, timeout=60)
        toolset = guarded_toolset(guard, params, name="tickets")
        agent = Agent(name="clerk", model=Scripted(), tools=[toolset])
        async with InMemoryRunner(agent) as runner:
            events = await runner.run_debug("The printer is on fire.", quiet=True)
    for event in events:
        for answer in event.get_function_responses():
            print(f"{answer.name}: {answer.response}")


if __name__ == "__main__":
    asyncio.run(main())
