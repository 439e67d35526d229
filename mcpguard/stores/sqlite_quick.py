"""What a `SQLiteStore` does with accounts that have no window, in one statement that is its own transaction.

Each statement does all that it is asked for or nothing; where it does nothing, a transaction of several
statements decides (`sqlite`). That is so for an account that is new, is used up or must be kept for longer.
"""

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from mcpguard.stores.known import Sums, sums
from mcpguard.stores.sqlite_rows import Taken, encoded
from mcpguard.stores.store import MAX_AMOUNT, Account, Amounts

__all__ = ["IS_QUICK", "are_plain", "correct_at_once", "take_at_once"]

IS_QUICK: Final = sqlite3.sqlite_version_info >= (3, 35)
"""Whether this SQLite has `UPDATE ... RETURNING`."""

MOST: Final = 4
"""Accounts that one statement takes from. There are rarely more, and each number is a statement."""

_ADD: Final = ", ".join(
    f"{column} = max(0, min({column} + ?, {MAX_AMOUNT}))" for column in ("calls", "cost", "tokens", "bytes")
)
_FITS: Final = (
    "key = ? AND window IS NULL AND expires >= ? AND calls <= ? AND cost <= ? AND tokens <= ? AND bytes <= ?"
)


def are_plain(accounts: Sequence[Account]) -> bool:
    """Whether one statement can do, if nothing is in its way."""
    return IS_QUICK and all(account.window is None for account in accounts)


def take_at_once(
    connection: sqlite3.Connection, accounts: Sequence[Account], amounts: Amounts, kept_until: float
) -> Taken | None:
    """Take `amounts` from every account.

    Args:
        connection: The file, outside a transaction.
        accounts: Accounts without a window.
        amounts: What to take from each.
        kept_until: Until when one without an end must be kept anyway, in seconds since the epoch.

    Returns:
        None if nothing was taken.
    """
    count, wanted = len(accounts), sums(amounts)
    keys = {encoded(account.key): account.key for account in accounts}
    if not 0 < count <= MOST or len(keys) < count:
        return None
    fits: list[bytes | float] = []
    for key, account in zip(keys, accounts, strict=True):
        limits = account.limits
        fits += (key, kept_until if account.ends_at is None else account.ends_at)
        for most, want in zip((limits.calls, limits.cost, limits.tokens, limits.bytes), wanted, strict=True):
            fits.append(MAX_AMOUNT if most is None else max(-1, min(most - want, MAX_AMOUNT)))
    rows = connection.execute(_take(count), (*wanted, *fits, *(keys if count > 1 else ()))).fetchall()
    if not rows:
        return None
    hold = Taken(accounts, amounts)
    for key, place, latest, *used in rows:
        hold.rows.append((keys[key], place, latest))
        hold.seen.append((used[0], used[1], used[2], used[3]))
    return hold


def correct_at_once(
    connection: sqlite3.Connection, hold: Taken, used: Amounts
) -> list[tuple[str, Sums]] | None:
    """Count `used` in place of what was taken from accounts without a window.

    Args:
        connection: The file, outside a transaction.
        hold: What was taken; accounts that are gone by now are left out.
        used: What was used of each.

    Returns:
        What has been used, by account; None if nothing was changed.
    """
    keys = {place: key for key, place, _ in hold.rows}
    count = len(keys)
    if not 0 < count <= MOST:
        return None
    extra = [now - before for now, before in zip(sums(used), sums(hold.amounts), strict=True)]
    words = (*extra, *keys, *(keys if count > 1 else ()))
    rows = connection.execute(_correct(count), words).fetchall()
    return [(keys[place], (calls, cost, tokens, size)) for place, calls, cost, tokens, size in rows] or None


@lru_cache(maxsize=MOST)
def _take(count: int) -> str:
    """For so many accounts: 4 amounts; of each what `_FITS` asks for; the keys if there are several."""
    where = _FITS
    if count > 1:
        fitting = " OR ".join([f"({_FITS})"] * count)
        where = f"(SELECT count(*) FROM accounts WHERE {fitting}) = {count} AND key IN ({_marks(count)})"  # noqa: S608 - constants
    return f"UPDATE accounts SET {_ADD} WHERE {where} RETURNING key, id, latest, calls, cost, tokens, bytes"  # noqa: S608 - constants


@lru_cache(maxsize=MOST)
def _correct(count: int) -> str:
    """For so many rows: 4 differences; the rows, twice if there are several."""
    where = "id = ? AND window IS NULL"
    if count > 1:
        named = f"id IN ({_marks(count)})"
        where = f"{named} AND NOT EXISTS (SELECT 1 FROM accounts WHERE {named} AND window IS NOT NULL)"  # noqa: S608 - constants
    return f"UPDATE accounts SET {_ADD} WHERE {where} RETURNING id, calls, cost, tokens, bytes"  # noqa: S608 - constants


def _marks(count: int) -> str:
    return ", ".join("?" * count)
