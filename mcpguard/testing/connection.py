"""One client's connection to a fake server.

It reads lines, settles replies, applies cancellation and keeps listen streams; each request is `Served` in a
task of its own. How lines travel is `Lines`' business.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, Protocol, cast

import anyio
import anyio.abc

from mcpguard.core.wire import JSONObject, mutable_copy
from mcpguard.testing.catalogue import LISTEN_METHODS, SUBSCRIPTION_ID
from mcpguard.testing.gate import Changes
from mcpguard.testing.messages import LOG_LEVELS, RPCError, Wire
from mcpguard.testing.served import INTERNAL_ERROR, Host, Served

__all__ = ["Connection", "Lines"]

PARSE_ERROR: Final = -32700


class Lines(Protocol):
    """Both directions of a transport, one JSON message a line."""

    async def receive(self) -> tuple[str, Mapping[str, str]]:
        """The client's next line, and the HTTP headers it asked for.

        Raises:
            anyio.EndOfStream, anyio.ClosedResourceError: If there will be no more.
        """
        ...

    async def send(self, line: str) -> None:
        """Send a line to the client; nothing happens if it is gone."""
        ...

    def close(self) -> None:
        """End the connection from this side."""
        ...


class Connection:
    """One client: run it in a task group until the client leaves, or `drop` is called."""

    def __init__(self, host: Host, lines: Lines) -> None:
        self.host = host
        self.lines = lines
        self.failures: list[Exception] = []
        self.log_level: str = LOG_LEVELS[0]
        self._scope = anyio.CancelScope()
        self._running: dict[str | int, anyio.CancelScope] = {}
        self._awaited: dict[int, Wire | None] = {}
        self._replied = Changes()
        self._streams: dict[str | int, Wire] = {}
        self._streams_changed = Changes()
        self._last_id = 0
        self._is_open = True

    async def run(self) -> None:
        """Serve until the client leaves."""
        try:
            with self._scope:
                async with anyio.create_task_group() as tasks:
                    with suppress(anyio.EndOfStream, anyio.ClosedResourceError):
                        while True:
                            line, headers = await self.lines.receive()
                            self._receive(line, headers, tasks)
                    tasks.cancel_scope.cancel()
            self.lines.close()
        finally:
            self._is_open = False
            self._replied.happened()

    def drop(self) -> None:
        """End the connection, whatever is under way."""
        self.lines.close()
        self._scope.cancel()

    async def send(self, message: JSONObject) -> None:
        """Send one message."""
        await self.lines.send(json.dumps(mutable_copy({"jsonrpc": "2.0", **message})))

    async def notify(self, method: str, params: JSONObject) -> None:
        """Send a notification."""
        await self.send({"method": method, "params": params} if params else {"method": method})

    async def publish(self, method: str, params: JSONObject) -> int:
        """Send a change to the listen streams that asked for it; how many did."""
        wanted = LISTEN_METHODS[method]
        count = 0
        for stream, honoured in list(self._streams.items()):
            asked = honoured.get(wanted)
            if asked is True or (isinstance(asked, list) and params.get("uri") in asked):
                await self.notify(method, {**params, "_meta": {SUBSCRIPTION_ID: stream}})
                count += 1
        return count

    def end_streams(self) -> None:
        """End every listen stream in the graceful way."""
        self._streams.clear()
        self._streams_changed.happened()

    async def request(self, method: str, params: JSONObject) -> Wire:
        """Ask the client; its result, or `{"error": ...}`.

        Raises:
            ConnectionError: If the client leaves without a reply.
        """
        self._last_id += 1
        mine = self._last_id
        self._awaited[mine] = None
        try:
            asked: JSONObject = {"id": mine, "method": method}
            await self.send({**asked, "params": params} if params else asked)
            await self._replied.until(lambda: self._awaited[mine] is not None or not self._is_open)
            reply = self._awaited[mine]
            if reply is None:
                raise ConnectionError(f"the client left without a reply to {method}")
            return reply
        finally:
            del self._awaited[mine]

    async def listen(self, stream: str | int, params: Wire) -> Wire:
        """Serve `subscriptions/listen`: acknowledge, then stay until the stream is ended."""
        honoured: Wire = {name: asked for name, asked in params.get("notifications", {}).items() if asked}
        meta = {SUBSCRIPTION_ID: stream}
        self._streams[stream] = honoured
        try:
            await self.notify(
                "notifications/subscriptions/acknowledged", {"notifications": honoured, "_meta": meta}
            )
            await self._streams_changed.until(lambda: stream not in self._streams)
        finally:
            self._streams.pop(stream, None)
        return {"_meta": meta}

    def _receive(self, line: str, headers: Mapping[str, str], tasks: anyio.abc.TaskGroup) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            error: JSONObject = {"code": PARSE_ERROR, "message": "Parse error"}
            tasks.start_soon(self.send, {"id": None, "error": error})
            return
        known = cast("Wire", message)
        self.host.saw(known, headers)
        params: Wire = known.get("params") or {}
        if "method" not in known:
            if known.get("id") in self._awaited:
                reply = known["result"] if "result" in known else {"error": known.get("error", {})}
                self._awaited[known["id"]] = reply
                self._replied.happened()
        elif "id" in known:
            scope = self._running[known["id"]] = anyio.CancelScope()
            served = Served(self, known["id"], known["method"], params)
            tasks.start_soon(self._serve, served, scope)
        elif known["method"] == "notifications/cancelled" and params.get("requestId") in self._running:
            self._running[params["requestId"]].cancel()

    async def _serve(self, served: Served, scope: anyio.CancelScope) -> None:
        with scope:
            try:
                await served.run()
            except Exception as error:  # noqa: BLE001 - the test's own function; raised where it connected
                self.failures.append(error)
                await served.fail(RPCError(INTERNAL_ERROR, f"{type(error).__name__}: {error}"))
        if self._running.get(served.id) is scope:
            del self._running[served.id]
