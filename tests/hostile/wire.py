"""Messages as they stand on the wire: bytes, and no SDK."""

import json
from typing import Any

Message = dict[str, Any]

TEXT = {"content": [{"type": "text", "text": "done"}]}
TOOL: Message = {"name": "go", "description": "Go.", "inputSchema": {"type": "object"}}
HONEST: Message = {"name": "honest", "description": "Answer.", "inputSchema": {"type": "object"}}


def answer(id: Any, **members: Any) -> bytes:
    """A response or error as it is on the wire."""
    return json.dumps({"jsonrpc": "2.0", "id": id, **members}).encode()


def notification(method: str, **params: Any) -> bytes:
    """A notification as it is on the wire."""
    return json.dumps({"jsonrpc": "2.0", "method": method, "params": params}).encode()


def request(id: Any, method: str, **params: Any) -> bytes:
    """A request of the server's as it is on the wire."""
    return json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).encode()


def good(id: Any) -> bytes:
    """An honest answer."""
    return answer(id, result=TEXT)
