"""Where limits keep what has been used: the operations, and what each promises when it fails.

A store knows accounts, not runs or tools: whoever charges says which accounts a call spends from and what
each may hold. Above: interceptors. Below: memory, in this process.
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Protocol

__all__ = ["Account", "Amounts", "Hold", "Refusal", "Store"]


@dataclass(frozen=True, slots=True)
class Amounts:
    """How much of each thing that is counted.

    Args:
        calls: Tool calls. At least 0.

    Raises:
        ValueError: If an amount is negative.
    """

    _: KW_ONLY
    calls: int = 0

    def __post_init__(self) -> None:
        if self.calls < 0:
            raise ValueError(f"an amount is at least 0, not {self.calls}")


@dataclass(frozen=True, slots=True)
class Account:
    """Something that is spent from, and how much it may hold.

    Args:
        key: What the store knows it by. Two accounts with one key are the same account.
        label: What the operator's record calls it.
        limit: The most that may be used of it.
    """

    key: str
    _: KW_ONLY
    label: str
    limit: Amounts


@dataclass(eq=False, slots=True)
class Hold:
    """Amounts taken from accounts and not yet settled or released; only its store changes it.

    Args:
        accounts: What was charged, all of it.
        amounts: What was taken from each.
        is_open: Whether it may still be settled or released.
    """

    accounts: Sequence[Account]
    amounts: Amounts
    is_open: bool = True


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nothing was reserved.

    Args:
        account: The first account that had not enough left.
        used: What had been used of it.
    """

    account: Account
    used: Amounts


class Store(Protocol):
    """Few atomic operations over several accounts at once.

    - Every method may be called from any thread and any event loop.
    - What cannot be done raises. A caller that cannot reserve must not go on: the call is denied.
    - A hold that is neither settled nor released stays charged: what became of the call is then unknown.
    """

    async def reserve(self, accounts: Sequence[Account], amounts: Amounts) -> Hold | Refusal:
        """Take `amounts` from every account, or from none.

        - No interleaving of callers takes an account above its limit.
        - A refusal, an error and a cancellation leave every account as it was.
        - An account that is named twice is charged once.
        """
        ...

    async def settle(self, hold: Hold, amounts: Amounts) -> None:
        """Replace what `hold` took by what was really used, which may be more and exceed the limit.

        - It finishes what it began, cancelled or not; after an error the hold stays charged.
        - A hold that is settled or released already is left as it is.
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
        """Drop an account that nobody will use again.

        - It runs while garbage is collected: it takes no lock, does no I/O and does not raise.
        """
        ...
