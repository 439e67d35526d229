"""Structured content against the schemas a server has listed, where that is cheap, before the SDK does it.

The SDK raises when a result does not match, after the tool has run, and whoever tries again runs it twice.
Here such a result becomes what it is: the answer of a tool that ran and got it wrong. A schema that cannot be
used safely is not shown to the SDK at all.

Above: `watch`. Below: `detectors.schemas`, what a schema may cost.
"""

import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from importlib import import_module
from typing import Any, Final

from mcpguard.core.wire import JSON, JSONObject
from mcpguard.detectors.schemas import cost

__all__ = ["CHEAP_STEPS", "MAX_STEPS", "Structured", "failed_result", "takes_long"]

CHEAP_STEPS: Final = 5_000
"""Steps of validation that are taken on the event loop: some 20 ms."""

_VALIDATORS: Final = "jsonschema.validators"
"""What validates; loading it takes half a second, which the first result must not cost the event loop."""

MAX_STEPS: Final = 2_000_000
"""Steps above which a result is refused: the SDK would take them on the event loop, for seconds."""

_SCHEMA: Final = "outputSchema"


@dataclass(slots=True)
class _Known:
    """A tool's schema, and what is made of it when it is first needed."""

    _: KW_ONLY
    schema: Any
    cost: int
    validator: Any = None


class Structured:
    """The output schemas of one server's tools.

    Args:
        most: How many are remembered.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self.left: Callable[[JSONObject], JSONObject] | None = None
        """What `checked` left undone of the last result, for whoever can do it in a thread."""

    def learn(self, tool: JSONObject) -> JSONObject:
        """Remember a tool's schema; the tool as it may be shown, without a schema that is not safe."""
        schema, name = tool.get(_SCHEMA), str(tool.get("name"))
        self._known.pop(name, None)
        if schema is None:
            return tool
        price = cost(schema)
        if price is None:
            return {member: value for member, value in tool.items() if member != _SCHEMA}
        self._known[name] = _Known(schema=schema, cost=price)
        if len(self._known) > self._most:
            self._known.popitem(last=False)
        return tool

    def checked(self, tool: str, result: JSONObject) -> JSONObject:
        """The result of a call to `tool`; an error result in its place if it is not what was promised.

        Where telling takes long it is left, for the session or the transport to do it in a thread: whoever
        reads the messages of a server must not wait for one of them.
        """
        self.left = None
        known = self._known.get(tool)
        if known is None or result.get("isError") is True or result.get("resultType") == "input_required":
            return result
        if "structuredContent" not in result:
            return failed_result(
                result, "it returned no structured content, which its output schema promises"
            )
        content = result["structuredContent"]
        taken = _steps(content, known.cost)
        if taken > MAX_STEPS:
            return failed_result(
                result, "its structured content is too large to be checked against its schema"
            )
        if taken > CHEAP_STEPS or _VALIDATORS not in sys.modules:
            self.left = partial(_held_against, known)
            return result
        return _held_against(known, result)


def failed_result(result: JSONObject, why: str) -> JSONObject:
    """What the caller gets: the tool has run, and that is all that can be said for it."""
    said = f"The tool has run, but {why}. Running it again runs it twice."
    content = result.get("content")
    rest = content if isinstance(content, Sequence) and not isinstance(content, str) else ()
    kept = {name: value for name, value in result.items() if name != "structuredContent"}
    return {**kept, "content": [{"type": "text", "text": said}, *rest], "isError": True}


def takes_long(value: JSON, price: int) -> bool:
    """Whether validating `value`, at `price` for each value in it, is for a thread."""
    return _VALIDATORS not in sys.modules or _steps(value, price) > CHEAP_STEPS


def _steps(value: JSON, price: int) -> int:
    """Steps that validating `value` takes at most, at `price` for each value in it; no more is counted."""
    left = MAX_STEPS // price + 1
    seen = 0
    level: list[JSON] = [value]
    while level and seen <= left:
        seen += len(level)
        below: list[JSON] = []
        for one in level:
            if isinstance(one, Mapping):
                below.extend(one.values())
            elif isinstance(one, Sequence) and not isinstance(one, str):
                below.extend(one)
        level = below
    return seen * price


def _held_against(known: _Known, result: JSONObject) -> JSONObject:
    """The result, or an error result in its place."""
    if _is_valid(known, result["structuredContent"]):
        return result
    return failed_result(result, "its structured content is not what its output schema allows")


def _is_valid(known: _Known, content: JSON) -> bool:
    """Whether the SDK will find it valid; NaN as a multiple of something raises, and is not."""
    if known.validator is None:
        validator_for: Any = import_module(_VALIDATORS).validator_for
        registry: Any = import_module("referencing").Registry
        known.validator = validator_for(known.schema)(known.schema, registry=registry())
    try:
        valid: bool = known.validator.is_valid(content)
    except Exception:  # noqa: BLE001 - a hostile schema fails in many ways, and none of them says yes
        return False
    return valid
