"""A server as a process of its own, on stdio or HTTP, that writes every message it gets into a file.

It is made of the standard library alone, so it starts fast in any environment and nothing of an SDK can hide
from the file what was sent: `python wire_server.py LOG stdio` or `python wire_server.py LOG http`, which
prints its port.
"""

import json
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TEXT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
TOOLS = [
    {"name": "echo", "description": "Say it again.", "inputSchema": TEXT},
    {"name": "count", "description": "Count to three.", "inputSchema": {"type": "object", "properties": {}}},
    {"name": "wipe", "description": "Wipe it all.", "inputSchema": TEXT},
    {"name": "delete", "description": "Delete it all.", "inputSchema": TEXT},
]

_log = threading.Lock()


def answer(message: dict[str, Any], notify: Callable[[dict[str, Any]], None]) -> dict[str, Any] | None:
    """What to answer to one message; None to a notification."""
    with _log, Path(sys.argv[1]).open("a") as file:
        file.write(json.dumps(message) + "\n")
    if "id" not in message or "method" not in message:
        return None
    params = message.get("params", {})
    reply: dict[str, Any] = {"jsonrpc": "2.0", "id": message["id"]}
    match message["method"]:
        case "initialize":
            result: dict[str, Any] = {
                "protocolVersion": params["protocolVersion"],
                "capabilities": {"tools": {}, "resources": {}, "prompts": {}},
                "serverInfo": {"name": "wire", "version": "1"},
            }
        case "ping":
            result = {}
        case "tools/list":
            result = {"tools": TOOLS}
        case "tools/call":
            result = called(params, notify)
        case "resources/list":
            result = {"resources": [{"uri": "memo://a", "name": "a"}]}
        case "resources/templates/list":
            result = {"resourceTemplates": []}
        case "resources/read":
            result = {"contents": [{"uri": params["uri"], "text": "memo"}]}
        case "prompts/list":
            result = {"prompts": [{"name": "greet"}]}
        case "prompts/get":
            said = {"role": "user", "content": {"type": "text", "text": "hello"}}
            result = {"messages": [said]}
        case _:
            return {**reply, "error": {"code": -32601, "message": "Method not found"}}
    return {**reply, "result": result}


def called(params: dict[str, Any], notify: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """What a tool says, as an error where it is asked to fail."""
    arguments = params.get("arguments") or {}
    said = arguments.get("text", "3")
    token = params.get("_meta", {}).get("progressToken")
    if params["name"] == "count" and token is not None:
        for step in (1, 2, 3):
            progress = {"progressToken": token, "progress": step, "total": 3}
            notify({"jsonrpc": "2.0", "method": "notifications/progress", "params": progress})
    content = [{"type": "text", "text": f"{params['name']}: {said}"}]
    return {"content": content, "isError": True} if said.startswith("fail") else {"content": content}


def serve_stdio() -> None:
    """One client, on the process's own pipes."""

    def put(message: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()

    for line in sys.stdin:
        reply = answer(json.loads(line), put)
        if reply is not None:
            put(reply)


class Requests(BaseHTTPRequestHandler):
    """Streamable HTTP: a POST for each message, answered with a stream of events."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        told: list[dict[str, Any]] = []
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        reply = answer(message, told.append)
        if reply is None:
            self._send(202, b"")
            return
        events = "".join(f"event: message\ndata: {json.dumps(one)}\n\n" for one in [*told, reply])
        self._send(200, events.encode(), "text/event-stream")

    def do_GET(self) -> None:
        self._send(405, b"")

    def do_DELETE(self) -> None:
        self._send(200, b"")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: nobody reads it."""

    def _send(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Mcp-Session-Id", "one")
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    if sys.argv[2] == "stdio":
        serve_stdio()
    else:
        with ThreadingHTTPServer(("127.0.0.1", 0), Requests) as server:
            sys.stdout.write(f"{server.server_port}\n")
            sys.stdout.flush()
            server.serve_forever()
