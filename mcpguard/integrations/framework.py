"""Finding a framework, and saying what is missing where it is not there or has changed."""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from mcpguard.core.errors import SeamError

__all__ = ["framework", "seam"]


def framework(module: str, *, extra: str) -> Any:
    """A module of a framework.

    Args:
        module: Its name.
        extra: The extra of this distribution that installs it.

    Raises:
        SeamError: If it cannot be imported.
    """
    try:
        return import_module(module)
    except ImportError as error:
        what = f"{module} cannot be imported ({error}): pip install 'mcpguard-inline[{extra}]'"
        raise SeamError(what) from error


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
