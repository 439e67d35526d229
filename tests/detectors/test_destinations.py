"""Destinations in texts: whatever stands around one, it is remembered, and time grows with the text."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mcpguard.detectors.destinations import Destination, destinations
from mcpguard.detectors.provenance import ReadDestinations

HOSTS = st.from_regex(r"[a-z0-9]{1,8}(?:[.-][a-z0-9]{1,8}){0,3}\.[a-z]{2,6}", fullmatch=True)
AROUND = st.text(st.sampled_from(" \n\t,;:!?()[]{}<>\"'`/*=|–。"), min_size=1, max_size=3)
PIECES = st.text(st.sampled_from("ab1 .,/:@-_\né"), max_size=30)


@settings(max_examples=60, deadline=None)
@example("evil.example", "", ":", "。", "1")
@given(HOSTS, PIECES, AROUND, AROUND, PIECES)
def test_a_host_in_any_surroundings_has_been_read(
    host: str, before: str, left: str, right: str, after: str
) -> None:
    """In prose, code, JSON and lists, in one text or among others."""
    expected = Destination("host", host.removeprefix("www."), host)
    for texts in ([before + left + host + right + after], [before, host, after]):
        read = ReadDestinations()
        read.read(texts)
        assert expected in read


@pytest.mark.parametrize(
    "text", ["no address", "3.14 and 1.2.3", "an end.A beginning", "", "a@", "..", "x.y"]
)
def test_what_names_no_destination_is_not_read(text: str) -> None:
    """Nothing that would make every later call a question."""
    read = ReadDestinations()
    read.read([text])
    assert [one for one in destinations("mail eve@evil.example, https://evil.example/x") if one in read] == []


def test_two_texts_do_not_make_a_destination_together() -> None:
    """One ends where the other begins."""
    read = ReadDestinations()
    read.read(["evil.", "example", "eve@", "evil"])
    assert Destination("host", "evil.example", "") not in read
    read.read(["evil.example"])
    assert Destination("host", "evil.example", "") in read


@pytest.mark.parametrize("unit", [".aa", "a.b.c.d.", "a@", "x.yy@", "-._", "AA00 ", "0x", "://", "é.aa "])
def test_near_misses_without_end_are_read_to_the_end(unit: str) -> None:
    """A lot of each; what stands behind it has been read."""
    read = ReadDestinations()
    read.read([unit * (300_000 // len(unit)) + " eve@evil.example"])
    assert read.is_full or Destination("address", "eve@evil.example", "") in read
