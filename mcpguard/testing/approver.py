"""Answers, from a script, to the questions that checks ask. Nobody is asked, nothing is remembered."""

from collections import deque
from dataclasses import dataclass, field
from typing import Protocol, Self, Unpack

from mcpguard.core.call import Call
from mcpguard.core.interceptor import CallNext, Common, Interceptor, Place
from mcpguard.core.result import Result
from mcpguard.core.verdict import Ask
from mcpguard.core.wire import JSONObject, mutable_copy

__all__ = ["Asked", "ScriptedApprover"]


class Waitable(Protocol):
    """What an answer may wait for: a `Gate`, an `anyio.Event`."""

    async def wait(self) -> object:
        """Return once the answer may be given."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """What the approver was asked about one call.

    Args:
        call: The call as it came to the approver.
        questions: What the checks further out had asked, in order.
    """

    call: Call
    questions: tuple[Ask, ...]

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of the questions."""
        return tuple(question.code for question in self.questions)


@dataclass(frozen=True, slots=True)
class _Answer:
    """One answer of the script."""

    is_yes: bool
    reason: str = ""
    arguments: JSONObject | None = field(default=None, repr=False)
    gates: tuple[Waitable, ...] = ()


class ScriptedApprover(Interceptor):
    """Answer the questions of each call with the next answer of a script; the last answer repeats.

    `ScriptedApprover().denies("not today").approves()` refuses the first call that asks and lets every later
    one go on. One answer settles all questions of a call. Without an answer every question is refused. Calls
    that nobody asks about pass, and take no answer.

    Args:
        common: `id`, `mode` and `fail_open`, as for every interceptor.
    """

    handles = frozenset({("*", "outbound"), ("*", "inbound")})
    place = Place.APPROVAL
    resolves_asks = True
    waits = True

    def __init__(self, **common: Unpack[Common]) -> None:
        super().__init__(**common)
        self.asked: list[Asked] = []
        """What was asked so far, a call each."""
        self._script: deque[_Answer] = deque()
        self._gates: tuple[Waitable, ...] = ()

    def approves(self) -> Self:
        """Answer yes."""
        return self._answer(is_yes=True)

    def edits(self, arguments: JSONObject) -> Self:
        """Answer yes, with other arguments: the checks further out judge the call again."""
        return self._answer(is_yes=True, arguments=arguments)

    def denies(self, reason: str = "the script says no") -> Self:
        """Answer no. `reason` is for the operator's record."""
        return self._answer(is_yes=False, reason=reason)

    def waits_for(self, gate: Waitable) -> Self:
        """Let the answer that follows wait until the test opens a `Gate`, or sets an `anyio.Event`."""
        self._gates = (*self._gates, gate)
        return self

    @property
    def codes(self) -> list[tuple[str, ...]]:
        """The codes of what was asked, a call each."""
        return [asked.codes for asked in self.asked]

    async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
        """Settle the call's questions, or let it pass if it has none."""
        if not call.asks:
            return await call_next(call)
        self.asked.append(Asked(call, call.asks))
        answer = self._next_answer()
        if call.enforced:
            for gate in answer.gates:
                await gate.wait()
        if not answer.is_yes:
            return call.denied(
                code="approval_denied",
                reason=answer.reason,
                message="A person was asked about this call and refused it. Do not repeat it.",
            )
        approved = (*call.approved, *call.asks)
        if answer.arguments is None:
            return await call_next(call.replace(asks=(), approved=approved))
        edited: JSONObject = {**call.params, "arguments": mutable_copy(answer.arguments)}
        return await call_next(call.replace(params=edited, asks=(), approved=approved))

    def _answer(self, *, is_yes: bool, reason: str = "", arguments: JSONObject | None = None) -> Self:
        self._script.append(_Answer(is_yes, reason, arguments, self._gates))
        self._gates = ()
        return self

    def _next_answer(self) -> _Answer:
        if not self._script:
            return _Answer(is_yes=False, reason="the script has no answer")
        return self._script.popleft() if len(self._script) > 1 else self._script[0]
