"""What is not a matter of words: forged roles, phrases to the model, links that carry data, hidden text.

Every pattern begins with something rare, and is looked for only where a cheap search has found that.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Final

from mcpguard.detectors.injection.glance import words_of
from mcpguard.detectors.injection.phrases import (
    BEYOND_WORDS,
    CARRIES,
    MARKUP,
    REMOTE,
    SOLICITING,
    SOLICITS,
    TAGS,
    UNSPACED,
)
from mcpguard.detectors.injection.signals import Signal
from mcpguard.detectors.injection.vocabulary import NEEDS

__all__ = ["NO_TOOLS", "ToolNames", "hidden_signals", "markup_signals", "phrase_signals", "tool_signals"]


FEW: Final = 64
"""Names that are looked for one by one; the pattern alone is faster than more of them."""


class ToolNames(dict[str, float]):
    """Names of tools in lower case, with the weight that an order to use each has.

    Args:
        weights: The weights, by name.
    """

    __slots__ = ("by_word",)

    def __init__(self, weights: Mapping[str, float]) -> None:
        super().__init__(weights)
        self.by_word: dict[str, list[str]] = {}
        """The names by their longest word: a text without that word has none of them."""
        for name in weights:
            self.by_word.setdefault(max(words_of(name), key=len, default=name), []).append(name)


NO_TOOLS: Final = ToolNames({})
"""Without tools that could be asked for."""


def hidden_signals(text: str) -> Iterator[Signal]:
    """Characters that a model reads and a person does not see."""
    if not text.isascii() and b"\xf3\xa0" in text.encode("utf-8", "surrogatepass"):
        for match in TAGS.finditer(text):
            yield Signal("hidden_text", 0.9, match.start(), match.end())


def markup_signals(text: str) -> Iterator[Signal]:
    """Forged roles, and links that carry data, in lower case."""
    is_plain = not ("<" in text or ">" in text or "[" in text or "]" in text)
    for name, weight, marks, pattern in () if is_plain else MARKUP:
        if any(map(text.__contains__, marks)):
            for match in pattern.finditer(text):
                yield Signal(name, weight, match.start(), match.end())
    if "/" in text and "//" in text and ("](" in text or "]:" in text or "<img" in text):
        for match in REMOTE.finditer(text):
            if CARRIES.search(match.group()):
                yield Signal("exfiltrating_link", 0.55, match.start(), match.end())


def phrase_signals(
    text: str, words: Set[str], present: int, whole: str = "", at: int = 0
) -> Iterator[Signal]:
    """Phrases that name the model, give it an order, or bid it be silent.

    Args:
        text: What is read.
        words: Those of its words that are in the vocabulary.
        present: All that they stand for.
        whole: What it is a part of, so that its beginning is not taken for a line's.
        at: Where in `whole` it begins.
    """
    whole, stop = whole or text, at + len(text)
    for needed, one in NEEDS:
        if present & needed == needed and one.may_be_in(text, words):
            for match in one.pattern.finditer(whole, at, stop):
                yield Signal(one.name, one.weight, match.start() - at, match.end() - at)
    if not text.isascii() and UNSPACED.search(text) is not None:
        for name, weight, marks, pattern in BEYOND_WORDS:
            if any(map(text.__contains__, marks)):
                for match in pattern.finditer(text):
                    yield Signal(name, weight, match.start(), match.end())


def tool_signals(text: str, words: Set[str], every: Sequence[str], tools: ToolNames) -> Iterator[Signal]:
    """Orders to use one of these tools.

    Args:
        text: What is read.
        words: Those of its words that are in the vocabulary.
        every: All its words.
        tools: The tools that may be asked for.
    """
    if not tools or SOLICITING.isdisjoint(words):
        return
    names = [name for word in tools.by_word.keys() & every for name in tools.by_word[word]]
    if len(names) > FEW or any(name in text for name in names):
        for match in SOLICITS.finditer(text):
            weight = tools.get(match[1].rstrip("."))
            if weight is not None:
                yield Signal("tool_solicited", weight, match.start(), match.end())
