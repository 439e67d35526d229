"""What the policy file's names stand for: the built-in interceptors and sinks, and installed plugins.

A plugin is an entry point of the group `mcpguard.interceptors` or `mcpguard.sinks`. It is found by its
metadata and imported when a policy uses it, not before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from typing import Final, Literal, TypeAlias, cast

from mcpguard.core.errors import PluginError
from mcpguard.core.events import Sink
from mcpguard.core.interceptor import Interceptor

__all__ = ["Kind", "Plugin", "Registry"]

Kind: TypeAlias = Literal["interceptor", "sink"]

GROUPS: Final[Mapping[Kind, str]] = {"interceptor": "mcpguard.interceptors", "sink": "mcpguard.sinks"}
"""The entry point group of each kind."""

DISTRIBUTION: Final = "mcpguard-inline"
"""What the built-ins are said to come from."""

BUILT_IN: Final[Mapping[Kind, Mapping[str, str]]] = {
    "interceptor": {
        "access": "mcpguard.interceptors.access:Access",
        "approval": "mcpguard.interceptors.approval:Approval",
        "argument_rules": "mcpguard.interceptors.argument_rules:ArgumentRules",
        "budget": "mcpguard.interceptors.budget:Budget",
        "circuit_breaker": "mcpguard.interceptors.circuit_breaker:CircuitBreaker",
        "concurrency": "mcpguard.interceptors.concurrency:Concurrency",
        "credentials": "mcpguard.interceptors.credentials:Credentials",
        "deadline": "mcpguard.interceptors.deadline:Deadline",
        "flow_control": "mcpguard.interceptors.flow_control:FlowControl",
        "inbound_requests": "mcpguard.interceptors.inbound_requests:InboundRequests",
        "injection_scan": "mcpguard.interceptors.injection_scan:InjectionScan",
        "loop_detector": "mcpguard.interceptors.loop_detector:LoopDetector",
        "rate_limit": "mcpguard.interceptors.rate_limit:RateLimit",
        "redaction": "mcpguard.interceptors.redaction:Redaction",
        "result_cache": "mcpguard.interceptors.result_cache:ResultCache",
        "result_limit": "mcpguard.interceptors.result_limit:ResultLimit",
        "retry": "mcpguard.interceptors.retry:Retry",
        "tool_pinning": "mcpguard.interceptors.tool_pinning:ToolPinning",
        "tracing": "mcpguard.interceptors.tracing:Tracing",
        "view": "mcpguard.interceptors.view:View",
        "text_hygiene": "mcpguard.interceptors.text_hygiene:TextHygiene",
    },
    "sink": {
        "jsonl": "mcpguard.sinks.jsonl:JsonLines",
        "logging": "mcpguard.sinks.logging:Logging",
        "nats": "mcpguard.sinks.nats:JetStream",
        "otel": "mcpguard.sinks.otel:OpenTelemetryLogs",
        "postgres": "mcpguard.sinks.postgres:PostgreSQL",
        "sqlite": "mcpguard.sinks.sqlite:SQLite",
        "webhook": "mcpguard.sinks.webhook:Webhook",
    },
}
"""Name in the policy file -> where the class is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """One name a policy file may use, as the metadata has it; nothing is imported for it.

    Args:
        kind: `interceptor` or `sink`.
        name: The name in the policy file.
        target: `module:Class`.
        distribution: Name and version of the distribution it comes from.
        problem: Why it cannot be used, as far as the metadata tell; None if nothing speaks against it.
    """

    kind: Kind
    name: str
    target: str
    distribution: str
    problem: str | None = None


class Registry:
    """The names that can be used in this environment, read once.

    Raises:
        PluginError: If the metadata of an installed distribution cannot be read.
    """

    def __init__(self) -> None:
        self._plugins: dict[tuple[Kind, str], list[Plugin]] = {}
        for kind, table in BUILT_IN.items():
            for name, target in table.items():
                self._add(Plugin(kind=kind, name=name, target=target, distribution=DISTRIBUTION))
        for kind, group in GROUPS.items():
            try:
                found = tuple(entry_points(group=group))
            except Exception as error:
                raise PluginError(f"the entry points of {group} cannot be read: {error}") from error
            for point in found:
                self._add(
                    Plugin(kind=kind, name=point.name, target=point.value, distribution=_distribution(point))
                )

    def plugins(self) -> Sequence[Plugin]:
        """Everything there is, sorted by kind and name; those whose names clash say so."""
        return [
            replace(plugin, problem=_clash(group))
            for _, group in sorted(self._plugins.items())
            for plugin in group
        ]

    def names(self, kind: Kind) -> Sequence[str]:
        """The names a policy file may use."""
        return [name for one, name in self._plugins if one == kind]

    def interceptor(self, name: str) -> type[Interceptor]:
        """The class that a section called `name` stands for.

        Raises:
            PluginError: If it cannot be imported, is no `Interceptor`, has another name, or the name clashes.
        """
        plugin, found = self._load("interceptor", name)
        if not (isinstance(found, type) and issubclass(found, Interceptor)):
            raise PluginError(f"{_described(plugin)} must be a subclass of mcpguard.Interceptor; it is not")
        if found.name != name:
            raise PluginError(
                f"{_described(plugin)} is named {found.name!r} by its class; "
                "entry point and class must have one name"
            )
        return found

    def sink(self, name: str) -> type[Sink]:
        """The class of the sink called `name`.

        Raises:
            PluginError: If it cannot be imported, has no `emit` and `aclose`, or the name clashes.
        """
        plugin, found = self._load("sink", name)
        if not isinstance(found, type) or not all(
            callable(getattr(found, method, None)) for method in ("emit", "aclose")
        ):
            raise PluginError(f"{_described(plugin)} must be a class with emit and aclose; it is not")
        return cast("type[Sink]", found)

    def described(self, kind: Kind, name: str) -> str:
        """What to call it in an error."""
        return _described(self._plugins[kind, name][0])

    def _add(self, plugin: Plugin) -> None:
        self._plugins.setdefault((plugin.kind, plugin.name), []).append(plugin)

    def _load(self, kind: Kind, name: str) -> tuple[Plugin, object]:
        group = self._plugins[kind, name]
        clash = _clash(group)
        if clash is not None:
            raise PluginError(clash)
        plugin = group[0]
        point = EntryPoint(name=name, value=plugin.target, group=GROUPS[kind])
        try:
            return plugin, point.load()
        except Exception as error:
            raise PluginError(
                f"{_described(plugin)} cannot be loaded: {type(error).__name__}: {error}"
            ) from error


def _clash(group: Sequence[Plugin]) -> str | None:
    if len(group) == 1:
        return None
    owners = " and ".join(f"{plugin.distribution} ({plugin.target})" for plugin in group)
    return f"the {group[0].kind} {group[0].name!r} is provided by {owners}; uninstall one of them"


def _described(plugin: Plugin) -> str:
    return f"the {plugin.kind} {plugin.name!r} of {plugin.distribution} ({plugin.target})"


def _distribution(point: EntryPoint) -> str:
    if point.dist is None:
        return "an unnamed distribution"
    return f"{point.dist.name} {point.dist.version}"
