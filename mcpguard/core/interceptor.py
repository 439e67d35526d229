"""The interceptor: one control, as the chain sees it.

An interceptor declares which (method, direction) pairs it handles and has one hook or several: a
synchronous `check` before, a synchronous `filter` after, an asynchronous layer around. What an interceptor
decides stands in its own file; when and in what order hooks run is the chain's business.
"""

import re
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping
from enum import IntEnum
from typing import ClassVar, Literal, Protocol, TypeAlias, TypedDict

from mcpguard.core.call import Call
from mcpguard.core.host import ALONE, Host
from mcpguard.core.result import Result
from mcpguard.core.run import Run
from mcpguard.core.verdict import ALLOW, Verdict
from mcpguard.core.wire import JSON, Direction

__all__ = ["CallNext", "Common", "Frame", "Handles", "Interceptor", "Mode", "Place", "Wire", "is_foreign"]

Mode: TypeAlias = Literal["enforce", "audit"]
"""SEP-2624: `enforce` decides; `audit` only reports what it would have decided."""

Handles: TypeAlias = Collection[tuple[str, Direction]]
"""(method, direction) pairs.

`*` is every request but the lifecycle's, `notifications/*` every notification but the lifecycle's.
"""

Wire: TypeAlias = Callable[[Call], Coroutine[None, None, Result]]
"""What stands at the inner end of a chain: the SDK's own session, made to answer with a `Result`."""


class Frame(Protocol):
    """One link of a chain: runs a call through what stands from here on inwards, and then `wire`."""

    def __call__(self, call: Call, wire: Wire, /) -> Coroutine[None, None, Result]:
        """Run `call` inwards."""
        ...


class CallNext(Protocol):
    """What a layer calls to go on, in its own task, at most once unless it declares `repeats`."""

    def __call__(self, call: Call, /) -> Awaitable[Result]:
        """Go on with `call`."""
        ...


class Common(TypedDict, total=False):
    """What every interceptor's constructor takes beside its own options."""

    id: str | None
    mode: Mode
    fail_open: bool


class Place(IntEnum):
    """The canonical order, outermost first: the policy file's order, and what a Python list is held to.

    A filter's place says where the *result* passes: a greater place sees it earlier.
    """

    TRACING = 10
    VIEW = 20
    ACCESS = 30
    INBOUND_REQUESTS = 40
    TOOL_PINNING = 50
    ARGUMENT_RULES = 60
    FLOW_CONTROL = 70
    PLUGIN = 75
    """Where the policy file puts a plugin that names no place."""
    LOOP_DETECTOR = 80
    RESULT_CACHE = 90
    LOOK = 100
    """Budgets and rates look, without a hold, before anybody is asked."""
    APPROVAL = 110
    CONCURRENCY = 120
    DEADLINE = 130
    RETRY = 140
    BUDGET = 150
    RATE_LIMIT = 160
    CIRCUIT_BREAKER = 170
    PLACEHOLDERS = 180
    CREDENTIALS = 190
    RESULT_LIMIT = 200
    LABELS = 210
    REDACTION = 220
    INJECTION_SCAN = 230
    TEXT_HYGIENE = 240
    BYTE_CAP = 250


