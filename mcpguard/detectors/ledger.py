"""Which accounts a call spends from: one for each payer and period, opened when it is first needed.

What an account is, and what has been spent of it, is known to whoever makes it. The accounts of a run live
as long as the run does; of others a bounded number is remembered, and whoever comes back gets an equal one.
"""

import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Generic, TypeVar

from mcpguard.core.call import Call
from mcpguard.core.run import Run
from mcpguard.detectors.payers import Payer, Per, label, of_run, payers
from mcpguard.detectors.periods import Calendar, Period

__all__ = ["Ledger"]

A = TypeVar("A")
B = TypeVar("B")

MAX_OPEN: Final = 4096
"""Accounts of others than runs that are remembered."""


class Ledger(Generic[A, B]):
    """Open accounts.

    Args:
        per: What has an account.
        calendar: Divides time into periods, each with accounts of its own. None: there is one, without end.
        make: Makes the account of a payer in a period.
        bind: Makes a batch of accounts that are kept together.
        drop: Told of the account of a run that is gone. Called while garbage is collected.
    """

    def __init__(
        self,
        per: Per,
        calendar: Calendar | None,
        *,
        make: Callable[[Payer, Period | None], A],
        bind: Callable[[Iterable[A]], B],
        drop: Callable[[A], None],
    ) -> None:
        self._per: Per = per
        self._is_of_runs = per == "run" and calendar is None
        self._calendar = calendar
        self._make = make
        self._bind = bind
        self._drop = drop
        self._seats: dict[int, _Seat[A, B]] = {}
        self._open: dict[tuple[Payer, Period | None], tuple[A, Sequence[B]]] = {}
        self._seating = threading.Lock()

    def batches(self, call: Call, time: float = 0.0) -> Sequence[B]:
        """The accounts `call` spends from, in batches; none if nobody is known to pay.

        Args:
            call: The call.
            time: Seconds since the epoch; read only where there is a calendar.
        """
        run = call.run
        if self._is_of_runs and run is not None:
            seat = self._seats.get(id(run))
            return self._seated(run, None).batches if seat is None else seat.batches
        period = self._period(time)
        if self._per != "run":
            return self._batches(payers(self._per, call), period)
        if run is None:
            return ()
        seat = self._seats.get(id(run)) or self._seated(run, period)
        return seat.batches if seat.period is period else self._renewed(seat, period)

    def open(self, time: float) -> Iterator[tuple[str, A]]:
        """The accounts of this period and their labels, newest first; of runs, those that go on."""
        period = self._period(time)
        for seat in reversed(list(self._seats.copy().values())):
            run = seat()
            if run is not None and run.ended is None and seat.period is period:
                yield label("run", seat.payer), seat.account
        for (payer, its), (account, _) in reversed(list(self._open.copy().items())):
            if its is period:
                yield label(self._per, payer), account

    def _period(self, time: float) -> Period | None:
        return None if self._calendar is None else self._calendar.current(time)

    def _batches(self, found: Sequence[Payer], period: Period | None) -> Sequence[B]:
        """One batch a tenant, always in the same order, so that two calls cannot each hold half."""
        if len(found) == 1:
            return self._account(found[0], period)[1]
        batches: dict[str | None, list[A]] = {}
        for payer in found:
            batches.setdefault(payer[0], []).append(self._account(payer, period)[0])
        return tuple(self._bind(batches[tenant]) for tenant in sorted(batches, key=lambda one: one or ""))

    def _account(self, payer: Payer, period: Period | None) -> tuple[A, Sequence[B]]:
        """The account of a payer, and the batch it is alone in."""
        known = self._open.get((payer, period))
        if known is None:
            if len(self._open) >= MAX_OPEN:
                self._open.clear()
            account = self._make(payer, period)
            known = self._open[payer, period] = (account, (self._bind((account,)),))
        return known

    def _seated(self, run: Run, period: Period | None) -> "_Seat[A, B]":
        """A seat for `run`, and for all above it that have none yet."""
        with self._seating:
            lineage: list[_Seat[A, B]] = []
            for one in reversed(run.lineage):
                known = self._seats.get(id(one))
                seat: _Seat[A, B] = _Seat(one, self._leave) if known is None else known
                if known is None:
                    seat.place = id(one)
                    seat.payer = of_run(one, one.key)
                    seat.above = tuple(lineage)
                    seat.account = self._make(seat.payer, period)
                    seat.batches = (self._bind((seat.account, *(other.account for other in lineage))),)
                    seat.period = period
                    self._seats[seat.place] = seat
                lineage.insert(0, seat)
        return lineage[0]

    def _renewed(self, seat: "_Seat[A, B]", period: Period | None) -> Sequence[B]:
        """The accounts of a run in a period that it has none in yet."""
        for one in (*reversed(seat.above), seat):
            if one.period is not period:
                one.account = self._make(one.payer, period)
                one.batches = (self._bind((one.account, *(other.account for other in one.above))),)
                one.period = period
        return seat.batches

    def _leave(self, seat: "_Seat[A, B]") -> None:
        """A run is gone. Called while garbage is collected, so without a lock."""
        self._seats.pop(seat.place, None)
        self._drop(seat.account)


class _Seat(weakref.ref[Run], Generic[A, B]):
    """A run, the seats of those above it, and what it spends from: its own account, then theirs."""

    __slots__ = ("above", "account", "batches", "payer", "period", "place")
    above: "tuple[_Seat[A, B], ...]"
    account: A
    batches: Sequence[B]
    payer: Payer
    period: Period | None
    place: int
