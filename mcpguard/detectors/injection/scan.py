"""Whether a text holds an instruction to the model that has no business there: a score, where, and why.

What is done about it is decided elsewhere: a high score is a reason to be careful with what follows, a low one
no proof of anything.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Final

from mcpguard.detectors.injection.glance import looks_apart, words_of, words_unleeted
from mcpguard.detectors.injection.lexicon import lexicon
from mcpguard.detectors.injection.markup import (
    NO_TOOLS,
    ToolNames,
    hidden_signals,
    markup_signals,
    phrase_signals,
    tool_signals,
)
from mcpguard.detectors.injection.mention import is_mentioned
from mcpguard.detectors.injection.normal import (
    View,
    decoded,
    folded,
    joined,
    looks_mixed,
    unleeted,
    unmixed,
)
from mcpguard.detectors.injection.signals import Signal, word_signals
from mcpguard.detectors.injection.vocabulary import LETTERS, known, standing_for

__all__ = ["CLEAN", "Finding", "scan"]

MAX_SPANS: Final = 32
"""Places told of one text."""

CHUNK: Final = 2048
"""Characters that are judged together: what a rule joins stands nearer than that."""

OVERLAP: Final = 256
"""Characters that two neighbouring chunks share."""

MIN_APART: Final = 6
"""Different letters that stand alone where a word is written with its letters apart."""

MENTIONED: Final = 0.25
"""What is left of the weight of an order that is only spoken of."""

_ALWAYS: Final = frozenset({"hidden_text", "chat_tokens", "exfiltrating_link"})
"""Signals that mean the same wherever they stand."""

_APOSTROPHES: Final = ("don't", "can't", "do'nt")
"""Words of the lexicon that are two where words end at apostrophes."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is found in one text.

    Args:
        score: From 0, nothing, to 1. From 0.5 on it is worth telling.
        reasons: Names of the signals, the weightiest first.
        spans: Where they are, in the text as it is, in order and without overlap.
    """

    score: float
    reasons: tuple[str, ...] = ()
    spans: tuple[tuple[int, int], ...] = ()


CLEAN: Final = Finding(0.0)
"""Nothing was found."""


def scan(text: str, tools: Mapping[str, float] = NO_TOOLS) -> Finding:
    """Look for injected instructions.

    Args:
        text: The text.
        tools: Names, in lower case, that an instruction to call something would use; the weight of each.
            `ToolNames`, if the same ones are given again.
    """
    names = tools if isinstance(tools, ToolNames) else ToolNames(tools)
    found: dict[str, Signal] = {}
    spans: list[tuple[int, int]] = []
    for signal in _signals(text, names):
        if signal.name not in _ALWAYS and is_mentioned(text, signal.start, signal.end):
            signal = replace(signal, weight=signal.weight * MENTIONED)  # noqa: PLW2901
        other = found.get(signal.name)
        if other is None or signal.weight > other.weight:
            found[signal.name] = signal
        if len(spans) < MAX_SPANS:
            spans.append((signal.start, signal.end))
    if not found:
        return CLEAN
    missed = 1.0
    for signal in found.values():
        missed *= 1.0 - signal.weight
    ranked = sorted(found.values(), key=lambda signal: -signal.weight)
    return Finding(1.0 - missed, tuple(signal.name for signal in ranked), tuple(_merged(spans)))


def _signals(text: str, tools: ToolNames) -> Iterator[Signal]:
    yield from hidden_signals(text)
    plain = folded(text)
    yield from _of(plain, tools)
    if looks_mixed(plain.text):
        yield from _of(unmixed(plain), tools)
    for view in decoded(text):
        yield from _of(view, tools)


def _of(view: View, tools: ToolNames) -> Iterator[Signal]:
    """The signals of a view and of what its words hide, in places of the original."""
    text = view.text
    yield from _placed(view, 0, markup_signals(text))
    for start in range(0, max(1, len(text)), CHUNK):
        chunk = text[start : start + CHUNK + OVERLAP]
        every = words_of(chunk)
        words = _known(chunk, every)
        yield from _placed(view, start, _of_words(chunk, words, every, tools, text, start))
        if len(LETTERS & words) >= MIN_APART and looks_apart(chunk):
            other = joined(View(chunk))
            if _has_more(words_of(other.text), words):
                yield from _disguised(view, start, other, tools)
        if _has_more(words_unleeted(chunk), words):
            yield from _disguised(view, start, unleeted(View(chunk)), tools)


def _known(chunk: str, every: Sequence[str]) -> set[str]:
    """The words of a chunk that are in the vocabulary."""
    words = known(every)
    if "'" in chunk:
        words.update(word for word in _APOSTROPHES if word in chunk)
    return words


def _of_words(
    chunk: str, words: Set[str], every: Sequence[str], tools: ToolNames, whole: str = "", at: int = 0
) -> Iterator[Signal]:
    present = standing_for(words)
    yield from phrase_signals(chunk, words, present, whole, at)
    yield from tool_signals(chunk, words, every, tools)
    yield from word_signals(chunk, words, present)


def _has_more(read: Sequence[str], words: Set[str]) -> bool:
    """Whether another reading has words of the lexicon that stand in none of the plain ones."""
    more = known(read) - words
    return any(len(word) > 2 and word in lexicon() for word in more)


def _disguised(view: View, offset: int, other: View, tools: ToolNames) -> Iterator[Signal]:
    """The signals of another reading of a chunk."""
    every = words_of(other.text)
    for signal in _of_words(other.text, _known(other.text, every), every, tools):
        start, end = other.span(signal.start, signal.end)
        yield from _placed(view, offset, iter([Signal(signal.name, signal.weight, start, end)]))


def _placed(view: View, offset: int, signals: Iterator[Signal]) -> Iterator[Signal]:
    for signal in signals:
        start, end = view.span(offset + signal.start, offset + signal.end)
        yield Signal(signal.name, signal.weight, start, end)


def _merged(spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    begin, stop = -1, -1
    for start, end in sorted(spans):
        if start > stop:
            if stop >= 0:
                yield begin, stop
            begin, stop = start, end
        else:
            stop = max(stop, end)
    yield begin, stop
