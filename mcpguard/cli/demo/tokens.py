"""The tokens of one demo: four that servers want to see, and one that somebody has committed by mistake.

All are made for the demo and worth nothing after it. Servers are told digests, and compare.
"""

import hashlib
import os
import secrets
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["Tokens", "make_tokens"]

HOLDERS = ("database", "tickets", "channel", "advisor")
"""Servers that want a token: in their environment, as an argument, in `_meta`, and as an HTTP header."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What is secret in one demo.

    Args:
        wanted: By server, the token it wants.
        committed: The one that stands in a commit, in the form of GitLab's.
    """

    wanted: Mapping[str, str]
    committed: str

    def digest(self, server: str) -> dict[str, str]:
        """The variable that tells a server which token to accept; none for one that wants none."""
        token = self.wanted.get(server)
        return {} if token is None else {"TOKEN_SHA256": hashlib.sha256(token.encode()).hexdigest()}

    @contextmanager
    def in_environment(self) -> Generator[None]:
        """With each token where the example policy looks for it; the environment is as before afterwards."""
        given = {f"{server.upper()}_TOKEN": token for server, token in self.wanted.items()}
        before = {name: os.environ.get(name) for name in given}
        os.environ.update(given)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def make_tokens() -> Tokens:
    """New ones."""
    return Tokens(
        wanted={server: secrets.token_urlsafe(24) for server in HOLDERS},
        committed="-".join(["glpat", secrets.token_urlsafe(15)]),
    )
