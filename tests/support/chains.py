"""Chains without a seam: interceptors made of functions, a wire that answers, and calls to send."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from mcpguard.core.call import Call
from mcpguard.core.chain import Chain
from mcpguard.core.clock import Clock
from mcpguard.core.emitter import Emitter
from mcpguard.core.events import Scrubber, Sink
from mcpguard.core.interceptor import CallNext, Handles, Interceptor
from mcpguard.core.linked import Linked
from mcpguard.core.order import arrange
from mcpguard.core.principal import Principal
from mcpguard.core.result import Fate, Outcome, Result, WireError
from mcpguard.core.run import Run
from mcpguard.core.verdict import ALLOW, Deny, Verdict
from mcpguard.testing import FakeClock

TOOLS: Handles = {("tools/call", "outbound")}
EVERY_REQUEST: Handles = {("*", "outbound"), ("*", "inbound")}
EVERYTHING: Handles = {*EVERY_REQUEST, ("notifications/*", "outbound"), ("notifications/*", "inbound")}

COMMON = ("id", "mode", "fail_open")

ADA = Principal(tenant="acme", user="ada", agent="tester", roles=frozenset({"auditor"}))

OK = Result.of({"content": [{"type": "text", "text": "fine"}]})
FAILED = Result(outcome=Outcome.PROTOCOL_ERROR, fate=Fate.ANSWERED, error=WireError(-32603, "no"))
LOST = Result(outcome=Outcome.TRANSPORT_ERROR, fate=Fate.SENT, cause=ConnectionError("gone"))
UNSENT = Result(outcome=Outcome.TRANSPORT_ERROR, fate=Fate.NOT_SENT, cause=ConnectionError("closed"))


def attributes(one: Interceptor, values: dict[str, Any]) -> dict[str, Any]:
    """Set class attributes of the contract (`can_ask`, `place`, ...) on an instance; the rest is returned."""
    common: dict[str, Any] = {name: values.pop(name) for name in COMMON if name in values}
    for name, value in values.items():
        assert hasattr(type(one), name), name
        setattr(one, name, value)
    return common


class Checking(Interceptor):
    """A check made of a function; remembers what it was asked about."""

    def __init__(self, check: Callable[[Call], Any], handles: Handles = TOOLS, **values: Any) -> None:
        super().__init__(**attributes(self, values))
        self.handles = handles
        self._check = check
        self.seen: list[Call] = []

    def check(self, call: Call) -> Verdict:
        self.seen.append(call)
        verdict: Verdict = self._check(call)
        return verdict


class Filtering(Interceptor):
    """A filter made of a function."""

    def __init__(self, look: Callable[[Call, Result], Any], handles: Handles = TOOLS, **values: Any) -> None:
        super().__init__(**attributes(self, values))
        self.handles = handles
        self._look = look

    def filter(self, call: Call, result: Result) -> Result:
        seen: Result = self._look(call, result)
        return seen


class Around(Interceptor):
    """A layer made of a function; remembers what it returned."""

    def __init__(
        self, layer: Callable[[Call, CallNext], Awaitable[Any]], handles: Handles = TOOLS, **values: Any
    ) -> None:
        super().__init__(**attributes(self, values))
        self.handles = handles
        self._layer = layer
        self.saw: list[Result] = []

    async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
        async def watched(call: Call, /) -> Result:
            result = await call_next(call)
            self.saw.append(result)
            return result

        result: Result = await self._layer(call, watched)
        return result


class Wire:
    """The inner end: remembers what arrives, and gives its answers in turn; the last one repeats."""

    def __init__(self, *answers: Result) -> None:
        self._answers = list(answers) or [OK]
        self.calls: list[Call] = []

    async def __call__(self, call: Call) -> Result:
        self.calls.append(call)
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    @property
    def params(self) -> list[Any]:
        """The parameters that arrived."""
        return [call.params for call in self.calls]


def linked(
    *interceptors: Interceptor,
    sinks: Iterable[Sink] = (),
    scrubber: Scrubber | None = None,
    clock: Clock | None = None,
) -> Linked:
    """The chains of some interceptors."""
    return Linked(arrange(interceptors), Emitter(tuple(sinks), clock=clock or FakeClock(), scrubber=scrubber))


def chain(*interceptors: Interceptor, sinks: Iterable[Sink] = ()) -> Chain:
    """The chain that tool calls meet."""
    return linked(*interceptors, sinks=sinks).chain("tools/call", "outbound")


def tool_call(name: Any = "read", *, run: Run | None = None, **arguments: Any) -> Call:
    """A call of a tool, made by Ada."""
    params = {"name": name, "arguments": arguments}
    return Call(id="call-1", method="tools/call", params=params, server="files", principal=ADA, run=run)


def allowing(**values: Any) -> Checking:
    """Allow everything."""
    return Checking(lambda call: ALLOW, **values)


def denying(*names: str, code: str = "not_here", **values: Any) -> Checking:
    """Deny tools by name; all of them where none is named."""

    def check(call: Call) -> Verdict:
        if names and call.target not in names:
            return ALLOW
        return Deny(code, reason="the test says so", message="Not here.")

    return Checking(check, **values)


def passing(**values: Any) -> Around:
    """Just go on."""
    return Around(lambda call, call_next: call_next(call), **values)


def raising(error: BaseException) -> Callable[..., Any]:
    """A function that raises, whatever it is given."""

    def hook(*_given: object) -> Any:
        raise error

    return hook
