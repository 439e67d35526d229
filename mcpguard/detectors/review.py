"""What speaks against a definition that nobody has approved yet."""

from typing import Final

from mcpguard.core.strings import texts
from mcpguard.core.wire import JSONObject
from mcpguard.detectors.injection.scan import scan
from mcpguard.detectors.namespace import Namespace

__all__ = ["reviewed"]

SUSPICIOUS: Final = 0.5
"""Score from which on a definition's texts count as instructions to the model."""

MAX_CHARACTERS: Final = 256 * 1024
"""Characters that are looked at; a definition with more is not approved unseen."""


def reviewed(names: Namespace, server: str, definition: JSONObject) -> tuple[str, ...]:
    """Codes, none if nothing speaks against it: those of `Namespace.shadowed`, and `hidden_instructions`.

    All strings of the definition are looked at: names, titles, enums, defaults and nested descriptions too.
    """
    found = names.shadowed(server, definition)
    text = "\n".join(reversed(texts(definition)))
    if len(text) > MAX_CHARACTERS or scan(text).score >= SUSPICIOUS:
        return (*found, "hidden_instructions")
    return found
