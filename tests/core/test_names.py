"""Names as records have them: cleaned once, bounded, and URIs without what is secret in them."""

import pytest

from mcpguard.core.names import MAX_NAME, MAX_READ, WITHHELD, Names, public_part


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("git_status", "git_status"),
        ("ns:tool", "ns:tool"),
        ("is it so?", "is it so?"),
        ("file:///a/b", "file:///a/b"),
        ("https://h/x?token=canary", "https://h/x?…"),
        ("https://h/x#canary", "https://h/x#…"),
        ("HTTPS://canary:canary@h/x", "HTTPS://…@h/x"),
        ("https://canary@canary@h/x", "https://…@h/x"),
        ("db://u:canary@h?a=canary#canary", "db://…@h?…"),
        ("urn:x?=canary\ncanary", "urn:x?…"),
        ("data:text/plain,canary", "data:…"),
        ("DATA:,canary", "DATA:…"),
        ("https://h/a@b", "https://h/a@b"),
    ],
)
def test_a_uri_is_recorded_without_user_query_and_fragment(target: str, shown: str) -> None:
    """RFC 3986, 3.2.1: applications should not render what follows the first colon of userinfo as clear text."""
    assert public_part(target) == shown


def test_a_name_that_cannot_be_cleaned_is_withheld() -> None:
    """The call goes on, and the record says nothing of the name."""

    def choke(name: str) -> str:
        raise ValueError(name)

    assert Names(choke)("canary") == WITHHELD


def test_a_name_is_cleaned_before_it_is_cut() -> None:
    """A secret across the end of what is kept is none any more; one across the end of what is read is withheld."""
    names = Names(lambda name: name.replace("canary", "***").replace("x" * 4000, ""))
    assert names("a" * (MAX_NAME - 3) + "canary").endswith("a***")
    assert len(names("a" * 100_000)) == MAX_NAME
    assert names("x" * 4000 + "a" * (MAX_READ - 4003) + "canary") == WITHHELD


def test_what_is_remembered_of_names_is_bounded() -> None:
    """A model makes up any number of them, and each is cleaned all the same."""
    seen: list[str] = []

    def clean(name: str) -> str:
        seen.append(name)
        return "*"

    names = Names(clean)
    assert [names("a"), names("a")] == ["*", "*"]
    assert seen == ["a"]
    assert {names(str(number)) for number in range(5_000)} == {"*"}
    assert len(seen) == 5_001
    names("a")
    assert len(seen) == 5_002
