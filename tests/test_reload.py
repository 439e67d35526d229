"""Reload: what a changed policy file swaps, what lives on, and what is refused."""

import gc
import importlib
import logging
import os
import signal
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from harness import code, opened, text
from trails import kept

from mcpguard import Guard, GuardBuildError, PluginError, PolicyError, Principal, SeamError
from mcpguard.config import load_policy
from mcpguard.testing import FakeServer, Gate, RecordingSink

pytestmark = pytest.mark.anyio

ALLOWING = "access: {default: allow}"
DENYING = "access: {default: allow, deny: [{tools: [read]}]}"


def policy(*interceptors: str, **top: str) -> str:
    """A policy file with these sections."""
    sections = textwrap.indent("\n".join(interceptors), "  ")
    return "\n".join(
        ["version: 1", *(f"{key}: {value}" for key, value in top.items()), f"interceptors:\n{sections}"]
    )


def write(file: Path, content: str) -> None:
    """Edit a file in place, as editors do."""
    file.write_text(content)


def read(file: Path) -> str:
    """What a file holds now."""
    return file.read_text()


def remove(file: Path) -> None:
    """Delete a file."""
    file.unlink()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A policy that allows everything."""
    path = tmp_path / "policy.yaml"
    path.write_text(policy(ALLOWING))
    return path


@pytest.fixture
def server() -> FakeServer:
    """Two tools."""
    server = FakeServer()
    server.tool("read").returns("text")
    server.tool("write").returns("done")
    return server


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait for what a file system or another thread brings about."""
    with anyio.fail_after(20):
        while not holds():  # noqa: ASYNC110 - nobody could set an event
            await anyio.sleep(0.005)


async def test_a_changed_policy_holds_for_the_next_call_of_an_open_session(
    file: Path, server: FakeServer
) -> None:
    """A changed policy file is swapped between calls, sessions kept."""
    guard = Guard.from_policy(file)
    async with opened(guard, server, "session") as peer:
        assert text(await peer.call("read")) == "text"
        write(file, policy(DENYING))
        assert guard.reload()
        assert code(await peer.call("read")) == "access_denied"
        assert await peer.tools() == ["write"]
        assert not guard.reload()
    assert server.clients == 0
    assert len(server.seen("initialize")) == 1


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ("version: 1\ninterceptors:\n  acces: {}\n", PolicyError),
        ("version: 1\ninterceptors:\n  budget: {calls: 0}\n", PolicyError),
        ("version: 1\ninterceptors: {access", PolicyError),
        ("version: 1\ninterceptors: {}\naudit: [{jsonl: {path: policy.yaml/x.jsonl}}]\n", PolicyError),
        ("", PolicyError),
        (None, PolicyError),
    ],
)
async def test_a_bad_policy_is_refused_and_the_old_one_stays(
    file: Path, server: FakeServer, bad: str | None, error: type[Exception]
) -> None:
    """A bad one is refused and the old one stays; the record says so."""
    write(file, policy(DENYING))
    sink = RecordingSink()
    guard = Guard.from_policy(file, sinks=[sink])
    before = load_policy(file).digest
    async with opened(guard, server, "session") as peer:
        if bad is None:
            remove(file)
        else:
            write(file, bad)
        for _ in range(2):
            with pytest.raises(error):
                guard.reload()
        assert code(await peer.call("read")) == "access_denied"
        assert text(await peer.call("write")) == "done"
    assert sink.kinds.count("policy_refused") == 2
    refused = sink.last("policy_refused")
    assert refused.policy == before
    assert refused.reason
    assert {event.policy for event in sink.events} == {before}


async def test_every_record_carries_the_hash_of_the_policy_that_decided(
    file: Path, server: FakeServer
) -> None:
    """Every record carries the policy's hash; a call finishes on the chain it began with."""
    gate = Gate()
    server.tool("slow").waits_for(gate).returns("late")
    first = load_policy(file).digest
    sink = RecordingSink()
    guard = Guard.from_policy(file, sinks=[sink])
    answers: list[Mapping[str, Any]] = []
    async with opened(guard, server, "session") as peer, anyio.create_task_group() as tasks:

        async def slow() -> None:
            answers.append(await peer.call("slow"))

        tasks.start_soon(slow)
        await gate.reached()
        write(file, policy("access: {default: deny}"))
        guard.reload()
        assert code(await peer.call("read")) == "access_denied"
        gate.open()
    second = load_policy(file).digest
    assert [text(answer) for answer in answers] == ["late"]
    late = [event.policy for event in sink.events if event.target == "slow"]
    assert late == [first] * 3
    assert {event.policy for event in sink.events if event.target == "read"} == {second}
    assert sink.last("policy_loaded").policy == second
    assert [event.seq for event in sink.events] == list(range(1, len(sink.events) + 1))


