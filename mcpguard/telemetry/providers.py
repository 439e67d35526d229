"""Whether a program has set up OpenTelemetry, found out at next to no cost.

The API's own question (`get_tracer_provider`) reads the environment each time, which takes longer than all
the rest of a guard. So the places where it keeps the answer are looked at, as long as they are there.
"""

import os
from collections.abc import Callable
from typing import Final

from opentelemetry import metrics, trace
from opentelemetry.environment_variables import OTEL_PYTHON_METER_PROVIDER, OTEL_PYTHON_TRACER_PROVIDER
from opentelemetry.metrics import _internal

__all__ = ["has_meter_provider", "has_provider", "has_tracer_provider"]

_TRACE: Final = vars(trace)
_METRICS: Final = vars(_internal)
_TRACER: Final = "_TRACER_PROVIDER"
_METER: Final = "_METER_PROVIDER"

_ASKS_FOR_TRACER: Final = OTEL_PYTHON_TRACER_PROVIDER in os.environ or _TRACER not in _TRACE
_ASKS_FOR_METER: Final = OTEL_PYTHON_METER_PROVIDER in os.environ or _METER not in _METRICS
"""Whether only the API can tell: it loads one that the environment names, or keeps it elsewhere."""


def has_tracer_provider() -> bool:
    """Whether spans go anywhere."""
    if not _ASKS_FOR_TRACER:
        return _TRACE.get(_TRACER) is not None
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def has_meter_provider() -> bool:
    """Whether measurements go anywhere."""
    if not _ASKS_FOR_METER:
        return _METRICS.get(_METER) is not None
    return "Proxy" not in type(metrics.get_meter_provider()).__name__


def _looked() -> bool:
    return _TRACE[_TRACER] is not None or _METRICS[_METER] is not None


def _asked() -> bool:
    return has_tracer_provider() or has_meter_provider()


has_provider: Final[Callable[[], bool]] = _asked if _ASKS_FOR_TRACER or _ASKS_FOR_METER else _looked
"""Whether spans or measurements go anywhere; asked for every call."""
