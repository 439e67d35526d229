"""Token endpoints: asked as the RFCs say, and believed as little as any server."""

import json
import math
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from protected import Site, served

from mcpguard import ClientCredentials, Principal, Secret, TokenExchange
from mcpguard.tokens.secret import TokenError

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

CLIENT_SECRET = Secret("client/" + "x" * 20)


@pytest.fixture(scope="module")
def shared_site() -> Iterator[Site]:
    """One server for this module."""
    with served() as site:
        yield site


@pytest.fixture
def site(shared_site: Site) -> Site:
    """The server, with nothing left from another test."""
    for one in (shared_site.forms, shared_site.headers, shared_site.answers, shared_site.tokens):
        one.clear()
    shared_site.expires_in = 3600
    return shared_site


def client(site: Site, **options: Any) -> ClientCredentials:
    """A client with a secret."""
    given = {"client_id": "agent", "client_secret": CLIENT_SECRET, **options}
    return ClientCredentials(site.token_url, **given)


async def test_client_credentials_are_asked_for_with_the_clients_own(site: Site) -> None:
    """OAuth 2.1, 4.2; the secret is in a header or the body, in no URL."""
    token = await client(site, scope="read", audience="crm", resource="https://crm.example").fetch(None)
    assert site.tokens[token.secret.reveal()] == "program"
    assert token.lifetime == 3600
    assert site.forms[-1] == {
        "grant_type": "client_credentials",
        "scope": "read",
        "audience": "crm",
        "resource": "https://crm.example",
    }
    assert site.headers[-1]["authorization"].startswith("Basic ")
    await client(site, authentication="post").fetch(None)
    assert site.forms[-1]["client_secret"] == CLIENT_SECRET.reveal()
    assert "authorization" not in site.headers[-1]


