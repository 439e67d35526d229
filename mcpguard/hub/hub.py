"""Several guarded servers as one: what they offer in one list, each request to the server it is for.

Every session is guarded by whoever opens it: the hub decides nothing about a call, and adds nothing to it. It
runs in the task and context of whoever makes it, so that the guards see whose it is.

Below: `member`, one server; `merge`, names and routes. Above: `guard.hub()`.
"""

import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import Context, copy_context
from functools import partial
from importlib import import_module
from types import TracebackType
from typing import Any, Final, Self

import anyio
import anyio.abc
import anyio.lowlevel

from mcpguard.core.clock import SYSTEM_CLOCK, Clock
from mcpguard.core.errors import HubError
from mcpguard.core.nesting import Nesting
from mcpguard.core.principal import Principal
from mcpguard.core.run import Run, bound, current_run
from mcpguard.core.wire import JSON, JSONObject
from mcpguard.hub.lists import CHANGES, Lists, has
from mcpguard.hub.member import Connect, Member
from mcpguard.hub.merge import PREFIXED, SEPARATOR, Merged, Naming, merged, owners, split
from mcpguard.seams.serving import UNASKED, Listener, Work
from mcpguard.seams.session import sdk_major

__all__ = ["Hub"]

_log = logging.getLogger("mcpguard")

MAX_MERGED: Final = 1024
"""Merged lists that are kept: four for each of 256 principals."""

MAX_NEWS: Final = 1024
"""Changes that wait to be told; further ones are dropped, as a list is fetched again after a while."""

LEAVING_SECONDS: Final = 10.0
"""How long servers may take to be closed when a hub is left."""

_LEFT: Final = "the hub was left"
_UNUSED: Final = "a hub is used inside its `async with`"


