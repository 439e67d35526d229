"""The JSON Lines sink: what is promised is in the files, whatever happens to them and to the process."""

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import weakref
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trails import event, kept, lines_of, write_key

from mcpguard import JSON, Call, Guard, JsonLines
from mcpguard.audit.note import Verifier
from mcpguard.audit.reading import open_trail, records
from mcpguard.audit.verdict import Verdict
from mcpguard.audit.verify import verify
from mcpguard.core.clock import SYSTEM_CLOCK
from mcpguard.core.emitter import Emitter
from mcpguard.testing import FakeClock, FakeServer

pytestmark = pytest.mark.anyio

KILLS = 20
"""How often a process is killed that writes a trail."""

KILLED_CALLS = int(os.environ.get("MCPGUARD_KILLED_CALLS", "5000"))
"""How many calls it makes meanwhile; `nox -s killed` makes ten times as many."""


def own(path: Path, kind: str) -> list[dict[str, Any]]:
    """The trail's own records of a kind."""
    return [record for record in records(open_trail(path)) if record["kind"] == kind]


def numbers(path: Path) -> list[Any]:
    """Which events are there."""
    return [record["event"] for record in kept(path)]


def state(path: Path) -> str:
    """What verifying says."""
    return check(path).state


def check(path: Path) -> Verdict:
    """What verifying says, in full."""
    return verify(open_trail(path))


async def test_an_event_is_one_record_on_one_line(tmp_path: Path) -> None:
    """The members that are set, under a hash."""
    sink = JsonLines(tmp_path / "events.jsonl")
    sink.emit(event(1, target="git_log", server="git"))
    sink.emit(event(2))
    await sink.aclose()
    lines = [json.loads(line) for line in lines_of(tmp_path / "events.jsonl")]
    assert [sorted(line) for line in lines] == [["hash", "record"]] * 4
    assert [line["record"]["kind"] for line in lines] == ["opened", "received", "received", "closed"]
    assert lines[1]["record"] == {
        "event": 1,
        "kind": "received",
        "seq": 2,
        "server": "git",
        "target": "git_log",
        "time_us": 1_500_000,
    }
    assert state(tmp_path) == "intact"


async def test_what_a_trail_says_of_itself(tmp_path: Path) -> None:
    """Host and process: who wrote it, and where."""
    clock = FakeClock(epoch=1000.0)
    await JsonLines(tmp_path, clock=clock).aclose()
    (opened,) = own(tmp_path, "opened")
    assert opened["process"] == os.getpid()
    assert (opened["segment"], opened["version"], opened["time_us"]) == (1, 1, 1_000_000_000)
    assert {"host", "python", "stream", "previous"} <= opened.keys()


async def test_the_files_are_the_owners_only_and_directories_are_made(tmp_path: Path) -> None:
    """Names of tools, tenants and users are in them."""
    file = tmp_path / "deep" / "er" / "events.jsonl"
    sink = JsonLines(file, max_bytes=1000, key=write_key(tmp_path)[0])
    for number in range(20):
        sink.emit(event(number, payload="x" * 100))
        await sink.settle()
    await sink.aclose()
    names = {one.name for one in file.parent.iterdir()}
    assert {
        "events.jsonl",
        "events.000001.jsonl",
        "events.000001.payloads.jsonl",
        "events.checkpoints",
    } <= names
    assert {stat.S_IMODE(one.stat().st_mode) for one in file.parent.iterdir()} == {0o600}
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


async def test_a_trail_is_gone_on_with(tmp_path: Path) -> None:
    """Two runs of a program, one chain."""
    file = tmp_path / "events.jsonl"
    for number in (1, 2):
        sink = JsonLines(str(file))
        sink.emit(event(number))
        await sink.aclose()
    assert numbers(tmp_path) == [1, 2]
    first, second = own(tmp_path, "opened")
    assert first["stream"] == second["stream"]
    assert "unclean" not in second
    assert (check(tmp_path).state, check(tmp_path).crashes) == ("intact", 0)


