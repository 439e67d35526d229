"""What a denial looks like on the wire, in either direction. Knows the protocol, not the SDK."""

from collections.abc import Mapping
from typing import Final

from mcpguard.core.result import DENIED_CODE, Denial, WireError
from mcpguard.core.wire import JSON, JSONObject

__all__ = ["DENIAL_KEY", "denial_error", "inbound_answer", "tool_refusal"]

DENIAL_KEY: Final = "mcpguard/denial"
"""Key in `_meta` of a refused tool's result; its value holds `code` and sometimes `retryAfter`."""


def tool_refusal(denial: Denial) -> JSONObject:
    """A refused tool call as an ordinary tool result: `isError`, a sentence, a stable code.

    `resultType` is what 2026-07-28 asks for; earlier revisions ignore it.
    """
    return {
        "content": [{"type": "text", "text": f"{denial.message} [{denial.code}]"}],
        "isError": True,
        "resultType": "complete",
        "_meta": {DENIAL_KEY: _code(denial)},
    }


def denial_error(denial: Denial) -> WireError:
    """A refusal of any other request as a JSON-RPC error."""
    return WireError(DENIED_CODE, f"{denial.message} [{denial.code}]", {DENIAL_KEY: _code(denial)})


def inbound_answer(method: str) -> JSONObject | None:
    """The answer that refuses a server's request without an error, for methods that have one.

    An elicitation is declined and there are no roots. Sampling has no such answer: None.
    """
    return _ANSWERS.get(method)


_ANSWERS: Final[Mapping[str, JSONObject]] = {
    "elicitation/create": {"action": "decline"},
    "roots/list": {"roots": []},
}


def _code(denial: Denial) -> JSONObject:
    code: dict[str, JSON] = {"code": denial.code}
    if denial.retry_after is not None:
        code["retryAfter"] = round(denial.retry_after, 3)
    return code
