"""Rules over words: which kinds of words, how near one another, speak of an instruction to the model.

A rule names kinds, not sentences, so that a paraphrase, another order or another language meets it too. What
it must not mean is told by the words around.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Final

from mcpguard.detectors.injection.lexicon import Kind

__all__ = ["RULES", "Rule"]

_GOES_ON: Final = re.compile(
    r" (?!(?:and|or|then|but|you|i|we|that|it|to|in|from|what|which|of|said|please|text|context|content|"
    r"information|conversations?|messages?|instructions?|prompts?|rules?|commands?|directions|guidelines|"
    r"e|y|et|und|o|ou)\b)[a-z]{3}"
)
"""A word that `previous` belongs to, and that is none of those that orders to a model name."""

_ALL_OF: Final = re.compile(r"\b(?:all|any|every)(?: of)?(?: the| your)? [a-z]{3,20}\Z")
_OF_OTHERS: Final = re.compile(
    r"(?: (?:and|or) [a-z]{3,20})? (?:below\b|(?:of|after|for|on|in) (?!(?:[a-z]{1,12} ){0,2}"
    r"(?:your?|system|prompt|developers?|users?|above|chat|conversation|me|model|assistant|ai|this|that)\b))"
)
"""Whose rules they are, if they are not a model's."""

_BY_OTHERS: Final = re.compile(
    r"\b(?:(?:we|they|i|he|she|it|staff|employees)(?: (?!you\b)[a-z]{1,12}){0,2}|did|does|has|have|had|was|"
    r"were|which|who|not|never|(?:not|never) to|(?<!\byou )shall) \Z"
)
"""Somebody else who does it, or did; or nobody who is to."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Kinds of words beside one another.

    Args:
        name: The signal's name.
        weight: The signal's weight.
        needs: A word of each of these kinds (any of the kinds joined by `|`), the first being the anchor.
        window: Words from the anchor to the others.
        is_ordered: Whether the others stand after the anchor.
        begins: Whether the anchor begins a sentence or clause.
        near: Words between the second and the third, at most.
        apart: Words from the anchor to the second, at least.
        in_turn: Whether the second stands before the third, and so on.
        is_closed: Whether the last word ends what it belongs to: none of `all previous settings`.
        is_own: Whether the rules are the reader's: none of `all rules of the game`.
        is_bidden: Whether somebody is told to do it: none of `we did not tell the user`.
    """

    name: str
    weight: float
    needs: Sequence[int]
    window: int = 7
    is_ordered: bool = False
    begins: bool = False
    near: int = 100
    apart: int = 1
    in_turn: bool = False
    is_closed: bool = False
    is_own: bool = False
    is_bidden: bool = False

    mask: int = field(init=False)
    """The kinds that it cannot go without, each a bit."""

    def __post_init__(self) -> None:
        needs = tuple(map(int, self.needs))
        object.__setattr__(self, "needs", needs)
        object.__setattr__(
            self, "mask", reduce(int.__or__, (need for need in needs if need.bit_count() == 1), 0)
        )

    def means(self, text: str, start: int, end: int, anchor: int) -> bool:
        """Whether words of these kinds between two positions mean what the rule is for.

        Args:
            text: What they stand in.
            start: Where the first begins.
            end: Where the last ends.
            anchor: Where the anchor begins.
        """
        if self.is_closed and _ALL_OF.search(text, start, end) and _GOES_ON.match(text, end):
            return False
        if self.is_own and _OF_OTHERS.match(text, end) is not None:
            return False
        if not self.is_bidden or " you " in text[start:end]:
            return True
        return _BY_OTHERS.search(text, max(0, anchor - 40), anchor) is None

    def may_hold(self, present: int) -> bool:
        """Whether there is a word of every kind."""
        return present & self.mask == self.mask and all(present & need for need in self.needs)


RULES: Final = (
    Rule("override", 0.9, (Kind.DROP, Kind.RULES, Kind.EARLIER), 7, near=4, is_bidden=True),
    Rule("override", 0.7, (Kind.DROP, Kind.RULES, Kind.ALL), 5, is_own=True, is_bidden=True),
    Rule(
        "override",
        0.6,
        (Kind.DROP, Kind.RULES, Kind.YOUR),
        3,
        begins=True,
        is_ordered=True,
        near=1,
        is_own=True,
    ),
    Rule("override", 0.6, (Kind.DROP, Kind.RULES, Kind.OWN), 4, begins=True, is_ordered=True, near=3),
    Rule("override", 0.7, (Kind.DROP, Kind.EVERYTHING, Kind.EARLIER), 7, is_ordered=True, is_closed=True),
    Rule("override", 0.7, (Kind.DROP, Kind.EVERYTHING, Kind.ALL), 5, begins=True, is_ordered=True),
    Rule("override", 0.7, (Kind.CLEAR, Kind.OWN, Kind.RULES), 5, is_ordered=True, near=2),
    Rule("override", 0.6, (Kind.CLEAR, Kind.RULES | Kind.EVERYTHING, Kind.EARLIER, Kind.ALL), 6, begins=True),
    Rule("override", 0.45, (Kind.DROP, Kind.EVERYTHING), 2, begins=True, is_ordered=True),
    Rule("override", 0.45, (Kind.DROP, Kind.EARLIER), 2, begins=True, is_ordered=True),
    Rule("override", 0.8, (Kind.FOLLOW, Kind.NOT, Kind.RULES, Kind.EARLIER | Kind.ALL), 6),
    Rule("concealment", 0.6, (Kind.NOT, Kind.TELL, Kind.PERSON), 6, is_ordered=True, is_bidden=True),
    Rule("reveal", 0.6, (Kind.REVEAL, Kind.YOUR, Kind.SYSTEM, Kind.PROMPT), 6, is_ordered=True),
    Rule("reveal", 0.6, (Kind.REVEAL, Kind.OWN, Kind.PROMPT), 6, is_ordered=True, begins=True, near=3),
    Rule("reveal", 0.55, (Kind.REVEAL, Kind.PROMPT, Kind.SYSTEM), 5, is_ordered=True, begins=True, near=1),
    Rule(
        "answer",
        0.6,
        (Kind.CHANGE, Kind.OWN, Kind.ANSWER),
        14,
        is_ordered=True,
        begins=True,
        apart=3,
        in_turn=True,
    ),
    Rule("answer", 0.6, (Kind.DISTORT, Kind.OWN, Kind.ANSWER), 4, is_ordered=True, begins=True),
    Rule(
        "code",
        0.6,
        (Kind.CHANGE, Kind.THIS, Kind.CODE, Kind.OWN, Kind.ANSWER),
        14,
        is_ordered=True,
        begins=True,
    ),
    Rule("send_secrets", 0.4, (Kind.SEND, Kind.SECRET), 8, is_ordered=True),
    Rule("to_model", 0.15, (Kind.MODEL,), 1),
)
