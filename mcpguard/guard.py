"""The guard: what a user holds. A facade over the linked chain, the seams and the policy file.

Nothing is decided here. What a guard does to a message stands in `core.chain`; how it gets into a session
in `seams`; what a policy file may say in `config`. What goes on while it lives is kept by `OpenRuns`,
`Bindings` and `LivePolicy`.
"""

import logging
import threading
import weakref
from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import cache, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from mcpguard.core.call import Call, refusal
from mcpguard.core.clock import SYSTEM_CLOCK, Clock
from mcpguard.core.connection_limits import ConnectionLimits
from mcpguard.core.emitter import Emitter
from mcpguard.core.errors import GuardBuildError
from mcpguard.core.events import Scrubber, Sink
from mcpguard.core.interceptor import Interceptor
from mcpguard.core.linked import ANONYMOUS, Handle, Linked, OnDeny
from mcpguard.core.names import Names
from mcpguard.core.open_runs import OpenRuns
from mcpguard.core.order import arrange
from mcpguard.core.principal import Principal
from mcpguard.core.run import Run, Stops
from mcpguard.core.servers import ServerOptions
from mcpguard.core.views import ConnectionView, Coverage, Explanation, covered, explained, statuses
from mcpguard.core.wire import JSON
from mcpguard.seams.bindings import Bindings
from mcpguard.stores.store import Store

if TYPE_CHECKING:
    from mcp import Client, ClientSession

    from mcpguard.config.live_policy import LivePolicy
    from mcpguard.config.policy import Policy
    from mcpguard.detectors.redactor import Redactor
    from mcpguard.hub.hub import Hub
    from mcpguard.hub.merge import Naming
    from mcpguard.seams.handed import HandedCalls

__all__ = ["Guard"]

_log = logging.getLogger("mcpguard")

