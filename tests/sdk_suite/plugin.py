"""Guard every client session the SDK's tests create, and count what went through: a pytest plugin.

`ClientSession.__init__` is the one place that `mcp.Client`, `ClientSessionGroup`, the in-memory helpers
and the tests themselves all pass. It is wrapped in place, so the class keeps its identity, whoever has
imported it already.

What is counted is measured below the guard, not told by it: where the SDK itself sends and receives, a
message has passed the guard if a frame of `mcpguard` lies between that place and the next such place up
the stack. In the modes with interceptors these count as well. A dispatcher that a test brings along is not
watched: its session counts, its messages do not. A session that was entered first is guarded below these
places as well, at its callbacks: what they are shown only the interceptors can tell.

`MODE_VARIABLE` chooses:

- `control`: no guard, only the counting. It shows that counting changes nothing.
- `empty`: a guard with nothing in it.
- `chain`: interceptors that handle everything and change nothing, so that every message takes the full chain.
- `entered`: the same interceptors, put around each session only after it was entered.
"""

import functools
import inspect
import os
import sys
from collections.abc import Callable, Generator
from importlib.metadata import version
from pathlib import Path
from types import CodeType, FrameType
from typing import Any
from weakref import WeakSet

import anyio
import pytest
from mcp import ClientSession

from .records import MODE_VARIABLE, MODES, OUT_VARIABLE, Passage, write_passages

SERVER_NAME = "suite"
"""What every session's server is called: one guard, one name, many sessions and event loops."""


class _Counting:
    """The passage of the test that runs in this process."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._passages: dict[str, Passage] = {}
        self.now = Passage()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self.now = Passage()
        try:
            return (yield)
        finally:
            if self.now != Passage():
                self._passages[item.nodeid] = self.now

    def pytest_sessionfinish(self) -> None:
        worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
        write_passages(self._directory, worker, self._passages)


class _Watch:
    """Notes at the SDK's own functions whether a message came by way of the guard."""

    def __init__(self, counting: _Counting) -> None:
        self._counting = counting
        self._places: set[CodeType] = set()

    def place(self, owner: Any, name: str, describe: Callable[..., str | None], *, within: str = "") -> None:
        """Watch a method of objects or of the class, asynchronous or not.

        Args:
            owner: The class of the SDK.
            name: The method's name.
            describe: Makes a key of the method's arguments, or `None` if they are not a client's.
            within: Name of another place; what is called from there has been counted there.
        """
        defined = inspect.getattr_static(owner, name)
        original = defined.__func__ if isinstance(defined, classmethod) else defined
        self._places.add(original.__code__)

        @functools.wraps(original)
        def watched(me: Any, *args: Any, **kwargs: Any) -> Any:
            if (key := describe(me, *args, **kwargs)) is not None:
                through, place_above = self._provenance(sys._getframe(1))
                if not within or place_above != within:
                    self._counting.now.messages[key] += 1
                    self._counting.now.through[key] += through
            return original(me, *args, **kwargs)

        setattr(owner, name, classmethod(watched) if isinstance(defined, classmethod) else watched)

    def _provenance(self, frame: FrameType | None) -> tuple[bool, str]:
        """Tell whether the guard lies between here and the next place up the stack, and which place that is.

        In-process, one stack holds a call, the server that handles it and what that server asks back.
        """
        through = False
        while frame is not None:
            if frame.f_code in self._places:
                return through, frame.f_code.co_name
            through = through or frame.f_globals.get("__name__", "").partition(".")[0] == "mcpguard"
            frame = frame.f_back
        return through, ""


def _watch_2x(watch: _Watch, dispatchers: "WeakSet[Any]") -> None:
    from mcp.shared.direct_dispatcher import DirectDispatcher
    from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher

    def outbound(dispatcher: object, method: str, *_: object, **__: object) -> str | None:
        return f"outbound {method}" if dispatcher in dispatchers else None

    def inbound(_session: object, _context: object, method: str, *_: object) -> str:
        return f"inbound {method}"

    def event(_session: object, method: str, *_: object) -> str:
        return f"inbound {method}, in the receive path"

    def input_request(_session: object, _context: object, request: Any) -> str:
        return f"inbound {request.method}, as input request"

    for kind in (DirectDispatcher, JSONRPCDispatcher):
        watch.place(kind, "send_raw_request", outbound)
        watch.place(kind, "notify", outbound)
    watch.place(ClientSession, "_on_request", inbound)
    watch.place(ClientSession, "_on_notify", inbound)
    watch.place(ClientSession, "_intercept_notification", event)
    watch.place(ClientSession, "dispatch_input_request", input_request, within="_on_request")


