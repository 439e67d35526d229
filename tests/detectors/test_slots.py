"""Slots: never more than there are, first come first served, and nothing kept of what is over."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from mcpguard.detectors.slots import Place, Slots


@given(
    slots=st.integers(1, 3),
    queue=st.integers(0, 3),
    steps=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.booleans()), max_size=60),
)
def test_slots_are_a_count_and_a_line(slots: int, queue: int, steps: list[tuple[str, int, bool]]) -> None:
    """Whoever comes and leaves in whatever order, also twice: as a list in order of arrival would have it."""
    tried: Slots[str, None] = Slots(slots, queue)
    model: dict[str, list[Place[str, None]]] = {key: [] for key in "abc"}
    left: list[Place[str, None]] = []
    for key, number, enters in steps:
        inside = model[key]
        if enters:
            place = tried.enter(key, may_wait=True)
            assert (place is None) == (len(inside) >= slots + queue)
            if place is not None:
                inside.append(place)
        elif inside:
            leaving = inside[number % len(inside)]
            waited = [place for place in inside if not place.has_slot]
            following = tried.leave(leaving)
            inside.remove(leaving)
            left.append(leaving)
            assert following is (waited[0] if waited and leaving.has_slot else None)
        if left:
            assert tried.leave(left[number % len(left)]) is None
        has_slot = {name: Counter(place.has_slot for place in places) for name, places in model.items()}
        assert {name: (count, waiting) for name, count, waiting in tried.lines()} == {
            name: (count[True], count[False]) for name, count in has_slot.items() if count[True]
        }
        for places in model.values():
            assert [place.has_slot for place in places].count(True) == min(slots, len(places))


def test_who_may_not_wait_has_no_place_in_the_line() -> None:
    """And takes none."""
    tried: Slots[str, None] = Slots(1, 5)
    first = tried.enter("a", may_wait=True)
    assert first is not None
    assert tried.enter("a", may_wait=False) is None
    assert tried.leave(first) is None
    assert list(tried.lines()) == []
