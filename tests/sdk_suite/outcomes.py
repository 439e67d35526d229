"""Write down how every test of a run ended: a pytest plugin.

It changes nothing about the run, so the bare run has it too.
"""

import os
from pathlib import Path

import pytest

from .records import OUT_VARIABLE, Outcome, write_outcomes

LONGEST_TEXT = 6_000
"""Characters kept of a failure: the end of a traceback, where the error stands."""


class _Recorder:
    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._outcomes: dict[str, Outcome] = {}

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._outcomes[report.nodeid] = Outcome(name="failed", text=report.longreprtext[-LONGEST_TEXT:])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        before = self._outcomes.get(report.nodeid)
        if before is not None and before.name == "failed":
            return
        if report.failed:
            text = report.longreprtext[-LONGEST_TEXT:]
            self._outcomes[report.nodeid] = Outcome(name="failed", text=f"in {report.when}:\n{text}")
        elif report.skipped:
            expected = hasattr(report, "wasxfail")
            self._outcomes[report.nodeid] = Outcome(name="xfailed" if expected else "skipped")
        elif report.when == "call":
            self._outcomes[report.nodeid] = Outcome(name="passed")

    def pytest_sessionfinish(self) -> None:
        write_outcomes(self._directory, self._outcomes)


def pytest_configure(config: pytest.Config) -> None:
    """Record, unless this process is one of pytest-xdist's workers."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        config.pluginmanager.register(_Recorder(Path(os.environ[OUT_VARIABLE])))
