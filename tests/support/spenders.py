"""What processes do that spend from one account of a store, in a module that is quickly imported by each."""

import multiprocessing
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Final

import anyio

from mcpguard.stores.store import Account, Amounts, Limits, Refusal, Store

__all__ = ["PROCESSES", "counted", "spend_from_file", "spend_from_server"]


def _context() -> BaseContext:
    """Processes that are forked from one that has imported what takes long, where there are such."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["anyio._backends._asyncio", "mcpguard.stores.redis", "mcpguard.stores.sqlite", "redis.asyncio.retry"]
    )
    return context


PROCESSES: Final = _context()
"""Makes processes that share nothing with this one."""


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
