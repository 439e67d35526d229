"""The Merkle tree of RFC 6962, against the definition."""

import hashlib
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from mcpguard.audit.merkle import EMPTY_ROOT, Tree


def defined(entries: Sequence[bytes]) -> bytes:
    """RFC 6962, 2.1, word by word."""
    if not entries:
        return hashlib.sha256().digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    half = 1
    while half * 2 < len(entries):
        half *= 2
    return hashlib.sha256(b"\x01" + defined(entries[:half]) + defined(entries[half:])).digest()


@given(st.lists(st.binary(max_size=40), max_size=70))
def test_the_root_is_that_of_the_definition(entries: list[bytes]) -> None:
    """At every size on the way."""
    tree = Tree()
    assert tree.root == EMPTY_ROOT
    for number, entry in enumerate(entries, start=1):
        tree.add(entry)
        assert (tree.size, tree.root) == (number, defined(entries[:number]))


def test_a_copy_grows_apart() -> None:
    """A failed write takes the tree back."""
    tree = Tree()
    tree.add(b"a")
    copy = tree.copy()
    tree.add(b"b")
    assert (copy.size, copy.root) == (1, defined([b"a"]))
    copy.add(b"c")
    assert (copy.root, tree.root) == (defined([b"a", b"c"]), defined([b"a", b"b"]))