@pytest.mark.parametrize(
    ("path", "made"),
    [
        ("audit/", "audit/events.jsonl"),
        ("audit", "audit/events.jsonl"),
        ("au.dit/", "au.dit/events.jsonl"),
        ("there", "there/events.jsonl"),
        ("audit.jsonl", "audit.jsonl"),
        ("file", "file"),
    ],
)
async def test_a_directory_gets_a_file_inside(tmp_path: Path, path: str, made: str) -> None:
    """The design's policy says `jsonl: {path: audit/}`."""
    (tmp_path / "there").mkdir()
    (tmp_path / "file").touch()
    sink = JsonLines(f"{tmp_path}/{path}")
    sink.emit(event())
    await sink.aclose()
    assert len(kept(tmp_path / made)) == 1


async def test_a_path_without_a_suffix_is_a_directory_as_a_path_object_too(tmp_path: Path) -> None:
    """A path object knows no slash at its end; the policy file hands over one."""
    await JsonLines(tmp_path / "audit").aclose()
    assert (tmp_path / "audit" / "events.jsonl").is_file()


def test_a_path_that_cannot_be_opened_is_an_error_at_once(tmp_path: Path) -> None:
    """Not at the first event."""
    (tmp_path / "x.jsonl").touch()
    with pytest.raises(OSError, match=r"x\.jsonl"):
        JsonLines(tmp_path / "x.jsonl" / "events.jsonl")
    (tmp_path / "audit" / "events.jsonl").mkdir(parents=True)
    with pytest.raises(OSError, match="regular file"):
        JsonLines(tmp_path / "audit")
    with pytest.raises(ValueError, match="path is empty"):
        JsonLines("")


def test_a_pipe_that_nobody_reads_is_an_error_not_a_hang(tmp_path: Path) -> None:
    """Opening one for writing would wait for a reader."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="pipe"):
        JsonLines(tmp_path / "pipe")


HOSTILE = '\ud800 \udfff \x00 \x1b[31m \n \r \u2028 \u2029 \x85 \x7f \u202e " \\ é'


async def test_hostile_names_cannot_break_a_line(tmp_path: Path) -> None:
    """Lone surrogates, control characters and line separators of every kind."""
    sink = JsonLines(tmp_path / "events.jsonl")
    sink.emit(event(target=HOSTILE, reason=HOSTILE))
    await sink.aclose()
    data = (tmp_path / "events.jsonl").read_bytes().decode("utf-8")
    assert len(data.splitlines()) == 3
    assert data.replace("\n", "").isprintable()
    assert state(tmp_path) == "intact"


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters()), json_values, st.integers(), st.floats())
def test_every_event_is_kept(
    tmp_path_factory: pytest.TempPathFactory, name: str, payload: JSON, code: int, seconds: float
) -> None:
    """NaN and infinities too, which JSON does not have."""
    path = tmp_path_factory.mktemp("sink")
    sink = JsonLines(path)
    sink.emit(event(target=name, payload=payload, error_code=code, retry_after=seconds))
    asyncio.run(sink.aclose())
    assert numbers(path) == [1]
    assert state(path) == "intact"


async def test_what_no_record_can_hold_costs_the_payload_and_not_the_event(tmp_path: Path) -> None:
    """A server must not get an event lost by answering with it; ten megabytes neither."""
    circular: list[Any] = []
    circular.append(circular)
    sink = JsonLines(tmp_path)
    for number, payload in enumerate([circular, "x" * 10_000_000, object(), b"bytes", {(1, 2): 1}]):
        sink.emit(event(number, payload=payload))
    await sink.aclose()
    assert numbers(tmp_path) == [0, 1, 2, 3, 4]
    assert [record.get("payload_omitted", False) for record in kept(tmp_path)] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert sum(len(line) for line in lines_of(tmp_path / "events.jsonl")) < 10_000


async def test_a_payload_that_is_too_large_does_not_wait_in_the_queue(tmp_path: Path) -> None:
    """A queue of ten thousand results of ten megabytes would be the end of the process."""
    sink = JsonLines(tmp_path)
    large = ["x" * 10_000_000]
    alive = weakref.ref(large_one := _Kept(large))
    sink.emit(event(1, payload=large_one, result_bytes=10_000_000))
    del large_one
    assert alive() is None
    await sink.aclose()
    assert kept(tmp_path)[0]["payload_omitted"] is True


class _Kept(list[Any]):
    """A list that can be watched."""


async def test_nothing_is_emitted_after_closing(tmp_path: Path) -> None:
    """Closing twice is closing once."""
    sink = JsonLines(tmp_path / "events.jsonl", mode="strict")
    await sink.aclose()
    await sink.aclose()
    with pytest.raises(ValueError, match="closed"):
        sink.emit(event())
    with pytest.raises(OSError, match="closed"):
        await sink.settle()
    assert repr(sink) == f"JsonLines('{tmp_path}/events.jsonl', mode='strict')"
    assert len(own(tmp_path, "closed")) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "fast"}, "mode is one of strict, durable, async, not 'fast'"),
        ({"overflow": "panic"}, "overflow is 'wait' or 'drop', not 'panic'"),
        ({"queue": 0}, "queue is at least 1"),
        ({"max_bytes": 10}, "max_bytes is at least 1000"),
        ({"checkpoint_seconds": 0}, "checkpoint_seconds is greater than 0"),
        ({"anchor": "x"}, "an anchor takes signed checkpoints"),
    ],
)
async def test_an_option_out_of_range_is_refused_and_lets_go(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    """And the trail is free for the next."""
    with pytest.raises(ValueError, match=message):
        JsonLines(tmp_path, **options)
    await JsonLines(tmp_path).aclose()


async def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    """Two would break each other's chain; here in one process, below in two."""
    sink = JsonLines(tmp_path)
    with pytest.raises(BlockingIOError, match="another process or sink is writing this trail"):
        JsonLines(tmp_path)
    done = run("import sys; from mcpguard import JsonLines; JsonLines(sys.argv[1])", str(tmp_path))
    assert "BlockingIOError" in done.stderr
    await sink.aclose()
    await JsonLines(tmp_path).aclose()
    assert state(tmp_path) == "intact"


