"""The instruments that a process measures with, and the gauges that are read when somebody collects.

A meter has one instrument of a name, whoever asks for it; so all guards of a process share these, and the
gauges look at every guard that is still there. The attributes have few values: no argument, no user, no run.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from threading import Lock
from typing import Final, Protocol
from weakref import WeakKeyDictionary, WeakSet

from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, get_meter

from mcpguard.core.call import Call
from mcpguard.core.events import Kind
from mcpguard.core.result import Result
from mcpguard.core.wire import JSON
from mcpguard.telemetry.conventions import (
    BUCKETS,
    DURATION,
    METHOD,
    PROMPT,
    SERVER,
    TOOL,
    Attributes,
    Names,
    of_answer,
    of_details,
    of_operation,
)

__all__ = ["SCOPE", "Instruments", "Source", "instruments"]

SCOPE: Final = "mcpguard"
"""Name of the instrumentation scope of spans and metrics."""

STATES: Final[Mapping[str, int]] = {"closed": 0, "half_open": 1, "open": 2, "isolated": 2}
"""What the gauge shows of a breaker's state."""


_COUNTED: Final = ("mcpguard.interceptor", "mcpguard.verdict", "mcpguard.code", "mcpguard.mode")
"""What decisions are told apart by when they are counted."""

_STATE: Final = "mcpguard.state"

_OPEN: Final = frozenset({METHOD, TOOL, PROMPT})
"""What an agent can make up any number of."""


class Source(Protocol):
    """A guard, as the gauges see it."""

    def states(self) -> Mapping[str, Mapping[str, JSON]]:
        """The state of its interceptors, by label."""
        ...

    def shown(self, target: str | None) -> str | None:
        """A tool's name, as records have it."""
        ...

    def dropped(self) -> Mapping[str, int]:
        """Audit records that were lost, by sink."""
        ...


