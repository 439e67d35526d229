"""guard.http_auth over real HTTP: each request has the token of whoever it is for, and no other place gets it."""

import gc
import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from harness import V1, opened, text, wire
from mcp import ClientSession
from protected import Site, connected, http, served

from mcpguard import (
    ClientCredentials,
    Credential,
    Credentials,
    Guard,
    GuardBuildError,
    Principal,
    SeamError,
    Secret,
    Token,
    TokenExchange,
)
from mcpguard.core.run import bound
from mcpguard.seams.http_auth import must_seal
from mcpguard.testing import FakeServer, Gate, RecordingSink

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

ANA = Principal(tenant="acme", user="ana")
BOB = Principal(tenant="other", user="bob")


@pytest.fixture
def site() -> Iterator[Site]:
    """A protected server and a token endpoint."""
    with served() as one:
        yield one


@pytest.fixture
def other() -> Iterator[Site]:
    """Another origin."""
    with served() as one:
        yield one


def bearer(**options: Any) -> Credential:
    """A credential in the header that everybody uses."""
    return Credential(**{"servers": ["crm"], "header": "Authorization", **options})


def skip_where_sessions_stall(backend: str) -> None:
    """Leave out what an unguarded session cannot do either."""
    if V1 and backend == "trio":
        pytest.skip("a bare session of SDK 1.x stalls on trio with many calls at once")


async def test_two_tenants_share_a_session_and_each_call_has_its_own_token(
    site: Site, anyio_backend: str
) -> None:
    """200 interleaved calls, as the server saw them."""
    skip_where_sessions_stall(anyio_backend)
    tokens = {who.tenant: site.issue(str(who.tenant)) for who in (ANA, BOB)}
    program = site.issue("program")
    rules = [bearer(tenants=[tenant], secret=Secret(token), use="calls") for tenant, token in tokens.items()]
    rules.append(bearer(secret=Secret(program), use="session"))
    sink = RecordingSink()
    guard = Guard([Credentials(rules=rules)], sinks=[sink])
    answers: list[str] = []

    async def work(client: ClientSession, who: Principal, start: int) -> None:
        async with guard.run(principal=who):
            for number in range(start, start + 10):
                given = {"tenant": who.tenant, "number": number}
                answers.append(text(wire(await client.call_tool("note", given))))

    async with guard.run(principal=ANA), connected(guard, site.url, shared=True) as client:
        with bound(None):
            async with anyio.create_task_group() as tasks:
                for start in range(0, 100, 10):
                    for who in (ANA, BOB):
                        tasks.start_soon(work, client, who, start)
    calls = site.calls()
    assert len(calls) == 200
    assert [owner for owner, _ in calls] == [arguments["tenant"] for _, arguments in calls]
    assert sorted(answers) == sorted(f"{who.tenant} {number}" for who in (ANA, BOB) for number in range(100))
    owners = {
        site.tokens.get((one.authorization or "")[7:])
        for one in site.seen
        if one.message.get("method") is None
    }
    assert owners <= {"program"}
    shown = str(sink.events) + repr(guard) + str(guard.status())
    assert not any(token in shown for token in site.tokens)


async def test_what_belongs_to_no_call_has_the_token_of_whoever_opened_the_session(site: Site) -> None:
    """The stream, notifications and the end of each of two sessions through one auth object."""
    tokens = {who.tenant: site.issue(str(who.tenant)) for who in (ANA, BOB)}
    rules = [bearer(tenants=[tenant], secret=Secret(token)) for tenant, token in tokens.items()]
    guard = Guard([Credentials(rules=rules)])
    async with anyio.create_task_group() as tasks:

        async def work(who: Principal) -> None:
            async with guard.run(principal=who), connected(guard, site.url) as session:
                await session.call_tool("note", {"tenant": who.tenant, "number": 1})

        for who in (ANA, BOB):
            tasks.start_soon(work, who)
    assert {one.status for one in site.seen} == {200}
    for method in ("GET", "DELETE"):
        assert {
            site.tokens.get((one.authorization or "")[7:]) for one in site.seen if one.method == method
        } == {
            "acme",
            "other",
        }
    assert all(owner == arguments["tenant"] for owner, arguments in site.calls())


