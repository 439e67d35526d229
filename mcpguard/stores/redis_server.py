"""The server of a `RedisStore`: one round trip a script, in a bounded time, from any event loop.

The client is the `redis` package's. On asyncio each event loop has connections of its own (`redis_line`);
elsewhere, as on trio, its other half waits in worker threads. Either way what was begun is finished when its
caller is cancelled.
"""

import asyncio
import contextlib
import hashlib
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast
from urllib.parse import urlsplit

import anyio
import anyio.to_thread

from mcpguard.core.errors import StoreError, StoreFull
from mcpguard.stores.redis_line import Line
from mcpguard.stores.workers import Workers

if TYPE_CHECKING:
    from redis import Redis
    from redis.asyncio import ConnectionPool

__all__ = ["Argument", "RedisServer", "Script"]

Argument: TypeAlias = str | bytes | int | float

Execute: TypeAlias = Callable[..., Awaitable[object]]
"""Have a command executed, given as its words."""

_workers: Final = Workers("redis")


class Script:
    """A Lua script, and what the server calls it.

    Args:
        text: The script.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class RedisServer:
    """Run scripts on a server.

    Args:
        url: `redis://` or `rediss://`.
        timeout: Seconds to get a connection, to connect and to be answered; in worker threads for each.
        connections: How many an event loop has at most.

    Raises:
        StoreError: If the package `redis` is not installed.
        ValueError: If the URL cannot be read; the message does not repeat it.
    """

    def __init__(self, url: str, *, timeout: float, connections: int) -> None:
        try:
            import redis  # noqa: PLC0415 - an extra
            import redis.asyncio.retry  # noqa: PLC0415
            import redis.backoff  # noqa: PLC0415
            import redis.exceptions  # noqa: PLC0415
            import redis.retry  # noqa: PLC0415
        except ImportError:
            raise StoreError(
                "a Redis store takes the package redis: install mcpguard-inline[redis]"
            ) from None
        self._redis = redis
        library: Any = redis
        options: dict[str, Any] = {
            "max_connections": connections,
            "socket_connect_timeout": timeout,
            "protocol": 2,
        }
        never = redis.backoff.NoBackoff()

        def pool() -> "ConnectionPool":
            retry = redis.asyncio.retry.Retry(never, 0)
            from_url: Callable[..., ConnectionPool] = library.asyncio.ConnectionPool.from_url
            return from_url(url, socket_timeout=None, retry=retry, **options)

        try:
            parts = urlsplit(url)
            self.name = f"{parts.hostname}:{parts.port or 6379}"
            cast("Callable[[], object]", pool().make_connection)()
            blocking = library.BlockingConnectionPool.from_url(
                url, timeout=timeout, socket_timeout=timeout, retry=redis.retry.Retry(never, 0), **options
            )
        except (ValueError, TypeError):
            raise ValueError("the URL of a Redis store is redis://user:password@host:port/number") from None
        self._pool = pool
        self._client: Redis = redis.Redis(connection_pool=blocking)
        self._connections = connections
        self._timeout = timeout
        self._lines: dict[asyncio.AbstractEventLoop, Line] = {}
        self._lock = threading.Lock()
        self._is_closed = False

    async def run(
        self,
        script: Script,
        keys: Sequence[bytes],
        arguments: Sequence[Argument],
        *,
        again: bool,
        finish: bool = False,
    ) -> object:
        """Run `script`.

        Args:
            script: The script.
            keys: Its keys, all with one hash tag.
            arguments: Its arguments.
            again: Whether it may be run twice where nobody knows if the first has arrived.
            finish: Whether it is run even if the caller has been cancelled.

        Raises:
            StoreError: If it cannot be run, or nobody knows whether it was.
        """
        words = [len(keys), *keys, *arguments]
        if _is_asyncio():
            line = await self._line()
            work = self._tried(line.execute, script, words, again)
            with anyio.CancelScope(shield=True):
                return await (line.finish(work) if finish else work)
        with anyio.move_on_after(8 * self._timeout, shield=finish):
            return await anyio.to_thread.run_sync(
                lambda: _done(self._tried(self._execute, script, words, again)),
                limiter=_workers.limited_to(self._connections),
            )
        raise StoreError(f"the Redis server {self.name} has too many callers waiting")

    async def aclose(self) -> None:
        """Close all connections, those in use when they are done."""
        self._is_closed = True
        with self._lock:
            lines, self._lines = self._lines, {}
        for loop, line in lines.items():
            if _is_asyncio() and loop is asyncio.get_running_loop():
                await line.close()
            else:
                with contextlib.suppress(RuntimeError):  # it has ended, and its connections with it
                    loop.call_soon_threadsafe(line.close_soon)
        await anyio.to_thread.run_sync(self._client.connection_pool.disconnect)

    async def _tried(self, execute: Execute, script: Script, words: list[Argument], again: bool) -> object:
        errors = self._redis.exceptions
        if self._is_closed:
            raise StoreError(f"the store on {self.name} is closed")
        try:
            try:
                return await self._once(execute, script, words)
            except (errors.ConnectionError, errors.TimeoutError, TimeoutError) as error:
                if not again or isinstance(error, errors.AuthenticationError):
                    raise
                return await self._once(execute, script, words)
        except errors.OutOfMemoryError:
            raise StoreFull(f"the Redis server {self.name} is full") from None
        except (errors.RedisError, OSError) as error:
            what = type(error).__name__
            raise StoreError(f"the Redis server {self.name} cannot be used ({what})") from None

    async def _once(self, execute: Execute, script: Script, words: list[Argument]) -> object:
        try:
            return await execute("EVALSHA", script.digest, *words)
        except self._redis.exceptions.NoScriptError:
            return await execute("EVAL", script.text, *words)

    async def _execute(self, *words: Argument) -> object:
        """In a worker thread: this does wait, though it says it is asynchronous."""
        client: Any = self._client
        return cast("object", client.execute_command(*words))

    async def _line(self) -> Line:
        """The connections of this event loop."""
        loop = asyncio.get_running_loop()
        line = self._lines.get(loop)
        if line is None:
            line = Line(self._pool(), timeout=self._timeout)
            with self._lock:
                self._lines = {one: its for one, its in self._lines.items() if not one.is_closed()}
                self._lines[loop] = line
            await line.open()
        return line


def _is_asyncio() -> bool:
    """Whether an asyncio task runs here: a guest on asyncio's loop, as trio can be, has none."""
    try:
        return asyncio.current_task() is not None
    except RuntimeError:
        return False


def _done(work: Coroutine[Any, Any, object]) -> object:
    """What comes of work that awaits nothing outside it."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise RuntimeError("it awaits something")
