"""Hand events to OpenTelemetry as log records, through whatever provider the program has set up.

Only the API is used: without a provider nothing happens. Where the records go, and whether they arrive, is
the business of the provider's processors and exporters; so this sink can never hold a call back.
"""

from collections.abc import Mapping
from typing import Final

from opentelemetry._logs import Logger, LoggerProvider, SeverityNumber, get_logger

from mcpguard.audit.record import of_event
from mcpguard.core.events import Event

__all__ = ["OpenTelemetryLogs"]

_ATTRIBUTES: Final[Mapping[str, str]] = {
    "method": "mcp.method.name",
    "error_code": "rpc.response.status_code",
}
"""Members of a record that the semantic conventions have a name for (semantic-conventions-genai, MCP, status
Development); all others are `mcpguard.<member>`."""

_ALARMING: Final = frozenset({"interceptor_failed", "stopped", "warning"})


class OpenTelemetryLogs:
    """Emit every event as an OpenTelemetry log record, with the event's members as attributes.

    - Without a provider nothing is done.
    - It is never strict: exporters batch, retry and drop by their own rules.
    - The span that is current goes along, so that a record is found from its trace.

    Args:
        name: Name of the instrumentation scope.
        provider: Whose logger. None: the program's own, also one that is set up later.
    """

    def __init__(self, *, name: str = "mcpguard", provider: LoggerProvider | None = None) -> None:
        self._logger: Logger = get_logger(name, logger_provider=provider)

    def emit(self, event: Event) -> None:
        """Emit one log record."""
        record = of_event(event)
        denied = event.outcome == "denied" or event.verdict in ("deny", "drop")
        attributes: dict[str, str | int | bool] = {}
        for member, value in record.items():
            attributes[_ATTRIBUTES.get(member, f"mcpguard.{member}")] = value
        if event.method == "tools/call" and event.target is not None:
            attributes["gen_ai.tool.name"] = str(record["target"])
            attributes["gen_ai.operation.name"] = "execute_tool"
        self._logger.emit(
            timestamp=round(event.time * 1_000_000_000),
            severity_number=SeverityNumber.WARN if denied or event.kind in _ALARMING else SeverityNumber.INFO,
            body=event.kind,
            attributes=attributes,
            event_name=f"mcpguard.{event.kind}",
        )

    async def aclose(self) -> None:
        """Do nothing: the provider belongs to whoever set it up."""

    def __repr__(self) -> str:
        return "OpenTelemetryLogs()"
