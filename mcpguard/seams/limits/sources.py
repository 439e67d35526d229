"""Which transport stands behind what a user hands over, and the same one within limits.

The SDK's transports are context managers that have not been entered: what they were made with is known, so
they can be made again with limits inside. Any other transport is left as it is, and watched from outside.

Above: the seams. Below: `limited`, `stdio` and `http`.
"""

import os
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache, partial
from importlib import import_module
from inspect import signature
from typing import Any, TypeAlias

import anyio.to_thread

from mcpguard.core.connection_limits import ConnectionLimits
from mcpguard.core.line import Line
from mcpguard.seams.limits.http import limited_client
from mcpguard.seams.limits.limited import LimitedTransport
from mcpguard.seams.limits.stdio import limited_stdio
from mcpguard.seams.limits.watch import Tally, Watch
from mcpguard.seams.lines import sdk_transports

__all__ = ["limited"]

_Made: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]
_Maker: TypeAlias = Callable[[Any, _Made, Watch], Any]


def limited(transport: Any, limits: ConnectionLimits, tally: Tally, line: Line) -> LimitedTransport:
    """`transport` within limits; one of the SDK's own is made again, so that what it reads is bounded too."""
    made = _makers().get(getattr(transport, "func", None))
    if made is None:
        return LimitedTransport(lambda _watch: transport, limits, tally, line=line)
    again = partial(made, transport.func, (transport.args, transport.kwds))
    return LimitedTransport(again, limits, tally, line=line, is_parsed_here=True, can_return=True)


@cache
def _makers() -> dict[object, _Maker]:
    """How to make each of the SDK's transports within limits, by the generator function behind it."""
    by_kind: dict[str, _Maker] = {
        "streamable": _streamable,
        "sse": partial(_by_factory, answers_elsewhere=True),
        "old": _by_factory,
    }
    if os.name == "posix":
        by_kind["stdio"] = _stdio
    return {function: by_kind[kind] for function, kind in sdk_transports().items() if kind in by_kind}


def _stdio(_function: Any, made: _Made, watch: Watch) -> Any:
    args, named = made
    return limited_stdio(*args, **named, watch=watch)


@asynccontextmanager
async def _streamable(function: Any, made: _Made, watch: Watch) -> AsyncGenerator[Any]:
    bound = signature(function).bind(*made[0], **made[1])
    async with AsyncExitStack() as stack:
        client = bound.arguments.get("http_client")
        if client is None:
            create = import_module("mcp.shared._httpx_utils").create_mcp_http_client  # reads certificates
            client = await stack.enter_async_context(await anyio.to_thread.run_sync(create))
        bound.arguments["http_client"] = limited_client(client, watch)
        if "max_sse_event_size" in signature(function).parameters:
            bound.arguments.setdefault("max_sse_event_size", None)  # events are bounded before
        yield await stack.enter_async_context(asynccontextmanager(function)(*bound.args, **bound.kwargs))


@asynccontextmanager
async def _by_factory(
    function: Any, made: _Made, watch: Watch, *, answers_elsewhere: bool = False
) -> AsyncGenerator[Any]:
    bound = signature(function).bind(*made[0], **made[1])
    bound.apply_defaults()
    factory = bound.arguments["httpx_client_factory"]

    def create(*args: Any, **named: Any) -> Any:
        return limited_client(factory(*args, **named), watch, answers_elsewhere=answers_elsewhere)

    bound.arguments["httpx_client_factory"] = create
    async with asynccontextmanager(function)(*bound.args, **bound.kwargs) as streams:
        yield streams
