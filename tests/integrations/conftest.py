"""Fixtures of the integrations' tests; a module that has no framework to test is skipped whole."""

import pytest

pytest.register_assert_rewrite("hosts")

from hosts import anyio_backend, guard, server, sink  # noqa: E402

__all__ = ["anyio_backend", "guard", "server", "sink"]
