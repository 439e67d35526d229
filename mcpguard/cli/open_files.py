"""How many files this process may have open: a connection is one, and many must not starve the rest.

Above: `serve`. Below: the operating system.
"""

import logging
import sys
from typing import Final

__all__ = ["allow"]

_log: Final = logging.getLogger("mcpguard")

SPARE: Final = 256
"""Beside connections: servers, stores, the audit, the policy."""


def allow(connections: int) -> None:
    """Raise this process's own limit to what it may need; say so where the system allows no more."""
    if sys.platform == "win32":
        return
    import resource

    least = connections + SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= least:
        return
    most = least if hard == resource.RLIM_INFINITY else min(least, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    if most < least:
        _log.warning("%s files may be open, and http.connections needs %s: see ulimit -n", most, least)
