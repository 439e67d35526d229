"""What a `RedisStore` has on one asyncio event loop: connections that are its own, and are closed with it.

This is asyncio's alone, as the client is; where another event loop runs, `redis_server` asks from threads.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

if TYPE_CHECKING:
    from redis.asyncio import ConnectionPool

__all__ = ["Line"]

T = TypeVar("T")


class Line:
    """Exchanges with a server on the event loop that runs.

    Args:
        pool: Makes the connections; who finds all of them in use waits.
        timeout: Seconds for one exchange: to get a connection, to connect and to be answered.
    """

    def __init__(self, pool: "ConnectionPool", *, timeout: float) -> None:
        from redis.asyncio import Redis  # noqa: PLC0415 - an extra

        self._pool = pool
        client: Any = Redis(connection_pool=pool)
        self._execute = cast("Callable[..., Coroutine[Any, Any, object]]", client.execute_command)
        self._free = asyncio.Semaphore(pool.max_connections)
        self._timeout = timeout
        self._tasks: set[asyncio.Task[Any]] = set()
        self._life = self._live()

    async def open(self) -> Self:
        """Have the event loop close it when it ends."""
        await anext(self._life)
        return self

    async def execute(self, *words: str | bytes | int | float) -> object:
        """Have a command executed."""
        async with asyncio.timeout(self._timeout), self._free:
            return await self._execute(*words)

    async def finish(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` to its end, also if asyncio itself, which knows no shields, cancels the caller."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Close the connections once what is under way is done."""
        await self._life.aclose()

    def close_soon(self) -> None:
        """Have it closed; called on its event loop."""
        self._closing = asyncio.get_running_loop().create_task(self.close())

    async def _live(self) -> AsyncGenerator[None]:
        """An event loop that ends closes the generators that were begun on it, and so what is in this one."""
        try:
            yield
        finally:
            if self._tasks:
                await asyncio.wait(self._tasks)
            await self._pool.disconnect()

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # nobody may be there any longer to be told
