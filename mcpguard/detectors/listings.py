"""One server's listings, page by page: what of them may be shown, and where they end.

A state machine without a clock. One bad definition costs that definition; a listing that does not end, ends
at its limit. Below: what is known of a definition's schema.
"""

from collections import OrderedDict
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Final, TypeAlias, get_args

from mcpguard.core.connection_limits import ConnectionLimits
from mcpguard.core.wire import JSON, LISTINGS, JSONObject
from mcpguard.detectors.shapes import Broken

__all__ = ["Judge", "Pages", "Trail", "text_in"]

Judge: TypeAlias = Callable[[JSONObject], JSONObject | str]
"""Judges one definition: as it may be shown, or which limit it breaks."""

MAX_TRAILS: Final = 64
"""Cursors that are remembered; one that is forgotten begins a listing of its own."""

_LEFT_OUT: Final = frozenset({*get_args(Broken), "definition_bytes"})
"""What stands in the place of a definition that had to be left out before the page was parsed."""


@dataclass(frozen=True, slots=True)
class Trail:
    """The pages before one page of a listing, by hashes: what is kept does not grow with what a server says.

    Args:
        names: What they defined.
        cursors: What led to them.
    """

    _: KW_ONLY
    names: frozenset[int] = frozenset()
    cursors: frozenset[int] = frozenset()


class Pages:
    """Follows the listings of one connection.

    Args:
        limits: What they are held to.
    """

    __slots__ = ("_limits", "_trails")

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._trails: OrderedDict[tuple[str, int], Trail] = OrderedDict()

    def trail(self, method: str, cursor: JSON) -> Trail:
        """What led to the page that is asked for."""
        return self._trails.get((method, hash(cursor)), _START) if isinstance(cursor, str) else _START

    def screening(
        self, method: str, trail: Trail, page: JSONObject, judge: Judge
    ) -> Generator[None, None, tuple[JSONObject, list[str]]]:
        """The page as it may be shown, and the limits it has broken, one for each thing left out.

        There is a pause after each definition, for whoever must not take long at once. `judge` judges one
        beyond its size and name.
        """
        listing = LISTINGS[method]
        items = page.get(listing.items)
        if not isinstance(items, Sequence) or isinstance(items, str):
            return {**page, listing.items: []}, ["malformed"]
        names = set(trail.names)
        broken: list[str] = []
        kept: list[JSON] = []
        for item in items:
            judged = self._judged(item, listing.key, names, judge)
            if isinstance(judged, str):
                broken.append(judged)
            else:
                kept.append(judged)
            yield
        following = page.get("nextCursor")
        ends = following is not None and not self._goes_on(method, trail, following, names)
        if not ends and all(one is given for one, given in zip(kept, items, strict=False)) and not broken:
            return page, broken
        shown: dict[str, JSON] = {**page, listing.items: kept}
        if ends:
            del shown["nextCursor"]
            broken.append("pages")
        return shown, broken

    def _goes_on(self, method: str, trail: Trail, following: JSON, names: set[int]) -> bool:
        if not isinstance(following, str) or hash(following) in trail.cursors:
            return False
        cursors = trail.cursors | {hash(following)}
        if len(cursors) >= self._limits.pages or len(names) >= self._limits.definitions:
            return False
        self._trails[method, hash(following)] = Trail(names=frozenset(names), cursors=cursors)
        if len(self._trails) > MAX_TRAILS:
            self._trails.popitem(last=False)
        return True

    def _judged(self, item: JSON, key: str, names: set[int], judge: Judge) -> JSONObject | str:
        name = item.get(key) if isinstance(item, Mapping) else None
        if not isinstance(item, Mapping) or not isinstance(name, str):
            return item if isinstance(item, str) and item in _LEFT_OUT else "malformed"
        if hash(name) in names:
            return "duplicate"
        if len(names) >= self._limits.definitions:
            return "definitions"
        if text_in(item, self._limits.definition_bytes) > self._limits.definition_bytes:
            return "definition_bytes"
        judged = judge(item)
        if not isinstance(judged, str):
            names.add(hash(name))
        return judged


_START: Final = Trail()


def text_in(value: JSON, most: int) -> int:
    """Characters of all strings and names in `value`, counted until there are more than `most`."""
    found = 0
    left: list[JSON] = [value]
    while left and found <= most:
        one = left.pop()
        found += 1
        if isinstance(one, str):
            found += len(one)
        elif isinstance(one, Mapping):
            found += sum(map(len, one))
            left.extend(one.values())
        elif isinstance(one, Sequence):
            left.extend(one)
    return found
