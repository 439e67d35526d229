"""From a parameter's type to the type that pydantic shall validate, as strictly as a file allows.

Numbers are not text, booleans are not numbers, a single word is not a list. What no file can express is
refused here; what becomes of such a parameter is decided in `signature`.
"""

import enum
import os
import types
import typing
from collections import abc
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from os import PathLike
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias, Union, cast, get_args, get_origin

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, Strict, ValidationInfo
from pydantic_core import PydanticCustomError

__all__ = ["FOLDER", "SCALARS", "Nested", "NotData", "data_type"]

FOLDER: Final = "folder"
"""Key of the validation context: the folder that relative paths start from."""

SCALARS: Final = (str, bool, int, float)

Nested: TypeAlias = Callable[[type], object]
"""Gives the type to validate for a dataclass."""

_SEQUENCES: Final = (list, abc.Sequence, abc.MutableSequence, abc.Collection, abc.Iterable)
_SETS: Final = (set, frozenset, abc.Set, abc.MutableSet)
_MAPPINGS: Final = (dict, abc.Mapping, abc.MutableMapping)


class NotData(TypeError):  # noqa: N818 - it becomes a PluginError
    """A class takes something that a policy file cannot give."""


def data_type(hint: object, nested: Nested) -> object:
    """The type pydantic shall validate for a parameter annotated `hint`.

    Args:
        hint: A resolved annotation.
        nested: Called for dataclasses.

    Raises:
        NotData: If no file can express it.
    """
    origin = get_origin(hint)
    members = get_args(hint)
    if hint is None or hint is type(None):
        return None
    if _is_one_of(hint, SCALARS):
        return Annotated[hint, Strict()]
    if _is_one_of(hint, (object, typing.Any)) or isinstance(hint, typing.ForwardRef):
        return JsonValue
    if origin is Annotated:
        return Annotated[data_type(members[0], nested), *members[1:]]
    if origin is Literal:
        return Annotated[hint, BeforeValidator(_exactly(members))]
    if origin in (Union, types.UnionType):
        return _union(members, nested)
    if _is_path(hint):
        return Annotated[str, Strict(), Field(min_length=1), AfterValidator(_resolved_path)]
    if _is_one_of(origin or hint, (tuple, *_SEQUENCES, *_SETS, *_MAPPINGS)):
        return _container(origin or hint, members, nested)
    if isinstance(hint, type):
        return _class(cast("type[object]", hint), nested)
    named: object = getattr(hint, "__supertype__", None) or getattr(hint, "__value__", None)
    if named is None:
        raise NotData(f"a file cannot give a {hint}")
    return data_type(named, nested)


def _class(hint: type[object], nested: Nested) -> object:
    if issubclass(hint, enum.Enum):
        return hint
    if is_dataclass(hint):
        return nested(hint)
    raise NotData(f"a file cannot give a {hint.__name__}")


def _union(members: tuple[object, ...], nested: Nested) -> object:
    if {str, int, float, bool, type(None)} <= set(members) and len(members) > 5:
        return JsonValue
    if any(map(_is_path, members)):
        path: object = Annotated[str, Strict(), Field(min_length=1), AfterValidator(_resolved)]
        return Union[path, None] if type(None) in members else path  # noqa: UP007 - a value
    kept: list[object] = []
    for member in members:
        try:
            kept.append(data_type(member, nested))
        except NotData:
            continue
    if not any(member is not None for member in kept):
        raise NotData("none of the types it may have can be written in a file")
    return Union[tuple(kept)]  # noqa: UP007 - made at run time


def _container(origin: object, members: tuple[object, ...], nested: Nested) -> object:
    if _is_one_of(origin, _MAPPINGS):
        members = members or (str, object)
        if members[0] is not str:
            raise NotData("a file's mappings have text as keys")
        return dict[str, data_type(members[1], nested)]  # type: ignore[misc]
    members = members or (object, ...)
    if origin is tuple and members[-1] is not Ellipsis:
        return tuple[tuple(data_type(member, nested) for member in members)]  # type: ignore[misc]
    member = data_type(members[0], nested)
    if _is_one_of(origin, _SETS):
        return frozenset[member]  # type: ignore[valid-type]
    return tuple[member, ...]  # type: ignore[valid-type]


def _is_one_of(hint: object, options: tuple[object, ...]) -> bool:
    return any(hint is option for option in options)


def _exactly(options: tuple[object, ...]) -> Callable[[object], object]:
    """Refuse `true` and `1.0` where `1` is meant: equal in Python, different in a file."""

    def check(value: object) -> object:
        if any(value == option and type(value) is not type(option) for option in options):
            raise PydanticCustomError("literal_error", "", {"expected": " or ".join(map(repr, options))})
        return value

    return check


def _is_path(hint: object) -> bool:
    return hint is Path or (get_origin(hint) or hint) is PathLike


def _resolved(value: str, info: ValidationInfo) -> str:
    """A path from the file; a relative one starts from the file's own folder. A slash at its end stays."""
    folder = cast("Mapping[str, Path]", info.context or {})[FOLDER]
    try:
        path = folder / Path(value).expanduser()
    except RuntimeError as error:
        raise PydanticCustomError("refused", "{message}", {"message": str(error)}) from error
    return f"{path}{os.sep}" if value[-1] in ("/", os.sep) else str(path)


def _resolved_path(value: str, info: ValidationInfo) -> Path:
    return Path(_resolved(value, info))
