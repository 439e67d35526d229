"""The tamper suite: whatever is done to a trail of a thousand records is found, and named where it begins."""

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trails import Lines, event, lines_of, trail_of, verified, write, write_key

from mcpguard.audit.chain import START, line, link, parted
from mcpguard.audit.erase import erase
from mcpguard.audit.note import Signer, Verifier, new_key, notes_in
from mcpguard.audit.reading import open_trail
from mcpguard.audit.verify import verify
from mcpguard.cli import main


@dataclass(frozen=True)
class Kept:
    """A trail of a thousand records, its checkpoints, and the key that signs them."""

    folder: Path
    lines: Lines
    notes: str
    public: str
    secret: str

    @property
    def key(self) -> Verifier:
        return Verifier(self.public)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """Three records are the trail's own: opened, checkpoint, closed."""
    folder = tmp_path_factory.mktemp("kept")
    key, public = write_key(folder)
    events = [
        event(number, kind="dispatched" if number % 2 else "completed", call_id=f"c{(number + 1) // 2}")
        for number in range(1, 998)
    ]
    anyio.run(lambda: write(folder / "audit" / "events.jsonl", events, key=key, anchor=folder / "anchor"))
    lines = lines_of(folder / "audit" / "events.jsonl")
    assert len(lines) == 1000
    notes = (folder / "audit" / "events.checkpoints").read_text("utf-8")
    return Kept(folder, lines, notes, public, key.read_text("utf-8"))


def test_an_intact_trail_is_intact(kept: Kept) -> None:
    """Otherwise nothing below proves anything."""
    verdict = verified(kept.lines, notes=kept.notes, keys=[kept.key], anchors=[kept.notes])
    assert (verdict.state, verdict.findings) == ("intact", [])
    assert (verdict.records, verdict.signed_seq, verdict.is_closed) == (1000, 1000, True)
    assert verdict.unanswered == 1  # the last intent has no outcome


def test_a_changed_byte_is_found_in_every_record(kept: Kept) -> None:
    """One in each of a thousand, by the chain alone, and the record is named."""
    rng = random.Random(1)  # noqa: S311
    for number, raw in enumerate(kept.lines):
        at = rng.randrange(len(raw) - 1)
        changed = raw[:at] + bytes([raw[at] ^ (1 << rng.randrange(8))]) + raw[at + 1 :]
        verdict = verified([*kept.lines[:number], changed, *kept.lines[number + 1 :]])
        assert verdict.state == "tampered"
        assert verdict.findings[0].seq == number + 1


def test_every_bit_of_every_byte_is_covered() -> None:
    """Exhaustively, on four records; the newline at the very end is the one byte that says nothing."""
    head, lines = START, []
    for seq in range(1, 5):
        own = '"segment":1,' if seq == 1 else ""
        start = f'"previous":"{START.hex()}",' if seq == 1 else ""
        stream = ',"stream":"s"' if seq == 1 else ""
        body = f'{{"kind":"opened",{start}{own}"seq":{seq}{stream}}}'.encode()
        head = link(head, body)
        lines.append(line(head, body))
    data = b"".join(lines)
    assert verified(data).state == "intact"
    for at in range(len(data)):
        for bit in range(8):
            changed = data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :]
            assert verified(changed).state != "intact", (at, bit)


Mutation = Callable[[Lines, int, int], Lines]


def _swapped(lines: Lines, k: int, n: int) -> Lines:
    other = list(lines)
    other[k], other[n] = other[n], other[k]
    return other


