"""On whose behalf a call is made."""

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass, field

from mcpguard.core.wire import JSON, JSONObject, mutable_copy

__all__ = ["Principal"]


@dataclass(frozen=True, slots=True)
class Principal:
    """A tenant, a user and an agent, with the roles rules may ask for.

    Args:
        tenant: Whose data and limits these are. None in a single-tenant program.
        user: The person the agent acts for, if any.
        agent: The program that acts.
        roles: Names that rules refer to; any iterable of strings is accepted.
        claims: Further facts from a token; never shown in a repr, never part of equality.
    """

    _: KW_ONLY
    tenant: str | None = None
    user: str | None = None
    agent: str | None = None
    roles: frozenset[str] = frozenset()
    claims: JSONObject = field(default_factory=dict[str, JSON], repr=False, compare=False)

    def __post_init__(self) -> None:
        roles: Iterable[str] = self.roles
        if isinstance(roles, str):
            raise TypeError(f"roles takes a collection of names, not the single string {roles!r}")
        object.__setattr__(self, "roles", frozenset(roles))

    def copy(self) -> "Principal":
        """The same principal, which shares nothing mutable with this one."""
        copy = object.__new__(type(self))
        for name in self.__dataclass_fields__:
            object.__setattr__(copy, name, getattr(self, name))
        object.__setattr__(copy, "claims", mutable_copy(self.claims))
        return copy
