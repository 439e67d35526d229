"""A store on a Redis or Valkey server: what a fleet of hosts shares.

Every operation is one script and one round trip. Below: `redis_scripts` has what the server does,
`redis_server` how it is asked.
"""

import hashlib
import math
import secrets
from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, cast

from mcpguard.core.clock import SYSTEM_CLOCK
from mcpguard.core.errors import StoreError
from mcpguard.stores import redis_scripts
from mcpguard.stores.known import Known, Sums, amounts_of
from mcpguard.stores.redis_server import Argument, RedisServer, Script
from mcpguard.stores.store import (
    MAX_AMOUNT,
    MEMBERS,
    PRECISION,
    Account,
    Amounts,
    Hold,
    Pace,
    Record,
    Refusal,
    counted,
)

__all__ = ["RedisStore"]

RETENTION: Final = 90 * 86_400.0
"""Seconds for which an account is kept that has neither window nor end, and is not used."""

TIMEOUT: Final = 1.0
"""Seconds for a server to answer; one in the same network takes a thousandth."""

CONNECTIONS: Final = 16
"""Connections of a process. More wait in line sooner than a server's one thread is faster."""

HOLD_TIME: Final = 3_600.0
"""Seconds after which a hold is no longer given back: a call that takes longer stays charged as held."""

SETTLED_TIME: Final = 60.0
"""Seconds for which a settled hold is known as settled: longer than anybody asks again."""

_DROPPED: Final = 32
"""Keys that one operation drops beside its own work."""

_GROUPS: Final = 4096
"""Groups with keys to be dropped; what is forgotten of more ends by itself."""

_RESERVE: Final = Script(redis_scripts.RESERVE)
_SETTLE: Final = Script(redis_scripts.SETTLE)
_PACE: Final = Script(redis_scripts.PACE)
_READ: Final = Script("return redis.call('HMGET', KEYS[1], 'n', 'v')")
_SWAP: Final = Script(redis_scripts.SWAP)
_LEASE: Final = Script(redis_scripts.LEASE)
_FREE: Final = Script(redis_scripts.FREE)


