"""Limits message by message, and the streams that keep to them: what a client gets of whatever arrives."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import anyio
import pytest
from harness import V1
from line import Line, item_of, message_of, talking
from tallies import Names
from trio.testing import MockClock

from mcpguard import ConnectionLimits, Guard, SeamError
from mcpguard.core.result import WireError
from mcpguard.detectors.schemas import cost
from mcpguard.seams import messages
from mcpguard.seams.limits.limited import LimitedTransport
from mcpguard.seams.limits.limited_streams import limit_streams
from mcpguard.seams.limits.memoir import Memoir
from mcpguard.seams.limits.supervised import FIRST_PAUSE, STABLE_SECONDS, SupervisedTransport
from mcpguard.seams.limits.watch import Watch
from mcpguard.seams.streams.exchanges import MAX_UNDER_WAY
from mcpguard.seams.structured import CHEAP_STEPS, MAX_STEPS, Structured

pytestmark = pytest.mark.anyio


class Watched:
    """A watch whose time is the test's, and what it has told."""

    def __init__(self, *, is_parsed_here: bool = True, **limits: Any) -> None:
        self.now = 0.0
        self.told: list[str] = []
        self.watch = Watch(
            ConnectionLimits(**limits), Names(self.told), lambda: self.now, is_parsed_here=is_parsed_here
        )

    def asks(self, method: str, id: int = 1, **params: Any) -> None:
        """The client sends a request."""
        self.watch.asked(messages.body_of(messages.request(id, method, params)))

    def hears(self, **message: Any) -> dict[str, Any] | None:
        """The server sends a message; what the client gets of it."""
        passed = self.watch.received(item_of(message))
        listing = self.watch.screening.take_listing()
        while listing is not None:
            try:
                next(listing)
            except StopIteration as stop:
                passed, listing = stop.value, None
        return None if passed is None else message_of(passed)

    @property
    def own(self) -> list[dict[str, Any]]:
        """The guard's own answers."""
        return [message_of(item) for item in self.watch.own]


def test_what_is_no_message_passes() -> None:
    """A transport hands on what it could not parse as an exception: the session's business."""
    broken = ValueError("canary")
    assert Watched().watch.received(broken) is broken


def test_only_so_many_requests_are_waited_for() -> None:
    """The oldest is told that its answer is waited for no longer, and no memory grows."""
    one = Watched()
    for id in range(MAX_UNDER_WAY + 1):
        one.asks("tools/list", id)
    assert [told["id"] for told in one.own] == [0]
    one.now = 10_000.0
    one.watch.expire()
    assert len(one.own) == MAX_UNDER_WAY + 1
    assert {told["id"] for told in one.own} == set(range(MAX_UNDER_WAY + 1))


@pytest.mark.parametrize("body", [{"result": {"tools": []}}, {"error": {"code": -32000, "message": "no"}}])
def test_an_answer_that_nobody_waits_for_goes_no_further(body: dict[str, Any]) -> None:
    """A session of 1.x knows the id of a request before it is sent: it would take what has met no limit."""
    one = Watched()
    one.asks("tools/list", 1)
    assert one.watch.received(item_of({"id": 2, **body})) is None
    assert one.watch.received(item_of({"id": 1, **body})) is not None
    assert one.watch.received(item_of({"id": 1, **body})) is None


def test_what_waits_no_longer_is_not_answered() -> None:
    """Each request ends once."""
    one = Watched()
    one.asks("tools/call")
    one.watch.gave_up(1)
    one.watch.answer(1, WireError(-32000, "gone"))
    one.watch.lose(1, "gone")
    assert (one.own, one.told) == ([], [])
    one.asks("tools/call", 2)
    one.watch.answer(2, WireError(-32000, "gone"))
    assert [told["id"] for told in one.own] == [2]


def test_only_what_is_due_expires() -> None:
    """What was asked later waits on."""
    one = Watched(answer_seconds=10.0)
    one.asks("tools/call", 1)
    one.now = 5.0
    one.asks("tools/call", 2)
    assert one.watch.deadline == 10.0
    one.now = 10.0
    one.watch.expire()
    assert [told["id"] for told in one.own] == [1]
    assert one.watch.deadline == 15.0


