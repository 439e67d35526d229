"""The chain: the hooks of one (method, direction), linked once.

Neighbouring checks and filters fuse into one frame; layers get a frame each; what handles nothing is not
there. The chain keeps the contract that interceptors are written to: a check that raises or returns nothing
denies, Deny beats Ask, a rewrite is judged again by the checks that had passed, an auditing interceptor's
decisions are reported and discarded, and every outcome is a `Result`.

Above: seams, which turn messages into calls and results into what the SDK expects. Below: interceptors.
"""

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias

from mcpguard.core.call import Call
from mcpguard.core.emitter import Emitter
from mcpguard.core.exit import Exit, straight
from mcpguard.core.gate import Check, Gate
from mcpguard.core.interceptor import Frame, Interceptor, Wire
from mcpguard.core.layer import Layer, unsendable
from mcpguard.core.result import Denial, Result
from mcpguard.core.run import Stops
from mcpguard.core.shadow import ShadowLayer, shadow_check, shadow_filter
from mcpguard.core.stretch import Look, Stretch, looking
from mcpguard.core.watching import Watcher, watched
from mcpguard.core.wire import TARGETS

__all__ = ["Chain", "Hook", "Step", "link", "link_gate"]

Hook: TypeAlias = Literal["check", "filter", "layer", "watch"]


@dataclass(frozen=True, slots=True)
class Step:
    """One hook of one interceptor at its place in a chain."""

    interceptor: Interceptor
    hook: Hook


class Chain:
    """The linked hooks of one (method, direction). `run` runs them around a wire."""

    __slots__ = (
        "_stretches",
        "_translators",
        "_watchers",
        "emitter",
        "has_layers",
        "has_waiting_layers",
        "head",
        "is_empty",
        "is_timed",
        "needs_tool",
        "only_watches",
        "requires_tool",
        "run",
        "steps",
        "suspends",
    )

    def __init__(
        self, head: Frame, steps: Sequence[Step], stretches: Sequence[Stretch], emitter: Emitter
    ) -> None:
        self.head = head
        """The hooks, without the record around them."""
        self.steps = tuple(steps)
        self._stretches = tuple(stretches)
        self.emitter = emitter
        self._watchers = _watchers(steps)
        self.run: Frame = self._watched(self._recorded if emitter.is_active else head)
        """Runs a call through the hooks and, if nothing refuses it, through the wire."""
        layers = [step.interceptor for step in steps if step.hook == "layer"]
        self._translators = [one for one in layers if one.translates and one.mode == "enforce"]
        self.is_empty = not self.steps and not emitter.is_active
        """Whether a message may pass without any of this: nothing handles it and nobody listens."""
        self.only_watches = len(self._watchers) == len(self.steps) > 0 and not emitter.is_active
        """Whether nothing but watchers handles it."""
        self.has_layers = bool(layers)
        """Whether anything stands around the call, so that passing it may take time."""
        self.suspends = self.has_layers or emitter.delivery.waits
        """Whether it waits for anything but the wire: a layer, or a sink that must hold the intent first."""
        self.has_waiting_layers = any(layer.waits and layer.mode == "enforce" for layer in layers)
        """Whether a layer waits on purpose."""
        self.is_timed = any(layer.times and layer.mode == "enforce" for layer in layers)
        """Whether a layer limits the call's time in place of the SDK's own timeout."""
        self.needs_tool = any(step.interceptor.needs_tool for step in steps)
        """Whether a hook reads the tool's definition."""
        self.requires_tool = any(
            step.interceptor.needs_tool and step.interceptor.mode == "enforce" for step in steps
        )
        """Whether a call is denied where the definition cannot be had: an auditing hook goes without."""

    def __call__(self, call: Call, wire: Wire) -> Coroutine[None, None, Result]:
        """The same as `run`."""
        return self.run(call, wire)

    def run_within(self, frame: Frame, call: Call, wire: Wire) -> Coroutine[None, None, Result]:
        """The same as `run`, with `frame`, which goes on with `head`, inside the record."""
        inner: Frame = partial(self._recorded, frame=frame) if self.emitter.is_active else frame
        return self._watched(inner)(call, wire)

    def may_pass(self) -> bool:
        """Whether a message may pass without any of this at the moment."""
        if self.only_watches:
            return not any(watcher.is_awake() for watcher in self._watchers)
        return self.is_empty

    def _watched(self, run: Frame) -> Frame:
        for watcher in reversed(self._watchers):
            run = watched(watcher, run, self.aimed)
        return run

    async def _recorded(self, call: Call, wire: Wire, frame: Frame | None = None) -> Result:
        emitter = self.emitter
        began = emitter.clock.now()
        inner = call
        call = self.aimed(call)
        emitter.received(call)
        try:
            result = await (frame or self.head)(inner, wire)
        except BaseException as error:
            reason = unsendable(error) if isinstance(error, Exception) else None
            emitter.about("cancelled", call, duration=emitter.clock.now() - began, reason=reason)
            raise
        emitter.completed(call, result, emitter.clock.now() - began)
        return result

    def aimed(self, call: Call) -> Call:
        """The call as records show it: aimed at what the server itself calls it. Not the one to send."""
        key = TARGETS.get(call.method)
        for translator in self._translators if key is not None else ():
            try:
                target = translator.aim(call)
            except Exception:  # noqa: BLE001 - its layer fails as well, and then denies
                return call
            if key is not None and target != call.target:
                call = call.replace(params={**call.params, key: target})
        return call

    def review(self, call: Call, result: Result) -> Result:
        """Let every filter look at `result`, no check and no layer: for what the SDK fetches by itself."""
        for stretch in reversed(self._stretches):
            result = stretch.filter(call, result)
        return result

    def admit(self, call: Call) -> Call | Denial:
        """Let every check judge `call`, layers left out: a preview, and all an embedded request can meet."""
        for stretch in self._stretches:
            admitted = stretch.gate.admit(call)
            if isinstance(admitted, Denial):
                return admitted
            call = admitted
        return call


