"""Fixtures of the integrations' tests; a module that has no framework to test is skipped whole."""

from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pytest
from pages import PAGES

pytest.register_assert_rewrite("hosts")

from hosts import anyio_backend, guard, server, sink  # noqa: E402

__all__ = ["anyio_backend", "guard", "server", "sink", "versions"]


@pytest.fixture(scope="session", autouse=True)
def versions(record_testsuite_property: Any) -> None:
    """Put down in the results what was tested, for the table that is made of them."""
    for distribution in ("mcp", *(page.distribution for page in PAGES)):
        with suppress(PackageNotFoundError):
            record_testsuite_property(distribution, version(distribution))
