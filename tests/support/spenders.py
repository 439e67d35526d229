"""What processes do that spend from one account of a store, in a module that is quickly imported by each."""

from pathlib import Path

import anyio

from mcpguard.stores.store import Account, Amounts, Limits, Refusal, Store

__all__ = ["counted", "spend_from_file", "spend_from_server"]


def spend_from_file(path: str, report: str, limit: int) -> None:
    """Spend all that is left of an account in an SQLite file."""
    from mcpguard.stores.sqlite import SQLiteStore

    anyio.run(
        _spend,
        SQLiteStore(path, patience=60.0),
        Account("shared", label="", limits=Limits(calls=limit)),
        report,
    )


def spend_from_server(url: str, key: str, report: str, limit: int) -> None:
    """Spend all that is left of an account on a Redis server."""
    from mcpguard.stores.redis import RedisStore

    account = Account(key, label="", limits=Limits(calls=limit), group="acme")
    anyio.run(_spend, RedisStore(url, timeout=30.0), account, report)


async def _spend(store: Store, account: Account, report: str) -> None:
    """Reserve until it is refused, writing down each grant before the next; settle every third."""
    number = 0
    with Path(report).open("ab", buffering=0) as granted:  # noqa: ASYNC230
        while not isinstance(hold := await store.reserve([account], Amounts(calls=1, cost=7)), Refusal):
            granted.write(b"x")
            if number % 3 == 0:
                await store.settle(hold, Amounts(calls=1, cost=2))
            number += 1
    await store.aclose()


def counted(reports: list[Path]) -> int:
    """Grants that were written down."""
    return sum(report.stat().st_size for report in reports if report.exists())
