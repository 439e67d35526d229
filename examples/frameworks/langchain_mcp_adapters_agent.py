"""LangGraph on langchain-mcp-adapters: an agent with a guarded server, and a script for a model.

`python langchain_mcp_adapters_agent.py` prints what the model is told by each tool. One call is
refused, and the agent goes on. The policy is `policy.yaml`, the same for all frameworks.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from mcpguard import Guard, Principal
from mcpguard.integrations.langchain_mcp_adapters import guarded_client

HERE = Path(__file__).parent
SERVER = {
    "transport": "stdio",
    "command": sys.executable,
    "args": [str(HERE.parent / "servers" / "tickets.py")],
    "env": {
        "DATABASE_PATH": str(Path(tempfile.mkdtemp()) / "tickets.db")
    },  # each call has a server of its own
}
SCRIPT = [
    ("open_ticket", {"title": "Printer", "body": "It is on fire."}),
    ("close_ticket", {"number": 1}),
    ("get_ticket", {"number": 1}),
]
"""What the model does, a call at a time."""


def model(state: MessagesState) -> dict[str, list[AIMessage]]:
    """The next call of the script, or the end."""
    done = sum(message.type == "tool" for message in state["messages"])
    calls = [{"name": name, "args": arguments, "id": name} for name, arguments in SCRIPT[done : done + 1]]
    return {"messages": [AIMessage("" if calls else "Done.", tool_calls=calls)]}


async def main() -> None:
    """Run the agent."""
    guard = Guard.from_policy(HERE / "policy.yaml")
    client = guarded_client(guard, {"tickets": SERVER})
    async with guard, guard.run(principal=Principal(user="ana")):
        graph = StateGraph(MessagesState)
        graph.add_node("model", model)
        graph.add_node("tools", ToolNode(await client.get_tools()))
        graph.add_edge(START, "model")
        graph.add_conditional_edges("model", tools_condition, {"tools": "tools", END: END})
        graph.add_edge("tools", "model")
        done = await graph.compile().ainvoke({"messages": [HumanMessage("The printer is on fire.")]})
    for message in done["messages"]:
        if message.type == "tool":
            print(f"{message.name}: {message.text}")


if __name__ == "__main__":
    asyncio.run(main())
