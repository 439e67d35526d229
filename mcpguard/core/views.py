"""What a guard shows of itself: which hook runs where, and how it would decide about a call."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mcpguard.core.call import Call
from mcpguard.core.chain import Hook, Step, link
from mcpguard.core.clock import Clock
from mcpguard.core.emitter import Emitter
from mcpguard.core.events import Event
from mcpguard.core.interceptor import Interceptor, Mode
from mcpguard.core.order import covers, handled, handles
from mcpguard.core.result import Denial
from mcpguard.core.wire import JSON, Direction

__all__ = [
    "ConnectionView",
    "Coverage",
    "Explanation",
    "HookView",
    "StepView",
    "covered",
    "explained",
    "statuses",
]


@dataclass(frozen=True, slots=True)
class HookView:
    """One hook at its place in the chain.

    Args:
        position: From 1, outermost first.
        interceptor: Its id, or its name where it has none; `budget#2` for the second that is called so.
        name: The policy file's name of its kind.
        hook: `check`, `filter`, `layer` or `watch`.
        handles: (method, direction) pairs, sorted.
        mode: `enforce` or `audit`.
        fail_open: Whether a call goes on when it fails.
    """

    position: int
    interceptor: str
    name: str
    hook: Hook
    handles: tuple[tuple[str, Direction], ...]
    mode: Mode
    fail_open: bool


@dataclass(frozen=True, slots=True)
class ConnectionView:
    """One guarded connection, and what its seam cannot see."""

    server: str
    seam: str
    is_shared: bool
    blind_spots: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Coverage:
    """What runs where: every hook in order, every connection with its blind spots."""

    hooks: tuple[HookView, ...]
    connections: tuple[ConnectionView, ...]

    def handling(self, method: str, direction: Direction = "outbound") -> tuple[str, ...]:
        """Labels of the interceptors that a message of this method meets, outermost first, each once."""
        found: dict[str, None] = {}
        for hook in self.hooks:
            if covers(hook.handles, hook.hook, method, direction):
                found[hook.interceptor] = None
        return tuple(found)


@dataclass(frozen=True, slots=True)
class StepView:
    """What one hook says of a call.

    Args:
        interceptor: Its id or name, as in `HookView`.
        hook: `check`, `filter`, `layer` or `watch`.
        mode: Whether it would be obeyed.
        verdict: `allow`, `deny`, `ask`, `rewrite` or `failed`; `undecided` for layers and filters, which
            decide only once a call is under way.
        code: The stable code of a denial or question.
        reason: For the operator.
    """

    interceptor: str
    hook: Hook
    mode: Mode
    verdict: str
    code: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """How the guard would decide about a call, found without sending it.

    Args:
        verdict: `allow`, `deny` or `ask`, as far as checks go: a layer may still refuse.
        denial: Why, for `deny`.
        steps: Every hook that handles the call, in order.
    """

    verdict: str
    denial: Denial | None
    steps: tuple[StepView, ...]


def covered(steps: Sequence[Step], connections: Sequence[ConnectionView]) -> Coverage:
    """The coverage of linked steps and open connections."""
    names = _names(step.interceptor for step in steps)
    hooks = tuple(
        HookView(
            position=position,
            interceptor=names[step.interceptor],
            name=step.interceptor.name,
            hook=step.hook,
            handles=tuple(sorted(handled(step))),
            mode=step.interceptor.mode,
            fail_open=step.interceptor.fail_open,
        )
        for position, step in enumerate(steps, start=1)
        if handled(step)
    )
    return Coverage(hooks, tuple(connections))


def explained(call: Call, steps: Sequence[Step], clock: Clock, refused: Denial | None) -> Explanation:
    """Run the checks that handle `call`, and say what each answered.

    Args:
        call: The call in question; it is not sent and spends nothing.
        steps: All linked steps.
        clock: The guard's clock.
        refused: Why the guard itself would refuse the call, before any interceptor.
    """
    meeting = [
        step
        for step in _told_apart(steps)
        if step.hook != "watch" and handles(step, call.method, call.direction)
    ]
    heard = _Heard()
    chain = link(meeting, Emitter([heard], clock=clock))
    admitted = chain.admit(call.as_explained())
    views: list[StepView] = []
    for step in meeting:
        label, mode = step.interceptor.label, step.interceptor.mode
        said = heard.by_label.get(label) if step.hook == "check" else None
        if step.hook != "check":
            views.append(StepView(label, step.hook, mode, "undecided"))
        elif said is None:
            views.append(StepView(label, step.hook, mode, "allow"))
        else:
            views.append(StepView(label, step.hook, mode, said.verdict or "failed", said.code, said.reason))
    denial = refused if refused is not None else admitted if isinstance(admitted, Denial) else None
    if denial is not None:
        return Explanation("deny", denial, tuple(views))
    asks = isinstance(admitted, Call) and bool(admitted.asks)
    return Explanation("ask" if asks else "allow", None, tuple(views))


def statuses(interceptors: Sequence[Interceptor]) -> dict[str, Mapping[str, JSON]]:
    """What each interceptor shows of its state, by its name; of one that fails over it, that it does."""
    return {name: _status(one) for one, name in _names(interceptors).items()}


def _status(interceptor: Interceptor) -> Mapping[str, JSON]:
    try:
        return dict(interceptor.status())
    except Exception as error:  # noqa: BLE001 - one that is broken must not hide the others
        return {"failed": f"status raised {type(error).__name__}"}


def _names(interceptors: Iterable[Interceptor]) -> Mapping[Interceptor, str]:
    """Each interceptor and what to call it: its label, and a number where another has that already."""
    names: dict[Interceptor, str] = {}
    given = list(dict.fromkeys(interceptors))
    taken = {one.label for one in given}
    for one in given:
        name, number = one.label, 1
        while name in names.values() or (number > 1 and name in taken):
            number += 1
            name = f"{one.label}#{number}"
        names[one] = name
    return names


def _told_apart(steps: Sequence[Step]) -> list[Step]:
    """The same steps; of those that share a label, all but the first are copies with names of their own.

    What decides is named in what it reports, and nowhere else.
    """
    apart: dict[Interceptor, Interceptor] = {}
    for one, name in _names(step.interceptor for step in steps).items():
        apart[one] = one
        if name != one.label:
            apart[one] = copy.copy(one)
            apart[one].id = name
    return [Step(apart[step.interceptor], step.hook) for step in steps]


class _Heard:
    """A sink that keeps the last decision of each interceptor."""

    def __init__(self) -> None:
        self.by_label: dict[str, Event] = {}

    def emit(self, event: Event) -> None:
        self.by_label[event.interceptor or ""] = event

    async def aclose(self) -> None: ...
