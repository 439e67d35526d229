"""Sources of credentials: what this process has been given, a file, a keyring, a function.

Each may fail as it likes: what it fails with is told without values, and the call is denied.
"""

import os
from collections.abc import Awaitable, Callable
from dataclasses import KW_ONLY, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

import anyio.to_thread

from mcpguard.core.principal import Principal
from mcpguard.tokens.secret import MAX_LENGTH, Secret, Token, TokenError, sendable

__all__ = ["Asked", "Called", "Environment", "File", "Keyring", "Source", "Static"]

REREAD: Final = 60.0
"""Seconds after which what may change under the process's feet is looked at again."""


class Source(Protocol):
    """Where a credential comes from.

    - `fetch` raises `TokenError`, or whatever it fails with; nothing is cached then.
    - What it gives for one principal is never used for another, unless `is_personal` is false.
    """

    @property
    def is_personal(self) -> bool:
        """Whether each principal has its own."""
        ...

    async def fetch(self, principal: Principal | None) -> Token:
        """The credential of `principal`, or of the program where nobody is known."""
        ...


Asked: TypeAlias = Callable[[Principal | None], Awaitable[Secret | Token]]
"""A function that gives whoever calls their credential."""


class Static:
    """A secret that the program was given."""

    is_personal = False

    def __init__(self, secret: Secret) -> None:
        self._token = Token(sendable(secret.reveal(), "the credential"), lifetime=float("inf"))

    async def fetch(self, principal: Principal | None) -> Token:
        """The secret, whoever calls."""
        del principal
        return self._token


class Environment:
    """A variable of this process's environment."""

    is_personal = False

    def __init__(self, variable: str) -> None:
        self._variable = variable

    async def fetch(self, principal: Principal | None) -> Token:
        """The variable's value as of now."""
        del principal
        value = os.environ.get(self._variable)
        if value is None:
            raise TokenError(f"the environment variable {self._variable} is not set")
        return Token(sendable(value, f"the environment variable {self._variable}"), lifetime=REREAD)


class File:
    """A file that holds the credential and nothing else, as orchestrators mount and renew them."""

    is_personal = False

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)

    async def fetch(self, principal: Principal | None) -> Token:
        """The file's text as of now, without blanks around it."""
        del principal
        return Token(await anyio.to_thread.run_sync(self._read), lifetime=REREAD)

    def _read(self) -> Secret:
        with self._path.open("rb") as file:
            body = file.read(MAX_LENGTH + 3)
        return sendable(body.decode("ascii", "replace").strip(), f"the file {self._path}")


@dataclass(frozen=True, slots=True)
class Keyring:
    """An entry of the operating system's keyring.

    Args:
        service: The entry's service.
        username: The entry's user name.
    """

    service: str
    _: KW_ONLY
    username: str

    @property
    def is_personal(self) -> bool:
        """Whether each principal has its own."""
        return False

    async def fetch(self, principal: Principal | None) -> Token:
        """The entry's password as of now."""
        del principal
        value = await anyio.to_thread.run_sync(self._read)
        return Token(sendable(value, f"the keyring's entry for {self.service}"), lifetime=REREAD)

    def _read(self) -> object:
        try:
            keyring: Any = import_module("keyring")
        except ImportError:
            raise TokenError(
                "the keyring needs its package: pip install 'mcpguard-inline[keyring]'"
            ) from None
        value: object = keyring.get_password(self.service, self.username)
        return value


class Called:
    """A function of the program's."""

    is_personal = True

    def __init__(self, function: Asked) -> None:
        self._function = function

    async def fetch(self, principal: Principal | None) -> Token:
        """What the function gives for whoever calls; a bare secret is asked for each time."""
        given = await self._function(principal)
        token = given if isinstance(given, Token) else Token(given, lifetime=0.0)
        if not isinstance(token.secret, Secret):
            raise TokenError("the function gave no Secret or Token")
        sendable(token.secret.reveal(), "what the function gave")
        return token
