"""Several guarded servers as one: what they offer in one list, each request to the server it is for.

Every session is guarded by whoever opens it: the hub decides nothing about a call, and adds nothing to it. It
runs in the task and context of whoever makes it, so that the guards see whose it is.

Below: `member`, one server; `offers`, what they have together; `news`, what changes. Above: `guard.hub()`.
"""

import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import Context, copy_context
from importlib import import_module
from threading import get_ident
from types import TracebackType
from typing import Any, Final, Self

import anyio
import anyio.abc
from anyio.lowlevel import current_token

from mcpguard.core.clock import SYSTEM_CLOCK, Clock
from mcpguard.core.errors import HubError
from mcpguard.core.nesting import Nesting
from mcpguard.core.run import Run, bound
from mcpguard.core.wire import JSON, JSONObject
from mcpguard.hub.lists import CHANGES, Lists
from mcpguard.hub.member import Connect, Member
from mcpguard.hub.merge import SEPARATOR, Naming
from mcpguard.hub.news import News
from mcpguard.hub.offers import UNUSED, Offers
from mcpguard.seams.serving import LISTING, Listener, RunOf, Unshown, Work
from mcpguard.seams.session import sdk_major

__all__ = ["Hub"]

_log = logging.getLogger("mcpguard")

LEAVING_SECONDS: Final = 10.0
"""How long servers may take to be closed when a hub is left."""


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
        start_timeout: Seconds a server may take to start, and as many for each list of what it offers.
        retry_after: Seconds a server is left alone after it failed.
        list_for: Seconds a list is kept, unless its server says that it changed.
        callbacks: The SDK's client callbacks, by name, for what servers say and ask in calls that are made on
            the hub itself.
        refused: Records a call of a tool that no server has, and says what answers it, by name and arguments.
            None: such a call raises `HubError`.
        enforced: What decides at the moment. Where that is another object than before, so are all lists.
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
        refused: Callable[[str, JSONObject | None], JSONObject] | None = None,
        enforced: Callable[[], object] = lambda: None,
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
        lists = {name: Lists(name, list_for, clock) for name in servers}
        self._offers = Offers(
            self._members,
            lists,
            naming,
            lambda: self._tasks is not None,
            list_timeout=start_timeout,
            start=self.start,
            late=self._came_late,
            enforced=enforced,
        )
        self._news = News(self._start)
        self._refused = refused
        self._enforced = enforced
        self._told_under = enforced()
        self._thread = 0
        self._loop: Any = None
        self._tasks: anyio.abc.TaskGroup | None = None
        self._context: Context = copy_context()

    async def tools(self) -> Sequence[JSONObject]:
        """The tools of all servers that are there, wire-shaped, as whoever asks may see them."""
        return (await self._offers.listed("tools/list")).items

    async def prompts(self) -> Sequence[JSONObject]:
        """The prompts, likewise."""
        return (await self._offers.listed("prompts/list")).items

    async def resources(self) -> Sequence[JSONObject]:
        """The resources, likewise, under their own URIs. One that two servers list is not shown."""
        return (await self._offers.listed("resources/list")).items

    async def templates(self) -> Sequence[JSONObject]:
        """The resource templates, likewise."""
        return (await self._offers.listed("resources/templates/list")).items

    async def call(self, name: str, arguments: dict[str, Any] | None = None, **options: Any) -> Any:
        """Call a tool by its shown name; the answer is the SDK's. It is sent once or not at all.

        A name that no server has is answered as that of a hidden tool, and recorded: models make up names.

        Args:
            name: The shown name.
            arguments: The tool's arguments.
            options: Further arguments of the session's `call_tool`: `progress_callback`, `meta`, a timeout.

        Raises:
            HubError: If its server is down or ends meanwhile.
        """
        try:
            member, own = self._offers.prefixed(name) or await self._offers.find("tools/list", name)
        except Unshown as unshown:
            return self._nowhere(name, arguments, unshown)

        def call(caller: Any) -> Any:
            return caller.call_tool(own, arguments, **options)

        return await member.use(call)

    async def prompt(self, name: str, arguments: dict[str, str] | None = None, **options: Any) -> Any:
        """Get a prompt by its shown name; likewise."""
        member, own = await self._offers.find("prompts/list", name)
        return await member.use(lambda session: session.get_prompt(own, arguments, **options))

    async def read(self, uri: str, **options: Any) -> Any:
        """Read a resource from the server that lists it, or has the template it is of; likewise."""
        member, own = await self._offers.find("resources/list", uri)
        return await member.use(lambda session: session.read_resource(own, **options))

    def status(self) -> dict[str, JSON]:
        """The state of each server."""
        return {name: member.state for name, member in self._members.items()}

    def server(
        self,
        *,
        name: str = "hub",
        run: Run | None = None,
        runs: RunOf | None = None,
        wait_for: float = 600.0,
    ) -> Any:
        """A server object of the SDK's in this process, which any client or framework can sit on.

        It serves as long as the hub is open, any number of clients. Calls belong to the run of the context
        they come in, where the SDK carries it from client to server (2.x, in process), else to `run`.

        Args:
            name: What it calls itself.
            run: Binds every call to this run: a server of its own for each principal.
            runs: Says of each request which run it belongs to: it is given the transport's own request (over
                HTTP Starlette's) and the client's connection, None for a client that has none. What it raises
                refuses the request.
            wait_for: Seconds a call waits for the answer of a client that is asked inside results (MCP
                2026-07-28) to what its server asks meanwhile.

        Raises:
            ValueError: If `wait_for` is not above 0, or both `run` and `runs` are given.
        """
        if run is not None and runs is not None:
            raise ValueError("give run or runs, one of the two")
        if not wait_for > 0:
            raise ValueError(f"wait_for is seconds, above 0, not {wait_for}")
        Nesting.is_possible = True
        for member in self._members.values():
            member.desk.is_served = True
        serving = import_module(f"mcpguard.seams.sdk{min(sdk_major(), 2)}.server")

        def always(_request: Any, _connection: Any) -> Run | None:
            return run

        return serving.serve(self, name=name, runs=runs or always, wait_for=wait_for)

    async def items(self, method: str) -> Sequence[JSONObject]:
        """One merged list; what a server object of the hub's shows."""
        return (await self._offers.listed(method)).items

    async def send(
        self, method: str, shown: str, work: Work, client: Any, *, arguments: JSONObject | None = None
    ) -> Any:
        """Do something with the server that something is shown of; what a server object does.

        Args:
            method: The list it is in.
            shown: The shown name or the URI.
            work: Is given the session and the server's own name.
            client: Who is asked where the server asks for something meanwhile.
            arguments: What the record has of a tool's call that leads nowhere.

        Raises:
            HubError: If no server has it and it is no tool, or that server is down or ends meanwhile.
        """
        try:
            member, own = await self._offers.find(method, shown)
        except Unshown as unshown:
            if method != "tools/list":
                raise
            return self._nowhere(shown, arguments, unshown)
        return await member.use(lambda caller: work(caller, own), client)

    def start(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do something in a task of the hub's, in the context of whoever is calling.

        Raises:
            HubError: If the hub is not open.
        """
        if self._tasks is None:
            raise HubError(UNUSED)
        start: Any = self._tasks.start_soon
        start(work)

    async def where(self, method: str, shown: str) -> str:
        """The name of the server that something is shown of.

        Raises:
            HubError: If no server has it, or it is not clear which.
        """
        return (await self._offers.find(method, shown))[0].name

    async def at(self, server: str, work: Callable[[Any], Awaitable[Any]]) -> None:
        """Do something with a server of this name, if it is up, during which it has nothing to ask.

        Raises:
            HubError: If that server ends meanwhile.
        """
        member = self._members[server]
        if member.session is not None:
            await member.use(work, LISTING)

    def told(self, listener: Listener) -> None:
        """Tell `listener` of what changes: the server, the notification's method, and a resource's URI."""
        self._news.listeners.append(listener)

    async def set_level(self, level: str) -> None:
        """Set the log level of every server, also of those that are started later."""
        async with anyio.create_task_group() as tasks:
            for member in self._members.values():
                tasks.start_soon(member.set_level, level)

    def look(self) -> None:
        """See whether other rules are enforced than before, and tell clients that their lists have changed.

        May be called in any thread: in another than the hub's it is done there, as soon as that gets to it.
        """
        enforced = self._enforced()
        if self._tasks is None or enforced is self._told_under:
            return
        if self._thread != get_ident():
            soon = getattr(self._loop, "call_soon_threadsafe", None) or self._loop.run_sync_soon
            with suppress(RuntimeError):  # that event loop has ended
                soon(self.look)
            return
        self._told_under = enforced
        for member in self._members.values():
            if member.session is not None:
                self._changed(member, None)

    async def __aenter__(self) -> Self:
        if self._tasks is not None:
            raise HubError("this hub is in use")
        with bound(None):
            self._context = copy_context()
        self._thread = get_ident()
        self._loop = current_token().native_token
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
        self._offers.forget(None, None)
        self._news.clear()
        if tasks is not None:
            tasks.cancel_scope.deadline = anyio.current_time() + LEAVING_SECONDS
            if error is not None:
                tasks.cancel_scope.cancel()
            is_cancelled = isinstance(error, anyio.get_cancelled_exc_class())
            await (tasks.__aexit__(kind, error, trace) if is_cancelled else tasks.__aexit__(None, None, None))

    def _start(self, keep: Callable[[], Awaitable[None]]) -> None:
        """Run what holds a session in a task of the hub's, in nobody's context."""
        if self._tasks is None:
            raise HubError(UNUSED)
        start: Any = self._tasks.start_soon
        self._context.copy().run(start, keep)

    def _nowhere(self, name: str, arguments: JSONObject | None, unshown: Unshown) -> Any:
        """What answers the call of a tool that no server has."""
        if self._refused is None:
            raise unshown
        types: Any = import_module("mcp.types")
        return types.CallToolResult.model_validate(self._refused(name, arguments))

    def _came_late(self, name: str, method: str) -> None:
        """A server has listed what it has when nobody waited for it any more: clients list anew."""
        for notification, methods in CHANGES.items():
            if method in methods:
                self._news.add(name, notification, None)

    def _changed(self, member: Member, notification: str | None, uri: str | None = None) -> None:
        """A server says that something changed; None: all it offers has come or gone."""
        if self._tasks is None:
            return
        if uri is None:
            self._offers.forget(member.name, notification)
        for method in CHANGES if notification is None else (notification,):
            self._news.add(member.name, method, uri)
