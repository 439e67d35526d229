"""What a client says it can do, without what its policy refuses altogether.

A client tells its capabilities in `initialize` (to 2025-11-25), and in `_meta` of every request (2026-07-28).
A server that is told nothing does not ask.
"""

from collections.abc import Collection, Mapping
from typing import Final, TypeAlias

from mcpguard.core.wire import EMPTY, JSON, JSONObject

__all__ = ["META_KEY", "Path", "told"]

META_KEY: Final = "io.modelcontextprotocol/clientCapabilities"
"""Where a request of 2026-07-28 carries them."""

Path: TypeAlias = tuple[str, ...]
"""Where a capability stands in the object: `("elicitation", "url")`."""

_OF_TASKS: Final[Mapping[Path, Path]] = {
    ("sampling",): ("tasks", "requests", "sampling"),
    ("elicitation",): ("tasks", "requests", "elicitation"),
}
"""A capability -> the same for requests that become tasks (2025-11-25)."""


def told(method: str, params: JSONObject, refused: Collection[Path]) -> JSONObject:
    """The parameters of an outgoing request without the capabilities `refused`; the same if it has none."""
    if method == "initialize":
        capabilities = params.get("capabilities")
        changed = _without_all(capabilities, refused)
        return params if changed is capabilities else {**params, "capabilities": changed}
    meta = params.get("_meta")
    capabilities = meta.get(META_KEY) if isinstance(meta, Mapping) else None
    changed = _without_all(capabilities, refused)
    if changed is capabilities:
        return params
    known = meta if isinstance(meta, Mapping) else EMPTY
    return {**params, "_meta": {**known, META_KEY: changed}}


def _without_all(capabilities: JSON, refused: Collection[Path]) -> JSON:
    for path in refused:
        capabilities = _without(capabilities, path)
        if path in _OF_TASKS:
            capabilities = _without(capabilities, _OF_TASKS[path])
    return capabilities


def _without(value: JSON, path: Path) -> JSON:
    if not isinstance(value, Mapping) or path[0] not in value:
        return value
    if len(path) == 1:
        return {name: member for name, member in value.items() if name != path[0]}
    below = _without(value[path[0]], path[1:])
    return value if below is value[path[0]] else {**value, path[0]: below}
