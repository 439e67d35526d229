"""Finding a framework, and saying what is missing where it is not there or has changed."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any, Final

from mcpguard.core.errors import SeamError

__all__ = ["framework", "seam"]

DISTRIBUTION: Final = "mcpguard-inline"
"""This distribution, whose extras say which releases of a framework work."""


def framework(module: str, *, extra: str) -> Any:
    """A module of a framework; what it does not have is a `SeamError` too, with the releases that have it.

    Args:
        module: Its name.
        extra: The extra of this distribution that installs it.

    Raises:
        SeamError: If it cannot be imported.
    """
    try:
        return _Module(import_module(module), extra)
    except ImportError as error:
        what = f"{module} cannot be imported ({error}): {_works(extra)}"
        raise SeamError(what) from error


class _Module:
    """A module that was found."""

    def __init__(self, module: Any, extra: str) -> None:
        self._module = module
        self._extra = extra

    def __getattr__(self, name: str) -> Any:
        try:
            return getattr(self._module, name)
        except AttributeError as error:
            what = f"{self._module.__name__} has no {name}: {_works(self._extra)}"
            raise SeamError(what) from error


def _works(extra: str) -> str:
    """What to install, and which releases that is."""
    try:
        named = requires(DISTRIBUTION) or ()
    except PackageNotFoundError:
        named = ()
    mark = f"extra == '{extra}'"
    releases = [one.partition(";")[0].strip() for one in named if mark in one.replace('"', "'")]
    known = f" ({', '.join(releases)})" if releases else ""
    return f"pip install '{DISTRIBUTION}[{extra}]'{known}"


def seam(owner: object, name: str, *, distribution: str, known: str) -> Any:
    """A member of a framework that a guard is put at, which a release may have moved.

    Args:
        owner: What has it.
        name: The member.
        distribution: The framework's distribution.
        known: A release that has it.

    Raises:
        SeamError: If it is not there: a guard that is put at the wrong place guards nothing.
    """
    found = getattr(owner, name, None)
    if found is None:
        try:
            installed = version(distribution)
        except PackageNotFoundError:
            installed = "(unknown)"
        what = f"{getattr(owner, '__name__', type(owner).__name__)}.{name}"
        raise SeamError(f"{distribution} {installed} has no {what}, which {distribution} {known} has")
    return found
