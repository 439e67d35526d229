"""One rule of `Approval`: which calls a person is asked about."""

from collections.abc import Collection, Mapping
from dataclasses import KW_ONLY, dataclass, field

from mcpguard.core.call import Call
from mcpguard.core.scope import Match, Scope
from mcpguard.detectors.accepted import Accepted
from mcpguard.detectors.condition import Condition, Held
from mcpguard.detectors.selector import Selector

__all__ = ["ApprovalRule"]


@dataclass(frozen=True, slots=True)
class ApprovalRule:
    """Calls that a person is asked about: those it is narrowed to, unless their arguments are harmless.

    Args:
        servers: Names or globs of servers. Empty: all.
        tools: Names or globs of tools, as the server calls them. Empty: all, and prompts and resources.
        roles: The principal has at least one of these; not globs. Empty: whoever.
        tenants: Names or globs of the principal's tenant. Empty: whoever.
        agents: Names or globs of the principal's agent. Empty: whoever.
        when: A condition in CEL over `call`, `principal` and `run`. A field that is not there asks.
        unless: Nobody is asked if each of these arguments is there and is accepted, as in `ArgumentRules`.
        reason: What the person is told of why they are asked.
    """

    _: KW_ONLY
    servers: Collection[str] = ()
    tools: Collection[str] = ()
    roles: Collection[str] = ()
    tenants: Collection[str] = ()
    agents: Collection[str] = ()
    when: str | None = None
    unless: Mapping[str, Accepted] = field(default_factory=dict[str, Accepted])
    reason: str = "a rule asks about this call"
    scope: Scope = field(init=False, repr=False, compare=False)
    condition: Condition | None = field(init=False, repr=False, compare=False)
    _harmless: tuple[tuple[Selector, Accepted], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, wanted in self.unless.items():
            if not isinstance(wanted, Accepted):
                raise TypeError(f"what is accepted of {name!r} is an Accepted, not {type(wanted).__name__}")
            if wanted.path is not None and wanted.path.local:
                raise ValueError(
                    f"unless[{name!r}] cannot follow links: where they lead changes while one waits"
                )
        scope = Scope(
            servers=self.servers, tools=self.tools, roles=self.roles, tenants=self.tenants, agents=self.agents
        )
        for name, value in (
            ("scope", scope),
            ("condition", None if self.when is None else Condition(self.when)),
            ("_harmless", tuple((Selector(name), wanted) for name, wanted in self.unless.items())),
        ):
            object.__setattr__(self, name, value)

    def held(self, call: Call) -> Held:
        """Whether a person is asked. MISSING: it depends on who calls, and nobody said."""
        match = self.scope.match(call)
        if match is not Match.YES:
            return Held.NO if match is Match.NO else Held.MISSING
        if self.condition is not None:
            held = self.condition.held(call)
            if held in (Held.NO, Held.FAILED):
                return held
        return Held.NO if self._harmless and accepts(self._harmless, call) else Held.YES


def accepts(wanted: Collection[tuple[Selector, Accepted]], call: Call) -> bool:
    """Whether every argument is there and is accepted."""
    arguments = call.arguments
    return all(one.admits(value) for selector, one in wanted for value in selector.select(arguments))
