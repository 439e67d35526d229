"""Show calls in OpenTelemetry: a span around each, what was decided as its events, and measurements.

It opens the one span that the conventions ask for, and the SDK's own hang below it; where one of the SDK's,
of FastMCP's or of a framework's stands around the call already, it adds to that. Only OpenTelemetry's API is
used, and where a program has set up no provider nothing is done. Arguments, results and resources' URIs never
get there; whom a call was made for is in the audit trail, which has the trace's id.
"""

from collections.abc import Collection, Mapping
from typing import Final, Unpack

from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Span, SpanKind, TracerProvider, get_tracer

from mcpguard.core.call import Call
from mcpguard.core.events import Kind
from mcpguard.core.host import Host
from mcpguard.core.interceptor import Common, Place
from mcpguard.core.scope import matcher
from mcpguard.core.watching import Watcher
from mcpguard.core.wire import JSON
from mcpguard.telemetry.conventions import of_call, of_details, span_name
from mcpguard.telemetry.instruments import SCOPE, Instruments, instruments
from mcpguard.telemetry.operation import Operation
from mcpguard.telemetry.providers import has_meter_provider, has_provider, has_tracer_provider
from mcpguard.telemetry.revisions import Revisions
from mcpguard.telemetry.spans import current_span_of

__all__ = ["Tracing"]

_SHOWN: Final = frozenset({"decision", "warning", "interceptor_failed"})
"""Kinds of events that a span shows."""

_COUNTED: Final = _SHOWN | {"spent"}


class Tracing(Watcher):
    """Trace and measure the requests that go to servers.

    Args:
        baggage: Servers that the program's W3C baggage goes along to; names or globs. Empty: to none, as
            anything can stand in it.
        tracer_provider: Where spans go; in Python only. None: where the program sends them.
        meter_provider: Where measurements go; in Python only. None: where the program sends them.
    """

    handles = frozenset((method, "outbound") for method in ("*", "initialize", "server/discover", "ping"))
    place = Place.TRACING

    def __init__(
        self,
        *,
        baggage: Collection[str] = (),
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        self._has_baggage = matcher(baggage)
        self._tracer_provider = tracer_provider
        self._meter_provider = meter_provider
        if tracer_provider is None and meter_provider is None:
            self.is_awake = has_provider
        self._tracer = get_tracer(SCOPE, tracer_provider=tracer_provider)
        self._instruments: Instruments | None = None
        self._spans: dict[str, Span] = {}
        self._revisions = Revisions()

    def join(self, host: Host) -> None:
        """Take what the guard lends, and show its state to who collects."""
        super().join(host)
        self._measures()

    def watch(self, call: Call, asked: str | None) -> Operation:
        """Begin a call, on a span of its own or on the one that is there for it."""
        shown = self.host.emitter.disclosure
        target = shown.target(call.target)
        span = current_span_of(call.method, asked) if self._traces() else None
        is_own = span is None
        if span is not None:
            span.set_attributes(of_call(call, shown))
        elif self._traces():
            name, about = span_name(call, target), of_call(call, shown)
            span = self._tracer.start_span(name, kind=SpanKind.INTERNAL, attributes=about)
        return Operation(
            call,
            target,
            self.host.clock,
            span,
            shown.name,
            self._measures(),
            is_own=is_own,
            has_baggage=self._has_baggage(call.server),
            spans=self._spans,
            revisions=self._revisions,
        )

    def heard(self, kind: Kind, call: Call, details: Mapping[str, object]) -> None:
        """Show a decision on the span of the call it is about, and count it."""
        if kind not in _COUNTED:
            return
        span = self._spans.get(call.id) or self._spans.get(call.parent or "")
        if span is not None and kind in _SHOWN:
            span.add_event(f"mcpguard.{kind}", of_details(details))
        measures = self._measures()
        if measures is not None:
            measures.heard(kind, call, details)

    def changed(self, details: Mapping[str, object]) -> None:
        """Count a change of state."""
        measures = self._measures()
        if measures is not None:
            measures.changed(details)

    def states(self) -> Mapping[str, Mapping[str, JSON]]:
        """The state of the guard's interceptors, for the gauges."""
        return self.host.status()

    def shown(self, target: str | None) -> str | None:
        """A tool's name, as records have it."""
        return self.host.emitter.disclosure.target(target)

    def dropped(self) -> Mapping[str, int]:
        """Audit records that were lost, by sink."""
        delivery = self.host.emitter.delivery
        lost = dict(delivery.failures)
        for sink in delivery.sinks:
            name, count = type(sink).__name__, getattr(sink, "dropped", 0)
            lost[name] = max(lost.get(name, 0), count if isinstance(count, int) else 0)
        return lost

    def _traces(self) -> bool:
        return self._tracer_provider is not None or has_tracer_provider()

    def _measures(self) -> Instruments | None:
        """What to measure with, if measurements go anywhere."""
        if self._instruments is None and (self._meter_provider is not None or has_meter_provider()):
            self._instruments = instruments(self._meter_provider)
            self._instruments.sources.add(self)
        return self._instruments