def link(steps: Sequence[Step], emitter: Emitter, stops: Stops | None = None) -> Chain:
    """Link `steps`, outermost first, into a chain."""
    may_be_late = any(step.hook == "layer" or step.interceptor.needs_tool for step in steps)
    may_be_asked = any(step.interceptor.can_ask for step in steps)
    frame: Frame = straight
    if may_be_late or may_be_asked or emitter.is_active:
        frame = Exit(emitter, stops or Stops(), may_be_late=may_be_late)
    stretches: list[Stretch] = []
    inner = [step for step in steps if step.hook != "watch"]
    position = len(inner)
    while position > 0:
        end = position
        position -= 1
        step = inner[position]
        if step.hook == "layer":
            gate = Gate((), _checks(inner[:position], emitter), emitter)
            if step.interceptor.mode == "audit":
                frame = ShadowLayer(step.interceptor, frame, emitter)
            else:
                frame = Layer(step.interceptor, gate, frame, emitter)
            continue
        while position > 0 and inner[position - 1].hook != "layer":
            position -= 1
        stretch = inner[position:end]
        gate = Gate(_checks(stretch, emitter), _checks(inner[:position], emitter), emitter)
        neighbours = Stretch(gate, _filters(stretch, emitter), frame, emitter)
        stretches.insert(0, neighbours)
        frame = neighbours
    return Chain(frame, steps, stretches, emitter)


def link_gate(steps: Sequence[Step], emitter: Emitter) -> Gate:
    """Link the checks among `steps` for notifications, which meet nothing else."""
    return Gate(_checks(steps, emitter), (), emitter)


def _watchers(steps: Sequence[Step]) -> list[Watcher]:
    found = (step.interceptor for step in steps if step.hook == "watch")
    return [one for one in found if isinstance(one, Watcher)]


def _checks(steps: Sequence[Step], emitter: Emitter) -> list[tuple[Check, Interceptor]]:
    return [
        (
            shadow_check(step.interceptor, emitter)
            if step.interceptor.mode == "audit"
            else step.interceptor.check,
            step.interceptor,
        )
        for step in steps
        if step.hook == "check"
    ]


def _filters(steps: Sequence[Step], emitter: Emitter) -> list[tuple[Look, Interceptor]]:
    filters = [step.interceptor for step in steps if step.hook == "filter"]
    return [(shadow_filter(one, emitter) if one.mode == "audit" else looking(one), one) for one in filters]