def test_definitions_of_any_kind_are_measured() -> None:
    """One that the SDK could not read is left out; the others are shown."""
    one = Watched()
    prompts = [{"name": "good"}, {"name": 7}]
    one.asks("prompts/list")
    heard = one.hears(id=1, result={"prompts": prompts})
    assert heard is not None
    assert heard["result"]["prompts"] == [{"name": "good"}]
    assert one.told == ["malformed"]


def test_a_listing_is_looked_through_in_as_many_steps_as_it_has_definitions() -> None:
    """Between any two of them others can have their turn: a thousand with schemas take long."""
    one = Watched()
    one.asks("prompts/list")
    prompts = [{"name": f"p{n}"} for n in range(50)] + [{"name": 7}] * 20
    one.watch.received(item_of({"id": 1, "result": {"prompts": prompts}}))
    listing = one.watch.screening.take_listing()
    assert listing is not None
    assert len(list(listing)) == 50 + 20 + 20
    assert one.watch.screening.take_listing() is None


def test_the_data_of_an_error_is_measured_where_nobody_has_yet() -> None:
    """The error stays."""
    one = Watched(is_parsed_here=False, values=3)
    one.asks("tools/call")
    heard = one.hears(id=1, error={"code": -1, "message": "no", "data": [1, 2, 3, 4, 5]})
    assert heard is not None
    assert heard["error"] == {"code": -1, "message": "no"}
    assert one.told == ["values"]


def test_params_of_the_servers_are_measured_where_nobody_has_yet() -> None:
    """A notification is dropped, a request refused."""
    one = Watched(is_parsed_here=False, values=3)
    params = {"data": [1, 2, 3, 4, 5], "level": "info"}
    assert one.hears(method="notifications/message", params=params) is None
    assert one.hears(id="a", method="roots/list", params=params) is None
    assert [message_of(item)["error"]["code"] for item in one.watch.refusals] == [-32602]
    assert one.told == ["values", "values"]


def test_a_report_passes_a_second_watch_as_it_is() -> None:
    """A guarded transport under a guarded session: what the one has made up, the other knows."""
    inner, outer = Watched(), Watched()
    outer.asks("tools/call", 1)
    inner.watch.not_sent(1)
    item = inner.watch.own[0]
    assert outer.watch.received(item) is item


async def test_a_transport_that_cannot_be_opened_says_so() -> None:
    """And leaves no scope open behind it."""

    class Broken(Line):
        async def __aenter__(self) -> Any:
            raise ConnectionError("refused")

    class Cancelled(Line):
        async def __aenter__(self) -> Any:
            await anyio.sleep_forever()

    with pytest.raises(ConnectionError, match="refused"):
        await limited(Broken()).__aenter__()
    with anyio.move_on_after(0.01) as scope:
        await limited(Cancelled()).__aenter__()
    assert scope.cancelled_caught


def limited(line: Any, told: list[str] | None = None, **limits: Any) -> LimitedTransport:
    """A transport under limits."""
    heard = [] if told is None else told
    return LimitedTransport(lambda _watch: line, ConnectionLimits(**limits), Names(heard))


async def test_a_transport_is_entered_once_and_left_once() -> None:
    """Anything else is a mistake that must not end in silence."""
    transport = limited(Line())
    with pytest.raises(RuntimeError, match="never entered"):
        await transport.__aexit__(None, None, None)
    async with transport:
        with pytest.raises(RuntimeError, match="in use"):
            await transport.__aenter__()


async def test_closing_that_takes_too_long_ends() -> None:
    """With an event, and nothing else."""

    class Slow(Line):
        async def __aexit__(self, *raised: Any) -> bool:
            await super().__aexit__(None, None, None)
            await anyio.sleep_forever()
            return False

    told: list[str] = []
    async with limited(Slow(), told, close_seconds=0.01):
        pass
    assert told == ["close_seconds"]


