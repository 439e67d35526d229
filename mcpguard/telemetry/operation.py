"""One call as OpenTelemetry sees it: its span, what goes along to the server, how long each attempt took.

The keys in `_meta` are W3C's own, without a prefix (MCP SEP-414). What is there already stays: SDK 2.x and
FastMCP put the context of their own spans, which hang below ours.
"""

from collections.abc import Callable, Mapping
from contextvars import Token
from typing import Final

from opentelemetry import baggage as bags
from opentelemetry import context
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.trace import Span, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from mcpguard.core.call import Call
from mcpguard.core.clock import Clock
from mcpguard.core.line import Line
from mcpguard.core.result import Result
from mcpguard.core.wire import EMPTY, JSON, JSONObject
from mcpguard.telemetry.conventions import REVISION, STATUS_CODE, Attributes, error_type, of_answer, of_line
from mcpguard.telemetry.instruments import Instruments
from mcpguard.telemetry.revisions import Revisions

__all__ = ["Operation"]

_TRACE: Final = TraceContextTextMapPropagator()
_BAGGAGE: Final = W3CBaggagePropagator()


class Operation:
    """One call on its way; a `Watch`.

    Args:
        call: As records show it.
        target: What it is for, as records have it.
        clock: Measures.
        span: Where it shows; None if spans go nowhere.
        is_own: Whether the span was opened for this call, and ends with it.
        named: Makes of a text from outside what records show.
        instruments: What it is measured with; None if measurements go nowhere.
        has_baggage: Whether the program's baggage goes along.
        spans: Spans of calls under way, which this one is among until it ends.
        revisions: What connections speak.
    """

    __slots__ = (
        "_attempts",
        "_began",
        "_bound",
        "_call",
        "_clock",
        "_emptied",
        "_has_baggage",
        "_instruments",
        "_is_own",
        "_line",
        "_named",
        "_request_id",
        "_revisions",
        "_span",
        "_spans",
        "_target",
    )

    def __init__(
        self,
        call: Call,
        target: str | None,
        clock: Clock,
        span: Span | None,
        named: Callable[[str], str],
        instruments: Instruments | None,
        *,
        is_own: bool,
        has_baggage: bool,
        spans: dict[str, Span],
        revisions: Revisions,
    ) -> None:
        self._call = call
        self._target = target
        self._clock = clock
        self._span = span
        self._named = named
        self._is_own = is_own
        self._instruments = instruments
        self._has_baggage = has_baggage
        self._spans = spans
        self._revisions = revisions
        self._attempts = 0
        self._began = 0.0
        self._request_id: str | int | None = None
        self._line: Line | None = None
        self._emptied: Token[Context] | None = None
        self._bound: Token[Context] | None = None
        if span is not None:
            spans[call.id] = span
            if is_own:
                self._bound = context.attach(set_span_in_context(span))

    def sends(self, call: Call, /) -> JSONObject:
        """Begin an attempt; baggage that must not leave is not there meanwhile."""
        self._attempts += 1
        self._began = self._clock.now()
        around = context.get_current()
        if not self._has_baggage and bags.get_all(around):
            around = bags.clear(around)
            self._emptied = context.attach(around)
        meta = call.params.get("_meta")
        known: JSONObject = meta if isinstance(meta, Mapping) else EMPTY
        carried: dict[str, JSON] = {}
        carrier: dict[str, str] = {}
        if "traceparent" not in known:
            _TRACE.inject(carrier, around)
        if self._has_baggage:
            _BAGGAGE.inject(carrier, around)
        elif "baggage" in known:
            carried["baggage"] = None
        return {**carried, **carrier}

    def went(self, request_id: str | int | None, line: Line, /) -> None:
        """Remember the last attempt's; what the answer tells of its line is there at the end."""
        self._request_id, self._line = request_id, line

    def returned(self, result: Result | None, /) -> None:
        """End an attempt."""
        if self._emptied is not None:
            context.detach(self._emptied)
            self._emptied = None
        if self._instruments is not None:
            self._instruments.attempted(self._call, self._target, result, self._clock.now() - self._began)

    def ended(self, result: Result | None, /) -> None:
        """End the call, and its span."""
        if self._bound is not None:
            context.detach(self._bound)
        self._revisions.learn(self._call, result)
        if self._instruments is not None:
            self._instruments.answered(self._call, self._target, result)
        span = self._span
        if span is None:
            return
        self._spans.pop(self._call.id, None)
        span.set_attributes(self._found(result))
        if error_type(result) is not None:
            span.set_status(Status(StatusCode.ERROR))
        if self._is_own:
            span.end()

    def _found(self, result: Result | None) -> Attributes:
        found: Attributes = {**of_answer(result), "mcpguard.attempts": self._attempts}
        if self._line is not None:
            found.update(of_line(self._request_id, self._line, self._named))
        revision = self._revisions.of(self._call)
        if revision is not None:
            found[REVISION] = revision
        if result is not None:
            found["mcpguard.outcome"] = result.outcome.value
            if result.error is not None:
                found[STATUS_CODE] = str(result.error.code)
            if result.denial is not None:
                found["mcpguard.code"] = result.denial.code
        return found