async def test_a_clients_secret_is_read_when_it_is_needed(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the environment or a file."""
    path = tmp_path / "secret"
    path.write_text("from-file\n")
    monkeypatch.setenv("CRM_SECRET", "from-environment")
    for given, seen in (
        ({"client_secret_environment": "CRM_SECRET"}, "from-environment"),
        ({"client_secret_file": path}, "from-file"),
    ):
        await client(site, client_secret=None, authentication="post", **given).fetch(None)
        assert site.forms[-1]["client_secret"] == seen
    with pytest.raises(TokenError, match="CRM_NONE"):
        await client(site, client_secret=None, client_secret_environment="CRM_NONE").fetch(None)


async def test_a_token_is_exchanged_for_the_callers_own(site: Site) -> None:
    """RFC 8693, 2.1."""
    own = site.issue("ana")
    source = TokenExchange(site.token_url, client_id="agent", client_secret=CLIENT_SECRET, audience="crm")
    token = await source.fetch(Principal(user="ana", claims={"access_token": own}))
    assert site.tokens[token.secret.reveal()] == "ana"
    assert site.forms[-1] == {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": own,
        "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "audience": "crm",
    }
    for nobody in (None, Principal(user="ana"), Principal(claims={"access_token": 5})):
        with pytest.raises(TokenError):
            await source.fetch(nobody)


LIES: list[tuple[int, Any]] = [
    (400, {"error": "invalid_client"}),
    (500, b""),
    (302, b""),
    (201, {"access_token": "x", "token_type": "Bearer"}),
    (200, b"not json"),
    (200, b"[" * 100_000),
    (200, [1]),
    (200, {"access_token": "abcdefgh"}),
    (200, {"access_token": "abcdefgh", "token_type": "mac"}),
    (200, {"access_token": "abcdefgh", "token_type": 5}),
    (200, {"token_type": "Bearer"}),
    (200, {"access_token": "", "token_type": "Bearer"}),
    (200, {"access_token": ["abcdefgh"], "token_type": "Bearer"}),
    (200, {"access_token": "ab\r\nX-Evil: 1", "token_type": "Bearer"}),
    (200, {"access_token": "abc\u00e9", "token_type": "Bearer"}),
    (200, {"access_token": "a" * 70_000, "token_type": "Bearer"}),
    (200, {"access_token": "abcdefgh", "token_type": "Bearer", "expires_in": True}),
    (200, {"access_token": "abcdefgh", "token_type": "Bearer", "expires_in": "soon"}),
    (200, {"access_token": "abcdefgh", "token_type": "Bearer", "expires_in": None}),
    (200, b'{"access_token": "abcdefgh", "token_type": "Bearer", "expires_in": NaN}'),
    (200, b'{"access_token": "abcdefgh", "token_type": "Bearer", "expires_in": Infinity}'),
    (200, b"x" * 1_000_000),
]


@pytest.mark.parametrize("lie", LIES)
async def test_an_endpoint_that_lies_gives_no_token_and_is_not_quoted(
    site: Site, lie: tuple[int, Any]
) -> None:
    """Whatever it says, the error names what is wrong and nothing it said."""
    site.answers.append(lie)
    with pytest.raises(TokenError) as raised:
        await client(site).fetch(None)
    for said in ("abcdefgh", "Evil", CLIENT_SECRET.reveal(), "invalid_client"):
        assert said not in repr(raised.value)


@pytest.mark.parametrize(
    ("said", "kept"), [(-5, 0.0), (0, 0.0), (1e12, 86_400.0), ("600", 600.0), (None, 300.0), (59.5, 59.5)]
)
async def test_a_lifetime_is_kept_within_bounds(site: Site, said: Any, kept: float) -> None:
    """A token that is good for ever is asked for again after a day; one that says nothing, after five minutes."""
    answer = {"access_token": "abcdefgh", "token_type": "bearer", "expires_in": said}
    if said is None:
        del answer["expires_in"]
    site.answers.append((200, answer))
    token = await client(site).fetch(None)
    assert token.lifetime == kept
    assert math.isfinite(token.lifetime)


async def test_an_endpoint_that_hangs_is_given_up() -> None:
    """It accepts the connection, and that is all."""
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
        port = listener.extra(anyio.abc.SocketAttribute.local_port)  # noqa: S610 - a socket's
        source = ClientCredentials(
            f"http://127.0.0.1:{port}/token", client_id="agent", client_secret=CLIENT_SECRET, timeout=0.2
        )
        with pytest.raises(TokenError, match="Timeout"):
            await source.fetch(None)


async def test_a_proxy_is_not_shown_what_goes_to_this_machine(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would get the client's secret in the clear, whoever set the variable."""
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.setblocking(False)
        for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        await client(site, timeout=5.0).fetch(None)
        with pytest.raises(BlockingIOError):
            proxy.accept()
    assert len(site.forms) == 1


async def test_an_answer_is_not_unpacked(site: Site) -> None:
    """A few bytes could be a gigabyte."""
    await client(site).fetch(None)
    assert site.headers[0]["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    "url",
    [
        "http://crm.example/token",
        "ftp://127.0.0.1/",
        "https://user@crm.example/",
        "https:///token",
        "token",
        "",
        "http://127.0.0.1.evil.example/",
        "https://crm.example/#x",
        "http://localhost.evil.example/",
    ],
)
def test_secrets_are_sent_to_no_endpoint_in_the_clear(url: str) -> None:
    """https, or this machine itself."""
    with pytest.raises(ValueError, match="token_url"):
        ClientCredentials(url, client_id="agent", client_secret=CLIENT_SECRET)


def test_a_client_says_who_it_is_in_one_way() -> None:
    """A secret given twice is a mistake, one without a client too."""
    url = "https://crm.example/token"
    for options in (
        {"client_id": "agent"},
        {"client_id": "a", "client_secret": CLIENT_SECRET, "client_secret_environment": "X"},
        {"client_id": "a", "client_secret": CLIENT_SECRET, "authentication": "none"},
    ):
        with pytest.raises(ValueError, match=r"\w"):
            ClientCredentials(url, **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="client_id"):
        TokenExchange(url, client_secret=CLIENT_SECRET)


def test_a_secret_does_not_show_itself() -> None:
    """In no repr, format, pickle or copy, also not of what holds it."""
    import copy
    import pickle

    url = "https://crm.example/token"
    source = ClientCredentials(url, client_id="agent", client_secret=CLIENT_SECRET)
    for shown in (repr(CLIENT_SECRET), f"{CLIENT_SECRET}", f"{CLIENT_SECRET!s}", repr(source), str([source])):
        assert CLIENT_SECRET.reveal() not in shown
    for dump in (pickle.dumps, copy.deepcopy, copy.copy, json.dumps):
        with pytest.raises(TypeError):
            dump(CLIENT_SECRET)
