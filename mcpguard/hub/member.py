"""One server of a hub: started when it is first wanted, held by a task of the hub, started again if it died.

What is under way when its connection ends, or the hub is left, ends with it. Below: whatever connects it.
Above: the hub, which knows the others.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from math import inf
from typing import Any, Final, TypeAlias, TypeVar

import anyio

from mcpguard.core.causes import cause
from mcpguard.core.clock import Clock
from mcpguard.core.errors import HubError
from mcpguard.hub.askers import Askers
from mcpguard.hub.desk import Client, Desk
from mcpguard.hub.lists import CHANGES
from mcpguard.seams.serving import UNASKED, has_timed_out, log_level_set

__all__ = ["Callbacks", "Connect", "Member"]

_log = logging.getLogger("mcpguard")

T = TypeVar("T")

LAST_WORDS_SECONDS: Final = 0.05
"""How long what is under way when a connection ends may take to say how far it got, before it is ended."""

LEAVING_SECONDS: Final = 1.0
"""How long calls that were ended may take to say so to the server, before its session is left."""

MAX_PAUSE: Final = 60.0
"""Seconds between two attempts to bring a dead server back, at most; each waits twice as long as the last."""

_ENDED: Final = frozenset({"Connection closed", "Session terminated"})
"""What the SDKs say where the connection has ended; servers use the codes for errors of their own."""

_KINDS: Final = {
    "ToolsListChanged": "notifications/tools/list_changed",
    "PromptsListChanged": "notifications/prompts/list_changed",
    "ResourcesListChanged": "notifications/resources/list_changed",
}
"""The SDK's events -> the notifications that they stand for."""

Callbacks: TypeAlias = dict[str, Any]
"""The SDK's client callbacks by the names of its arguments: `message_handler`, `logging_callback`,
`sampling_callback`, `elicitation_callback`, `list_roots_callback`."""

Connect: TypeAlias = Callable[[Callbacks], AbstractAsyncContextManager[Any]]
"""Opens a guarded, initialized session, or `mcp.Client`, that has the given callbacks."""

Start: TypeAlias = Callable[[Callable[[], Awaitable[None]]], None]
"""Runs a function in a task of the hub's."""


class Life:
    """One start of a server, until its end."""

    __slots__ = ("ending", "idle", "scope", "session", "settled", "under_way", "why")

    def __init__(self, clock: Clock) -> None:
        self.session: Any = None
        self.settled = anyio.Event()
        """Set when it is known whether it starts."""
        self.ending = anyio.Event()
        """Set when its session is to be left."""
        self.idle = anyio.Event()
        """Set when nothing is under way any more, once it is ending."""
        self.scope = anyio.CancelScope()
        """Around its start."""
        self.under_way = Askers(clock)
        """What is under way, and on whose behalf."""
        self.why = "its connection ended"


