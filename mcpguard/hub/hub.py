"""Several guarded servers behind one object: tools in one list, each call to the server it is for.

Every session is guarded by whoever opens it: the hub decides nothing about a call, and adds nothing to it. It
runs in the task and context of whoever makes it, so that the guards see whose it is. Not here: prompts,
resources, and what servers ask of the agent, which is answered by what each session was opened with.
"""

import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import Context, copy_context
from types import TracebackType
from typing import Any, Final, Self

import anyio
import anyio.abc

from mcpguard.core.clock import SYSTEM_CLOCK, Clock
from mcpguard.core.errors import HubError
from mcpguard.core.principal import Principal
from mcpguard.core.run import bound, current_run
from mcpguard.core.wire import JSON, JSONObject
from mcpguard.hub.member import Connect, Member
from mcpguard.hub.merge import SEPARATOR, Merged, Naming, merged, split

__all__ = ["Hub"]

_log = logging.getLogger("mcpguard")

MAX_MERGED: Final = 256
"""Principals whose merged list is kept."""


class Hub:
    """Merge the tools of several guarded servers, and route calls to them.

    A server is started when it is first wanted, all that are wanted at a time in parallel. One that does not
    start, or dies, loses its own tools and nothing else, and is started again when it is wanted later.

    Args:
        servers: What opens the guarded, initialized session of each server, by name. It is given the message
            handler that the session is to have.
        naming: `prefix` puts the server's name and two underscores before each tool's; `refuse` leaves names
            as they are, and shows none that two servers have.
        start_timeout: Seconds a server may take to start.
        retry_after: Seconds a server is left alone after it failed.
        list_for: Seconds a list is kept, unless its server says that it changed.
        clock: Time.

    Raises:
        ValueError: If there is no server, a name cannot be one, or a number is out of range.
    """

    def __init__(
        self,
        servers: Mapping[str, Connect],
        *,
        naming: Naming = "prefix",
        start_timeout: float = 30.0,
        retry_after: float = 5.0,
        list_for: float = 60.0,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if not servers:
            raise ValueError("a hub has servers")
        for name in servers:
            if not name or SEPARATOR in name or name != name.strip("_"):
                raise ValueError(f"{name!r} cannot stand before a tool's name and {SEPARATOR!r}")
        if naming not in ("prefix", "refuse"):
            raise ValueError(f"naming is 'prefix' or 'refuse', not {naming!r}")
        for what, seconds in (
            ("start_timeout", start_timeout),
            ("retry_after", retry_after),
            ("list_for", list_for),
        ):
            if not (math.isfinite(seconds) and seconds > 0):
                raise ValueError(f"{what} is seconds, above 0, not {seconds}")
        self._naming: Naming = naming
        self._members = {
            name: Member(
                name,
                connect,
                clock=clock,
                start_timeout=start_timeout,
                retry_after=retry_after,
                list_for=list_for,
                changed=self._forget,
            )
            for name, connect in servers.items()
        }
        self._merged: dict[Principal | None, tuple[Mapping[str, Sequence[JSONObject]], Merged]] = {}
        self._tasks: anyio.abc.TaskGroup | None = None
        self._context: Context = copy_context()

    async def tools(self) -> Sequence[JSONObject]:
        """The tools of all servers that are there, wire-shaped, as whoever asks may see them."""
        return (await self._list()).tools

    async def call(self, name: str, arguments: dict[str, Any] | None = None, **options: Any) -> Any:
        """Call a tool by its shown name; the answer is the SDK's. It is sent once or not at all.

        Args:
            name: The shown name.
            arguments: The tool's arguments.
            options: Further arguments of the session's `call_tool`: `progress_callback`, `meta`, a timeout.

        Raises:
            HubError: If nothing is shown under this name, or its server is down.
        """
        route = split(name) if self._naming == "prefix" else (await self._list()).routes.get(name)
        member = None if route is None else self._members.get(route[0])
        if route is None or member is None:
            raise HubError("there is no tool of this name")
        session = await member.session(self._start)
        try:
            return await session.call_tool(route[1], arguments, **options)
        except Exception as error:
            member.failed(session, error)
            raise

    def status(self) -> dict[str, JSON]:
        """The state of each server."""
        return {name: member.state for name, member in self._members.items()}

    async def __aenter__(self) -> Self:
        if self._tasks is not None:
            raise HubError("this hub is in use")
        with bound(None):
            self._context = copy_context()
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks, self._tasks = self._tasks, None
        for member in self._members.values():
            member.close()
        if tasks is not None:
            if error is not None:
                tasks.cancel_scope.cancel()
            is_cancelled = isinstance(error, anyio.get_cancelled_exc_class())
            await (tasks.__aexit__(kind, error, trace) if is_cancelled else tasks.__aexit__(None, None, None))

    async def _list(self) -> Merged:
        run = current_run()
        principal = None if run is None else run.principal
        lists = {name: member.known(principal) for name, member in self._members.items()}
        missing = [name for name, known in lists.items() if known is None]
        if missing:
            async with anyio.create_task_group() as tasks:
                for name in missing:
                    tasks.start_soon(self._fetch, self._members[name], principal, lists)
        there = {name: known for name, known in lists.items() if known is not None}
        cached = self._merged.get(principal)
        if cached is not None and _are_same(cached[0], there):
            return cached[1]
        made = merged(there, self._naming)
        for name in made.clashes:
            _log.warning("several servers have a tool named %r; none is shown", name[:256])
        if len(self._merged) >= MAX_MERGED:
            self._merged.clear()
        self._merged[principal] = there, made
        return made

    async def _fetch(
        self, member: Member, principal: Principal | None, lists: dict[str, Sequence[JSONObject] | None]
    ) -> None:
        session = None
        try:
            session = await member.session(self._start)
            lists[member.name] = await member.tools(session, principal)
        except Exception as error:  # noqa: BLE001 - a server that cannot be listed loses its own tools
            member.failed(session, error)
            _log.warning("the tools of %s cannot be listed: %s", member.name, type(error).__name__)

    def _start(self, keep: Callable[[], Awaitable[None]]) -> None:
        """Run what holds a session in a task of the hub's, in nobody's context."""
        if self._tasks is None:
            raise HubError("a hub is used inside its `async with`")
        start: Any = self._tasks.start_soon
        self._context.copy().run(start, keep)

    def _forget(self) -> None:
        self._merged.clear()


def _are_same(one: Mapping[str, object], other: Mapping[str, object]) -> bool:
    return len(one) == len(other) and all(other.get(name) is known for name, known in one.items())
