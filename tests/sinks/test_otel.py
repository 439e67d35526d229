"""The OpenTelemetry sink, through the SDK's own provider."""

import pytest
from trails import event

from mcpguard import OpenTelemetryLogs

pytestmark = pytest.mark.anyio


async def test_an_event_is_a_log_record_with_its_members_as_attributes() -> None:
    """Names of the conventions where they have one, denials as warnings."""
    sdk = pytest.importorskip("opentelemetry.sdk._logs")
    export = pytest.importorskip("opentelemetry.sdk._logs.export")
    kept = export.InMemoryLogRecordExporter()
    provider = sdk.LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(export.SimpleLogRecordProcessor(kept))
    sink = OpenTelemetryLogs(provider=provider)
    sink.emit(event(1, method="tools/call", target="read", code="x", payload={"canary": "canary"}))
    sink.emit(event(2, kind="decision", verdict="deny"))
    await sink.aclose()
    first, second = [one.log_record for one in kept.get_finished_logs()]
    assert (first.body, first.event_name, first.timestamp) == ("received", "mcpguard.received", 1_500_000_000)
    assert first.attributes["mcp.method.name"] == "tools/call"
    assert first.attributes["gen_ai.tool.name"] == "read"
    assert first.attributes["mcpguard.code"] == "x"
    assert "canary" not in str(first.attributes)
    assert (first.severity_number.name, second.severity_number.name) == ("INFO", "WARN")
    provider.shutdown()


async def test_without_a_provider_nothing_is_done() -> None:
    """A library sets up no telemetry of its own."""
    sink = OpenTelemetryLogs()
    sink.emit(event(1))
    await sink.aclose()
    assert repr(sink) == "OpenTelemetryLogs()"