async def test_a_stranger_on_a_shared_session_sends_nothing(site: Site) -> None:
    """Neither without a token nor with the one of the session."""
    rules = [
        bearer(tenants=["acme"], secret=Secret(site.issue("acme")), use="calls"),
        bearer(secret=Secret(site.issue("program")), use="session"),
    ]
    guard = Guard([Credentials(rules=rules)])
    async with guard.run(principal=ANA), connected(guard, site.url, shared=True) as client:
        with bound(None):
            async with guard.run(principal=BOB):
                refused = wire(await client.call_tool("note", {"tenant": "acme", "number": 1}))
    assert refused["isError"] is True
    assert site.calls() == []


async def test_a_401_renews_the_token_once_and_the_call_runs_once(site: Site, anyio_backend: str) -> None:
    """The server turned it away before it ran anything."""
    skip_where_sessions_stall(anyio_backend)
    source = ClientCredentials(site.token_url, client_id="agent", client_secret=Secret("x" * 20))
    guard = Guard([Credentials(rules=[bearer(client_credentials=source)])])
    async with connected(guard, site.url) as session:
        assert len(site.forms) == 1
        site.revoked.update(site.tokens)
        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(session.call_tool, "note", {"tenant": "t", "number": number})
        assert len(site.forms) == 2
    ran = [one for one in site.seen if one.message.get("method") == "tools/call" and one.status == 200]
    assert sorted(one.message["params"]["arguments"]["number"] for one in ran) == list(range(10))


async def test_a_server_that_accepts_no_token_is_asked_twice_and_no_more(site: Site) -> None:
    """No storm on the token endpoint, and no end without one."""

    async def give(principal: Principal | None) -> Token:
        asked.append(principal)
        return Token(Secret(f"never-{len(asked)}-accepted"), lifetime=100)

    asked: list[Any] = []
    auth = Guard([Credentials(rules=[bearer(function=give)])]).http_auth(name="crm")
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    async with http.AsyncClient(timeout=60, auth=auth) as client:
        response = await client.post(site.url, json=message)
    assert response.status_code == 401
    assert [one.status for one in site.seen] in ([401], [401, 401])
    assert len(asked) <= 2


async def test_a_token_is_exchanged_for_each_user(site: Site) -> None:
    """RFC 8693 from end to end: the server sees whose it is, and never the users' own."""
    own = {name: site.issue(name) for name in ("ana", "bob")}
    rule = bearer(token_exchange=TokenExchange(site.token_url, audience="crm"))
    guard = Guard([Credentials(rules=[rule])])
    for name, token in own.items():
        async with guard.run(principal=Principal(user=name, claims={"access_token": token})):
            async with connected(guard, site.url) as session:
                await session.call_tool("note", {"tenant": name, "number": 1})
                await session.call_tool("note", {"tenant": name, "number": 2})
    assert [(owner, given["tenant"]) for owner, given in site.calls()] == [
        (n, n) for n in ("ana", "ana", "bob", "bob")
    ]
    assert len(site.forms) == 2
    assert not {(one.authorization or "")[7:] for one in site.seen} & set(own.values())


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
async def test_a_redirect_to_another_origin_carries_no_token(site: Site, other: Site, header: str) -> None:
    """Also not in headers that HTTP libraries know nothing of, with redirects switched on."""
    rule = bearer(header=header, scheme="", secret=Secret(site.issue("acme")))
    auth = Guard([Credentials(rules=[rule])]).http_auth(name="crm")
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    site.elsewhere = other.url
    async with http.AsyncClient(timeout=60, auth=auth, follow_redirects=True) as client:
        await client.post(site.url.replace("/mcp", "/elsewhere"), json=message)
    assert [one.key or one.authorization for one in site.seen] != [None]
    assert [(one.key, one.authorization) for one in other.seen] == [(None, None)]


