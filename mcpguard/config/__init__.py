"""The policy file: read, checked, described for editors; and the registry of what it may name.

Names are loaded when they are first used: pydantic and the YAML reader cost more than everything else here.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcpguard.config.policy import Built as Built
    from mcpguard.config.policy import Options as Options
    from mcpguard.config.policy import Policy as Policy
    from mcpguard.config.policy import ServerOptions as ServerOptions
    from mcpguard.config.policy import load_policy as load_policy
    from mcpguard.config.policy import parse_policy as parse_policy
    from mcpguard.config.registry import Plugin as Plugin
    from mcpguard.config.registry import Registry as Registry
    from mcpguard.config.schema import policy_schema as policy_schema

_HOMES = {
    "policy": ("Built", "Options", "Policy", "ServerOptions", "load_policy", "parse_policy"),
    "registry": ("Plugin", "Registry"),
    "schema": ("policy_schema",),
}

_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Built",
    "Options",
    "Plugin",
    "Policy",
    "Registry",
    "ServerOptions",
    "load_policy",
    "parse_policy",
    "policy_schema",
]


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'mcpguard.config' has no attribute {name!r}")
    value = getattr(import_module(f"mcpguard.config.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
