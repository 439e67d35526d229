"""Sessions of SDK 1.x with a fake server, guarded or not, and what hosts and tests put around them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import mcp.types as types
from harness import Checking
from mcp import ClientSession

from mcpguard import ALLOW, Call, CallNext, Deny, Event, Guard, Result, Rewrite
from mcpguard.core.events import Kind
from mcpguard.testing import FakeServer, RecordingSink

Session = TypeVar("Session", bound=ClientSession)


@asynccontextmanager
async def connected(
    guard: Guard | None,
    server: FakeServer,
    *,
    entered: bool = False,
    kind: type[Session] = ClientSession,  # type: ignore[assignment]
    **options: Any,
) -> AsyncIterator[Session]:
    """A session with `server`, guarded before or after it is entered."""
    async with server.connect() as (read, write):
        session = kind(read, write, **options)
        if guard is not None and not entered:
            assert guard.session(session, name="files") is session
        async with session:
            if guard is not None and entered:
                guard.session(session, name="files")
            await session.initialize()
            yield session


class Handler:
    """A message handler that remembers."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    async def __call__(self, message: Any) -> None:
        self.messages.append(message)

    def methods(self) -> list[str]:
        """The methods of the notifications seen so far, in order."""
        return [one.root.method for one in self.messages if isinstance(one, types.ServerNotification)]


def refusing(*methods: str, more: frozenset[tuple[str, Any]] = frozenset()) -> Checking:
    """An interceptor that denies these methods; `more` are lifecycle methods it is to meet as well."""

    def check(call: Call) -> Any:
        return Deny("not_here", reason="the test says so") if call.method in methods else ALLOW

    checking = Checking(check)
    checking.handles = {*checking.handles, *more}
    return checking


def rewriting(method: str, **params: Any) -> Checking:
    """An interceptor that sets members of one method's parameters."""
    return Checking(lambda call: Rewrite({**call.params, **params}) if call.method == method else ALLOW)


async def go_on(call: Call, call_next: CallNext) -> Result:
    """What a layer does that does nothing."""
    return await call_next(call)


def recorded(sink: RecordingSink, kind: Kind, method: str) -> list[Event]:
    """The events of one kind about one method."""
    return [event for event in sink.of(kind) if event.method == method]


async def read_all(session: ClientSession) -> None:
    """Wait until the session has read all that its server had sent before."""
    await session.send_ping()
