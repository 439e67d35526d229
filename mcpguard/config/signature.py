"""From a constructor's signature to a pydantic model: what a section of the policy file may say.

The author of an interceptor or sink writes an ordinary constructor, with types and a docstring; nothing here
asks for pydantic. Parameters that no file can express (a store, a clock, a callable) are left to Python if
they have a default, and make the class unusable in a file if they have none.
"""

import inspect
import typing
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import cache
from typing import Annotated, Final, TypeVar, cast, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, create_model
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from mcpguard.config.docstrings import descriptions, summary
from mcpguard.config.hints import SCALARS, NotData, data_type

__all__ = ["arguments", "made", "model_of"]

T = TypeVar("T")

_CONFIG: Final = ConfigDict(
    extra="forbid",
    frozen=True,
    field_title_generator=lambda _name, info: str(getattr(info, "alias", "")),
)

_FIELD: Final = "p_"
"""Keeps a parameter called `copy` or `schema` away from the model's own methods."""

_above: ContextVar[tuple[type, ...]] = ContextVar("mcpguard_models", default=())
"""The classes whose models are being made, outermost first."""


@cache
def model_of(cls: type) -> type[BaseModel]:
    """The model of what `cls(...)` takes.

    Raises:
        NotData: If a parameter without default has a type that a file cannot express, or none.
        TypeError: If it is a dataclass that contains itself.
    """
    above = _above.get()
    if cls in above:
        raise TypeError(f"{cls.__name__} contains itself")
    token = _above.set((*above, cls))
    try:
        fields = {f"{_FIELD}{name}": definition for name, definition in _fields(cls)}
    except (NameError, AttributeError) as error:
        raise NotData(f"its annotations cannot be read at run time: {error}") from error
    except ValueError as error:
        raise NotData(f"its constructor has no signature: {error}") from error
    finally:
        _above.reset(token)
    make = cast("_CreateModel", create_model)
    return make(cls.__name__, __config__=_CONFIG, __module__=cls.__module__, __doc__=summary(cls), **fields)


def arguments(model: BaseModel) -> dict[str, object]:
    """What the file gave, as keyword arguments for the constructor; its own defaults stay its own."""
    return {name.removeprefix(_FIELD): getattr(model, name) for name in sorted(model.model_fields_set)}


def made(cls: type[T], model: BaseModel) -> T:
    """An instance of `cls` from what its model has validated."""
    return cls(**arguments(model))


class _CreateModel(typing.Protocol):
    def __call__(
        self, name: str, /, *, __config__: ConfigDict, __module__: str, __doc__: str, **fields: object
    ) -> type[BaseModel]: ...


def _fields(cls: type) -> Iterator[tuple[str, object]]:
    constructor = cast("Callable[..., None]", getattr(cls, "__init__"))  # noqa: B009
    names = {"JSON": object, **getattr(inspect.unwrap(constructor), "__globals__", {})}
    hints = typing.get_type_hints(constructor, names, include_extras=True)
    described = descriptions(cls)
    for parameter in inspect.signature(cls).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            yield from _common(cls, hints.get(parameter.name), parameter.name, described)
            continue
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY):
            raise NotData(f"it takes {parameter.name!r} by position, and a file gives names")
        required = parameter.default is parameter.empty
        if parameter.name not in hints:
            raise NotData(f"its parameter {parameter.name!r} has no type")
        try:
            hint = data_type(hints[parameter.name], _nested)
        except NotData as error:
            if required:
                raise NotData(f"its parameter {parameter.name!r} is required, and {error}") from None
            continue
        yield (
            parameter.name,
            (
                hint,
                _field(parameter.name, described, required=required, default=parameter.default),
            ),
        )


def _common(
    cls: type, hint: object, name: str, described: Mapping[str, str]
) -> Iterator[tuple[str, tuple[object, FieldInfo]]]:
    """The members of `**name: Unpack[Some]`."""
    members = get_args(hint)
    if get_origin(hint) is not typing.Unpack or not typing.is_typeddict(members[0]):
        raise NotData(f"it takes **{name} without saying which: annotate it, as Unpack[Common]")
    required: frozenset[str] = members[0].__required_keys__
    for key, member in typing.get_type_hints(members[0]).items():
        default = getattr(cls, key, None)
        yield (
            key,
            (data_type(member, _nested), _field(key, described, required=key in required, default=default)),
        )


def _field(name: str, described: Mapping[str, str], *, required: bool, default: object) -> FieldInfo:
    extra: dict[str, JsonValue] = {}
    if isinstance(default, SCALARS):
        extra["default"] = default
    made: object = (
        Field(alias=name, description=described.get(name), json_schema_extra=extra)
        if required
        else Field(
            alias=name,
            description=described.get(name),
            json_schema_extra=extra,
            default_factory=lambda: default,
        )
    )
    return cast("FieldInfo", made)


def _nested(cls: type) -> object:
    """The type to validate for a dataclass: its model, and then an instance made from that."""

    def make(model: BaseModel) -> object:
        try:
            return cls(**arguments(model))
        except (TypeError, ValueError) as error:
            raise PydanticCustomError("refused", "{message}", {"message": str(error)}) from error

    return Annotated[model_of(cls), AfterValidator(make)]
