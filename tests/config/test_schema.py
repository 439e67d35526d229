"""The JSON Schema of the policy file: it accepts what the reader accepts."""

import json
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from mcpguard import PolicyError
from mcpguard.config import parse_policy, policy_schema
from mcpguard.config.registry import BUILT_IN

VALID = [
    "version: 1",
    "version: 1\nservers: {git: {}, web: {shared: true}}",
    "version: 1\ninterceptors: {budget: {calls: 3, id: a, mode: audit, fail_open: true}}",
    "version: 1\ninterceptors: {budget: [{calls: 3}, {per: run}]}",
    "version: 1\ninterceptors: {access: {default: deny, allow: [{servers: [git], tools: ['*']}]}}",
    "version: 1\naudit: [jsonl: {path: x}, logging: {level: info}]\non_deny: raise\nanonymous: allow",
    "$schema: policy.schema.json\nversion: 1",
]

INVALID = [
    "{}",
    "version: 2",
    "version: 1\ntrust: {}",
    "version: 1\nservers: {git: {shard: true}}",
    "version: 1\ninterceptors: {budgets: {}}",
    "version: 1\ninterceptors: {budget: {cals: 3}}",
    "version: 1\ninterceptors: {budget: {calls: '3'}}",
    "version: 1\ninterceptors: {budget: []}",
    "version: 1\ninterceptors: {access: {}}",
    "version: 1\ninterceptors: {access: {default: deny, allow: [{tols: []}]}}",
    "version: 1\naudit: [{}]",
    "version: 1\naudit: [jsonl: {}]",
    "version: 1\naudit: [jsonl: {path: x}, csv: {}]",
    "version: 1\naudit: [{jsonl: {path: x}, logging: {}}]",
    "version: 1\non_deny: maybe",
]


@pytest.fixture(scope="module")
def validator() -> Any:
    """Of the schema, which is a schema."""
    schema = json.loads(json.dumps(policy_schema()))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize("text", VALID)
def test_the_schema_accepts_what_is_a_policy(validator: Any, text: str) -> None:
    """An editor that marks a valid line is switched off."""
    parse_policy(text)
    assert list(validator.iter_errors(yaml.safe_load(text))) == []


@pytest.mark.parametrize("text", INVALID)
def test_the_schema_refuses_what_types_and_names_refuse(validator: Any, text: str) -> None:
    """What only a constructor knows, it cannot."""
    with pytest.raises(PolicyError):
        parse_policy(text)
    assert list(validator.iter_errors(yaml.safe_load(text))) != []


def test_every_key_is_described(validator: Any) -> None:
    """By the docstrings."""
    schema = validator.schema
    for model in (schema, *schema["$defs"].values()):
        for name, member in model.get("properties", {}).items():
            assert member.get("description"), name


def test_the_schema_has_a_section_for_each_name(validator: Any) -> None:
    """As the registry has them."""
    properties = validator.schema["properties"]
    assert set(properties["interceptors"]["properties"]) == set(BUILT_IN["interceptor"])
    assert set(properties["audit"]["items"]["properties"]) == {
        "jsonl",
        "logging",
        "nats",
        "otel",
        "postgres",
        "sqlite",
        "webhook",
    }
