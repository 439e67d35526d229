"""One logical request under control, or one notification.

A call is frozen: change is `replace`. What several interceptors derive from its parameters is derived once,
on first use, shared, and dropped by the rewrite that invalidates it.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias, TypedDict, Unpack, cast

from mcpguard.core.line import Line
from mcpguard.core.principal import Principal
from mcpguard.core.result import Denial, Result
from mcpguard.core.run import Run
from mcpguard.core.timer import Timer
from mcpguard.core.tool_facts import ToolFacts
from mcpguard.core.verdict import Ask
from mcpguard.core.wire import (
    EMPTY,
    TARGETS,
    Direction,
    JSONObject,
    canonical,
    digest,
    is_notification,
    mutable_copy,
)
from mcpguard.core.wire import strings_in as _strings_in

__all__ = ["Call", "refusal"]

_DERIVED: Final = "_derived"
"""Where a call keeps what has been derived from its parameters: not one of its members."""

_ORIGIN: Final = "_origin"
"""Where a copy keeps the call it was first made from."""

_CARRIED: Final = "_carried"
"""Where a call keeps what goes along with its parameters."""

_TOLD: Final = "_told"
"""Where a call keeps who is told that it goes out."""

_Told: TypeAlias = Callable[[str | int | None, Line], None]
"""Is told the id of the request on the wire, if it has one, and on which line it goes."""


class _Derived:
    """What has been derived from a call's parameters so far."""

    __slots__ = ("account", "canonical", "digest", "fingerprint", "texts")

    def __init__(self) -> None:
        self.account: _Account | None = None
        self.canonical: bytes | None = None
        self.digest: tuple[bytes, str] | None = None
        self.fingerprint: str | None = None
        self.texts: tuple[str, ...] | None = None


_Account: TypeAlias = tuple[object, Principal | None, Mapping[str, object]]
"""Who gives an account of a call, whose the call is, and the account."""


class _Changes(TypedDict, total=False):
    params: JSONObject
    asks: tuple[Ask, ...]
    approved: tuple[Ask, ...]


