"""The JSON Lines sink: whatever is in an event, and whatever happens to the file, a line is a line."""

import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpguard import JSON, Event, JsonLines
from mcpguard.core.call import Call
from mcpguard.core.clock import SYSTEM_CLOCK
from mcpguard.core.events import Emitter

pytestmark = pytest.mark.anyio


def event(seq: int = 1, **members: Any) -> Event:
    """Something that happened."""
    return Event(kind="received", seq=seq, time=1.5, **members)


def lines(file: Path) -> list[dict[str, Any]]:
    """What the file holds, read by the standard's own rules."""
    return [json.loads(line, parse_constant=_refuse) for line in file.read_bytes().splitlines()]


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is not JSON")


async def test_an_event_is_one_line_of_json(tmp_path: Path) -> None:
    """The members that are set, and no others."""
    sink = JsonLines(tmp_path / "events.jsonl")
    sink.emit(event(1, target="git_log", server="git"))
    sink.emit(event(2))
    await sink.aclose()
    assert lines(tmp_path / "events.jsonl") == [
        {"kind": "received", "seq": 1, "time": 1.5, "server": "git", "target": "git_log"},
        {"kind": "received", "seq": 2, "time": 1.5},
    ]


async def test_the_file_is_the_owners_only_and_its_directories_are_made(tmp_path: Path) -> None:
    """Names of tools, tenants and users are in it."""
    file = tmp_path / "deep" / "er" / "events.jsonl"
    await JsonLines(file).aclose()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


async def test_what_was_there_stays(tmp_path: Path) -> None:
    """Two guards, or two runs of a program, append."""
    file = tmp_path / "events.jsonl"
    for number in (1, 2):
        sink = JsonLines(str(file))
        sink.emit(event(number))
        await sink.aclose()
    assert [line["seq"] for line in lines(file)] == [1, 2]


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
    assert len(lines(tmp_path / made)) == 1


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
    with pytest.raises(IsADirectoryError):
        JsonLines(tmp_path / "audit")
    with pytest.raises(ValueError, match="path is empty"):
        JsonLines("")


def test_a_pipe_that_nobody_reads_is_an_error_not_a_hang(tmp_path: Path) -> None:
    """Opening one for writing would wait for a reader."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="pipe"):
        JsonLines(tmp_path / "pipe")


HOSTILE = '\ud800 \udfff \x00 \x1b[31m \n \r \u2028 \u2029 \x85 \x7f \u202e \U0001f600 " \\ é'


async def test_hostile_names_cannot_break_a_line(tmp_path: Path) -> None:
    """Lone surrogates, control characters and line separators of every kind."""
    sink = JsonLines(tmp_path / "events.jsonl")
    sink.emit(event(target=HOSTILE, reason=HOSTILE))
    await sink.aclose()
    data = (tmp_path / "events.jsonl").read_bytes()
    assert data.count(b"\n") == 1
    assert all(0x20 <= byte < 0x7F for byte in data[:-1])
    assert lines(tmp_path / "events.jsonl")[0]["target"] == HOSTILE


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters()), json_values)
def test_every_event_is_written(tmp_path_factory: pytest.TempPathFactory, name: str, payload: JSON) -> None:
    """NaN and infinities too, which JSON does not have."""
    file = tmp_path_factory.mktemp("sink") / "events.jsonl"
    sink = JsonLines(file)
    sink.emit(event(target=name, payload=payload))
    (line,) = lines(file)
    assert line["target"] == name


def test_what_json_does_not_have_is_written_as_text(tmp_path: Path) -> None:
    """A server must not get an event lost by answering with it."""
    circular: list[Any] = []
    circular.append(circular)
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    sink = JsonLines(tmp_path / "events.jsonl")
    payloads = [
        {"a": [float("nan"), float("inf"), -float("inf")]},
        (1, 2),
        circular,
        deep,
        10**5000,
        object(),
        {(1, 2): 1},
    ]
    for payload in payloads:
        sink.emit(event(payload=payload))
    sink.emit(event(retry_after=float("inf")))
    written = lines(tmp_path / "events.jsonl")
    assert [line.get("payload") for line in written] == [
        {"a": ["nan", "inf", "-inf"]},
        [1, 2],
        *["<not JSON>"] * 4,
        {"(1, 2)": 1},
        None,
    ]
    assert written[-1]["retry_after"] == "inf"


async def test_nothing_is_emitted_after_closing(tmp_path: Path) -> None:
    """Closing twice is closing once."""
    sink = JsonLines(tmp_path / "events.jsonl", strict=True)
    await sink.aclose()
    await sink.aclose()
    with pytest.raises(ValueError, match="closed"):
        sink.emit(event())
    assert repr(sink) == f"JsonLines('{tmp_path}/events.jsonl', strict=True)"


def test_a_file_that_was_removed_is_made_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Events must not go on into a file that nobody can find."""
    file = tmp_path / "audit" / "events.jsonl"
    sink = JsonLines(file)
    sink.emit(event(1))
    file.unlink()
    file.parent.rmdir()
    sink.emit(event(2))
    assert [line["seq"] for line in lines(file)] == [2]
    assert "was removed" in caplog.text


