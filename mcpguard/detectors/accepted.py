"""What one argument must be: a value of a set, within a range, of a length, matching, inside, leading to.

Everything that is said must hold. Nothing is converted: a number written as text is text.
"""

import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Sized
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from typing import Final, Literal, TypeAlias, cast

from mcpguard.core.scope import matcher
from mcpguard.detectors.path_rule import PathRule, Resolve
from mcpguard.detectors.patterns import Patterns
from mcpguard.detectors.selector import MISSING
from mcpguard.detectors.url_rule import UrlRule

__all__ = ["Accepted", "Type"]

Type: TypeAlias = Literal["string", "integer", "number", "boolean", "array", "object", "null"]

Test: TypeAlias = Callable[[object], bool]

_SCALARS: Final = str | int | float | bool | None
_SIZED: Final = (str, dict, list, Sequence, Mapping)


@dataclass(frozen=True, slots=True)
class Accepted:
    """What is accepted of an argument.

    Args:
        type: A type of JSON, or several. Empty: any.
        values: Exactly these; `true` is not `1`, and case counts.
        globs: Text without control characters that matches one of these globs, as a whole.
        patterns: Text that matches one of these regular expressions (RE2), as a whole.
        minimum: The least number. None: no limit.
        maximum: The greatest number. None: no limit.
        min_length: The fewest characters of a text, or elements of a list or object. None: no limit.
        max_length: The most characters of a text, or elements of a list or object. None: no limit.
        path: Text that is a path inside these folders.
        url: Text that is a URL that leads there.
        optional: Whether the argument may be missing.

    Raises:
        TypeError: If a member that is a list is a single string.
        ValueError: If a pattern cannot be compiled, or limits contradict each other.
    """

    _: KW_ONLY
    type: Collection[Type] | Type = ()
    values: Collection[str | int | float | bool | None] = ()
    globs: Collection[str] = ()
    patterns: Sequence[str] = ()
    minimum: int | float | None = None
    maximum: int | float | None = None
    min_length: int | None = None
    max_length: int | None = None
    path: PathRule | None = None
    url: UrlRule | None = None
    optional: bool = False
    _tests: tuple[Test, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.values, str):
            raise TypeError(f"values is a list, not the single string {self.values!r}")
        if not all(isinstance(value, _SCALARS) for value in self.values):
            raise TypeError("values holds texts, numbers, booleans and null alone")
        for low, high in ((self.minimum, self.maximum), (self.min_length, self.max_length)):
            for limit in (low, high):
                if limit is not None and (isinstance(limit, bool) or not math.isfinite(limit)):
                    raise ValueError(f"a limit is a finite number, not {limit!r}")
            if low is not None and high is not None and low > high:
                raise ValueError(f"nothing is at least {low} and at most {high}")
        object.__setattr__(self, "_tests", tuple(self._made()))

    def admits(self, value: object, resolve: Resolve | None = None) -> bool:
        """Whether `value` is accepted. A local path rule needs `resolve`."""
        return self.optional if value is MISSING else self.test(resolve)(value)

    def test(self, resolve: Resolve | None = None) -> Test:
        """Whether a value that is there is accepted, as one function."""
        tests = [*self._tests]
        if self.path is not None:
            tests.append(partial(self.path.admits, resolve=resolve))
        return tests[0] if len(tests) == 1 else partial(_passes_all, tests)

    def described(self) -> str:
        """What would be accepted, in words."""
        said: list[str] = []
        if self.type:
            said.append(f"of type {' or '.join(self._types)}")
        if self.values:
            said.append(f"one of {', '.join(json.dumps(value) for value in self.values)}")
        if self.globs:
            said.append(f"text like {' or '.join(self.globs)}")
        if self.patterns:
            said.append(f"text matching {' or '.join(self.patterns)}")
        if self.minimum is not None or self.maximum is not None:
            said.append(_between("a number", self.minimum, self.maximum))
        if self.min_length is not None or self.max_length is not None:
            said.append(_between("of a length", self.min_length, self.max_length))
        said.extend(rule.described() for rule in (self.path, self.url) if rule is not None)
        return ", ".join(said) or "anything"

    @property
    def _types(self) -> tuple[str, ...]:
        return (self.type,) if isinstance(self.type, str) else tuple(self.type)

    def _made(self) -> Iterator[Test]:
        if self.type:
            unknown = set(self._types) - _TYPES.keys()
            if unknown:
                raise ValueError(f"type is one of {', '.join(_TYPES)}, not {min(unknown)!r}")
            tests = [_TYPES[name] for name in self._types]
            yield tests[0] if len(tests) == 1 else lambda value: any(test(value) for test in tests)
        if self.values:
            known = frozenset(map(_told_apart, self.values))
            yield lambda value: isinstance(value, _SCALARS) and _told_apart(value) in known
        if self.minimum is not None or self.maximum is not None:
            low = -math.inf if self.minimum is None else self.minimum
            high = math.inf if self.maximum is None else self.maximum
            yield lambda value: _is_number(value) and low <= value <= high  # type: ignore[operator]
        if self.min_length is not None or self.max_length is not None:
            least = 0 if self.min_length is None else self.min_length
            most = math.inf if self.max_length is None else self.max_length
            yield lambda value: isinstance(value, _SIZED) and least <= len(cast("Sized", value)) <= most
        if self.globs:
            glob = matcher(self.globs)
            yield lambda value: isinstance(value, str) and value.isprintable() and glob(value)
        if self.patterns:
            pattern = Patterns(self.patterns).match
            yield lambda value: isinstance(value, str) and pattern(value)
        if self.url is not None:
            yield self.url.admits


def _passes_all(tests: Collection[Test], value: object) -> bool:
    return all(test(value) for test in tests)


def _told_apart(value: object) -> tuple[bool, object]:
    return isinstance(value, bool), value


def _is_number(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return _is_number(value) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


_TYPES: Final[Mapping[str, Test]] = {
    "string": lambda value: isinstance(value, str),
    "integer": _is_whole,
    "number": _is_number,
    "boolean": lambda value: isinstance(value, bool),
    "array": _is_list,
    "object": lambda value: isinstance(value, Mapping),
    "null": lambda value: value is None,
}


def _between(what: str, low: float | None, high: float | None) -> str:
    if low is None:
        return f"{what} of at most {high}"
    return f"{what} of at least {low}" if high is None else f"{what} from {low} to {high}"
