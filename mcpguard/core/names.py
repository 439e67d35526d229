"""Names as records have them: of tools, prompts, runs and principals, and URIs of resources.

Models make up names, and programs build URIs, so anything can stand in one. What cleans them is lent by the
guard; here a URI loses the parts that are there for secrets.
"""

import re
from collections.abc import Callable
from typing import Final, TypeAlias

__all__ = ["MAX_NAME", "Clean", "Names", "public_part"]

Clean: TypeAlias = Callable[[str], str]

MAX_NAME: Final = 256
"""Characters of a name from outside that an event keeps."""

MAX_KNOWN: Final = 1024
"""Names whose clean form is remembered, and characters of one that is."""

MAX_READ: Final = 4096
"""Characters of a name that are cleaned: what stands across their end is never shown."""

WITHHELD: Final = "[WITHHELD]"
"""Stands for a name that cannot be cleaned."""

_URI: Final = re.compile(r"([a-z][a-z0-9+.-]*:)(//[^/?#\\]*@)?([^?#]*)([?#].*)?", re.IGNORECASE | re.DOTALL)
_LEFT_OUT: Final = "\N{HORIZONTAL ELLIPSIS}"


class Names:
    """Clean names, and remember what came of it.

    Args:
        clean: What to do to a name beside; None for nothing.
    """

    def __init__(self, clean: Clean | None = None) -> None:
        self._clean = clean
        self._known: dict[str, str] = {}

    def __call__(self, name: str) -> str:
        """The name without what has no place in a record, and cut."""
        known = self._known.get(name)
        if known is not None:
            return known
        cleaned = self._cleaned(name)
        if len(name) <= MAX_KNOWN:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[name] = cleaned
        return cleaned

    def _cleaned(self, name: str) -> str:
        if self._clean is None:
            return name[:MAX_NAME]
        try:
            cleaned = self._clean(name[:MAX_READ])
        except Exception:  # noqa: BLE001 - what cannot be cleaned is not recorded
            return WITHHELD
        is_end_in_sight = len(name) > MAX_READ and len(cleaned) < MAX_NAME
        return WITHHELD if is_end_in_sight else cleaned[:MAX_NAME]


def public_part(target: str) -> str:
    """A URI without user, query and fragment, and `data:` without its data; any other text as it is."""
    parts = _URI.fullmatch(target) if ":" in target else None
    if parts is None:
        return target
    scheme, user, rest, more = parts.groups()
    if scheme.lower() == "data:":
        return f"{scheme}{_LEFT_OUT}"
    if user:
        rest = f"//{_LEFT_OUT}@{rest}"
    return f"{scheme}{rest}{f'{more[0]}{_LEFT_OUT}' if more else ''}"
