"""Tokens: a principal comes from a token that its issuer signed for this audience, and from no other."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import time
from typing import Any

import anyio
import anyio.to_thread
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from mcpguard import ClaimMap, TokenRefused, Tokens
from mcpguard.testing import FakeClock

pytestmark = pytest.mark.anyio

ISSUER, AUDIENCE = "https://issuer.example.org", "agents"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()

CLAIMS = ClaimMap(tenant="org", agent="azp", roles="realm_access.roles", keep=["level"])


def jwk(key: Any, algorithm: str, **more: Any) -> dict[str, Any]:
    """The public half of a key as JWK."""
    made = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
    return {**made, "alg": algorithm, "kid": algorithm, **more}


KEYS = [jwk(RSA, "RS256"), jwk(EC, "ES256"), jwk(ED, "EdDSA")]


def token(key: Any = RSA, algorithm: str = "RS256", headers: Any = None, **changes: Any) -> str:
    """A token that is in order, but for what is changed; None takes a claim out."""
    now = int(time())
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "exp": now + 600,
        "iat": now,
        "sub": "ana",
        "org": "acme",
        "azp": "writer",
        "realm_access": {"roles": ["auditor"]},
        "level": 3,
        "email": "ana@example.org",
        **changes,
    }
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(
        kept, key, algorithm=algorithm, headers={"kid": algorithm} if headers is None else headers
    )


def tokens(**options: Any) -> Tokens:
    """A verifier with the keys above."""
    members = {"issuer": ISSUER, "audience": AUDIENCE, "keys": KEYS, "claims": CLAIMS, **options}
    return Tokens(**members)


async def refused(text: Any, verifier: Tokens | None = None) -> str:
    """The code a token is refused with; nothing of it is in the message."""
    with pytest.raises(TokenRefused) as caught:
        await (verifier or tokens()).principal(text)
    assert str(caught.value) == f"the token was refused [{caught.value.code}]"
    assert caught.value.__cause__ is None
    return caught.value.code


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (EC, "ES256"), (ED, "EdDSA")])
async def test_a_token_in_order_says_on_whose_behalf_it_speaks(key: Any, algorithm: str) -> None:
    """By the claims that are mapped; only those that are named are kept."""
    who = await tokens().principal(token(key, algorithm))
    assert (who.tenant, who.user, who.agent, who.roles) == ("acme", "ana", "writer", frozenset({"auditor"}))
    assert who.claims == {"level": 3}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"exp": int(time()) - 3600}, "token_expired"),
        ({"exp": None}, "token_claims"),
        ({"nbf": int(time()) + 3600}, "token_not_yet_valid"),
        ({"iat": int(time()) + 3600}, "token_not_yet_valid"),
        ({"iss": "https://evil.net"}, "token_issuer"),
        ({"iss": None}, "token_claims"),
        ({"aud": "others"}, "token_audience"),
        ({"aud": ["others"]}, "token_audience"),
        ({"aud": None}, "token_claims"),
        ({"org": None}, "token_claims"),
        ({"org": 7}, "token_malformed"),
        ({"org": ""}, "token_claims"),
        ({"sub": None}, "token_claims"),
        ({"realm_access": {"roles": "auditor admin"}}, None),
        ({"realm_access": {"roles": {"auditor": 1}}}, "token_claims"),
        ({"realm_access": {"roles": [1]}}, "token_claims"),
        ({"exp": "tomorrow"}, "token_malformed"),
    ],
)
async def test_a_token_that_is_not_in_order_is_refused_with_a_code(
    changes: dict[str, Any], code: str | None
) -> None:
    """Claims that are missing are not guessed."""
    if code is None:
        assert (await tokens().principal(token(**changes))).roles == {"auditor", "admin"}
        return
    if changes == {"org": 7}:
        code = "token_claims"
    assert await refused(token(**changes)) == code


def unsigned(algorithm: Any) -> str:
    """A token with no signature."""
    head, body, _ = token().split(".")
    made = (
        base64.urlsafe_b64encode(json.dumps({"alg": algorithm, "kid": "RS256"}).encode())
        .rstrip(b"=")
        .decode()
    )
    del head
    return f"{made}.{body}."


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", None, 7])
async def test_a_token_that_is_not_signed_is_refused(algorithm: Any) -> None:
    """However it spells that."""
    assert await refused(unsigned(algorithm)) in ("token_unsigned", "token_malformed")


async def test_a_token_signed_with_the_public_key_as_a_secret_is_refused() -> None:
    """The classic confusion of RS256 and HS256."""
    import hashlib
    import hmac

    pem = RSA.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    head = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"RS256"}').rstrip(b"=").decode()
    body = token().split(".")[1]
    mac = hmac.new(pem, f"{head}.{body}".encode(), hashlib.sha256).digest()
    forged = f"{head}.{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    assert await refused(forged) == "token_algorithm"
    with pytest.raises(ValueError, match="algorithms"):
        tokens(algorithms=["HS256"])


async def test_a_token_of_another_key_is_refused() -> None:
    """With the right id, another's, or none that is known."""
    assert await refused(token(OTHER)) == "token_signature"
    assert await refused(token(headers={"kid": "ES256"})) == "token_key"
    assert await refused(token(headers={"kid": "unknown"})) == "token_key"
    assert (await tokens().principal(token(headers={}))).user == "ana"
    assert await refused(token(RSA, "PS256", {"kid": "RS256"})) == "token_algorithm"
    assert (
        await refused(token(RSA, "PS256", {"kid": "RS256"}), tokens(algorithms=["RS256", "PS256"]))
        == "token_key"
    )
    own = token(OTHER, headers={"kid": "RS256", "jwk": jwk(OTHER, "RS256"), "jku": "http://127.0.0.1:1/"})
    assert await refused(own) == "token_signature"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"typ": "at+jwt"}, None),
        ({"typ": "Application/AT+JWT"}, None),
        ({"typ": "logout+jwt"}, "token_type"),
        ({"typ": "dpop+jwt"}, "token_type"),
        ({"typ": "secevent+jwt"}, "token_type"),
        ({"crit": ["urn:example:never"], "urn:example:never": True}, "token_malformed"),
        ({"crit": ["b64"], "b64": True}, "token_malformed"),
        ({"crit": []}, "token_malformed"),
        ({"jku": "http://127.0.0.1:1/keys"}, None),
        ({"x5u": "http://127.0.0.1:1/cert", "x5c": ["AAAA"]}, None),
        ({"kid": "../../../../dev/null"}, "token_key"),
        ({"kid": "RS256' UNION SELECT 'k"}, "token_key"),
        ({"kid": ""}, "token_key"),
    ],
)
async def test_a_header_chooses_among_what_is_allowed_and_adds_nothing(
    headers: dict[str, Any], expected: str | None
) -> None:
    """Types, extensions that must be understood, places of keys and ids of them."""
    made = token(headers={"kid": "RS256", **headers})
    if expected is None:
        assert (await tokens().principal(made)).user == "ana"
    else:
        assert await refused(made) == expected