@pytest.mark.skipif(os.name == "nt", reason="links take a privilege there")
async def test_a_link_is_no_second_trail(tmp_path: Path) -> None:
    """Another name for the same file is refused as the file is."""
    sink = JsonLines(tmp_path / "events.jsonl")
    (tmp_path / "other.jsonl").symlink_to(tmp_path / "events.jsonl")
    with pytest.raises(BlockingIOError, match="is writing this trail"):
        JsonLines(tmp_path / "other.jsonl")
    await sink.aclose()


@pytest.mark.skipif(os.name == "nt", reason="a file that is locked there cannot be read")
async def test_a_second_writer_by_a_hard_link_is_refused(tmp_path: Path) -> None:
    """In another directory, with a lock file of its own; whoever has the second name first is the writer too."""
    sink = JsonLines(tmp_path / "a" / "events.jsonl", max_bytes=1000)
    sink.emit(event(1))
    await sink.settle()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "events.jsonl").hardlink_to(tmp_path / "a" / "events.jsonl")
    before = (tmp_path / "a" / "events.jsonl").read_bytes()
    with pytest.raises(BlockingIOError, match="is writing this trail"):
        JsonLines(tmp_path / "b" / "events.jsonl")
    assert (tmp_path / "a" / "events.jsonl").read_bytes() == before
    for number in range(2, 19):
        sink.emit(event(number))
        await sink.settle()
    assert len(list((tmp_path / "a").glob("events.0*.jsonl"))) > 1
    (tmp_path / "c.jsonl").hardlink_to(tmp_path / "a" / "events.jsonl")
    with pytest.raises(BlockingIOError, match="is writing this trail"):
        JsonLines(tmp_path / "c.jsonl")
    await sink.aclose()
    assert check(tmp_path / "a").state == "intact"
    await JsonLines(tmp_path / "c.jsonl").aclose()


