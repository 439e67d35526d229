"""What is not a matter of words: forged roles, phrases to the model, links that carry data, hidden text.

Every pattern begins with something rare, and is looked for only where a cheap search has found that.
"""

from collections.abc import Iterator, Mapping, Set

from mcpguard.detectors.injection.phrases import (
    BEYOND_WORDS,
    CARRIES,
    MARKUP,
    PHRASES,
    REMOTE,
    SOLICITS,
    TAGS,
    UNSPACED,
)
from mcpguard.detectors.injection.signals import Signal

__all__ = ["hidden_signals", "markup_signals", "phrase_signals", "tool_signals"]


def hidden_signals(text: str) -> Iterator[Signal]:
    """Characters that a model reads and a person does not see."""
    if not text.isascii():
        for match in TAGS.finditer(text):
            yield Signal("hidden_text", 0.9, match.start(), match.end())


def markup_signals(text: str) -> Iterator[Signal]:
    """Forged roles, and links that carry data, in lower case."""
    for name, weight, marks, pattern in MARKUP:
        if any(map(text.__contains__, marks)):
            for match in pattern.finditer(text):
                yield Signal(name, weight, match.start(), match.end())
    if "//" in text and ("](" in text or "]:" in text or "<img" in text):
        for match in REMOTE.finditer(text):
            if CARRIES.search(match.group()):
                yield Signal("exfiltrating_link", 0.55, match.start(), match.end())


def phrase_signals(text: str, words: Set[str]) -> Iterator[Signal]:
    """Phrases that name the model, give it an order, or bid it be silent; `words` are all there are."""
    for name, weight, triggers, pattern in PHRASES:
        if not triggers.isdisjoint(words):
            for match in pattern.finditer(text):
                yield Signal(name, weight, match.start(), match.end())
    if not text.isascii() and UNSPACED.search(text) is not None:
        for name, weight, pattern in BEYOND_WORDS:
            for match in pattern.finditer(text):
                yield Signal(name, weight, match.start(), match.end())


def tool_signals(text: str, tools: Mapping[str, float]) -> Iterator[Signal]:
    """Orders to use one of these tools; names in lower case, with the weight of each."""
    if tools:
        for match in SOLICITS.finditer(text):
            weight = tools.get(match[1].rstrip("."))
            if weight is not None:
                yield Signal("tool_solicited", weight, match.start(), match.end())