class Interceptor:
    """The base of every interceptor. Override `check`, `filter` or `__call__`, or several.

    Class attributes say what the chain must know; an instance may set its own.

    Args:
        id: Name of this rule in records and stores. By default the interceptor's name; give one where a
            guard holds several of a kind or counters must survive a reload.
        mode: `enforce`, or `audit` to report decisions without taking them.
        fail_open: Whether a call goes on when this interceptor itself fails. False: it is denied.

    Raises:
        ValueError: If `mode` is neither word, or `id` is empty.
    """

    name: ClassVar[str] = "interceptor"
    """The policy file's name for it; by default the class's name in snake case."""

    handles: Handles = ()
    """What all hooks handle, unless one of the three below says otherwise."""
    checks: Handles | None = None
    filters: Handles | None = None
    layers: Handles | None = None

    place: Place | None = None
    """Where its check or layer stands. None: wherever the list has it."""
    check_place: Place | None = None
    filter_place: Place | None = None

    can_ask: bool = False
    """Whether its check may return `Ask`; a guard without an `Approval` further in then cannot be built."""
    resolves_asks: bool = False
    """Whether its layer answers questions that checks have asked."""
    repeats: bool = False
    """Whether its layer may call next more than once."""
    injects: bool = False
    """Whether what its layer adds to the parameters is kept from the rules that stand before it.

    The target is not an addition: a layer that changes it is judged again whatever it says here.
    """
    translates: bool = False
    """Whether all it does to a call is to say it in the server's own names, which no check is asked about
    again. Such an interceptor has `aim`."""
    needs_tool: bool = False
    """Whether it reads `call.tool`; the seam then lists first if the client has not."""
    waits: bool = False
    """Whether its layer waits on purpose, for a person or a slot; the caller's timeout then spares it."""

    times: bool = False
    """Whether its layer limits the call's time by itself; the SDK's own timeout is then lifted, and the layer
    finds it in `call.timeout`. So that a call it gives up counts against its server, it passes the call on
    `with_timer`."""

    is_kept: bool = True
    """Whether a reload that leaves this rule as it was leaves this object in place, with what it has counted.
    False where what it keeps depends on the rules beside it."""

    hides: Callable[[str, Run | None], str] | None = None
    """Takes out of a text, for records, what it has put into the calls of a run. None: nothing."""

    id: str | None = None
    mode: Mode = "enforce"
    fail_open: bool = False
    host: Host = ALONE
    """What the guard lends it: clock, store, reports. Set by `join`."""

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls.__name__).lower()

    def __init__(self, *, id: str | None = None, mode: Mode = "enforce", fail_open: bool = False) -> None:
        if mode not in ("enforce", "audit"):
            raise ValueError(f"mode is 'enforce' or 'audit', not {mode!r}")
        if id == "":
            raise ValueError("id must not be empty; leave it out for the default")
        self.id = id
        self.mode = mode
        self.fail_open = fail_open

    @property
    def label(self) -> str:
        """Its id, or its name where it has none: what records call it."""
        return self.id or self.name

    def join(self, host: Host) -> None:
        """Take what a guard lends. Called when a guard is built; the last guard's stays."""
        self.host = host

    def take_over(self, before: "Interceptor", /) -> None:
        """Go on from what the rule of this class and id had counted before a reload changed it.

        `before` is of exactly this class, and `join` has been called. Calls that began under `before` still
        run under it, so what both count must be one object. `before` must stay as it is: the reload may yet
        be refused.
        """
        del before

    def check(self, call: Call) -> Verdict:
        """Judge a call before it goes on. Pure: no I/O, no clock, no counting; it may be asked twice.

        What must remember a call here all the same leaves that where `call.explained`.
        """
        del call
        return ALLOW

    def filter(self, call: Call, result: Result) -> Result:
        """Look at what came back, and return it or another result."""
        del call
        return result

    async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
        """Stand around the call: whatever waits, holds, times, retries or asks."""
        return await call_next(call)

    def aim(self, call: Call) -> str | None:
        """What a call is aimed at by the server's own name, of one that translates; quick and pure.

        Records and tool facts go by it. The call's own target where it is not to be had under another name.
        """
        return call.target

    def warnings(self, servers: Collection[str]) -> Iterable[str]:
        """Sentences about rules that can never match. `servers`: the declared names; empty if none are."""
        del servers
        return ()

    def wrapping(self, server: str, *, shared: bool, http_auth: bool) -> None:
        """Refuse, with `SeamError`, a session that cannot be guarded as its rules ask.

        Args:
            server: What it is called.
            shared: Whether several principals may use it.
            http_auth: Whether `guard.http_auth()` was asked for an auth object of this server.
        """

    def status(self) -> Mapping[str, JSON]:
        """What there is to see of its state, for `guard.status()`; no argument or result values."""
        return {}

    def __repr__(self) -> str:
        named = f"id={self.id!r}, " if self.id else ""
        return f"<{type(self).__name__} {named}mode={self.mode!r}>"


def is_foreign(interceptor: Interceptor) -> bool:
    """Whether it is not one of this package's own, which keep to what hooks promise."""
    return not type(interceptor).__module__.startswith("mcpguard.")
