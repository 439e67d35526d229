"""HTTP within limits, exchange by exchange: what a call, a notification and a stream become of any answer."""

import gzip
import json
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from importlib import import_module
from inspect import isawaitable
from typing import Any

import anyio
import pytest
from harness import V1
from tallies import Names

from mcpguard import ConnectionLimits, Fate, Outcome
from mcpguard.core.result import WireError
from mcpguard.seams.limits.aside import ASIDE_BYTES
from mcpguard.seams.limits.http import limited_client
from mcpguard.seams.limits.http_wire import (
    MAX_REDIRECTS,
    MAX_RETRY_AFTER,
    asked_in,
    closed,
    seconds,
)
from mcpguard.seams.limits.inflate import Inflater, TooLarge
from mcpguard.seams.limits.resumptions import MAX_TOKENS, Resumptions
from mcpguard.seams.limits.watch import Watch
from mcpguard.seams.messages import body_of, request
from mcpguard.seams.reports import MARK, Report, reported

pytestmark = [
    pytest.mark.anyio,
    # What is not read to its end is the HTTP library's to collect.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

http: Any = import_module("httpx" if V1 else "httpx2")
_utils: Any = import_module("mcp.shared._httpx_utils")
URL = "http://files.example/mcp"
EVENTS = {"content-type": "text/event-stream"}
JSON = {"content-type": "application/json"}
Answer = Callable[[Any], Any] | Callable[[Any], Awaitable[Any]]


class Site:
    """A server that is a function, behind a client within limits."""

    def __init__(self, answer: Answer, *, elsewhere: bool = False, auth: Any = None, **limits: Any) -> None:
        self.told: list[str] = []
        self.watch = Watch(
            ConnectionLimits(**limits),
            Names(self.told),
            anyio.current_time,
            is_parsed_here=True,
        )
        self._answer = answer
        bare = http.AsyncClient(transport=http.MockTransport(self._handle), auth=auth)
        self.client = limited_client(bare, self.watch, answers_elsewhere=elsewhere)

    async def _handle(self, request: Any) -> Any:
        """The server's answer, as it comes from a socket: unread."""
        response = self._answer(request)
        if isawaitable(response):
            response = await response
        if not hasattr(response, "_content"):
            return response
        body = response.content

        async def parts() -> AsyncIterator[bytes]:
            yield body

        headers = {name: value for name, value in response.headers.items() if name != "content-length"}
        return http.Response(response.status_code, headers=headers, content=parts())

    async def says(self, method: str, id: int | None = 1, **headers: str) -> Any:
        """Send a request, or a notification where there is no id."""
        body: dict[str, Any] = {"jsonrpc": "2.0", "method": method}
        if id is not None:
            body["id"] = id
            self.watch.asked(body_of(request(id, method, None)))
        response = await self.client.post(URL, json=body, headers=headers)
        await response.aread()
        return response

    async def asks(self, method: str = "tools/call", **headers: str) -> dict[str, Any]:
        """Send a request; the message that is read as the answer."""
        return message(await self.says(method, **headers))

    @property
    def own(self) -> list[Any]:
        """What the guard itself answers."""
        return [body_of(item).error.data for item in self.watch.own]


def message(response: Any) -> dict[str, Any]:
    """The last message of an answer, of whichever form."""
    assert response.status_code == 200
    text: str = response.text
    if response.headers["content-type"] == "text/event-stream":
        text = [line.removeprefix("data: ") for line in text.split("\n") if line.startswith("data: ")][-1]
    read: dict[str, Any] = json.loads(text)
    return read


def why(answer: dict[str, Any]) -> str:
    """Which report an error is."""
    reason: str = answer["error"]["data"]["why"]
    return reason


def result(id: int = 1) -> bytes:
    """An answer."""
    return json.dumps({"jsonrpc": "2.0", "id": id, "result": {}}).encode()


def event(data: bytes, **fields: str) -> bytes:
    """One event of a stream."""
    lines = [f"{name}: {value}".encode() for name, value in fields.items()]
    return b"\n".join([*lines, b"data: " + data]) + b"\n\n"


def streams(*parts: bytes | Exception, **headers: str) -> Callable[[Any], Any]:
    """A server that answers with a stream in these parts."""

    async def body() -> AsyncIterator[bytes]:
        for part in parts:
            if isinstance(part, Exception):
                raise part
            yield part

    return lambda _: http.Response(200, headers={**EVENTS, **headers}, content=body())


async def test_an_error_in_a_refused_body_is_the_servers_own_answer() -> None:
    """Servers answer 400 with a JSON-RPC error: that is what the caller should see."""
    told = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32602, "message": "no such tool"}}
    site = Site(lambda _: http.Response(400, json=told))
    assert await site.asks() == told


