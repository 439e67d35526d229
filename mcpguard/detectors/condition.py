"""Conditions in CEL (the Common Expression Language) over a call, its principal and its run.

A condition is pure and ends: CEL has no loops but those over lists that are there. The engine
(common-expression-language, extra `rules`) is imported when the first condition is compiled. It converts
values by recursion on the machine's stack, so what is deep or wide is refused before it gets there.
"""

import re
from collections.abc import Callable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Final, TypeAlias, cast

from mcpguard.core.call import Call
from mcpguard.core.plain import plain
from mcpguard.core.wire import JSON, mutable_copy
from mcpguard.detectors.extent import is_bounded

if TYPE_CHECKING:
    from cel import Program

__all__ = ["Condition", "Held"]

MAX_SOURCE: Final = 4096
"""Characters of a condition; longer ones are programs."""

_ROOTS: Final = ("call", "principal", "run")

Reads: TypeAlias = Mapping[str, frozenset[str] | None]
"""Member that a condition reads -> the members of that, or None for all."""

_OF_CALL: Final = ("method", "server", "round")
_OF_PRINCIPAL: Final = ("tenant", "user", "agent")

_MEMBER: Final = r'(?:\s*\.\s*([A-Za-z_]\w*)(?!\w|\s*\()|\s*\[\s*"([^"\\]*)"\s*\])'
"""A member that is read by its name, and no function that is called."""

_BOUND: Final = re.compile(r"\.(?:all|exists|exists_one|existsOne|map|filter)\s*\(\s*([A-Za-z_]\w*)\s*,")
"""Names that a macro binds inside itself."""


@plain
class Held(Enum):
    """What became of a condition."""

    YES = "yes"
    NO = "no"
    MISSING = "missing"
    """It reads a field that is not there."""
    FAILED = "failed"
    """It cannot be told: types that do not fit, a result that is no boolean, a value too deep to look at."""


class Condition:
    """A compiled condition.

    It reads `call.method`, `.server`, `.target` (`.tool` for tool calls), `.arguments`, `.params`, `.round`;
    `principal.tenant`, `.user`, `.agent`, `.roles`, `.claims`; `run.id`, `run.depth`. What is not known is
    not there, which `has(principal.tenant)` asks.

    Args:
        source: The expression.

    Raises:
        ValueError: If it cannot be compiled, reads another name, or the extra `rules` is not installed.
    """

    __slots__ = ("_program", "_reads", "source")

    def __init__(self, source: str) -> None:
        if not isinstance(source, str) or not 0 < len(source) <= MAX_SOURCE:
            raise ValueError(f"a condition is text of 1 to {MAX_SOURCE} characters")
        try:
            import cel  # noqa: PLC0415 - an extra, loaded on use
        except ImportError:
            raise ValueError(
                "conditions need common-expression-language: pip install 'mcpguard-inline[rules]'"
            ) from None
        try:
            program = cel.compile(source)
            names = set(program.variables())
        except Exception as error:  # noqa: BLE001 - whatever the engine makes of it, it is the author's fault
            raise ValueError(f"{source!r} is no condition in CEL: {str(error).splitlines()[0]}") from None
        unknown = names - set(_ROOTS) - set(_BOUND.findall(source))
        if unknown:
            raise ValueError(
                f"the condition {source!r} reads {min(unknown)!r}; there are {', '.join(_ROOTS)}"
            )
        self.source = source
        self._program: Program = program
        self._reads = {root: _reads(source, root) for root in _ROOTS if root in names}
        self._refuse_unknown_functions()

    def held(self, call: Call) -> Held:
        """Whether it holds for `call`."""
        try:
            context = self._context(call)
            if context is None:
                return Held.FAILED
            result: object = self._program.execute(context)
        except KeyError:
            return Held.MISSING
        except Exception:  # noqa: BLE001 - whatever the engine raises, the condition cannot be told
            return Held.FAILED
        except BaseException as panic:
            if type(panic).__name__ != "PanicException":
                raise
            return Held.FAILED
        if result is True:
            return Held.YES
        return Held.NO if result is False else Held.FAILED

    def _context(self, call: Call) -> dict[str, object] | None:
        """What the engine is given: converting costs more than evaluating, so no more than is read."""
        context: dict[str, object] = {}
        for root, members in self._reads.items():
            facts = _FACTS[root](call, members)
            if not is_bounded(facts):
                return None
            context[root] = facts
        return context

    def _refuse_unknown_functions(self) -> None:
        """Try it on nothing: what the engine does not know it says only when it gets there."""
        empty: dict[str, object] = {name: {} for name in _ROOTS}
        try:
            self._program.execute(empty)
        except RuntimeError as error:
            raise ValueError(f"the condition {self.source!r} cannot be run: {error}") from None
        except Exception:  # noqa: BLE001 - nothing is there to read
            return


def _call(call: Call, reads: Reads) -> dict[str, object]:
    facts: dict[str, object] = {name: getattr(call, name) for name in _OF_CALL if name in reads}
    target = call.target if "target" in reads or "tool" in reads else None
    if target is not None and "target" in reads:
        facts["target"] = target
    if target is not None and "tool" in reads and call.method == "tools/call":
        facts["tool"] = target
    if "arguments" in reads:
        given, names = call.arguments, reads["arguments"]
        facts["arguments"] = (
            _plain(given) if names is None else {name: _plain(given[name]) for name in names if name in given}
        )
    if "params" in reads:
        facts["params"] = _plain(call.params)
    return facts


def _principal(call: Call, reads: Reads) -> dict[str, object]:
    who = call.principal
    if who is None:
        return {}
    facts: dict[str, object] = {
        name: value for name in _OF_PRINCIPAL if name in reads and (value := getattr(who, name)) is not None
    }
    if "roles" in reads:
        facts["roles"] = sorted(who.roles)
    if "claims" in reads:
        facts["claims"] = _plain(who.claims)
    return facts


def _run(call: Call, reads: Reads) -> dict[str, object]:
    del reads
    return {} if call.run is None else {"id": call.run.id, "depth": len(call.run.lineage) - 1}


_FACTS: Final[Mapping[str, Callable[[Call, Reads], dict[str, object]]]] = {
    "call": _call,
    "principal": _principal,
    "run": _run,
}

_ALL: Final[Reads] = dict.fromkeys(
    (
        "method",
        "server",
        "round",
        "target",
        "tool",
        "arguments",
        "params",
        "tenant",
        "user",
        "agent",
        "roles",
        "claims",
    )
)


def _members(source: str, root: str) -> frozenset[str] | None:
    """The members of `root` that a condition reads; None if that cannot be told, and all are given."""
    found = [match[1] or match[2] for match in re.finditer(rf"\b{root}\b{_MEMBER}", source)]
    return frozenset(found) if len(found) == len(re.findall(rf"\b{root}\b", source)) else None


def _reads(source: str, root: str) -> Reads:
    """The members of `root` that are converted, each with its own members where those are known."""
    members = _members(source, root)
    if members is None:
        return _ALL
    return {name: _members(source, name) if name == "arguments" else None for name in members}


def _plain(value: object) -> object:
    """The engine knows dicts and lists alone; what came over the wire is made of them."""
    if type(value) not in (dict, list) and isinstance(value, Mapping | list | tuple):
        return mutable_copy(cast("JSON", value))
    return value
