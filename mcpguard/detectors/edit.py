"""What one rule of a view makes of a definition, and of the arguments of a call.

Pure. Which rule is about what stands in `vista`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, cast

from mcpguard.core.wire import EMPTY, JSON, JSONObject
from mcpguard.detectors.argument_schema import with_arguments, without_arguments
from mcpguard.detectors.curation import PromptView, ResourceView, ToolView
from mcpguard.detectors.names import MAX_KNOWN, MAX_REMEMBERED
from mcpguard.detectors.spelling import folded

__all__ = ["NO_SUCH_ARGUMENT", "Edit", "Refused"]


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a request cannot be said in the server's own names.

    Args:
        code: Stable snake_case code.
        reason: For the operator.
        message: For the model; None for the general one.
    """

    code: str
    reason: str
    message: str | None = None


NO_SUCH_ARGUMENT: Final = Refused(
    "argument_not_available",
    "the call gives an argument that is not shown",
    "This call gives an argument that does not exist. Give only the arguments that are described.",
)


class Edit:
    """What one rule makes of a definition and of arguments."""

    def __init__(self, rule: ToolView | PromptView | ResourceView) -> None:
        self.rule = rule
        self._notes = {
            key: text
            for key in ("title", "description", "name")
            if not (key == "name" and not isinstance(rule, ResourceView))
            and (text := getattr(rule, key, None)) is not None
        }
        self._pin: dict[str, JSON] = {}
        self._default: dict[str, JSON] = {}
        self._gone: frozenset[str] = frozenset()
        self._guarded: frozenset[str] = frozenset()
        self._hidden: dict[str, bool] = {}
        self._checks: dict[str, Callable[[JSON], bool]] = {}
        self._changes: dict[str, dict[str, JSON]] = {}
        if isinstance(rule, ResourceView):
            self.shown = rule.uri or rule.resource
            return
        self.shown = rule.name or (rule.tool if isinstance(rule, ToolView) else rule.prompt)
        self._pin = cast("dict[str, JSON]", dict(rule.pin))
        self._default = cast("dict[str, JSON]", dict(rule.default))
        self._gone = frozenset(self._pin) | frozenset(rule.hide)
        if isinstance(rule, ToolView):
            narrow = cast("Mapping[str, JSONObject]", rule.narrow)
            self._checks = {name: _validator(name, schema) for name, schema in narrow.items()}
            self._changes = {name: dict(schema) for name, schema in narrow.items()}
        self._guarded = frozenset(map(folded, (*self._gone, *self._checks)))
        for name, value in self._default.items():
            self._changes.setdefault(name, {})["default"] = value

    def hides(self, argument: str) -> bool:
        """Whether an argument is not shown, however it is spelled; or is a narrowed one spelled anew."""
        if not self._guarded:
            return False
        known = self._hidden.get(argument)
        if known is None:
            known = argument not in self._checks and folded(argument) in self._guarded
            if len(argument) <= MAX_REMEMBERED:
                if len(self._hidden) >= MAX_KNOWN:
                    self._hidden = {}
                self._hidden[argument] = known
        return known

    def arguments(self, given: JSON, *, defaults: bool = True) -> JSON | Refused:
        """The arguments as the server is to get them; without `defaults` only what is pinned is added."""
        if given is None:
            known: JSONObject = EMPTY
        elif isinstance(given, (dict, Mapping)):
            known = given
        else:
            return NO_SUCH_ARGUMENT
        if self._guarded:
            hidden = self._hidden
            for name in known:
                if hidden.get(name, True) and self.hides(name):
                    return NO_SUCH_ARGUMENT
        for name, check in self._checks.items():
            if name in known and not check(known[name]):
                return Refused(
                    "argument_not_accepted",
                    f"the argument {name!r} is not what the view accepts",
                    f"The argument {name!r} is not accepted: see what is said of it in the tool's schema.",
                )
        added = {name: value for name, value in self._default.items() if defaults and name not in known}
        return {**known, **added, **self._pin} if added or self._pin else given

    def definition(self, item: JSONObject, key: str) -> JSONObject:
        """A definition as it is to be seen."""
        changed: dict[str, JSON] = {
            **item,
            **self._notes,
            key: self.shown if key != "uriTemplate" else item[key],
        }
        if key == "name" and isinstance(self.rule, ToolView):
            schema = item.get("inputSchema")
            known: JSONObject = schema if isinstance(schema, Mapping) else {"type": "object"}
            known = without_arguments(known, self._gone) if self._gone else known
            changed["inputSchema"] = with_arguments(known, self._changes)
            notes = item.get("annotations")
            if "title" in self._notes and isinstance(notes, Mapping) and "title" in notes:
                changed["annotations"] = {**notes, "title": self._notes["title"]}
        elif key == "name":
            arguments = item.get("arguments")
            if isinstance(arguments, list | tuple) and (self._gone or self._default):
                changed["arguments"] = list(self._prompt_arguments(arguments))
        return changed

    def _prompt_arguments(self, arguments: Sequence[JSON]) -> Iterator[JSON]:
        for one in arguments:
            name = one.get("name") if isinstance(one, Mapping) else None
            if isinstance(one, Mapping) and isinstance(name, str) and not self.hides(name):
                yield {**one, "required": False} if name in self._default else one


def _validator(argument: str, schema: JSONObject) -> Callable[[JSON], bool]:
    """Whether a value satisfies a schema; nothing is fetched, as it holds no reference.

    Raises:
        ValueError: If it is no JSON Schema.
    """
    jsonschema: Any = import_module("jsonschema")
    checker = jsonschema.Draft202012Validator
    try:
        checker.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise ValueError(f"narrow[{argument!r}] is no JSON Schema: {error.message}") from None
    is_valid: Callable[[JSON], bool] = checker(schema).is_valid
    return is_valid