class Member:
    """One server.

    Args:
        name: What the hub calls it.
        connect: Opens its session.
        start: Runs what holds the session.
        clock: Tells when it may be started again.
        start_timeout: Seconds it may take to start.
        retry_after: Seconds it is left alone after it failed to start or died.
        changed: Told what changed: the notification's method, None if all has come or gone; and the URI
            where it is about a resource.
        callbacks: What answers the server where the hub has no client to ask.
    """

    def __init__(
        self,
        name: str,
        connect: Connect,
        *,
        start: Start,
        clock: Clock,
        start_timeout: float,
        retry_after: float,
        changed: Callable[["Member", str | None, str | None], None],
        callbacks: Mapping[str, Any],
    ) -> None:
        self.name = name
        self._connect = connect
        self._start = start
        self._clock = clock
        self._start_timeout = start_timeout
        self._retry_after = retry_after
        self._changed = changed
        self.desk = Desk(name, self._speaking, self._heard, callbacks)
        self._life: Life | None = None
        self._down_until = -inf
        self._is_missing = False
        self.has_failed_to_start = False
        """Whether it did not come when it was last started."""
        self._level: str | None = None
        self._reviving: anyio.CancelScope | None = None

    @property
    def state(self) -> str:
        """`idle`, `starting`, `up` or `down`."""
        if self._life is not None:
            return "starting" if self._life.session is None else "up"
        return "down" if self._clock.now() < self._down_until else "idle"

    @property
    def session(self) -> Any:
        """Its session, or None while it has none."""
        return None if self._life is None else self._life.session

    async def use(self, work: Callable[[Any], Awaitable[T]], client: Any = None) -> T:
        """Do `work` with its session, which is started if there is none. Nothing is done twice.

        Args:
            work: What is done.
            client: Who is asked where the server asks for something meanwhile: a `desk.Client`; None for who
                calls the hub itself, `UNASKED` for what no server interrupts, `LISTING` for its lists.

        Raises:
            HubError: If the server does not start, or did not a short while ago; or if its connection ended,
                or the hub was left, before the work was done.
        """
        life = self._life
        if life is None or life.session is None:
            life = await self._started()
        scope = anyio.CancelScope()
        life.under_way.add(scope, client)
        try:
            with scope:
                return await work(life.session)
        except anyio.get_cancelled_exc_class():
            life.under_way.gave_up(scope)
            raise
        except Exception as error:
            had_ended = life.ending.is_set()
            if has_timed_out(error):
                life.under_way.gave_up(scope)
            if _is_end(error):
                self._die(life)
            if not had_ended or str(error) not in _ENDED:
                raise
        finally:
            life.under_way.remove(scope)
            if not life.under_way and life.ending.is_set():
                life.idle.set()
        raise HubError(f"{life.why} while this was under way; the server {self.name} may have done it")

    def close(self) -> None:
        """End what is under way, and the session or its start."""
        if self._reviving is not None:
            self._reviving.cancel()
        life, self._life = self._life, None
        if life is not None:
            life.why = "the hub was left"
            life.ending.set()
            life.under_way.cancel()
            if life.session is None:
                life.scope.cancel()

    async def set_level(self, level: str) -> None:
        """Set its log level, now or when it is started; one that has none stays as it is."""
        self._level = level
        if self.session is None or _is_modern(self.session):
            return
        session = getattr(self.session, "session", self.session)
        with suppress(Exception):
            await self.use(lambda _caller: log_level_set(session, level), UNASKED)

    async def _listen(self) -> None:
        """Hear of lists that change, from a server that tells only who listens (MCP 2026-07-28)."""

        async def listen(caller: Any) -> None:
            every = {f"{kind}_list_changed": True for kind in ("tools", "prompts", "resources")}
            async with caller.listen(**every) as stream:
                async for event in stream:
                    self._changed(self, _KINDS.get(type(event).__name__), None)

        with suppress(Exception):  # it does not let us listen; its lists are fetched again after a while
            await self.use(listen, UNASKED)

    async def _started(self) -> Life:
        life = self._life
        if life is None:
            if self._clock.now() < self._down_until:
                raise HubError(f"the server {self.name} is down")
            life = self._begin()
        await life.settled.wait()
        if life.session is None:
            raise HubError(f"the server {self.name} did not start")
        return life

    def _begin(self) -> Life:
        life = Life(self._clock)

        async def keep() -> None:
            await self._keep(life)

        self._start(keep)
        self._life = life
        return life

    async def _keep(self, life: Life) -> None:
        """Hold the session open; whatever goes wrong stays in here."""
        try:
            with life.scope:
                life.scope.deadline = anyio.current_time() + self._start_timeout
                async with self._connect(self.desk.callbacks()) as session:
                    life.scope.deadline = inf
                    life.session = session
                    self.has_failed_to_start = False
                    life.settled.set()
                    if self._level is not None:
                        self._start(partial(self.set_level, self._level))
                    if _is_modern(session):
                        self._start(self._listen)
                    if self._is_missing:
                        self._is_missing = False
                        self._changed(self, None, None)
                    await life.ending.wait()
                    if life.under_way:
                        with anyio.move_on_after(LAST_WORDS_SECONDS, shield=True):
                            await life.idle.wait()
                        life.under_way.cancel()
                        with anyio.move_on_after(LEAVING_SECONDS, shield=True):
                            await life.idle.wait()
        except Exception as error:  # noqa: BLE001 - one server's end is nobody else's
            _log.warning("the server %s ended with %s", self.name, cause(error))
        finally:
            self._die(life)
            life.settled.set()
            life.under_way.cancel()

    def _die(self, life: Life) -> None:
        """Its connection has ended: the server is down for a while."""
        if self._life is not life:
            return
        self._life = None
        self._is_missing = True
        self.has_failed_to_start = life.session is None
        self._down_until = self._clock.now() + self._retry_after
        life.ending.set()
        if life.session is not None:
            self._changed(self, None, None)
            if self._reviving is None:
                self._reviving = anyio.CancelScope()
                self._start(self._revive)

    async def _revive(self) -> None:
        """Bring a server back that has been there, where nobody does who wants it."""
        pause = self._retry_after
        scope = self._reviving or anyio.CancelScope()
        with scope:
            while self._life is None:
                await anyio.sleep(pause)
                pause = min(2 * pause, MAX_PAUSE)
                if self._life is None:
                    await self._begin().settled.wait()
        self._reviving = None

    def _speaking(self, *, lists: bool) -> Mapping[object, Client | None]:
        """To whom it may be speaking."""
        return {} if self._life is None else self._life.under_way.speaking(lists=lists)

    def _heard(self, message: Any) -> None:
        """Take note of a list that changed, and of the end of the connection."""
        if isinstance(message, anyio.EndOfStream):
            if self._life is not None:
                self._die(self._life)
            return
        inner: Any = getattr(message, "root", message)
        method = getattr(inner, "method", None)
        if not isinstance(method, str):
            return
        if method == "notifications/resources/updated":
            self._changed(self, method, str(inner.params.uri))
        elif method in CHANGES:
            self._changed(self, method, None)


def _is_modern(caller: Any) -> bool:
    """Whether it is a `mcp.Client` of a server that speaks MCP 2026-07-28 or later."""
    return hasattr(caller, "listen") and str(caller.protocol_version) >= "2026-07-28"


def _is_end(error: Exception) -> bool:
    ended = isinstance(error, OSError | anyio.ClosedResourceError | anyio.BrokenResourceError)
    return ended or str(error) in _ENDED
