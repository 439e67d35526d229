"""dspy: an agent with a guarded server, and a script for a model.

`python dspy_agent.py` prints what the model is told by each tool. One call is
refused, and the agent goes on. The policy is `policy.yaml`, the same for all frameworks.
"""

import asyncio
import json
import sys
from pathlib import Path

import dspy
from dspy.utils import DummyLM
from mcp import StdioServerParameters

from mcpguard import Guard, Principal
from mcpguard.integrations.dspy import guarded_tools

HERE = Path(__file__).parent
SERVER = StdioServerParameters(command=sys.executable, args=[str(HERE.parent / "servers" / "tickets.py")])
SCRIPT = [
    ("open_ticket", {"title": "Printer", "body": "It is on fire."}),
    ("close_ticket", {"number": 1}),
    ("get_ticket", {"number": 1}),
]
"""What the model does, a call at a time."""


def answers() -> list[dict[str, str]]:
    """The script, as the fields that `dspy.ReAct` asks its model for."""
    thought = {"next_thought": "Go on."}
    calls = [
        {**thought, "next_tool_name": name, "next_tool_args": json.dumps(arguments)}
        for name, arguments in SCRIPT
    ]
    finish = {**thought, "next_tool_name": "finish", "next_tool_args": "{}"}
    return [*calls, finish, {"reasoning": "It is open.", "answer": "Done."}]


async def main() -> None:
    """Run the agent."""
    guard = Guard.from_policy(HERE / "policy.yaml")
    async with (
        guard,
        guard.run(principal=Principal(user="ana")),
        guarded_tools(guard, SERVER, name="tickets") as tools,
    ):
        with dspy.context(lm=DummyLM(answers())):
            done = await dspy.ReAct("request -> answer", tools=tools).acall(request="The printer is on fire.")
    for number, (name, _) in enumerate(SCRIPT):
        print(f"{name}: {str(done.trajectory[f'observation_{number}']).splitlines()[-1]}")


if __name__ == "__main__":
    asyncio.run(main())
