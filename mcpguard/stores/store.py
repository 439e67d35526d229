"""Where limits keep what has been used: the operations, and what each promises when it fails.

A store knows accounts, rates and records, not runs or tools: whoever charges says which accounts a call
spends from and what each may hold. Above: interceptors. Below: memory, SQLite, Redis.
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Final, Protocol

__all__ = [
    "MAX_AMOUNT",
    "MEMBERS",
    "PRECISION",
    "SLICES",
    "Account",
    "Amounts",
    "Hold",
    "Limits",
    "Pace",
    "Record",
    "Refusal",
    "Store",
    "counted",
]

MAX_AMOUNT: Final = 2**53 - 1
"""The most that a store outside this process counts of one thing: what every store can hold exactly. More is
counted as this much, so a limit above it is no limit there."""

PRECISION: Final = 1e-6
"""Seconds by which a step of a rate may be early: what sums of a clock's readings are rounded by."""

MEMBERS: Final = ("calls", "cost", "tokens", "bytes")
"""What is counted, in the order in which a shortage is told."""

SLICES: Final = 32
"""Parts of a rolling window: what was used in one counts until the last of it is a window ago."""


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much of each thing that is counted: whole numbers.

    Args:
        calls: Tool calls.
        cost: Money, in millionths of the budget's currency.
        tokens: Tokens.
        bytes: Bytes.

    Raises:
        ValueError: If one is negative.
    """

    _: KW_ONLY
    calls: int = 0
    cost: int = 0
    tokens: int = 0
    bytes: int = 0

    def __post_init__(self) -> None:
        for name in MEMBERS:
            amount = getattr(self, name)
            if amount < 0:
                raise ValueError(f"{name} is at least 0, not {amount}")


def counted(amounts: Amounts) -> Amounts:
    """As much of `amounts` as a store outside this process counts."""
    if max(amounts.calls, amounts.cost, amounts.tokens, amounts.bytes) <= MAX_AMOUNT:
        return amounts
    return Amounts(**{what: min(getattr(amounts, what), MAX_AMOUNT) for what in MEMBERS})


@dataclass(frozen=True, slots=True)
class Limits:
    """The most of each thing that may be used: the members of `Amounts`. None does not limit."""

    _: KW_ONLY
    calls: int | None = None
    cost: int | None = None
    tokens: int | None = None
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """Something that is spent from, and how much it may hold.

    Args:
        key: What the store knows it by. Two accounts with one key are the same account.
        label: What the operator's record calls it.
        limits: The most that may be used of it, at once or in any `window`.
        group: What is kept together: on a Redis cluster the hash tag. One `reserve` takes accounts of one
            group.
        window: Seconds of a rolling window: never more than `limits` in any interval of that length; what was
            used comes back at most 1/32 of the window late. None: what was used stays used. An account whose
            window has changed keeps what counted until then, as if used just now.
        ends_at: Seconds since the epoch after which the account need not be kept: the end of its calendar
            period. None: until it is forgotten, or `Store` drops what was not touched for its retention time.
    """

    key: str
    _: KW_ONLY
    label: str
    limits: Limits
    group: str = ""
    window: float | None = None
    ends_at: float | None = None


@dataclass(eq=False, slots=True)
class Hold:
    """Amounts taken from accounts and not yet settled or released; only its store changes it.

    Args:
        id: Unique; what makes settling idempotent across retries of a broken connection. "" in memory.
        accounts: What was charged, all of it.
        amounts: What was taken from each.
        is_open: Whether it may still be settled or released.
    """

    accounts: Sequence[Account]
    amounts: Amounts
    id: str = ""
    is_open: bool = True


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nothing was reserved.

    Args:
        account: The first account that had not enough left.
        used: What had been used of it.
        what: Which member was short: "calls", "cost", "tokens" or "bytes".
        refills_in: Seconds until as much can be reserved, if nothing else is; None: never, or unknown.
    """

    account: Account
    used: Amounts
    what: str
    refills_in: float | None = None


