"""Sections derived from constructors: what the file can say, Python can say, and the other way round."""

import enum
import inspect
import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NewType, TypedDict, Unpack

import pytest
from pydantic import Field, ValidationError

from mcpguard import (
    JSON,
    Access,
    AccessRule,
    Budget,
    Common,
    Interceptor,
    JsonLines,
    JSONObject,
    Logging,
    SQLite,
)
from mcpguard.config.from_json import read as from_json
from mcpguard.config.hints import FOLDER, NotData
from mcpguard.config.plan import check_section
from mcpguard.config.signature import arguments, model_of

Label = NewType("Label", str)


class Colour(enum.Enum):
    """Two of them."""

    RED = "red"
    BLUE = "blue"


class Clock:
    """Something no file can give."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Args:
        name: What it is about, in
            one line or two.
        weight: How much.
    """

    name: str
    _: KW_ONLY
    weight: float = 1.0
    _hidden: Callable[[], None] | None = field(init=False, repr=False, default=None)

    def __post_init__(self) -> None:
        if self.weight < 0:
            raise ValueError("weight is not negative")


class Everything(Interceptor):
    """Take one of each.

    More that is not the summary.

    Args:
        text: Some text.
        schema: Called like a method of pydantic's models.
        **common: As for every interceptor.

    Raises:
        ValueError: Never.
    """

    def __init__(
        self,
        text: str,
        *,
        schema: int = 3,
        copy: float | None = None,
        rules: Sequence[Rule] = (),
        by_name: Mapping[str, Rule] | None = None,
        words: Collection[str] | str = (),
        either: Literal["a", "b", 3] = "a",
        pair: tuple[int, str] = (1, "a"),
        bag: frozenset[str] = frozenset(),
        colour: Colour = Colour.RED,
        document: JSONObject | None = None,
        anything: object = None,
        loose: list = [],  # type: ignore[type-arg]  # noqa: B006
        options: dict[str, Any] | None = None,
        label: Label = Label("x"),
        small: Annotated[int, Field(le=10)] = 1,
        file: Path = Path("x"),
        place_or_text: "str | os.PathLike[str] | None" = None,
        clock: Clock | None = None,
        on_event: Callable[[], None] = print,
        things: Iterable[Clock] = (),
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        self.given = dict(locals())


def read(cls: type, section: Mapping[str, object]) -> dict[str, object]:
    """The keyword arguments that a section becomes."""
    return arguments(model_of(cls).model_validate(section, context={FOLDER: Path("/etc/guard")}))


def test_a_section_becomes_keyword_arguments_of_the_types_the_constructor_asks_for() -> None:
    """Lists become tuples, mappings the dataclasses they describe, paths start from the file's folder."""
    given = {
        "text": "x",
        "schema": 4,
        "copy": 1,
        "rules": [{"name": "a"}, {"name": "b", "weight": 2}],
        "by_name": {"c": {"name": "d"}},
        "words": ["x"],
        "either": 3,
        "pair": [2, "b"],
        "bag": ["x", "x"],
        "colour": "blue",
        "document": {"type": ["object", None], "n": {"m": [1.5, True]}},
        "anything": [1],
        "loose": [1, "a"],
        "options": {"a": [1]},
        "label": "y",
        "small": 10,
        "file": "audit/x.jsonl",
        "place_or_text": "audit.d/",
        "id": "one",
        "mode": "audit",
        "fail_open": True,
    }

    found = read(Everything, given)

    assert found == given | {
        "rules": (Rule("a"), Rule("b", weight=2)),
        "by_name": {"c": Rule("d")},
        "words": ("x",),
        "pair": (2, "b"),
        "bag": frozenset({"x"}),
        "colour": Colour.BLUE,
        "loose": (1, "a"),
        "file": Path("/etc/guard/audit/x.jsonl"),
        "place_or_text": "/etc/guard/audit.d/",
    }
    made = Everything(**found)  # type: ignore[arg-type]
    assert (made.id, made.mode, made.fail_open) == ("one", "audit", True)


def test_what_is_left_out_is_left_to_the_constructor() -> None:
    """Its defaults are its own business; some tell a default from a value that somebody wrote."""
    assert read(Everything, {"text": "x"}) == {"text": "x"}


@pytest.mark.parametrize(
    "section",
    [
        {},
        {"text": 1},
        {"text": "x", "schema": "4"},
        {"text": "x", "schema": True},
        {"text": "x", "schema": 4.0},
        {"text": "x", "copy": "1"},
        {"text": "x", "copy": True},
        {"text": "x", "rules": {"name": "a"}},
        {"text": "x", "rules": [{"name": "a", "wight": 1}]},
        {"text": "x", "rules": [{"name": "a", "weight": -1}]},
        {"text": "x", "rules": [{"name": "a", "_hidden": None}]},
        {"text": "x", "either": "3"},
        {"text": "x", "either": 3.0},
        {"text": "x", "pair": [1]},
        {"text": "x", "colour": "green"},
        {"text": "x", "small": 11},
        {"text": "x", "file": ""},
        {"text": "x", "clock": None},
        {"text": "x", "on_event": "print"},
        {"text": "x", "things": []},
        {"text": "x", "self": 1},
    ],
)
def test_what_the_types_do_not_say_is_refused(section: Mapping[str, object]) -> None:
    """No conversion, no key nobody knows, and nothing that only Python can give."""
    with pytest.raises(ValidationError):
        read(Everything, section)


@pytest.mark.parametrize("cls", [Access, Budget, JsonLines, SQLite, Logging, AccessRule])
def test_the_built_ins_say_in_a_file_all_they_say_in_python(cls: type) -> None:
    """The design: what the file can say, Python can say, and the other way round. Stores and clocks are Python's."""
    parameters = set(inspect.signature(cls).parameters) - {"store", "clock"}
    if issubclass(cls, Interceptor):
        parameters = parameters - {"common"} | set(Common.__annotations__)
    schema = model_of(cls).model_json_schema()
    assert set(schema["properties"]) == parameters
    assert all(member.get("description") for member in schema["properties"].values())


def test_descriptions_and_defaults_come_from_docstring_and_signature() -> None:
    """An editor shows what the author wrote once."""
    schema = model_of(Everything).model_json_schema()
    properties = schema["properties"]

    assert schema["description"] == "Take one of each."
    assert schema["additionalProperties"] is False
    assert schema["required"] == ["text"]
    assert properties["text"]["description"] == "Some text."
    assert properties["schema"]["default"] == 3
    assert properties["mode"]["default"] == "enforce"
    assert properties["fail_open"]["description"].startswith("Whether a call goes on")
    assert properties["colour"]["$ref"].endswith("/Colour")
    rule = schema["$defs"]["Rule"]
    assert rule["properties"]["name"]["description"] == "What it is about, in one line or two."
    assert set(rule["properties"]) == {"name", "weight"}


class NeedsClock(Interceptor):
    """Cannot be written in a file."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock


class Untyped(Interceptor):
    """Says nothing of its parameter."""

    def __init__(self, limit=3) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        super().__init__()
        self.limit = limit


class Open(Interceptor):
    """Takes whatever comes."""

    def __init__(self, **options: object) -> None:
        super().__init__()
        self.options = options


class ByPosition(Interceptor):
    """Takes its rules by position."""

    def __init__(self, *rules: str) -> None:
        super().__init__()
        self.rules = rules


class Unresolved(Interceptor):
    """Names a type that is not there at run time."""

    def __init__(self, rule: "Missing") -> None:  # type: ignore[name-defined]  # noqa: F821
        super().__init__()
        self.rule = rule


@dataclass(frozen=True)
class Tree:
    """Contains itself."""

    branches: "Sequence[Tree]" = ()


class Endless(Interceptor):
    """Takes a tree."""

    def __init__(self, tree: Tree) -> None:
        super().__init__()
        self.tree = tree


class IntKeys(Interceptor):
    """Takes a mapping that no file has."""

    def __init__(self, limits: dict[int, int]) -> None:
        super().__init__()
        self.limits = limits


class Streams(Interceptor):
    """Takes one of two things no file has."""

    def __init__(self, stream: Clock | Callable[[], None]) -> None:
        super().__init__()
        self.stream = stream


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (NeedsClock, "'clock' is required, and a file cannot give a Clock"),
        (Untyped, "'limit' has no type"),
        (Open, "annotate it, as Unpack"),
        (ByPosition, "takes 'rules' by position"),
        (Unresolved, "name 'Missing' is not defined"),
        (IntKeys, "mappings have text as keys"),
        (Streams, "none of the types"),
    ],
)
def test_a_constructor_that_no_file_can_call_is_refused_with_the_reason(cls: type, message: str) -> None:
    """Rather than half of it being configurable."""
    with pytest.raises(NotData, match=message):
        model_of(cls)


def test_a_dataclass_that_contains_itself_is_refused() -> None:
    """Leaving the inner one out would be half a rule."""
    with pytest.raises(TypeError, match="Tree contains itself"):
        model_of(Endless)


class Further(TypedDict):
    """Options of one family."""

    depth: int


class WithFurther(Interceptor):
    """Spells its options as a typed dictionary of its own."""

    def __init__(self, **options: Unpack[Further]) -> None:
        super().__init__()
        self.depth = options["depth"]


def test_options_in_a_typed_dictionary_are_options() -> None:
    """`Unpack` of anything, not of `Common` alone."""
    assert read(WithFurther, {"depth": 2}) == {"depth": 2}
    with pytest.raises(ValidationError):
        read(WithFurther, {})


class Plain(Interceptor):
    """Has no constructor of its own."""


def test_an_interceptor_without_a_constructor_takes_the_common_options() -> None:
    """Inherited from `Interceptor`."""
    assert read(Plain, {"id": "x", "mode": "audit"}) == {"id": "x", "mode": "audit"}


class Choosy(Interceptor):
    """Take a rule or its name."""

    def __init__(self, *, about: Rule | str | None = None, home: Path = Path()) -> None:
        super().__init__()
        self.about = about
        self.home = home


def told(section: JSON) -> list[str]:
    """What is wrong with a section of `choosy`."""
    node, _ = from_json(json.dumps(section))
    found = check_section(
        Choosy,
        node,
        name="choosy",
        described="choosy",
        path=("choosy",),
        source="policy.json",
        folder=Path("/etc"),
    )
    assert isinstance(found, list)
    return [problem.message for problem in found]


def test_of_several_types_the_one_that_comes_nearest_is_explained() -> None:
    """A mapping with a wrong key was meant as the mapping, not as the text."""
    assert told({"about": {"name": "x", "wight": 1}}) == [
        "choosy.about: unknown key 'wight'; did you mean 'weight'? accepted here: name, weight"
    ]
    assert told({"about": 3}) == [
        "choosy.about: expected a mapping or text, got a whole number; put it in quotes"
    ]
    assert told({"about": {"name": "x", "weight": -1}}) == ["choosy.about: weight is not negative"]


def test_a_home_that_nobody_has_is_an_error_of_the_file() -> None:
    """Not a RuntimeError of pathlib."""
    (message,) = told({"home": "~nobody-of-that-name/x"})
    assert message.startswith("choosy.home: Could not determine home")
