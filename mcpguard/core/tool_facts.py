"""What is known of a tool: its definition, as its server last listed it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mcpguard.core.wire import EMPTY, JSONObject, definition_digest

__all__ = ["ToolFacts"]


@dataclass(frozen=True, slots=True)
class ToolFacts:
    """A tool's definition as the server last listed it; a server's own claims, hence hints.

    Args:
        name: The server's name for the tool.
        definition: The whole definition, wire-shaped.
    """

    name: str
    definition: JSONObject = field(repr=False)
    _digest: list[str] = field(default_factory=list[str], init=False, repr=False, compare=False)

    @property
    def digest(self) -> str:
        """The definition's digest, worked out on first use: what pins compare."""
        if not self._digest:
            self._digest.append(definition_digest(self.definition))
        return self._digest[0]

    @property
    def input_schema(self) -> JSONObject:
        """JSON Schema of the arguments; empty if the server gave none."""
        schema = self.definition.get("inputSchema")
        return schema if isinstance(schema, Mapping) else EMPTY

    @property
    def output_schema(self) -> JSONObject | None:
        """JSON Schema of the structured result, or None."""
        schema = self.definition.get("outputSchema")
        return schema if isinstance(schema, Mapping) else None

    @property
    def annotations(self) -> JSONObject:
        """What the server says of the tool (`readOnlyHint` and so on). Untrusted, by the specification."""
        annotations = self.definition.get("annotations")
        return annotations if isinstance(annotations, Mapping) else EMPTY
