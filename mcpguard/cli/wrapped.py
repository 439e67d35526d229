"""An entry that `mcpguard wrap` made: how it is known again, and the server that it stands for.

Above: `wrap`, which makes them; `init` and `serve`, which meet them.
"""

from dataclasses import replace
from typing import Final

from mcpguard.cli.servers_env import HEADERS, URL, reached_by
from mcpguard.cli.servers_file import Listed

__all__ = ["MODULE", "is_wrapped", "unwrapped"]

MODULE: Final = ("-P", "-m", "mcpguard", "serve")
"""`-P`: nothing in whatever folder the client is started from may pass for this package."""


def is_wrapped(one: Listed) -> bool:
    """Whether the entry starts the guard."""
    return one.args[: len(MODULE)] == MODULE


def unwrapped(one: Listed) -> Listed:
    """The server behind the entry; the entry itself where it is none of ours.

    Raises:
        ValueError: If it does not say which server.
    """
    if not is_wrapped(one):
        return one
    if "--" in one.args:
        command, *args = one.args[one.args.index("--") + 1 :] or ("",)
        return replace(one, command=command, args=tuple(args))
    reached = reached_by(one.env)
    env = {name: value for name, value in one.env.items() if name not in (URL, HEADERS)}
    return Listed(one.name, None, (), env, reached.url, reached.headers)
