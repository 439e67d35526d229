"""A guarded session on whatever a server is reached by, opened as often as it is needed.

A hub starts a server again when it died, so it is given what connections are made from, and not a connection.
On SDK 2.x it is a `mcp.Client`, so that servers of either era are spoken to in theirs.

Above: `guard.hub()`. Below: the session seam, and `sources`, the same transports within limits.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from contextvars import Context
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, TypeAlias

import anyio
from mcp import ClientSession

from mcpguard.core.causes import cause, noted
from mcpguard.core.errors import SeamError
from mcpguard.core.servers import ServerOptions
from mcpguard.seams.callers import Binding
from mcpguard.seams.limits.hits import Hits
from mcpguard.seams.limits.sources import limited
from mcpguard.seams.lines import line_of
from mcpguard.seams.session import guard_session, guarded_client, sdk_major

__all__ = ["Opening", "reached"]

Callbacks: TypeAlias = Mapping[str, Any]
_Make: TypeAlias = Callable[[AsyncExitStack], Awaitable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """How the guarded session of one server is opened; called, it opens one.

    Args:
        source: `StdioServerParameters`; the URL of a Streamable HTTP server; a server in this process; a
            transport of the SDK's, not entered yet; anything whose `connect()` gives a transport, as
            `FakeServer` has; or a function that makes one.
        binding: Name, guard and who may use it.
        environment: Variables for a process, beside those of the parameters.
        auth: Authenticates requests to a URL.
        headers: For every request to a URL.

    Raises:
        SeamError: If it is nothing of this kind.
    """

    source: Any
    binding: Binding
    environment: Callable[[], Awaitable[Mapping[str, str]]]
    auth: Any = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)

    def __post_init__(self) -> None:
        if not _is_server(self.source):
            self._maker()

    def __call__(self, callbacks: Callbacks) -> AbstractAsyncContextManager[Any]:
        """Open a session that has the given callbacks of the SDK's."""
        return self._opened(callbacks)

    @asynccontextmanager
    async def _opened(self, callbacks: Callbacks) -> AsyncGenerator[Any]:
        async with AsyncExitStack() as stack:
            if _is_server(self.source):
                async with _in_process(self.source, self.binding, callbacks) as session:
                    yield session
                return
            transport = await self._maker()(stack)
            limits = self.binding.limits
            binding = replace(self.binding, line=line_of(transport))
            if limits is not None:
                tally = Hits(binding.handle, binding.name)
                transport = limited(transport, limits, tally, binding.line)
                binding = replace(binding, limits=None)
            watched = _watched(transport, callbacks["message_handler"])
            async with _session(watched, binding, callbacks) as session:
                yield session

    def _maker(self) -> _Make:
        source: Any = self.source
        if isinstance(source, str):
            return self._http
        if hasattr(source, "command"):
            return self._process
        for name in ("connect", "_recreate_cm"):
            again = getattr(source, name, None)
            if callable(again):
                return _made(again)
        if callable(source):
            return _made(source)
        hint = "; give a function that makes one" if hasattr(source, "__aenter__") else ""
        raise SeamError(f"{self.binding.name}: a {type(source).__name__} is no server to connect to{hint}")

    async def _process(self, _stack: AsyncExitStack) -> Any:
        stdio: Any = import_module("mcp.client.stdio")
        variables = await self.environment()
        given = self.source
        if variables:
            given = given.model_copy(update={"env": {**(given.env or {}), **variables}})
        return stdio.stdio_client(given)

    async def _http(self, stack: AsyncExitStack) -> Any:
        http: Any = import_module("mcp.client.streamable_http")
        utils: Any = import_module("mcp.shared._httpx_utils")
        made = utils.create_mcp_http_client(headers=dict(self.headers) or None, auth=self.auth)
        client = await stack.enter_async_context(made)
        stack.push(_told_by(client))
        return http.streamable_http_client(self.source, http_client=client)