async def test_a_guard_without_a_policy_records_no_hash(server: FakeServer) -> None:
    """There is none; a guard that was made in Python cannot be reloaded either."""
    sink = RecordingSink()
    guard = Guard(sinks=[sink])
    async with opened(guard, server, "session") as peer:
        await peer.call("read")
    assert {event.policy for event in sink.events} == {None}
    with pytest.raises(GuardBuildError, match="there is no policy file"):
        guard.reload()
    with pytest.raises(GuardBuildError, match="there is no policy file"):
        async with guard.reloading():
            raise AssertionError


UNCHANGED = "budget: {calls: 3}"
BY_ID = ("budget: {id: cap, calls: 3}", "budget: {id: cap, calls: 4}")


@pytest.mark.parametrize(
    ("before", "after", "left"),
    [
        (UNCHANGED, UNCHANGED, 1),
        (*BY_ID, 2),
        ("budget: {calls: 3}", "budget: {calls: 4}", 4),
        ("budget: {id: cap, calls: 3}", "budget: {id: other, calls: 3}", 3),
        (
            "rate_limit: {id: pace, calls: 3, seconds: 100000, per: run}",
            "rate_limit: {id: pace, calls: 3, seconds: 100001, per: run}",
            1,
        ),
        (
            "rate_limit: {calls: 3, seconds: 100000, per: run}",
            "rate_limit: {calls: 3, seconds: 100000, per: run}",
            1,
        ),
    ],
)
async def test_counters_live_on_by_the_ids_of_rules(
    file: Path, server: FakeServer, before: str, after: str, left: int
) -> None:
    """Counters live on by the rules' ids; without an id, by what the rule says."""
    write(file, policy(ALLOWING, before))
    guard = Guard.from_policy(file)
    async with opened(guard, server, "session") as peer, guard.run():
        for _ in range(2):
            assert text(await peer.call("read")) == "text"
        write(file, policy("access: {default: allow, deny: [{tools: [write]}]}", after))
        assert guard.reload()
        codes = [code(await peer.call("read")) for _ in range(6)]
    assert codes.count(None) == left


async def test_a_limit_that_was_used_up_stays_used_up_over_many_reloads(
    file: Path, server: FakeServer
) -> None:
    """Reloading is no way to a fresh budget."""
    write(file, policy("budget: {id: cap, calls: 2}"))
    guard = Guard.from_policy(file)
    async with opened(guard, server, "session") as peer, guard.run():
        for number in range(10):
            write(file, policy(f"budget: {{id: cap, calls: 2, warn_at: 0.{number + 1}1}}"))
            assert guard.reload()
            await peer.call("read")
    assert len(server.calls("read")) == 2


async def test_a_budget_counts_calls_that_are_under_way_while_it_changes(
    file: Path, server: FakeServer
) -> None:
    """Calls finish on the chain they began with, and settle where the next chain looks."""
    gate = Gate()
    server.tool("slow").waits_for(gate).returns("late")
    write(file, policy(BY_ID[0]))
    guard = Guard.from_policy(file)
    async with opened(guard, server, "session") as peer, guard.run(), anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(peer.call, "slow")
        await eventually(lambda: len(server.calls("slow")) == 3)
        write(file, policy(BY_ID[1]))
        guard.reload()
        assert [code(await peer.call("read")) for _ in range(2)] == [None, "budget_exhausted"]
        gate.open()


async def test_slots_in_use_are_in_use_after_a_reload(file: Path, server: FakeServer) -> None:
    """Fewer slots hold for the calls that are under way too."""
    gate = Gate()
    server.tool("slow").waits_for(gate).returns("late")
    write(file, policy("concurrency: {id: few, slots: 3, queue: 0}"))
    guard = Guard.from_policy(file)
    async with opened(guard, server, "session") as peer:
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(peer.call, "slow")
            await eventually(lambda: len(server.calls("slow")) == 2)
            write(file, policy("concurrency: {id: few, slots: 2, queue: 0}"))
            guard.reload()
            assert code(await peer.call("read")) == "too_many_calls"
            gate.open()
        assert text(await peer.call("read")) == "text"