async def test_what_closing_raises_is_raised() -> None:
    """It is the transport's word."""

    class Failing(Line):
        async def __aexit__(self, *raised: Any) -> bool:
            await super().__aexit__(None, None, None)
            raise OSError("broken pipe")

    with pytest.raises(OSError, match="broken pipe"):
        async with limited(Failing()):
            pass
    with pytest.raises(ZeroDivisionError):
        async with limited(Line()):
            raise ZeroDivisionError
    async with limited(Line()):
        raise KeyError  # which this transport swallows


async def test_what_yields_no_streams_is_refused_by_the_seam() -> None:
    """In its own words."""

    class Odd(Line):
        async def __aenter__(self) -> Any:
            await super().__aenter__()
            return "streams"

    line = Odd()
    with pytest.raises(SeamError):
        async with Guard(connection=ConnectionLimits()).transport(line, name="files"):
            raise AssertionError
    assert line.times_left == 1


async def test_limited_streams_are_streams_like_any_other() -> None:
    """They can be cloned, iterated and closed."""
    line = Line(room=10)
    read, write = await line.__aenter__()
    reader, writer = limit_streams(read, write, ConnectionLimits(), Names([]))
    second_reader, second_writer = reader.clone(), writer.clone()
    async with reader, writer:
        await writer.send(item_of({"method": "notifications/initialized"}))
        assert (await line.hears())["method"] == "notifications/initialized"
    await line.says({"method": "notifications/message", "params": {"data": 1, "level": "info"}})
    line.to_client.close()
    methods = [message_of(item)["method"] async for item in second_reader]
    assert methods == ["notifications/message"]
    second_reader.close()
    second_writer.close()
    with pytest.raises(anyio.BrokenResourceError):
        await second_writer.send(item_of({"method": "notifications/initialized"}))
    await line.__aexit__(None, None, None)


class Flood:
    """A stream that has always one more message, and never makes anybody wait."""

    def __init__(self) -> None:
        self._item = item_of({"method": "notifications/message", "params": {"data": 1, "level": "info"}})

    async def receive(self) -> Any:
        """A message that nobody asked for."""
        return self._item


async def test_a_flood_keeps_no_call_waiting_and_nobody_from_its_turn() -> None:
    """A server that is read without waiting would hold the deadline back, and the event loop with it."""
    line = Line(room=10)
    _, write = await line.__aenter__()
    limits = ConnectionLimits(answer_seconds=0.5, notifications_per_second=0.001)
    reader, writer = limit_streams(Flood(), write, limits, Names([]))
    await writer.send(item_of({"id": 1, "method": "ping"}))
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(take_turns)
        answer: dict[str, Any] = {}
        while "id" not in answer:
            answer = message_of(await reader.receive())
        tasks.cancel_scope.cancel()
    assert (answer["id"], answer["error"]["data"]["limit"]) == (1, "answer_seconds")
    assert turns > 0
    await line.__aexit__(None, None, None)


@pytest.mark.parametrize(
    ("method", "result", "limit"),
    [
        ("tools/call", {}, "malformed"),
        ("tools/call", {"content": [{"type": "hologram"}]}, "malformed"),
        ("tools/call", {"content": [], "isError": "perhaps"}, "malformed"),
        ("tools/call", {"content": [], "structuredContent": [1]}, "malformed"),
        ("tools/call", {"content": [{"type": "text", "text": "x"}]}, None),
        ("tools/call", {"content": [], "structuredContent": {"n": 1}, "_meta": {}}, None),
        ("prompts/get", {"messages": [{"role": "nobody"}]}, "malformed"),
        ("resources/read", {"contents": [{"uri": "memo://a"}]}, "malformed"),
        ("completion/complete", {"completion": []}, "malformed"),
        ("tools/list", {"tools": [], "_meta": "x"}, "malformed"),
        ("x/y", {"anything": 1}, None),
    ],
)
def test_a_result_that_the_sdk_cannot_read_is_refused(
    method: str, result: dict[str, Any], limit: str | None
) -> None:
    """It would raise with what it was given, after the tool has run."""
    watched = Watched()
    watched.asks("initialize", id=0)
    server = {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "serverInfo": {"name": "s", "version": "1"},
    }
    assert watched.hears(id=0, result=server) is not None
    watched.asks(method)
    answer = watched.hears(id=1, result=result)
    assert watched.told == ([] if limit is None else [limit])
    assert answer is not None
    assert ("error" in answer) == (limit is not None)


