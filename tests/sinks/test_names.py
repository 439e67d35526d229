"""Names in records: whoever makes them up, no secret in one gets anywhere that records go."""

import json
import logging
from contextlib import suppress
from pathlib import Path

import pytest
from collected import Collected
from harness import opened
from seeds import FORMATS, password, token

from mcpguard import CircuitBreaker, Guard, JsonLines, Logging, Principal, Redactor, Tracing
from mcpguard.testing import FakeServer, RecordingSink

pytestmark = pytest.mark.anyio

PASSWORD = password()


@pytest.mark.parametrize("scrubber", [None, Redactor()])
async def test_no_secret_in_a_name_gets_into_a_sink_a_span_or_a_log(
    scrubber: Redactor | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Models make up tools, prompts and URIs, programs name runs; with a scrubber and without."""
    seeds = [token(FORMATS[number % len(FORMATS)], number) for number in range(6)]
    made_up, prompt, run_id, user, tenant, agent = seeds
    sink, told, server = RecordingSink(), Collected(), FakeServer()
    server.tool("read").returns("fine")
    server.resource(f"https://ana:{PASSWORD}@h.example/x?sig={PASSWORD}").returns("row")
    caplog.set_level(logging.DEBUG)
    sinks = [sink, JsonLines(tmp_path / "events.jsonl"), Logging()]
    tracing = Tracing(tracer_provider=told.tracers, meter_provider=told.meters)
    guard = Guard([tracing, CircuitBreaker()], sinks=sinks, scrubber=scrubber)
    who = Principal(user=f"u {user}", tenant=f"t {tenant}", agent=f"a {agent}")
    async with guard, opened(guard, server, "session") as peer:
        async with guard.run(id=f"r {run_id}", principal=who):
            await peer.call("read", {})
            await peer.read(f"https://ana:{PASSWORD}@h.example/x?sig={PASSWORD}")
            with suppress(Exception):
                await peer.call(f"t {made_up}", {})
            with suppress(Exception):
                await peer.prompt(f"p {prompt}")
    everything = {
        "events": json.dumps([event.as_dict() for event in sink.events], default=str),
        "file": (tmp_path / "events.jsonl").read_text("utf-8"),
        "telemetry": told.everything(),
        "log": "".join(one.getMessage() for one in caplog.records if one.name.startswith("mcpguard")),
    }
    for place, text in everything.items():
        assert "read" in text, place
        assert [seed for seed in [*seeds, PASSWORD] if seed in text] == [], place
