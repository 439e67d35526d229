"""The transport seam: guarded streams for hosts that build the session themselves, on both majors of the SDK.

It takes any context manager that yields a read and a write stream, and yields the like. There is no caller
here to raise in: a denial is an answer on the stream, and with `on_deny="raise"` a denied tool call is a
JSON-RPC error. Not here: in-process servers, which have no streams.

Above: `guard.transport()`. Below: `relay`, what passes between the streams.
"""

from collections.abc import Callable
from contextvars import Context
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.abc

from mcpguard.core.errors import SeamError
from mcpguard.seams.callers import Binding
from mcpguard.seams.limits.hits import Hits
from mcpguard.seams.limits.sources import limited
from mcpguard.seams.lines import line_of
from mcpguard.seams.streams.relay import Relay

__all__ = ["GuardedTransport", "guarded_transport"]


def guarded_transport(transport: Any, binding: Binding) -> "GuardedTransport":
    """Put a guard around a transport.

    Raises:
        SeamError: If it is none; the message names what guards it.
    """
    from mcp import ClientSession

    seen = type(transport).__name__
    if isinstance(transport, ClientSession):
        raise SeamError(f"guard.transport() takes transports; for a {seen} there is guard.session()")
    if hasattr(transport, "connect_session"):
        raise SeamError(f"{seen} is FastMCP's: guard.fastmcp_transport() takes it")
    if not hasattr(transport, "__aenter__"):
        raise SeamError(
            "guard.transport() takes an async context manager that yields streams, as stdio_client() does, "
            f"not {seen}; a URL or an in-process server is for guard.client()"
        )
    binding = replace(binding, line=line_of(transport))
    if binding.limits is not None:
        tally = Hits(binding.handle, binding.name)
        transport = limited(transport, binding.limits, tally, binding.line)
    return GuardedTransport(transport, binding)


class GuardedTransport:
    """A transport whose streams are guarded; entering it enters the transport.

    Args:
        transport: An async context manager that yields a read and a write stream, and maybe more.
        binding: What the user said when wrapping.
    """

    def __init__(self, transport: Any, binding: Binding) -> None:
        self._transport = transport
        self._binding = binding
        self._entered: tuple[Relay, anyio.abc.TaskGroup] | None = None

    async def __aenter__(self) -> tuple[Any, ...]:
        """What the transport yields, with its two streams guarded."""
        if self._entered is not None:
            raise RuntimeError("this transport is in use; every session needs one of its own")
        streams = await self._transport.__aenter__()
        if not _are_streams(streams):
            seen = type(streams).__name__
            error = SeamError(f"a transport yields a read and a write stream; this one yields {seen}")
            await self._transport.__aexit__(SeamError, error, None)
            raise error
        read, write, *more = streams
        tasks = anyio.create_task_group()
        await tasks.__aenter__()
        relay = Relay(read, write, tasks, self._binding)
        self._entered = relay, tasks
        tasks.start_soon(relay.run)
        return (
            _ReadStream(_End(relay, read, relay.close)),
            _WriteStream(_End(relay, write, _nothing)),
            *more,
        )

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Cancel what is under way, and leave the transport."""
        if self._entered is None:
            raise RuntimeError("this transport was never entered")
        relay, tasks = self._entered
        self._entered = None
        relay.close()
        tasks.cancel_scope.cancel()
        try:
            if isinstance(error, anyio.get_cancelled_exc_class()):
                await tasks.__aexit__(kind, error, trace)
            else:  # the group is not told of the host's own error, which it would wrap
                await tasks.__aexit__(None, None, None)
        except BaseException as raised:
            await self._transport.__aexit__(type(raised), raised, raised.__traceback__)
            raise
        left: bool | None = await self._transport.__aexit__(kind, error, trace)
        return left


class _End:
    """What the clones of one guarded stream share."""

    def __init__(self, relay: Relay, stream: Any, leave: Callable[[], None]) -> None:
        self.relay = relay
        self.stream = stream
        self.leave = leave
        self.open = 0


class _Stream:
    """A guarded stream, or a clone of one; the transport's stream is closed with the last."""

    def __init__(self, end: _End) -> None:
        self._end = end
        self._is_closed = False
        end.open += 1

    def clone(self) -> Self:
        """Another handle on the same stream."""
        self._check_open()
        return type(self)(self._end)

    def close(self) -> None:
        """Let go of the stream."""
        if self._is_last_to_leave():
            self._end.stream.close()

    async def aclose(self) -> None:
        """Let go of the stream."""
        if self._is_last_to_leave():
            await self._end.stream.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_raised: object) -> None:
        await self.aclose()

    def _is_last_to_leave(self) -> bool:
        if self._is_closed:
            return False
        self._is_closed = True
        self._end.open -= 1
        if self._end.open:
            return False
        self._end.leave()
        return True

    def _check_open(self) -> None:
        if self._is_closed:
            raise anyio.ClosedResourceError


class _ReadStream(_Stream):
    """What the client reads in place of the transport's stream."""

    last_context: Context | None = None
    """The context of whoever sent the last message, where the transport tells (SDK 2.x)."""

    async def receive(self) -> Any:
        """The next message.

        Raises:
            EndOfStream: If the server has ended the stream.
            ClosedResourceError: If this end is closed.
        """
        self._check_open()
        item, self.last_context = await self._end.relay.inbox.get()
        return item

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None


class _WriteStream(_Stream):
    """What the client writes to in place of the transport's stream."""

    async def send(self, item: Any) -> None:
        """Send a message; a request that meets a chain is sent, or not, after this has returned.

        Raises:
            ClosedResourceError: If this end is closed.
            BrokenResourceError: If the transport's is.
        """
        self._check_open()
        await self._end.relay.send(item)


def _are_streams(yielded: object) -> bool:
    return (
        isinstance(yielded, tuple | list)
        and len(yielded) >= 2
        and hasattr(yielded[0], "receive")
        and hasattr(yielded[1], "send")
    )


def _nothing() -> None:
    pass