@pytest.mark.skipif(V1, reason="1.x knows no error without an id")
@pytest.mark.parametrize("status", [200, 400])
async def test_an_error_that_does_not_know_its_request_is_that_of_the_exchange(status: int) -> None:
    """Others may wait at the same time: by its place in the exchange it is known whose it is."""
    told = {"jsonrpc": "2.0", "id": None, "error": {"code": -32602, "message": "no such tool"}}
    site = Site(lambda _: http.Response(status, json=told))
    site.watch.asked(body_of(request(2, "tools/call", None)))
    assert await site.asks() == {**told, "id": 1}


async def test_a_refused_handshake_keeps_its_status() -> None:
    """The client negotiates by it."""
    site = Site(lambda _: http.Response(405, text="no"))
    assert (await site.says("initialize")).status_code == 405


@pytest.mark.parametrize(
    "body",
    [
        b"x" * 2**21,
        b"[1]",
        b"[" * 100_000,
        b"null",
        b"",
        b'{"error": {"code": "x"}}',
        b'{"jsonrpc": "2.0", "id": 1, "error": {"code": "x", "message": "x"}}',
        b'{"jsonrpc": "2.0", "id": 777, "error": {"code": 1, "message": "of another"}}',
        b'{"jsonrpc": "2.0", "id": 1, "result": {}}',
    ],
)
async def test_a_status_is_told_whatever_its_body_is(body: bytes) -> None:
    """Of a body with a status only an error is read, and of that a bounded part."""
    site = Site(lambda _: http.Response(418, content=body))
    answer = await site.asks()
    assert (why(answer), answer["error"]["data"]["status"]) == ("http_status", 418)


async def test_a_status_whose_body_breaks_is_told_all_the_same() -> None:
    """What matters has been read."""
    answer = await Site(
        lambda _: http.Response(503, content=breaking(), headers={"retry-after": "soon"})
    ).asks()
    assert answer["error"]["data"]["status"] == 503
    assert "retryAfter" not in answer["error"]["data"]


async def breaking() -> AsyncIterator[bytes]:
    """A body that ends in the middle."""
    yield b"{"
    raise http.ReadError("gone")


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_redirect_is_the_clients_business(elsewhere: bool) -> None:
    """It is passed on as it is, of a request and of a notification."""
    site = Site(lambda _: http.Response(307, headers={"location": "/there"}), elsewhere=elsewhere)
    for id in (1, None):
        response = await site.says("tools/call" if id else "notifications/initialized", id)
        assert (response.status_code, response.next_request is not None) == (307, True)
    assert site.own == []


@pytest.mark.skipif(not hasattr(_utils, "next_request_within_origin"), reason="HTTP's client follows")
@pytest.mark.parametrize("location", ["/mcp", "http://other.example/mcp"])
async def test_a_redirect_that_is_not_followed_is_an_error_of_its_call(location: str) -> None:
    """Neither a circle nor another host may end the connection, as it would on SDK 1.x."""
    site = Site(lambda _: http.Response(307, headers={"location": location}))
    site.watch.asked(body_of(request(1, "tools/call", None)))
    built = site.client.build_request("POST", URL, json={"jsonrpc": "2.0", "id": 1, "method": "tools/call"})
    for sent in range(1, 100):  # noqa: B007 - it is looked at below
        response = await site.client.send(built, stream=True, follow_redirects=False)
        if response.next_request is None:
            break
        built = response.next_request
    assert sent == (MAX_REDIRECTS + 1 if location == "/mcp" else 1)
    await response.aread()
    assert message(response)["error"]["data"]["status"] == 307