async def test_a_forked_process_does_not_write_its_parents_trail(tmp_path: Path) -> None:
    """It would write into the same chain from the same place."""
    script = """
        import os, sys, warnings
        from mcpguard import Event, JsonLines

        warnings.simplefilter("ignore")
        sink = JsonLines(sys.argv[1])
        sink.emit(Event(kind="received", seq=1, time=1.5))
        child = os.fork()
        if child == 0:
            try:
                sink.emit(Event(kind="received", seq=2, time=1.5))
            except ValueError as error:
                print(error, flush=True)
            os._exit(0)
        os.waitpid(child, 0)
    """
    done = run(script, str(tmp_path))
    assert "forked" in done.stdout, done.stderr
    assert numbers(tmp_path) == [1]
    assert state(tmp_path) == "intact"


@pytest.mark.parametrize("what", ["removed", "replaced"])
async def test_a_file_that_is_taken_away_is_followed_by_another_that_says_so(
    tmp_path: Path, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Events must not go on into a file that nobody can find, and the hole must show."""
    file = tmp_path / "audit" / "events.jsonl"
    sink = JsonLines(file)
    sink.emit(event(1))
    await sink.settle()
    file.unlink()
    if what == "replaced":
        file.write_text("something else")
    else:
        (file.parent / "events.lock").unlink()
        file.parent.rmdir()
    sink.emit(event(2))
    await sink.aclose()
    assert numbers(file) == [2]
    assert own(file, "opened")[0]["lost"] == what
    assert what in caplog.text
    assert (state(file), check(file).findings[0].seq) == ("incomplete", 1)
    if what == "replaced":
        assert (file.parent / "events.jsonl.replaced-1").read_text() == "something else"


async def test_a_file_made_read_only_while_open_takes_what_comes(tmp_path: Path) -> None:
    """The way in is open already."""
    sink = JsonLines(tmp_path)
    (tmp_path / "events.jsonl").chmod(0o400)
    sink.emit(event(1))
    await sink.settle()
    await sink.aclose()
    assert numbers(tmp_path) == [1]


async def test_a_file_that_was_cut_is_gone_on_with_and_the_cut_shows(tmp_path: Path) -> None:
    """Copying and truncating is no rotation of a chain."""
    sink = JsonLines(tmp_path)
    sink.emit(event(1))
    await sink.settle()
    os.truncate(tmp_path / "events.jsonl", 0)
    sink.emit(event(2))
    await sink.aclose()
    assert numbers(tmp_path) == [2]
    assert state(tmp_path) == "tampered"


async def test_the_clock_put_back_breaks_nothing(tmp_path: Path) -> None:
    """Order is the position, not the time."""
    clock = FakeClock()
    sink = JsonLines(tmp_path, clock=clock)
    sink.emit(event(1, time=1000.0))
    clock.epoch = 5.0
    sink.emit(event(2, time=-7.5))
    await sink.aclose()
    assert [record["time_us"] for record in kept(tmp_path)] == [1_000_000_000, -7_500_000]
    assert state(tmp_path) == "intact"


@pytest.mark.parametrize("torn", [b'{"hash":"12', b"\x00" * 50, b'{"hash":"12\n'])
async def test_a_line_that_a_crash_cut_short_is_cut_off_and_told(tmp_path: Path, torn: bytes) -> None:
    """It was never acknowledged to anybody."""
    file = tmp_path / "events.jsonl"
    sink = JsonLines(file)
    sink.emit(event(1))
    await sink.aclose()
    with file.open("ab") as end:
        end.write(torn)
    assert state(tmp_path) in ("incomplete", "tampered")
    sink = JsonLines(file)
    sink.emit(event(2))
    await sink.aclose()
    assert numbers(tmp_path) == [1, 2]
    again = own(tmp_path, "opened")[1]
    assert (again["torn_bytes"], again["unclean"]) == (len(torn), True)
    assert (check(tmp_path).state, check(tmp_path).crashes) == ("intact", 1)


@pytest.mark.parametrize("left", ["an empty file", "no file"])
async def test_a_process_killed_while_it_rotates_is_a_crash_that_shows(tmp_path: Path, left: str) -> None:
    """Between the old file's end and the new one's first record, and between the two renames."""
    sink = JsonLines(tmp_path)
    sink.emit(event(1))
    await sink.aclose()
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"".join(lines_of(file)[:-1]))
    file.rename(tmp_path / "events.000001.jsonl")
    if left == "an empty file":
        file.touch()
    await JsonLines(tmp_path).aclose()
    assert own(tmp_path, "opened")[1]["unclean"] is True
    assert (check(tmp_path).state, check(tmp_path).crashes) == ("intact", 1)


async def test_a_trail_that_was_changed_is_set_aside_and_stays_tampered(tmp_path: Path) -> None:
    """Going on must neither hide what was done nor stop the agent."""
    file = tmp_path / "events.jsonl"
    sink = JsonLines(file)
    for number in range(3):
        sink.emit(event(number, target="read"))
    await sink.aclose()
    file.write_bytes(file.read_bytes().replace(b"read", b"fled", 1))
    sink = JsonLines(file)
    sink.emit(event(9))
    await sink.aclose()
    assert numbers(tmp_path) == [0, 1, 2, 9]
    assert own(tmp_path, "opened")[1]["lost"] == "damaged"
    assert (state(tmp_path), check(tmp_path).findings[0].seq) == ("tampered", 2)


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("payload", [0, 10, 400])
def test_a_full_disk_denies_what_is_strict_and_leaves_the_chain_whole(tmp_path: Path, payload: int) -> None:
    """A real short write: the system allows no file beyond 1,500 bytes, then lifts that.

    With payloads of 10 characters those are kept and their records are not; with 400 they end first.
    """
    script = """
        import resource, signal, sys
        import anyio
        from mcpguard import Event, JsonLines

        def event(seq):
            payload = "p" * int(sys.argv[2]) or None
            return Event(kind="received", seq=seq, time=1.5, target="x" * 60, payload=payload)

        async def main():
            sink = JsonLines(sys.argv[1], mode="strict")
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1500, hard))
            failed = []
            for seq in range(1, 9):
                sink.emit(event(seq))
                try:
                    await sink.settle()
                except OSError:
                    failed.append(seq)
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            for seq in (9, 10):
                sink.emit(event(seq))
                await sink.settle()
            await sink.aclose()
            print(failed, sink.dropped)

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        anyio.run(main)
    """
    done = run(script, str(tmp_path), str(payload))
    failed = [number for number in range(1, 9) if number not in numbers(tmp_path)]
    assert done.stdout.strip() == f"{failed} {len(failed)}", done.stderr
    assert failed[-1] == 8
    assert failed[0] > 1
    assert numbers(tmp_path)[-2:] == [9, 10]
    assert (check(tmp_path).state, check(tmp_path).dropped) == ("intact", len(failed))
    rows = list(tmp_path.glob("*.payloads.jsonl"))
    assert sum(one.read_bytes().count(b"payload") for one in rows) == (
        len(numbers(tmp_path)) if payload else 0
    )


def test_a_process_that_forgets_to_close_loses_nothing(tmp_path: Path) -> None:
    """The trail is closed when the interpreter ends."""
    script = """
        import sys
        from mcpguard import Event, JsonLines

        sink = JsonLines(sys.argv[1], mode="async")
        for seq in range(500):
            sink.emit(Event(kind="received", seq=seq, time=1.5))
    """
    assert run(script, str(tmp_path)).returncode == 0
    assert numbers(tmp_path) == list(range(500))
    assert check(tmp_path).is_closed


async def test_threads_share_one_sink(tmp_path: Path) -> None:
    """Hosts run sessions on other threads, with event loops of their own."""
    sink = JsonLines(tmp_path)

    async def emit(thread: int) -> None:
        for seq in range(100):
            sink.emit(event(seq, target=str(thread)))
            await sink.settle()

    threads = [threading.Thread(target=lambda one=one: anyio.run(emit, one)) for one in range(6)]  # type: ignore[misc]
    for thread in threads:
        thread.start()
    for thread in threads:
        await anyio.to_thread.run_sync(thread.join)
    await sink.aclose()
    for number in range(6):
        assert [one["event"] for one in kept(tmp_path) if one["target"] == str(number)] == list(range(100))
    assert state(tmp_path) == "intact"


async def test_beyond_the_queue_events_are_dropped_and_counted_in_the_trail(tmp_path: Path) -> None:
    """A gap that nobody is told of is worse than a gap."""
    sink = JsonLines(tmp_path, mode="async", overflow="drop", queue=10)
    refused = 0
    for number in range(100_000):
        try:
            sink.emit(event(number))
        except BufferError:
            refused += 1
        if refused > 5:
            break
    assert refused == 6
    await sink.aclose()
    assert sink.dropped == 6
    assert sum(record["count"] for record in own(tmp_path, "dropped")) == 6
    assert (check(tmp_path).state, check(tmp_path).dropped) == ("intact", 6)


async def test_beyond_the_queue_calls_wait(tmp_path: Path) -> None:
    """Back-pressure: nothing is dropped, the queue stays near its limit."""
    sink = JsonLines(tmp_path, mode="async", overflow="wait", queue=10)
    for number in range(500):
        sink.emit(event(number))
        await sink.settle()
    await sink.aclose()
    assert sink.dropped == 0
    assert numbers(tmp_path) == list(range(500))


async def test_checkpoints_are_signed_in_intervals_and_at_the_end(tmp_path: Path) -> None:
    """Empty intervals too, so that a gap shows; and the anchor has what the trail has."""
    key, public = write_key(tmp_path)
    here = tmp_path / "audit"
    sink = JsonLines(here, key=key, anchor=tmp_path / "far" / "anchor", checkpoint_seconds=0.001)
    written, number = 0, 0
    with anyio.fail_after(20):
        while written < 3:
            sink.emit(event(number))
            await sink.settle()
            written, number = len(own(here, "checkpoint")), number + 1
    await sink.aclose()
    notes = (here / "events.checkpoints").read_text("utf-8")
    assert notes == (tmp_path / "far" / "anchor").read_text("utf-8")
    verdict = verify(open_trail(here), keys=[Verifier(public)], anchors=[notes])
    assert (verdict.state, verdict.signed_seq) == ("intact", verdict.seq)
    assert len(own(here, "checkpoint")) > written


@pytest.mark.parametrize("mode", ["strict", "durable", "async"])
async def test_a_strict_sink_says_whether_a_call_is_recorded(tmp_path: Path, mode: Any) -> None:
    """Sink's promise: if it fails to take the `dispatched` event, the call is denied."""
    sink = JsonLines(tmp_path / "events.jsonl", mode=mode)
    emitter = Emitter([sink], clock=SYSTEM_CLOCK)
    call = Call(id="c", method="tools/call", params={"name": "a"})
    assert emitter.dispatched(call)
    assert await emitter.delivery.settled()
    await sink.aclose()
    assert (emitter.dispatched(call) is not None) is (mode != "strict")
    assert await emitter.delivery.settled() is (mode != "strict")


