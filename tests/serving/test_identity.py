"""Over HTTP, whoever calls is who their token says, request by request."""

from time import time
from typing import Any

import anyio
import httpx
import jwt
import pytest
from harness import V1, text, wire
from issuer import AUDIENCE, ISSUER, OTHER, principals, token
from served import INITIALIZE, Bearer, Serve, Served

from mcpguard import Principal
from mcpguard.core.errors import GuardBuildError
from mcpguard.serving.listening import Address
from mcpguard.testing import FakeServer

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

ERAS = ["legacy"] if V1 else ["legacy", "modern"]
BY_ROLE = "access: {default: deny, allow: [{servers: [git], tools: [log], roles: [reader]}]}"


async def called(client: Any, name: str = "git__log") -> str:
    """What the model reads."""
    return text(wire(await client.call_tool(name, {})))


@pytest.mark.parametrize("era", ERAS)
async def test_a_token_says_who_calls_and_the_policy_what_they_may(serve: Serve, era: str) -> None:
    """Lists, denials and records, for two principals at once."""
    async with serve(BY_ROLE) as served:
        async with (
            served.client(token("ana", "reader"), era) as ana,
            served.client(token("bob"), era) as bob,
        ):
            assert [tool.name for tool in (await ana.list_tools()).tools] == ["git__log"]
            assert (await bob.list_tools()).tools == []
            assert await called(ana) == "a commit"
            assert "access_denied" in await called(bob)
            assert "access_denied" in await called(ana, "git__reset")
        assert len(served.servers["git"].seen("tools/call")) == 1  # type: ignore[index]
        decided = served.events("decision")
        denied = [(event.user, event.tenant) for event in decided if event.verdict == "deny"]
        assert denied == [("bob", "acme"), ("ana", "acme")]


def unsigned() -> str:
    """A token with no signature."""
    claims = {"iss": ISSUER, "aud": AUDIENCE, "exp": int(time()) + 86_400, "sub": "ana", "org": "acme"}
    return jwt.encode(claims, "", algorithm="none")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "Bearer"),
        (token(key=OTHER), 'error="invalid_token", error_description="token_signature"'),
        (token(exp=int(time()) - 3600), "token_expired"),
        (token(aud="others"), "token_audience"),
        (token(iss="https://evil.net"), "token_issuer"),
        (token(org=None), "token_claims"),
        (unsigned(), "token_unsigned"),
        ("x" * 20_000, "token_malformed"),
        ("a.b.c", "token_malformed"),
    ],
    ids=["missing", "forged", "old", "audience", "issuer", "claims", "unsigned", "long", "nonsense"],
)
async def test_without_a_token_in_order_nothing_is_looked_at(
    serve: Serve, given: str | None, said: str
) -> None:
    """401, with what is wrong where clients look for it, and nothing of the token."""
    async with serve() as served:
        answer = await served.post(token=given)
        assert answer.status_code == 401
        assert said in answer.headers["www-authenticate"]
        assert not given or given not in answer.text
        assert "mcp-session-id" not in answer.headers
        assert served.servers["git"].seen("tools/call") == []  # type: ignore[index]


async def test_a_token_elsewhere_than_in_its_header_is_none(serve: Serve) -> None:
    """Not in the address, not twice, not under another scheme."""
    async with serve() as served:
        good = token()
        assert (await served.post(token=good)).status_code == 200
        assert (await served.post(authorization=f"Basic {good}")).status_code == 401
        assert (await served.get(f"/mcp?access_token={good}")).status_code == 401
        two = [("authorization", f"Bearer {good}")] * 2 + [("content-type", "application/json")]
        async with httpx.AsyncClient() as http:
            assert (await http.post(served.url, headers=two, json=INITIALIZE)).status_code == 401


async def opened(served: Served, given: str) -> dict[str, str]:
    """The headers of a raw session."""
    answer = await served.post(token=given)
    return {"mcp_session_id": answer.headers["mcp-session-id"], "mcp_protocol_version": "2025-06-18"}


CALL = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "git__log", "arguments": {}}}