class RedisStore:
    """Keep everything on a Redis (5 or later) or Valkey server, for all hosts that reach it.

    - One round trip to reserve, one to settle; on a cluster too, where each group of accounts has its slot.
    - A server that does not answer in time raises `StoreError`. A reserve or a settlement whose answer was
      lost is asked for once more, and done once.
    - What the server forgets is forgotten: without persistence a restart begins all limits anew, and after a
      failover the last writes may be missing. A hold that is not known any longer gives nothing back.
    - `look` and `peek` know what this process saw within the last second, and last.
    - No password is in any message or representation.

    Args:
        url: `redis://user:password@host:port/number`, or `rediss://` for TLS.
        prefix: What all keys begin with; two prefixes share nothing.
        retention: Seconds after which an account is dropped that has no window and no end, and is not used.
        timeout: Seconds to wait for a free connection, to connect, and for an answer, each.
        connections: Connections at most, whatever the number of threads and event loops.

    Raises:
        StoreError: If the package `redis` is not installed. Whether the server can be reached shows with the
            first operation.
        ValueError: If the URL cannot be read, a number is out of range, or the prefix has braces.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "mcpguard",
        retention: float = RETENTION,
        timeout: float = TIMEOUT,
        connections: int = CONNECTIONS,
    ) -> None:
        for name, number in (("retention", retention), ("timeout", timeout), ("connections", connections)):
            if not number > 0:
                raise ValueError(f"{name} is above 0, not {number}")
        if {"{", "}"} & set(prefix):
            raise ValueError("a prefix has no braces: what stands in them tells a cluster where a key is")
        self._prefix = prefix
        self._retention = retention
        self._known = Known(SYSTEM_CLOCK)
        self._dropped: dict[str, deque[bytes]] = {}
        self._server = RedisServer(url, timeout=timeout, connections=connections)

    async def reserve(self, accounts: Sequence[Account], amounts: Amounts) -> Hold | Refusal:
        """Take `amounts` from every account, or from none; they are of one group."""
        taken, group, name = counted(amounts), accounts[0].group if accounts else "", secrets.token_hex(12)
        marker, keys = self._key(group, "h", name), [self._key(group, "a", one.key) for one in accounts]
        words: list[Argument] = [name, _ms(HOLD_TIME), self._retention, len(keys), *_sums(taken)]
        for account in accounts:
            if account.group != group:
                raise StoreError("accounts that are taken from together are of one group")
            limits = (getattr(account.limits, what) for what in MEMBERS)
            words += ["" if most is None or most > MAX_AMOUNT else max(most, -1) for most in limits]
            words += ["" if one is None else one for one in (account.window, account.ends_at)]
        answer = await self._server.run(_RESERVE, [marker, *keys, *self._drops(group)], words, again=True)
        if isinstance(answer, list):
            return self._refused(accounts, answer)
        hold = _Taken(accounts, taken, name)
        for account, key, told in zip(accounts, keys, _told(answer), strict=True):
            opened, latest, used = told
            hold.rows.setdefault(key, (account.key, opened, latest))
            self._known.note(account.key, used)
        return hold

    async def settle(self, hold: Hold, amounts: Amounts) -> None:
        """Replace what `hold` took by what was really used."""
        if not isinstance(hold, _Taken):
            raise StoreError("this hold is another store's")
        used, group = counted(amounts), hold.accounts[0].group if hold.accounts else ""
        if not hold.is_open:
            return
        marker = self._key(group, "h", hold.id)
        if used == hold.amounts:
            hold.is_open = False
            self._drop(group, marker)
            return
        words: list[Argument] = [_ms(SETTLED_TIME), len(hold.rows), *_sums(hold.amounts), *_sums(used)]
        for _, opened, latest in hold.rows.values():
            words += [opened, latest]
        keys = [marker, *hold.rows, *self._drops(group)]
        answer = await self._server.run(_SETTLE, keys, words, again=True, finish=True)
        hold.is_open = False
        for (key, _, _), told in zip(hold.rows.values(), _told(answer), strict=False):
            if told[0] != b"-":
                self._known.note(key, told[2])

    async def release(self, hold: Hold) -> None:
        """Give back all that `hold` took."""
        await self.settle(hold, Amounts())

    def look(self, accounts: Sequence[Account], amounts: Amounts) -> Refusal | None:
        """Why `reserve` would have refused within the last second."""
        return self._known.look(accounts, amounts)

    def peek(self, account: Account) -> Amounts:
        """What had been used of `account` when this process last saw it."""
        return self._known.used(account.key)

    def forget(self, account: Account) -> None:
        """Drop an account with the next operation on its group."""
        self._known.drop(account.key)
        self._drop(account.group, self._key(account.group, "a", account.key))

    async def pace(
        self, key: str, *, interval: float, burst: int, max_wait: float = 0.0, group: str = ""
    ) -> Pace:
        """One step of a rate. One whose answer was lost may have been taken, and raises."""
        words = [interval, burst, max_wait, PRECISION]
        answer = await self._server.run(_PACE, [self._key(group, "r", key)], words, again=False)
        is_admitted, wait = cast("tuple[int, bytes]", answer)
        seconds = float(wait)
        if is_admitted:
            return Pace(True, seconds if seconds > PRECISION else 0.0)
        return Pace(False, seconds)

    async def read(self, key: str, *, group: str = "") -> Record:
        """The value under `key`."""
        answer = await self._server.run(_READ, [self._key(group, "v", key)], [], again=True)
        version, value = cast("tuple[bytes | None, bytes | None]", answer)
        return Record(None, 0) if version is None else Record(value, int(version))

    async def swap(
        self, key: str, *, version: int, value: bytes | None, keep: float, group: str = ""
    ) -> bool:
        """Write `value`, or delete it (None), if the version is still `version`."""
        words: list[Argument] = [
            version,
            secrets.randbits(62) + 1,
            _ms(keep),
            int(value is not None),
            value or b"",
        ]
        answer = await self._server.run(
            _SWAP, [self._key(group, "v", key)], words, again=value is not None, finish=True
        )
        return answer == 1

    async def lease(self, key: str, owner: str, *, seconds: float, group: str = "") -> bool:
        """Take a lease that frees itself after `seconds`, or prolong one's own."""
        words: list[Argument] = [_bytes(owner), seconds]
        return await self._server.run(_LEASE, [self._key(group, "l", key)], words, again=True) == 1

    async def free(self, key: str, owner: str, *, group: str = "") -> None:
        """Give a lease back."""
        await self._server.run(_FREE, [self._key(group, "l", key)], [_bytes(owner)], again=True, finish=True)

    async def aclose(self) -> None:
        """Close the connections; operations afterwards raise."""
        await self._server.aclose()

    def __repr__(self) -> str:
        return f"RedisStore({self._server.name!r})"

    def _key(self, group: str, kind: str, key: str) -> bytes:
        return b"%b:{%b}:%b:%b" % (self._prefix.encode(), _tag(group), kind.encode(), _bytes(key))

    def _refused(self, accounts: Sequence[Account], answer: list[object]) -> Refusal:
        place, member, refill, told = cast("tuple[int, int, bytes, bytes]", answer)
        account, used = accounts[place - 1], next(iter(_told(told)))[2]
        refills_in = float(refill) if refill else None
        self._known.note(account.key, used, refills_in)
        return Refusal(account, amounts_of(used), MEMBERS[member - 1], refills_in)

    def _drop(self, group: str, key: bytes) -> None:
        """Have a key dropped. Called while garbage is collected: single operations, which need no lock."""
        if len(self._dropped) >= _GROUPS:
            self._dropped.clear()
        self._dropped.setdefault(group, deque(maxlen=_GROUPS)).append(key)

    def _drops(self, group: str) -> list[bytes]:
        """Keys of a group to be dropped, which ride along."""
        waiting, taken = self._dropped.get(group), list[bytes]()
        while waiting and len(taken) < _DROPPED:
            try:
                taken.append(waiting.popleft())
            except IndexError:
                break
        return taken


class _Taken(Hold):
    """A hold that knows the accounts it was counted in: by their keys, who opened them, and the slices."""

    __slots__ = ("rows",)

    def __init__(self, accounts: Sequence[Account], amounts: Amounts, id: str) -> None:
        self.accounts = accounts
        self.amounts = amounts
        self.id = id
        self.is_open = True
        self.rows: dict[bytes, tuple[str, bytes, bytes]] = {}


@lru_cache(maxsize=_GROUPS)
def _tag(group: str) -> bytes:
    """What a cluster finds the slot of a group by: of one length, and without a brace."""
    return hashlib.sha256(_bytes(group)).hexdigest()[:32].encode()


def _told(answer: object) -> list[tuple[bytes, bytes, Sums]]:
    """Who opened an account, the slice it is in, and its sums: of each account."""
    told: list[tuple[bytes, bytes, Sums]] = []
    for part in cast("bytes", answer).split(b","):
        words = part.split(b" ")
        if len(words) == 6:
            used = int(words[2]), int(words[3]), int(words[4]), int(words[5])
            told.append((words[0], words[1], used))
        elif part:
            told.append((part, b"", (0, 0, 0, 0)))
    return told


def _sums(amounts: Amounts) -> Sums:
    return amounts.calls, amounts.cost, amounts.tokens, amounts.bytes


def _ms(seconds: float) -> int:
    return max(1, math.ceil(seconds * 1000))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
