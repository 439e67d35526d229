"""The guard: what a user holds. A facade over the linked chain, the seams and the policy file.

Nothing is decided here. What a guard does to a message stands in `core.chain`; how it gets into a session
in `seams`; what a policy file may say in `config`.
"""

import logging
import threading
import weakref
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from mcpguard.core.call import Call, refusal
from mcpguard.core.clock import SYSTEM_CLOCK, Clock
from mcpguard.core.connection_limits import ConnectionLimits
from mcpguard.core.errors import GuardBuildError, SeamError
from mcpguard.core.events import Emitter, Scrubber, Sink
from mcpguard.core.interceptor import Interceptor
from mcpguard.core.linked import ANONYMOUS, Handle, Linked, OnDeny
from mcpguard.core.names import Names
from mcpguard.core.order import arrange
from mcpguard.core.principal import Principal
from mcpguard.core.run import STOPPED, Run, Stops, bound, current_run
from mcpguard.core.servers import ServerOptions
from mcpguard.core.views import ConnectionView, Coverage, Explanation, covered, explained, statuses
from mcpguard.core.wire import JSON
from mcpguard.seams.callers import Binding
from mcpguard.seams.connection import Connection
from mcpguard.stores.store import Store

if TYPE_CHECKING:
    from mcp import Client, ClientSession

    from mcpguard.config.policy import Built, Policy
    from mcpguard.detectors.redactor import Redactor
    from mcpguard.hub.hub import Hub
    from mcpguard.hub.merge import Naming
    from mcpguard.interceptors.credentials import Credentials
    from mcpguard.seams.handed import HandedCalls
    from mcpguard.seams.http_auth import HTTPAuth

__all__ = ["Guard"]

_log = logging.getLogger("mcpguard")