@dataclass(frozen=True, slots=True)
class Pace:
    """The answer to one rate step.

    Args:
        is_admitted: Whether the step was taken.
        wait: Seconds to wait before acting on it, if it was taken; else until it could be taken at once.
    """

    is_admitted: bool
    wait: float


@dataclass(frozen=True, slots=True)
class Record:
    """A value under a key, and its version for the next compare-and-set (0: there is none)."""

    value: bytes | None
    version: int


class Store(Protocol):
    """Few atomic operations.

    - Every method may be called from any thread and any event loop.
    - What cannot be done raises `StoreError`. A caller that cannot reserve must not go on: the call is
      denied.
    - A hold that is neither settled nor released (its process was killed) stays charged until its account
      ends: what became of the call is unknown.
    - Time is the store's own: the clock given (memory), the host's (SQLite), the server's (Redis). A clock
      that is put back gives nothing back early and stalls nothing for longer than a window.
    - It is bounded: what has ended is dropped; a store that is full refuses what is new (`StoreFull`) and
      keeps what it has.
    """

    async def reserve(self, accounts: Sequence[Account], amounts: Amounts) -> Hold | Refusal:
        """Take `amounts` from every account, or from none.

        - No interleaving of callers, threads or processes takes an account above its limits.
        - A refusal and an error leave every account as it was. A cancellation, or a connection that breaks
          while the answer is awaited, leaves all as they were or all charged, once.
        - An account that is named twice is charged once.
        """
        ...

    async def settle(self, hold: Hold, amounts: Amounts) -> None:
        """Replace what `hold` took by what was really used, which may be more and exceed the limit.

        - It finishes what it began, cancelled or not, in bounded time; after an error the hold stays charged.
        - A hold that is settled or released already is left as it is, also when the first answer was lost.
        """
        ...

    async def release(self, hold: Hold) -> None:
        """Give back all that `hold` took; the promises are those of `settle`, with nothing used."""
        ...

    def look(self, accounts: Sequence[Account], amounts: Amounts) -> Refusal | None:
        """Why `reserve` would refuse, or None if nothing is known to speak against it.

        - No I/O and no waiting: it says what this process knows, and that may be out of date. Only `reserve`
          decides.
        """
        ...

    def peek(self, account: Account) -> Amounts:
        """What this process knows has been used, open holds included; as up to date as `look`."""
        ...

    def forget(self, account: Account) -> None:
        """Drop an account that nobody will use again, sooner or later.

        - It runs while garbage is collected: it takes no lock, does no I/O and does not raise.
        """
        ...

    async def pace(
        self, key: str, *, interval: float, burst: int, max_wait: float = 0.0, group: str = ""
    ) -> Pace:
        """One step of a rate, by the generic cell rate algorithm (ITU-T I.371).

        - One step every `interval` seconds, and `burst` at once after a rest; never more in any time.
        - A step that is at most `max_wait` seconds early is taken, and says how long to wait; an earlier one
          is not, and changes nothing.
        """
        ...

    async def read(self, key: str, *, group: str = "") -> Record:
        """The value under `key`."""
        ...

    async def swap(
        self, key: str, *, version: int, value: bytes | None, keep: float, group: str = ""
    ) -> bool:
        """Write `value`, or delete it (None), if the version is still `version`.

        - False: somebody else wrote first, and nothing was changed. Of several at once one succeeds.
        - A version is never used again as long as the key is kept; the value is dropped after `keep` seconds.
        """
        ...

    async def lease(self, key: str, owner: str, *, seconds: float, group: str = "") -> bool:
        """Take a lease that frees itself after `seconds`, or prolong one's own. False: another holds it."""
        ...

    async def free(self, key: str, owner: str, *, group: str = "") -> None:
        """Give a lease back; one that lapsed, or is another's, is left as it is."""
        ...

    async def aclose(self) -> None:
        """Let go of connections and files; operations afterwards raise."""
        ...