class Instruments:
    """The instruments of one provider.

    Args:
        provider: Whose; None is the program's own, also one that is set up later.
    """

    def __init__(self, provider: MeterProvider | None) -> None:
        self.names = Names()
        self.sources: WeakSet[Source] = WeakSet()
        meter = get_meter(SCOPE, meter_provider=provider)
        self.operations = meter.create_histogram(
            DURATION,
            unit="s",
            description="From sending a request to its answer, each attempt for itself.",
            explicit_bucket_boundaries_advisory=BUCKETS,
        )
        self.calls = meter.create_counter(
            "mcpguard.calls", unit="{call}", description="Calls by what the agent was answered."
        )
        self.decisions = meter.create_counter(
            "mcpguard.decisions", unit="{decision}", description="Verdicts other than allow."
        )
        self.warnings = meter.create_counter(
            "mcpguard.warnings", unit="{warning}", description="What interceptors saw coming, loops among it."
        )
        self.changes = meter.create_counter(
            "mcpguard.state_changes", unit="{change}", description="Breakers, budgets and connections."
        )
        self.spent = meter.create_counter(
            "mcpguard.cost", unit="1", description="What calls have cost, in millionths of the currency."
        )
        meter.create_observable_gauge(
            "mcpguard.breaker.state",
            callbacks=[self._read(self._breakers)],
            description="0 closed, 1 half open, 2 open; of several tenants' the worst.",
        )
        meter.create_observable_gauge(
            "mcpguard.budget.left",
            callbacks=[self._read(_budgets)],
            unit="1",
            description="The share that is left of a limit; of several accounts the least.",
        )
        meter.create_observable_counter(
            "mcpguard.audit.dropped",
            callbacks=[self._read(_dropped)],
            unit="{record}",
            description="Audit records that were lost, or that a sink did not take.",
        )

    def attempted(self, call: Call, target: str | None, result: Result | None, seconds: float) -> None:
        """An attempt to send `call` has come to an end; without a result it was cancelled."""
        self.operations.record(seconds, {**self._of(call, target), **of_answer(result)})

    def answered(self, call: Call, target: str | None, result: Result | None) -> None:
        """The caller of `call` has its answer."""
        outcome = "cancelled" if result is None else result.outcome.value
        self.calls.add(1, {**self._of(call, target), "mcpguard.outcome": outcome})

    def heard(self, kind: Kind, call: Call, details: Mapping[str, object]) -> None:
        """Count what was decided or seen about `call`."""
        told = of_details(details)
        counted: Attributes = {SERVER: call.server, **{name: told[name] for name in _COUNTED if name in told}}
        if kind == "spent":
            cost, currency = details.get("cost"), details.get("currency")
            if isinstance(cost, int) and isinstance(currency, str):
                self.spent.add(cost, {**counted, "mcpguard.currency": currency})
        elif kind == "decision":
            self.decisions.add(1, counted)
        else:
            self.warnings.add(1, {"mcpguard.kind": kind, **counted})

    def changed(self, details: Mapping[str, object]) -> None:
        """Count a change of state."""
        told = of_details(details)
        self.changes.add(1, {name: told[name] for name in (*_COUNTED, _STATE, SERVER) if name in told})

    def _of(self, call: Call, target: str | None) -> Attributes:
        """What a call is, with as few names as there may be."""
        return {
            name: self.names.bounded(value) if name in _OPEN and isinstance(value, str) else value
            for name, value in of_operation(call, target).items()
        }

    def _read(
        self, look: Callable[[Source], Iterable[tuple[Attributes, float]]]
    ) -> Callable[[CallbackOptions], Iterable[Observation]]:
        """A callback that shows what `look` finds in every guard."""

        def read(_: CallbackOptions) -> Iterator[Observation]:
            for source in list(self.sources):
                for attributes, value in look(source):
                    yield Observation(value, attributes)

        return read

    def _breakers(self, source: Source) -> Iterator[tuple[Attributes, float]]:
        worst: dict[tuple[str, str | None], int] = {}
        for state in source.states().values():
            for one in _mappings(state.get("breakers")):
                told = one.get("tool")
                tool = source.shown(told) if isinstance(told, str) else None
                key = str(one.get("server")), None if tool is None else self.names.bounded(tool)
                worst[key] = max(worst.get(key, 0), STATES.get(str(one.get("state")), 0))
        for (server, tool), value in worst.items():
            yield ({SERVER: server} if tool is None else {SERVER: server, TOOL: tool}), value


def _budgets(source: Source) -> Iterator[tuple[Attributes, float]]:
    for label, state in source.states().items():
        least: dict[str, float] = {}
        for account in _mappings(state.get("accounts")):
            for what, used in account.items():
                limit, spent = _number(state.get(what)), _number(used)
                if limit and spent is not None:
                    least[what] = min(least.get(what, 1.0), max(0.0, 1 - spent / limit))
        for what, left in least.items():
            yield {"mcpguard.interceptor": label, "mcpguard.unit": what}, left


def _dropped(source: Source) -> Iterator[tuple[Attributes, float]]:
    for sink, count in source.dropped().items():
        yield {"mcpguard.sink": sink}, count


def _mappings(value: JSON) -> Iterator[Mapping[str, JSON]]:
    for one in value if isinstance(value, list | tuple) else ():
        if isinstance(one, Mapping):
            yield one


def _number(value: JSON) -> float | None:
    """A number, or that of an amount of money such as `1.50 USD`."""
    if isinstance(value, int | float):
        return float(value)
    try:
        return float(value.split()[0]) if isinstance(value, str) else None
    except (ValueError, IndexError):
        return None


_own: list[Instruments] = []
_made: WeakKeyDictionary[MeterProvider, Instruments] = WeakKeyDictionary()
_lock: Final = Lock()


def instruments(provider: MeterProvider | None) -> Instruments:
    """The instruments of a provider, made when they are first asked for."""
    with _lock:
        if provider is None:
            if not _own:
                _own.append(Instruments(None))
            return _own[0]
        made = _made.get(provider)
        if made is None:
            made = _made[provider] = Instruments(provider)
        return made
