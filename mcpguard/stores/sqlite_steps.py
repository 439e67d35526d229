"""Steps of rates and leases in a `SQLiteStore`, inside whatever transaction is under way.

A clock that was put back further than a rate or a lease reaches is followed: what was left of it is left.
"""

import sqlite3
from typing import Final

from mcpguard.stores.sqlite_rows import Spot, put
from mcpguard.stores.store import PRECISION, Pace

__all__ = ["take_lease", "take_step"]

LEEWAY: Final = 60.0
"""Seconds for which a rate is kept after it has rested, so that its index does not change with every step."""

_PACED: Final = "UPDATE rates SET due = ?, at = ? WHERE kin = ? AND key = ?"


def take_step(
    connection: sqlite3.Connection, place: Spot, now: float, *, interval: float, burst: int, max_wait: float
) -> Pace:
    """One step of a rate, if it is not too early."""
    found = connection.execute(
        "SELECT due, at, expires FROM rates WHERE kin = ? AND key = ?", place
    ).fetchone()
    due, at, expires = found or (now, now, 0.0)
    is_behind = at - now > burst * interval + max_wait
    if is_behind:
        due -= at - now
    wait = due - (burst - 1) * interval - now
    if wait > max_wait + PRECISION:
        if is_behind:
            connection.execute(_PACED, (due, now, *place))
        return Pace(False, wait)
    due = max(now, due) + interval
    if found is not None and expires >= due:
        connection.execute(_PACED, (due, now, *place))
    else:
        put(connection, "rates", place, due=due, at=now, expires=2 * due - now + LEEWAY)
    return Pace(True, wait if wait > PRECISION else 0.0)


def take_lease(
    connection: sqlite3.Connection, place: Spot, now: float, *, owner: bytes, seconds: float
) -> bool:
    """A lease, if nobody else has it."""
    found = connection.execute(
        "SELECT owner, seconds, expires FROM leases WHERE kin = ? AND key = ?", place
    ).fetchone()
    if found is not None and found[0] != owner and found[2] > now:
        other, longest, until = found
        if until > now + longest:
            put(connection, "leases", place, owner=other, seconds=longest, expires=now + longest)
        return False
    put(connection, "leases", place, owner=owner, seconds=seconds, expires=now + seconds)
    return True