MUTATIONS: dict[str, Mutation] = {
    "delete": lambda lines, k, _: lines[:k] + lines[k + 1 :],
    "delete several": lambda lines, k, n: lines[:k] + lines[max(k, n) + 1 :],
    "insert": lambda lines, k, n: [*lines[:k], lines[n], *lines[k:]],
    "swap": _swapped,
    "duplicate": lambda lines, k, _: [*lines[: k + 1], lines[k], *lines[k + 1 :]],
    "an empty line": lambda lines, k, _: [*lines[:k], b"\n", *lines[k:]],
    "a line that is no record": lambda lines, k, _: [*lines[:k], b"{}\n", *lines[k:]],
    "joined lines": lambda lines, k, _: [*lines[:k], lines[k].rstrip(b"\n"), *lines[k + 1 :]],
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutation_anywhere_is_found_by_the_chain_alone(kept: Kept, name: str) -> None:
    """The last record is where the chain alone sees nothing: a deleted end is the anchor's to find."""
    rng = random.Random(2)  # noqa: S311
    for k in [0, 1, 500, 997, *rng.sample(range(998), 60)]:
        n = rng.randrange(998)
        changed = MUTATIONS[name](kept.lines, k, n)
        if changed != kept.lines:
            assert verified(changed).state == "tampered", (name, k, n)


@pytest.mark.parametrize("left", [1, 2, 500, 997, 998, 999])
def test_an_end_that_was_cut_off_is_found_against_a_checkpoint(kept: Kept, left: int) -> None:
    """The chain alone sees nothing of it, which is why there are checkpoints and an anchor."""
    cut = kept.lines[:left]
    assert verified(cut).state == "intact"
    beside = verified(cut, notes=kept.notes, keys=[kept.key])
    assert beside.state == "tampered"
    assert beside.findings[0].seq == left + 1
    assert "cut off" in beside.findings[0].what
    assert verified(cut, anchors=[kept.notes]).state == "tampered"


def test_a_trail_that_is_gone_is_found_against_the_anchor(kept: Kept, tmp_path: Path) -> None:
    """A new one in its place too."""
    anyio.run(lambda: write(tmp_path / "events.jsonl", [event(1)]))
    verdict = verify(open_trail(tmp_path), anchors=[kept.notes])
    assert verdict.state == "tampered"
    assert main(["audit", "verify", str(tmp_path / "nothing"), "--anchor", str(kept.folder / "anchor")]) == 2


def _rewritten(lines: Lines, k: int) -> Lines:
    """Everything from record `k` on made anew, by somebody who knows how: hashes and all."""
    parts = [parted(raw) for raw in lines]
    bodies = [part[1] for part in parts if part is not None]
    hashes = [part[0] for part in parts if part is not None]
    bodies[k] = bodies[k].replace(b'"time_us":', b'"time_us":9')
    head = START if k == 0 else bytes.fromhex(hashes[k - 1].decode())
    made = lines[:k]
    for body in bodies[k:]:
        head = link(head, body)
        made.append(line(head, body))
    return made


@pytest.mark.parametrize("k", [0, 1, 250, 500, 998, 999])
def test_records_that_were_hashed_anew_are_found_against_a_checkpoint(kept: Kept, k: int) -> None:
    """The chain alone is whole again; the signature is not."""
    forged = _rewritten(kept.lines, k)
    assert verified(forged).state != "tampered"
    assert verified(forged, notes=kept.notes, keys=[kept.key]).state == "tampered"
    assert verified(forged, anchors=[kept.notes]).state == "tampered"
    stripped = verified(forged, keys=[kept.key])
    assert stripped.state == "incomplete"
    assert stripped.signed_seq == 0


def test_a_forger_with_a_key_of_their_own_is_found(kept: Kept) -> None:
    """Checkpoints made anew are signed, by somebody else."""
    forged = _rewritten(kept.lines, 500)
    seen = verified(forged)
    secret, _ = new_key("tests")
    (own,) = notes_in(kept.notes)
    honest = kept.key.checkpoint(own)
    assert honest is not None

    note = Signer(secret).note(replace(honest, head=seen.head))
    verdict = verified(forged, notes=f"{note}\n", keys=[kept.key])
    assert verdict.state == "tampered"
    assert "not signed" in verdict.findings[0].what


def test_the_checkpoints_of_another_trail_vouch_for_nothing(kept: Kept, tmp_path: Path) -> None:
    """Genuine ones, by the same key, beside a trail that was hashed anew without it."""
    (tmp_path / "key").write_text(kept.secret, "utf-8")
    other = tmp_path / "events.jsonl"
    anyio.run(lambda: write(other, [event(n) for n in range(997)], key=tmp_path / "key"))
    notes = (tmp_path / "events.checkpoints").read_text("utf-8")
    assert verified(lines_of(other), notes=notes, keys=[kept.key]).state == "intact"
    verdict = verified(_rewritten(kept.lines, 500), notes=notes, keys=[kept.key])
    assert (verdict.state, verdict.signed_seq) == ("tampered", 0)
    assert verdict.findings[0].where == "checkpoints"


@pytest.mark.parametrize(
    "body",
    [
        b'{"count":"x","kind":"dropped","seq":2}',
        b'{"count":1e999,"kind":"dropped","seq":2}',
        b'{"count":-5,"kind":"dropped","seq":2}',
        b'{"count":true,"kind":"dropped","seq":2}',
        b'{"count":9007199254740992,"kind":"dropped","seq":2}',
        b'{"kind":"dropped","seq":2}',
        b'\xff{"kind":"dropped","seq":2}',
        b'["kind":"checkpoint","seq":2}',
        b'{"kind":"checkpoint","seq":2,"size":[]}',
        b"[" * 100_000 + b'"kind":"checkpoint","seq":2}',
    ],
)
def test_a_record_of_the_trail_that_no_sink_has_written_is_found(kept: Kept, body: bytes) -> None:
    """Its hash fits: whoever made it hashed it anew."""
    parts = parted(kept.lines[0])
    assert parts is not None
    head = bytes.fromhex(parts[0].decode())
    verdict = verified([kept.lines[0], line(link(head, body), body)])
    assert (verdict.state, verdict.findings[0].seq) == ("tampered", 3)


def test_checkpoints_that_were_copied_as_text_are_read(kept: Kept) -> None:
    """With CR LF at the ends of their lines; what is signed has LF."""
    notes = kept.notes.replace("\n", "\r\n")
    verdict = verified(kept.lines, notes=notes, keys=[kept.key], anchors=[notes])
    assert (verdict.state, verdict.signed_seq) == ("intact", 1000)


def test_two_spliced_trails_are_found(kept: Kept, tmp_path: Path) -> None:
    """In one file, and as files of one trail."""
    anyio.run(lambda: write(tmp_path / "events.jsonl", [event(n) for n in range(20)]))
    other = lines_of(tmp_path / "events.jsonl")
    for k in (1, 500, 1000):
        assert verified([*kept.lines[:k], *other]).state == "tampered"
        assert verified([*kept.lines[:k], *other[1:]]).state == "tampered"
    both = trail_of(b"".join(kept.lines), b"".join(other))
    assert verify(both).state == "tampered"


def test_an_old_copy_put_back_is_found_against_the_anchor(kept: Kept, tmp_path: Path) -> None:
    """Whole, signed and closed: only the second place knows that there was more."""
    here = tmp_path / "audit"
    key = kept.folder / "key"

    async def both() -> None:
        await write(here / "events.jsonl", [event(n) for n in range(5)], key=key, anchor=tmp_path / "anchor")
        shutil.copytree(here, tmp_path / "copy")
        await write(here / "events.jsonl", [event(n) for n in range(5)], key=key, anchor=tmp_path / "anchor")

    anyio.run(both)
    anchor = ["--anchor", str(tmp_path / "anchor"), "--key", kept.public]
    assert main(["audit", "verify", str(here), *anchor]) == 0
    assert main(["audit", "verify", str(tmp_path / "copy"), "--key", kept.public]) == 0
    assert main(["audit", "verify", str(tmp_path / "copy"), *anchor]) == 1


def test_the_exit_code_says_which(kept: Kept, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """0 intact, 1 tampered, 2 incomplete; the first bad record is named."""
    here = tmp_path / "audit"
    shutil.copytree(kept.folder / "audit", here)
    file = here / "events.jsonl"
    assert main(["audit", "verify", str(here), "--key", kept.public]) == 0
    assert "0 after it are covered by the chain alone" in capsys.readouterr().out
    file.write_bytes(b"".join(kept.lines).replace(b'"c250"', b'"c251"', 1))
    assert main(["audit", "verify", str(file), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["state"], found["findings"][0]["seq"]) == ("tampered", 500)
    assert found["findings"][0]["where"] == "events.jsonl:500"
    (here / "events.checkpoints").unlink()
    file.write_bytes(b"".join(kept.lines)[:-5])
    assert main(["audit", "verify", str(file)]) == 2
    assert "incomplete: events.jsonl:1000: record 1000: the last line is cut off" in capsys.readouterr().out
    file.write_bytes(b"".join(kept.lines))
    assert main(["audit", "verify", str(file)]) == 2
    assert "the one over 1000 records of file 1 is missing" in capsys.readouterr().out


@pytest.fixture(scope="module")
def rotated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trail of several files."""
    folder = tmp_path_factory.mktemp("rotated")
    key, public = write_key(folder)
    (folder / "public").write_text(public)
    events = [event(n, reason="x" * 200) for n in range(40)]
    anyio.run(lambda: write(folder / "audit" / "events.jsonl", events, key=key, max_bytes=3000))
    return folder


def test_a_new_file_is_linked_to_the_one_before(rotated: Path, tmp_path: Path) -> None:
    """A file that is missing, exchanged or out of order shows."""
    public = ["--key", (rotated / "public").read_text()]
    assert main(["audit", "verify", str(rotated / "audit"), *public]) == 0
    files = sorted((rotated / "audit").glob("events.0*.jsonl"))
    assert len(files) > 3
    data = [one.read_bytes() for one in files]
    whole = verify(trail_of(*data))
    assert (whole.state, whole.seq) == ("intact", sum(one.count(b"\n") for one in data))
    assert verify(trail_of(*data[1:])).state == "incomplete"
    assert verify(trail_of(data[0], *data[2:])).state == "incomplete"
    assert verify(trail_of(data[1], data[0], *data[2:])).state == "tampered"
    assert verify(trail_of(data[0], data[0], *data[1:])).state == "tampered"
    cut = data[0][: data[0].rindex(b"\n", 0, -1) + 1]
    assert verify(trail_of(cut, *data[1:])).state == "tampered"
    (tmp_path / "a").mkdir()
    shutil.copytree(rotated / "audit", tmp_path / "b")
    (tmp_path / "b" / files[1].name).unlink()
    assert main(["audit", "verify", str(tmp_path / "b"), *public]) == 2


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_rearrangement_of_lines_is_the_trail(kept: Kept, data: st.DataObject) -> None:
    """Any list of its lines that is intact under the anchor is the trail itself."""
    short = kept.lines[:8]
    chosen = data.draw(st.lists(st.sampled_from(short), max_size=10))
    verdict = verified(chosen)
    assert (verdict.state == "intact") is (chosen == kept.lines[: len(chosen)] and bool(chosen))
    assert verified(chosen, anchors=[kept.notes]).state != "intact"


def test_erasing_a_payload_leaves_the_chain_whole(tmp_path: Path) -> None:
    """What a person asked to have forgotten is gone from the disk; that the call was made is not."""
    key, public = write_key(tmp_path)
    events = [
        event(n, user=user, payload={"iban": f"canary-{user}-{n}"})
        for n in range(6)
        for user in ("ana", "ben")
    ]
    here = tmp_path / "audit"
    anyio.run(lambda: write(here / "events.jsonl", events, key=key, max_bytes=1000))
    before = verify(open_trail(here), keys=[Verifier(public)])
    assert (before.state, before.erased) == ("intact", 0)

    assert erase(here, lambda record: record.get("user") == "ana") == 6

    after = verify(open_trail(here), keys=[Verifier(public)])
    assert (after.state, after.erased, after.records) == ("intact", 6, before.records)
    left = b"".join(one.read_bytes() for one in here.iterdir())
    assert left.count(b"canary-ben") == 6
    assert b"canary-ana" not in left
    assert erase(here, lambda record: record.get("user") == "ana") == 0


def test_a_changed_payload_is_found(tmp_path: Path) -> None:
    """The record commits to what it said."""
    anyio.run(lambda: write(tmp_path / "events.jsonl", [event(1, payload={"sum": 12})]))
    file = tmp_path / "events.000001.payloads.jsonl"
    file.write_bytes(file.read_bytes().replace(b"12", b"13"))
    verdict = verify(open_trail(tmp_path))
    assert (verdict.state, verdict.findings[0].seq) == ("tampered", 2)


@pytest.fixture(scope="module")
def paid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed trail in which records 2 and 4 commit to a payload and record 3 to none."""
    folder = tmp_path_factory.mktemp("paid")
    events = [event(n, user="ana", payload={"sum": n} if n != 2 else None) for n in (1, 2, 3)]
    anyio.run(lambda: write(folder / "events.jsonl", events))
    return folder


FORGED = b'{"payload":{"sum":999},"salt":"00","seq":%d}\n'

STRAYS: dict[str, Callable[[Lines], Lines]] = {
    "before the genuine one": lambda rows: [FORGED % 2, *rows],
    "after the genuine one": lambda rows: [*rows, FORGED % 4],
    "the genuine one twice": lambda rows: [*rows, rows[0]],
    "beside an erasure mark": lambda rows: [b'{"erased":true,"seq":2}\n', FORGED % 2, *rows[1:]],
    "an erasure mark beside it": lambda rows: [*rows, b'{"erased":true,"seq":2}\n'],
    "inside an erasure mark": lambda rows: [b'{"erased":true,"payload":{"sum":999},"seq":2}\n', rows[1]],
    "for a record that commits to none": lambda rows: [*rows, FORGED % 3],
    "for the record that closes": lambda rows: [*rows, FORGED % 5],
    "for a record that is not there": lambda rows: [*rows, FORGED % 99],
    "in other words": lambda rows: [*rows, b'{"seq":3,"payload":{"sum":999}}\n'],
    "nothing that can be read": lambda rows: [*rows, b"[" * 100_000 + b"\n"],
    "half a row": lambda rows: [*rows, (FORGED % 3)[:20]],
}


@pytest.mark.parametrize("name", STRAYS)
def test_a_forged_payload_is_found(paid: Path, tmp_path: Path, name: str) -> None:
    """Every row is one that a record commits to, and each record has one."""
    here = tmp_path / "audit"
    shutil.copytree(paid, here)
    assert verify(open_trail(here)).state == "intact"
    file = here / "events.000001.payloads.jsonl"
    file.write_bytes(b"".join(STRAYS[name](lines_of(file))))
    assert verify(open_trail(here)).state == "tampered"
    assert main(["audit", "verify", str(here)]) == 1


def test_a_second_file_of_payloads_vouches_for_nothing(paid: Path, tmp_path: Path) -> None:
    """The number is written one way: genuine rows under another name do not cover forged ones."""
    here = tmp_path / "audit"
    shutil.copytree(paid, here)
    file = here / "events.000001.payloads.jsonl"
    for name in ("events.1.payloads.jsonl", "events.0000001.payloads.jsonl"):
        shutil.copy(file, here / name)
    file.write_bytes(file.read_bytes().replace(b'"sum":1', b'"sum":9'))
    assert verify(open_trail(here)).state == "tampered"


def test_payloads_written_ahead_by_a_process_that_was_killed_are_cut_off(paid: Path, tmp_path: Path) -> None:
    """They are in no finding, and the records that take their positions have only their own."""
    here = tmp_path / "audit"
    shutil.copytree(paid, here)
    file, rows = here / "events.jsonl", here / "events.000001.payloads.jsonl"
    file.write_bytes(b"".join(lines_of(file)[:-1]))
    rows.write_bytes(rows.read_bytes() + FORGED % 5 + FORGED % 6 + (FORGED % 7)[:20])
    killed = verify(open_trail(here))
    assert (killed.state, killed.is_closed) == ("intact", False)

    anyio.run(lambda: write(file, [event(9, payload={"sum": 4})]))

    again = verify(open_trail(here))
    assert (again.state, again.crashes, again.erased) == ("intact", 1, 0)
    assert b"999" not in rows.read_bytes()
    assert rows.read_bytes().count(b'"sum"') == 3


def test_payloads_of_a_trail_that_was_taken_away_are_set_aside(paid: Path, tmp_path: Path) -> None:
    """Those of the next one are not mixed with them, and nothing is destroyed."""
    here = tmp_path / "audit"
    shutil.copytree(paid, here)
    old = (here / "events.000001.payloads.jsonl").read_bytes()
    for number in range(2):
        (here / "events.jsonl").unlink()
        anyio.run(lambda: write(here / "events.jsonl", [event(1, payload={"sum": 4})]))
        assert verify(open_trail(here)).state == "intact", number
    aside = sorted(here.glob("events.000001.payloads.jsonl.replaced-*"))
    assert len(aside) == 2
    assert aside[0].read_bytes() == old


def test_a_payload_that_no_record_commits_to_is_erased_with_the_rest(paid: Path, tmp_path: Path) -> None:
    """Nobody could pick it otherwise, and what it says may be about anybody."""
    here = tmp_path / "audit"
    shutil.copytree(paid, here)
    file = here / "events.000001.payloads.jsonl"
    file.write_bytes(file.read_bytes() + FORGED % 3 + FORGED % 2)
    assert erase(here, lambda record: record.get("seq") == 2) == 3
    assert b"999" not in file.read_bytes()
    assert b'"sum":3' in file.read_bytes()
    verdict = verify(open_trail(here))
    assert (verdict.state, verdict.erased) == ("intact", 1)