async def test_a_call_that_was_redirected_may_have_been_carried_out() -> None:
    """Whoever answers with a redirect has had it; that the other address cannot be reached is not all."""
    begun = list[str]()

    def answer(asked: Any) -> Any:
        begun.append(asked.url.path)
        if len(begun) > 1:
            raise http.ConnectError("refused")
        return http.Response(307, headers={"location": "/there"})

    site = Site(answer)
    site.watch.asked(body_of(request(1, "tools/call", None)))
    built = site.client.build_request("POST", URL, json={"jsonrpc": "2.0", "id": 1, "method": "tools/call"})
    response = await site.client.send(built, stream=True, follow_redirects=False)
    last = await site.client.send(response.next_request, stream=True, follow_redirects=False)
    await last.aread()
    assert begun == ["/mcp", "/there"]
    assert message(last)["error"]["data"]["fate"] == "sent"


class Fetching(http.Auth):  # type: ignore[misc]  # the library is known at run time only
    """Authentication that fetches something on its way, as OAuth does, and reads all it is answered."""

    def __init__(self) -> None:
        self.read: list[int] = []

    async def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """The request, something else, and the request again."""
        for one in (request, http.Request("GET", "http://login.example/metadata")):
            response = yield one
            await response.aread()
            self.read.append(len(response.content))
        yield request


@pytest.mark.parametrize("encoding", ["deflate", "br"])
async def test_what_authentication_reads_is_bounded(encoding: str) -> None:
    """A megabyte from a login server would be a gigabyte in memory, and the process gone."""
    bomb = zlib.compress(bytes(2**24))
    auth = Fetching()

    def answer(asked: Any) -> Any:
        if len(auth.read) == 2:
            return http.Response(200, headers=JSON, content=result())
        status = 401 if asked.method == "POST" else 200
        return http.Response(status, headers={"content-encoding": encoding}, stream=_Pieces(bomb, 1))

    site = Site(answer, auth=auth)
    assert await site.asks() == json.loads(result())
    most = ASIDE_BYTES if encoding == "deflate" else 0
    assert auth.read == [most, most]


async def test_what_a_redirect_says_besides_is_bounded() -> None:
    """An HTTP client that follows it reads it first."""
    endless = _Pieces(bytes(2**16), 1000)

    def answer(asked: Any) -> Any:
        if asked.url.path == "/there":
            return http.Response(200, headers=JSON, content=result())
        return http.Response(307, headers={"location": "/there"}, stream=endless)

    site = Site(answer)
    asked = site.client.build_request("POST", URL, json={"jsonrpc": "2.0", "id": 1, "method": "tools/call"})
    response = await site.client.send(asked, follow_redirects=True)
    assert message(response) == json.loads(result())
    assert endless.taken == ASIDE_BYTES / 2**16


class _Pieces(http.AsyncByteStream):  # type: ignore[misc]  # the library is known at run time only
    def __init__(self, piece: bytes, times: int) -> None:
        self._piece = piece
        self._times = times
        self.taken = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self._times):
            self.taken += 1
            yield self._piece


async def test_a_notification_that_is_not_taken_costs_nothing() -> None:
    """It concerns no call, and must not end the connection."""

    def fail(_: Any) -> Any:
        raise http.ConnectError("canary")

    for answer in (fail, lambda _: http.Response(500)):
        site = Site(answer)
        assert (await site.says("notifications/initialized", None)).status_code == 202
        assert site.told == []


async def test_a_request_whose_answer_comes_elsewhere_is_answered_where_it_was_not_taken() -> None:
    """HTTP with SSE: the stream would never say so."""

    def fail(_: Any) -> Any:
        raise http.ConnectError("canary")

    for answer, taken in (
        (lambda _: http.Response(202), True),
        (lambda _: http.Response(500), False),
        (fail, False),
    ):
        site = Site(answer, elsewhere=True)
        assert (await site.says("tools/call")).status_code == 202
        assert [one["why"] for one in site.own] == ([] if taken else ["connection_lost"])
        assert site.told == ([] if taken else ["http"])
        site.watch.lose(7, "nobody waits for it")
        assert len(site.own) == (0 if taken else 1)