async def test_a_session_serves_the_principal_that_opened_it_alone(serve: Serve) -> None:
    """With another's token it is not there: to call, to listen and to end."""
    async with serve() as served:
        session = await opened(served, token("ana"))
        assert "a commit" in (await served.post(CALL, token("ana"), **session)).text
        assert (await served.post(CALL, token("bob"), **session)).status_code == 404
        assert (await served.post(CALL, token("ana", org="other"), **session)).status_code == 404
        assert (await served.post(CALL, None, **session)).status_code == 401
        headers = {"mcp-session-id": session["mcp_session_id"], "authorization": f"Bearer {token('bob')}"}
        async with httpx.AsyncClient() as http:
            assert (await http.get(served.url, headers=headers)).status_code == 404
            resumed = {**headers, "last-event-id": "1"}
            assert (await http.get(served.url, headers=resumed)).status_code == 404
            assert (await http.delete(served.url, headers=headers)).status_code == 404
        assert "a commit" in (await served.post(CALL, token("ana"), **session)).text
        unknown = {**session, "mcp_session_id": "0" * 32}
        assert (await served.post(CALL, token("ana"), **unknown)).status_code == 404


async def test_an_id_that_a_client_chose_opens_nothing(serve: Serve) -> None:
    """Nobody is led into a session that somebody else knows."""
    async with serve() as served:
        chosen = {"mcp_session_id": "chosen"}
        assert (await served.post(token=token("ana"), **chosen)).status_code == 404
        assert (await served.post(CALL, token("ana"), **chosen)).status_code == 404


async def test_a_stream_that_is_resumed_is_opened_anew(serve: Serve) -> None:
    """Nothing is sent twice, and a client that asks for it is answered."""
    async with serve() as served:
        session = await opened(served, token())
        headers = {
            **{name.replace("_", "-"): value for name, value in session.items()},
            "authorization": f"Bearer {token()}",
            "accept": "text/event-stream",
            "last-event-id": "1",
        }
        async with httpx.AsyncClient() as http, http.stream("GET", served.url, headers=headers) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")


@pytest.mark.parametrize("era", ERAS)
async def test_calls_of_two_tenants_at_once_are_each_their_own(serve: Serve, era: str) -> None:
    """Interleaved on connections that are kept; the budget of one is not used by the other."""
    async with serve("budget: {id: cap, per: tenant, calls: 30}") as served:
        said: dict[str, list[str]] = {"acme": [], "other": []}

        async def work(tenant: str, client: Any) -> None:
            for _ in range(10):
                said[tenant].append(await called(client))

        async with (
            served.client(token("ana"), era) as ana,
            served.client(token("ana", org="other"), era) as other,
            anyio.create_task_group() as tasks,
        ):
            for _ in range(4):
                tasks.start_soon(work, "acme", ana)
            for _ in range(3):
                tasks.start_soon(work, "other", other)
        assert said["acme"].count("a commit") == 30
        assert said["other"] == ["a commit"] * 30
        denied = [event.tenant for event in served.events("decision") if event.verdict == "deny"]
        assert denied == ["acme"] * 10


@pytest.mark.parametrize("era", ERAS)
async def test_what_a_new_token_takes_away_is_gone_in_the_same_session(serve: Serve, era: str) -> None:
    """And what was used up stays used up."""
    async with serve(f"{BY_ROLE}\n  budget: {{id: cap, per: run, calls: 2}}") as served:
        bearer = Bearer(token("ana", "reader"))
        async with served.client(bearer, era) as ana:
            assert await called(ana) == "a commit"
            bearer.token = token("ana")
            assert "access_denied" in await called(ana)
            bearer.token = token("ana", "reader", "auditor")
            assert await called(ana) == "a commit"
            assert "budget_exhausted" in await called(ana)


@pytest.mark.skipif(V1, reason="SDK 1.x does not speak MCP 2026-07-28")
async def test_a_client_without_a_session_has_one_run_for_its_principal(serve: Serve) -> None:
    """However often it connects: a limit for a run is no limit for a request."""
    async with serve("budget: {id: cap, per: run, calls: 2}") as served:
        said = list[str]()
        for _ in range(3):
            async with served.client(token("ana"), "modern") as ana:
                said.append(await called(ana))
        async with served.client(token("bob"), "modern") as bob:
            said.append(await called(bob))
        assert said[:2] == ["a commit"] * 2
        assert "budget_exhausted" in said[2]
        assert said[3] == "a commit"


async def test_without_sessions_any_replica_may_answer(serve: Serve) -> None:
    """A legacy client is then one run too, and has no id that another would not know."""
    async with serve("budget: {id: cap, per: run, calls: 1}", http="{stateless: true}") as served:
        said = list[str]()
        for who in ("ana", "ana", "bob"):
            answer = await served.post(CALL, token(who), mcp_protocol_version="2025-06-18")
            assert "mcp-session-id" not in answer.headers
            said.append(answer.text)
        assert "a commit" in said[0]
        assert "budget_exhausted" in said[1]
        assert "a commit" in said[2]


