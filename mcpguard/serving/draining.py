"""What still goes in while no more calls are taken: what belongs to a call that is under way.

In a session that is the answer to what the client was asked, and a notification, such as that it gives its
call up. Without one (MCP 2026-07-28) it is the message that continues a call, known by a state that nobody
can guess and that the server still waits for. Above: `endpoint`. Below: the body, as the SDK reads it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from mcpguard.serving.messages import inner, is_request, message_in

__all__ = ["belongs"]


def belongs(body: bytes, *, is_modern: bool, has_session: bool, awaits: Callable[[str], bool]) -> bool:
    """Whether a message belongs to a call that is under way.

    Args:
        body: The message, whole.
        is_modern: Whether it is answered as one of MCP 2026-07-28.
        has_session: Whether it names a session; whether there is one is seen later.
        awaits: Whether a call waits for the message that continues it under this state.
    """
    message = message_in(body)
    if message is None:
        return False
    if not is_request(message):
        return has_session
    params: Mapping[str, Any] = inner(message).params or {}
    state = params.get("requestState")
    return is_modern and isinstance(state, str) and awaits(state)