async def test_a_request_that_nobody_takes_in_time_is_answered() -> None:
    """The time is the call's."""

    async def hang(_: Any) -> Any:
        await anyio.sleep_forever()

    site = Site(hang, elsewhere=True, answer_seconds=0.01)
    assert (await site.says("tools/call")).status_code == 202
    assert [one["why"] for one in site.own] == ["connection_lost"]
    direct = Site(hang, answer_seconds=0.01)
    assert why(await direct.asks()) == "answer_timeout"


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
async def test_events_end_as_the_standard_says(line_end: bytes) -> None:
    """In any of three ways, cut anywhere."""
    whole = event(result(), id="1").replace(b"\n", line_end)
    for cut in range(1, len(whole)):
        assert await Site(streams(whole[:cut], whole[cut:])).asks() == json.loads(result())


@pytest.mark.parametrize("size", [1, 2, 1000])
async def test_lines_end_however_they_are_cut(size: int) -> None:
    """A byte at a time, every end of a line in two, and a byte order mark before them."""
    stream = b"\xef\xbb\xbf: hello\r\rid: a\r\ndata:\r\n\r\n" + event(result()).replace(b"\n", b"\r")
    parts = (stream[begin : begin + size] for begin in range(0, len(stream), size))
    response = await Site(streams(*parts)).says("tools/call")
    assert response.text == f"id: a\n\ndata: {result().decode()}\n\n"


async def test_what_the_client_reads_is_what_was_looked_at() -> None:
    """No charset, no separator of Unicode's and no comment gives it lines that were not."""
    hidden = ": \u2028data: ".encode() + result().replace(b"{}", b'{"hidden": 1}') + b"\n"
    split = event(result().replace(b", ", b",\ndata: "))
    headers = {"content-type": "text/event-stream; charset=utf-16"}
    response = await Site(streams(hidden + b"x: y\n" + split, **headers)).says("tools/call")
    assert response.text == f"data: {result().decode()}\n\n"
    assert response.headers["content-type"] == "text/event-stream"


@pytest.mark.parametrize("token", ["x" * 1025, "\U0001f600", "a b", "\x00"])
async def test_a_stream_is_not_resumed_from_what_no_header_can_hold(token: str) -> None:
    """Nor is it remembered: a thousand of such ids would fill the memory."""
    response = await Site(streams(event(b"", id=token))).says("tools/call")
    assert "id: " not in response.text
    assert why(message(response)) == "connection_lost"


async def test_an_event_of_too_many_lines_is_refused() -> None:
    """Before it is cut into them."""
    site = Site(streams(b"data: [\n" * 2000 + b"\n", event(result())), containers=1000)
    assert (await site.asks(), site.told) == (json.loads(result()), ["containers"])


async def test_a_resumption_takes_no_longer_than_an_answer() -> None:
    """A server may leave it open for ever, each time."""

    async def answer(asked: Any) -> Any:
        if asked.method == "GET":
            await anyio.sleep_forever()
        return streams(event(b"", id="one"))(None)

    site = Site(answer, answer_seconds=0.05)
    await site.says("tools/call")
    response = await site.client.get(URL, headers={"last-event-id": "one"})
    assert response.status_code == 504


@pytest.mark.parametrize(
    "answer",
    [
        lambda: http.Response(404),
        lambda: http.Response(204),
        lambda: http.Response(200, content=result(), headers=JSON),
        lambda: http.Response(401, headers={"www-authenticate": "Bearer"}),
    ],
)
async def test_a_resumption_that_is_refused_ends_its_call(answer: Callable[[], Any]) -> None:
    """With an error that says how far the call got."""

    def answers(asked: Any) -> Any:
        return answer() if asked.method == "GET" else streams(event(b"", id="one"))(None)

    site = Site(answers)
    await site.says("tools/call")
    response = await site.client.get(URL, headers={"last-event-id": "one"})
    data = message(response)["error"]["data"]
    assert (data["why"], data["fate"], site.told) == ("connection_lost", "sent", ["http"])


async def test_nothing_after_the_answer_is_passed_on() -> None:
    """The call is over: what follows belongs to nobody."""
    more = event(b'{"jsonrpc": "2.0", "method": "notifications/message", "params": {}}')
    response = await Site(streams(event(result()) + more)).says("tools/call")
    assert message(response) == json.loads(result())
    assert "notifications/message" not in response.text


