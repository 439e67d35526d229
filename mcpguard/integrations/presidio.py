"""Presidio: what its analyzer finds, names and addresses of people among it, for `Redaction` and `Redactor`.

Which recognisers and which language model there are is the analyzer's business, and yours.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Final, Protocol

from mcpguard.detectors.findings import Finding

__all__ = ["Analyzer", "Found", "Presidio"]

WINDOW: Final = 20_000
"""Characters given to the analyzer at once: language models take memory with the length, and have a limit."""

OVERLAP: Final = 400
"""Characters that two neighbouring windows share: what is longer may be found in part only."""


class Found(Protocol):
    """What a `presidio_analyzer.RecognizerResult` has of a finding."""

    @property
    def entity_type(self) -> str:
        """Presidio's name for it, `PERSON` for one."""
        ...

    @property
    def start(self) -> int:
        """Where it begins."""
        ...

    @property
    def end(self) -> int:
        """Where it ends."""
        ...


class Analyzer(Protocol):
    """What is asked of a `presidio_analyzer.AnalyzerEngine`."""

    def analyze(
        self, text: str, language: str, *, entities: list[str] | None, score_threshold: float | None
    ) -> Sequence[Found]:
        """Everything that is found in a text."""
        ...


class Presidio:
    """A detector that asks a Presidio analyzer.

    Args:
        analyzer: An `AnalyzerEngine`, with the recognisers and the language model you want.
        language: The language that texts are read in; one that the analyzer supports.
        entities: Look only for these, by Presidio's names. Empty: for all that the analyzer knows.
        threshold: The score from which on something counts, from 0 to 1. Low scores are many: four digits
            may be a year, a price or a bank's number.

    Raises:
        ValueError: If `threshold` is out of range.
    """

    def __init__(
        self,
        analyzer: Analyzer,
        *,
        language: str = "en",
        entities: Collection[str] = (),
        threshold: float = 0.5,
    ) -> None:
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold is from 0 to 1, not {threshold}")
        self._analyzer = analyzer
        self._language = language
        self._entities = list(entities) or None
        self._threshold = threshold

    def __call__(self, text: str) -> Iterator[Finding]:
        """What there is in a text; its kind is Presidio's name in small letters."""
        for start in range(0, max(1, len(text) - OVERLAP), WINDOW - OVERLAP):
            found = self._analyzer.analyze(
                text[start : start + WINDOW],
                self._language,
                entities=self._entities,
                score_threshold=self._threshold,
            )
            for one in found:
                yield Finding(start + one.start, start + one.end, one.entity_type.lower())
