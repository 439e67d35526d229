"""On whose behalf a call is made."""

import pytest

from mcpguard import Principal


def test_roles_may_be_any_collection_of_names() -> None:
    """Policies and tokens bring lists."""
    roles: object = ["a", "b", "a"]
    assert Principal(roles=roles).roles == frozenset({"a", "b"})  # type: ignore[arg-type]


def test_a_single_string_of_roles_is_refused() -> None:
    """`roles="admin"` would otherwise be the roles a, d, m, i and n."""
    roles: object = "admin"
    with pytest.raises(TypeError, match="not the single string 'admin'"):
        Principal(roles=roles)  # type: ignore[arg-type]


def test_claims_are_shown_nowhere_and_do_not_make_another_principal() -> None:
    """Claims come from tokens; whose session it is does not depend on them."""
    one = Principal(user="ada", claims={"jti": "canary-claim"})
    assert "canary" not in repr(one)
    assert one == Principal(user="ada")
    assert hash(one) == hash(Principal(user="ada"))


def test_principals_of_other_tenants_are_others() -> None:
    """A session belongs to one principal, and equality decides which."""
    assert Principal(tenant="a", user="ada") != Principal(tenant="b", user="ada")