async def test_a_run_that_goes_in_circles_does_so_after_a_reload(file: Path, server: FakeServer) -> None:
    """What runs have done so far is known to the rule that has changed."""
    write(file, policy("loop_detector: {id: loops, warn_after: 3, block_after: 9}"))
    guard = Guard.from_policy(file)
    async with opened(guard, server, "session") as peer, guard.run():
        for _ in range(4):
            await peer.call("read", {"path": "a"})
        write(file, policy("loop_detector: {id: loops, warn_after: 3, block_after: 5}"))
        guard.reload()
        assert code(await peer.call("read", {"path": "a"})) == "loop_detected"


async def test_an_open_breaker_is_open_after_a_reload(file: Path, server: FakeServer) -> None:
    """A server that fails is not called again because somebody edited a file."""
    server.tool("broken").fails(-32603, "no")
    terms = "id: breaker, open_for: 1000, open_at_most: 2000"
    write(file, policy(f"circuit_breaker: {{{terms}, window: 5, min_calls: 5}}"))
    guard = Guard.from_policy(file)
    async with opened(guard, server, "session") as peer:
        for _ in range(5):
            with pytest.raises(Exception, match="no"):
                await peer.call("broken")
        write(file, policy(f"circuit_breaker: {{{terms}, window: 50, min_calls: 50}}"))
        guard.reload()
        assert code(await peer.call("read")) == "circuit_open"


async def test_answers_kept_under_other_rules_are_not_served(file: Path, server: FakeServer) -> None:
    """A cached answer is as the rules further in had left it, and those may have changed."""
    cache = "result_cache: {tools: [read], seconds: 1000}"
    write(file, policy(cache))
    guard = Guard.from_policy(file)
    async with opened(guard, server, "session") as peer, guard.run(principal=Principal(user="ana")):
        for _ in range(2):
            await peer.call("read")
        assert len(server.calls("read")) == 1
        write(file, policy(cache, "deadline: {seconds: 100}"))
        guard.reload()
        await peer.call("read")
    assert len(server.calls("read")) == 2


async def test_who_may_be_anonymous_changes_with_the_policy(file: Path, server: FakeServer) -> None:
    """What stands at the top of the file is swapped too, for sessions that are open."""
    rule = "access: {default: allow, deny: [{tools: [read], roles: [guest]}]}"
    write(file, policy(rule, anonymous="allow"))
    guard = Guard.from_policy(file)
    async with opened(guard, server, "session") as peer:
        assert code(await peer.call("read")) is None
        write(file, policy(rule, anonymous="deny"))
        guard.reload()
        assert code(await peer.call("read")) == "no_principal"


async def test_a_stopped_tenant_stays_stopped(file: Path, server: FakeServer) -> None:
    """The kill switch is the guard's, not the policy's."""
    guard = Guard.from_policy(file)
    async with opened(guard, server, "session") as peer:
        guard.stop("acme")
        write(file, policy(ALLOWING, "loop_detector: {}"))
        guard.reload()
        async with guard.run(principal=Principal(tenant="acme")):
            assert code(await peer.call("read")) == "tenant_stopped"


async def test_sinks_stay_open_or_are_opened_and_closed_as_the_file_says(
    file: Path, server: FakeServer
) -> None:
    """The record has no gap: what is still named is not opened again."""
    first, second = file.with_name("first"), file.with_name("second")
    write(file, policy(ALLOWING, audit="[{jsonl: {path: first}}]"))
    guard = Guard.from_policy(file)
    async with guard, opened(guard, server, "session") as peer:
        await peer.call("read")
        write(file, policy(DENYING, audit="[{jsonl: {path: first}}, {jsonl: {path: second}}]"))
        guard.reload()
        await peer.call("read")
        write(file, policy(ALLOWING, audit="[{jsonl: {path: second}}]"))
        guard.reload()
        await peer.call("read")
    one, other = ([record["event"] for record in kept(folder)] for folder in (first, second))
    assert sorted({*one, *other}) == list(range(1, max(other) + 1))
    assert one[0] == 1
    assert other[0] > 1
    assert set(one) & set(other)
    assert max(one) < max(other)


