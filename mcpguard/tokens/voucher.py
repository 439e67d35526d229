"""What goes from the layer that knows whose a call is to the place where its HTTP request is made.

A request carries a number that nobody can guess; behind it stand the headers of that one call, as long as it
is under way. The number gives nothing to whoever reads it: only this process can look it up.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from mcpguard.core.principal import Principal
from mcpguard.tokens.credential import Credential
from mcpguard.tokens.secret import Token

__all__ = ["VOUCHER_KEY", "Carried", "Voucher", "headers_of"]

VOUCHER_KEY: Final = "mcpguard/voucher"
"""The field of `_meta` that holds the number."""


class Carried:
    """A credential on its way, by the rule that sends it.

    Args:
        rule: The rule.
        token: What its source gave.
    """

    __slots__ = ("rule", "token")

    def __init__(self, rule: Credential, token: Token) -> None:
        self.rule = rule
        self.token = token

    @property
    def text(self) -> str:
        """What is sent, with its scheme where there is one."""
        secret = self.token.secret.reveal()
        return f"{self.rule.scheme} {secret}" if self.rule.header is not None and self.rule.scheme else secret


class Voucher:
    """The credentials of one call.

    Args:
        method: The call's method.
        server: The server it is for.
        principal: On whose behalf it is made.
        carried: What goes with it.
    """

    __slots__ = ("carried", "method", "principal", "server", "was_used")

    def __init__(
        self, method: str, server: str, principal: Principal | None, carried: Sequence[Carried]
    ) -> None:
        self.method = method
        self.server = server
        self.principal = principal
        self.carried = carried
        self.was_used = False
        """Whether a request has taken its headers."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers as they are sent."""
        return headers_of(self.carried)

    def renew(self, carried: Sequence[Carried]) -> None:
        """Send others from now on; those sent before are still kept out of answers."""
        self.carried = [*carried, *self.carried]


def headers_of(carried: Sequence[Carried]) -> Mapping[str, str]:
    """Header by name; of two for one name the first."""
    headers: dict[str, str] = {}
    for one in carried:
        if one.rule.header is not None:
            headers.setdefault(one.rule.header, one.text)
    return headers
