"""For tests: fake servers, a clock, a sink, an approver, and the checks a plugin's author runs.

Names are loaded when they are first used; `mcp` is imported when a client connects to a fake server.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcpguard.testing.approver import Asked as Asked
    from mcpguard.testing.approver import ScriptedApprover as ScriptedApprover
    from mcpguard.testing.clock import FakeClock as FakeClock
    from mcpguard.testing.conformance import check_interceptor as check_interceptor
    from mcpguard.testing.fake_server import FakeServer as FakeServer
    from mcpguard.testing.gate import Gate as Gate
    from mcpguard.testing.messages import Elicit as Elicit
    from mcpguard.testing.messages import InputRequest as InputRequest
    from mcpguard.testing.messages import ListRoots as ListRoots
    from mcpguard.testing.messages import RPCError as RPCError
    from mcpguard.testing.messages import Sample as Sample
    from mcpguard.testing.messages import structured as structured
    from mcpguard.testing.messages import tool_error as tool_error
    from mcpguard.testing.script import Script as Script
    from mcpguard.testing.sinks import RecordingSink as RecordingSink
    from mcpguard.testing.store_conformance import check_store as check_store

_HOMES = {
    "approver": ("Asked", "ScriptedApprover"),
    "clock": ("FakeClock",),
    "conformance": ("check_interceptor",),
    "fake_server": ("FakeServer",),
    "gate": ("Gate",),
    "messages": ("Elicit", "InputRequest", "ListRoots", "RPCError", "Sample", "structured", "tool_error"),
    "script": ("Script",),
    "sinks": ("RecordingSink",),
    "store_conformance": ("check_store",),
}

_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Asked",
    "Elicit",
    "FakeClock",
    "FakeServer",
    "Gate",
    "InputRequest",
    "ListRoots",
    "RPCError",
    "RecordingSink",
    "Sample",
    "Script",
    "ScriptedApprover",
    "check_interceptor",
    "check_store",
    "structured",
    "tool_error",
]


def __getattr__(name: str) -> object:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'mcpguard.testing' has no attribute {name!r}")
    value = getattr(import_module(f"mcpguard.testing.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
