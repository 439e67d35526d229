"""A scripted MCP server for tests: in memory or as a process, in either protocol era, honest or not.

It speaks raw JSON-RPC and uses none of the SDK's server classes, so it serves clients of every supported
`mcp` alike and can misbehave in ways those refuse. Declaring and scripting are `Offer`'s half of it.
"""

from collections.abc import Mapping
from functools import partial

import anyio

from mcpguard.core.wire import EMPTY, JSONObject
from mcpguard.testing import stdio
from mcpguard.testing.catalogue import LEGACY_VERSIONS, LISTEN_METHODS, MODERN_VERSION, Catalogue, Era
from mcpguard.testing.connection import Connection, Lines
from mcpguard.testing.gate import Changes
from mcpguard.testing.memory import MemoryClient
from mcpguard.testing.messages import Wire
from mcpguard.testing.offer import Offer
from mcpguard.testing.served import Round

__all__ = ["FakeServer"]


class FakeServer(Offer):
    """Serve what the test declares, do what it scripts, and remember what clients sent.

    Args:
        name: What it calls itself in the handshake.
        era: `"legacy"`, the handshake protocols to 2025-11-25, or `"modern"`, 2026-07-28.
        version: Its own version, in the handshake.
        protocol_version: The one revision it serves; by default all of its era.
        instructions: Its instructions to the model; none by default.
        capabilities: What it advertises; by default everything it can do, with or without declarations.
        page_size: Items per page of a list; None for one page.
        ttl_ms: How long modern clients may cache lists and resources, in milliseconds.

    Raises:
        ValueError: If era, protocol version or page size is not one of those.
    """

    def __init__(
        self,
        name: str = "fake",
        *,
        era: Era = "legacy",
        version: str = "1.0",
        protocol_version: str | None = None,
        instructions: str | None = None,
        capabilities: JSONObject | None = None,
        page_size: int | None = None,
        ttl_ms: int = 0,
    ) -> None:
        served = {"legacy": LEGACY_VERSIONS, "modern": (MODERN_VERSION,)}
        if era not in served:
            raise ValueError(f"era is 'legacy' or 'modern', got {era!r}")
        if protocol_version is not None and protocol_version not in served[era]:
            raise ValueError(f"{era} servers speak {', '.join(served[era])}, got {protocol_version!r}")
        about = {"name": name, "version": version}
        super().__init__(Catalogue(era, protocol_version, about, capabilities))
        self.catalogue.instructions = instructions
        self.catalogue.ttl_ms = ttl_ms
        self.received: list[Wire] = []
        """Every message of every client, as on the wire, in the order of arrival."""
        self.headers: list[Mapping[str, str]] = []
        """What the SDK would have sent as HTTP headers with each of `received`; empty on 1.x and stdio."""
        self.replies: list[Wire] = []
        """What clients answered to `asks` and `request`: the result, or `{"error": ...}`."""
        self.rounds: dict[str, Round] = {}
        self._connections: list[Connection] = []
        self._arrivals = Changes()
        self.page_size = page_size

    def seen(self, method: str) -> list[Wire]:
        """The params of every message with this method, in the order of arrival."""
        return [message.get("params") or {} for message in self.received if message.get("method") == method]

    def calls(self, tool: str) -> list[Wire]:
        """The arguments of every call of a tool; the further rounds of a call are not calls."""
        called = [params for params in self.seen("tools/call") if params.get("name") == tool]
        return [params.get("arguments") or {} for params in called if "requestState" not in params]

    async def until_seen(self, method: str, count: int = 1) -> Wire:
        """Wait until `count` messages with this method have come, in all; the params of that one."""
        await self._arrivals.until(lambda: len(self.seen(method)) >= count)
        return self.seen(method)[count - 1]

    async def notify(self, method: str, params: JSONObject = EMPTY) -> int:
        """Send a notification to all clients; how many got it.

        Modern servers send changes of lists and resources only to the listen streams that asked for them.
        """
        count = 0
        for connection in list(self._connections):
            if self.catalogue.era == "modern" and method in LISTEN_METHODS:
                count += await connection.publish(method, params)
            else:
                await connection.notify(method, params)
                count += 1
        return count

    async def request(self, method: str, params: JSONObject = EMPTY) -> Wire:
        """Send any request to the one client; its result, or `{"error": ...}`.

        Raises:
            RuntimeError: If not exactly one client is connected.
            ConnectionError: If it leaves without a reply.
        """
        if len(self._connections) != 1:
            raise RuntimeError(f"request() needs one client to ask; {len(self._connections)} are connected")
        reply = await self._connections[0].request(method, params)
        self.replies.append(reply)
        return reply

    def end_subscriptions(self) -> None:
        """End all listen streams in the graceful way."""
        for connection in self._connections:
            connection.end_streams()

    def drop_connections(self) -> None:
        """End the connections of all clients, whatever is under way."""
        for connection in list(self._connections):
            connection.drop()

    @property
    def clients(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    def connect(self) -> MemoryClient:
        """A connection for one client: `async with server.connect() as (read, write)`, or a `Transport`."""
        return MemoryClient(self._opened, self._closed)

    transport = connect
    """`connect` under the name of what `mcp.Client(server.transport())` takes."""

    def run_stdio(self) -> None:
        """Serve stdin and stdout until the client leaves; for a script's `if __name__ == "__main__":`."""
        anyio.run(partial(stdio.serve, self._opened))

    def saw(self, message: Wire, headers: Mapping[str, str]) -> None:
        """Record a message; connections do this."""
        self.received.append(message)
        self.headers.append(headers)
        self._arrivals.happened()

    def _opened(self, lines: Lines) -> Connection:
        connection = Connection(self, lines)
        self._connections.append(connection)
        return connection

    def _closed(self, connection: Connection) -> None:
        self._connections.remove(connection)
