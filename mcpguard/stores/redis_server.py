"""The server of a `RedisStore`: one round trip a script, in a bounded time, from any event loop.

The client is the `redis` package's, which waits in worker threads: so one pool of connections serves all
threads and event loops, trio's as well, and what was begun is finished when its caller is cancelled.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias, cast
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

from mcpguard.core.errors import StoreError, StoreFull

if TYPE_CHECKING:
    from redis import Redis

__all__ = ["Argument", "RedisServer", "Script"]

Argument: TypeAlias = str | bytes | int | float

_workers: Final = RunVar[anyio.CapacityLimiter]("mcpguard_redis_workers")


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
        timeout: Seconds to wait for a connection, to connect, and for an answer, each.
        connections: How many there are at most.

    Raises:
        StoreError: If the package `redis` is not installed.
        ValueError: If the URL cannot be read; the message does not repeat it.
    """

    def __init__(self, url: str, *, timeout: float, connections: int) -> None:
        try:
            import redis  # noqa: PLC0415 - an extra
            import redis.backoff  # noqa: PLC0415
            import redis.retry  # noqa: PLC0415
        except ImportError:
            raise StoreError(
                "a Redis store takes the package redis: install mcpguard-inline[redis]"
            ) from None
        self._redis = redis
        try:
            parts = urlsplit(url)
            self.name = f"{parts.hostname}:{parts.port or 6379}"
            pool = redis.BlockingConnectionPool.from_url(
                url,
                max_connections=connections,
                timeout=timeout,
                socket_timeout=timeout,
                socket_connect_timeout=timeout,
                protocol=2,
                retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0),
            )
        except (ValueError, TypeError):
            raise ValueError("the URL of a Redis store is redis://user:password@host:port/number") from None
        self._client: Redis = redis.Redis(connection_pool=pool)
        self._connections = connections
        self._longest = 8 * timeout
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
        with anyio.move_on_after(self._longest, shield=finish):
            return await anyio.to_thread.run_sync(
                self._tried, script, [*keys, *arguments], len(keys), again, limiter=self._limiter()
            )
        raise StoreError(f"the Redis server {self.name} has too many callers waiting")

    async def aclose(self) -> None:
        """Close all connections that are not in use, and the others when they are done."""
        self._is_closed = True
        await anyio.to_thread.run_sync(self._client.connection_pool.disconnect)

    def _tried(self, script: Script, words: list[Argument], keys: int, again: bool) -> object:
        errors = self._redis.exceptions
        if self._is_closed:
            raise StoreError(f"the store on {self.name} is closed")
        try:
            try:
                return self._once(script, words, keys)
            except (errors.ConnectionError, errors.TimeoutError) as error:
                if not again or isinstance(error, errors.AuthenticationError):
                    raise
                return self._once(script, words, keys)
        except errors.OutOfMemoryError:
            raise StoreFull(f"the Redis server {self.name} is full") from None
        except (errors.RedisError, OSError) as error:
            what = type(error).__name__
            raise StoreError(f"the Redis server {self.name} cannot be used ({what})") from None

    def _once(self, script: Script, words: list[Argument], keys: int) -> object:
        execute = cast("Callable[..., object]", self._client.execute_command)
        try:
            return execute("EVALSHA", script.digest, keys, *words)
        except self._redis.exceptions.NoScriptError:
            return execute("EVAL", script.text, keys, *words)

    def _limiter(self) -> anyio.CapacityLimiter:
        """The worker threads of this event loop."""
        try:
            return _workers.get()
        except LookupError:
            limiter = anyio.CapacityLimiter(self._connections)
            _workers.set(limiter)
            return limiter
