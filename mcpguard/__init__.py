"""Access control, limits and audit for MCP client sessions, inside the agent's own process.

`Guard` is where to begin. Names are loaded when they are first used, so that importing this package costs
next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcpguard.approvers.elicitation import ElicitationApprover as ElicitationApprover
    from mcpguard.approvers.terminal import TerminalApprover as TerminalApprover
    from mcpguard.config.tokens import ClaimMap as ClaimMap
    from mcpguard.config.tokens import Tokens as Tokens
    from mcpguard.core.call import Call as Call
    from mcpguard.core.clock import Clock as Clock
    from mcpguard.core.connection_limits import ConnectionLimits as ConnectionLimits
    from mcpguard.core.errors import Denied as Denied
    from mcpguard.core.errors import GuardBuildError as GuardBuildError
    from mcpguard.core.errors import HubError as HubError
    from mcpguard.core.errors import LayerError as LayerError
    from mcpguard.core.errors import MCPGuardError as MCPGuardError
    from mcpguard.core.errors import OrderError as OrderError
    from mcpguard.core.errors import PluginError as PluginError
    from mcpguard.core.errors import PolicyError as PolicyError
    from mcpguard.core.errors import Problem as Problem
    from mcpguard.core.errors import SeamError as SeamError
    from mcpguard.core.errors import StoreError as StoreError
    from mcpguard.core.errors import StoreFormatError as StoreFormatError
    from mcpguard.core.errors import StoreFull as StoreFull
    from mcpguard.core.errors import TokenRefused as TokenRefused
    from mcpguard.core.events import Event as Event
    from mcpguard.core.events import Scrubber as Scrubber
    from mcpguard.core.events import Sink as Sink
    from mcpguard.core.host import Host as Host
    from mcpguard.core.interceptor import CallNext as CallNext
    from mcpguard.core.interceptor import Common as Common
    from mcpguard.core.interceptor import Handles as Handles
    from mcpguard.core.interceptor import Interceptor as Interceptor
    from mcpguard.core.interceptor import Mode as Mode
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
    from mcpguard.core.servers import Labelled as Labelled
    from mcpguard.core.servers import ServerOptions as ServerOptions
    from mcpguard.core.servers import ToolOptions as ToolOptions
    from mcpguard.core.tool_facts import ToolFacts as ToolFacts
    from mcpguard.core.verdict import ALLOW as ALLOW
    from mcpguard.core.verdict import Allow as Allow
    from mcpguard.core.verdict import Ask as Ask
    from mcpguard.core.verdict import Deny as Deny
    from mcpguard.core.verdict import Rewrite as Rewrite
    from mcpguard.core.verdict import Verdict as Verdict
    from mcpguard.core.views import ConnectionView as ConnectionView
    from mcpguard.core.views import Coverage as Coverage
    from mcpguard.core.views import Explanation as Explanation
    from mcpguard.core.views import HookView as HookView
    from mcpguard.core.views import StepView as StepView
    from mcpguard.core.wire import JSON as JSON
    from mcpguard.core.wire import Direction as Direction
    from mcpguard.core.wire import JSONObject as JSONObject
    from mcpguard.detectors.findings import Finding as Finding
    from mcpguard.detectors.redactor import Redactor as Redactor
    from mcpguard.guard import Guard as Guard
    from mcpguard.hub.hub import Hub as Hub
    from mcpguard.interceptors.access import Access as Access
    from mcpguard.interceptors.access import AccessRule as AccessRule
    from mcpguard.interceptors.approval import Approval as Approval
    from mcpguard.interceptors.approval import ApprovalRequest as ApprovalRequest
    from mcpguard.interceptors.approval import ApprovalRule as ApprovalRule
    from mcpguard.interceptors.approval import Approved as Approved
    from mcpguard.interceptors.approval import Approver as Approver
    from mcpguard.interceptors.approval import Declined as Declined
    from mcpguard.interceptors.argument_rules import Accepted as Accepted
    from mcpguard.interceptors.argument_rules import ArgumentRule as ArgumentRule
    from mcpguard.interceptors.argument_rules import ArgumentRules as ArgumentRules
    from mcpguard.interceptors.argument_rules import PathRule as PathRule
    from mcpguard.interceptors.argument_rules import UrlRule as UrlRule
    from mcpguard.interceptors.budget import Budget as Budget
    from mcpguard.interceptors.budget import Price as Price
    from mcpguard.interceptors.budget import Usage as Usage
    from mcpguard.interceptors.circuit_breaker import CircuitBreaker as CircuitBreaker
    from mcpguard.interceptors.concurrency import Concurrency as Concurrency
    from mcpguard.interceptors.credentials import Credential as Credential
    from mcpguard.interceptors.credentials import Credentials as Credentials
    from mcpguard.interceptors.deadline import Deadline as Deadline
    from mcpguard.interceptors.flow_control import ContentLabel as ContentLabel
    from mcpguard.interceptors.flow_control import DestinationRule as DestinationRule
    from mcpguard.interceptors.flow_control import FlowControl as FlowControl
    from mcpguard.interceptors.flow_control import FlowRule as FlowRule
    from mcpguard.interceptors.inbound_requests import ElicitationRule as ElicitationRule
    from mcpguard.interceptors.inbound_requests import InboundRequests as InboundRequests
    from mcpguard.interceptors.inbound_requests import RootsRule as RootsRule
    from mcpguard.interceptors.inbound_requests import SamplingRule as SamplingRule
    from mcpguard.interceptors.injection_scan import InjectionDetector as InjectionDetector
    from mcpguard.interceptors.injection_scan import InjectionScan as InjectionScan
    from mcpguard.interceptors.loop_detector import LoopDetector as LoopDetector
    from mcpguard.interceptors.loop_detector import LoopThresholds as LoopThresholds
    from mcpguard.interceptors.rate_limit import RateLimit as RateLimit
    from mcpguard.interceptors.redaction import Redaction as Redaction
    from mcpguard.interceptors.result_cache import ResultCache as ResultCache
    from mcpguard.interceptors.result_limit import ResultCap as ResultCap
    from mcpguard.interceptors.result_limit import ResultLimit as ResultLimit
    from mcpguard.interceptors.retry import Retry as Retry
    from mcpguard.interceptors.text_hygiene import TextHygiene as TextHygiene
    from mcpguard.interceptors.tool_pinning import ToolPinning as ToolPinning
    from mcpguard.interceptors.tracing import Tracing as Tracing
    from mcpguard.interceptors.view import PromptView as PromptView
    from mcpguard.interceptors.view import ResourceView as ResourceView
    from mcpguard.interceptors.view import ToolView as ToolView
    from mcpguard.interceptors.view import View as View
    from mcpguard.sinks.jsonl import JsonLines as JsonLines
    from mcpguard.sinks.logging import Logging as Logging
    from mcpguard.sinks.nats import JetStream as JetStream
    from mcpguard.sinks.otel import OpenTelemetryLogs as OpenTelemetryLogs
    from mcpguard.sinks.postgres import PostgreSQL as PostgreSQL
    from mcpguard.sinks.sqlite import SQLite as SQLite
    from mcpguard.sinks.webhook import Webhook as Webhook
    from mcpguard.stores.opening import open_store as open_store
    from mcpguard.stores.store import Account as Account
    from mcpguard.stores.store import Amounts as Amounts
    from mcpguard.stores.store import Hold as Hold
    from mcpguard.stores.store import Limits as Limits
    from mcpguard.stores.store import Pace as Pace
    from mcpguard.stores.store import Record as Record
    from mcpguard.stores.store import Refusal as Refusal
    from mcpguard.stores.store import Store as Store
    from mcpguard.tokens.oauth import ClientCredentials as ClientCredentials
    from mcpguard.tokens.oauth import TokenExchange as TokenExchange
    from mcpguard.tokens.secret import Secret as Secret
    from mcpguard.tokens.secret import Token as Token
    from mcpguard.tokens.source import Keyring as Keyring

_HOMES = {
    "approvers.elicitation": ("ElicitationApprover",),
    "approvers.terminal": ("TerminalApprover",),
    "config.tokens": ("ClaimMap", "Tokens"),
    "core.call": ("Call",),
    "core.clock": ("Clock",),
    "core.connection_limits": ("ConnectionLimits",),
    "core.errors": (
        "Denied",
        "GuardBuildError",
        "HubError",
        "LayerError",
        "MCPGuardError",
        "OrderError",
        "PluginError",
        "PolicyError",
        "Problem",
        "SeamError",
        "StoreError",
        "StoreFormatError",
        "StoreFull",
        "TokenRefused",
    ),
    "core.events": ("Event", "Scrubber", "Sink"),
    "core.host": ("Host",),
    "core.interceptor": ("CallNext", "Common", "Handles", "Interceptor", "Mode", "Place"),
    "core.principal": ("Principal",),
    "core.result": ("Denial", "Fate", "Outcome", "Result", "WireError"),
    "core.run": ("Run", "current_run"),
    "core.scope": ("Match", "Scope"),
    "core.servers": ("Labelled", "ServerOptions", "ToolOptions"),
    "core.tool_facts": ("ToolFacts",),
    "core.verdict": ("ALLOW", "Allow", "Ask", "Deny", "Rewrite", "Verdict"),
    "core.views": ("ConnectionView", "Coverage", "Explanation", "HookView", "StepView"),
    "core.wire": ("JSON", "Direction", "JSONObject"),
    "detectors.findings": ("Finding",),
    "detectors.redactor": ("Redactor",),
    "guard": ("Guard",),
    "hub.hub": ("Hub",),
    "interceptors.access": ("Access", "AccessRule"),
    "interceptors.approval": (
        "Approval",
        "ApprovalRequest",
        "ApprovalRule",
        "Approved",
        "Approver",
        "Declined",
    ),
    "interceptors.argument_rules": ("Accepted", "ArgumentRule", "ArgumentRules", "PathRule", "UrlRule"),
    "interceptors.budget": ("Budget", "Price", "Usage"),
    "interceptors.circuit_breaker": ("CircuitBreaker",),
    "interceptors.concurrency": ("Concurrency",),
    "interceptors.credentials": ("Credential", "Credentials"),
    "interceptors.deadline": ("Deadline",),
    "interceptors.flow_control": ("ContentLabel", "DestinationRule", "FlowControl", "FlowRule"),
    "interceptors.inbound_requests": ("ElicitationRule", "InboundRequests", "RootsRule", "SamplingRule"),
    "interceptors.injection_scan": ("InjectionDetector", "InjectionScan"),
    "interceptors.loop_detector": ("LoopDetector", "LoopThresholds"),
    "interceptors.rate_limit": ("RateLimit",),
    "interceptors.redaction": ("Redaction",),
    "interceptors.result_cache": ("ResultCache",),
    "interceptors.result_limit": ("ResultCap", "ResultLimit"),
    "interceptors.retry": ("Retry",),
    "interceptors.tool_pinning": ("ToolPinning",),
    "interceptors.tracing": ("Tracing",),
    "interceptors.view": ("PromptView", "ResourceView", "ToolView", "View"),
    "interceptors.text_hygiene": ("TextHygiene",),
    "sinks.jsonl": ("JsonLines",),
    "sinks.logging": ("Logging",),
    "sinks.nats": ("JetStream",),
    "sinks.otel": ("OpenTelemetryLogs",),
    "sinks.postgres": ("PostgreSQL",),
    "sinks.sqlite": ("SQLite",),
    "sinks.webhook": ("Webhook",),
    "stores.opening": ("open_store",),
    "stores.store": ("Account", "Amounts", "Hold", "Limits", "Pace", "Record", "Refusal", "Store"),
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
