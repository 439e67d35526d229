"""The error tree and what its messages say."""

import pytest

from mcpguard import (
    Denied,
    GuardBuildError,
    LayerError,
    MCPGuardError,
    OrderError,
    PluginError,
    PolicyError,
    SeamError,
    TokenRefused,
)
from mcpguard.core.errors import Problem


@pytest.mark.parametrize(
    ("error", "bases"),
    [
        (GuardBuildError, (MCPGuardError, ValueError)),
        (OrderError, (GuardBuildError,)),
        (PolicyError, (GuardBuildError,)),
        (PluginError, (GuardBuildError,)),
        (SeamError, (MCPGuardError, TypeError)),
        (Denied, (MCPGuardError,)),
        (LayerError, (MCPGuardError, RuntimeError)),
    ],
)
def test_errors_stand_where_the_tree_says(error: type[Exception], bases: tuple[type, ...]) -> None:
    """The tree at the head of `core/errors.py`."""
    assert all(issubclass(error, base) for base in bases)


def test_a_policy_error_has_a_line_for_every_problem() -> None:
    """People fix a file in one go."""
    error = PolicyError("first", source="policy.yaml", line=3, more=[Problem("second"), Problem("third", 9)])
    assert str(error) == "policy.yaml:3: first\npolicy.yaml: second\npolicy.yaml:9: third"
    assert [problem.line for problem in error.problems] == [3, None, 9]


def test_a_denial_that_is_raised_carries_its_code_and_when_to_try_again() -> None:
    """`on_deny="raise"` gives programs what the model is told."""
    error = Denied("Not now.", code="rate_limited", retry_after=2.5)
    assert str(error) == "Not now. [rate_limited]"
    assert (error.code, error.retry_after) == ("rate_limited", 2.5)


def test_a_token_is_refused_with_a_code_and_nothing_of_the_token() -> None:
    """What to do about it stands in the docs, under the code."""
    error = TokenRefused("expired")
    assert (str(error), error.code) == ("the token was refused [expired]", "expired")
    assert isinstance(error, MCPGuardError)
