"""One rule of `ArgumentRules`: which calls it is about, what it accepts, and what it says then.

A rule knows neither its place in the list nor what becomes of calls it is not about.
"""

from collections.abc import Collection, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Final, Literal

from mcpguard.core.scope import Scope, matcher
from mcpguard.detectors.accepted import Accepted
from mcpguard.detectors.condition import Condition
from mcpguard.detectors.selector import Selector

__all__ = ["ArgumentRule"]

_EFFECTS: Final = ("allow", "ask", "deny")


@dataclass(frozen=True, slots=True)
class ArgumentRule:
    """What the arguments of some calls must be.

    Args:
        servers: Names or globs of servers. Empty: all.
        tools: Names or globs of tools, as the server calls them. Empty: all, unless `prompts` is given.
        prompts: Names or globs of prompts. Empty: none.
        roles: The principal has at least one of these; not globs. Empty: whoever.
        tenants: Names or globs of the principal's tenant. Empty: whoever.
        agents: Names or globs of the principal's agent. Empty: whoever.
        when: A condition in CEL over `call`, `principal` and `run`; the rule is about calls it holds for.
        arguments: What is accepted of which argument: `path`, `options.target`, `files[*].url`.
        only: Whether arguments that `arguments` does not name are refused.
        effect: What becomes of a call whose arguments are accepted: it passes (`allow`), or a person is
            asked (`ask`). `deny` refuses every call the rule is about, and takes no `arguments`.

    Raises:
        TypeError: If a member is a single string or holds something else than it should.
        ValueError: If the effect is another word, an expression cannot be read, or the rule says nothing.
    """

    _: KW_ONLY
    servers: Collection[str] = ()
    tools: Collection[str] = ()
    prompts: Collection[str] = ()
    roles: Collection[str] = ()
    tenants: Collection[str] = ()
    agents: Collection[str] = ()
    when: str | None = None
    arguments: Mapping[str, Accepted] = field(default_factory=dict[str, Accepted])
    only: bool = False
    effect: Literal["allow", "ask", "deny"] = "allow"
    caller: Scope = field(init=False, repr=False, compare=False)
    condition: Condition | None = field(init=False, repr=False, compare=False)
    accepted: tuple[tuple[Selector, Accepted], ...] = field(init=False, repr=False, compare=False)
    names: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.effect not in _EFFECTS:
            raise ValueError(f"effect is one of {', '.join(_EFFECTS)}, not {self.effect!r}")
        if self.effect == "deny" and (self.arguments or self.only):
            raise ValueError("a rule that denies takes no arguments: say in `when` what it is about")
        if self.tools and self.prompts:
            raise ValueError("a rule is about tools or about prompts, not both")
        for names in (self.servers, self.tools, self.prompts):
            matcher(names)
        for name, wanted in self.arguments.items():
            if not isinstance(wanted, Accepted):
                raise TypeError(f"what is accepted of {name!r} is an Accepted, not {type(wanted).__name__}")
        accepted = tuple((Selector(name), wanted) for name, wanted in self.arguments.items())
        for name, value in (
            ("caller", Scope(roles=self.roles, tenants=self.tenants, agents=self.agents)),
            ("condition", None if self.when is None else Condition(self.when)),
            ("accepted", accepted),
            ("names", frozenset(selector.name for selector, _ in accepted)),
        ):
            object.__setattr__(self, name, value)

    @property
    def is_local(self) -> bool:
        """Whether it follows links of this machine."""
        return any(one.path is not None and one.path.local for one in self.arguments.values())

    def covers(self, server: str, method: str, name: str | None) -> bool:
        """Whether it may be about a use, whoever makes it. A name that is missing may be any."""
        if self.servers and not matcher(self.servers)(server):
            return False
        if method == "prompts/get":
            return bool(self.prompts) and (name is None or matcher(self.prompts)(name))
        return not self.prompts and (not self.tools or name is None or matcher(self.tools)(name))
