"""Which calls a rule is about: by server, target, role, tenant and agent.

Every rule of every interceptor may be narrowed by a scope. Names are globs (`*`, `?`, `[abc]`), matched
whole and case-sensitively; matching takes linear time whatever the name, because names come from servers.
"""

import fnmatch
import re
from collections.abc import Callable, Collection
from dataclasses import KW_ONLY, dataclass, field
from enum import Enum
from typing import Final, TypeAlias

from mcpguard.core.call import Call
from mcpguard.core.plain import plain

__all__ = ["Match", "Matcher", "Scope", "matcher"]

Matcher: TypeAlias = Callable[[str], bool]

_GLOB: Final = frozenset("*?[")


@plain
class Match(Enum):
    """Whether a rule is about a call."""

    YES = "yes"
    NO = "no"
    NO_PRINCIPAL = "no_principal"
    """It would depend on who calls, and nobody said: such a rule denies."""


def matcher(patterns: Collection[str]) -> Matcher:
    """Whether a name matches one of `patterns`.

    Raises:
        TypeError: If `patterns` is a single string or holds something else than strings.
        ValueError: If a pattern is empty.
    """
    if isinstance(patterns, str):
        raise TypeError(f"expected a list of names or globs, not the single string {patterns!r}")
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise TypeError(f"expected names or globs, not {type(pattern).__name__}")
        if not pattern:
            raise ValueError("an empty name or glob matches nothing")
    exact = frozenset(one for one in patterns if not _GLOB & set(one))
    globs = [re.compile(fnmatch.translate(one)).match for one in patterns if _GLOB & set(one)]
    if "*" in patterns:
        return _anything
    if not globs:
        return exact.__contains__
    return lambda name: name in exact or any(glob(name) is not None for glob in globs)


def check_roles(roles: Collection[str]) -> None:
    """Refuse roles that would match nobody: they are names, so that no role is taken for another.

    Raises:
        TypeError: If `roles` is a single string or holds something else than strings.
        ValueError: If a role is empty or a glob.
    """
    matcher(roles)
    for role in roles:
        if _GLOB & set(role):
            raise ValueError(f"roles are names, not globs: {role!r} would match nobody")


def _anything(_name: str) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Scope:
    """What a rule is narrowed to; an empty member does not narrow.

    Args:
        servers: Names or globs of servers, as given when wrapping.
        tools: Names or globs of tools, as the server calls them.
        roles: The principal has at least one of these; not globs.
        tenants: Names or globs of the principal's tenant.
        agents: Names or globs of the principal's agent.
    """

    _: KW_ONLY
    servers: Collection[str] = ()
    tools: Collection[str] = ()
    roles: Collection[str] = ()
    tenants: Collection[str] = ()
    agents: Collection[str] = ()
    _server: Matcher | None = field(init=False, repr=False, compare=False)
    _tool: Matcher | None = field(init=False, repr=False, compare=False)
    _tenant: Matcher | None = field(init=False, repr=False, compare=False)
    _agent: Matcher | None = field(init=False, repr=False, compare=False)
    _roles: frozenset[str] = field(init=False, repr=False, compare=False)
    _all: bool = field(init=False, repr=False, compare=False)
    needs_principal: bool = field(init=False, repr=False, compare=False)
    """Whether it depends on who calls."""

    def __post_init__(self) -> None:
        for name, patterns in (
            ("_server", self.servers),
            ("_tool", self.tools),
            ("_tenant", self.tenants),
            ("_agent", self.agents),
        ):
            object.__setattr__(self, name, matcher(patterns) if patterns else None)
        check_roles(self.roles)
        object.__setattr__(self, "_roles", frozenset(self.roles))
        object.__setattr__(self, "needs_principal", bool(self.roles or self.tenants or self.agents))
        object.__setattr__(self, "_all", not (self.servers or self.tools or self.needs_principal))

    @property
    def matches_all(self) -> bool:
        """Whether the rule is about every call, so that none need be looked at."""
        return self._all

    def has_server(self, name: str) -> bool:
        """Whether the rule is about anything of this server."""
        return self._server is None or self._server(name)

    def match(self, call: Call) -> Match:
        """Whether the rule is about `call`. A tool scope is never about a call that has no tool."""
        if self._all:
            return Match.YES
        if self._server is not None and not self._server(call.server):
            return Match.NO
        if self._tool is not None:
            tool = call.target if call.method == "tools/call" else None
            if tool is None or not self._tool(tool):
                return Match.NO
        return self.match_principal(call)

    def match_principal(self, call: Call) -> Match:
        """Whether the rule is about whoever makes `call`, whatever they call."""
        if not self.needs_principal:
            return Match.YES
        who = call.principal
        if who is None:
            return Match.NO_PRINCIPAL
        if self._roles and self._roles.isdisjoint(who.roles):
            return Match.NO
        if self._tenant is not None and (who.tenant is None or not self._tenant(who.tenant)):
            return Match.NO
        if self._agent is not None and (who.agent is None or not self._agent(who.agent)):
            return Match.NO
        return Match.YES
