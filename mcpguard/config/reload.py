"""A changed policy: what it keeps of the one before, and who notices that it has changed.

A rule that says what it said before stays the object it was, with all it has counted. One that has an `id`
and has changed takes over from the rule of that id. Whatever else a policy says begins anew. Nothing is
swapped here: that is `live_policy`'s business, which swaps everything at once or nothing.

Above: `live_policy`.
"""

import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import Final, TypeAlias, TypeVar

import anyio
import anyio.to_thread
from anyio.abc import TaskStatus

from mcpguard.config.opening import closing_if_refused
from mcpguard.config.plan import Plan
from mcpguard.config.policy import Built, Policy
from mcpguard.config.tokens import Tokens
from mcpguard.core.chain import Step
from mcpguard.core.errors import MCPGuardError, PluginError, PolicyError
from mcpguard.core.events import Sink
from mcpguard.core.interceptor import Interceptor
from mcpguard.core.order import arrange

__all__ = ["Renewed", "listen", "quietly", "refusal", "renew", "take_over", "watch"]

_log: Final = logging.getLogger("mcpguard")

T = TypeVar("T")

_Mark: TypeAlias = tuple[int, ...] | None
Reload: TypeAlias = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed:
    """What a guard is made of after a reload.

    Args:
        built: The interceptors and sinks, some of them those from before.
        steps: Their hooks, in order.
        kept: The interceptors that are, with what they know.
        changed: Of each rule that has changed, the new interceptor and the one before.
        opened: The sinks that were not there before.
        dropped: The sinks that are no longer named.
    """

    built: Built
    steps: tuple[Step, ...]
    kept: tuple[Interceptor, ...]
    changed: tuple[tuple[Interceptor, Interceptor], ...]
    opened: tuple[Sink, ...]
    dropped: tuple[Sink, ...]


def renew(policy: Policy, before: Policy, its: Built) -> Renewed:
    """Build `policy` with what it has in common with the policy before it.

    Args:
        policy: What is to be enforced.
        before: What is enforced now.
        its: What the guard has from that.

    Raises:
        OrderError: If the interceptors cannot be put in order.
        PolicyError: If a sink cannot be opened, or the store is another: what was counted would be lost.
        PluginError: If a plugin's constructor fails.
    """
    if policy.options.store != before.options.store:
        raise PolicyError("store: a reload cannot change it; start anew", source=policy.source)
    left = list(zip(before.plans, its.interceptors, strict=True))
    interceptors: list[Interceptor] = []
    kept: list[Interceptor] = []
    for plan in policy.plans:
        same = _taken(plan, left) if plan.cls.is_kept else None
        interceptors.append(plan.build() if same is None else same)
        if same is not None:
            kept.append(same)
    changed = [
        (one, former)
        for one in interceptors
        for _, former in left
        if one.id is not None and one.id == former.id and type(one) is type(former) and one.is_kept
    ]
    steps = arrange(interceptors)
    open_sinks = list(zip(before.sink_plans, its.sinks, strict=True))
    sinks: list[Sink] = []
    opened: list[Sink] = []
    with closing_if_refused(opened):
        for named in policy.sink_plans:
            sink = _taken(named, open_sinks)
            if sink is None:
                sink = named.build()
                opened.append(sink)
            sinks.append(sink)
    built = Built(
        interceptors=tuple(interceptors),
        sinks=tuple(sinks),
        options=policy.options,
        store=its.store,
        tokens=_tokens(policy, before, its),
    )
    dropped = tuple(sink for _, sink in open_sinks)
    return Renewed(
        built=built,
        steps=tuple(steps),
        kept=tuple(kept),
        changed=tuple(changed),
        opened=tuple(opened),
        dropped=dropped,
    )


def take_over(changed: Sequence[tuple[Interceptor, Interceptor]]) -> None:
    """Let rules that have changed go on from what they had counted.

    Raises:
        PluginError: If one fails over it: a count that is lost in silence is a limit that is not kept.
    """
    for one, former in changed:
        try:
            one.take_over(former)
        except Exception as error:
            raise PluginError(f"{one.label} cannot take over: {type(error).__name__}") from error


async def watch(path: Path, reload: Reload, *, every: float) -> None:
    """Reload when the file has changed and then stayed as it is for one look: it may be half written.

    Args:
        path: The file. Who replaces it by renaming another one over it is never read half way.
        reload: Reloads.
        every: Seconds between two looks. Above 0.
    """
    loaded: _Mark = (0,)
    seen = _mark(path)
    while True:
        await anyio.sleep(every)
        now = _mark(path)
        if now == seen and now != loaded:
            loaded = now
            await reload()
        seen = now


async def listen(
    signals: Collection[int], reload: Reload, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Reload on each of `signals`; in the main thread only."""
    with anyio.open_signal_receiver(*map(Signals, signals)) as received:
        task_status.started()
        async for _ in received:
            await reload()


async def quietly(reload: Callable[[], bool]) -> None:
    """Reload in a thread, and log what comes of it: there is nobody to tell or raise to."""
    try:
        if await anyio.to_thread.run_sync(reload):
            _log.warning("the policy has changed, and is enforced from here on")
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the agent goes on under the old one
        _log.error("the policy stays as it was: %s", refusal(error))


def refusal(error: Exception) -> str:
    """Why a policy is refused, in a line; what a plugin raises may say anything."""
    if isinstance(error, MCPGuardError):
        return str(error).partition("\n")[0]
    return f"a plugin raised {type(error).__name__}"


def _tokens(policy: Policy, before: Policy, its: Built) -> Tokens | None:
    """What verifies tokens, with the keys it has fetched where it says what it said before."""
    plan, former = policy.tokens_plan, before.tokens_plan
    if plan is None:
        return None
    return its.tokens if former is not None and plan.options == former.options else plan.build()


def _mark(path: Path) -> _Mark:
    """What tells a file from the one that was there before; None if there is none."""
    try:
        seen = path.stat()
    except OSError:
        return None
    return seen.st_dev, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns


def _taken(plan: Plan[T], left: list[tuple[Plan[T], T]]) -> T | None:
    """What was made by the same plan, if it is still left; nobody else gets it then."""
    for position, (former, made) in enumerate(left):
        if former.cls is plan.cls and former.options == plan.options:
            del left[position]
            return made
    return None
