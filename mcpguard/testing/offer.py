"""What a fake server offers and what it does when asked: definitions and scripts, by name or by method."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from mcpguard.core.wire import JSON, LISTINGS, TARGETS, JSONObject, mutable_copy
from mcpguard.testing.catalogue import Catalogue
from mcpguard.testing.messages import Wire
from mcpguard.testing.script import Script, Turn

__all__ = ["Offer"]

TOOLS, PROMPTS, RESOURCES, TEMPLATES = LISTINGS


class Offer:
    """The declaring and scripting half of `FakeServer`.

    Definitions take further members by keyword, as on the wire or in snake case (`title=`, `mime_type=`,
    `icons=`, `_meta=`). `on_...` starts a script over; declaring returns the first one.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._scripts: dict[tuple[str, str], Script] = {}

    @property
    def page_size(self) -> int | None:
        """Items per page of a list; None for one page."""
        return self.catalogue.page_size

    @page_size.setter
    def page_size(self, size: int | None) -> None:
        if not isinstance(cast("object", size), int | None) or isinstance(size, bool):
            raise TypeError(f"page_size is a number of items, or None, got {type(size).__name__}")
        if size is not None and size < 1:
            raise ValueError(f"page_size is None or at least 1, got {size}")
        self.catalogue.page_size = size

    def pages_forever(self) -> None:
        """Let every page of a list name a next one; each holds the whole list."""
        self.catalogue.is_endless = True

    def tool(
        self,
        name: str,
        *,
        description: str | None = None,
        input_schema: JSONObject | None = None,
        output_schema: JSONObject | None = None,
        annotations: JSONObject | None = None,
        listed: bool = True,
        **more: JSON,
    ) -> Script:
        """Declare a tool, and script it; unscripted, it answers with its arguments as JSON text.

        With an output schema it answers with its arguments as structured content. With `listed=False` it
        is in no list, but can be called.
        """
        known: JSONObject = {
            "description": description,
            "inputSchema": {"type": "object"} if input_schema is None else input_schema,
            "outputSchema": output_schema,
            "annotations": annotations,
        }
        if self.catalogue.tool(name):
            raise ValueError(f"there is a tool named {name!r} already; change it with change_tool()")
        definition = _definition({"name": _name(name, "a tool's name")}, {**known, **more})
        (self.catalogue.listed[TOOLS] if listed else self.catalogue.unlisted)[name] = definition
        return self._script("tools/call", name)

    def change_tool(self, name: str, **changes: JSON) -> None:
        """Change members of a tool's definition, from now on; None removes one. Clients are not told."""
        definition = self.catalogue.tool(name)
        if definition is None:
            raise ValueError(self._unknown("tool", name, (TOOLS,)))
        changed = _definition(definition, changes)
        definition.clear()
        definition.update(changed)

    def remove_tool(self, name: str) -> None:
        """Take a tool away, from now on. Clients are not told."""
        if self.catalogue.tool(name) is None:
            raise ValueError(self._unknown("tool", name, (TOOLS,)))
        self.catalogue.listed[TOOLS].pop(name, None)
        self.catalogue.unlisted.pop(name, None)

    def set_tools(self, definitions: Iterable[JSONObject]) -> None:
        """Replace all tools by these definitions, as on the wire; scripts of the same names stay."""
        tools: dict[str, Wire] = {}
        for given in definitions:
            name = _name(given.get("name"), "a tool's name")
            if name in tools:
                raise ValueError(f"two of the tools are named {name!r}")
            tools[name] = _definition({"inputSchema": {"type": "object"}}, given)
        self.catalogue.listed[TOOLS] = tools
        self.catalogue.unlisted.clear()

    def prompt(
        self,
        name: str,
        *,
        description: str | None = None,
        arguments: Sequence[str | JSONObject] = (),
        **more: JSON,
    ) -> Script:
        """Declare a prompt, and script it; an argument given by its name alone is required."""
        known: list[JSONObject] = [
            {"name": one, "required": True} if isinstance(one, str) else one for one in arguments
        ]
        members: JSONObject = {"description": description, "arguments": known or None}
        return self._declare(PROMPTS, "prompts/get", name, {**members, **more})

    def resource(
        self, uri: str, content: str | bytes = "", *, name: str | None = None, **more: JSON
    ) -> Script:
        """Declare a resource with its content, and script it."""
        script = self._declare(RESOURCES, "resources/read", uri, {"name": name or uri, **more})
        self.catalogue.contents[uri] = content
        return script

    def resource_template(self, template: str, *, name: str | None = None, **more: JSON) -> Script:
        """Declare a URI template (`{one}` segment, `{+many}`), and script reads of what matches it."""
        return self._declare(TEMPLATES, "resources/read", template, {"name": name or template, **more})

    def completion(self, ref: str, values: Mapping[str, Sequence[str]]) -> None:
        """Declare what the arguments of a prompt, or the variables of a template, complete to."""
        if ref not in self.catalogue.listed[PROMPTS] and ref not in self.catalogue.listed[TEMPLATES]:
            raise ValueError(self._unknown("prompt or template", ref, (PROMPTS, TEMPLATES)))
        self.catalogue.completions[ref] = {argument: list(known) for argument, known in values.items()}

    def on_call(self, tool: str) -> Script:
        """Script a tool anew."""
        if self.catalogue.tool(tool) is None:
            raise ValueError(self._unknown("tool", tool, (TOOLS,)))
        return self._script("tools/call", tool)

    def on_prompt(self, name: str) -> Script:
        """Script a prompt anew."""
        if name not in self.catalogue.listed[PROMPTS]:
            raise ValueError(self._unknown("prompt", name, (PROMPTS,)))
        return self._script("prompts/get", name)

    def on_read(self, uri: str) -> Script:
        """Script a resource, or what matches a template, anew."""
        if uri not in self.catalogue.listed[RESOURCES] and uri not in self.catalogue.listed[TEMPLATES]:
            raise ValueError(self._unknown("resource or template", uri, (RESOURCES, TEMPLATES)))
        return self._script("resources/read", uri)

    def on(self, method: str) -> Script:
        """Script all requests of a method anew, known or unknown; it goes before the scripts of names."""
        return self._script(_name(method, "a method"), "")

    def turn_for(self, method: str, params: Wire) -> Turn:
        """The turn that serves a request; connections ask in the order of arrival."""
        target = params.get(TARGETS.get(method, ""), "")
        if method == "tools/call" and self.catalogue.tool(target) is None:
            target = ""
        script = self._scripts.get((method, "")) or self._scripts.get((method, target))
        if script is None and method == "resources/read" and (found := self.catalogue.template_of(target)):
            script = self._scripts[method, found[0]]
        return Turn() if script is None else script.next_turn()

    def _script(self, method: str, target: str) -> Script:
        script = self._scripts[method, target] = Script(method)
        return script

    def _declare(self, listing: str, method: str, key: str, members: JSONObject) -> Script:
        keyed = LISTINGS[listing]
        if _name(key, f"a {keyed.key}") in self.catalogue.listed[listing]:
            raise ValueError(f"{key!r} is among the {keyed.items} already")
        self.catalogue.listed[listing][key] = _definition({keyed.key: key}, members)
        return self._script(method, key)

    def _unknown(self, what: str, name: str, listings: Sequence[str]) -> str:
        known = [one for listing in listings for one in self.catalogue.listed[listing]]
        return f"there is no {what} {name!r}; declared are {', '.join(known) or 'none'}"


def _name(name: object, what: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"{what} is a string, got {type(name).__name__}")
    if not name:
        raise ValueError(f"{what} is not empty")
    return name


def _definition(known: JSONObject, members: JSONObject) -> Wire:
    """`known` with `members` put over it: snake case as on the wire, None taken out."""
    for member in ("input_schema", "inputSchema", "output_schema", "outputSchema", "annotations"):
        if not isinstance(members.get(member), Mapping | None):
            raise TypeError(f"{member} is a mapping, got {type(members[member]).__name__}")
    named = {
        re.sub(r"(?<=[a-z])_([a-z])", lambda m: m[1].upper(), name): one for name, one in members.items()
    }
    whole = mutable_copy({**known, **named})
    return {name: one for name, one in cast("Wire", whole).items() if one is not None}
