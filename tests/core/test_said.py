"""What the person provided: digests of destinations, bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpguard import Run
from mcpguard.core import said
from mcpguard.core.said import Said

TEXT = st.text(st.characters(exclude_categories=()))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("mail it to Ada.Lovelace+x@example.org, please", "ada.lovelace+x@example.org"),
        ("see (https://example.org/a/b?c=d).", "https://example.org/a/b?c=d"),
        ("see https://example.org/a/", "https://EXAMPLE.org/a"),
        ("the host is git.example.org", "git.example.org"),
        ("from DE89 3704 0044 0532 0130 00 today", "DE89370400440532013000"),
        ("account 12-3456-78", "12345678"),
        ("see https://www.B\u00fccher.example/a", "b\u00fccher.example"),
        ("use 203.0.113.7, please", "203.0.113.7"),
        ("use [2001:DB8:0::1] now", "2001:db8::1"),
        ("push to github.com/me/x", "github.com/me"),
        ("my code: https://github.com/me/x.", "github.com/me"),
    ],
)
def test_destinations_in_what_a_person_said_are_recognised(text: str, value: str) -> None:
    """Case, separators and punctuation around it do not make another destination."""
    known = Said()
    known.add(text)
    assert value in known


@pytest.mark.parametrize("value", ["eve@example.org", "https://example.org/other", "example.com", "99999999"])
def test_what_nobody_said_is_unknown(value: str) -> None:
    """Provenance, not detection: unknown is the answer that lets no rule pass."""
    known = Said()
    known.add("ada@example.net https://example.org/a 12345678")
    assert value not in known


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("write to ada@gmail.com", "gmail.com"),
        ("look at README.md", "readme.md"),
        ("my code: https://github.com/me/x", "github.com"),
        ("my code: https://github.com/me/x", "github.com/eve"),
        ("the form https://docs.google.com/forms/d/mine/edit", "docs.google.com"),
    ],
)
def test_what_only_looks_named_is_unknown(text: str, value: str) -> None:
    """The host of an address, the name of a file, and a host that a stranger has a place on as well."""
    known = Said()
    known.add(text)
    assert value not in known


def test_the_words_themselves_are_not_kept() -> None:
    """Only what can be a destination is remembered."""
    known = Said()
    known.add("please delete everything")
    assert "delete" not in known
    assert "please delete everything" not in known


def test_no_text_is_kept_readable() -> None:
    """Keyed digests: a memory dump or a repr shows nothing."""
    run = Run()
    run.user_said("ada@example.org")
    assert "ada" not in repr(run)
    assert "ada" not in str(run._said._digests)  # type: ignore[union-attr]


def test_the_oldest_values_leave_first_and_repeating_one_keeps_it() -> None:
    """State is always bounded."""
    known = Said()
    known.add("first@example.org second@example.org")
    known.add("first@example.org")
    for number in range(said.MAX_ENTRIES - 1):
        known.add(f"u{number}@example.org")
    assert "first@example.org" in known
    assert "second@example.org" not in known


def test_only_so_much_of_one_text_is_read() -> None:
    """What a person types is shorter."""
    known = Said()
    known.add(" " * said.MAX_TEXT + "late@example.org")
    assert "late@example.org" not in known


@given(TEXT)
def test_any_text_can_be_said_and_asked_about(text: str) -> None:
    """Lone surrogates and control characters come from everywhere."""
    known = Said()
    known.add(text)
    assert isinstance(text in known, bool)


@given(st.from_regex(r"\A[a-z]{1,8}@[a-z]{1,8}\.(org|net)\Z"), TEXT, TEXT)
def test_an_address_is_found_in_any_surroundings(address: str, before: str, after: str) -> None:
    """As long as it stands by itself."""
    known = Said()
    known.add(f"{before} {address} {after}")
    assert address in known


def test_only_text_can_be_said() -> None:
    """A message object passed by mistake would otherwise be remembered as nothing."""
    text: object = ["a@b.org"]
    with pytest.raises(TypeError, match="user_said takes text, not list"):
        Run().user_said(text)  # type: ignore[arg-type]


def test_a_run_knows_what_was_said_in_the_runs_above_it() -> None:
    """Sub-agents act on what the person told the agent; not the other way round."""
    outer = Run()
    inner = Run(parent=outer)
    assert not inner.said("ada@example.org")
    outer.user_said("write to ada@example.org")
    inner.user_said("and to bob@example.org")
    inner.user_said("and to eve@example.org")
    assert inner.said("ada@example.org")
    assert inner.said("bob@example.org")
    assert not outer.said("bob@example.org")
