"""Text inside base64: found in every spelling that a host reads, and nothing else taken for it."""

from base64 import b64encode, urlsafe_b64encode

import pytest

from mcpguard.core.carried import HEAD, SHORT, Carrier, carrier

TEXT = "ünder the ~~~ bridge, ÿÿÿ " * 20


def encoded(value: bytes) -> str:
    """Plain base64."""
    return b64encode(value).decode()


def text_of(carried: Carrier | None) -> str | None:
    """What is inside."""
    assert carried is not None
    return carried.text


@pytest.mark.parametrize(
    "raw",
    [
        encoded(TEXT.encode()),
        encoded(TEXT.encode()).rstrip("="),
        urlsafe_b64encode(TEXT.encode()).decode(),
        "\r\n".join(encoded(TEXT.encode())[at : at + 76] for at in range(0, 2000, 76)).strip(),
        encoded(TEXT.encode()) + "\n",
    ],
)
def test_text_is_read_however_its_base64_is_written(raw: str) -> None:
    """White space, padding left out and the other alphabet are no way round."""
    assert text_of(carrier(raw, is_base64=True)) == TEXT


def test_one_character_too_many_is_dropped_as_hosts_drop_it() -> None:
    """Not a reason to leave the rest unread."""
    whole = encoded(b"abcdef")
    assert text_of(carrier(whole + "A", is_base64=True)) == "abcdef"


@pytest.mark.parametrize(
    "raw",
    [
        "data:text/plain;base64," + encoded(b"hidden"),
        "DATA:;charset=utf-8;BASE64," + encoded(b"hidden"),
    ],
)
def test_a_data_uri_carries_text_and_is_written_again_with_its_head(raw: str) -> None:
    """What stands before the base64 stays."""
    carried = carrier(raw)
    assert carried is not None
    assert carried.text == "hidden"
    assert text_of(carrier(carried.carrying("shown"))) == "shown"
    assert carried.carrying("shown").startswith(carried.head)


@pytest.mark.parametrize("raw", ["data:text/plain,hello", "hello", "database64,"])
def test_what_is_no_base64_by_its_place_is_read_as_it_stands(raw: str) -> None:
    """A data URI may be plain text."""
    assert carrier(raw) is None


@pytest.mark.parametrize(
    "inside",
    [
        b"\x89PNG\r\n" + b"\0" * SHORT,
        b"\xff\xd8\xff\xe0" + b"J" * SHORT,
        b"\0" + b"A" * SHORT,
        b"fine at first " * 10 + b"\0" + b"A" * SHORT,
        b"fine at first " * 10 + b"\xff\xfe" * SHORT,
    ],
)
def test_bytes_are_left_alone_and_known_for_bytes(inside: bytes) -> None:
    """Images and archives show in their first bytes, others further in."""
    carried = carrier(encoded(inside), "image/png", is_base64=True)
    assert carried is not None
    assert carried.text is None


@pytest.mark.parametrize(("mime", "text"), [("text/plain", "a\udcff\0b"), ("application/json", "a\udcff\0b")])
def test_what_says_that_it_is_text_is_read_as_text(mime: str, text: str) -> None:
    """Bytes that are none of UTF-8 are kept as they are."""
    raw = encoded(b"a\xff\0b")
    carried = carrier(raw, mime, is_base64=True)
    assert carried is not None
    assert carried.text == text
    assert carried.carrying(text) == raw


@pytest.mark.parametrize("raw", ["not base64 at all!", "ключ" * SHORT, "AAAAA~", encoded(b"\xff" * 9)])
def test_what_is_short_or_no_base64_is_read_as_it_stands(raw: str) -> None:
    """A key is short, and nobody's base64 need be valid."""
    assert carrier(raw, is_base64=True) is None


def test_a_character_that_is_cut_at_the_first_look_is_no_reason_against_text() -> None:
    """The first look ends anywhere."""
    for shift in range(4):
        text = "a" * shift + "€" * HEAD * 2
        assert text_of(carrier(encoded(text.encode()), is_base64=True)) == text
