"""anthropic's tool runner: an agent with a guarded server, and a script for a model.

`python anthropic_agent.py` prints what the model is told by each tool. One call is
refused, and the agent goes on. The policy is `policy.yaml`, the same for all frameworks.
"""

import asyncio
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from anthropic import AsyncAnthropic
from mcp import StdioServerParameters

from mcpguard import Guard, Principal
from mcpguard.integrations.anthropic import guarded_tools

HERE = Path(__file__).parent
SERVER = StdioServerParameters(command=sys.executable, args=[str(HERE.parent / "servers" / "tickets.py")])
SCRIPT = [
    ("open_ticket", {"title": "Printer", "body": "It is on fire."}),
    ("close_ticket", {"number": 1}),
    ("get_ticket", {"number": 1}),
]
"""What the model does, a call at a time."""


def answer(messages: list[Any]) -> dict[str, Any]:
    """The next call of the script, or the end; what the last call came to is printed."""
    last = messages[-1]["content"]
    names = [name for name, _ in SCRIPT]
    done = 0
    if not isinstance(last, str):
        done = names.index(last[0]["tool_use_id"]) + 1
        print(f"{names[done - 1]}: {last[0]['content'][0]['text']}")
    said: dict[str, Any] = {"type": "text", "text": "Done."}
    if done < len(SCRIPT):
        name, arguments = SCRIPT[done]
        said = {"type": "tool_use", "id": name, "name": name, "input": arguments}
    return {
        "id": "message",
        "type": "message",
        "role": "assistant",
        "model": "scripted",
        "content": [said],
        "stop_reason": "end_turn" if said["type"] == "text" else "tool_use",
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }


class Scripted(BaseHTTPRequestHandler):
    """Stands where the API does."""

    def do_POST(self) -> None:
        """Answer a request for a message."""
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps(answer(request["messages"])).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


async def main(url: str) -> None:
    """Run the agent."""
    guard = Guard.from_policy(HERE / "policy.yaml")
    async with (
        guard,
        guard.run(principal=Principal(user="ana")),
        guarded_tools(guard, SERVER, name="tickets") as tools,
        AsyncAnthropic(api_key="none", base_url=url) as client,
    ):
        runner = client.beta.messages.tool_runner(
            model="scripted",
            max_tokens=100,
            tools=tools,
            messages=[{"role": "user", "content": "The printer is on fire."}],
        )
        await runner.until_done()


if __name__ == "__main__":
    with ThreadingHTTPServer(("127.0.0.1", 0), Scripted) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        asyncio.run(main(f"http://127.0.0.1:{server.server_port}"))
        server.shutdown()