def _told_by(client: Any) -> Callable[..., None]:
    """What says on an error that ends a session why the last message was not taken: the SDK does not."""
    send = client.send
    why: list[str] = []

    async def sent(request: Any, **options: Any) -> Any:
        try:
            response = await send(request, **options)
        except Exception as error:
            why[:] = [cause(error)]
            raise
        if request.method == "POST":
            why[:] = [f"HTTP status {response.status_code}"] if response.status_code >= 400 else []
        return response

    def told(_kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, Exception) and why:
            noted(error, why[0])

    client.send = sent
    return told


def reached(given: Any, name: str) -> tuple[Any, Mapping[str, str]]:
    """What a server is reached by, and the headers for it, where a policy says that.

    Raises:
        SeamError: If the policy does not.
    """
    if not isinstance(given, ServerOptions):
        return given, {}
    if given.url is not None:
        return given.url, given.headers
    if given.command is None:
        raise SeamError(f"{name}: the policy does not say how it is reached: command or url")
    stdio: Any = import_module("mcp.client.stdio")
    env = dict(given.env) or None
    return stdio.StdioServerParameters(command=given.command, args=list(given.args), env=env), {}


@asynccontextmanager
async def _session(transport: Any, binding: Binding, callbacks: Callbacks) -> AsyncGenerator[Any]:
    if sdk_major() > 1:
        async with guarded_client(transport, binding, dict(callbacks)) as client:
            yield client
        return
    async with transport as (read, write):
        session = ClientSession(read, write, **callbacks)
        guard_session(session, binding)
        async with session:
            await session.initialize()
            yield session


@asynccontextmanager
async def _in_process(server: Any, binding: Binding, callbacks: Callbacks) -> AsyncGenerator[Any]:
    """A session with a server object of the SDK's; on 1.x it has streams, on 2.x it has none."""
    if sdk_major() > 1:
        async with guarded_client(server, binding, dict(callbacks)) as client:
            yield client
        return
    memory: Any = import_module("mcp.shared.memory")
    inner: Any = getattr(server, "_mcp_server", server)
    async with (
        memory.create_client_server_memory_streams() as (ours, theirs),
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(inner.run, *theirs, inner.create_initialization_options())
        try:
            async with _session(
                _watched(_streams(ours), callbacks["message_handler"]), binding, callbacks
            ) as one:
                yield one
        finally:
            tasks.cancel_scope.cancel()


@asynccontextmanager
async def _streams(pair: Any) -> AsyncGenerator[Any]:
    yield pair


@asynccontextmanager
async def _watched(transport: Any, heard: Callable[[Any], Awaitable[None]]) -> AsyncGenerator[Any]:
    """A transport that tells the message handler when the server has ended its stream."""
    async with transport as (read, write, *_):
        yield _Watched(read, heard), write


class _Watched:
    """A read stream that tells of its end."""

    def __init__(self, stream: Any, heard: Callable[[Any], Awaitable[None]]) -> None:
        self._stream = stream
        self._heard = heard

    @property
    def last_context(self) -> Context | None:
        """The context of whoever sent the last message, where the transport tells (SDK 2.x)."""
        context: Context | None = getattr(self._stream, "last_context", None)
        return context

    async def receive(self) -> Any:
        """The next message."""
        try:
            return await self._stream.receive()
        except anyio.EndOfStream as end:
            await self._heard(end)
            raise

    def __getattr__(self, name: str) -> Any:
        """Everything else is the stream's own."""
        return getattr(self._stream, name)

    def __aiter__(self) -> "_Watched":
        return self

    async def __anext__(self) -> Any:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> "_Watched":
        return self

    async def __aexit__(self, *_raised: object) -> None:
        await self.aclose()


def _is_server(source: Any) -> bool:
    return hasattr(source, "run") and not callable(getattr(source, "connect", None))


def _made(make: Callable[[], Any]) -> _Make:
    async def made(_stack: AsyncExitStack) -> Any:
        return make()

    return made
