"""How calls, answers and decisions are called in OpenTelemetry.

By the semantic conventions for MCP and generative AI (open-telemetry/semantic-conventions-genai, status
Development) where they have a name, and `mcpguard.*` where they have none. This is the one place that knows
those names; what changes there is changed here. No argument, no result and no resource's URI is among them.
"""

from collections.abc import Callable, Mapping, Sequence
from threading import RLock
from typing import Final, TypeAlias

from mcpguard.core.call import Call
from mcpguard.core.disclosure import Disclosure
from mcpguard.core.line import Line
from mcpguard.core.names import MAX_NAME
from mcpguard.core.result import Outcome, Result

__all__ = [
    "BUCKETS",
    "CALL",
    "DURATION",
    "ERROR",
    "EXECUTE_TOOL",
    "METHOD",
    "OPERATION",
    "OTHER",
    "PROMPT",
    "REVISION",
    "SERVER",
    "STATUS_CODE",
    "TOOL",
    "Attributes",
    "Names",
    "error_type",
    "of_answer",
    "of_call",
    "of_details",
    "of_line",
    "of_operation",
    "span_name",
]

Attributes: TypeAlias = dict[str, str | bool | int | float]

METHOD: Final = "mcp.method.name"
TOOL: Final = "gen_ai.tool.name"
PROMPT: Final = "gen_ai.prompt.name"
OPERATION: Final = "gen_ai.operation.name"
EXECUTE_TOOL: Final = "execute_tool"
AGENT: Final = "gen_ai.agent.name"
ERROR: Final = "error.type"
REVISION: Final = "mcp.protocol.version"
STATUS_CODE: Final = "rpc.response.status_code"
SERVER: Final = "mcpguard.server"
CALL: Final = "mcpguard.call.id"
REQUEST: Final = "jsonrpc.request.id"
SESSION: Final = "mcp.session.id"
TRANSPORT: Final = "network.transport"
PROTOCOL: Final = "network.protocol.name"
ADDRESS: Final = "server.address"
PORT: Final = "server.port"

DURATION: Final = "mcp.client.operation.duration"
"""Histogram: seconds from sending a request to its answer."""

BUCKETS: Final[Sequence[float]] = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)
"""Boundaries of its buckets, in seconds, as the conventions have them."""

OTHER: Final = "_OTHER"
"""What stands for names and codes that are not told apart (OpenTelemetry, attribute `error.type`)."""

MAX_NAMES: Final = 500
"""Names of tools and prompts that metrics tell apart: a model can make up any number of them."""

_NAMED: Final[Mapping[str, str]] = {"tools/call": TOOL, "prompts/get": PROMPT}
"""Methods whose target is a name of few values; a resource's URI is not."""

_DETAILS: Final = ("interceptor", "verdict", "code", "mode", "state", "server", "retry_after")
"""Members of an event that are told. Its reason is not: it may say on whose behalf a call was made."""

_CODES: Final = frozenset({-32700, *range(-32603, -32599), *range(-32099, -31999)})
"""The codes that JSON-RPC 2.0 defines or reserves, MCP's own among them. A server can send any other."""


class Names:
    """Keeps the number of names bounded that come from outside.

    Args:
        limit: Names that are told apart.
    """

    def __init__(self, limit: int = MAX_NAMES) -> None:
        self._limit = limit
        self._known: set[str] = set()
        self._lock = RLock()
        """Its owner may take it again: a call that nobody awaits any more ends while garbage is collected."""

    def bounded(self, name: str) -> str:
        """`name`, or `_OTHER` where there are too many."""
        if name in self._known:
            return name
        with self._lock:
            if len(self._known) >= self._limit:
                return OTHER
            self._known.add(name)
        return name


def span_name(call: Call, target: str | None) -> str:
    """`execute_tool {tool}` of a tool call; else the method, and the prompt's name.

    Args:
        call: The call.
        target: What it is for, as records have it.
    """
    target = target if call.method in _NAMED else None
    if call.method == "tools/call":
        return EXECUTE_TOOL if target is None else f"{EXECUTE_TOOL} {target}"
    return call.method[:MAX_NAME] if target is None else f"{call.method} {target}"


def of_operation(call: Call, target: str | None) -> Attributes:
    """What a call is: of few values, but for the name, `target`, as records have it."""
    attributes: Attributes = {METHOD: call.method[:MAX_NAME], SERVER: call.server}
    if target is not None and call.method in _NAMED:
        attributes[_NAMED[call.method]] = target
    if call.method == "tools/call":
        attributes[OPERATION] = EXECUTE_TOOL
    return attributes


def of_call(call: Call, shown: Disclosure) -> Attributes:
    """What a span says of a call: what it is, and in which task, in the words of records."""
    attributes = {**of_operation(call, shown.target(call.target)), CALL: call.id}
    if call.round:
        attributes["mcpguard.round"] = call.round
    if call.run is not None:
        attributes["mcpguard.run.id"] = shown.name(call.run.id)
    if call.principal is not None:
        if call.principal.agent is not None:
            attributes[AGENT] = shown.name(call.principal.agent)
        if call.principal.tenant is not None:
            attributes["mcpguard.tenant"] = shown.name(call.principal.tenant)
    return attributes


def of_line(request_id: str | int | None, line: Line, named: Callable[[str], str]) -> Attributes:
    """What is known of the request and of the line it goes on.

    Args:
        request_id: The request's id on the wire.
        line: Where it goes.
        named: Makes of a text from outside what records show.
    """
    attributes: Attributes = {}
    if request_id is not None:
        attributes[REQUEST] = named(str(request_id))
    if line.transport is not None:
        attributes[TRANSPORT] = line.transport
    if line.transport == "tcp":
        attributes[PROTOCOL] = "http"
    if line.session is not None:
        attributes[SESSION] = named(line.session)
    if line.address is not None:
        attributes[ADDRESS] = named(line.address)
    if line.port is not None:
        attributes[PORT] = line.port
    return attributes


def error_type(result: Result | None) -> str | None:
    """The class of error that a call ended with; None if it did not. Without a result it was cancelled."""
    if result is None:
        return "cancelled"
    if result.outcome in (Outcome.OK, Outcome.INPUT_REQUIRED):
        return None
    if result.outcome is Outcome.PROTOCOL_ERROR and result.error is not None:
        return _code(result.error.code)
    return result.outcome.value


def of_answer(result: Result | None) -> Attributes:
    """What came of it: of few values, whatever the server makes up."""
    attributes: Attributes = {}
    error = error_type(result)
    if error is not None:
        attributes[ERROR] = error
    if result is not None and result.error is not None:
        attributes[STATUS_CODE] = _code(result.error.code)
    return attributes


def of_details(details: Mapping[str, object]) -> Attributes:
    """What was decided, without values."""
    told: Attributes = {}
    for member in _DETAILS:
        value = details.get(member)
        if isinstance(value, str):
            told[f"mcpguard.{member}"] = value[:MAX_NAME]
        elif isinstance(value, int | float):
            told[f"mcpguard.{member}"] = value
    return told


def _code(code: int) -> str:
    return str(code) if code in _CODES else OTHER