@pytest.mark.parametrize(
    ("answer", "reason", "limit"),
    [
        (streams(b": hello\n\n", OSError("canary")), "connection_lost", "http"),
        (streams(b": hello\n\n"), "connection_lost", None),
        (streams(event(result()), **{"content-encoding": "br"}), "refused_answer", "message_bytes"),
        (streams(b"data: " + b"x" * 5000), "refused_answer", "message_bytes"),
        (streams(event(b'{"jsonrpc": "2.0", "id": 1, "result": 7}')), "refused_answer", "malformed"),
    ],
)
async def test_a_stream_without_a_good_answer_ends_with_an_error(
    answer: Any, reason: str, limit: str | None
) -> None:
    """And with one only, that says what became of the call."""
    site = Site(answer, message_bytes=1024)
    assert why(await site.asks()) == reason
    assert site.told == ([] if limit is None else [limit])


async def test_an_answer_to_another_request_is_not_passed_on() -> None:
    """Its place in the stream is kept, so that the client resumes after it."""
    site = Site(streams(event(result(2), id="a"), event(result(2)), event(result())))
    assert await site.asks() == json.loads(result())
    assert site.told == ["id", "id"]


async def test_a_broken_message_of_the_servers_own_stream_is_dropped() -> None:
    """An answer that waits is answered; the stream goes on."""
    broken = b'{"jsonrpc": "2.0", "id": 1, "result": 7}'
    site = Site(streams(event(broken, id="a"), event(broken), event(result(1), id="b")))
    site.watch.asked(body_of(request(1, "tools/call", None)))
    response = await site.client.get(URL)
    await response.aread()
    assert [line for line in response.text.split("\n") if line] == [
        "id: a",
        "id: b",
        f"data: {result().decode()}",
    ]
    assert [one["why"] for one in site.own] == ["refused_answer"]
    assert site.told == ["malformed", "malformed"]


async def test_a_pause_before_a_resumption_is_bounded() -> None:
    """Whatever a server asks for."""
    site = Site(streams(b"retry: 99999999999999\nid: a\n\n", b"retry: soon\n\n", b"retry: 1\nid: b\n\n"))
    response = await site.says("tools/call")
    asked = [line for line in response.text.split("\n") if line.startswith("retry")]
    assert asked == ["retry: 30000", "retry: 1000", "retry: 500"]


def test_resumptions_are_counted_for_a_bounded_number_of_answers() -> None:
    """A server that makes up event ids takes no memory."""
    resumptions = Resumptions(1)
    for number in range(MAX_TOKENS + 1):
        resumptions.seen(f"token-{number}", number)
        assert resumptions.begin(f"token-{number}") == number
        assert not resumptions.is_exhausted(number)
    assert resumptions.begin("token-0") is None
    assert resumptions.begin(None) is None
    assert not resumptions.is_exhausted(None)
    resumptions.begin(f"token-{MAX_TOKENS}")
    assert resumptions.is_exhausted(MAX_TOKENS)
    assert not resumptions.is_exhausted(0)


async def test_an_answer_that_cannot_be_closed_is_thrown_away() -> None:
    """That it failed concerns nobody."""

    class Stuck:
        is_closed = False

        async def aclose(self) -> None:
            raise RuntimeError("canary")

    await closed(Stuck())


def test_the_request_in_a_body_is_found_however_large_it_is() -> None:
    """A large one is not parsed for it."""
    large = {"method": "tools/call", "params": {"text": "x" * 2**17}, "jsonrpc": "2.0", "id": 7}
    assert asked_in(json.dumps(large).encode()) == ("unknown", 7)
    assert asked_in(b"x" * 2**17) == (None, None)
    assert asked_in(b'{"method": "tools/call", "id": 7}') == ("tools/call", 7)
    for body in (b"", b"[1]", b'{"method": 1}'):
        assert asked_in(body) == (None, None)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (None, None),
        ("7", 7.0),
        ("soon", None),
        ("9" * 65, None),
        ("9" * 64, MAX_RETRY_AFTER),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_AFTER),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("", None),
    ],
)
def test_when_to_try_again_is_read_in_both_forms(given: str | None, found: float | None) -> None:
    """RFC 9110, 10.2.3."""
    assert seconds(given) == found


