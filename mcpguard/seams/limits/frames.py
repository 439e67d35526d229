"""One message as it stands on the wire, parsed within limits.

Above: `stdio` and `http`, which cut the wire into messages. Below: `detectors.shapes`, what may be parsed.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from typing import Any, Final, Literal, TypeAlias

import anyio.to_thread
from pydantic_core import from_json

from mcpguard.core.connection_limits import ConnectionLimits
from mcpguard.detectors.listing_text import INSIDE, may_list, without_broken
from mcpguard.detectors.listings import text_in
from mcpguard.detectors.shapes import find_id, is_answer, shape_fault
from mcpguard.seams import messages
from mcpguard.seams.messages import Error, Key, Response, id_key
from mcpguard.seams.reports import Report
from mcpguard.seams.session import sdk_major

__all__ = [
    "THREAD_BYTES",
    "Fault",
    "fault_answer",
    "is_of_another",
    "parse",
    "read",
    "read_answer",
    "sentence",
]

_message: Final[Any] = import_module("mcp.shared.message").SessionMessage
if sdk_major() < 2:
    _root: Any = import_module("mcp.types").JSONRPCMessage

    def _checked(value: Any) -> Any:
        return _root.model_validate(value)
else:
    _adapter: Any = import_module("mcp.types.jsonrpc").jsonrpc_message_adapter

    def _checked(value: Any) -> Any:
        return _adapter.validate_python(value, by_name=False)


Lists: TypeAlias = Callable[[Key | None], bool]
"""Tells whether it is a listing that an answer with this id answers."""

THREAD_BYTES: Final = 2**20
"""Messages from this size on are measured and parsed in a thread; smaller ones take some milliseconds."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A message that is not passed on.

    Args:
        limit: Which limit it broke; `malformed` if it is no message.
        id: The request it answers, as far as that can be told.
        is_answer: Whether it looks like an answer.
    """

    limit: str
    id: Key | None
    is_answer: bool


def parse(text: bytes, limits: ConnectionLimits) -> Any | Fault:
    """The message in `text`, ready for a stream, or what is wrong with it."""
    broken: str | None = shape_fault(text, limits)
    if broken is None:
        try:
            strings: Literal["all", "none"] = "all" if len(text) < THREAD_BYTES else "none"
            # in two steps: a fifth of the time of one, and of many names half where none is looked up
            return _message(_checked(from_json(text, cache_strings=strings)))
        except (ValueError, RecursionError):
            broken = "malformed"
    return Fault(broken, find_id(text), is_answer(text))


async def read(text: bytes, limits: ConnectionLimits, lists: Lists) -> tuple[Any | Fault, bytes]:
    """The message in `text`, in a thread where parsing takes long, and the text that says the same.

    A listing loses the definitions that break a limit, if the rest of it can be read; `lists` tells by the
    id of an answer whether a listing is what it answers.
    """
    is_small = len(text) < THREAD_BYTES
    found = parse(text, limits) if is_small else await anyio.to_thread.run_sync(parse, text, limits)
    is_broken = isinstance(found, Fault) and found.is_answer and found.limit != "message_bytes"
    if is_broken and lists(found.id) and may_list(text):
        return await anyio.to_thread.run_sync(_rest, text, limits, found)
    return found, text


async def read_answer(
    text: bytes, limits: ConnectionLimits, id: Key, *, is_listing: bool = False
) -> tuple[Any | Fault, bytes]:
    """The same of the answer to the request `id`, or why it is none."""
    found, text = await read(text, limits, lambda _id: is_listing)
    if isinstance(found, Fault):
        return found, text
    body = messages.body_of(found)
    if type(body) not in (Response, Error):
        return Fault("malformed", id, is_answer=False), text
    return Fault("id", id, is_answer=True) if is_of_another(body, id) else found, text


def is_of_another(body: Any, id: Key) -> bool:
    """Whether an answer is one to another request than `id`; an error may not know to which."""
    return body.id is not None and id_key(body.id) != id_key(id)


def fault_answer(fault: Fault, id: Key) -> Any:
    """The error with which the request `id` ends that was answered so."""
    report = Report.of("refused_answer", limit=fault.limit)
    return messages.error(id, report.error(f"The answer was refused: {sentence(fault.limit)}."))


def sentence(limit: str) -> str:
    """What broke `limit`, for a message."""
    return "it is not a valid message" if limit == "malformed" else f"it is over the limit on {limit}"


def _rest(text: bytes, limits: ConnectionLimits, fault: Fault) -> tuple[Any | Fault, bytes]:
    """The listing in `text` without the definitions that broke it; or `fault`, where it is something else."""
    inside = replace(limits, depth=max(1, limits.depth - INSIDE))
    rest = without_broken(text, partial(_fault, limits=inside), most=limits.definitions)
    found = fault if rest is None else parse(rest, limits)
    return (fault, text) if rest is None or isinstance(found, Fault) else (found, rest)


def _fault(text: bytes, *, limits: ConnectionLimits) -> str | None:
    """What is wrong with one definition."""
    broken = shape_fault(text, limits)
    if broken is not None:
        return broken
    try:
        definition = from_json(text)
    except (ValueError, RecursionError):
        return "malformed"
    most = limits.definition_bytes
    return "definition_bytes" if text_in(definition, most) > most else None
