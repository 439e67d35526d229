"""Two SQLite stores on one file beside a model of it, under any interleaving of their operations."""

import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TypeVar

from anyio.from_thread import start_blocking_portal
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, rule

from mcpguard.stores.sqlite import SQLiteStore
from mcpguard.stores.store import Account, Amounts, Hold, Limits, Refusal

T = TypeVar("T")

KEYS = ("a", "b", "c")
LIMIT = 6

Entry = tuple[Hold | None, SQLiteStore, frozenset[str], int]


class Machine(RuleBasedStateMachine):
    """What two processes would do, one operation after another."""

    holds = Bundle("holds")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.entered = start_blocking_portal()
        self.portal = self.entered.__enter__()
        path = Path(self.folder.name, "s.db")
        self.stores = [SQLiteStore(path), SQLiteStore(path)]
        self.used = dict.fromkeys(KEYS, 0)

    def done(self, operation: Callable[..., Coroutine[object, object, T]], *args: object) -> T:
        """What an operation comes to."""
        return self.portal.call(operation, *args)

    @rule(
        target=holds,
        which=st.integers(0, 1),
        keys=st.sets(st.sampled_from(KEYS), min_size=1),
        calls=st.integers(0, 4),
    )
    def reserve(self, which: int, keys: set[str], calls: int) -> Entry:
        store = self.stores[which]
        accounts = [Account(key, label=key, limits=Limits(calls=LIMIT)) for key in keys]
        answer = self.done(store.reserve, accounts, Amounts(calls=calls))
        fits = all(self.used[key] + calls <= LIMIT for key in keys)
        assert isinstance(answer, Hold if fits else Refusal)
        if isinstance(answer, Refusal):
            assert answer.used.calls == self.used[answer.account.key]
            return None, store, frozenset(), 0
        for key in keys:
            self.used[key] += calls
        return answer, store, frozenset(keys), calls

    @rule(entry=consumes(holds), real=st.integers(0, 4), times=st.integers(1, 2))
    def settle(self, entry: Entry, real: int, times: int) -> None:
        hold, store, keys, calls = entry
        if hold is None:
            return
        for _ in range(times):
            self.done(store.settle, hold, Amounts(calls=min(real, calls)))
        for key in keys:
            self.used[key] += min(real, calls) - calls

    @rule()
    def agrees_with_the_model(self) -> None:
        for key, calls in self.used.items():
            asked = Account(key, label=key, limits=Limits(calls=0))
            answer = self.done(self.stores[0].reserve, [asked], Amounts(calls=1))
            assert isinstance(answer, Refusal)
            assert answer.used.calls == calls

    def teardown(self) -> None:
        for store in self.stores:
            self.done(store.aclose)
        self.entered.__exit__(None, None, None)
        self.folder.cleanup()


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
