"""Signed notes: the formats of C2SP, and what is not signed."""

import base64
import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpguard.audit.note import Checkpoint, Signer, Verifier, new_key, notes_in

SECRET, PUBLIC = new_key("ana.example")
ONE = Checkpoint(stream="s", segment=1, size=3, root=bytes(32), head=bytes(32), seq=3, time_us=-5)


def test_a_note_is_what_the_specification_says() -> None:
    """C2SP signed-note and tlog-checkpoint, taken apart by hand."""
    note = Signer(SECRET).note(ONE)
    text, _, rest = note.partition("\n\n")
    assert text.split("\n")[:3] == ["mcpguard/s/1", "3", base64.b64encode(bytes(32)).decode()]
    dash, name, encoded = rest.rstrip("\n").split(" ")
    assert (dash, name) == ("\u2014", "ana.example")
    _, number, key = PUBLIC.split("+", 2)
    raw = base64.b64decode(key)
    assert raw[:1] == b"\x01"
    assert (
        hashlib.sha256(b"ana.example\n" + raw).hexdigest()[:8]
        == number
        == base64.b64decode(encoded)[:4].hex()
    )


def test_what_was_signed_is_read_back() -> None:
    """And notes one after the other are told apart."""
    signer, verifier = Signer(SECRET), Verifier(PUBLIC)
    two = replace(ONE, size=4, seq=4)
    notes = list(notes_in(f"{signer.note(ONE)}\n{signer.note(two)}\n"))
    assert [verifier.checkpoint(note) for note in notes] == [ONE, two]


@given(st.data())
def test_a_changed_note_is_not_signed(data: st.DataObject) -> None:
    """Whichever of its bytes is another."""
    note = Signer(SECRET).note(ONE)
    at = data.draw(st.integers(0, len(note) - 1))
    other = data.draw(st.characters(exclude_characters=note[at]))
    assert Verifier(PUBLIC).checkpoint(note[:at] + other + note[at + 1 :]) in (None, ONE)
    if at < note.index("\n\n"):
        assert Verifier(PUBLIC).checkpoint(note[:at] + other + note[at + 1 :]) is None


def test_another_key_of_the_same_name_is_another_key() -> None:
    """A name is no identity."""
    secret, _ = new_key("ana.example")
    assert Verifier(PUBLIC).checkpoint(Signer(secret).note(ONE)) is None


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\n"])
def test_a_name_that_a_note_cannot_hold_is_refused(name: str) -> None:
    """C2SP signed-note: no spaces, no plus."""
    with pytest.raises(ValueError, match="a signer's name"):
        new_key(name)


def test_a_key_that_is_none_is_refused_without_being_shown() -> None:
    """What stands in the file may be somebody's secret."""
    broken = SECRET.replace("ana", "bob")
    for key in (broken, "canary", PUBLIC, SECRET[:-4]):
        with pytest.raises(ValueError, match="private key") as caught:
            Signer(key)
        assert "canary" not in str(caught.value)
        assert SECRET.split("+", 4)[4] not in str(caught.value)
    with pytest.raises(ValueError, match="public one is wanted"):
        Verifier(SECRET)
    assert SECRET.split("+", 4)[4] not in repr(Signer(SECRET))