@pytest.mark.parametrize(
    "params",
    [{"task": {}}] + ([] if V1 else [{"_meta": {"io.modelcontextprotocol/protocolVersion": "9"}}]),
)
def test_a_result_of_another_kind_than_the_handshake_knows_passes(params: dict[str, Any]) -> None:
    """A task, or a version that is not known here: the session reads it."""
    watched = Watched()
    watched.asks("tools/call", **params)
    assert watched.hears(id=1, result={"content": [{"type": "hologram"}]}) is not None
    assert watched.told == []


async def test_a_request_after_the_end_is_answered_until_the_client_knows() -> None:
    """As not sent; then its stream is broken, as the SDK expects."""
    async with talking(Guard(connection=ConnectionLimits())) as (client, line):
        line.to_client.close()
        line.from_client.close()
        await client.calls("go", 1)
        told = await client.hears()
        assert (told["id"], told["error"]["data"]["fate"]) == (1, "not_sent")


class Lines:
    """One line after another: a transport that is made again."""

    def __init__(self, *lines: Any) -> None:
        self.left = list(lines)
        self.now = anyio.Event()

    def __call__(self, watch: Watch) -> Any:
        return self.left.pop(0)


async def supervised(lines: Callable[[Watch], Any], told: list[str], **limits: Any) -> LimitedTransport:
    """A transport that comes back."""
    return LimitedTransport(
        lines,
        ConnectionLimits(**limits),
        Names(told),
        is_parsed_here=True,
        can_return=True,
    )


async def test_a_first_connection_that_fails_is_the_callers_to_see() -> None:
    """Nothing is tried again before anything was there."""

    class Broken(Line):
        async def __aenter__(self) -> Any:
            raise ConnectionError("refused")

    class Odd(Line):
        async def __aenter__(self) -> Any:
            await super().__aenter__()
            return ("one stream",)

    for line, error in ((Broken(), "refused"), (Odd(), "read and a write")):
        transport = await supervised(Lines(line), [])
        with pytest.raises(ExceptionGroup) as raised:
            await transport.__aenter__()
        assert error in repr(raised.value.exceptions)


async def test_streams_of_a_connection_that_left_are_closed() -> None:
    """Whoever still holds them is told."""
    line, told = Line(room=10), list[str]()
    transport = await supervised(Lines(line), told)
    async with transport as (read, write):
        write.close()
        with pytest.raises(anyio.ClosedResourceError):
            await write.send(item_of({"method": "notifications/initialized"}))
        await write.aclose()
        read.close()
        with pytest.raises(anyio.ClosedResourceError):
            await read.receive()
        await read.aclose()
    assert line.times_left == 1


async def test_a_lost_connection_comes_back_and_the_client_hears_on() -> None:
    """What was in flight has failed; what the new connection says arrives."""
    first, second, told = Line(room=10), Line(room=10), list[str]()
    transport = await supervised(Lines(first, second), told)
    async with transport as (read, write):
        await write.send(item_of({"id": 1, "method": "tools/call", "params": {"name": "go"}}))
        first.to_client.close()
        with anyio.fail_after(10):
            failed = message_of(await read.receive())
            assert failed["error"]["data"]["why"] == "connection_lost"
            await write.send(item_of({"id": 2, "method": "tools/call", "params": {"name": "go"}}))
            assert (await second.hears())["id"] == 2
            await second.says({"id": 2, "result": {"content": []}})
            assert message_of(await read.receive())["id"] == 2
    assert told == ["connection_lost", "connection_restored"]
    assert (first.times_left, second.times_left) == (1, 1)


async def test_a_connection_that_does_not_come_back_ends_the_client() -> None:
    """After so many attempts, of which each may fail in its own way."""
    first, told = Line(room=10), list[str]()
    transport = await supervised(Lines(first, Refused()), told, reconnects=1)
    async with transport as (read, write):
        first.to_client.close()
        with anyio.fail_after(10), pytest.raises(anyio.EndOfStream):
            await read.receive()
        with pytest.raises(anyio.BrokenResourceError):
            await write.send(item_of({"method": "notifications/initialized"}))
    assert told == ["connection_lost", "reconnects"]


