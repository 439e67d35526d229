"""What a connection's limits make of its messages: passed on, changed, answered for the server, or dropped.

It knows which requests wait and until when; it reads and writes nothing. Above: `limited`, the streams that
ask it. Below: `screening`, what becomes of answers; `detectors.storms` and `detectors.shapes`.
"""

import logging
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any, Final, Protocol

import anyio

from mcpguard.core.connection_limits import ConnectionLimits
from mcpguard.core.line import Line
from mcpguard.core.result import WireError
from mcpguard.core.wire import LIFECYCLE
from mcpguard.detectors.shapes import value_fault
from mcpguard.detectors.storms import Storms, kind_of
from mcpguard.seams import messages
from mcpguard.seams.limits.frames import Fault, fault_answer, sentence
from mcpguard.seams.limits.hatch import Hatch
from mcpguard.seams.limits.memoir import Memoir
from mcpguard.seams.limits.screening import Asked, Screening
from mcpguard.seams.messages import Error, Key, Notification, Request, Response, id_key
from mcpguard.seams.reports import Report
from mcpguard.seams.streams.exchanges import MAX_UNDER_WAY

__all__ = ["Tally", "Watch"]

_log = logging.getLogger("mcpguard")


class Tally(Protocol):
    """Reports that a limit was hit."""

    def tell(self, limit: str, reason: str, now: float, kind: str = "") -> None:
        """Take its name, a sentence for the operator, the time, and what is counted apart under it."""

    def flush(self) -> None:
        """Report what was only counted; nothing more will come for the moment."""


LISTENING: Final = "subscriptions/listen"
"""The request that stays open for as long as the client wants (MCP 2026-07-28): it has no deadline."""

LATE_SECONDS: Final = 1.0
"""When the last of too many changes is passed on: what was listed before it must not be believed for long."""

_TOO_MANY: Final = WireError(-32000, "Too many requests of this kind")


@dataclass(slots=True)
class _Waiting:
    """A request without an answer yet."""

    until: float
    asked: Asked


