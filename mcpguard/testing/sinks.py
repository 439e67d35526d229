"""A sink that keeps what it is given, or fails on purpose."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from mcpguard.core.events import Event, Kind
from mcpguard.core.result import Fate, Outcome
from mcpguard.core.wire import JSON

__all__ = ["RecordingSink"]


class RecordingSink:
    """Keep every event in memory, in the order of arrival.

    Args:
        fails_with: Raised instead of keeping an event; None for a sink that works. May be set at any time.
        fails_on: Kinds of events that `fails_with` is about; empty for all.
        strict: Whether a call is denied whose `dispatched` event this sink fails to take.
    """

    def __init__(
        self,
        *,
        fails_with: Exception | None = None,
        fails_on: Collection[Kind] = (),
        strict: bool = False,
    ) -> None:
        if isinstance(fails_on, str):
            raise TypeError(f"fails_on takes a collection of kinds, not the single string {fails_on!r}")
        self.fails_with = fails_with
        self.fails_on = frozenset(fails_on)
        self.strict = strict
        self.events: list[Event] = []
        """What has been taken."""
        self.is_closed = False

    def emit(self, event: Event) -> None:
        """Keep the event.

        Raises:
            Exception: `fails_with`, where it is set.
            RuntimeError: If the sink is closed: nothing may be emitted after `aclose`.
        """
        if self.is_closed:
            raise RuntimeError("an event was emitted after the sink was closed")
        if self.fails_with is not None and (not self.fails_on or event.kind in self.fails_on):
            raise self.fails_with
        self.events.append(event)

    async def aclose(self) -> None:
        """Close the sink; what it holds can still be read.

        Raises:
            Exception: `fails_with`, where it is about all kinds.
        """
        self.is_closed = True
        if self.fails_with is not None and not self.fails_on:
            raise self.fails_with

    def of(self, kind: Kind) -> list[Event]:
        """The events of one kind."""
        return [event for event in self.events if event.kind == kind]

    def last(self, kind: Kind) -> Event:
        """The newest event of one kind.

        Raises:
            AssertionError: If there is none; says which kinds there are.
        """
        found = self.of(kind)
        if not found:
            raise AssertionError(f"no {kind} among the events: {', '.join(self.kinds) or 'none at all'}")
        return found[-1]

    @property
    def kinds(self) -> list[Kind]:
        """The kinds of all events."""
        return [event.kind for event in self.events]

    @property
    def codes(self) -> list[str]:
        """The codes of decisions: what was refused or asked, in order."""
        return [event.code for event in self.of("decision") if event.code is not None]

    @property
    def decisions(self) -> list[tuple[str | None, str | None]]:
        """Who decided what: interceptor and verdict of every decision that was not to allow."""
        return [(event.interceptor, event.verdict) for event in self.of("decision")]

    @property
    def outcomes(self) -> list[tuple[Outcome | None, Fate | None]]:
        """Outcome and fate of every completed call."""
        return [(event.outcome, event.fate) for event in self.of("completed")]

    @property
    def texts(self) -> list[str]:
        """Every string in every event, names in payloads included: to look for what must not be there."""
        return [text for event in self.events for text in _texts(event.as_dict())]

    def clear(self) -> None:
        """Forget all events."""
        self.events.clear()

    def __repr__(self) -> str:
        return f"<RecordingSink of {len(self.events)} events>"


def _texts(value: JSON, *, is_inside: bool = False) -> Iterator[str]:
    """Every string in `value`, and the names of members of what is inside it."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        if is_inside:
            yield from value
        for member in value.values():
            yield from _texts(member, is_inside=True)
    elif isinstance(value, Sequence):
        for member in value:
            yield from _texts(member, is_inside=True)
