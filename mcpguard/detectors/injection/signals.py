"""Where words of a text are as a rule has them.

Its cost is linear in the number of words, whatever they are.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Final

from mcpguard.detectors.injection.lexicon import lexicon
from mcpguard.detectors.injection.rules import RULES, Rule

__all__ = ["Signal", "word_signals"]

MAX_HITS: Final = 16
"""Places told of one rule in one text."""


@dataclass(frozen=True, slots=True)
class Signal:
    """One thing that speaks of an injected instruction.

    Args:
        name: What it is, a stable snake_case word.
        weight: How much it says, from 0 to 1.
        start: Where it begins.
        end: Where it ends.
    """

    name: str
    weight: float
    start: int
    end: int


_WORD: Final = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
_END: Final = re.compile(r"[.!?;:|\n](?:(?<=\n)\s*\n|(?<!\n))")
"""Where a clause ends: it begins with what is quickly found."""

_OPENERS: Final = frozenset(
    {
        "please",
        "and",
        "also",
        "then",
        "now",
        "first",
        "next",
        "finally",
        "you",
        "must",
        "should",
        "always",
        "instead",
        "bitte",
        "und",
        "por",
        "favor",
        "y",
        "et",
        "e",
        "s'il",
        "kindly",
        "just",
        "so",
        "but",
        "to",
    }
)
"""Words after which an order may begin."""


def word_signals(text: str, words: Set[str], present: int) -> Iterator[Signal]:
    """What the words of a text in lower case say.

    Args:
        text: What is read.
        words: Those of its words that are in the vocabulary.
        present: All that they stand for.
    """
    rules = [rule for rule in RULES if present & rule.mask == rule.mask and rule.may_hold(present)]
    if not rules:
        return
    known = lexicon()
    here = {word: known[word] for word in known.keys() & words}
    tokens = _tokens(text, known, [_spellings(rule, here) for rule in rules])
    for rule in rules:
        yield from _hits(rule, tokens, text)


@dataclass(slots=True)
class _Token:
    """A word that is in the lexicon."""

    at: int
    clause: int
    kinds: int
    begins: bool
    start: int
    end: int


def _spellings(rule: Rule, here: Mapping[str, int]) -> list[list[str]]:
    """The words of a text that are of each kind a rule needs, the fewest first."""
    return sorted(([word for word, its in here.items() if its & need] for need in rule.needs), key=len)


def _tokens(text: str, known: Mapping[str, int], wanted: Sequence[list[list[str]]]) -> list[_Token]:
    """The words of the lexicon in every clause that has, for one rule, a word of each kind it needs."""
    ends = list(_END.finditer(text))
    begins = [0, *(end.end() for end in ends)]
    stops = [*(end.start() for end in ends), len(text)]
    chosen: set[int] = set()
    for fewest, *others in wanted:
        for word in fewest:
            at = _find(text, word, 0, len(text))
            while at >= 0:
                clause = bisect_right(begins, at) - 1
                span = begins[clause], stops[clause]
                if all(any(_find(text, one, *span) >= 0 for one in words) for words in others):
                    chosen.add(clause)
                at = _find(text, word, max(at + 1, span[1]), len(text))
    found: list[_Token] = []
    for clause in sorted(chosen):
        _add_clause(found, text, (begins[clause], stops[clause]), clause, known)
    return found


def _find(text: str, word: str, start: int, stop: int) -> int:
    """Where `word` stands with no letter beside it, or -1."""
    at = text.find(word, start, stop)
    while at >= 0:
        end = at + len(word)
        if not (text[end : end + 1].isalpha() or (at and text[at - 1].isalpha())):
            return at
        at = text.find(word, end, stop)
    return -1


def _add_clause(
    found: list[_Token], text: str, span: tuple[int, int], clause: int, known: Mapping[str, int]
) -> None:
    begins = True
    for at, match in enumerate(_WORD.finditer(text, *span)):
        word = match.group()
        word = word.removesuffix("'s")
        its = known.get(word, 0)
        if not its and "'" in word:
            its = known.get(word.rpartition("'")[2], 0)
        if its:
            found.append(_Token(at, clause, its, begins, match.start(), match.end()))
        begins = word in _OPENERS


def _hits(rule: Rule, tokens: Sequence[_Token], text: str) -> Iterator[Signal]:
    count = 0
    anchor = rule.needs[0]
    size = len(tokens)
    for position, token in enumerate(tokens):
        if not token.kinds & anchor or (rule.begins and not token.begins):
            continue
        low = high = position
        while (
            high + 1 < size
            and tokens[high + 1].at - token.at <= rule.window
            and tokens[high + 1].clause == token.clause
        ):
            high += 1
        if not rule.is_ordered:
            while (
                low
                and token.at - tokens[low - 1].at <= rule.window
                and tokens[low - 1].clause == token.clause
            ):
                low -= 1
        others = [tokens[at] for at in range(low, high + 1) if at != position]
        used = _used(rule.needs[1:], others, rule.in_turn)
        if used is None or (used and abs(used[0].at - token.at) < rule.apart):
            continue
        if len(used) > 1 and abs(used[1].at - used[0].at) > rule.near:
            continue
        first = min([token, *used], key=lambda one: one.start)
        last = max([token, *used], key=lambda one: one.end)
        if not rule.means(text, first.start, last.end, token.start):
            continue
        yield Signal(rule.name, rule.weight, first.start, last.end)
        count += 1
        if count == MAX_HITS:
            return


def _used(needs: Sequence[int], others: Sequence[_Token], in_turn: bool) -> list[_Token] | None:
    """A different word for each kind, or None."""
    used: list[_Token] = []
    for need in needs:
        found = next((one for one in others if one.kinds & need and one not in used), None)
        if found is None:
            return None
        used.append(found)
        if in_turn:
            others = [one for one in others if one.at > found.at]
    return used
