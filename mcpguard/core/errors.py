"""The error tree.

    MCPGuardError
    +-- GuardBuildError          a guard cannot be built from these parts (also a ValueError)
    |   +-- OrderError           interceptors stand in an order that breaks a promise
    |   +-- PolicyError          a policy file says something wrong; carries file and line
    |   `-- PluginError          an entry point cannot be used; names the plugin
    +-- SeamError                this object cannot be guarded this way; says which way can
    +-- Denied                   a call was denied and `on_deny="raise"` was chosen
    +-- TokenRefused             a token does not say on whose behalf a call is made; carries a code
    +-- LayerError               a layer broke the contract (called next twice, say)
    +-- HubError                 a hub has no such tool, or the tool's server is down
    `-- StoreError               a store cannot do what it is asked; a caller that cannot reserve is denied
        +-- StoreFull            it keeps what it has and takes nothing new
        `-- StoreFormatError     what is there was written by a newer release, or is no store

Ordinary misuse of a constructor is `ValueError` or `TypeError`. No message holds an argument or a result.
"""

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "Denied",
    "GuardBuildError",
    "HubError",
    "LayerError",
    "MCPGuardError",
    "OrderError",
    "PluginError",
    "PolicyError",
    "Problem",
    "SeamError",
    "StoreError",
    "StoreFormatError",
    "StoreFull",
    "TokenRefused",
]


class MCPGuardError(Exception):
    """The root of every error this package raises for reasons of its own."""


class GuardBuildError(MCPGuardError, ValueError):
    """A guard cannot be built from these parts."""


class OrderError(GuardBuildError):
    """Interceptors stand in an order that breaks a promise one of them makes."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that a policy file gets wrong, or that deserves a warning.

    Args:
        message: What was seen and what would be accepted.
        line: Line in the file, from 1; None where none can be told.
    """

    message: str
    line: int | None = None

    def located(self, source: str) -> str:
        """One line of text: file, line and message."""
        where = source if self.line is None else f"{source}:{self.line}"
        return f"{where}: {self.message}"


class PolicyError(GuardBuildError):
    """A policy file says something wrong. Its text has a line for every problem found.

    Args:
        message: What was seen and what would be accepted.
        source: The file's name, or `<policy>` for text.
        line: Line in the file, from 1; None where none can be told.
        more: What else is wrong with the same file.
    """

    def __init__(
        self,
        message: str,
        *,
        source: str = "<policy>",
        line: int | None = None,
        more: Sequence[Problem] = (),
    ) -> None:
        self.message = message
        self.source = source
        self.line = line
        self.problems = (Problem(message, line), *more)
        super().__init__("\n".join(problem.located(source) for problem in self.problems))


class PluginError(GuardBuildError):
    """An entry point cannot be used. The message names it and the distribution it came from."""


class SeamError(MCPGuardError, TypeError):
    """This object cannot be guarded this way; the message names the way that works."""


class LayerError(MCPGuardError, RuntimeError):
    """A layer broke the contract it is written to: the message says which part."""


class Denied(MCPGuardError):  # noqa: N818 - the word of the design
    """A call was denied and the guard was built with `on_deny="raise"`.

    Args:
        message: The sentence meant for the model.
        code: The stable code, snake_case.
        retry_after: Seconds until trying again makes sense, or None.
    """

    def __init__(self, message: str, *, code: str, retry_after: float | None = None) -> None:
        self.code = code
        self.retry_after = retry_after
        super().__init__(f"{message} [{code}]")


class HubError(MCPGuardError):
    """A hub has no such tool, or the tool's server is down."""


class TokenRefused(MCPGuardError):  # noqa: N818 - the word of the design
    """A token is not to be trusted, or does not say what the policy wants to know.

    Args:
        code: Why; stable, snake_case. The message holds nothing of the token.
    """

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(f"the token was refused [{code}]")


class StoreError(MCPGuardError):
    """A store cannot do what it is asked: it is gone, closed, locked too long, or out of order."""


class StoreFull(StoreError):  # noqa: N818 - the design's word
    """A store keeps as much as it may, and takes nothing new."""


class StoreFormatError(StoreError):
    """What is kept was written by a newer release, or is not a store's at all."""