_Session = TypeVar("_Session", bound="ClientSession")


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
        interceptors = tuple(interceptors)
        emitter = Emitter(
            sinks,
            clock=clock,
            scrubber=scrubber,
            key=digest_key,
            policy=policy_digest,
            names=Names(lambda name: _redactor().redact(name)),
        )
        stops = Stops()
        declared = dict(servers or {})
        linked = Linked(arrange(interceptors), emitter, store=store, stops=stops, servers=declared)
        self._handle = Handle(
            linked, stops=stops, clock=clock, on_deny=on_deny, anonymous=anonymous == "allow"
        )
        self._runs = OpenRuns(self._handle)
        self._bindings = Bindings(self._handle, interceptors, declared, connection)
        self._live: LivePolicy | None = None
        self._hubs: weakref.WeakSet[Hub] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._entered = 0
        self._is_closed = False
        emitter.about_policy()

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
        from mcpguard.config.live_policy import LivePolicy
        from mcpguard.config.opening import closing_if_refused
        from mcpguard.config.policy import load_policy

        _check_lists((), sinks)
        further = tuple(sinks)
        policy = load_policy(path)
        built = policy.build(clock=clock, store=store)
        with closing_if_refused(built.sinks):
            guard = cls(
                built.interceptors,
                sinks=(*built.sinks, *further),
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
        guard._live = LivePolicy(
            path,
            policy,
            built,
            handle=guard._handle,
            bindings=guard._bindings,
            sinks=further,
            store=built.store or store,
        )
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
        has_changed = self._policy_file().reload()
        if has_changed:
            self._look()
        return has_changed

    def reloading(
        self, *, every: float | None = 1.0, signals: Collection[int] = ()
    ) -> AbstractAsyncContextManager[None]:
        """Reload while inside, whenever the policy file changes. A bad policy is logged and recorded.

        Args:
            every: Seconds between two looks at the file; it is read once two looks see the same. None: it is
                not looked at.
            signals: Signals that reload too, `signal.SIGHUP` for one; in the main thread only.

        Raises:
            GuardBuildError: If this guard was not made by `from_policy`.
            ValueError: If `every` is not positive, or nothing would ever reload.
        """
        return self._policy_file().reloading(every, signals, self.reload)

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
        return self._runs.inside(principal=principal, id=id, parent=parent)

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
        return self._runs.open(principal=principal, id=id, parent=parent)

    def close_run(self, run: Run) -> None:
        """End a run as finished."""
        self._runs.close(run)

    async def principal(self, token: str) -> Principal:
        """On whose behalf a token speaks, by the policy's `principals`.

        Raises:
            TokenRefused: If it is not to be trusted; its code says why.
            GuardBuildError: If there is no policy file, or it says nothing of tokens.
        """
        tokens = None if self._live is None else self._live.built.tokens
        if tokens is None:
            raise GuardBuildError("the policy says nothing of tokens: it has no principals.jwt")
        return await tokens.principal(token)

    @property
    def policy(self) -> "Policy | None":
        """The policy that is enforced; None where the guard was not made by `from_policy`."""
        return None if self._live is None else self._live.policy

    def is_shared(self, name: str) -> bool:
        """Whether several principals may use one connection to a server: as is declared of it, else not."""
        return self._bindings.is_shared(name)

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

        guard_session(session, self._bindings.binding(name, run, shared))
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

        client: Client = guarded_client(server, self._bindings.binding(name, run, shared), options)
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

        return guarded_transport(transport, self._bindings.binding(name, run, shared))

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

        return guarded_fastmcp_transport(transport, self._bindings.binding(name, run, shared))

    def handed_calls(self, *, name: str, run: Run | None = None, shared: bool | None = None) -> "HandedCalls":
        """The chain around tool calls that go by somebody else's way: for frameworks' hooks around calls.

        It sees those calls and nothing else. Where a session, client or transport can be guarded, do that.

        Args:
            name: What policy, stores and audit call the server.
            run: Binds every call to this run.
            shared: Whether several principals may use it. None: as the policy says of `name`, else not.
        """
        from mcpguard.seams.handed import HandedCalls

        return HandedCalls(self._bindings.binding(name, run, shared))

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

        hub = Hub(
            self._bindings.openings(servers),
            naming=naming,
            start_timeout=start_timeout,
            retry_after=retry_after,
            list_for=list_for,
            callbacks=callbacks,
            refused=Nowhere(self._handle),
            enforced=partial(getattr, self._handle, "linked"),
            clock=self._handle.clock,
        )
        with self._lock:
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
        return self._bindings.http_auth(name, url)

    async def environment(self, *, name: str, run: Run | None = None) -> dict[str, str]:
        """The variables that `Credentials` gives a server that is about to be started as a process.

        Args:
            name: What policy, stores and audit call the server.
            run: On whose behalf; None: as the context says.

        Raises:
            SeamError: If a credential cannot be had.
        """
        return await self._bindings.environment(name, run)

    def coverage(self) -> Coverage:
        """Which interceptor handles what, in what order and mode, and what no seam sees."""
        connections = [
            ConnectionView(one.name, one.seam, one.is_shared, one.blind_spots)
            for one in self._bindings.connections()
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
        return {
            "runs": [{"id": run.id, "depth": len(run.lineage) - 1} for run in self._runs.now()],
            "interceptors": statuses(self._bindings.interceptors),
            "connections": [{"server": one.name, "seam": one.seam} for one in self._bindings.connections()],
            "limits_hit": {server: {**counts} for server, counts in self._handle.hits.by_server().items()},
            "sinks": {"failures": dict(self._handle.linked.emitter.delivery.failures)},
            "stopped_tenants": sorted(self._handle.stops.tenants),
        }

    def stop(self, target: Run | str) -> None:
        """Refuse every further call of a run and those below it, or of a tenant: the kill switch.

        Args:
            target: A run, the id of runs that `run` has opened, or a tenant's name, whose runs are those made
                on its behalf and all below them. An id that no open run has is taken for a tenant's name.
                Calls already sent are not called back.
        """
        self._runs.stop(target)

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
        await (self._live or self._handle.linked.emitter.delivery).aclose()

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
        labels = ", ".join(one.label for one in self._bindings.interceptors)
        return f"Guard([{labels}])"

    def _policy_file(self) -> "LivePolicy":
        if self._live is None:
            raise GuardBuildError("there is no policy file: this guard was not made by Guard.from_policy()")
        return self._live

    def _look(self) -> None:
        """Let hubs see what is enforced now."""
        with self._lock:
            hubs = tuple(self._hubs)
        for hub in hubs:
            hub.look()


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
