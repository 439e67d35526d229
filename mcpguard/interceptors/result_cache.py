"""Answer a tool call from memory, where the policy says that a tool's answers may be kept.

A hit is not sent and costs nothing further in. Answers are kept for whoever got them, or for their tenant,
never across tenants; only complete answers that are no errors are kept. Nothing is cached that the policy
does not name: only a person can say that a tool only reads. A call that somebody is to be asked about is
made, and its answer not kept: what was approved once was not approved for good.
"""

import json
import threading
from collections.abc import Collection, Mapping
from itertools import count
from typing import Final, Literal, TypeAlias, Unpack

from cachetools import TTLCache

from mcpguard.core.call import Call
from mcpguard.core.host import Host
from mcpguard.core.interceptor import CallNext, Common, Interceptor, Place
from mcpguard.core.linked import ANONYMOUS
from mcpguard.core.result import Fate, Outcome, Result
from mcpguard.core.scope import Match, Scope, matcher
from mcpguard.core.verdict import ALLOW, Verdict
from mcpguard.core.wire import JSON, JSONObject, mutable_copy

__all__ = ["ResultCache"]

MAX_BYTES: Final = 64 * 2**20
"""Bytes of answers that are kept in all, by default."""

MAX_TENANTS: Final = 4096
"""Tenants' servers that are told apart; when there are more, everything is forgotten."""

ENTRY_BYTES: Final = 512
"""Bytes that keeping an answer takes beside the answer."""

_Key: TypeAlias = tuple[str, int, tuple[str | None, ...]]
"""What was asked, the generation of what is kept, and for whom."""

RUN: Final = "mcpguard/run"
"""Member of the `_meta` of an answer that is of use to its run alone, and is kept for no other."""

_TOOLS_CHANGED: Final = "notifications/tools/list_changed"


