"""Find secrets and personal data in a message, and put something else in their place.

What is found anywhere in a message is replaced everywhere in it, so that a duplicate (the text of structured
content, an error's data) does not tell what the original hides. Structured members are judged by their names,
text blocks also as the one text that they make when they are joined.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Final, Protocol, TypeAlias, cast

from mcpguard.core.content import (
    FREE,
    Passage,
    Path,
    Use,
    passages,
    passages_of,
    rewritten,
    rewritten_result,
)
from mcpguard.core.result import Result
from mcpguard.core.strings import strings_of, texts
from mcpguard.core.wire import JSON
from mcpguard.detectors.findings import Finding, merged
from mcpguard.detectors.json_text import rewritten_json
from mcpguard.detectors.pii import KINDS, Kind, personal
from mcpguard.detectors.secrets.assignments import assignments
from mcpguard.detectors.secrets.encodings import decoded
from mcpguard.detectors.secrets.members import has_secret_member, secret_members
from mcpguard.detectors.secrets.tokens import tokens

__all__ = ["DEFAULT_PII", "Detector", "Redactor", "Replace", "mask"]

Detector: TypeAlias = Callable[[str], Iterable[Finding]]
"""Finds something in a text."""

Replace: TypeAlias = Callable[[str, str], str]
"""Given a kind and a value, what to put in the value's place."""

DEFAULT_PII: Final[tuple[Kind, ...]] = ("email", "card", "iban", "ssn", "ip")

SHORTEST: Final = 6
"""Characters that a text has at least to hold anything of its own, and a value to be looked for elsewhere."""

ROUNDS: Final = 4
"""Times that a text in which something was found is looked at again."""

MOST: Final = 64
"""Values of one message that are looked for elsewhere in it."""


class _Pattern(Protocol):
    def finditer(self, text: str, /) -> Iterator["_Match"]: ...


class _Match(Protocol):
    def span(self) -> tuple[int, int]: ...


def mask(kind: str, _value: str) -> str:
    """What stands where something was: its kind."""
    return f"[REDACTED:{kind}]"


class Redactor:
    """Find and replace secrets and personal data in texts, messages and events.

    It is a `Scrubber`: `Guard(scrubber=Redactor())` lets sinks have arguments and results without what it
    finds.

    Args:
        secrets: Whether tokens, private keys, passwords and other credentials are looked for.
        pii: Which personal data is looked for: `email`, `card`, `iban`, `ssn`, `ip`, `phone`.
        patterns: Further things to look for: kind to regular expression, in RE2 syntax; needs the extra
            `patterns`. They take linear time, whatever they say.
        detectors: Further functions that find something in a text; in Python only.

    Raises:
        ValueError: If a pattern is none, or matches the empty text, or `pii` names an unknown kind.
        ImportError: If there are patterns and `google-re2` is not installed.
    """

    def __init__(
        self,
        *,
        secrets: bool = True,
        pii: Collection[Kind] = DEFAULT_PII,
        patterns: Mapping[str, str] | None = None,
        detectors: Collection[Detector] = (),
    ) -> None:
        unknown = sorted(set(pii) - set(KINDS))
        if unknown or isinstance(pii, str):
            raise ValueError(f"pii is a list of {', '.join(KINDS)}; not {', '.join(unknown) or repr(pii)}")
        self._secrets = secrets
        self._pii = tuple(pii)
        self._detectors = [*detectors, *(_of_pattern(*one) for one in (patterns or {}).items())]

    def find(self, text: str) -> list[Finding]:
        """What there is in a text, in order, nothing overlapping.

        What is found can hide what stands right beside it, so what is left is looked at again. Letters that
        are written as numbers are read as well.
        """
        found = self._found(text)
        plain = decoded(text)
        if plain is not None:
            reads, places = plain
            found = merged([*found, *(_at(places, one) for one in self._found(reads))])
        for _ in range(ROUNDS if found else 0):
            more = merged([*found, *self._found(_without(text, found))])
            if more == found:
                break
            found = more
        return found

    def _found(self, text: str) -> list[Finding]:
        found: list[Finding] = []
        if self._secrets and len(text) >= SHORTEST:
            found += tokens(text)
            found += assignments(text)
        if self._pii and len(text) >= SHORTEST:
            found += personal(text, self._pii)
        for detector in self._detectors:
            found += detector(text)
        return merged(found) if found else found

    def redact(self, text: str, replace: Replace = mask) -> str:
        """A text with what there is in it replaced."""
        return _replaced(text, self.find(text), {}, replace)

    def scrub(self, value: JSON) -> JSON:
        """A value with what there is in it replaced by its kind."""
        if not self._may_hold(texts(value), value):
            return value
        seen = list(passages(value, zone=FREE))
        treat = self._treatment(seen, (), mask, opaque=True)
        return rewritten(value, treat, zone=FREE)

    def params(self, value: Mapping[str, JSON], replace: Replace = mask) -> JSON:
        """Parameters with what there is in them replaced; the same object where there is nothing."""
        if not self._may_hold(texts(value), value):
            return value
        return rewritten(value, self._treatment(list(passages(value)), (), replace))

    def result(self, result: Result, replace: Replace = mask) -> Result:
        """An answer with what there is in it replaced; the same object where there is nothing."""
        blocks = _text_blocks(result)
        value: JSON = [result.value, None if result.error is None else result.error.data]
        strings = strings_of(result).every
        if len(blocks) > 1:
            strings = [*strings, "".join(text for _, text in blocks)]
        if not self._may_hold(strings, value):
            return result
        return rewritten_result(result, self._treatment(list(passages_of(result)), blocks, replace))

    def _may_hold(self, strings: Sequence[str], value: JSON) -> bool:
        """Whether there may be anything: all strings in one go, and the names of members."""
        text = "\n".join(strings)
        return ("\\" in text) or bool(self.find(text)) or (self._secrets and has_secret_member(value))

    def _treatment(
        self,
        seen: list[Passage],
        blocks: Sequence[tuple[Path, str]],
        replace: Replace,
        *,
        opaque: bool = False,
    ) -> Callable[[Passage], str]:
        """What to make of each passage, once all have been looked at."""
        spans: dict[Path, list[Finding]] = {}
        values: dict[str, str] = {}
        parts = self._across(blocks)
        members = secret_members(seen) if self._secrets else {}
        known: dict[str, list[Finding]] = {}

        def find(text: str) -> list[Finding]:
            found = known.get(text)
            if found is None:
                found = known[text] = self.find(text)
            return found

        for passage in seen:
            if passage.use is Use.OPAQUE and not opaque:
                continue
            found = find(passage.text)
            if not passage.is_key:
                if passage.path in members:
                    found = [Finding(0, len(passage.text), members[passage.path])]
                found = merged([*found, *parts.get(passage.path, ())])
                if found:
                    spans[passage.path] = found
            for one in found:
                value = passage.text[one.start : one.end]
                if len(value) >= SHORTEST and len(values) < MOST:
                    values[value] = one.kind
                    values.setdefault(json.dumps(value)[1:-1], one.kind)

        def treat(passage: Passage) -> str:
            if passage.use is Use.OPAQUE and not opaque:
                return passage.text
            if passage.is_key:
                return _replaced(passage.text, find(passage.text), values, replace)
            text = _replaced(passage.text, spans.get(passage.path, []), values, replace)
            if "\\" in text:
                text = rewritten_json(text, lambda inner: _replaced(inner, self.find(inner), values, replace))
            return text

        return treat

    def _across(self, blocks: Sequence[tuple[Path, str]]) -> dict[Path, list[Finding]]:
        """What begins in one text block and ends in another, by the parts in each."""
        parts: dict[Path, list[Finding]] = {}
        if len(blocks) < 2:
            return parts
        found = self.find("".join(text for _, text in blocks))
        begin, position = 0, 0
        for path, text in blocks:
            end = begin + len(text)
            while position < len(found) and found[position].end <= begin:
                position += 1
            for one in found[position:]:
                if one.start >= end:
                    break
                if one.start < begin or one.end > end:
                    span = max(one.start, begin) - begin, min(one.end, end) - begin
                    parts.setdefault(path, []).append(Finding(*span, one.kind))
            begin = end
        return parts


