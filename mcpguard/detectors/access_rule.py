"""One rule of `Access`: what it names, and whether it covers a use of a server.

A rule knows neither whether it allows or denies nor what stands beside it.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Final

from mcpguard.core.scope import Scope, matcher
from mcpguard.core.wire import INPUT_METHODS, LIFECYCLE, LISTINGS, is_notification
from mcpguard.detectors.uris import expansions, loose_spellings, spelled, spellings

__all__ = ["AccessRule"]

_KINDS: Final[Mapping[str, str]] = {
    "tools/call": "tools",
    "prompts/get": "prompts",
    "resources/read": "resources",
    "resources/subscribe": "resources",
    "resources/unsubscribe": "resources",
}
"""Method -> the member of a rule that names what it is aimed at."""

_GLOB: Final = frozenset("*?[")


class _Left(tuple[str, ...]):
    """The default of a rule's members, told apart from an empty list that somebody wrote."""

    __slots__ = ()


_LEFT_OUT: Final = _Left()

_MEMBERS: Final = ("servers", "tools", "prompts", "resources", "methods", "roles", "tenants", "agents")


@dataclass(frozen=True, slots=True, repr=False)
class AccessRule:
    """What is allowed or denied: the union of what it names, for the servers and callers it is narrowed to.

    A rule that names no tool, prompt, resource or method covers everything of its servers and callers.

    Args:
        servers: Names or globs of servers, as given when wrapping.
        tools: Names or globs of tools, as the server calls them.
        prompts: Names or globs of prompts.
        resources: URIs of resources, and templates as they are written (`file:///{path}`); or globs.
        methods: Methods of the protocol, whatever they are aimed at; or globs.
        roles: The principal has at least one of these; not globs.
        tenants: Names or globs of the principal's tenant.
        agents: Names or globs of the principal's agent.

    Raises:
        TypeError: If a member is a single string or holds something else than strings.
        ValueError: If no member is given, or one is given and empty, or holds an empty name.
    """

    _: KW_ONLY
    servers: Sequence[str] = _LEFT_OUT
    tools: Sequence[str] = _LEFT_OUT
    prompts: Sequence[str] = _LEFT_OUT
    resources: Sequence[str] = _LEFT_OUT
    methods: Sequence[str] = _LEFT_OUT
    roles: Sequence[str] = _LEFT_OUT
    tenants: Sequence[str] = _LEFT_OUT
    agents: Sequence[str] = _LEFT_OUT
    caller: Scope = field(init=False, compare=False)
    _server: Callable[[str], bool] = field(init=False, compare=False)
    _method: Callable[[str], bool] = field(init=False, compare=False)
    _names: Mapping[str, Callable[[str], bool]] = field(init=False, compare=False)
    _spelled: Callable[[str], bool] = field(init=False, compare=False)
    _expands: Callable[[str], bool] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        for member in _MEMBERS:
            self._check(member)
        caller = Scope(roles=self.roles, tenants=self.tenants, agents=self.agents)
        if self.is_wide and not self.servers and not caller.needs_principal:
            raise ValueError("a rule names something; for everything write servers: ['*']")
        kinds = {"tools": self.tools, "prompts": self.prompts, "resources": self.resources}
        for name, value in (
            ("caller", caller),
            ("_server", matcher(self.servers or ["*"])),
            ("_method", matcher(self.methods)),
            ("_names", {kind: matcher(names) for kind, names in kinds.items() if names}),
            ("_spelled", matcher([*spelled(self.resources)])),
            ("_expands", expansions(self.resources)),
        ):
            object.__setattr__(self, name, value)

    @property
    def is_wide(self) -> bool:
        """Whether it covers everything of its servers and callers."""
        return not (self.tools or self.prompts or self.resources or self.methods)

    def covers(self, server: str, method: str, name: str | None, *, granting: bool) -> bool:
        """Whether it is about a use, whoever makes it.

        A name that is missing or not a string (None) is vouched for by no name in a granting rule, and may
        be meant by any name in another. A URI must match in every spelling to be granted; one is enough
        otherwise, and the template it may be of. Lists are covered by methods alone, lifecycle methods by
        methods spelled out.
        """
        if not self._server(server):
            return False
        if method in LIFECYCLE:
            return method in self.methods
        if self._method(method):
            return True
        if self.is_wide:
            return method not in LISTINGS
        kind = _KINDS.get(method, "")
        matches = self._names.get(kind)
        if matches is None:
            return False
        if name is None:
            return not granting
        if kind != "resources" or matches(name) is not granting:
            return matches(name)
        found = spellings(name) if granting else loose_spellings(name)
        if found is None:
            return not granting
        if granting:
            return all(map(self._spelled, found))
        return any(map(self._spelled, found)) or any(map(self._expands, (name, *found)))

    def contains(self, other: "AccessRule") -> bool:
        """Whether it covers all that `other` does, for certain; false where that is hard to tell."""
        if self.caller.needs_principal or not _within(other.servers or ("*",), self.servers or ("*",)):
            return False
        return self.is_wide or (
            not other.is_wide
            and _within(other.tools, self.tools)
            and _within(other.prompts, self.prompts)
            and _within(other.resources, self.resources)
            and _within(other.methods, self.methods)
        )

    def warnings(self, servers: Collection[str]) -> Iterator[str]:
        """What in it can never match; `servers` are the declared ones, empty if none are."""
        for name in self.servers:
            if servers and not any(map(matcher([name]), servers)):
                yield f"no declared server is called {name!r}"
        for method in self.methods:
            if is_notification(method) or method in INPUT_METHODS:
                yield f"{method!r} is not something an agent requests"

    def __repr__(self) -> str:
        said = ", ".join(f"{name}={list(names)}" for name in _MEMBERS if (names := getattr(self, name)))
        return f"AccessRule({said})"

    def _check(self, member: str) -> None:
        given: Sequence[str] = getattr(self, member)
        matcher(given)
        if not given and not isinstance(given, _Left):
            raise ValueError(f"{member} is empty and would cover nothing; leave it out to cover all")
        if given:
            object.__setattr__(self, member, tuple(given))


def _within(inner: Sequence[str], outer: Sequence[str]) -> bool:
    """Whether every name that `inner` matches is matched by `outer`, for certain."""
    matches = matcher(outer)
    return "*" in outer or all(name in outer or (not _GLOB & set(name) and matches(name)) for name in inner)