class Watch:
    """The state of one connection under limits.

    Args:
        limits: What the server is held to.
        tally: Told of each limit that is hit.
        now: A steady clock, in seconds; the event loop's.
        is_parsed_here: Whether messages were parsed within the limits, so that they need not be measured.
    """

    def __init__(
        self, limits: ConnectionLimits, tally: Tally, now: Callable[[], float], *, is_parsed_here: bool
    ) -> None:
        self.limits = limits
        self.own: deque[Any] = deque()
        """Answers of the guard's own, to be read before anything else."""
        self.refusals: deque[Any] = deque()
        """Answers to the server's requests that were one too many, to be written."""
        self.ended: str | None = None
        """Why nothing more will come, once that is so."""
        self.is_over = False
        """Whether the client has been told so."""
        self.reading: anyio.CancelScope | None = None
        """Around the read that the client waits in, if it does."""
        self.is_looked_at = False
        """Whether a task of the transport's calls `look` in short intervals: then no read needs a timer."""
        self.on_loss: Callable[[str], None] | None = None
        """Makes a lost connection again, where something can."""
        self.returning: anyio.Event | None = None
        """Set when a connection that was lost is there again, or given up."""
        self.hesitating = 0
        """Messages that wait for that; where they must not be sent, requests among them are answered yet."""
        self.decided: anyio.Event | None = None
        """Set when none waits any more, for a reader that waits for that."""
        self.line = Line()
        """What is known of the line."""
        self.hatch = Hatch(self.wake)
        """Where large messages come in that were parsed already."""
        self.memoir: Memoir | None = None
        """What a new connection must be told, where there can be one."""
        self._now = now
        self._tally = tally
        self._is_parsed_here = is_parsed_here
        self._storms = Storms(
            notifications=limits.notifications_per_second, requests=limits.requests_per_second
        )
        self.screening = Screening(limits, self.hit, is_parsed_here=is_parsed_here)
        """What becomes of answers."""
        self._waiting: OrderedDict[Key | None, _Waiting] = OrderedDict()
        self._first_until = inf
        """When a request may first have waited too long; not taken back when it is answered."""
        self._late: dict[str, Any] = {}
        self._late_until = inf

    def hit(self, limit: str, reason: str, *, kind: str = "") -> None:
        """Report that a limit was hit."""
        self._tally.tell(limit, reason, self._now(), kind)

    @property
    def deadline(self) -> float:
        """When `expire` may have something to do; not before. All requests are given the same time."""
        return min(self._first_until, self._late_until) if self._late else self._first_until

    @property
    def read_until(self) -> float:
        """When a read must end by itself."""
        return inf if self.is_looked_at else self.deadline

    def look(self) -> None:
        """Do what `deadline` is for."""
        if self.deadline <= self._now():
            self.expire()
            self.wake()

    def asked(self, body: Any) -> None:
        """A request is about to be sent."""
        until = inf if body.method == LISTENING else self._now() + self.limits.answer_seconds
        key = id_key(body.id)
        self._waiting.pop(key, None)
        self._waiting[key] = _Waiting(until, self.screening.asked(body))
        self._first_until = min(self._first_until, until)
        if len(self._waiting) > MAX_UNDER_WAY:
            oldest = next(iter(self._waiting.values())).asked
            report = Report.of("answer_timeout")
            self.answer(oldest.id, report.error("Too many requests wait for an answer."))

    def lists(self, id: Key | None) -> bool:
        """Whether the request `id` waits, and is one for a listing."""
        waiting = self._waiting.get(id_key(id))
        return waiting is not None and waiting.asked.trail is not None

    def gave_up(self, id: object) -> None:
        """Nobody waits for the answer to `id` any more."""
        self._waiting.pop(id_key(id), None)

    def not_sent(self, id: Key) -> None:
        """The request `id` could not be sent: answer it."""
        self._waiting.pop(id_key(id), None)
        report = Report.of("not_sent", limit=self.ended)
        self.own.append(messages.error(id, report.error("The connection was lost.")))
        self.wake()

    def answer(self, id: Key, told: WireError) -> None:
        """Answer the request `id` at once, if it waits."""
        if self._waiting.pop(id_key(id), None) is not None:
            self.own.append(messages.error(id, told))
            self.wake()

    async def hand_in(self, item: Any, id: Key | None) -> None:
        """Let the client read a message that a transport has parsed; an answer only where one is waited for.

        Args:
            item: The message.
            id: The request that it answers, where the exchange tells; an error may not know it.
        """
        body = messages.body_of(item)
        if type(body) in (Response, Error):
            if id is not None:
                body.id = id
            if body.id is not None and id_key(body.id) not in self._waiting:
                return
        await self.hatch.hand_in(item)

    def lose(self, id: Key, why: str) -> None:
        """The request `id` will not be answered: answer it."""
        if self._waiting.pop(id_key(id), None) is not None:
            self.hit("http", why)
            report = Report.of("connection_lost", limit="http")
            self.own.append(messages.error(id, report.error("The HTTP exchange failed.")))
            self.wake()

    def wake(self) -> None:
        """Let the client read what is there for it now."""
        if self.reading is not None:
            self.reading.cancel()

    def expire(self) -> None:
        """Answer the requests that have waited too long, and pass on a change that came too often."""
        now = self._now()
        if self._late and self._late_until <= now:
            self.own.extend(self._late.values())
            self._late.clear()
        for key, one in list(self._waiting.items()):
            if one.until <= now:
                del self._waiting[key]
                self.hit("answer_seconds", f"{one.asked.method} was not answered in time")
                report = Report.of("answer_timeout", limit="answer_seconds")
                said = f"No answer came within {self.limits.answer_seconds:g} s."
                self.own.append(messages.error(one.asked.id, report.error(said)))
        self._first_until = min((one.until for one in self._waiting.values()), default=inf)

    def end(self, why: str) -> None:
        """Nothing more will come of this connection: answer whatever waits."""
        if self.ended is not None:
            return
        if self.on_loss is None or why == "closed":
            self.ended = why
        else:
            self.on_loss(why)
        for one in self._waiting.values():
            report = Report.of("connection_lost", limit=why)
            self.own.append(messages.error(one.asked.id, report.error("The connection was lost.")))
        self._waiting.clear()
        self._tally.flush()
        self.wake()

    def refused(self, fault: Fault) -> None:
        """A message of the server's was not parsed."""
        self.hit(fault.limit, f"a message of the server was refused: {sentence(fault.limit)}")
        one = self._waiting.pop(id_key(fault.id), None) if fault.is_answer else None
        if one is None and fault.is_answer and fault.id is None and len(self._waiting) == 1:
            one = self._waiting.popitem()[1]  # an error about a request that the server could not read
        if one is not None:
            self.own.append(fault_answer(fault, one.asked.id))

    def received(self, item: Any) -> Any | None:
        """The item as it goes on, or None if it goes no further."""
        body = messages.body_of(item)
        kind = type(body)
        if kind is Response or kind is Error:
            return self._answer(item, body, is_error=kind is Error)
        if kind is Notification or kind is Request:
            return self._message(item, body, is_request=kind is Request)
        return item

    def _answer(self, item: Any, body: Any, *, is_error: bool) -> Any | None:
        if body.id is None:
            if len(self._waiting) == 1:
                body.id = self._waiting.popitem()[1].asked.id  # the server could not read which it was
            return self.screening.error(item, body)
        one = self._waiting.pop(id_key(body.id), None)
        if one is None:  # a session may know the id of a request already that it has not sent yet
            return None
        if is_error:
            return self.screening.error(item, body)
        passed = self.screening.answer(item, body, one.asked)
        if passed is item and one.asked.method in LIFECYCLE and self.memoir is not None:
            self.memoir.answered(one.asked.method, body.result)
        return passed

    def _message(self, item: Any, body: Any, *, is_request: bool) -> Any | None:
        method: str = body.method
        kind = kind_of(method, is_request=is_request)
        if not self._storms.admits(kind, self._now(), is_request=is_request):
            limit = "requests_per_second" if is_request else "notifications_per_second"
            self.hit(limit, f"too many {kind}: one was {'refused' if is_request else 'dropped'}", kind=kind)
            if is_request:
                self.refusals.append(messages.error(body.id, _TOO_MANY))
            elif kind == "changes":
                self._late_until = self._late_until if self._late else self._now() + LATE_SECONDS
                self._late[method] = item
            return None
        params = body.params
        broken = None if self._is_parsed_here or params is None else value_fault(params, self.limits)
        if broken is not None:
            self.hit(broken, f"{method} was dropped: {sentence(broken)}")
            if is_request:
                self.refusals.append(messages.error(body.id, WireError(-32602, "Over a limit of the client")))
            return None
        return item
