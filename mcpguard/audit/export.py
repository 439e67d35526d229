"""Hand records on in other shapes: OCSF, CloudEvents, CSV. The trail's own schema stays its own."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Final

from mcpguard.audit.calls import CallView, Record
from mcpguard.audit.record import text
from mcpguard.core.wire import JSON

__all__ = ["OCSF_VERSION", "cloud_events", "csv_rows", "encoded", "ocsf", "timestamp"]

OCSF_VERSION: Final = "1.3.0"
"""Of the Open Cybersecurity Schema Framework; the class is 6003, API Activity, with the profile
`security_control`."""

_CLASS: Final = 6003
_OTHER: Final = 99

_FORMULA: Final = ("=", "+", "-", "@")
"""Beginnings of a cell that a spreadsheet takes for a formula; tabs and line ends are escaped before."""

_COLUMNS: Final = tuple(one.name for one in fields(CallView) if one.name not in ("decisions", "paid"))


def ocsf(views: Iterable[CallView], *, host: str) -> Iterator[Mapping[str, JSON]]:
    """One API Activity event for each call.

    Args:
        views: The calls.
        host: Where the agent runs.
    """
    for view in views:
        denied = view.outcome == "denied"
        success = view.outcome in ("ok", "input_required")
        yield {
            "metadata": {
                "version": OCSF_VERSION,
                "profiles": ["security_control"],
                "product": {"name": "mcpguard", "vendor_name": "mcpguard"},
                "uid": f"{view.call_id}/{view.round}",
                "sequence": view.seq,
                "correlation_uid": view.run_id,
            },
            "category_uid": 6,
            "class_uid": _CLASS,
            "activity_id": _OTHER,
            "activity_name": view.method,
            "type_uid": _CLASS * 100 + _OTHER,
            "time": view.time_us // 1000,
            "duration": view.duration_us // 1000,
            "severity_id": 3 if denied else 1,
            "status_id": 1 if success else 2,
            "status": view.outcome,
            "status_code": view.code or view.error_code,
            "status_detail": view.reason,
            "action_id": 2 if denied else 1,
            "disposition_id": 2 if denied else 1,
            "actor": {
                "user": {"name": view.user, "org": {"name": view.tenant}},
                "app_name": view.agent or "unknown",
            },
            "api": {
                "operation": view.target or view.method,
                "service": {"name": view.server},
                "request": {"uid": view.call_id},
                "response": {"code": 0 if success else 1, "error": view.code or view.error_code},
            },
            "src_endpoint": {"hostname": host, "name": view.agent or "unknown"},
            "unmapped": {
                "policy": view.policy,
                "arguments_digest": view.arguments_digest,
                "result_digest": view.result_digest,
                "attempts": view.attempts,
                "cost": view.cost,
                "currency": view.currency,
            },
        }


def cloud_events(records: Iterable[Record]) -> Iterator[Mapping[str, JSON]]:
    """One CloudEvent (1.0, structured JSON) for each record."""
    stream = "unknown"
    for record in records:
        if record.get("kind") == "opened":
            stream = str(record.get("stream", stream))
        event: dict[str, JSON] = {
            "specversion": "1.0",
            "id": f"{stream}/{record.get('seq', 0)}",
            "source": f"/mcpguard/{stream}",
            "type": f"dev.mcpguard.audit.{record.get('kind', 'unknown')}.v1",
            "datacontenttype": "application/json",
            "data": dict(record),
        }
        time = timestamp(record.get("time_us"))
        if time:
            event["time"] = time
        if "call_id" in record:
            event["subject"] = str(record["call_id"])
        yield event


def csv_rows(views: Iterable[CallView]) -> Iterator[str]:
    """A heading and one line for each call.

    What a spreadsheet would take for a formula is quoted. What cannot be printed is escaped: a sink writes no
    such record, but whoever has the trail can.
    """
    yield _line(_COLUMNS)
    for view in views:
        yield _line([_cell(getattr(view, name)) for name in _COLUMNS])


def timestamp(time_us: object) -> str:
    """RFC 3339 of microseconds since the epoch; empty for what is none."""
    try:
        return datetime.fromtimestamp(int(str(time_us)) / 1_000_000, UTC).isoformat(timespec="microseconds")
    except (ValueError, OverflowError, OSError):
        return ""


def _cell(value: object) -> str:
    cell = text(str(value))
    return f"'{cell}" if isinstance(value, str) and cell.startswith(_FORMULA) else cell


def _line(cells: Iterable[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue()


def encoded(event: Mapping[str, JSON]) -> str:
    """An event on one line."""
    return json.dumps(event, separators=(",", ":")) + "\n"
