"""What the servers that a hub is offered through have in common on both majors of the SDK.

Above: `sdk1.server` and `sdk2.server`. Below: nothing of the hub but what it promises here.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

from mcpguard.core.errors import Denied, HubError
from mcpguard.core.run import Run, bound
from mcpguard.core.wire import JSONObject
from mcpguard.seams.session import sdk_major

__all__ = [
    "INSTRUCTIONS",
    "LAST_WORDS",
    "LISTING",
    "UNASKED",
    "Hub",
    "Keeper",
    "Listener",
    "RunOf",
    "Unshown",
    "Work",
    "failure",
    "forwarded",
    "has_timed_out",
    "in_run",
    "kept",
    "log_level_set",
]

INSTRUCTIONS: Final = "The tools of several servers; what stands before two underscores is the server's name."

_OWN_META: Final = ("io.modelcontextprotocol/", "progressToken")
"""Members of `_meta` that are about one connection, and are made anew on the other."""

UNASKED: Final = object()
"""Stands for whoever does something during which a server has nothing to ask."""

LISTING: Final = object()
"""Stands for whoever has a server list what it has, or watches it: it asks nobody, but may say something
about that."""

_TIMED_OUT: Final = frozenset({408, -32001})
"""Codes of the errors of SDK 1.x and 2.x for an answer that does not come in time."""

LAST_WORDS: Final = 1.0
"""Seconds for telling a client that something changed."""

Listener: TypeAlias = Callable[[str, str, str | None], Awaitable[None]]
"""Told of what changes: the server, the notification's method, and the URI of one about a resource."""

RunOf: TypeAlias = Callable[[Any, Any], Run | None]
"""The run that a request belongs to, by the transport's own request and the client's connection, either of
which may be None; None: that of the context."""

Work: TypeAlias = Callable[[Any, str], Awaitable[Any]]
"""Does something with a session, or a client, by the server's own name for it."""


class Unshown(HubError):  # noqa: N818 - the hub's own word
    """Nothing is shown under a name."""


class Hub(Protocol):
    """What a hub gives to its server."""

    async def items(self, method: str) -> Sequence[JSONObject]:
        """One merged list, as whoever asks may see it."""
        ...

    async def send(
        self, method: str, shown: str, work: Work, client: Any, *, arguments: JSONObject | None = None
    ) -> Any:
        """Do something with the server that something is shown of."""
        ...

    def start(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do something in a task of the hub's, in the context of whoever is calling."""
        ...

    async def where(self, method: str, shown: str) -> str:
        """The name of the server that something is shown of."""
        ...

    async def at(self, server: str, work: Callable[[Any], Awaitable[Any]]) -> None:
        """Do something with a server of this name, if it is up, during which it has nothing to ask."""
        ...

    def told(self, listener: "Listener") -> None:
        """Tell `listener` of what changes."""
        ...

    async def set_level(self, level: str) -> None:
        """Set the log level of every server."""
        ...


@runtime_checkable
class Keeper(Protocol):
    """A `RunOf` that closes runs which nobody uses, and is told which are in use."""

    def kept(self, run: Run) -> AbstractContextManager[None]:
        """Have a run be in use while inside."""
        ...


def forwarded(meta: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What goes on of a request's `_meta`."""
    kept = {name: value for name, value in (meta or {}).items() if not name.startswith(_OWN_META)}
    return kept or None


def failure(error: Exception) -> str | None:
    """What the model is told where a call failed in the hub; None for an error that goes on as it is."""
    if isinstance(error, HubError):
        return f"This call could not be made: {error}."
    return str(error) if isinstance(error, Denied) else None


def kept(runs: RunOf, run: Run | None) -> AbstractContextManager[None]:
    """Have a run be in use while inside, where whoever says which run it is wants to know."""
    return runs.kept(run) if run is not None and isinstance(runs, Keeper) else nullcontext()


def has_timed_out(error: Exception) -> bool:
    """Whether no answer came in time: the server may be at it still, or have done it."""
    return getattr(getattr(error, "error", None), "code", None) in _TIMED_OUT


async def in_run(run: Run | None, work: Callable[[], Awaitable[Any]]) -> Any:
    """Do something in a run; None: in that of the context."""
    if run is None:
        return await work()
    with bound(run):
        return await work()


async def log_level_set(session: Any, level: str) -> None:
    """Set the log level of a legacy server."""
    types: Any = import_module("mcp.types")
    request = types.SetLevelRequest.model_validate({"method": "logging/setLevel", "params": {"level": level}})
    await session.send_request(
        types.ClientRequest(request) if sdk_major() < 2 else request, types.EmptyResult
    )