def test_a_file_that_was_truncated_is_appended_to(tmp_path: Path) -> None:
    """Rotation by copying and truncating."""
    file = tmp_path / "events.jsonl"
    sink = JsonLines(file)
    sink.emit(event(1))
    os.truncate(file, 0)
    sink.emit(event(2))
    assert [line["seq"] for line in lines(file)] == [2]


def test_a_line_that_a_killed_process_left_does_not_spoil_the_next(tmp_path: Path) -> None:
    """The part that was written stays as it is."""
    file = tmp_path / "events.jsonl"
    file.write_bytes(b'{"kind":"rece')
    sink = JsonLines(file)
    sink.emit(event(1))
    sink.emit(event(2))
    first, *rest = file.read_bytes().splitlines()
    assert first == b'{"kind":"rece'
    assert [json.loads(line)["seq"] for line in rest] == [1, 2]


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_full_disk_is_an_error_and_the_next_event_is_whole(tmp_path: Path) -> None:
    """A real short write: the system allows no file beyond 200 bytes, then lifts that."""
    file = tmp_path / "events.jsonl"
    script = """
        import resource, sys
        from mcpguard import Event, JsonLines

        def event(seq):
            return Event(kind="received", seq=seq, time=1.5, target="x" * 60)

        sink = JsonLines(sys.argv[1])
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))
        failed = []
        for seq in range(1, 5):
            try:
                sink.emit(event(seq))
            except OSError:
                failed.append(seq)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        sink.emit(event(5))
        sink.emit(event(6))
        print(failed)
    """
    done = run(script, str(file))
    assert done.stdout.strip() == "[2, 3, 4]", done.stderr
    first, cut, *rest = file.read_bytes().splitlines()
    assert json.loads(first)["seq"] == 1
    assert len(first) + 1 + len(cut) == 200
    assert [json.loads(line)["seq"] for line in rest] == [5, 6]


def test_a_killed_process_loses_nothing_that_was_emitted(tmp_path: Path) -> None:
    """Nothing waits in a buffer of ours."""
    script = """
        import os, signal, sys
        from mcpguard import Event, JsonLines

        sink = JsonLines(sys.argv[1])
        for seq in range(100):
            sink.emit(Event(kind="received", seq=seq, time=1.5))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    assert run(script, str(tmp_path)).returncode == -signal.SIGKILL
    assert [line["seq"] for line in lines(tmp_path / "events.jsonl")] == list(range(100))


def test_threads_do_not_mix_their_lines(tmp_path: Path) -> None:
    """Two sinks on one file beside each other, and several threads on each."""
    file = tmp_path / "events.jsonl"
    sinks = [JsonLines(file), JsonLines(file)]

    def work(number: int) -> None:
        for seq in range(200):
            sinks[number % 2].emit(event(seq, target=str(number) * 200))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = lines(file)
    assert len(written) == 8 * 200
    for number in range(8):
        own = [line["seq"] for line in written if line["target"] == str(number) * 200]
        assert own == list(range(200))


@pytest.mark.parametrize("strict", [False, True])
async def test_a_strict_sink_says_whether_a_call_is_recorded(tmp_path: Path, strict: bool) -> None:
    """Sink's promise: if it fails to take the `dispatched` event, the call is denied."""
    sink = JsonLines(tmp_path / "events.jsonl", strict=strict)
    emitter = Emitter([sink], clock=SYSTEM_CLOCK)
    call = Call(id="c", method="tools/call", params={"name": "a"})
    assert emitter.dispatched(call)
    await sink.aclose()
    assert emitter.dispatched(call) is not strict
    assert emitter.failures == {"JsonLines": 1}
