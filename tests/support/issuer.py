"""Who issues tokens: keys made for the run, and what a policy says to accept them."""

import json
from time import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ISSUER, AUDIENCE = "https://issuer.example.org", "agents"
KEY, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
JWK = jwt.get_algorithm_by_name("EdDSA").to_jwk(KEY.public_key(), as_dict=True)  # type: ignore[attr-defined]


def token(user: str = "ana", *roles: str, key: Any = KEY, **changes: Any) -> str:
    """A token that is in order for a day, but for what is changed; None takes a claim out."""
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "exp": int(time()) + 86_400,
        "sub": user,
        "org": "acme",
        "roles": list(roles),
        **changes,
    }
    return jwt.encode(
        {name: value for name, value in claims.items() if value is not None}, key, algorithm="EdDSA"
    )


def principals() -> str:
    """The section of a policy that accepts them."""
    keys = json.dumps([{**JWK, "alg": "EdDSA"}])
    return f"""
principals:
  jwt:
    issuer: {ISSUER}
    audience: {AUDIENCE}
    keys: {keys}
    claims: {{tenant: org, roles: roles, keep: [acr]}}
"""