class Hub:
    """Merge what several guarded servers offer, and route requests to them.

    A server is started when it is first wanted, all that are wanted at a time in parallel. One that does not
    start, or dies, loses what it offers and nothing else, and is started again. `guard.hub()` makes one from
    what servers are reached by.

    Args:
        servers: What opens the guarded, initialized session of each server, by name. It is given the SDK's
            client callbacks that the session is to have, by name.
        naming: `prefix` puts the server's name and two underscores before each tool's and prompt's; `refuse`
            leaves names as they are, and shows none that two servers have.
        start_timeout: Seconds a server may take to start.
        retry_after: Seconds a server is left alone after it failed.
        list_for: Seconds a list is kept, unless its server says that it changed.
        callbacks: The SDK's client callbacks, by name, for what servers say and ask in calls that are made on
            the hub itself.
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
        callbacks: Mapping[str, Any] | None = None,
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
                start=self._start,
                clock=clock,
                start_timeout=start_timeout,
                retry_after=retry_after,
                changed=self._changed,
                callbacks=callbacks or {},
            )
            for name, connect in servers.items()
        }
        self._lists = {name: Lists(name, list_for, clock) for name in servers}
        self._merged: dict[
            tuple[str, Principal | None], tuple[Mapping[str, Sequence[JSONObject]], Merged]
        ] = {}
        self._listeners: list[Listener] = []
        self._news: dict[tuple[str, str, str | None], None] = {}
        self._is_telling = False
        self._tasks: anyio.abc.TaskGroup | None = None
        self._context: Context = copy_context()

    async def tools(self) -> Sequence[JSONObject]:
        """The tools of all servers that are there, wire-shaped, as whoever asks may see them."""
        return (await self.listed("tools/list")).items

    async def prompts(self) -> Sequence[JSONObject]:
        """The prompts, likewise."""
        return (await self.listed("prompts/list")).items

    async def resources(self) -> Sequence[JSONObject]:
        """The resources, likewise, under their own URIs. One that two servers list is not shown."""
        return (await self.listed("resources/list")).items

    async def templates(self) -> Sequence[JSONObject]:
        """The resource templates, likewise."""
        return (await self.listed("resources/templates/list")).items

    async def call(self, name: str, arguments: dict[str, Any] | None = None, **options: Any) -> Any:
        """Call a tool by its shown name; the answer is the SDK's. It is sent once or not at all.

        Args:
            name: The shown name.
            arguments: The tool's arguments.
            options: Further arguments of the session's `call_tool`: `progress_callback`, `meta`, a timeout.

        Raises:
            HubError: If nothing is shown under this name, or its server is down or ends meanwhile.
        """
        route = split(name) if self._naming == "prefix" else None
        member = None if route is None else self._members.get(route[0])
        if route is None or member is None:
            member, own = await self.find("tools/list", name)
        else:
            own = route[1]

        def call(caller: Any) -> Any:
            return caller.call_tool(own, arguments, **options)

        return await member.use(call)

    async def prompt(self, name: str, arguments: dict[str, str] | None = None, **options: Any) -> Any:
        """Get a prompt by its shown name; likewise."""
        member, own = await self.find("prompts/list", name)
        return await member.use(lambda session: session.get_prompt(own, arguments, **options))

    async def read(self, uri: str, **options: Any) -> Any:
        """Read a resource from the server that lists it, or has the template it is of; likewise."""
        member, own = await self.find("resources/list", uri)
        return await member.use(lambda session: session.read_resource(own, **options))

    def status(self) -> dict[str, JSON]:
        """The state of each server."""
        return {name: member.state for name, member in self._members.items()}

    def server(self, *, name: str = "hub", run: Run | None = None, wait_for: float = 600.0) -> Any:
        """A server object of the SDK's in this process, which any client or framework can sit on.

        It serves as long as the hub is open, any number of clients. Calls belong to the run of the context
        they come in, where the SDK carries it from client to server (2.x, in process), else to `run`.

        Args:
            name: What it calls itself.
            run: Binds every call to this run: a server of its own for each principal.
            wait_for: Seconds a call waits for the answer of a client that is asked inside results (MCP
                2026-07-28) to what its server asks meanwhile.

        Raises:
            ValueError: If `wait_for` is not above 0.
        """
        if not wait_for > 0:
            raise ValueError(f"wait_for is seconds, above 0, not {wait_for}")
        Nesting.is_possible = True
        for member in self._members.values():
            member.desk.is_served = True
        serving = import_module(f"mcpguard.seams.serving{min(sdk_major(), 2)}")
        return serving.serve(self, name=name, run=run, wait_for=wait_for)

    async def items(self, method: str) -> Sequence[JSONObject]:
        """One merged list; what a server object of the hub's shows."""
        return (await self.listed(method)).items

    async def send(self, method: str, shown: str, work: Work, client: Any) -> Any:
        """Do something with the server that something is shown of; what a server object does.

        Args:
            method: The list it is in.
            shown: The shown name or the URI.
            work: Is given the session and the server's own name.
            client: Who is asked where the server asks for something meanwhile.

        Raises:
            HubError: If no server has it, or that server is down or ends meanwhile.
        """
        member, own = await self.find(method, shown)
        return await member.use(lambda caller: work(caller, own), client)

    def start(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do something in a task of the hub's, in the context of whoever is calling.

        Raises:
            HubError: If the hub is not open.
        """
        if self._tasks is None:
            raise HubError(_UNUSED)
        start: Any = self._tasks.start_soon
        start(work)

    async def where(self, method: str, shown: str) -> str:
        """The name of the server that something is shown of.

        Raises:
            HubError: If no server has it, or it is not clear which.
        """
        return (await self.find(method, shown))[0].name

    def told(self, listener: Listener) -> None:
        """Tell `listener` of what changes: the server, the notification's method, and a resource's URI."""
        self._listeners.append(listener)

    async def set_level(self, level: str) -> None:
        """Set the log level of every server, also of those that are started later."""
        for member in self._members.values():
            await member.set_level(level)

    async def find(self, method: str, shown: str) -> tuple[Member, str]:
        """The server that something is shown of, and its own name for it; URIs stay as they are.

        Args:
            method: The list it is in.
            shown: The shown name or the URI.

        Raises:
            HubError: If no server has it, or it is not clear which.
        """
        if self._naming == "prefix" and method in PREFIXED:
            route = split(shown)
        else:
            route = (await self.listed(method)).routes.get(shown)
            if route is None and method == "resources/list":
                route = await self._owner(shown)
        member = None if route is None else self._members.get(route[0])
        if route is None or member is None:
            raise HubError(f"there is no {_NOUNS[method]} of this name")
        return member, route[1]

    async def listed(self, method: str) -> Merged:
        """One merged list, as whoever asks may see it, and the ways to the servers."""
        run = current_run()
        principal = None if run is None else run.principal
        lists = {
            name: None if member.session is None else self._lists[name].known(method, principal)
            for name, member in self._members.items()
        }
        missing = [name for name, known in lists.items() if known is None]
        if missing:
            async with anyio.create_task_group() as tasks:
                for name in missing:
                    tasks.start_soon(self._fetch, name, method, principal, lists)
            if self._tasks is None:
                raise HubError(_LEFT)
        there = {name: known for name, known in lists.items() if known is not None}
        cached = self._merged.get((method, principal))
        if cached is not None and _are_same(cached[0], there):
            return cached[1]
        made = merged(method, there, self._naming)
        for name in made.clashes:
            _log.warning("several servers have a %s named %r; none is shown", _NOUNS[method], name[:256])
        if len(self._merged) >= MAX_MERGED:
            self._merged.clear()
        self._merged[method, principal] = there, made
        return made

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
        """End what is under way, and all servers."""
        tasks, self._tasks = self._tasks, None
        for member in self._members.values():
            member.close()
        self._forget(None)
        self._news.clear()
        if tasks is not None:
            tasks.cancel_scope.deadline = anyio.current_time() + LEAVING_SECONDS
            if error is not None:
                tasks.cancel_scope.cancel()
            is_cancelled = isinstance(error, anyio.get_cancelled_exc_class())
            await (tasks.__aexit__(kind, error, trace) if is_cancelled else tasks.__aexit__(None, None, None))

    async def _owner(self, uri: str) -> tuple[str, str] | None:
        """The server of a resource that none lists: the one whose template it is of, or the only one."""
        if uri in (await self.listed("resources/list")).clashes:
            return None
        templates = await self.listed("resources/templates/list")
        found = owners(templates.routes.items(), uri)
        if not found:
            there = {name: one.session for name, one in self._members.items() if one.session is not None}
            found = {name for name, session in there.items() if has(session, "resources")}
        return (found.pop(), uri) if len(found) == 1 else None

    async def _fetch(
        self,
        name: str,
        method: str,
        principal: Principal | None,
        lists: dict[str, Sequence[JSONObject] | None],
    ) -> None:
        fetch = partial(self._lists[name].fetch, method=method, principal=principal)
        try:
            lists[name] = await self._members[name].use(fetch, UNASKED)
        except Exception as error:  # noqa: BLE001 - a server that cannot be listed loses what it offers
            _log.warning("%s of %s failed: %s", method, name, type(error).__name__)

    def _start(self, keep: Callable[[], Awaitable[None]]) -> None:
        """Run what holds a session in a task of the hub's, in nobody's context."""
        if self._tasks is None:
            raise HubError(_UNUSED)
        start: Any = self._tasks.start_soon
        self._context.copy().run(start, keep)

    def _changed(self, member: Member, notification: str | None, uri: str | None = None) -> None:
        """A server says that something changed; None: all it offers has come or gone."""
        if self._tasks is None:
            return
        if uri is None:
            self._lists[member.name].forget(notification)
            self._merged.clear()
        if not self._listeners:
            return
        for method in CHANGES if notification is None else (notification,):
            if len(self._news) < MAX_NEWS:
                self._news[member.name, method, uri] = None
        if not self._is_telling:
            self._is_telling = True
            self._start(self._tell)

    async def _tell(self) -> None:
        """Tell of what has changed; what changes again before it was told is told once."""
        try:
            await anyio.lowlevel.checkpoint()
            while self._news:
                news = next(iter(self._news))
                del self._news[news]
                for listener in self._listeners:
                    await listener(*news)
        finally:
            self._is_telling = False

    def _forget(self, notification: str | None) -> None:
        for lists in self._lists.values():
            lists.forget(notification)
        self._merged.clear()


_NOUNS: Final = {
    "tools/list": "tool",
    "prompts/list": "prompt",
    "resources/list": "resource",
    "resources/templates/list": "resource template",
}


def _are_same(one: Mapping[str, object], other: Mapping[str, object]) -> bool:
    return len(one) == len(other) and all(other.get(name) is known for name, known in one.items())