async def test_a_redirect_within_the_origin_keeps_the_token(site: Site) -> None:
    """A slash at the end is no other place."""
    rule = bearer(secret=Secret(site.issue("acme")))
    auth = Guard([Credentials(rules=[rule])]).http_auth(name="crm")
    message = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    async with http.AsyncClient(timeout=60, auth=auth, follow_redirects=True) as client:
        for _ in range(2):
            response = await client.post(site.url.replace("/mcp", "/moved"), json=message)
            assert response.status_code != 401


async def test_another_origin_gets_nothing_even_if_the_client_asks_it(site: Site, other: Site) -> None:
    """A client that is used for more than its server, and an address given beforehand."""
    rule = bearer(secret=Secret(site.issue("acme")))
    message = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    guard = Guard([Credentials(rules=[rule])])
    async with http.AsyncClient(timeout=60, auth=guard.http_auth(name="crm", url=site.url)) as client:
        await client.post(other.url, json=message)
        await client.post(site.url, json=message)
    assert [one.authorization for one in other.seen] == [None]
    assert [one.authorization for one in site.seen] != [None]


@pytest.mark.parametrize(
    "body",
    [
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"note"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"_meta":{"mcpguard/voucher":"guessed"}}}',
        b'{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"_meta":{"mcpguard/voucher":["x"]}}}',
        b'[{"jsonrpc":"2.0","id":1,"method":"tools/list"}]',
        b"not json",
        b"[" * 100_000,
        b"",
    ],
)
async def test_a_call_that_no_guard_saw_has_no_token(site: Site, body: bytes) -> None:
    """A session beside the guarded one, that uses the same client."""
    auth = Guard([Credentials(rules=[bearer(secret=Secret(site.issue("acme")))])]).http_auth(name="crm")
    sent: list[Any] = []

    async def keep(request: Any) -> None:
        sent.append([value for name, value in request.headers.raw if name.lower() == b"authorization"])

    async with http.AsyncClient(timeout=60, auth=auth, event_hooks={"request": [keep]}) as client:
        await client.post(site.token_url.replace("/token", "/moved"), content=body)
    assert sent == [[]]