def test_no_call_goes_out_without_its_intent_whenever_the_process_is_killed(tmp_path: Path) -> None:
    """A hundred callers, killed twenty times at random points of one trail; a reopened one verifies."""
    script = """
        import os, random, sys, threading
        import anyio
        from mcpguard import Call, JsonLines, Result
        from mcpguard.core.clock import SYSTEM_CLOCK
        from mcpguard.core.emitter import Emitter
        from mcpguard.core.linked import Linked

        path, sent, first = sys.argv[1], os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT), sys.argv[3]
        chain = Linked((), Emitter([JsonLines(path, mode="strict", max_bytes=100_000)], clock=SYSTEM_CLOCK)).chain(
            "tools/call", "outbound"
        )

        async def wire(call):
            os.write(sent, f"{call.id}\\n".encode())
            await anyio.sleep(0)
            return Result.of({"content": []})

        async def caller(number):
            for turn in range(100_000):
                await chain(
                    Call(id=f"{first}-{number}-{turn}", method="tools/call", params={"name": "pay"}), wire
                )

        async def main():
            async with anyio.create_task_group() as tasks:
                for number in range(100):
                    tasks.start_soon(caller, number)

        print("ready", flush=True)
        anyio.run(main)
    """
    audit, sent = tmp_path / "audit", tmp_path / "sent"
    for turn in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script).strip(), str(audit), str(sent), str(turn)],
            stdout=subprocess.PIPE,
        )
        with process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            _until_grown(sent, KILLED_CALLS // KILLS - 70 + turn * 7)
            process.send_signal(signal.SIGKILL)
    intents = {record["call_id"] for record in kept(audit) if record["kind"] == "dispatched"}
    dispatched = sent.read_text().split()
    assert len(dispatched) >= KILLED_CALLS - KILLS * 70
    assert set(dispatched) <= intents
    JsonLines(audit)._close()
    verdict = check(audit)
    assert (verdict.state, verdict.crashes) == ("intact", KILLS)
    assert verdict.unanswered >= 1


def _until_grown(file: Path, lines: int) -> None:
    """Wait until a file has so many more lines."""
    before = file.stat().st_size if file.exists() else 0
    for _ in range(100_000_000):
        if not file.exists():
            continue
        with file.open("rb") as more:
            more.seek(before)
            data = more.read()
        lines -= data.count(b"\n")
        before += len(data)
        if lines <= 0:
            return
    raise AssertionError("the process made no calls")


async def test_a_call_is_denied_where_its_intent_cannot_be_kept(tmp_path: Path) -> None:
    """No record, no call: the wire is not reached."""
    from chains import Wire, tool_call

    from mcpguard.core.linked import Linked

    sink = JsonLines(tmp_path / "audit", mode="strict")
    wire = Wire()
    chain = Linked((), Emitter([sink], clock=SYSTEM_CLOCK)).chain("tools/call", "outbound")
    assert (await chain(tool_call(), wire)).denial is None
    await sink.aclose()
    denial = (await chain(tool_call(), wire)).denial
    assert denial is not None
    assert denial.code == "audit_unavailable"
    assert len(wire.calls) == 1


async def test_a_policy_names_key_and_anchor_from_its_own_folder(tmp_path: Path) -> None:
    """All options of the sink are the file's; a service is started from anywhere."""
    _, public = write_key(tmp_path)
    (tmp_path / "policy.yaml").write_text(
        "version: 1\ninterceptors: {}\naudit:\n"
        "  - jsonl: {path: audit/, mode: strict, key: key, anchor: far/anchor, checkpoint_seconds: 5, queue: 50}\n"
        "  - sqlite: {path: audit.db, mode: async, overflow: drop}\n"
    )
    guard = Guard.from_policy(tmp_path / "policy.yaml")
    await guard.aclose()
    (loaded,) = kept(tmp_path / "audit")
    assert (loaded["kind"], len(loaded["policy"])) == ("policy_loaded", 64)
    anchor = (tmp_path / "far" / "anchor").read_text("utf-8")
    assert verify(open_trail(tmp_path / "audit"), keys=[Verifier(public)], anchors=[anchor]).state == "intact"
    assert verify(open_trail(tmp_path / "audit.db")).state == "intact"


@pytest.mark.parametrize("seam", ["session", "transport"])
async def test_a_guarded_session_waits_for_its_record(tmp_path: Path, seam: str) -> None:
    """Whichever way the guard is put in: intent, call, outcome; and once the trail is gone, no call."""
    from mcp import ClientSession

    server = FakeServer()
    server.tool("pay").returns("done")
    sink = JsonLines(tmp_path / "audit", mode="strict")
    guard = Guard(sinks=[sink])
    connection = server.connect() if seam == "session" else guard.transport(server.connect(), name="bank")
    async with connection as (read, write):
        bare = ClientSession(read, write)
        async with guard.session(bare, name="bank") if seam == "session" else bare as session:
            await session.initialize()
            paid = await session.call_tool("pay", {"amount": 1})
            await sink.aclose()
            refused = await session.call_tool("pay", {"amount": 2})
    assert paid.content[0].text == "done"  # type: ignore[union-attr]
    assert "audit_unavailable" in str(refused)
    calls = [record for record in kept(tmp_path / "audit") if record.get("method") == "tools/call"]
    assert [record["kind"] for record in calls] == ["received", "dispatched", "completed"]
    assert calls[2]["intent"] == calls[1]["event"]
