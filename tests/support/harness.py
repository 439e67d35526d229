"""One way to open a guarded connection through any seam, and interceptors that tests are made of."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.metadata import version
from typing import Any

import mcp.types as types
from mcp import ClientSession
from pydantic import AnyUrl

from mcpguard import ALLOW, Call, Deny, Guard, Interceptor, Result, Run
from mcpguard.core.interceptor import CallNext, Handles
from mcpguard.core.verdict import Verdict
from mcpguard.testing.fake_server import FakeServer

V1 = version("mcp").startswith("1.")
MCPError: Any = getattr(import_module("mcp.shared.exceptions"), "McpError" if V1 else "MCPError")

LEGACY_SEAMS = ["session", "entered", "transport"] + ([] if V1 else ["client"])
MODERN_SEAMS = [] if V1 else ["client", "transport"]

ALL: Handles = {
    ("*", "outbound"),
    ("*", "inbound"),
    ("notifications/*", "outbound"),
    ("notifications/*", "inbound"),
}


class Checking(Interceptor):
    """A check made of a function."""

    def __init__(self, check: Callable[[Call], Verdict], handles: Handles = ALL, **common: Any) -> None:
        super().__init__(**common)
        self.handles = handles
        self._check = check
        self.seen: list[Call] = []

    def check(self, call: Call) -> Verdict:
        self.seen.append(call)
        return self._check(call)

    def methods(self) -> list[str]:
        """The methods seen so far, in order."""
        return [call.method for call in self.seen]


class Filtering(Interceptor):
    """A filter made of a function."""

    def __init__(self, look: Callable[[Call, Result], Result], handles: Handles = ALL, **common: Any) -> None:
        super().__init__(**common)
        self.handles = {pair for pair in handles if not pair[0].startswith("notifications")}
        self._look = look

    def filter(self, call: Call, result: Result) -> Result:
        return self._look(call, result)


class Around(Interceptor):
    """A layer made of a function."""

    def __init__(
        self,
        layer: Callable[[Call, CallNext], Awaitable[Result]],
        handles: Handles = frozenset({("tools/call", "outbound")}),
        **common: Any,
    ) -> None:
        super().__init__(**common)
        self.handles = handles
        self._layer = layer
        self.results: list[Result] = []

    async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
        result = await self._layer(call, call_next)
        self.results.append(result)
        return result


def watching(handles: Handles = ALL) -> Checking:
    """An interceptor that allows everything and remembers it."""
    return Checking(lambda call: ALLOW, handles)


def denying(*targets: str, methods: Collection[str] = (), direction: str | None = None) -> Checking:
    """An interceptor that denies by target or method."""

    def check(call: Call) -> Verdict:
        hit = call.target in targets or call.method in methods
        if hit and direction in (None, call.direction):
            return Deny("not_here", reason="the test says so", message="Not here.")
        return ALLOW

    return Checking(check)


class Peer:
    """A connected client of either major; answers are wire-shaped."""

    def __init__(self, session: ClientSession, client: Any = None) -> None:
        self.session = session
        self.client = client

    async def call(
        self, name: str, arguments: dict[str, Any] | None = None, **options: Any
    ) -> dict[str, Any]:
        """Call a tool."""
        caller = self.client or self.session
        return wire(await caller.call_tool(name, arguments, **options))

    async def tools(self) -> list[str]:
        """The names in the tool list."""
        listed = await (self.client or self.session).list_tools()
        return [tool.name for tool in listed.tools]

    async def prompt(self, name: str) -> dict[str, Any]:
        """Get a prompt."""
        return wire(await (self.client or self.session).get_prompt(name))

    async def read(self, uri: str) -> dict[str, Any]:
        """Read a resource."""
        where: Any = AnyUrl(uri) if V1 else uri
        return wire(await (self.client or self.session).read_resource(where))


@asynccontextmanager
async def opened(
    guard: Guard,
    server: FakeServer,
    seam: str,
    *,
    name: str = "files",
    run: Run | None = None,
    shared: bool | None = None,
    modern: bool = False,
    **callbacks: Any,
) -> AsyncIterator[Peer]:
    """Connect to `server` through a seam of `guard`."""
    options = {"name": name, "run": run, "shared": shared}
    if seam == "client":
        mode = {} if modern else {"mode": "legacy"}
        async with guard.client(server.transport(), **options, **mode, **callbacks) as client:
            yield Peer(client.session, client)
    elif seam == "transport" and modern:
        transport = guard.transport(server.transport(), **options)
        async with import_module("mcp").Client(transport, cache=None, **callbacks) as client:
            yield Peer(client.session, client)
    elif seam == "transport":
        async with (
            guard.transport(server.connect(), **options) as (read, write),
            ClientSession(read, write, **callbacks) as session,
        ):
            await session.initialize()
            yield Peer(session)
    else:
        async with server.connect() as (read, write):
            bare = ClientSession(read, write, **callbacks)
            if seam == "session":
                guard.session(bare, **options)
            async with bare as session:
                if seam == "entered":
                    guard.session(session, **options)
                await session.initialize()
                yield Peer(session)


def wire(model: Any) -> dict[str, Any]:
    """A model of either major as it is on the wire."""
    dumped: dict[str, Any] = model.model_dump(by_alias=True, mode="json", exclude_none=True)
    return dumped


def text(result: dict[str, Any]) -> str:
    """The text of a tool's result."""
    said: str = result["content"][0]["text"]
    return said


def code(result: dict[str, Any]) -> str | None:
    """The code of a refused tool call; None for any other result."""
    denial = result.get("_meta", {}).get("mcpguard/denial")
    return None if denial is None else denial["code"]


async def accept(context: Any, params: Any) -> Any:
    """Elicitation: accept, and repeat the question."""
    return types.ElicitResult(action="accept", content={"said": params.message})


async def complete(context: Any, params: Any) -> Any:
    """Sampling: one fixed answer."""
    said = types.TextContent(type="text", text="Four.")
    return types.CreateMessageResult(role="assistant", content=said, model="m")


async def roots(context: Any) -> Any:
    """Roots: one."""
    return types.ListRootsResult(roots=[types.Root(uri="file:///home")])  # type: ignore[arg-type]
