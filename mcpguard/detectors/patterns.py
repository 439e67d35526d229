"""Regular expressions that match whole texts in time linear in the text, whatever pattern and text are.

The engine is RE2 (google-re2, extra `rules`): no backtracking, no look-around, no back references. It is
imported when the first pattern is compiled.
"""

from collections.abc import Sequence
from typing import Final

__all__ = ["Patterns"]

MAX_MEMORY: Final = 8 << 20
"""Bytes RE2 may use for one set of patterns; it gets slower at the limit, never wrong."""


class Patterns:
    """Several patterns as one: whether a text matches any of them, from its first character to its last.

    Args:
        patterns: RE2 syntax. `.` matches no line end; case counts; `(?i)` and `(?s)` say otherwise.

    Raises:
        TypeError: If `patterns` is a single string or holds something else than strings.
        ValueError: If there is none, one cannot be compiled, or the extra `rules` is not installed.
    """

    __slots__ = ("_set", "sources")

    def __init__(self, patterns: Sequence[str]) -> None:
        if isinstance(patterns, str) or not all(isinstance(one, str) for one in patterns):
            raise TypeError("patterns is a list of regular expressions, not a single one")
        if not patterns:
            raise ValueError("patterns holds no pattern, and would match nothing")
        try:
            import re2  # noqa: PLC0415 - an extra, loaded on use
        except ImportError:
            raise ValueError("patterns need google-re2: pip install 'mcpguard-inline[rules]'") from None
        options = re2.Options()
        options.log_errors = False
        options.max_mem = MAX_MEMORY
        self.sources = tuple(patterns)
        self._set = re2.Set.FullMatchSet(options)
        for source in patterns:
            try:
                re2.compile(source, options)
                self._set.Add(source)
            except (re2.error, UnicodeEncodeError) as error:
                raise ValueError(f"{source!r} is no pattern that RE2 accepts: {error}") from None
        self._set.Compile()

    def match(self, text: str) -> bool:
        """Whether all of `text` matches one of the patterns. What is no valid Unicode matches none."""
        try:
            return bool(self._set.Match(text))
        except UnicodeEncodeError:
            return False