def test_a_body_is_inflated_to_its_end_and_no_further() -> None:
    """What stands after the end of the compressed data is not part of it."""
    whole = gzip.compress(b"hello")
    assert b"".join(Inflater("gzip").pieces(whole + b"rest")) == b"hello"
    assert list(Inflater("gzip").pieces(b"")) == []
    raw = zlib.compress(b"hello")[2:-4]
    assert b"".join(Inflater("deflate").pieces(raw)) == b"hello"
    for size in range(2**16 - 4, 2**16 + 300):  # what is taken in at the end of a piece is not out yet
        packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        raw = packer.compress(bytes(size)) + packer.flush()
        assert sum(map(len, Inflater("deflate").pieces(raw))) == size
    with pytest.raises(zlib.error):
        list(Inflater("gzip").pieces(b"plain"))
    with pytest.raises(TooLarge):
        Inflater("br")


def test_a_report_is_known_by_its_mark_and_a_server_has_none() -> None:
    """Only this process can write one."""
    report = Report.of("http_status", fate=Fate.SENT, status=503)
    assert report.code == -32603
    assert Report.of("http_status", status=404).code == -32600
    taken = Report.taken(report.marked)
    assert isinstance(taken, Report)
    assert taken == report
    assert Report.taken({**report, MARK: "guessed"}) == dict(report)
    assert not isinstance(Report.taken({**report, MARK: "guessed"}), Report)
    found = reported(report.error("It failed."))
    assert found is not None
    assert (found.outcome, found.fate) == (Outcome.TRANSPORT_ERROR, Fate.SENT)
    assert reported(WireError(-32603, "It failed.", dict(report))) is None


async def test_an_answer_in_json_is_passed_on() -> None:
    """Within the limits nothing is changed."""
    site = Site(lambda _: http.Response(200, headers=JSON, content=result()))
    assert await site.asks() == json.loads(result())


@pytest.mark.parametrize(
    ("status", "headers", "body", "limit"),
    [
        (202, JSON, b"", "malformed"),
        (200, {"content-type": "text/html"}, b"<p>", "malformed"),
        (200, JSON, b"{", "malformed"),
        (200, JSON, b" " * 2000 + result(), "message_bytes"),
    ],
)
async def test_what_is_no_answer_is_refused_in_its_place(
    status: int, headers: dict[str, str], body: bytes, limit: str
) -> None:
    """The caller gets an error, and the operator the limit."""
    site = Site(lambda _: http.Response(status, headers=headers, content=body), message_bytes=1024)
    answer = await site.asks()
    assert (answer["id"], why(answer), site.told) == (1, "refused_answer", [limit])


async def test_a_server_that_has_forgotten_the_session_ends_the_connection() -> None:
    """MCP 2025-11-25, basic/transports: 404 means that there is no such session any more."""
    site = Site(lambda _: http.Response(404))
    answer = await site.asks(**{"mcp-session-id": "one"})
    assert (answer["error"]["data"]["limit"], site.told, site.watch.ended) == (
        "session",
        ["session"],
        "session",
    )


async def test_the_end_of_a_session_that_fails_is_the_clients_to_see() -> None:
    """Nothing waits for it."""

    def fail(request: Any) -> Any:
        raise http.ConnectError("gone", request=request)

    site = Site(fail)
    with pytest.raises(http.ConnectError):
        await site.client.delete(URL)
    assert site.told == []


async def test_a_server_without_a_stream_of_its_own_says_so() -> None:
    """The client goes on without."""
    site = Site(lambda _: http.Response(405, text="no"))
    assert (await site.client.get(URL)).status_code == 405


def test_a_body_that_grows_is_inflated_a_piece_at_a_time() -> None:
    """However little it is on the wire."""
    body = bytes(200_000)
    pieces = list(Inflater("gzip").pieces(gzip.compress(body)))
    assert len(pieces) > 1
    assert b"".join(pieces) == body


async def test_an_answer_that_is_resumed_too_often_is_an_error() -> None:
    """A server that ends the stream again and again would be asked for ever."""
    site = Site(lambda _: streams(event(b"", id="one"))(None), resumptions=1)
    await site.says("tools/call")
    answers = []
    for _ in range(2):
        response = await site.client.get(URL, headers={"last-event-id": "one"})
        answers.append(await response.aread())
    assert b'"error"' not in answers[0]
    assert (b'"error"' in answers[1], site.told) == (True, ["resumptions"])