_Session = TypeVar("_Session", bound="ClientSession")


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where a guard is from that was made from a policy file: what a reload starts from."""

    path: Path
    policy: "Policy"
    built: "Built"
    sinks: tuple[Sink, ...]


class Guard:
    """Put interceptors around MCP client sessions.

    Args:
        interceptors: Outermost first. The order is validated, never changed.
        sinks: Where events go.
        scrubber: Cleans arguments and results before a sink sees them; without one, sinks get digests.
        clock: Time, for limits and records.
        store: Where interceptors keep their state that have no store of their own. None: in memory, each its
            own. The guard does not close a store that it is given.
        servers: What is declared of servers, by the names they are wrapped with: who shares them, and labels
            for what is in them. Where some are declared, others cannot be wrapped.
        on_deny: `result` answers a denied tool call with an error result the model can read; `raise`
            raises `Denied`. Other methods get the SDK's own error type for `result`.
        anonymous: Whether a rule about principals denies a call that has none, or just does not match it.
        digest_key: Secret of the digests in events, 16 bytes at least; by default random, so that digests
            compare within one process only.
        policy_digest: SHA-256 of the policy these interceptors were made from, for the record.
        connection: What a server may send and how long it may keep anybody waiting. None: no limits.

    Raises:
        GuardBuildError: If the interceptors cannot be linked. `OrderError` names the two that conflict.
    """

    def __init__(
        self,
        interceptors: Iterable[Interceptor] = (),
        *,
        sinks: Iterable[Sink] = (),
        scrubber: Scrubber | None = None,
        clock: Clock = SYSTEM_CLOCK,
        store: Store | None = None,
        servers: Mapping[str, ServerOptions] | None = None,
        on_deny: OnDeny = "result",
        anonymous: Literal["deny", "allow"] = "deny",
        digest_key: bytes | None = None,
        policy_digest: str | None = None,
        connection: ConnectionLimits | None = None,
    ) -> None:
        if on_deny not in ("result", "raise"):
            raise ValueError(f"on_deny is 'result' or 'raise', not {on_deny!r}")
        if anonymous not in ("deny", "allow"):
            raise ValueError(f"anonymous is 'deny' or 'allow', not {anonymous!r}")
        if digest_key is not None and len(digest_key) < 16:
            raise ValueError(f"digest_key has {len(digest_key)} bytes; 16 at least")
        _check_lists(interceptors, sinks)
        if connection is not None and not isinstance(connection, ConnectionLimits):
            raise TypeError(f"connection= takes ConnectionLimits, not {type(connection).__name__}")
        sinks = tuple(sinks)
        for sink in sinks:
            if not callable(getattr(sink, "emit", None)):
                raise TypeError(f"sinks= takes sinks, such as JsonLines(path); {type(sink).__name__} is none")
        self._interceptors = tuple(interceptors)
        self._limits = connection
        self._emitter = Emitter(
            tuple(sinks),
            clock=clock,
            scrubber=scrubber,
            key=digest_key,
            policy=policy_digest,
            names=Names(lambda name: _redactor().redact(name)),
        )
        stops = Stops()
        declared = dict(servers or {})
        linked = Linked(
            arrange(self._interceptors), self._emitter, store=store, stops=stops, servers=declared
        )
        self._handle = Handle(
            linked, stops=stops, clock=clock, on_deny=on_deny, anonymous=anonymous == "allow"
        )
        self._own_store: Store | None = None
        self._servers: Mapping[str, ServerOptions] = declared
        self._store = store
        self._http_auths: dict[str, HTTPAuth] = {}
        self._lock = threading.Lock()
        self._origin: _Origin | None = None
        self._emitters: weakref.WeakSet[Emitter] = weakref.WeakSet((self._emitter,))
        self._dropped: list[Sink] = []
        self._reloading = threading.Lock()
        self._entered = 0
        self._is_closed = False
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._runs: weakref.WeakSet[Run] = weakref.WeakSet()
        self._hubs: weakref.WeakSet[Hub] = weakref.WeakSet()
        self._emitter.about_policy()

    @classmethod
    def standard(
        cls,
        *,
        interceptors: Iterable[Interceptor] = (),
        sinks: Iterable[Sink] = (),
        scrubber: Scrubber | None = None,
        clock: Clock = SYSTEM_CLOCK,
        store: Store | None = None,
        servers: Mapping[str, ServerOptions] | None = None,
        on_deny: OnDeny = "result",
        anonymous: Literal["deny", "allow"] = "deny",
        digest_key: bytes | None = None,
        connection: ConnectionLimits | None = None,
    ) -> Self:
        """Build a guard that no honest agent notices, in one line.

        Hidden text is removed (`TextHygiene`), answers too long for a model are cut (`ResultLimit`), the
        model is told of loops (`LoopDetector`, which refuses nothing here), what servers ask is refused
        and not advertised (`InboundRequests`), connections have limits, events go to `logging` (`Logging`).

        Args:
            interceptors: Further ones, outermost first; the standard ones are put at their places among
                them. One of a standard class takes the place of the standard one, everywhere: one
                narrowed to some servers leaves the others without.
            sinks: Further sinks. A `Logging` takes the place of the standard one.
            scrubber: As for `Guard`.
            clock: As for `Guard`.
            store: As for `Guard`.
            servers: As for `Guard`.
            on_deny: As for `Guard`.
            anonymous: As for `Guard`.
            digest_key: As for `Guard`.
            connection: Other limits. None: the defaults of `ConnectionLimits`.

        Raises:
            GuardBuildError: If the interceptors cannot be linked.
        """
        from mcpguard.config.standard import standard_interceptors, standard_sinks

        _check_lists(interceptors, sinks)
        return cls(
            standard_interceptors(interceptors),
            sinks=standard_sinks(sinks),
            scrubber=scrubber,
            clock=clock,
            store=store,
            servers=servers,
            on_deny=on_deny,
            anonymous=anonymous,
            digest_key=digest_key,
            connection=ConnectionLimits() if connection is None else connection,
        )

    @classmethod
    def from_policy(
        cls,
        path: str | Path,
        *,
        sinks: Iterable[Sink] = (),
        scrubber: Scrubber | None = None,
        clock: Clock = SYSTEM_CLOCK,
        store: Store | None = None,
        digest_key: bytes | None = None,
    ) -> Self:
        """Build a guard from a policy file: YAML, JSON or TOML. What `mcpguard check` warns of is logged.

        Args:
            path: The file.
            sinks: Further sinks beside those the file names.
            scrubber: As for `Guard`.
            clock: As for `Guard`.
            store: Takes the place of the store that the file names. One that the file names is opened here,
                and closed by `aclose`.
            digest_key: As for `Guard`.

        Raises:
            PolicyError: If the file is missing or says something wrong; carries file and line.
            PluginError: If it uses a plugin that cannot be loaded.
        """
        from mcpguard.config.opening import closing_if_refused
        from mcpguard.config.policy import load_policy

        _check_lists((), sinks)
        policy = load_policy(path)
        built = policy.build(clock=clock, store=store)
        with closing_if_refused(built.sinks):
            guard = cls(
                built.interceptors,
                sinks=(*built.sinks, *sinks),
                scrubber=scrubber,
                clock=clock,
                servers=policy.servers,
                store=built.store or store,
                on_deny=policy.on_deny,
                anonymous=policy.anonymous,
                digest_key=digest_key,
                policy_digest=policy.digest,
                connection=policy.options.connection,
            )
        _tell_doubts(policy)
        guard._own_store = built.store
        guard._origin = _Origin(Path(path).absolute(), policy, built, tuple(sinks))
        guard._handle.is_reloadable = True
        return guard

    def reload(self) -> bool:
        """Read the policy file again, and enforce what it says now. A bad one is refused: the old one stays.

        Sessions are kept. Calls under way finish on the chain they began with, in whatever thread they run.
        A rule that has not changed goes on with what it has counted, and so does one that has and has an
        `id`; others begin anew. `servers` counts for sessions that are wrapped afterwards.

        Returns:
            Whether the policy says something else than before.

        Raises:
            PolicyError: If the file is missing or says something wrong.
            PluginError: If it uses a plugin that cannot be used.
            GuardBuildError: If this guard was not made by `from_policy`, or the file's cannot be linked.
        """
        from mcpguard.config.policy import load_policy
        from mcpguard.config.reload import refusal

        with self._reloading:
            if self._origin is None:
                raise GuardBuildError(
                    "there is no policy file: this guard was not made by Guard.from_policy()"
                )
            try:
                policy = load_policy(self._origin.path)
                if policy.digest == self._origin.policy.digest:
                    return False
                self._enforce(policy, self._origin)
            except Exception as error:
                self._emitter.about_policy(refused=refusal(error))
                raise
            return True

    @asynccontextmanager
    async def reloading(
        self, *, every: float | None = 1.0, signals: Collection[int] = ()
    ) -> AsyncGenerator[None]:
        """Reload while inside, whenever the policy file changes. A bad policy is logged and recorded.

        Args:
            every: Seconds between two looks at the file; it is read once two looks see the same. None: it is
                not looked at.
            signals: Signals that reload too, `signal.SIGHUP` for one; in the main thread only.

        Raises:
            GuardBuildError: If this guard was not made by `from_policy`.
            ValueError: If `every` is not positive, or nothing would ever reload.
        """
        from anyio import create_task_group

        from mcpguard.config.reload import listen, watch

        if self._origin is None:
            raise GuardBuildError("there is no policy file: this guard was not made by Guard.from_policy()")
        if every is not None and not every > 0:
            raise ValueError(f"every is seconds, above 0, not {every}")
        if every is None and not signals:
            raise ValueError("neither every nor signals is given, so nothing would ever reload")
        async with create_task_group() as tasks:
            if every is not None:
                tasks.start_soon(partial(watch, self._origin.path, self._reload_quietly, every=every))
            if signals:
                await tasks.start(listen, signals, self._reload_quietly)
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()

    def run(
        self,
        *,
        principal: Principal | None = None,
        id: str | None = None,
        parent: Run | None = None,
    ) -> AbstractAsyncContextManager[Run]:
        """Open a run and bind it to every call made inside, also in tasks started there.

        Args:
            principal: On whose behalf; by default the parent's.
            id: What the audit calls the run; by default a random id.
            parent: The run this one is part of; by default the one around it. A task that has outlived
                that run belongs to the next one further out that is still open, or to none.

        Raises:
            TypeError: If `id` or `principal` is something else, at once.
            ValueError: If `parent`, or the run around, was stopped: a new run does not undo that.
        """
        Run(id=id, principal=principal)
        return self._inside_run(principal, id, parent)

    @asynccontextmanager
    async def _inside_run(
        self, principal: Principal | None, id: str | None, parent: Run | None
    ) -> AsyncGenerator[Run]:
        run = self.open_run(principal=principal, id=id, parent=_run_around() if parent is None else parent)
        try:
            with bound(run):
                yield run
        finally:
            self.close_run(run)

    def open_run(
        self, *, principal: Principal | None = None, id: str | None = None, parent: Run | None = None
    ) -> Run:
        """Open a run that is bound to nothing, for whoever serves several at a time; `close_run` ends it.

        Args:
            principal: As for `run`.
            id: As for `run`.
            parent: The run this one is part of. None: it is part of none.

        Raises:
            ValueError: If `parent` has ended.
        """
        run = Run(id=id, principal=principal, parent=parent)
        with self._lock:
            self._runs.add(run)
        self._emitter.about_run("run_opened", run)
        return run

    def close_run(self, run: Run) -> None:
        """End a run as finished."""
        run.close()
        self._emitter.about_run("run_closed", run)

    async def principal(self, token: str) -> Principal:
        """On whose behalf a token speaks, by the policy's `principals`.

        Raises:
            TokenRefused: If it is not to be trusted; its code says why.
            GuardBuildError: If there is no policy file, or it says nothing of tokens.
        """
        origin = self._origin
        tokens = None if origin is None else origin.built.tokens
        if tokens is None:
            raise GuardBuildError("the policy says nothing of tokens: it has no principals.jwt")
        return await tokens.principal(token)

    @property
    def policy(self) -> "Policy | None":
        """The policy that is enforced; None where the guard was not made by `from_policy`."""
        return None if self._origin is None else self._origin.policy

    def session(
        self, session: _Session, *, name: str, run: Run | None = None, shared: bool | None = None
    ) -> _Session:
        """Guard a `ClientSession` in place and return it. Best before it is entered.

        Args:
            session: The session; a second guard on it is an error.
            name: What policy, stores and audit call the server.
            run: Binds every call of the session to this run, whatever the context says.
            shared: Whether several principals may use it. None: as the policy says of `name`, else not.

        Raises:
            SeamError: If it is guarded already, or is not a session.
        """
        from mcpguard.seams.session import guard_session

        guard_session(session, self._binding(name, run, shared))
        return session

    def client(
        self,
        server: Any,
        *,
        name: str,
        run: Run | None = None,
        shared: bool | None = None,
        **options: Any,
    ) -> "Client":
        """A guarded `mcp.Client` (SDK 2.x) on anything that takes: a URL, a transport, an in-process server.

        With any interceptor linked the SDK's response cache is off: it would answer one principal with what
        another was given.

        Args:
            server: What `mcp.Client` takes.
            name: What policy, stores and audit call the server.
            run: Binds every call to this run.
            shared: Whether several principals may use it. None: as the policy says of `name`, else not.
            options: Further arguments of `mcp.Client`.

        Raises:
            SeamError: On SDK 1.x, which has no such class, or if `cache=` is given beside interceptors.
        """
        from mcpguard.seams.session import guarded_client

        client: Client = guarded_client(server, self._binding(name, run, shared), options)
        return client

    def transport(
        self,
        transport: AbstractAsyncContextManager[Any],
        *,
        name: str,
        run: Run | None = None,
        shared: bool | None = None,
    ) -> AbstractAsyncContextManager[Any]:
        """A guarded transport, for hosts that build the session themselves; works on both SDK majors.

        Args:
            transport: An async context manager that yields a read and a write stream, and maybe more.
            name: What policy, stores and audit call the server.
            run: Binds every call to this run.
            shared: Whether several principals may use it. None: as the policy says of `name`, else not.

        Raises:
            SeamError: If it is not a transport. An in-process server has no streams: use `client`.
        """
        from mcpguard.seams.transport import guarded_transport

        return guarded_transport(transport, self._binding(name, run, shared))

    def fastmcp_transport(
        self, transport: Any, *, name: str, run: Run | None = None, shared: bool | None = None
    ) -> Any:
        """A guarded FastMCP `ClientTransport`, for `fastmcp.Client` and what builds on it.

        Args:
            transport: A FastMCP transport, or anything FastMCP infers one from.
            name: What policy, stores and audit call the server.
            run: Binds every call to this run.
            shared: Whether several principals may use it. None: as the policy says of `name`, else not.
        """
        from mcpguard.seams.fastmcp import guarded_fastmcp_transport

        return guarded_fastmcp_transport(transport, self._binding(name, run, shared))

    def handed_calls(self, *, name: str, run: Run | None = None, shared: bool | None = None) -> "HandedCalls":
        """The chain around tool calls that go by somebody else's way: for frameworks' hooks around calls.

        It sees those calls and nothing else. Where a session, client or transport can be guarded, do that.

        Args:
            name: What policy, stores and audit call the server.
            run: Binds every call to this run.
            shared: Whether several principals may use it. None: as the policy says of `name`, else not.
        """
        from mcpguard.seams.handed import HandedCalls

        return HandedCalls(self._binding(name, run, shared))

    def hub(
        self,
        servers: Mapping[str, Any] | None = None,
        *,
        naming: "Naming" = "prefix",
        start_timeout: float = 30.0,
        retry_after: float = 5.0,
        list_for: float = 60.0,
        callbacks: Mapping[str, Any] | None = None,
    ) -> "Hub":
        """Several servers as one, each guarded under its name and shared by all who use the hub.

        Args:
            servers: What each server is reached by, under what policy, stores and audit call it:
                `StdioServerParameters`, the URL of a Streamable HTTP server, a server in this process, a
                transport of the SDK's that is not entered, a function that makes a transport, a
                `FakeServer`, or `ServerOptions` with a command or a URL. Credentials for environments and
                HTTP headers are put where they belong. None: those of the policy that say how they are
                reached.
            naming: As for `Hub`.
            start_timeout: As for `Hub`.
            retry_after: As for `Hub`.
            list_for: As for `Hub`.
            callbacks: As for `Hub`.

        Raises:
            SeamError: If something is no server to connect to, or cannot be guarded as rules ask.
            ValueError: If there is no server, a name cannot be one, or a number is out of range.
        """
        from mcpguard.hub.hub import Hub
        from mcpguard.seams.nowhere import Nowhere
        from mcpguard.seams.opening import Opening, reached

        if servers is None:
            servers = {name: one for name, one in self._servers.items() if one.command or one.url}
        connects: dict[str, Opening] = {}
        for name, given in servers.items():
            source, headers = reached(given, name)
            connects[name] = Opening(
                source=source,
                headers=headers,
                auth=self.http_auth(name=name, url=source) if isinstance(source, str) else None,
                binding=self._binding(name, None, shared=True),
                environment=partial(self.environment, name=name),
            )
        hub = Hub(
            connects,
            naming=naming,
            start_timeout=start_timeout,
            retry_after=retry_after,
            list_for=list_for,
            callbacks=callbacks,
            refused=Nowhere(self._handle),
            enforced=partial(getattr, self._handle, "linked"),
            clock=self._handle.clock,
        )
        self._hubs.add(hub)
        return hub

    def http_auth(self, *, name: str, url: str | None = None) -> Any:
        """The auth object for the HTTP client of a server's transport, `httpx` or `httpx2`; one per name.

        It puts the headers of `Credentials` on each request: those of whoever makes the call, and of whoever
        opened the session on what belongs to no call.

        Args:
            name: What policy, stores and audit call the server.
            url: Where the server is: no other origin gets a credential. None: where the first request goes.

        Raises:
            GuardBuildError: If several `Credentials` put headers on requests to this server.
            ValueError: If the auth object of this name was given another origin before.
        """
        from mcpguard.seams.http_auth import giver_of, http_auth

        with self._lock:
            known = self._http_auths.get(name)
            if known is None:
                giver = giver_of(name, self._interceptors)
                known = self._http_auths[name] = http_auth(name, giver, url)
            elif url is not None:
                known.settle(url)
        return known

    async def environment(self, *, name: str, run: Run | None = None) -> dict[str, str]:
        """The variables that `Credentials` gives a server that is about to be started as a process.

        Args:
            name: What policy, stores and audit call the server.
            run: On whose behalf; None: as the context says.

        Raises:
            SeamError: If a credential cannot be had.
        """
        from mcpguard.interceptors.credentials import Credentials
        from mcpguard.tokens.secret import TokenError

        bound = run or current_run()
        principal = None if bound is None else bound.principal
        variables: dict[str, str] = {}
        for one in self._interceptors:
            if isinstance(one, Credentials):
                try:
                    variables.update(await one.environment(name, principal))
                except TokenError as error:
                    raise SeamError(f"{name} cannot be started: {error}") from None
        return variables

    def coverage(self) -> Coverage:
        """Which interceptor handles what, in what order and mode, and what no seam sees."""
        connections = [
            ConnectionView(one.name, one.seam, one.is_shared, one.blind_spots) for one in self._open()
        ]
        return covered(self._handle.linked.steps, connections)

    def explain(self, call: Call) -> Explanation:
        """How this guard would decide about `call`, step by step, without sending it or spending anything.

        `Call.tool_call(...)` makes one to ask about.
        """
        if call.principal is None and self._handle.anonymous:
            call = call.made_by(ANONYMOUS)
        code = None if call.run is None else self._handle.refusal_code(call.run)
        refused = None
        if code is not None and call.run is not None:
            refused = refusal(code=code, reason=f"run {call.run.id} may make no more calls", source="guard")
        return explained(call, self._handle.linked.steps, self._handle.clock, refused)

    def status(self) -> dict[str, JSON]:
        """Runs, interceptors' state, connections, limits hit, sink failures now; JSON-shaped, no values.

        Interceptors are named as in `coverage()`; one that fails over its status has `failed` in its place.
        """
        with self._lock:
            runs = [run for run in self._runs if run.ended is None]
        return {
            "runs": [{"id": run.id, "depth": len(run.lineage) - 1} for run in runs],
            "interceptors": statuses(self._interceptors),
            "connections": [{"server": one.name, "seam": one.seam} for one in self._open()],
            "limits_hit": {server: {**counts} for server, counts in self._handle.hits.by_server().items()},
            "sinks": {"failures": dict(self._emitter.failures)},
            "stopped_tenants": sorted(self._handle.stops.tenants),
        }

    def stop(self, target: Run | str) -> None:
        """Refuse every further call of a run and those below it, or of a tenant: the kill switch.

        Args:
            target: A run, the id of runs that `run` has opened, or a tenant's name, whose runs are those made
                on its behalf and all below them. An id that no open run has is taken for a tenant's name.
                Calls already sent are not called back.
        """
        if isinstance(target, Run):
            target.stop()
            self._emitter.about_run("stopped", target, reason="run stopped")
            return
        if not isinstance(target, str):
            raise TypeError(f"stop takes a Run, a run's id or a tenant's name, not {type(target).__name__}")
        with self._lock:
            runs = [run for run in self._runs if run.ended is None]
        named = [run for run in runs if run.id == target]
        for run in named:
            self.stop(run)
        owned = [run for run in runs if target in run.tenants]
        if named and not owned:
            return
        self._handle.stops.tenants.add(target)
        for run in owned:
            run.stop()
            self._emitter.about_run("stopped", run, reason="tenant stopped")

    async def aclose(self) -> None:
        """Flush and close the sinks, and the store that the policy file named; all of them, whatever fails.

        Sessions stay open. What they do afterwards is no longer recorded; where limits need that store, it is
        denied. Leaving the guard as a context does the same, and logs what fails: the work is done by then.
        One that is entered several times is closed by whoever leaves it last. It cannot be entered again.

        Raises:
            Exception: What closing one of them failed with. A sink's failure is logged, and counted in
                `status()`.
        """
        self._is_closed = True
        with self._reloading:
            dropped, self._dropped = self._dropped, []
        async with AsyncExitStack() as closing:
            if self._own_store is not None:
                closing.push_async_callback(self._own_store.aclose)
            closing.push_async_callback(self._emitter.aclose)
            failure = await self._emitter.close(dropped)
            if failure is not None:
                raise failure

    async def __aenter__(self) -> Self:
        with self._lock:
            if self._is_closed:
                raise GuardBuildError(
                    "this guard was closed, with its sinks: enter it once around everything, or build another"
                )
            self._entered += 1
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._lock:
            self._entered -= 1
            if self._entered:
                return
            self._is_closed = True
        try:
            await self.aclose()
        except Exception as error:  # noqa: BLE001 - what ran inside has ended already, and not for this
            _log.error("the guard was not closed whole: %s", type(error).__name__)

    def __repr__(self) -> str:
        labels = ", ".join(one.label for one in self._interceptors)
        return f"Guard([{labels}])"

    def _binding(self, name: str, run: Run | None, shared: bool | None) -> Binding:
        declared = self._servers.get(name)
        if self._servers and declared is None:
            known = ", ".join(sorted(self._servers))
            raise ValueError(f"the declared servers are {known}; name={name!r} is none of them")
        if shared is None:
            shared = declared is not None and declared.shared
        http_auth = self._http_auths.get(name)
        for one in self._interceptors:
            one.wrapping(name, shared=shared, http_auth=http_auth is not None)
        if http_auth is not None and shared:
            http_auth.is_shared = True
        return Binding(
            handle=self._handle,
            name=name,
            run=run,
            shared=shared,
            register=self._register,
            limits=self._limits,
            is_limited=self._limits is not None,
        )

    def _enforce(self, policy: "Policy", origin: "_Origin") -> None:
        """Put another policy in the place of the one that is enforced, or raise and change nothing."""
        from mcpguard.config.opening import closing_if_refused
        from mcpguard.config.reload import renew, take_over

        renewed = renew(policy, origin.policy, origin.built)
        built = renewed.built
        emitter = self._emitter.following((*built.sinks, *origin.sinks), policy.digest)
        with closing_if_refused(renewed.opened):
            linked = Linked(
                renewed.steps,
                emitter,
                store=self._store,
                stops=self._handle.stops,
                servers=policy.servers,
                kept=renewed.kept,
            )
            take_over(renewed.changed)
        with self._lock:
            followers = self._followers(built.interceptors)
            self._interceptors = built.interceptors
            for auth, giver in followers:
                auth.follow(giver)
        for interceptor in renewed.kept:
            interceptor.host = linked.host
        self._emitters.add(emitter)
        self._dropped += renewed.dropped
        self._handle.swap(linked, on_deny=policy.on_deny, anonymous=policy.anonymous == "allow")
        self._emitter = emitter
        self._servers, self._limits = policy.servers, policy.options.connection
        self._origin = _Origin(origin.path, policy, built, origin.sinks)
        _tell_doubts(policy)
        emitter.about_policy()

    def _followers(
        self, interceptors: Sequence[Interceptor]
    ) -> list[tuple["HTTPAuth", "Credentials | None"]]:
        """Every auth object that was asked for, and what it goes by once these are linked."""
        if not self._http_auths:
            return []
        from mcpguard.seams.http_auth import giver_of

        return [(auth, giver_of(name, interceptors)) for name, auth in self._http_auths.items()]

    async def _reload_quietly(self) -> None:
        """Reload, and close the sinks that nothing writes to any more."""
        from mcpguard.config.reload import quietly

        await quietly(self.reload)
        for hub in tuple(self._hubs):
            hub.look()
        with self._reloading:
            in_use = {id(sink) for emitter in self._emitters for sink in emitter.sinks}
            unused = [sink for sink in self._dropped if id(sink) not in in_use]
            self._dropped = [sink for sink in self._dropped if id(sink) in in_use]
        await self._emitter.close(unused)

    def _register(self, connection: Connection) -> None:
        with self._lock:
            self._connections.add(connection)

    def _open(self) -> list[Connection]:
        with self._lock:
            return list(self._connections)


def _tell_doubts(policy: "Policy") -> None:
    """Log what is valid and probably not meant, a rule for a server that nobody declared for one."""
    try:
        doubts = policy.warnings()
    except GuardBuildError as error:
        _log.warning("%s", error)
        return
    for doubt in doubts:
        _log.warning("%s", doubt.located(policy.source))


def _run_around() -> Run | None:
    """The innermost run of this context that is open, or the one that was stopped."""
    around = current_run()
    if around is None or around.ended == STOPPED:
        return around
    return next((run for run in around.lineage if run.ended is None), None)


@cache
def _redactor() -> "Redactor":
    """What cleans names: of secrets only, as whom a call was made for is for records to say."""
    from mcpguard.detectors.redactor import Redactor

    return Redactor(pii=())


def _check_lists(interceptors: object, sinks: object) -> None:
    """Refuse the one interceptor or sink there is where its brackets were left out."""
    if isinstance(interceptors, Interceptor):
        raise GuardBuildError(f"a guard takes a list of interceptors: [{type(interceptors).__name__}(...)]")
    if callable(getattr(sinks, "emit", None)):
        raise GuardBuildError(f"a guard takes a list of sinks: [{type(sinks).__name__}(...)]")