def _watch_1x(watch: _Watch) -> None:
    from mcp.types import ServerNotification

    def outbound(_session: object, message: Any, *_: object, **__: object) -> str:
        return f"outbound {message.root.method}"

    def request(_session: object, responder: Any) -> str:
        return f"inbound {responder.request.root.method}"

    def notification(_type: object, message: Any, *_: object, **__: object) -> str:
        return f"inbound {message['method']}"

    watch.place(ClientSession, "send_request", outbound)
    watch.place(ClientSession, "send_notification", outbound)
    watch.place(ClientSession, "_received_request", request)
    watch.place(ServerNotification, "model_validate", notification)  # the first the session does with one


def _make_guard(mode: str, counting: _Counting) -> Any:
    from mcpguard import ALLOW, Guard, Interceptor

    if mode == "empty":
        return Guard()

    class Everything(Interceptor):
        handles = {
            ("*", "outbound"),
            ("*", "inbound"),
            ("notifications/*", "outbound"),
            ("notifications/*", "inbound"),
            ("initialize", "outbound"),
            ("ping", "outbound"),
            ("ping", "inbound"),
            ("server/discover", "outbound"),
            ("notifications/initialized", "outbound"),
            ("notifications/cancelled", "outbound"),
            ("notifications/cancelled", "inbound"),
        }

        def check(self, call: Any) -> Any:
            counting.now.checked[f"{call.direction} {call.method}"] += 1
            return ALLOW

        def filter(self, call: Any, result: Any) -> Any:
            return result

    class Around(Interceptor):
        handles = {("*", "outbound"), ("*", "inbound")}

        async def __call__(self, call: Any, call_next: Any, /) -> Any:
            counting.now.layered[f"{call.direction} {call.method}"] += 1
            return await call_next(call)

    return Guard([Everything(), Around()])


def _load_seam(guard: Any) -> None:
    """Guard a session that nobody uses.

    The first one loads what the seam consists of from disk, in the host's event loop. The SDK's suite
    forbids that to whatever runs below a function of the SDK, as everything here does.
    """
    send, receive = anyio.create_memory_object_stream[Any](0)
    with send, receive:
        guard.session(ClientSession(receive, send), name=SERVER_NAME)


def _on_new_session(what: Callable[[ClientSession], None]) -> None:
    original = ClientSession.__init__

    @functools.wraps(original)
    def init(session: ClientSession, *args: Any, **kwargs: Any) -> None:
        original(session, *args, **kwargs)
        what(session)

    setattr(ClientSession, "__init__", init)  # noqa: B010 - an assignment mypy forbids


def _on_entered_session(what: Callable[[ClientSession], None]) -> None:
    original = ClientSession.__aenter__

    @functools.wraps(original)
    async def enter(session: ClientSession) -> ClientSession:
        entered = await original(session)
        try:
            what(session)
        except BaseException:
            await session.__aexit__(*sys.exc_info())
            raise
        return entered

    setattr(ClientSession, "__aenter__", enter)  # noqa: B010


def pytest_configure(config: pytest.Config) -> None:
    """Put the guard and the counting in place, in the process that will run tests."""
    mode = os.environ.get(MODE_VARIABLE)
    if mode is None:
        return
    if mode not in MODES:
        raise pytest.UsageError(f"{MODE_VARIABLE} is {mode!r}; it can be one of {', '.join(MODES)}")
    counting = _Counting(Path(os.environ[OUT_VARIABLE]))
    config.pluginmanager.register(counting)
    dispatchers: WeakSet[Any] = WeakSet()
    if int(version("mcp").partition(".")[0]) >= 2:
        _watch_2x(_Watch(counting), dispatchers)
    else:
        _watch_1x(_Watch(counting))

    def count(session: ClientSession) -> None:
        counting.now.sessions += 1
        dispatcher = getattr(session, "_dispatcher", None)
        if dispatcher is not None:
            dispatchers.add(dispatcher)

    _on_new_session(count)
    if mode == "control":
        return
    guard = _make_guard(mode, counting)
    _load_seam(guard)

    def put_guard(session: ClientSession) -> None:
        guard.session(session, name=SERVER_NAME)
        counting.now.guarded += 1

    (_on_entered_session if mode == "entered" else _on_new_session)(put_guard)