class Later(Line):
    """A transport of which the test must know when it is open."""

    def __init__(self) -> None:
        super().__init__(room=10)
        self.opened = anyio.Event()

    async def __aenter__(self) -> Any:
        streams = await super().__aenter__()
        self.opened.set()
        return streams


class Hanging(Line):
    """A transport that does not open."""

    async def __aenter__(self) -> Any:
        await anyio.sleep_forever()


class Refused(Line):
    """A transport that cannot be opened."""

    async def __aenter__(self) -> Any:
        raise ConnectionError("refused")


async def test_waiting_for_a_connection_that_comes_back_is_bounded() -> None:
    """The request fails unsent, and a notification is lost."""
    first, told = Line(room=10), list[str]()
    transport = await supervised(Lines(first, Hanging()), told, return_seconds=0.01)
    with anyio.fail_after(10), anyio.CancelScope() as scope:
        async with transport as (read, write):
            first.to_client.close()
            async with anyio.create_task_group() as reading:
                reading.start_soon(read.receive)
                while "connection_lost" not in told:
                    await anyio.lowlevel.checkpoint()
                reading.cancel_scope.cancel()
            await write.send(item_of({"method": "notifications/roots/list_changed"}))
            await write.send(item_of({"id": 1, "method": "tools/call", "params": {"name": "go"}}))
            failed = message_of(await read.receive())
            assert (failed["id"], failed["error"]["data"]["why"]) == (1, "not_sent")
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught


async def test_opening_that_is_given_up_leaves_nothing_behind() -> None:
    """Cancelled as any other work."""
    transport = await supervised(Lines(Hanging()), [])
    with anyio.move_on_after(0.01) as scope:
        await transport.__aenter__()
    assert scope.cancelled_caught


def over(*lines: Line, told: list[str], **limits: Any) -> SupervisedTransport:
    """A transport that comes back, with nothing around it."""
    watch = Watch(
        ConnectionLimits(**limits),
        Names(told),
        anyio.current_time,
        is_parsed_here=True,
    )
    return SupervisedTransport(Lines(*lines), watch)


async def test_leaving_while_a_connection_is_away_is_no_failure() -> None:
    """Nobody wants it back: no event says that it did not come."""
    first, told = Line(room=10), list[str]()
    async with over(first, told=told) as (_, write):
        first.to_client.close()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read_once, _)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(anyio.BrokenResourceError):
                await write.send(item_of({"method": "notifications/initialized"}))
            tasks.cancel_scope.cancel()
    assert told == ["connection_lost"]


async def read_once(read: Any) -> None:
    """Wait for one message."""
    await read.receive()


async def test_a_connection_that_is_given_up_under_its_reader_is_read_on_where_it_is_made_again() -> None:
    """As when a server has forgotten the session: the streams end because we left them."""
    first, second, told = Line(room=10), Later(), list[str]()
    watch = Watch(ConnectionLimits(), Names(told), anyio.current_time, is_parsed_here=True)
    async with SupervisedTransport(Lines(first, second), watch) as (read, _):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read_once, read)
            await anyio.wait_all_tasks_blocked()
            watch.end("session")
            await second.opened.wait()
            await second.says({"method": "notifications/message", "params": {"data": 1, "level": "info"}})
    assert told == ["connection_lost", "connection_restored"]


async def test_whoever_waits_for_a_connection_hears_that_it_is_gone() -> None:
    """Every reader, not just the one that noticed."""
    first, told = Line(room=10), list[str]()
    async with over(first, Refused(), told=told, reconnects=1) as (read, _):
        first.to_client.close()
        with anyio.fail_after(10), pytest.raises(anyio.EndOfStream):
            await read.receive()
    assert told == ["connection_lost", "reconnects"]


