"""From a list of interceptors to hooks in order, with the promises between them checked.

The order of a Python list is final: it is validated against the canonical order (`Place`), never silently
changed. An interceptor whose check or filter has a place of its own (a budget that looks before anybody is
asked, a label that is put on results) appears there as well.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from inspect import iscoroutinefunction
from itertools import pairwise
from typing import Final

from mcpguard.core.chain import Hook, Step
from mcpguard.core.errors import GuardBuildError, OrderError
from mcpguard.core.interceptor import Handles, Interceptor, Place
from mcpguard.core.watching import Watcher
from mcpguard.core.wire import LIFECYCLE, METHODS, Direction, is_notification

__all__ = ["arrange", "covers", "handled", "handles"]

_PER_ATTEMPT = frozenset({Place.BUDGET, Place.RATE_LIMIT, Place.CIRCUIT_BREAKER})
"""What must see every attempt at a call, so that nothing further in may repeat it."""

_NEAR: Final = 0.92
"""How alike two methods are of which one is a slip (difflib's ratio): one letter of ten. The methods that a
server makes up are further away."""

EVERY_REQUEST = "*"
EVERY_NOTIFICATION = "notifications/*"


def arrange(interceptors: Sequence[Interceptor]) -> tuple[Step, ...]:
    """All hooks of `interceptors`, outermost first.

    Raises:
        GuardBuildError: If something is not an interceptor, stands twice, shares an id with another, or has
            no hook or nothing to handle.
        OrderError: If the list's order breaks the canonical one, or a question has nobody to answer it.
    """
    for interceptor in interceptors:
        if not isinstance(interceptor, Interceptor):
            raise GuardBuildError(
                f"a guard is made of Interceptor instances; got {_what(interceptor)}. "
                "A class must be instantiated first"
            )
    _refuse_twins(interceptors)
    _refuse_disorder(interceptors)
    _refuse_free_repeats(interceptors)
    placed: list[tuple[int, Step]] = []
    here = 0
    for interceptor in interceptors:
        here = max(here, interceptor.place or here)
        placed.extend((_place_of(step, here), step) for step in _hooks(interceptor))
    placed.sort(key=lambda entry: entry[0])
    steps = tuple(step for _, step in placed)
    _refuse_unanswered(steps)
    return steps


def handled(step: Step) -> Handles:
    """The (method, direction) pairs that a step's hook handles."""
    interceptor = step.interceptor
    own = {"check": interceptor.checks, "filter": interceptor.filters, "layer": interceptor.layers}
    named = own.get(step.hook)
    return interceptor.handles if named is None else named


def handles(step: Step, method: str, direction: Direction) -> bool:
    """Whether a step's hook handles `method` in `direction`."""
    return covers(handled(step), step.hook, method, direction)


def covers(pairs: Handles, hook: Hook, method: str, direction: Direction) -> bool:
    """Whether a hook that handles `pairs` meets `method`: by name, or as one of all but the lifecycle's."""
    if is_notification(method) and hook != "check":
        return False
    every = EVERY_NOTIFICATION if is_notification(method) else EVERY_REQUEST
    return (method, direction) in pairs or (method not in LIFECYCLE and (every, direction) in pairs)


def _hooks(interceptor: Interceptor) -> list[Step]:
    kind = type(interceptor)
    hooks: list[Hook] = []
    if kind.check is not Interceptor.check:
        hooks.append("check")
    if kind.filter is not Interceptor.filter:
        hooks.append("filter")
    if kind.__call__ is not Interceptor.__call__:
        hooks.append("layer")
    if isinstance(interceptor, Watcher):
        if hooks:
            raise GuardBuildError(f"{kind.__name__} watches, and so has no {hooks[0]}: it decides nothing")
        hooks.append("watch")
    if not hooks:
        raise GuardBuildError(f"{kind.__name__} overrides none of check, filter and __call__")
    for hook in ("check", "filter"):
        if iscoroutinefunction(getattr(kind, hook)):
            raise GuardBuildError(
                f"the {hook} of {kind.__name__} is async; what waits is a layer, `__call__`"
            )
    steps = [Step(interceptor, hook) for hook in hooks]
    for step in steps:
        for method, direction in _valid(handled(step), kind.__name__):
            if is_notification(method) and not any(handles(one, method, direction) for one in steps):
                raise GuardBuildError(
                    f"{kind.__name__} handles {method} with its {step.hook}; notifications meet checks only"
                )
    if not any(handled(step) for step in steps):
        raise GuardBuildError(f"{kind.__name__} handles nothing: set `handles` to (method, direction) pairs")
    return [step for step in steps if handled(step)]


def _valid(pairs: Handles, owner: str) -> Handles:
    for pair in pairs:
        is_pair = isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[0], str)
        if not is_pair or pair[1] not in ("outbound", "inbound"):
            raise GuardBuildError(f"{owner} handles {pair!r}; expected pairs like ('tools/call', 'outbound')")
        meant = () if pair[0] in METHODS else get_close_matches(pair[0], METHODS, cutoff=_NEAR)
        if meant:
            raise GuardBuildError(
                f"{owner} handles {pair[0]!r}, which is no method of the protocol; did you mean "
                f"{' or '.join(map(repr, meant))}?"
            )
    return pairs


def _place_of(step: Step, here: int) -> int:
    interceptor = step.interceptor
    if step.hook == "check" and interceptor.check_place is not None:
        return interceptor.check_place
    if step.hook == "filter" and interceptor.filter_place is not None:
        return interceptor.filter_place
    return here


def _refuse_twins(interceptors: Sequence[Interceptor]) -> None:
    ids: set[str] = set()
    seen: set[int] = set()
    for interceptor in interceptors:
        if id(interceptor) in seen:
            raise GuardBuildError(f"{interceptor.label} stands in the list twice")
        seen.add(id(interceptor))
        if interceptor.id is not None:
            if interceptor.id in ids:
                raise GuardBuildError(f"two interceptors have the id {interceptor.id!r}; ids are unique")
            ids.add(interceptor.id)


def _refuse_disorder(interceptors: Sequence[Interceptor]) -> None:
    placed = [(one, one.place) for one in interceptors if one.place is not None]
    wrong = [
        f"{inner.label} ({Place(inner_place).name.lower()}) must stand before {outer.label} "
        f"({Place(outer_place).name.lower()})"
        for (outer, outer_place), (inner, inner_place) in pairwise(placed)
        if inner_place < outer_place
    ]
    if wrong:
        raise OrderError(f"{'; '.join(wrong)}: lists are outermost first")


def _refuse_free_repeats(interceptors: Sequence[Interceptor]) -> None:
    spending: Interceptor | None = None
    for interceptor in interceptors:
        if interceptor.repeats and spending is not None:
            raise OrderError(
                f"{interceptor.label} repeats calls and must stand before {spending.label}, "
                "which counts every attempt: lists are outermost first"
            )
        if interceptor.place in _PER_ATTEMPT:
            spending = interceptor


def _refuse_unanswered(steps: Sequence[Step]) -> None:
    for position, step in enumerate(steps):
        if step.hook != "check" or not step.interceptor.can_ask or step.interceptor.mode == "audit":
            continue
        answered = any(
            later.hook == "layer" and later.interceptor.resolves_asks and later.interceptor.mode == "enforce"
            for later in steps[position:]
        )
        if not answered:
            raise OrderError(
                f"{step.interceptor.label} can ask for approval, and no Approval stands further in to answer"
            )


def _what(thing: object) -> str:
    return f"the class {thing.__name__}" if isinstance(thing, type) else f"a {type(thing).__name__}"