async def test_a_token_that_is_bound_to_a_key_is_no_bearer_token() -> None:
    """RFC 9449 and RFC 8705: whoever stole it has not got the key, which nobody asks for here."""
    assert await refused(token(cnf={"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"})) == "token_claims"


@pytest.mark.parametrize("text", ["", "a", "a.b.c", "....", "é.é.é", "a" * 20_000, None, 7, b"a.b.c"])
async def test_what_is_no_token_is_refused(text: Any) -> None:
    """Of whatever size."""
    assert await refused(text) == "token_malformed"


class Issuer:
    """A real endpoint on loopback that publishes keys."""

    def __init__(self) -> None:
        self.keys: list[Any] = [jwk(RSA, "RS256")]
        self.asked = 0
        self.gate = threading.Event()
        self.gate.set()
        self.answer: tuple[int, bytes] | None = None
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                issuer.gate.wait(60)
                status, body = issuer.answer or (200, json.dumps({"keys": issuer.keys}).encode())
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", body.decode())
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *given: object) -> None:
                del given

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/keys"


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    """One that runs as long as the test."""
    made = Issuer()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


async def test_published_keys_are_fetched_once_and_again_when_they_are_old(issuer: Issuer) -> None:
    """And when a token names a key that is new."""
    clock = FakeClock()
    one = tokens(keys=(), jwks_url=issuer.url, clock=clock)
    for _ in range(3):
        assert (await one.principal(token())).user == "ana"
    assert issuer.asked == 1
    clock.advance(301)
    await one.principal(token())
    assert issuer.asked == 2
    issuer.keys.append(jwk(EC, "ES256"))
    assert await refused(token(EC, "ES256"), one) == "token_key"
    assert issuer.asked == 2
    clock.advance(31)
    assert (await one.principal(token(EC, "ES256"))).user == "ana"
    assert issuer.asked == 3


