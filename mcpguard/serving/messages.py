"""What a body is, read as the SDK's server reads it, on either major.

Above: `answers`, `draining`. Below: the SDK.
"""

from importlib import import_module
from typing import Any

from mcpguard.seams.session import sdk_major

__all__ = ["inner", "is_request", "message_in"]


def message_in(body: bytes) -> Any:
    """The SDK's message that a body is; None for what is none, and for several."""
    types: Any = import_module("mcp.types")
    try:
        if sdk_major() < 2:
            return types.JSONRPCMessage.model_validate_json(body)
        return types.jsonrpc.jsonrpc_message_adapter.validate_json(body, by_name=False)
    except ValueError:
        return None


def inner(message: Any) -> Any:
    """What SDK 1.x wraps."""
    return message.root if sdk_major() < 2 else message


def is_request(message: Any) -> bool:
    """Whether an answer is expected to it."""
    types: Any = import_module("mcp.types")
    return isinstance(inner(message), types.JSONRPCRequest)
