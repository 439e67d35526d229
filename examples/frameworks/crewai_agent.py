"""crewai: an agent with a guarded server, and a script for a model.

`python crewai_agent.py` prints what the model is told by each tool. One call is
refused, and the agent goes on. The policy is `policy.yaml`, the same for all frameworks.
"""

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ["CREWAI_DISABLE_TELEMETRY"] = "true"

from crewai import Agent, BaseLLM
from mcp import StdioServerParameters

from mcpguard import Guard, Principal
from mcpguard.integrations.crewai import guarded_tools

HERE = Path(__file__).parent
SERVER = StdioServerParameters(
    command=sys.executable,
    args=[str(HERE.parent / "servers" / "tickets.py")],
    env={"DATABASE_PATH": str(Path(tempfile.mkdtemp()) / "tickets.db")},  # each call has a server of its own
)
SCRIPT = [
    ("open_ticket", {"title": "Printer", "body": "It is on fire."}),
    ("close_ticket", {"number": 1}),
    ("get_ticket", {"number": 1}),
]
"""What the model does, a call at a time."""


class Scripted(BaseLLM):
    """A model that makes the next call of the script; what the last call came to is printed."""

    done: int = 0

    def supports_function_calling(self) -> bool:
        """It calls tools in its text."""
        return False

    def call(self, messages: Any, *args: Any, **options: Any) -> str:
        """A call, or the end."""
        if self.done:
            texts = [str(message["content"]) for message in messages if "Observation:" in message["content"]]
            print(f"{SCRIPT[self.done - 1][0]}: {texts[-1].rpartition('Observation:')[2].strip()}")
        if self.done == len(SCRIPT):
            return "Thought: I know the answer.\nFinal Answer: Done."
        name, arguments = SCRIPT[self.done]
        self.done += 1
        return f"Thought: Go on.\nAction: tickets_{name}\nAction Input: {json.dumps(arguments)}"


async def main() -> None:
    """Run the agent."""
    guard = Guard.from_policy(HERE / "policy.yaml")
    async with guard, guard.run(principal=Principal(user="ana")):
        tools = await guarded_tools(guard, SERVER, name="tickets")
        clerk = Agent(
            role="clerk", goal="help", backstory="A clerk.", tools=tools, llm=Scripted(model="scripted")
        )
        await clerk.kickoff_async("The printer is on fire.")


if __name__ == "__main__":
    asyncio.run(main())
