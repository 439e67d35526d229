"""Clients on a hub's server, on either major of the SDK and in either era, and a server that asks them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any

import anyio
from harness import V1, wire
from mcp.types import ElicitResult
from pydantic import AnyUrl

from mcpguard.testing import FakeServer, InputRequest

ERAS = ["legacy"] if V1 else ["legacy", "modern"]
SIDES = [(ours, theirs) for ours in ERAS for theirs in ERAS]


class Peer:
    """A client of a hub's server, on either major and in either era."""

    def __init__(self, caller: Any) -> None:
        self.caller = caller
        self.heard: list[str] = []
        self.said: list[Any] = []
        self.changed = anyio.Event()

    async def items(self, what: str) -> list[Any]:
        """One list, wire-shaped."""
        listed = wire(await getattr(self.caller, f"list_{what}")())
        items: list[Any] = next(value for value in listed.values() if isinstance(value, list))
        return items

    async def tools(self) -> list[str]:
        """The names of the tools."""
        return [tool["name"] for tool in await self.items("tools")]

    async def call(
        self, name: str, arguments: dict[str, Any] | None = None, **options: Any
    ) -> dict[str, Any]:
        """Call a tool."""
        return wire(await self.caller.call_tool(name, arguments or {}, **options))

    async def note(self, message: Any) -> None:
        """Hear a notification."""
        method = getattr(getattr(message, "root", message), "method", None)
        if method is not None:
            self.heard.append(method)
            self.changed.set()

    async def log(self, params: Any) -> None:
        """Hear a log message."""
        self.said.append(params.data)


def uri(address: str) -> Any:
    """As the SDK's client wants it."""
    return AnyUrl(address) if V1 else address


@asynccontextmanager
async def client(server: Any, era: str = ERAS[-1], **callbacks: Any) -> AsyncIterator[Peer]:
    """A client of a server object."""
    peer = Peer(None)
    callbacks = {"message_handler": peer.note, "logging_callback": peer.log, **callbacks}
    if V1:
        memory = import_module("mcp.shared.memory")
        async with memory.create_connected_server_and_client_session(server, **callbacks) as session:
            peer.caller = session
            yield peer
        return
    mode = {"mode": "legacy"} if era == "legacy" else {}
    async with import_module("mcp").Client(server, cache=None, **mode, **callbacks) as caller:
        peer.caller = caller
        yield peer


async def elicited(context: Any, params: Any) -> Any:
    """A person who answers."""
    del context
    return ElicitResult(action="accept", content={"name": params.message})


def asking(era: str) -> FakeServer:
    """A server with a tool that asks the person."""
    server = FakeServer(era=era)  # type: ignore[arg-type]
    ask = InputRequest(
        "elicitation/create", {"message": "who?", "requestedSchema": {"type": "object", "properties": {}}}
    )
    server.tool("ask").asks(ask).answers(lambda given: "asked")
    return server
