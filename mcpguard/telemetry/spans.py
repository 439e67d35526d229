"""Which span a call shows on: one that is there for this very operation already, or a new one.

The conventions ask not to open a second span where the tool's execution is traced, but to add to the first.
What is there is read through the attributes of OpenTelemetry's own spans; a span that does not show any is
taken for somebody else's.
"""

from collections.abc import Mapping
from typing import Final, cast

from opentelemetry.trace import Span, SpanKind, get_current_span

from mcpguard.telemetry.conventions import CALL, EXECUTE_TOOL, METHOD, OPERATION, PROMPT, TOOL

__all__ = ["current_span_of"]

_RECEIVING: Final = (SpanKind.SERVER, SpanKind.CONSUMER)
"""Kinds of spans about what was received: inside one, a call of that name is another call."""


def current_span_of(method: str, target: str | None) -> Span | None:
    """The current span if it is about the same operation and no other call shows on it.

    Args:
        method: The protocol's method.
        target: The name of the tool or prompt, as whoever opened the span knows it.
    """
    span = get_current_span()
    attributes = getattr(span, "attributes", None)
    if not span.is_recording() or not isinstance(attributes, Mapping):
        return None
    about = cast("Mapping[str, object]", attributes)
    if CALL in about:
        return None
    if getattr(span, "kind", None) in _RECEIVING:
        return None
    if about.get(OPERATION) == EXECUTE_TOOL and method == "tools/call":
        return span if about.get(TOOL) == target else None
    if about.get(METHOD) != method:
        return None
    named = about.get(TOOL, about.get(PROMPT))
    if named is not None:
        return span if named == target else None
    is_named = method in ("tools/call", "prompts/get")
    return span if not is_named or str(getattr(span, "name", "")).endswith(f" {target}") else None
