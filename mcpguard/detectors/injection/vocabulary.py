"""All the words that something is looked for by, in one table: a text's words are looked up once.

A word of the lexicon stands for its kinds; a word that phrases need, for the sets of words it is in, each
a bit above those of the kinds.
"""

from collections.abc import Collection, Set
from functools import cache, reduce
from typing import Final

from mcpguard.detectors.injection.lexicon import lexicon
from mcpguard.detectors.injection.phrases import PHRASES, SOLICITING, Phrase

__all__ = ["LETTERS", "NEEDS", "known", "standing_for", "vocabulary"]

FIRST: Final = 32
"""The bit of the first set of words; a kind has one below."""

LETTERS: Final = frozenset("abcdefghijklmnopqrstuvwxyz")
"""Letters that stand alone: many of them are a word with its letters apart."""

_SETS: Final = tuple(dict.fromkeys(need for one in PHRASES for need in one.needs))

NEEDS: Final[tuple[tuple[int, Phrase], ...]] = tuple(
    (sum(1 << FIRST + _SETS.index(need) for need in one.needs), one) for one in PHRASES
)
"""Each phrase with the bits of all sets of which it needs a word."""


@cache
def vocabulary() -> dict[str, int]:
    """Word -> its kinds and its sets. Made on first use."""
    words = lexicon().copy()
    for at, need in enumerate(_SETS):
        for word in need:
            words[word] = words.get(word, 0) | 1 << FIRST + at
    for one in PHRASES:
        for word, _ in one.marks:
            words.setdefault(word, 0)
    for word in (*SOLICITING, *LETTERS):
        words.setdefault(word, 0)
    return words


def known(words: Collection[str]) -> set[str]:
    """Those of some words that are in the vocabulary."""
    return vocabulary().keys() & words


def standing_for(words: Set[str]) -> int:
    """All that words of the vocabulary stand for, as bits."""
    return reduce(int.__or__, map(vocabulary().__getitem__, words), 0)