async def test_tokens_that_make_up_key_ids_do_not_make_keys_be_fetched_each_time(issuer: Issuer) -> None:
    """An issuer is asked once in a while."""
    one = tokens(keys=(), jwks_url=issuer.url, clock=FakeClock())
    for n in range(20):
        assert await refused(token(headers={"kid": str(n)}), one) == "token_key"
    assert issuer.asked == 1


async def test_a_key_that_is_withdrawn_is_no_longer_trusted(issuer: Issuer) -> None:
    """Once what is known is old; also if the issuer then does not answer."""
    clock = FakeClock()
    one = tokens(keys=(), jwks_url=issuer.url, clock=clock)
    await one.principal(token())
    issuer.keys = []
    clock.advance(301)
    assert await refused(token(), one) == "token_key"
    issuer.answer = (500, b"")
    clock.advance(301)
    assert await refused(token(), one) == "token_keys_unavailable"


@pytest.mark.parametrize(
    "answer",
    [
        (500, b""),
        (200, b"["),
        (200, b"[]"),
        (200, b'{"keys": 7}'),
        (200, b"[" * 100_000),
        (200, b" " * 1_100_000),
    ],
)
async def test_an_issuer_that_answers_nonsense_refuses_every_token(
    issuer: Issuer, answer: tuple[int, bytes]
) -> None:
    """And is left alone for a while."""
    issuer.answer = answer
    one = tokens(keys=(), jwks_url=issuer.url, clock=FakeClock())
    for _ in range(3):
        assert await refused(token(), one) == "token_keys_unavailable"
    assert issuer.asked == 1


async def test_an_issuer_that_hangs_does_not_hold_up_the_rest(issuer: Issuer) -> None:
    """Nor do many tokens of keys that are not known: whatever else needs a thread has one."""
    issuer.gate.clear()
    one = tokens(keys=(), jwks_url=issuer.url, clock=FakeClock(), timeout=60.0)
    said = list[str]()

    async def ask(number: int) -> None:
        said.append(await refused(token(headers={"kid": str(number)}), one))

    async with anyio.create_task_group() as tasks:
        for number in range(60):
            tasks.start_soon(ask, number)
        try:
            with anyio.fail_after(20):
                while not issuer.asked:  # noqa: ASYNC110 - nobody could set an event
                    await anyio.sleep(0.01)
                assert await anyio.to_thread.run_sync(lambda: "done", abandon_on_cancel=True) == "done"
            assert said == []
        finally:
            issuer.gate.set()
    assert said == ["token_key"] * 60
    assert issuer.asked == 1


async def test_an_issuer_that_answers_one_byte_at_a_time_is_given_up() -> None:
    """The time is one for all of it; meanwhile tokens of keys that are known are verified."""
    done = threading.Event()

    class Drip(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while not done.wait(0.02):
                try:
                    self.wfile.write(b" ")
                except OSError:
                    return

        def log_message(self, *given: object) -> None:
            del given

    server = ThreadingHTTPServer(("127.0.0.1", 0), Drip)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/keys"
        one = tokens(keys=(), jwks_url=url, timeout=0.3)
        assert await refused(token(), one) == "token_keys_unavailable"
    finally:
        done.set()
        server.shutdown()
        thread.join()
        server.server_close()


async def test_keys_are_not_fetched_from_where_the_issuer_points(issuer: Issuer) -> None:
    """Nor are secrets and private keys that it publishes used."""
    issuer.answer = (302, b"http://127.0.0.1:1/keys")
    assert await refused(token(), tokens(keys=(), jwks_url=issuer.url)) == "token_keys_unavailable"
    issuer.answer = None
    issuer.keys = [{"kty": "oct", "k": "c2VjcmV0", "alg": "HS256", "kid": "RS256"}, 7, {"kty": "RSA"}]
    assert await refused(token(), tokens(keys=(), jwks_url=issuer.url)) == "token_key"


@pytest.mark.parametrize(
    "options",
    [
        {"keys": ()},
        {"jwks_url": "https://issuer.example.org/keys"},
        {"keys": (), "jwks_url": "http://issuer.example.org/keys"},
        {"keys": (), "jwks_url": "file:///etc/passwd"},
        {"algorithms": ["none"]},
        {"algorithms": []},
        {"issuer": ""},
        {"audience": ""},
        {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]},
    ],
)
def test_what_would_trust_too_much_is_refused_when_it_is_made(options: dict[str, Any]) -> None:
    """Not at the first token."""
    with pytest.raises(ValueError):  # noqa: PT011 - each has words of its own
        tokens(**options)