async def test_no_token_is_in_a_log(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Of ours, the SDK's and the HTTP library's, at the finest level."""
    caplog.set_level(logging.DEBUG)
    source = ClientCredentials(site.token_url, client_id="agent", client_secret=Secret("y" * 24))
    guard = Guard([Credentials(rules=[bearer(client_credentials=source)])])
    async with connected(guard, site.url) as session:
        site.revoked.update(site.tokens)
        await session.call_tool("note", {"tenant": "t", "number": 1})
    assert len(site.tokens) == 2
    assert len(caplog.records) > 0
    assert not any(token in caplog.text for token in [*site.tokens, "y" * 24])


async def test_a_server_that_repeats_a_header_is_not_heard(site: Site) -> None:
    """What it saw does not come back to the model."""
    token = site.issue("acme")
    guard = Guard([Credentials(rules=[bearer(secret=Secret(token))])])
    async with connected(guard, site.url) as session:
        assert text(wire(await session.call_tool("repeat", {}))) == "Bearer [credential]"


async def test_without_the_interceptor_the_server_turns_the_call_away(site: Site) -> None:
    """The promise is the guard's."""
    auth = Guard([]).http_auth(name="crm")
    async with http.AsyncClient(timeout=60, auth=auth) as client:
        response = await client.post(site.url, json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    assert response.status_code == 401


def test_two_credentials_for_one_server_are_refused() -> None:
    """Which of them would decide?"""
    rules = [bearer(secret=Secret("a" * 8))]
    guard = Guard([Credentials(rules=rules, id="one"), Credentials(rules=rules, id="two")])
    with pytest.raises(GuardBuildError, match="several"):
        guard.http_auth(name="crm")
    with pytest.raises(ValueError, match="name"):
        guard.http_auth(name="")


def credentials(token: Path, *more: str) -> str:
    """A policy whose credential comes from a file."""
    rule = f"{{servers: [crm], header: Authorization, file: {token}}}"
    return "\n".join(
        [
            "version: 1",
            "interceptors:",
            f"  credentials: {{rules: [{rule}]}}",
            *(f"  {one}" for one in more),
        ]
    )


async def test_after_a_reload_calls_carry_the_credentials_of_the_new_policy(
    site: Site, tmp_path: Path
) -> None:
    """What was withdrawn is sent no more, on a session that stays open; neither by what belongs to no call."""
    for name in ("old", "new"):
        (tmp_path / name).write_text(site.issue(name))
    policy = tmp_path / "policy.yaml"
    policy.write_text(credentials(tmp_path / "old"))
    guard = Guard.from_policy(policy)
    async with connected(guard, site.url) as session:
        await session.call_tool("note", {"tenant": "a", "number": 1})
        policy.write_text(credentials(tmp_path / "new"))
        assert guard.reload()
        await session.call_tool("note", {"tenant": "a", "number": 2})
        seen = len(site.seen)
        policy.write_text("version: 1\ninterceptors: {}\n")
        assert guard.reload()
        async with http.AsyncClient(timeout=60, auth=guard.http_auth(name="crm")) as client:
            await client.post(site.url, json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
        policy.write_text(credentials(tmp_path / "old"))
        assert guard.reload()
    owners = [(owner, arguments["number"]) for owner, arguments in site.calls()]
    assert owners == [("old", 1), ("new", 2)]
    assert (site.seen[seen].message["method"], site.seen[seen].authorization) == ("tools/list", None)
    assert [
        site.tokens.get((one.authorization or "")[7:]) for one in site.seen if one.method == "DELETE"
    ] == ["old"]


async def test_a_call_under_way_while_the_policy_changes_keeps_its_own_credentials(
    site: Site, tmp_path: Path
) -> None:
    """It finishes on the chain it began with, whatever of its credential was asked for before or after."""
    for name in ("old", "new"):
        (tmp_path / name).write_text(site.issue(name))
    slot = "concurrency: {id: slot, slots: 1}"
    policy = tmp_path / "policy.yaml"
    policy.write_text(credentials(tmp_path / "old", slot))
    guard = Guard.from_policy(policy)
    gate, busy = Gate(), FakeServer()
    busy.tool("busy").waits_for(gate).returns("done")
    async with connected(guard, site.url) as session, opened(guard, busy, "session", name="crm") as other:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(other.call, "busy")
            await gate.reached()
            tasks.start_soon(session.call_tool, "note", {"tenant": "a", "number": 1})
            await anyio.wait_all_tasks_blocked()
            for name in ("new", "old", "new"):
                policy.write_text(
                    credentials(tmp_path / name, slot, f"deadline: {{id: {name}, seconds: 60}}")
                )
                assert guard.reload()
                gc.collect()
            gate.open()
        await session.call_tool("note", {"tenant": "a", "number": 2})
    owners = [(owner, arguments["number"]) for owner, arguments in site.calls()]
    assert owners == [("old", 1), ("new", 2)]


async def test_a_policy_with_two_credentials_for_one_server_is_refused_by_a_reload(
    site: Site, tmp_path: Path
) -> None:
    """Which of them would decide? The old ones go on."""
    (tmp_path / "old").write_text(site.issue("old"))
    policy = tmp_path / "policy.yaml"
    policy.write_text(credentials(tmp_path / "old"))
    guard = Guard.from_policy(policy)
    rule = f"{{servers: [crm], header: Authorization, file: {tmp_path / 'old'}}}"
    two = f"version: 1\ninterceptors:\n  credentials:\n    - {{id: a, rules: [{rule}]}}\n    - {{id: b, rules: [{rule}]}}\n"
    async with connected(guard, site.url) as session:
        policy.write_text(two)
        with pytest.raises(GuardBuildError, match="several"):
            guard.reload()
        await session.call_tool("note", {"tenant": "a", "number": 1})
    assert [owner for owner, _ in site.calls()] == ["old"]


async def test_a_name_has_one_origin(site: Site) -> None:
    """Another address for the same name is a mistake that would send a token there, or send none."""
    guard = Guard([Credentials(rules=[bearer(secret=Secret(site.issue("ana")))])])
    auth = guard.http_auth(name="crm")
    assert guard.http_auth(name="crm", url=site.url) is auth
    assert guard.http_auth(name="crm", url=f"{site.url}/other") is auth
    assert guard.http_auth(name="crm") is auth
    with pytest.raises(ValueError, match="one origin"):
        guard.http_auth(name="crm", url="https://crm.example/mcp")
    used = guard.http_auth(name="used")
    async with http.AsyncClient(auth=used, timeout=60) as client:
        await client.post(site.url, json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    with pytest.raises(ValueError, match="one origin"):
        guard.http_auth(name="used", url="https://used.example/mcp")


def test_an_auth_object_shows_nothing_and_is_for_async_clients_only() -> None:
    """An MCP session is asynchronous; a client of another kind would send without a credential."""
    secret = "s" * 12
    auth = Guard([Credentials(rules=[bearer(secret=Secret(secret))])]).http_auth(name="crm")
    assert repr(auth) == "<HTTPAuth of 'crm'>"
    with http.Client(auth=auth) as client, pytest.raises(SeamError, match="AsyncClient"):
        client.get("http://127.0.0.1:9/")


async def test_without_a_credential_for_the_session_its_own_messages_go_without(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The server decides; the log says why."""
    guard = Guard([Credentials(rules=[bearer(file=str(tmp_path / "missing"))])])
    async with http.AsyncClient(timeout=60, auth=guard.http_auth(name="crm")) as client:
        response = await client.post(site.url, json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    assert response.status_code == 401
    assert "there is no credential for the session to crm" in caplog.text


async def test_a_token_that_cannot_be_renewed_leaves_the_401(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is sent once."""
    token = tmp_path / "token"
    token.write_text("nobodys-token")
    guard = Guard([Credentials(rules=[bearer(file=str(token))])])

    def forget(_: Any) -> Any:
        token.unlink()
        return http.Response(401)

    transport = http.MockTransport(forget)
    async with http.AsyncClient(transport=transport, auth=guard.http_auth(name="crm")) as client:
        response = await client.post(site.url, json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    assert response.status_code == 401
    assert "was not accepted, and" in caplog.text
    assert "nobodys" not in caplog.text


async def test_a_token_that_is_not_accepted_where_a_redirect_leads_is_renewed(tmp_path: Path) -> None:
    """Once, and it goes there."""
    token = tmp_path / "token"
    token.write_text("first-token")
    guard = Guard([Credentials(rules=[bearer(file=str(token))])])
    sent: list[tuple[str, str | None]] = []

    def answer(request: Any) -> Any:
        seen = next((v.decode() for k, v in request.headers.raw if k.lower() == b"authorization"), None)
        sent.append((request.url.path, seen))
        if request.url.path == "/mcp":
            return http.Response(307, headers={"location": "/moved"})
        if seen == "Bearer first-token":
            token.write_text("second-token")
        return http.Response(200 if seen == "Bearer second-token" else 401)

    async with http.AsyncClient(
        transport=http.MockTransport(answer), auth=guard.http_auth(name="crm"), follow_redirects=True
    ) as client:
        response = await client.post(
            "http://crm.example/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        )
    assert response.status_code == 200
    assert ("/moved", "Bearer second-token") in sent


class Leaky:
    """Headers of a library that copies all that is sent."""

    def __init__(self, given: Any) -> None:
        self.raw_given = given.raw if isinstance(given, Leaky) else []

    @property
    def raw(self) -> list[tuple[bytes, bytes]]:
        return list(self.raw_given)

    def __contains__(self, name: str) -> bool:
        return any(key.decode() == name for key, _ in self.raw)


def test_a_library_whose_copies_of_headers_hold_everything_is_refused() -> None:
    """A redirect would carry the credentials elsewhere."""
    library = SimpleNamespace(Headers=Leaky, __name__="leaky", __version__="1.0")
    with pytest.raises(SeamError, match=r"leaky 1.0 would let headers follow a redirect"):
        must_seal(library)