async def test_where_the_issuer_cannot_be_asked_nobody_calls(serve: Serve) -> None:
    """503, which is no reason to fetch another token."""
    async with serve() as served:
        assert served.policy is not None
        assert served.guard is not None
        text = served.policy.read_text()
        start = text.index("    keys:")
        end = text.index("\n", start)
        served.policy.write_text(f"{text[:start]}    jwks_url: http://127.0.0.1:9/keys{text[end:]}")
        served.guard.reload()
        answer = await served.post(token=token())
        assert (answer.status_code, answer.json()) == (503, {"error": "token_keys_unavailable"})
        served.policy.write_text(text[: text.index("principals:")])
        served.guard.reload()
        assert (await served.post(token=token())).status_code == 503


async def test_tokens_that_a_reload_asks_for_are_asked_for(serve: Serve) -> None:
    """From the next request on, in sessions of before too; and who issues them is who does now."""
    resource = "{resource: 'https://mcp.example.org/mcp'}"
    async with serve(tokens=False, principal=Principal(user="ana", tenant="acme"), http=resource) as served:
        assert served.policy is not None
        assert served.guard is not None
        where = "/.well-known/oauth-protected-resource/mcp"
        opened = await served.post()
        session = {"mcp_session_id": opened.headers["mcp-session-id"]}
        assert "a commit" in (await served.post(CALL, **session)).text
        assert (await served.get(where)).status_code == 404
        before = served.policy.read_text()
        served.policy.write_text(before + principals())
        assert served.guard.reload()
        assert (await served.post()).status_code == 401
        assert (await served.post(CALL, **session)).status_code == 401
        assert (await served.post(token=token(key=OTHER))).status_code == 401
        assert "a commit" in (await served.post(CALL, token("ana"), **session)).text
        assert (await served.post(CALL, token("bob"), **session)).status_code == 404
        assert (await served.get(where)).json()["authorization_servers"] == [ISSUER]
        elsewhere = "https://elsewhere.example.org"
        served.policy.write_text(before + principals().replace(ISSUER, elsewhere))
        assert served.guard.reload()
        assert (await served.post(token=token())).status_code == 401
        assert (await served.post(token=token(iss=elsewhere))).status_code == 200
        assert (await served.get(where)).json()["authorization_servers"] == [elsewhere]


async def test_whoever_is_refused_is_told_where_tokens_are_from(serve: Serve) -> None:
    """RFC 9728, as MCP's authorization asks for."""
    async with serve(http="{resource: 'https://mcp.example.org/mcp'}") as served:
        where = "https://mcp.example.org/.well-known/oauth-protected-resource/mcp"
        assert f'resource_metadata="{where}"' in (await served.post()).headers["www-authenticate"]
        told = (await served.get("/.well-known/oauth-protected-resource/mcp")).json()
        assert (told["resource"], told["authorization_servers"]) == ("https://mcp.example.org/mcp", [ISSUER])
    async with serve() as served:
        assert (await served.get("/.well-known/oauth-protected-resource/mcp")).status_code == 404


async def test_without_tokens_everybody_is_who_was_named_at_the_start(serve: Serve) -> None:
    """On this machine alone."""
    ana = Principal(user="ana", roles=frozenset({"reader"}))
    async with serve(BY_ROLE, tokens=False, principal=ana) as served:
        async with served.client() as client:
            assert await called(client) == "a commit"
    async with serve(BY_ROLE, tokens=False) as served, served.client() as client:
        assert "no_principal" in await called(client)


EVERYWHERE = Address("::", 0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tokens": False, "address": EVERYWHERE}, "anybody who reaches :: could call"),
        ({"address": EVERYWHERE}, "needs http.hosts"),
        ({"tokens": False, "address": EVERYWHERE, "without_tokens": True}, "needs http.hosts"),
        ({"principal": Principal(user="ana")}, "nobody else can"),
    ],
)
async def test_what_would_let_anybody_call_is_refused_at_the_start(
    serve: Serve, options: dict[str, Any], said: str
) -> None:
    """Before anything listens."""
    with pytest.raises((GuardBuildError, ExceptionGroup)) as caught:
        async with serve(**options):
            pass
    error: BaseException = caught.value
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert said in str(error)


async def test_one_dead_server_does_not_stop_the_rest(serve: Serve) -> None:
    """What it offers is missing, and nothing else."""
    git, dead = FakeServer(), FakeServer()
    git.tool("log").returns("a commit")

    def gone() -> Any:
        raise OSError("no such server")

    async with serve(servers={"git": git, "dead": gone}) as served, served.client(token()) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["git__log"]
        assert await called(client) == "a commit"
        assert "could not be made" in await called(client, "dead__x")
        assert (await served.get("/readyz")).status_code == 200
    del dead
