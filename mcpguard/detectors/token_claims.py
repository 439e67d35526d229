"""From the claims of a token to a principal, as a policy maps them.

The token is not verified here, and nothing is guessed: what is mapped has to be there, unless it is optional,
and of the right type.
"""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Final

from mcpguard.core.principal import Principal
from mcpguard.core.wire import JSON, JSONObject

__all__ = ["ClaimMap", "Unmapped"]

MAX_TEXT: Final = 512
"""Characters of a tenant, user, agent or role."""

MAX_ROLES: Final = 256
"""Roles of one principal."""


class Unmapped(ValueError):  # noqa: N818 - whoever verifies the token makes a refusal of it
    """A claim that is mapped is missing, or is not what it should be."""


@dataclass(frozen=True, slots=True)
class ClaimMap:
    """Which claim says what. A claim inside another is written `realm_access.roles`.

    A claim that is itself called so, with its dots, comes first.

    Args:
        tenant: Claim with the tenant. None: there is none.
        user: Claim with the user. None: there is none.
        agent: Claim with the agent. None: there is none.
        roles: Claim with the roles, a list or words with blanks between them. None: there are none. A token
            without the claim has no roles.
        keep: Claims that conditions may read as `principal.claims`.
    """

    _: KW_ONLY
    tenant: str | None = None
    user: str | None = "sub"
    agent: str | None = None
    roles: str | None = None
    keep: Sequence[str] = ()

    def principal(self, claims: JSONObject) -> Principal:
        """The principal that verified claims speak of.

        Raises:
            Unmapped: If a claim is missing or is not text; the message names the claim.
        """
        return Principal(
            tenant=_text(claims, self.tenant),
            user=_text(claims, self.user),
            agent=_text(claims, self.agent),
            roles=_roles(claims, self.roles),
            claims={name: claims[name] for name in self.keep if name in claims},
        )


def _found(claims: JSONObject, name: str) -> JSON:
    if name in claims:
        return claims[name]
    value: JSON = claims
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _text(claims: JSONObject, name: str | None) -> str | None:
    if name is None:
        return None
    value = _found(claims, name)
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT:
        raise Unmapped(f"the claim {name} is no text of 1 to {MAX_TEXT} characters")
    return value


def _roles(claims: JSONObject, name: str | None) -> frozenset[str]:
    value = None if name is None else _found(claims, name)
    if value is None:
        return frozenset()
    roles = value.split() if isinstance(value, str) else value
    if not isinstance(roles, list | tuple) or len(roles) > MAX_ROLES:
        raise Unmapped(f"the claim {name} is no list of at most {MAX_ROLES} roles")
    named = [role for role in roles if isinstance(role, str) and 0 < len(role) <= MAX_TEXT]
    if len(named) != len(roles):
        raise Unmapped(f"the claim {name} holds something else than roles")
    return frozenset(named)
