"""Slots, and a line of those who wait for one, for each of whatever shares them.

It neither waits nor wakes anybody: whoever is told of a slot sees to that. A line is there while somebody
has a slot, so what is kept is bounded by what is under way. No lock here; one that the same thread may take
again is enough, because what is changed is changed in one go.
"""

from collections import deque
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

__all__ = ["Place", "Slots"]

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Place(Generic[K, T]):
    """One who has a slot, or waits for one.

    Args:
        key: Whose slots these are.
    """

    __slots__ = ("has_left", "has_slot", "key", "turn")

    def __init__(self, key: K) -> None:
        self.key = key
        self.has_slot = False
        self.has_left = False
        self.turn: T | None = None
        """How to reach whoever waits."""


class Slots(Generic[K, T]):
    """So many slots for each key.

    Args:
        slots: Slots of each key.
        queue: How many may wait for one.
    """

    def __init__(self, slots: int, queue: int) -> None:
        self._slots = slots
        self._queue = queue
        self._lines: dict[K, _Line[K, T]] = {}

    def take_over(self, before: "Slots[K, T]") -> None:
        """Count with `before` from now on, whatever its number of slots: both know the same lines."""
        self._lines = before._lines

    def enter(self, key: K, *, may_wait: bool) -> Place[K, T] | None:
        """A slot, or the last place in the line; None if there is neither."""
        place: Place[K, T] = Place(key)
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = _Line()
        if line.in_use < self._slots:
            line.in_use += 1
            place.has_slot = True
            return place
        if not may_wait or len(line.waiting) >= self._queue:
            return None
        line.waiting.append(place)
        return place

    def leave(self, place: Place[K, T]) -> Place[K, T] | None:
        """Give back a slot, or a place in the line; who has the slot now, if it is somebody else.

        To leave twice is to leave once.
        """
        if place.has_left:
            return None
        place.has_left = True
        line = self._lines[place.key]
        if not place.has_slot:
            line.waiting.remove(place)
            return None
        if line.waiting and line.in_use <= self._slots:
            following = line.waiting.popleft()
            following.has_slot = True
            return following
        line.in_use -= 1
        if not line.in_use:
            del self._lines[place.key]
        return None

    def lines(self) -> Iterator[tuple[K, int, int]]:
        """Each key in use, with how many have a slot and how many wait."""
        for key, line in self._lines.items():
            yield key, line.in_use, len(line.waiting)


class _Line(Generic[K, T]):
    """The slots of one key."""

    __slots__ = ("in_use", "waiting")

    def __init__(self) -> None:
        self.in_use = 0
        self.waiting: deque[Place[K, T]] = deque()