@pytest.mark.parametrize("anyio_backend", [("trio", {"clock": MockClock(autojump_threshold=0)})])
async def test_a_connection_that_held_for_long_is_lost_as_for_the_first_time() -> None:
    """The attempts in a row are counted, not those of a day."""
    lines, told = [Line(room=10) for _ in range(4)], list[str]()
    async with over(*lines, told=told, reconnects=1) as (read, _):
        for line in lines[:-1]:
            await anyio.sleep(STABLE_SECONDS + 1)
            line.to_client.close()
            with anyio.move_on_after(FIRST_PAUSE * 4):
                await read.receive()
        await lines[-1].says({"method": "notifications/message", "params": {"data": 1, "level": "info"}})
        assert message_of(await read.receive())["method"] == "notifications/message"
    assert told == ["connection_lost", "connection_restored"] * 3


HANDSHAKE: dict[str, Any] = {
    "protocolVersion": "2025-06-18",
    "serverInfo": {"name": "files", "version": "1"},
    "capabilities": {"tools": {}},
}


@pytest.mark.parametrize("name", ["files", "other"])
async def test_a_new_connection_is_introduced_before_it_is_used(name: str) -> None:
    """A server of another name is not the one that was lost."""
    first, second, told = Line(room=10), Later(), list[str]()
    transport = await supervised(Lines(first, second), told, reconnects=1)
    async with transport as (read, write):
        await write.send(item_of({"id": 0, "method": "initialize", "params": {}}))
        await first.answers(**HANDSHAKE)
        assert message_of(await read.receive())["id"] == 0
        await write.send(item_of({"method": "notifications/initialized"}))
        await first.says({"id": "ask", "method": "roots/list"})
        assert message_of(await read.receive())["id"] == "ask"
        await write.send(item_of({"id": "ask", "result": {"roots": []}}))
        first.to_client.close()
        async with anyio.create_task_group() as tasks:
            heard: list[Any] = []

            async def listen() -> None:
                try:
                    heard.append(message_of(await read.receive()))
                except anyio.EndOfStream:
                    heard.append("the end")

            tasks.start_soon(listen)
            await second.opened.wait()
            asked = await second.hears()
            assert asked["method"] == "initialize"
            await second.says({"method": "notifications/message", "params": {"data": 1, "level": "info"}})
            told_of = {**HANDSHAKE, "serverInfo": {"name": name, "version": "1"}}
            await second.says({"id": asked["id"], "result": told_of})
            if name == "files":
                assert (await second.hears())["method"] == "notifications/initialized"
    if name == "files":
        assert heard[0]["method"] == "notifications/tools/list_changed"
        assert told == ["connection_lost", "connection_restored"]
    else:
        assert heard == ["the end"]
        assert told == ["connection_lost", "reconnects"]


async def test_what_is_asked_after_the_end_is_answered_until_the_client_knows() -> None:
    """As not sent; what expects no answer meets a closed stream."""
    line = Line(room=10)
    read, write = await line.__aenter__()
    reader, writer = limit_streams(read, write, ConnectionLimits(), Names([]))
    await writer.send(item_of({"id": 1, "method": "tools/call", "params": {"name": "go"}}))
    line.to_client.close()
    assert message_of(await reader.receive())["error"]["data"]["why"] == "connection_lost"
    await writer.send(item_of({"id": 2, "method": "tools/call", "params": {"name": "go"}}))
    assert message_of(await reader.receive())["error"]["data"]["fate"] == "not_sent"
    with pytest.raises(anyio.EndOfStream):
        await reader.receive()
    for item in ({"method": "notifications/initialized"}, {"id": 3, "method": "ping"}):
        with pytest.raises(anyio.BrokenResourceError):
            await writer.send(item_of(item))
    await line.__aexit__(None, None, None)


async def test_a_server_that_does_not_read_a_notification_ends_the_connection() -> None:
    """Nobody waits for an answer to it, and those who wait for others are told."""
    line = Line()
    read, write = await line.__aenter__()
    told: list[str] = []
    limits = ConnectionLimits(write_seconds=0.01)
    reader, writer = limit_streams(read, write, limits, Names(told))
    await writer.send(item_of({"method": "notifications/initialized"}))
    with pytest.raises(anyio.EndOfStream):
        await reader.receive()
    assert told == ["write_seconds"]
    await line.__aexit__(None, None, None)


