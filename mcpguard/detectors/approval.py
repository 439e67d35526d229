"""What a person is asked about a call, what they may answer, and what the answer is bound to.

Pure: nobody is asked here. Everything that is shown is plain ASCII: what is not is escaped, so that neither
control characters nor look-alikes nor reversed text can show a person another call than the one that is made.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Final, Literal, TypeAlias

from mcpguard.core.call import Call
from mcpguard.core.principal import Principal
from mcpguard.core.verdict import Ask
from mcpguard.core.wire import JSON, JSONObject, canonical, mutable_copy
from mcpguard.detectors.accepted import Accepted
from mcpguard.detectors.selector import Selector

__all__ = ["Answer", "ApprovalRequest", "Approved", "Declined", "binding_of", "shown", "shown_arguments"]

MAX_SHOWN: Final = 65_536
"""Characters of arguments that a person can be asked to judge."""

MAX_NAME: Final = 256
"""Characters of a name that are shown; a call of something with a longer one is not asked about."""


@dataclass(frozen=True, slots=True)
class Approved:
    """A person said yes.

    Args:
        by: Who, for the record.
        arguments: Arguments to go on with instead; every rule judges them. None: as they are.
        remember: For what this answers further calls as well: nothing, the run, or the principal.
        pattern: Which further calls, by argument as in `ArgumentRules`; arguments that it does not name are
            those of this call. None: only the same one.
    """

    _: KW_ONLY
    by: str = "approver"
    arguments: JSONObject | None = field(default=None, repr=False)
    remember: Literal["once", "run", "principal"] = "once"
    pattern: Mapping[str, Accepted] | None = None

    def __post_init__(self) -> None:
        if self.remember not in ("once", "run", "principal"):
            raise ValueError(f"remember is 'once', 'run' or 'principal', not {self.remember!r}")
        if self.arguments is not None and not isinstance(self.arguments, Mapping):
            raise TypeError("edited arguments are an object")
        if self.arguments is not None and self.remember != "once":
            raise ValueError("an answer that edits the arguments is not remembered")
        for name in self.pattern or ():
            Selector(name)


@dataclass(frozen=True, slots=True)
class Declined:
    """A person said no.

    Args:
        by: Who, for the record.
        reason: For the model; at most 500 characters of it are told.
    """

    _: KW_ONLY
    by: str = "approver"
    reason: str = ""


Answer: TypeAlias = Approved | Declined


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequest:
    """What a person is asked.

    Args:
        id: Tells requests apart; what a person names when they answer elsewhere.
        digest: What the answer is bound to: caller, server, tool definition, arguments, policy and questions.
        principal: On whose behalf the call is made.
        run: The run's id.
        server: Where it goes.
        method: The protocol's method.
        target: The tool or prompt, or the resource's URI.
        questions: Which rules ask, and why.
        arguments: One line per value, escaped, in canonical order.
        expires: When silence becomes a refusal, in seconds since the epoch.
    """

    id: str
    digest: str
    principal: Principal | None
    run: str | None
    server: str
    method: str
    target: str | None
    questions: tuple[Ask, ...]
    arguments: tuple[str, ...] = field(repr=False)
    expires: float

    def lines(self) -> Iterator[str]:
        """The request as people read it."""
        who = self.principal
        yield f"{shown(self.server)}: {self.method} {shown(self.target or '')}"
        if who is not None:
            named = (("tenant", who.tenant), ("user", who.user), ("agent", who.agent))
            said = ", ".join(f"{name} {shown(value)}" for name, value in named if value is not None)
            yield f"  for {said or 'somebody without a name'}"
        for question in self.questions:
            yield f"  asked by {question.source}: {shown(question.reason)}"
        yield from (f"  {line}" for line in self.arguments)


def shown(text: str) -> str:
    """A name as a quoted piece of ASCII, of bounded length."""
    return json.dumps(text if len(text) <= MAX_NAME else text[:MAX_NAME] + "...")


def shown_arguments(call: Call) -> tuple[str, ...] | None:
    """One line for each value of a call's arguments, and where it came from; None if it is too long to read.

    A text that the run's user has given says so. Others have an unknown origin, which is not said.
    """
    if len(call.target or "") > MAX_NAME:
        return None
    run = call.run
    subject = call.arguments if call.method != "resources/read" else call.params
    found: list[str] = []
    length = 0
    for path, value in _leaves("", subject):
        line = f"{path} = {json.dumps(value)}"
        if run is not None and isinstance(value, str) and run.said(value):
            line += "  (given by the user)"
        length += len(line)
        if length > MAX_SHOWN:
            return None
        found.append(line)
    return tuple(found)


def binding_of(call: Call, policy: str) -> str:
    """The digest that an answer is bound to.

    Args:
        call: Its questions included.
        policy: What decides which calls are asked about, in any form that changes with it.
    """
    who = call.principal
    caller: JSON = None if who is None else [who.tenant, who.user, who.agent, *sorted(who.roles)]
    questions: JSON = [[one.source, one.code, one.reason] for one in call.asks]
    tool = None if call.tool is None else hashlib.sha256(canonical(call.tool.definition)).hexdigest()
    arguments = hashlib.sha256(call.canonical_arguments).hexdigest()
    bound: Sequence[JSON] = [
        caller,
        call.server,
        call.method,
        call.target,
        tool,
        arguments,
        policy,
        questions,
    ]
    return hashlib.sha256(canonical(bound)).hexdigest()


def _leaves(path: str, value: JSON) -> Iterator[tuple[str, JSON]]:
    """Every value that holds no other, by its path, in canonical order and without recursion."""
    ahead: list[tuple[str, JSON]] = [(path, value)]
    while ahead:
        here, one = ahead.pop()
        if isinstance(one, Mapping) and one:
            below = [(f"{here}.{_key(name)}" if here else _key(name), one[name]) for name in sorted(one)]
            ahead.extend(reversed(below))
        elif isinstance(one, Sequence) and not isinstance(one, str) and one:
            ahead.extend((f"{here}[{n}]", one[n]) for n in reversed(range(len(one))))
        else:
            yield here or "arguments", mutable_copy(one)


def _key(name: str) -> str:
    return name if name.isascii() and name.isidentifier() else json.dumps(name)
