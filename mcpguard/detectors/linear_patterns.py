"""Whether Python's `re`, which backtracks, takes linear time over a pattern whatever it is matched with.

A sufficient condition, not a necessary one: an unbounded repetition only where the search is tied to the
beginning, no more than one of them, and none inside another. Bounded repetitions are counted out.
"""

import re
import warnings
from collections.abc import Iterable
from re import _constants, _parser  # type: ignore[attr-defined]  # the only parser of what `re` accepts
from typing import Any, Final

__all__ = ["is_linear"]

MAX_LENGTH: Final = 500
"""Characters of a pattern."""

MAX_WAYS: Final = 1_000
"""Ways of matching that bounded repetitions may leave open, for each place a match may begin."""

MAX_PREFIXES: Final = 16
"""The same beside an unbounded repetition, which each of them may begin anew."""

_REPEATS: Final = frozenset({_constants.MAX_REPEAT, _constants.MIN_REPEAT})
_PLAIN: Final = frozenset(
    {_constants.LITERAL, _constants.NOT_LITERAL, _constants.ANY, _constants.IN, _constants.AT}
)


def is_linear(pattern: str) -> bool:
    """Whether `pattern` is valid, and safe on any text."""
    if len(pattern) > MAX_LENGTH:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parsed = _parser.parse(pattern)
    except (re.error, RecursionError, OverflowError):
        return False
    if parsed.state.flags & re.MULTILINE:
        return False  # there a search begins at every line
    ways, unbounded = _weigh(parsed)
    if unbounded == 0:
        return ways <= MAX_WAYS
    first = next(iter(parsed), None)
    is_tied = first is not None and first[0] is _constants.AT and first[1] is _constants.AT_BEGINNING
    return is_tied and unbounded == 1 and ways <= MAX_PREFIXES


def _weigh(parsed: Iterable[tuple[Any, Any]]) -> tuple[float, int]:
    """How many ways of matching the bounded repetitions leave open, and how many are unbounded."""
    ways, unbounded = 1.0, 0
    for operation, argument in parsed:
        if operation in _PLAIN:
            continue
        if operation in _REPEATS:
            least, most, inner = argument
            inside, inner_unbounded = _weigh(inner)
            if inner_unbounded:
                return float("inf"), 2
            if most is _constants.MAXREPEAT:
                unbounded += 1 if inside == 1 else 2
            elif most != least:
                ways *= (most - least + 1) * max(1.0, inside) ** min(most, 64)
            else:
                ways *= inside ** min(most, 64)
        elif operation is _constants.SUBPATTERN:
            inside, more = _weigh(argument[-1])
            ways *= inside
            unbounded += more
        elif operation is _constants.BRANCH:
            weighed = [_weigh(branch) for branch in argument[1]]
            ways *= sum(inside for inside, _ in weighed)
            unbounded += sum(more for _, more in weighed)
        else:
            return float("inf"), 2
        if ways > MAX_WAYS:
            return float("inf"), 2
    return ways, unbounded