def test_a_new_connection_is_told_what_the_client_has_said() -> None:
    """Nothing, where there was no handshake."""
    memoir = Memoir()
    assert list(memoir.handshake()) == []
    assert list(memoir.changes()) == []
    said = [messages.request(1, "initialize", {}), messages.request(2, "logging/setLevel", {"level": "info"})]
    for item in said:
        memoir.asked(item, messages.body_of(item))
    other = messages.notification("notifications/roots/list_changed", None)
    memoir.notified(other, messages.body_of(other))
    memoir.answered("tools/list", {"capabilities": {"tools": {}}})
    assert list(memoir.handshake()) == []
    done = messages.notification("notifications/initialized", None)
    memoir.notified(done, messages.body_of(done))
    memoir.answered("initialize", {"capabilities": {"tools": {}}})
    again = [messages.body_of(item).method for item in memoir.handshake()]
    assert again == ["initialize", "notifications/initialized", "logging/setLevel"]
    for uri, method in (("a", "subscribe"), ("b", "subscribe"), ("a", "unsubscribe")):
        item = messages.request(3, f"resources/{method}", {"uri": f"memo://{uri}"})
        memoir.asked(item, messages.body_of(item))
    assert [messages.body_of(item).params for item in memoir.handshake()][3:] == [{"uri": "memo://b"}]
    changed = [messages.body_of(item).method for item in memoir.changes()]
    assert changed == ["notifications/tools/list_changed"]


@pytest.fixture
def _loaded() -> None:
    """What validates has been loaded, as by a result before; else every result is for a thread."""
    import_module("jsonschema.validators")


@pytest.mark.usefixtures("_loaded")
def test_the_schemas_of_a_bounded_number_of_tools_are_known() -> None:
    """What takes long is the session's to check; what would take too long is what the tool got wrong."""
    structured = Structured(1)
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    for name in ("first", "second"):
        structured.learn({"name": name, "outputSchema": schema})
    assert structured.checked("first", {"structuredContent": {}}) == {"structuredContent": {}}
    for _ in range(2):
        failed = structured.checked("second", {"structuredContent": {}})
        assert failed["isError"] is True
        assert structured.checked("second", {"structuredContent": {"n": 1}}) == {
            "structuredContent": {"n": 1}
        }
    large = {"structuredContent": {"n": [0] * CHEAP_STEPS}}
    assert structured.checked("second", large) is large
    endless = {"structuredContent": {"n": [0] * (MAX_STEPS // (cost(schema) or 1) + 1)}}
    assert structured.checked("second", endless)["isError"] is True


def test_a_result_without_the_content_that_was_promised_is_an_error() -> None:
    """MCP 2025-11-25, server/tools: with an output schema there must be structured content."""
    known = Structured(1)
    known.learn({"name": "read", "outputSchema": {"type": "object"}})
    failed = known.checked("read", {"content": []})
    assert not callable(failed)
    assert failed["isError"] is True


@pytest.mark.usefixtures("_loaded")
@pytest.mark.parametrize("number", [float("nan"), float("inf"), 10**300])
def test_numbers_that_a_validator_cannot_work_with_are_not_valid(number: float) -> None:
    """A validator raises then, and an exception where the server is read would end the connection."""
    known = Structured(1)
    schema = {"type": "object", "properties": {"n": {"multipleOf": 1e308}}}
    known.learn({"name": "read", "outputSchema": schema})
    failed = known.checked("read", {"content": [], "structuredContent": {"n": number}})
    assert not callable(failed)
    assert failed["isError"] is True


def test_a_schema_that_cannot_be_used_safely_is_not_shown() -> None:
    """The tool is there all the same, and its results are not measured by the schema."""
    known = Structured(1)
    tool: dict[str, Any] = {"name": "read", "outputSchema": {"$ref": "https://elsewhere.example/schema"}}
    assert known.learn(tool) == {"name": "read"}
    answer: dict[str, Any] = {"content": []}
    assert known.checked("read", answer) is answer