def test_sinks_that_were_given_as_an_iterator_are_written_to_after_a_reload_too(file: Path) -> None:
    """`sinks` is any iterable, which may be read once only."""
    sink = RecordingSink()
    guard = Guard.from_policy(file, sinks=iter([sink]))
    write(file, policy(DENYING))
    assert guard.reload()
    assert [event.kind for event in sink.events] == ["policy_loaded", "policy_loaded"]


async def test_calls_from_many_threads_never_fail_while_policies_change(
    file: Path, server: FakeServer
) -> None:
    """Reload under load, no failed call; each is decided by one policy or the other, whole."""
    texts = [
        policy(ALLOWING, BY_ID[0].replace("3", "100000")),
        policy(ALLOWING, BY_ID[1].replace("4", "100001")),
    ]
    guard = Guard.from_policy(file)
    done = threading.Event()
    swaps = 0

    def swap() -> None:
        nonlocal swaps
        while not done.is_set():
            other = file.with_suffix(".new")
            other.write_text(texts[swaps % 2])
            other.replace(file)
            swaps += guard.reload()

    thread = threading.Thread(target=swap)
    async with opened(guard, server, "session") as peer, guard.run():
        thread.start()
        try:
            number = 0
            while number < 200 or swaps < 5:
                assert text(await peer.call("read", {"n": number})) == "text"
                number += 1
        finally:
            done.set()
            thread.join()
    assert len(server.calls("read")) == number


def test_what_a_reload_cannot_change_is_named(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Which servers are there, and what `http` says; a file that was refused and is as before, too."""
    guard = Guard.from_policy(file)
    before = read(file)
    write(file, before + "\nservers: {other: {command: a}}\nhttp: {idle: 7}\n")
    assert guard.reload()
    assert "which servers there are and how they are reached counts from the next start on" in caplog.text
    assert "what http says counts from the next start on" in caplog.text
    enforced = read(file)
    write(file, "version: 1\ninterceptors: {acces: {}}")
    with pytest.raises(PolicyError):
        guard.reload()
    caplog.clear()
    write(file, enforced)
    assert not guard.reload()
    assert not guard.reload()
    assert caplog.text.count("the policy file says again what is enforced") == 1


async def test_a_watched_file_is_reloaded_when_it_changes_and_a_bad_one_is_survived(
    file: Path, server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    """By file watch."""
    sink = RecordingSink()
    guard = Guard.from_policy(file, sinks=[sink])
    async with opened(guard, server, "session") as peer, guard.reloading(every=0.01):
        write(file, "version: 1\ninterceptors: {acces: {}}")
        with caplog.at_level(logging.ERROR, "mcpguard"):
            await eventually(lambda: "the policy stays as it was" in caplog.text)
        assert sink.kinds.count("policy_refused") == 1
        assert text(await peer.call("read")) == "text"
        remove(file)
        await eventually(lambda: sink.kinds.count("policy_refused") == 2)
        write(file, policy(DENYING))
        await eventually(lambda: sink.kinds.count("policy_loaded") == 2)
        assert code(await peer.call("read")) == "access_denied"


async def test_a_change_before_the_watch_began_is_not_missed(file: Path) -> None:
    """Between building the guard and watching the file somebody may have edited it."""
    sink = RecordingSink()
    guard = Guard.from_policy(file, sinks=[sink])
    write(file, policy(DENYING))
    async with guard.reloading(every=0.01):
        await eventually(lambda: sink.kinds.count("policy_loaded") == 2)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")
async def test_a_signal_reloads(file: Path) -> None:
    """By signal."""
    sink = RecordingSink()
    guard = Guard.from_policy(file, sinks=[sink])
    async with guard.reloading(every=None, signals=[signal.SIGHUP]):
        write(file, policy(DENYING))
        os.kill(os.getpid(), signal.SIGHUP)
        await eventually(lambda: sink.kinds.count("policy_loaded") == 2)


@pytest.mark.parametrize(
    ("options", "message"), [({"every": 0.0}, "above 0"), ({"every": None}, "nothing would ever")]
)
async def test_what_would_never_reload_is_an_error(file: Path, options: Any, message: str) -> None:
    """And not silence."""
    with pytest.raises(ValueError, match=message):
        async with Guard.from_policy(file).reloading(**options):
            raise AssertionError


def test_a_policy_that_may_be_reloaded_gets_no_client_with_a_cache(file: Path) -> None:
    """It may link an interceptor later, past which a client's cache would answer."""
    write(file, "version: 1\n")
    with pytest.raises(SeamError):
        Guard.from_policy(file).client(FakeServer().connect(), name="files", cache=object())


PLUGIN = """
from typing import Unpack
from mcpguard import ALLOW, Common, Interceptor
class Awkward(Interceptor):
    handles = {("tools/call", "outbound")}
    def __init__(self, *, number: int = 0, **common: Unpack[Common]) -> None:
        super().__init__(**common)
        self.number = number
    def check(self, call):
        return ALLOW
    def take_over(self, before):
        raise RuntimeError("canary")
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed plugin whose counters cannot be taken over."""
    (tmp_path / "awkward_plugin.py").write_text(PLUGIN)
    info = tmp_path / "awkward_plugin-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: awkward-plugin\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[mcpguard.interceptors]\nawkward = awkward_plugin:Awkward\n")
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("plugin")
async def test_a_count_that_would_be_lost_refuses_the_policy(file: Path, server: FakeServer) -> None:
    """A plugin that fails over taking over: the old chain stays, whole."""
    write(file, policy("awkward: {id: a, number: 1}", DENYING))
    sink = RecordingSink()
    guard = Guard.from_policy(file, sinks=[sink])
    async with opened(guard, server, "session") as peer:
        write(file, policy("awkward: {id: a, number: 2}"))
        with pytest.raises(PluginError, match="a cannot take over: RuntimeError"):
            guard.reload()
        assert code(await peer.call("read")) == "access_denied"
    assert not any("canary" in one for one in sink.texts)