def _at(places: Sequence[int], one: Finding) -> Finding:
    """What was found in a text as it reads, in the text as it is written."""
    return Finding(places[one.start], places[one.end], one.kind)


def _without(text: str, found: Iterable[Finding]) -> str:
    """`text` with the end of a mask in every place where something was found, each as long as it was."""
    pieces: list[str] = []
    end = 0
    for one in found:
        pieces += text[end : one.start], "]" * (one.end - one.start)
        end = one.end
    return "".join([*pieces, text[end:]])


def _replaced(text: str, found: Iterable[Finding], values: Mapping[str, str], replace: Replace) -> str:
    """`text` with findings, and all else that is one of `values`, replaced."""
    spans = list(found)
    for value, kind in values.items():
        at = text.find(value)
        while at >= 0:
            spans.append(Finding(at, at + len(value), kind))
            at = text.find(value, at + len(value))
    if not spans:
        return text
    pieces: list[str] = []
    end = 0
    for one in merged(spans):
        pieces += text[end : one.start], replace(one.kind, text[one.start : one.end])
        end = one.end
    return "".join([*pieces, text[end:]])


def _text_blocks(result: Result) -> list[tuple[Path, str]]:
    """The text blocks of a tool's answer, with their places."""
    content = None if result.value is None else result.value.get("content")
    if not isinstance(content, list | tuple):
        return []
    blocks: list[tuple[Path, str]] = []
    for at, block in enumerate(content):
        text = block.get("text") if isinstance(block, Mapping) else None
        if isinstance(text, str):
            blocks.append((("content", at, "text"), text))
    return blocks


def _of_pattern(kind: str, body: str) -> Detector:
    """A detector for a user's pattern."""
    try:
        engine = import_module("re2")
    except ImportError as error:
        raise ImportError("patterns need google-re2: pip install 'mcpguard-inline[rules]'") from error
    try:
        pattern = cast("_Pattern", engine.compile(body))
    except Exception as error:
        raise ValueError(f"the pattern {kind!r} is no RE2 pattern") from error
    if any(True for _ in pattern.finditer("")):
        raise ValueError(f"the pattern {kind!r} matches the empty text")

    def find(text: str) -> Iterator[Finding]:
        for match in pattern.finditer(text.encode("utf-8", "replace").decode("utf-8")):
            start, end = match.span()
            if end > start:
                yield Finding(start, end, kind)

    return find