class ResultCache(Interceptor):
    """Keep the answers of some tools for a while, each for whoever got it.

    A call is the same if server, tool and arguments are. Where nobody is known to make it, its answer is kept
    for the task it belongs to (the outermost run), and without one not at all. What is kept of a server for a
    tenant is dropped when the tenant calls a tool in `invalidated_by`, before the call and after it; what is
    kept of a server for anybody, when it says that its tools have changed.

    Args:
        tools: Tools whose answers are kept; names or globs. At least one.
        seconds: How long an answer is kept. Above 0.
        per: `principal`, or `tenant` where everybody in a tenant may see the same; who has none is alone.
        invalidated_by: Tools that change what the others read; names or globs.
        servers: Keep only answers of these servers; names or globs. Empty: of all.
        roles: Keep only answers for principals with one of these roles. Empty: for all.
        tenants: Keep only answers for these tenants; names or globs. Empty: for all.
        agents: Keep only answers for these agents; names or globs. Empty: for all.
        max_bytes: Bytes of answers kept in all, as JSON. At least 1.

    Raises:
        ValueError: If no tool is named or a number is out of range.
    """

    checks = frozenset({(_TOOLS_CHANGED, "inbound")})
    layers = frozenset({("tools/call", "outbound")})
    place = Place.RESULT_CACHE
    is_kept = False  # an answer is kept as the rules further in have left it

    def __init__(
        self,
        *,
        tools: Collection[str],
        seconds: float = 300.0,
        per: Literal["principal", "tenant"] = "principal",
        invalidated_by: Collection[str] = (),
        servers: Collection[str] = (),
        roles: Collection[str] = (),
        tenants: Collection[str] = (),
        agents: Collection[str] = (),
        max_bytes: int = MAX_BYTES,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        if not tools:
            raise ValueError("tools names what may be kept; there is no safe default")
        if not 0 < seconds < 1e9:
            raise ValueError(f"seconds is above 0, not {seconds}")
        if not max_bytes >= 1:
            raise ValueError(f"max_bytes is at least 1, not {max_bytes}")
        if per not in ("principal", "tenant"):
            raise ValueError(f"per is 'principal' or 'tenant', not {per!r}")
        self._keeps = matcher(tools)
        self._drops = matcher(invalidated_by)
        self._server = matcher(servers or ["*"])
        self._scope = Scope(roles=roles, tenants=tenants, agents=agents)
        self._is_per_tenant = per == "tenant"
        self._seconds = seconds
        self._max_bytes = max_bytes
        self._lock = threading.RLock()
        """Its owner may take it again: a call that nobody awaits any more ends while garbage is collected."""
        self._kept = self._empty()
        self._generations: dict[tuple[str, str | None], int] = {}
        self._numbers = count(1)
        self._hits = self._misses = 0

    def join(self, host: Host) -> None:
        """Keep time by the guard's clock."""
        super().join(host)
        self._kept = self._empty()

    def check(self, call: Call) -> Verdict:
        """Drop what is kept of a server whose tools have changed."""
        if call.enforced and not call.explained:
            with self._lock:
                for server, tenant in list(self._generations):
                    if server == call.server:
                        self._generations[server, tenant] = next(self._numbers)
        return ALLOW

    async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
        """Answer from memory, or keep the answer."""
        tool = call.target or ""
        if not self._server(call.server):
            return await call_next(call)
        if self._drops(tool):
            self._invalidate(call)
            try:
                return await call_next(call)
            finally:
                self._invalidate(call)
        if not self._keeps(tool) or call.asks or call.round > 0 or "task" in call.params:
            return await call_next(call)
        whose = self._whose(call)
        if whose is None or self._scope.match_principal(call) is not Match.YES:
            return await call_next(call)
        with self._lock:
            generation = self._generation(call)
            key: _Key = (call.fingerprint, generation, whose)
            found = self._kept.get(key)
            self._hits += found is not None
            self._misses += found is None
        if found is not None:
            return Result(outcome=Outcome.OK, fate=Fate.NOT_SENT, value=json.loads(found))
        result = await call_next(call)
        is_good = result.outcome is Outcome.OK and result.fate is Fate.ANSWERED
        if is_good and result.value is not None and not _is_for_run(result.value):
            self._keep(call, key, generation, result.value)
        return result

    def status(self) -> Mapping[str, JSON]:
        """What is kept, and how often it was of use."""
        with self._lock:
            return {
                "answers": len(self._kept),
                "bytes": int(self._kept.currsize),
                "hits": self._hits,
                "misses": self._misses,
            }

    def _generation(self, call: Call) -> int:
        """Counts what has made earlier answers worthless. The lock is held."""
        of = self._of(call)
        if of not in self._generations and len(self._generations) >= MAX_TENANTS:
            self._generations.clear()
            self._kept.clear()
        return self._generations.setdefault(of, next(self._numbers))

    def _keep(self, call: Call, key: _Key, generation: int, value: JSONObject) -> None:
        """Keep an answer as text: nobody can change it, and its size is what is said of it."""
        try:
            text = json.dumps(mutable_copy(value))
        except (RecursionError, TypeError, ValueError):  # nested too deep to copy, or no JSON
            return
        if _size(text) > self._max_bytes:
            return
        with self._lock:
            if self._generations.get(self._of(call)) == generation:
                self._kept[key] = text

    def _invalidate(self, call: Call) -> None:
        with self._lock:
            self._generation(call)
            self._generations[self._of(call)] = next(self._numbers)

    def _of(self, call: Call) -> tuple[str, str | None]:
        return call.server, None if call.principal is None else call.principal.tenant

    def _whose(self, call: Call) -> tuple[str | None, ...] | None:
        """For whom an answer is kept; None if nobody can be told from others."""
        who = call.principal
        if who is None or who == ANONYMOUS:
            return None if call.run is None else ("run", call.run.lineage[-1].key)
        if self._is_per_tenant and who.tenant is not None:
            return "tenant", who.tenant
        return "principal", who.tenant, who.user, who.agent, *sorted(who.roles)

    def _empty(self) -> "TTLCache[_Key, str]":
        return TTLCache(self._max_bytes, self._seconds, timer=self.host.clock.now, getsizeof=_size)


def _is_for_run(value: JSONObject) -> bool:
    """Whether an answer holds what is there for its run only: names of pages, placeholders."""
    meta = value.get("_meta")
    return isinstance(meta, Mapping) and RUN in meta


def _size(text: str) -> int:
    return len(text) + ENTRY_BYTES