SINK = """
made = []
class Stubborn:
    def __init__(self, *, name: str, fails: bool = False) -> None:
        self.name, self.fails, self.kinds, self.is_closed = name, fails, [], False
        made.append(self)
    def emit(self, event):
        if self.is_closed:
            raise RuntimeError("closed")
        self.kinds.append((event.target, event.kind))
    async def aclose(self):
        self.is_closed = True
        if self.fails:
            raise OSError("canary")
"""


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """An installed plugin with a sink that may fail over closing; the sinks made so far."""
    (tmp_path / "stubborn_plugin.py").write_text(SINK)
    info = tmp_path / "stubborn_plugin-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stubborn-plugin\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[mcpguard.sinks]\nstubborn = stubborn_plugin:Stubborn\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("stubborn_plugin").made
    del sys.modules["stubborn_plugin"]


def audited(number: int, *sinks: str) -> str:
    """A policy with these sinks; the number makes it another."""
    named = ", ".join(f"{{stubborn: {{{one}}}}}" for one in sinks)
    return policy(f"concurrency: {{id: slots, slots: {1000 + number}}}", audit=f"[{named}]")


async def test_a_dropped_sink_is_closed_once_no_call_that_began_with_it_is_under_way(
    file: Path, server: FakeServer, made: list[Any]
) -> None:
    """Of any of the chains that had it: the record of a call is whole."""
    gate = Gate()
    server.tool("slow").waits_for(gate).returns("late")
    seen = RecordingSink()
    write(file, audited(0, "name: a", "name: b"))
    guard = Guard.from_policy(file, sinks=[seen])

    async def change(number: int, *sinks: str) -> None:
        gc.collect()
        write(file, audited(number, *sinks))
        await eventually(lambda: seen.kinds.count("policy_loaded") == number + 1)

    async with opened(guard, server, "session") as peer, guard.reloading(every=0.01):
        dropped = made[-2]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(peer.call, "slow")
            await gate.reached()
            await change(1, "name: a", "name: c")
            await change(2, "name: c")
            await change(3, "name: c")
            await change(4, "name: c")
            assert not dropped.is_closed
            gate.open()
        assert dropped.kinds[-1] == ("slow", "completed")
        await change(5, "name: c")
        await eventually(lambda: dropped.is_closed)
        assert not made[-1].is_closed
    assert guard.status()["sinks"] == {"failures": {}}