@dataclass(frozen=True, init=False, eq=False)
class Call:
    """One request or notification, in either direction.

    Args:
        id: The logical call's id; the same over all rounds and attempts, and in nested guards.
        method: The protocol's method.
        params: Wire-shaped parameters, as the specification defines them. Read only.
        direction: `outbound` from the agent, `inbound` from the server.
        server: What the user called this server when wrapping it.
        principal: On whose behalf; None if nobody said and the guard does not allow anonymous calls.
        run: The agent's task this belongs to, if one is bound.
        round: 0 for the first message of a logical call, 1 and up for its continuations.
        tool: The tool's definition, where a linked interceptor asked for it.
        parent: Id of the call that an inbound request interrupts, if that is known.
        timeout: Seconds the caller allows for the answer, where an interceptor times the call in the SDK's
            place; else None.
        asks: Questions collected by checks that nobody has answered yet.
        approved: Questions that were answered with yes.
        enforced: False while an interceptor in `mode="audit"` looks at the call: nothing it does takes
            effect, and it must not wait.
        explained: True while `guard.explain` asks what would become of the call: nobody has made it, so
            nothing may be remembered of it.
        timer: Tells those further in when the call's time was up, where a layer `times` it; only such a layer
            may set it.
        is_nested: Whether a guard further out has this very call under way, so that a rule of both knows it.
    """

    id: str
    method: str
    params: JSONObject = field(repr=False)
    direction: Direction = "outbound"
    server: str = ""
    principal: Principal | None = None
    run: Run | None = None
    round: int = 0
    tool: ToolFacts | None = field(default=None, repr=False)
    parent: str | None = None
    timeout: float | None = None
    asks: tuple[Ask, ...] = ()
    approved: tuple[Ask, ...] = ()
    enforced: bool = True
    explained: bool = False
    timer: Timer | None = field(default=None, repr=False)
    is_nested: bool = False

    def __init__(
        self,
        *,
        id: str,
        method: str,
        params: JSONObject = EMPTY,
        direction: Direction = "outbound",
        server: str = "",
        principal: Principal | None = None,
        run: Run | None = None,
        round: int = 0,
        tool: ToolFacts | None = None,
        parent: str | None = None,
        timeout: float | None = None,
        asks: tuple[Ask, ...] = (),
        approved: tuple[Ask, ...] = (),
        enforced: bool = True,
        explained: bool = False,
        timer: Timer | None = None,
        is_nested: bool = False,
    ) -> None:
        self.__dict__.update(
            id=id,
            method=method,
            params=params,
            direction=direction,
            server=server,
            principal=principal,
            run=run,
            round=round,
            tool=tool,
            parent=parent,
            timeout=timeout,
            asks=asks,
            approved=approved,
            enforced=enforced,
            explained=explained,
            timer=timer,
            is_nested=is_nested,
        )

    @classmethod
    def outgoing(
        cls,
        id: str,
        method: str,
        params: JSONObject,
        server: str,
        principal: Principal | None,
        run: Run | None,
        round: int,
    ) -> "Call":
        """An outbound call, all else at its default: one is made per message, so it is quick."""
        call = _new(cls)
        _fill(
            call,
            {
                "id": id,
                "method": method,
                "params": params,
                "server": server,
                "principal": principal,
                "run": run,
                "round": round,
            },
        )
        return call

    @classmethod
    def tool_call(
        cls,
        name: str,
        arguments: JSONObject | None = None,
        *,
        server: str,
        principal: Principal | None = None,
        run: Run | None = None,
    ) -> "Call":
        """A `tools/call` to ask `guard.explain` about. The principal is the run's where none is given."""
        if principal is None and run is not None:
            principal = run.principal
        params: JSONObject = {"name": name, "arguments": {} if arguments is None else arguments}
        return cls(
            id="explained", method="tools/call", params=params, server=server, principal=principal, run=run
        )

    @property
    def origin(self) -> "Call":
        """The call as its maker made it, before anything was rewritten."""
        origin: Call = self.__dict__.get(_ORIGIN, self)
        return origin

    @property
    def is_notification(self) -> bool:
        """Whether this is a one-way message."""
        return is_notification(self.method)

    @property
    def target(self) -> str | None:
        """The tool or prompt name or the resource's URI; None for methods that have none."""
        key = TARGETS.get(self.method)
        value = None if key is None else self.params.get(key)
        return value if isinstance(value, str) else None

    @property
    def arguments(self) -> JSONObject:
        """The arguments of a tool or prompt; empty where there are none."""
        return _mapping(self.params.get("arguments"))

    @property
    def canonical_arguments(self) -> bytes:
        """Canonical JSON of the arguments, or of all parameters for methods without arguments.

        `_meta` never counts: it carries progress tokens and trace context, which differ on every call.
        """
        derived = self._derive()
        if derived.canonical is None:
            subject: JSONObject
            if "arguments" in self.params or self.method in ("tools/call", "prompts/get"):
                subject = self.arguments
            else:
                subject = {name: value for name, value in self.params.items() if name != "_meta"}
            derived.canonical = canonical(subject)
        return derived.canonical

    def arguments_digest(self, key: bytes) -> str:
        """Keyed digest of the canonical arguments."""
        derived = self._derive()
        if derived.digest is None or derived.digest[0] is not key:
            derived.digest = key, digest(self.canonical_arguments, key)
        return derived.digest[1]

    def account(self, by: object, tell: Callable[["Call"], Mapping[str, object]]) -> Mapping[str, object]:
        """What `tell` says of the parameters and of whose call it is; asked once for all events of a call.

        Args:
            by: Whose account it is; for another, `tell` is asked again.
            tell: Gives the account. Not to be changed by anybody.
        """
        derived = self._derive()
        known = derived.account
        if known is None or known[0] is not by or known[1] is not self.principal:
            known = derived.account = by, self.principal, tell(self)
        return known[2]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of server, method, target and canonical arguments; for comparing, not for records."""
        derived = self._derive()
        if derived.fingerprint is None:
            head = canonical([self.server, self.method, self.target])
            derived.fingerprint = hashlib.sha256(head + self.canonical_arguments).hexdigest()
        return derived.fingerprint

    @property
    def texts(self) -> tuple[str, ...]:
        """Every string in the parameters but `_meta`, in document order."""
        derived = self._derive()
        if derived.texts is None:
            body = {name: value for name, value in self.params.items() if name != "_meta"}
            derived.texts = tuple(_strings_in(body))
        return derived.texts

    def replace(self, **changes: Unpack[_Changes]) -> "Call":
        """A copy with other parameters or questions. Everything else of a call is the guard's."""
        return self._with(changes)

    def with_tool(self, facts: ToolFacts | None) -> "Call":
        """A copy that carries the tool's definition."""
        return self._with({"tool": facts})

    def nested(self) -> "Call":
        """A copy that a guard further out has under way."""
        return self._with({"is_nested": True})

    def with_timeout(self, timeout: float) -> "Call":
        """A copy that says how long its caller waits for the answer."""
        return self._with({"timeout": timeout})

    def with_timer(self, timer: Timer) -> "Call":
        """A copy whose timer tells what the layer that `times` it knows."""
        return self._with({"timer": timer})

    def as_explained(self) -> "Call":
        """A copy for checks that are only to say what they would."""
        return self._with({"explained": True})

    def made_by(self, principal: Principal | None) -> "Call":
        """A copy made on another's behalf."""
        return self._with({"principal": principal})

    @property
    def carried(self) -> JSONObject:
        """Members that seams put into `_meta` beside what the parameters have; one that is None is taken out.

        The parameters stay the object they were: a request that carries something has not been rewritten.
        """
        carried: JSONObject = self.__dict__.get(_CARRIED, EMPTY)
        return carried

    def carrying(self, members: JSONObject) -> "Call":
        """A copy with further members to put into `_meta`."""
        return self._with({_CARRIED: {**self.carried, **members}})

    def sent(self, params: JSONObject) -> JSONObject:
        """`params` with what the call carries: what goes on the wire."""
        carried = self.carried
        if not carried:
            return params
        meta = {**_mapping(params.get("_meta")), **carried}
        meta = {name: value for name, value in meta.items() if value is not None or name not in carried}
        rest = {name: value for name, value in params.items() if name != "_meta"}
        return {**rest, "_meta": meta} if meta else rest

    def telling(self, told: _Told) -> "Call":
        """A copy that tells, beside whomever this one tells, when a request goes out for it."""
        others: tuple[_Told, ...] = self.__dict__.get(_TOLD, ())
        return self._with({_TOLD: (*others, told)})

    def goes_out(self, request_id: str | int | None, line: Line) -> None:
        """A request goes out for it now: seams say so, each in its place."""
        told: tuple[_Told, ...] = self.__dict__.get(_TOLD, ())
        for tell in told:
            tell(request_id, line)

    def shadow(self) -> "Call":
        """A copy for an auditing interceptor: it says it is not enforced, and shares no JSON value."""
        changes: dict[str, object] = {"params": _mapping(mutable_copy(self.params)), "enforced": False}
        if self.tool is not None:
            changes["tool"] = ToolFacts(self.tool.name, _mapping(mutable_copy(self.tool.definition)))
        if self.principal is not None:
            changes["principal"] = self.principal.copy()
        copy = self._with(changes)
        del copy.__dict__[_ORIGIN]
        return copy

    def denied(
        self,
        *,
        code: str,
        reason: str,
        message: str | None = None,
        retry_after: float | None = None,
    ) -> Result:
        """The result with which a layer refuses this call.

        Args:
            code: Stable snake_case code.
            reason: For the operator; no argument or result value.
            message: For the model; None gives a general sentence.
            retry_after: Seconds until trying again makes sense.
        """
        return Result.denied(refusal(code=code, reason=reason, message=message, retry_after=retry_after))

    def _with(self, changes: Mapping[str, object]) -> "Call":
        members = {**self.__dict__, **changes}
        members.setdefault(_ORIGIN, self)
        if "params" in changes:
            members.pop(_DERIVED, None)
        copy = _new(Call)
        _fill(copy, members)
        return copy

    def _derive(self) -> _Derived:
        derived: _Derived | None = self.__dict__.get(_DERIVED)
        if derived is None:
            derived = self.__dict__[_DERIVED] = _Derived()
        return derived


_new: Final = object.__new__
_fill: Final = Call.__dict__["__dict__"].__set__
"""Fills a call in one step: its class refuses to be set member by member, and going round that is slow."""


def refusal(
    *,
    code: str,
    reason: str,
    message: str | None = None,
    retry_after: float | None = None,
    source: str | None = None,
) -> Denial:
    """A denial, with the general sentence for the model where the rule gave none."""
    if message is None:
        again = "Do not repeat it." if retry_after is None else f"Try again in {retry_after:.0f} seconds."
        message = f"This call was refused by the operator's policy. {again}"
    return Denial(code=code, reason=reason, message=message, retry_after=retry_after, source=source)


def _mapping(value: object) -> JSONObject:
    is_mapping = type(value) is dict or isinstance(value, Mapping)
    return cast("JSONObject", value) if is_mapping else EMPTY
