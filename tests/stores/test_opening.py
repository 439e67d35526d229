"""Stores by URL, in Python and in a policy file."""

import importlib.util
from pathlib import Path

import pytest
from guarded import answer

from mcpguard import Guard, PolicyError, StoreError, open_store
from mcpguard.config import load_policy, policy_schema
from mcpguard.stores.memory import MemoryStore
from mcpguard.stores.sqlite import SQLiteStore
from mcpguard.testing import FakeClock, FakeServer

pytestmark = pytest.mark.anyio

PASSWORD = "hun" + "ter2"

POLICY = """
version: 1
interceptors:
  budget: {per: tenant, id: day, calls: 2}
store: %s
"""


async def test_a_url_opens_what_it_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative paths start from the folder that is given, or from the current one; escapes are undone."""
    monkeypatch.chdir(tmp_path)
    assert isinstance(open_store("memory://"), MemoryStore)
    (tmp_path / "inner").mkdir()
    urls = ["sqlite:///a.db", "sqlite:///in%6eer/b%20c.db", f"sqlite:///{tmp_path}/d.db"]
    for store in [*map(open_store, urls), open_store("sqlite:///e.db", folder=tmp_path / "inner")]:
        assert isinstance(store, SQLiteStore)
        await store.aclose()
    assert all((tmp_path / name).is_file() for name in ("a.db", "d.db", "inner/b c.db", "inner/e.db"))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "memory",
        "memory:",
        "memory://x",
        "sqlite://",
        "sqlite:///",
        "sqlite:///folder/",
        "sqlite://host/file",
        "sqlite:///a.db?mode=ro",
        "sqlite:///a%00b",
        "file.db",
        "redis://",
        f"redis://:{PASSWORD}@host:port/0",
        f"redis://:{PASSWORD}@host/0/1",
        f"redis://:{PASSWORD}@[host",
        f"redis://:{PASSWORD}@host?db=2",
        f"postgres://user:{PASSWORD}@host/db",
        f"REDIS://user:{PASSWORD}@host",
    ],
)
def test_another_url_is_refused_and_not_repeated(url: str) -> None:
    """The message says what is accepted; a URL may hold a password."""
    with pytest.raises(ValueError, match=r"a store's URL (is one of memory://|sqlite:/// goes on)") as raised:
        open_store(url)
    assert PASSWORD not in str(raised.value)
    assert raised.value.__cause__ is None


@pytest.mark.skipif(importlib.util.find_spec("redis") is not None, reason="redis is installed")
def test_a_server_without_its_package_names_the_extra() -> None:
    """What to install."""
    with pytest.raises(StoreError, match=r"mcpguard-inline\[redis\]"):
        open_store("redis://localhost")


async def test_a_policy_file_names_the_store_and_the_guard_closes_it(tmp_path: Path) -> None:
    """The file lies beside the policy, is shared by guards, and denies once it is closed."""
    path, server = tmp_path / "policy.yaml", FakeServer()
    server.tool("work").returns("done")
    path.write_text(POLICY % "sqlite:///state.db")
    guards = [Guard.from_policy(path) for _ in range(2)]
    texts = [await answer(guard, server) for guard in guards * 2]
    assert texts[:2] == ["done"] * 2
    assert all("budget" in text for text in texts[2:])
    assert (tmp_path / "state.db").exists()
    for guard in guards:
        await guard.aclose()
    assert not (tmp_path / "state.db-wal").exists()
    assert await answer(guards[0], server) != "done"
    assert len(server.calls("work")) == 2


async def test_a_store_that_is_given_outweighs_the_files(tmp_path: Path) -> None:
    """It is not closed by the guard, and the file's is not opened."""
    path, server, store = tmp_path / "policy.yaml", FakeServer(), MemoryStore(clock=FakeClock())
    server.tool("work").returns("done")
    path.write_text(POLICY % "sqlite:///nowhere/state.db")
    guard = Guard.from_policy(path, store=store)
    assert await answer(guard, server) == "done"
    assert len(store) == 1
    await guard.aclose()
    assert len(store) == 1


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("file.db", r"policy.yaml:5: store: a store's URL is one of memory://"),
        ("7", r"policy.yaml:5: store: expected text, got a whole number"),
        (f"redis://:{PASSWORD}@host:x", r"policy.yaml:5: store: a store's URL is one of memory://"),
    ],
)
def test_a_policys_wrong_store_is_reported_with_its_line(tmp_path: Path, url: str, message: str) -> None:
    """When the file is checked, without opening anything."""
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY % url)
    with pytest.raises(PolicyError, match=message) as raised:
        load_policy(path)
    assert PASSWORD not in str(raised.value)


def test_a_store_that_cannot_be_opened_is_reported_with_its_line(tmp_path: Path) -> None:
    """When the guard is built."""
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY % "sqlite:///nowhere/state.db")
    assert load_policy(path).options.store == "sqlite:///nowhere/state.db"
    with pytest.raises(PolicyError, match=r"policy.yaml:5: store: the store state.db cannot be opened"):
        Guard.from_policy(path)


def test_a_policy_shows_no_password(tmp_path: Path) -> None:
    """In no representation of it."""
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY % f"redis://:{PASSWORD}@localhost:1/0")
    assert PASSWORD not in repr(load_policy(path))


def test_the_schema_knows_the_store() -> None:
    """For editors."""
    properties = policy_schema()["properties"]
    assert isinstance(properties, dict)
    assert "sqlite:///file" in str(properties["store"])