async def test_a_sink_that_cannot_be_closed_stops_neither_the_others_nor_the_host(
    file: Path, server: FakeServer, made: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Dropped by a reload in the background: the program around goes on, and the log has no value."""
    seen = RecordingSink()
    write(file, audited(0, "name: a, fails: true", "name: b"))
    guard = Guard.from_policy(file, sinks=[seen])
    first, second = made[-2:]
    async with opened(guard, server, "session") as peer, guard.reloading(every=0.01):
        for number in (1, 2):
            write(file, audited(number))
            await eventually(lambda: seen.kinds.count("policy_loaded") == number + 1)  # noqa: B023
            gc.collect()
        await eventually(lambda: first.is_closed and second.is_closed)
        assert text(await peer.call("read")) == "text"
    assert guard.status()["sinks"] == {"failures": {"Stubborn": 1}}
    assert "sink Stubborn failed with OSError" in caplog.text
    assert "canary" not in caplog.text


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize(
    "refused",
    [
        ("awkward: {id: a, number: 1}", "{stubborn: {name: b}}, {jsonl: {path: policy.yaml/x.jsonl}}"),
        ("awkward: {id: a, number: 2}", "{stubborn: {name: b, fails: true}}, {jsonl: {path: other.jsonl}}"),
    ],
    ids=["a sink that cannot be opened", "a rule that cannot take over"],
)
async def test_what_a_refused_policy_had_opened_is_closed_again(
    file: Path, server: FakeServer, made: list[Any], refused: tuple[str, str]
) -> None:
    """Its files are free for the next one; what was open before stays open, in an event loop or not."""
    awkward, sinks = refused
    kept = "{stubborn: {name: a}}"
    write(file, policy("awkward: {id: a, number: 1}", audit=f"[{kept}]"))
    guard = Guard.from_policy(file)
    first = made[-1]
    write(file, policy(awkward, audit=f"[{kept}, {sinks}]"))
    for reload in (guard.reload, lambda: anyio.from_thread.run_sync(guard.reload)):
        with pytest.raises((PluginError, PolicyError)):
            await anyio.to_thread.run_sync(reload)
        assert made[-1].name == "b"
        assert (made[-1].is_closed, first.is_closed) == (True, False)
    write(file, policy("awkward: {id: a, number: 1}", audit=f"[{kept}, {{jsonl: {{path: other.jsonl}}}}]"))
    assert guard.reload()
    async with opened(guard, server, "session") as peer:
        assert text(await peer.call("read")) == "text"
    await guard.aclose()


def test_what_a_policy_that_is_refused_at_first_had_opened_is_closed_again(
    file: Path, made: list[Any]
) -> None:
    """Nobody has a guard to close."""
    write(file, policy(ALLOWING, audit="[{stubborn: {name: a}}, {jsonl: {path: policy.yaml/x.jsonl}}]"))
    with pytest.raises(PolicyError):
        Guard.from_policy(file)
    assert made[-1].is_closed


async def test_closing_a_guard_closes_everything_whatever_fails(
    file: Path, made: list[Any], tmp_path: Path
) -> None:
    """Dropped sinks, those in use and the store."""
    write(file, audited(0, "name: a, fails: true", "name: b") + f"\nstore: sqlite:///{tmp_path}/state.db")
    guard = Guard.from_policy(file)
    write(file, audited(1, "name: c, fails: true", "name: d") + f"\nstore: sqlite:///{tmp_path}/state.db")
    guard.reload()
    with pytest.raises(OSError, match="canary"):
        await guard.aclose()
    assert [one.is_closed for one in made[-4:]] == [True] * 4
    assert guard.status()["sinks"] == {"failures": {"Stubborn": 2}}
    await guard.aclose()


async def test_leaving_a_guard_whose_sink_cannot_be_closed_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What ran inside is done: it neither fails for that, nor is its own error hidden."""
    async with Guard(sinks=[RecordingSink(fails_with=OSError("canary"))]):
        pass
    assert "the guard was not closed whole: OSError" in caplog.text
    with pytest.raises(ZeroDivisionError):
        async with Guard(sinks=[RecordingSink(fails_with=OSError("canary"))]):
            raise ZeroDivisionError
    assert "canary" not in caplog.text
