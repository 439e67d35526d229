"""Access control, limits and audit for MCP client sessions, inside the agent's own process.

`Guard` is where to begin. Names are loaded when they are first used, so that importing this package costs
next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcpguard.core.call import Call as Call
    from mcpguard.core.call import ToolFacts as ToolFacts
    from mcpguard.core.clock import Clock as Clock
    from mcpguard.core.errors import Denied as Denied
    from mcpguard.core.errors import GuardBuildError as GuardBuildError
    from mcpguard.core.errors import HubError as HubError
    from mcpguard.core.errors import LayerError as LayerError
    from mcpguard.core.errors import MCPGuardError as MCPGuardError
    from mcpguard.core.errors import OrderError as OrderError
    from mcpguard.core.errors import PluginError as PluginError
    from mcpguard.core.errors import PolicyError as PolicyError
    from mcpguard.core.errors import SeamError as SeamError
    from mcpguard.core.events import Event as Event
    from mcpguard.core.events import Scrubber as Scrubber
    from mcpguard.core.events import Sink as Sink
    from mcpguard.core.interceptor import CallNext as CallNext
    from mcpguard.core.interceptor import Common as Common
    from mcpguard.core.interceptor import Interceptor as Interceptor
    from mcpguard.core.interceptor import Place as Place
    from mcpguard.core.principal import Principal as Principal
    from mcpguard.core.result import Denial as Denial
    from mcpguard.core.result import Fate as Fate
    from mcpguard.core.result import Outcome as Outcome
    from mcpguard.core.result import Result as Result
    from mcpguard.core.result import WireError as WireError
    from mcpguard.core.run import Run as Run
    from mcpguard.core.run import current_run as current_run
    from mcpguard.core.scope import Match as Match
    from mcpguard.core.scope import Scope as Scope
    from mcpguard.core.verdict import ALLOW as ALLOW
    from mcpguard.core.verdict import Allow as Allow
    from mcpguard.core.verdict import Ask as Ask
    from mcpguard.core.verdict import Deny as Deny
    from mcpguard.core.verdict import Rewrite as Rewrite
    from mcpguard.core.verdict import Verdict as Verdict
    from mcpguard.core.views import Coverage as Coverage
    from mcpguard.core.views import Explanation as Explanation
    from mcpguard.core.wire import JSON as JSON
    from mcpguard.core.wire import JSONObject as JSONObject
    from mcpguard.guard import Guard as Guard
    from mcpguard.hub.hub import Hub as Hub
    from mcpguard.interceptors.access import Access as Access
    from mcpguard.interceptors.access import AccessRule as AccessRule
    from mcpguard.interceptors.budget import Budget as Budget
    from mcpguard.interceptors.budget import Price as Price
    from mcpguard.interceptors.budget import Usage as Usage
    from mcpguard.interceptors.circuit_breaker import CircuitBreaker as CircuitBreaker
    from mcpguard.interceptors.concurrency import Concurrency as Concurrency
    from mcpguard.interceptors.credentials import Credential as Credential
    from mcpguard.interceptors.credentials import Credentials as Credentials
    from mcpguard.interceptors.deadline import Deadline as Deadline
    from mcpguard.interceptors.loop_detector import LoopDetector as LoopDetector
    from mcpguard.interceptors.loop_detector import LoopThresholds as LoopThresholds
    from mcpguard.interceptors.rate_limit import RateLimit as RateLimit
    from mcpguard.interceptors.result_cache import ResultCache as ResultCache
    from mcpguard.interceptors.retry import Retry as Retry
    from mcpguard.interceptors.view import PromptView as PromptView
    from mcpguard.interceptors.view import ResourceView as ResourceView
    from mcpguard.interceptors.view import ToolView as ToolView
    from mcpguard.interceptors.view import View as View
    from mcpguard.sinks.jsonl import JsonLines as JsonLines
    from mcpguard.sinks.logging import Logging as Logging
    from mcpguard.tokens.oauth import ClientCredentials as ClientCredentials
    from mcpguard.tokens.oauth import TokenExchange as TokenExchange
    from mcpguard.tokens.secret import Secret as Secret
    from mcpguard.tokens.secret import Token as Token
    from mcpguard.tokens.source import Keyring as Keyring

_HOMES = {
    "core.call": ("Call", "ToolFacts"),
    "core.clock": ("Clock",),
    "core.errors": (
        "Denied",
        "GuardBuildError",
        "HubError",
        "LayerError",
        "MCPGuardError",
        "OrderError",
        "PluginError",
        "PolicyError",
        "SeamError",
    ),
    "core.events": ("Event", "Scrubber", "Sink"),
    "core.interceptor": ("CallNext", "Common", "Interceptor", "Place"),
    "core.principal": ("Principal",),
    "core.result": ("Denial", "Fate", "Outcome", "Result", "WireError"),
    "core.run": ("Run", "current_run"),
    "core.scope": ("Match", "Scope"),
    "core.verdict": ("ALLOW", "Allow", "Ask", "Deny", "Rewrite", "Verdict"),
    "core.views": ("Coverage", "Explanation"),
    "core.wire": ("JSON", "JSONObject"),
    "guard": ("Guard",),
    "hub.hub": ("Hub",),
    "interceptors.access": ("Access", "AccessRule"),
    "interceptors.budget": ("Budget", "Price", "Usage"),
    "interceptors.circuit_breaker": ("CircuitBreaker",),
    "interceptors.concurrency": ("Concurrency",),
    "interceptors.credentials": ("Credential", "Credentials"),
    "interceptors.deadline": ("Deadline",),
    "interceptors.loop_detector": ("LoopDetector", "LoopThresholds"),
    "interceptors.rate_limit": ("RateLimit",),
    "interceptors.result_cache": ("ResultCache",),
    "interceptors.retry": ("Retry",),
    "interceptors.view": ("PromptView", "ResourceView", "ToolView", "View"),
    "sinks.jsonl": ("JsonLines",),
    "sinks.logging": ("Logging",),
    "tokens.oauth": ("ClientCredentials", "TokenExchange"),
    "tokens.secret": ("Secret", "Token"),
    "tokens.source": ("Keyring",),
}

_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted([*_HOME_OF, "__version__"])  # noqa: PLE0605  # pyright: ignore[reportUnsupportedDunderAll] - names load on use


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("mcpguard-inline")
        except PackageNotFoundError:
            return "unknown"
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'mcpguard' has no attribute {name!r}")
    value = getattr(import_module(f"mcpguard.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
