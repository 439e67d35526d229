"""The policy file that a guard enforces: read again while its sessions go on, and closed with the guard.

A policy is enforced whole or refused whole, and then the one before stays.

Above: `Guard`. Below: `policy`, which reads and builds one; `reload`, what one keeps of the one before.
"""

import logging
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import anyio

from mcpguard.config.opening import closing_if_refused
from mcpguard.config.policy import Built, Policy, load_policy
from mcpguard.config.reload import listen, quietly, refusal, renew, take_over, watch
from mcpguard.core.delivery import Delivery
from mcpguard.core.errors import GuardBuildError
from mcpguard.core.events import Sink
from mcpguard.core.linked import Handle, Linked
from mcpguard.seams.bindings import Bindings
from mcpguard.stores.store import Store

__all__ = ["LivePolicy"]

_log = logging.getLogger("mcpguard")


class LivePolicy:
    """Hold a guard to its policy file.

    Args:
        path: The file.
        policy: What it says, which is enforced already.
        built: What the guard was built of, from that. Its store and its sinks are closed here.
        handle: The guard.
        bindings: What the guard goes by in binding servers.
        sinks: The guard's sinks beside those that the file names.
        store: Where interceptors keep their state that have no store of their own.
    """

    def __init__(
        self,
        path: str | Path,
        policy: Policy,
        built: Built,
        *,
        handle: Handle,
        bindings: Bindings,
        sinks: Sequence[Sink],
        store: Store | None,
    ) -> None:
        self.policy = policy
        self.built = built
        self._path = Path(path).absolute()
        self._handle = handle
        self._bindings = bindings
        self._sinks = tuple(sinks)
        self._store = store
        self._lock = threading.Lock()
        self._is_refused = False
        """Whether the file was refused when it was read last."""
        self._deliveries: weakref.WeakSet[Delivery] = weakref.WeakSet((handle.linked.emitter.delivery,))
        self._dropped: list[Sink] = []
        """Sinks that the file names no more, and that calls under way may still write to."""
        handle.is_reloadable = True
        _tell_doubts(policy)

    def reload(self) -> bool:
        """Read the file again, and enforce what it says now. Whether that is something else than before.

        Raises:
            PolicyError: If the file is missing or says something wrong.
            PluginError: If it uses a plugin that cannot be used.
            GuardBuildError: If what it says cannot be linked.
        """
        with self._lock:
            try:
                policy = load_policy(self._path)
                if policy.digest == self.policy.digest:
                    if self._is_refused:
                        self._is_refused = False
                        _log.warning("the policy file says again what is enforced")
                    return False
                self._enforce(policy)
            except Exception as error:
                self._is_refused = True
                self._handle.linked.emitter.about_policy(refused=refusal(error))
                raise
            self._is_refused = False
            return True

    @asynccontextmanager
    async def reloading(
        self, every: float | None, signals: Collection[int], reload: Callable[[], bool]
    ) -> AsyncGenerator[None]:
        """Reload while inside, whenever the file changes or a signal comes.

        Args:
            every: Seconds between two looks at the file. None: it is not looked at.
            signals: Signals that reload too; in the main thread only.
            reload: The guard's own way of doing it.

        Raises:
            ValueError: If `every` is not positive, or nothing would ever reload.
        """
        if every is not None and not every > 0:
            raise ValueError(f"every is seconds, above 0, not {every}")
        if every is None and not signals:
            raise ValueError("neither every nor signals is given, so nothing would ever reload")
        reloaded = partial(self._reload_quietly, reload)
        async with anyio.create_task_group() as tasks:
            if every is not None:
                tasks.start_soon(partial(watch, self._path, reloaded, every=every))
            if signals:
                await tasks.start(listen, signals, reloaded)
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()

    async def aclose(self) -> None:
        """Flush and close all sinks of the guard, and the store that the file names, whatever fails."""
        with self._lock:
            dropped, self._dropped = self._dropped, []
        delivery = self._handle.linked.emitter.delivery
        async with AsyncExitStack() as closing:
            if self.built.store is not None:
                closing.push_async_callback(self.built.store.aclose)
            closing.push_async_callback(delivery.aclose)
            failure = await delivery.close(dropped)
            if failure is not None:
                raise failure

    def _enforce(self, policy: Policy) -> None:
        """Put another policy in the place of the one that is enforced, or raise and change nothing."""
        renewed = renew(policy, self.policy, self.built)
        built = renewed.built
        emitter = self._handle.linked.emitter.following((*built.sinks, *self._sinks), policy.digest)
        with closing_if_refused(renewed.opened):
            linked = Linked(
                renewed.steps,
                emitter,
                store=self._store,
                stops=self._handle.stops,
                servers=policy.servers,
                kept=renewed.kept,
            )
            take_over(renewed.changed)
        self._bindings.replace(built.interceptors, policy.servers, policy.options.connection)
        for interceptor in renewed.kept:
            interceptor.host = linked.host
        self._deliveries.add(emitter.delivery)
        self._dropped += renewed.dropped
        self._handle.swap(linked, on_deny=policy.on_deny, anonymous=policy.anonymous == "allow")
        _tell_what_waits(policy, self.policy)
        self.policy, self.built = policy, built
        _tell_doubts(policy)
        emitter.about_policy()

    async def _reload_quietly(self, reload: Callable[[], bool]) -> None:
        """Reload, and close the sinks that nothing writes to any more."""
        await quietly(reload)
        with self._lock:
            in_use = {id(sink) for delivery in self._deliveries for sink in delivery.sinks}
            unused = [sink for sink in self._dropped if id(sink) not in in_use]
            self._dropped = [sink for sink in self._dropped if id(sink) in in_use]
        await self._handle.linked.emitter.delivery.close(unused)


def _tell_what_waits(policy: Policy, before: Policy) -> None:
    """Log what has changed and counts from the next start on only."""
    if _reached(policy) != _reached(before):
        _log.warning("which servers there are and how they are reached counts from the next start on")
    if policy.options.http != before.options.http:
        _log.warning("what http says counts from the next start on")


def _reached(policy: Policy) -> dict[str, object]:
    """How each server of the policy is reached, where it says so."""
    return {
        name: (one.command, one.url, tuple(one.args), dict(one.env), dict(one.headers))
        for name, one in policy.servers.items()
        if one.command or one.url
    }


def _tell_doubts(policy: Policy) -> None:
    """Log what is valid and probably not meant, a rule for a server that nobody declared for one."""
    try:
        doubts = policy.warnings()
    except GuardBuildError as error:
        _log.warning("%s", error)
        return
    for doubt in doubts:
        _log.warning("%s", doubt.located(policy.source))
