"""The JSON Schema of the policy file, for editors; made from the models that check the file."""

from collections.abc import Callable
from typing import Final, TypeAlias, cast

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from mcpguard.config.content import SCHEMA_KEY, Content
from mcpguard.config.plan import model_for
from mcpguard.config.registry import Kind, Registry
from mcpguard.config.signature import model_of
from mcpguard.config.tokens import Tokens
from mcpguard.core.errors import PluginError
from mcpguard.core.wire import JSON

__all__ = ["policy_schema"]

Schema: TypeAlias = dict[str, JSON]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def policy_schema(*, on_broken: Callable[[PluginError], None] | None = None) -> Schema:
    """The JSON Schema (draft 2020-12) of what a policy may say in this environment, plugins included.

    Args:
        on_broken: Told of each plugin that cannot be used; the schema then leaves it out. None: raise.

    Raises:
        PluginError: If an installed plugin cannot be used and `on_broken` is None.
    """
    registry = Registry()
    models: dict[tuple[Kind, str], type[BaseModel]] = {}
    for plugin in registry.plugins():
        key = (plugin.kind, plugin.name)
        if key in models:
            continue
        try:
            cls = (registry.interceptor if plugin.kind == "interceptor" else registry.sink)(plugin.name)
            models[key] = model_for(cls, registry.described(*key))
        except PluginError as error:
            if on_broken is None:
                raise
            on_broken(error)
    top = model_of(Content)
    tokens = model_of(Tokens)
    wanted = {id(model): model for model in (top, tokens, *models.values())}
    made, shared = models_json_schema([(model, "validation") for model in wanted.values()])
    references = {key: cast("Schema", made[model, "validation"]) for key, model in models.items()}
    definitions = cast("dict[str, Schema]", shared["$defs"])
    name = str(made[top, "validation"]["$ref"]).rpartition("/")[2]
    schema = definitions.pop(name)
    properties = cast("dict[str, Schema]", schema["properties"])
    properties["interceptors"] |= _closed(references, "interceptor", _one_or_several)
    one = {"minProperties": 1, "maxProperties": 1}
    properties["audit"]["items"] = _closed(references, "sink", dict) | one
    properties["principals"] |= {
        "additionalProperties": False,
        "properties": {"jwt": made[tokens, "validation"]},
    }
    properties[SCHEMA_KEY] = {"type": "string", "description": "For editors; it says nothing."}
    return {"$schema": DIALECT, "title": "mcpguard policy", **_without(schema, "title"), "$defs": definitions}


def _closed(
    references: dict[tuple[Kind, str], Schema], kind: Kind, section: Callable[[Schema], Schema]
) -> Schema:
    """A mapping with a section for each name of a kind, and no other key."""
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: section(one) for (its, name), one in references.items() if its == kind},
    }


def _one_or_several(reference: Schema) -> Schema:
    return {"anyOf": [reference, {"type": "array", "items": reference, "minItems": 1}]}


def _without(schema: Schema, key: str) -> Schema:
    return {name: member for name, member in schema.items() if name != key}
