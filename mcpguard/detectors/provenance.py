"""Where the destinations of a call come from: what it names, what its run has read, what is allowed.

Values are kept as salted hashes of this process. What is asked, and of whom, is decided elsewhere.

Above: `FlowControl`. Below: `destinations`, which finds them in texts.
"""

import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Final

from mcpguard.core.call import Call
from mcpguard.core.hosts import in_letters
from mcpguard.core.scope import Matcher, matcher
from mcpguard.core.strings import texts
from mcpguard.core.wire import JSON
from mcpguard.detectors.destinations import Destination, destinations, named, whole
from mcpguard.detectors.labelling import DESTINATION, Labels

__all__ = ["Allowed", "ReadDestinations", "sent_by"]

MAX_READ: Final = 16_384
"""Destinations kept of one run; once there are more, every destination counts as read."""


def sent_by(call: Call, labels: Labels) -> Iterator[tuple[str, Iterable[Destination]]]:
    """What a call names as destinations, by argument: what is declared as one, or looks like one."""
    declared = [name for name, its in labels.arguments.items() if DESTINATION in its]
    if declared:
        arguments = call.arguments
        for name in declared:
            if name in arguments:
                for text in [*texts(arguments[name]), *_numbers(arguments[name])]:
                    yield name, whole(text)
        return
    given: JSON = call.arguments or {key: value for key, value in call.params.items() if key != "_meta"}
    for text in texts(given):
        yield "", destinations(text)


class ReadDestinations:
    """What one run has read, bounded."""

    __slots__ = ("_hashes", "is_full")

    def __init__(self) -> None:
        self._hashes: set[int] = set()
        self.is_full = False
        """Whether there was more than is kept, so that nothing is known not to have been read."""

    def read(self, texts: Iterable[str]) -> None:
        """Remember every destination in some texts."""
        if self.is_full:
            return
        for value in chain.from_iterable(map(named, texts)):
            self._hashes.add(hash(value))
            if len(self._hashes) > MAX_READ:
                self.is_full = True
                self._hashes.clear()
                return

    def __contains__(self, one: Destination) -> bool:
        if self.is_full:
            return True
        if hash(one.value) in self._hashes:
            return True
        host = one.value.rpartition("@")[2] if one.kind != "address" else ""
        while "." in host:
            if hash(host) in self._hashes:
                return True
            host = host.partition(".")[2]
        return False


class Allowed:
    """Destinations that somebody has allowed.

    Args:
        patterns: Addresses (`*@example.com`), hosts (`*.example.com`), accounts or values; names or globs.
    """

    __slots__ = ("_matches",)

    def __init__(self, patterns: Collection[str]) -> None:
        self._matches: Matcher = matcher([_allowed(pattern) for pattern in patterns])

    def __contains__(self, one: Destination) -> bool:
        return self._matches(one.value) or (one.place != "" and self._matches(one.place))


def _allowed(pattern: str) -> str:
    """A pattern in the spelling that values have."""
    pattern = pattern.casefold() if pattern.isascii() else unicodedata.normalize("NFKC", pattern).lower()
    name, at, host = pattern.rpartition("@")
    return f"{name}{at}{in_letters(host)}"


def _numbers(value: JSON) -> Iterator[str]:
    """Every number of a value, as it is written."""
    ahead: list[JSON] = [value]
    while ahead:
        one = ahead.pop()
        if isinstance(one, Mapping):
            ahead += one.values()
        elif isinstance(one, Sequence) and not isinstance(one, str):
            ahead += one
        elif isinstance(one, int | float):
            yield str(one)
