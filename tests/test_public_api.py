"""The public API: what it is, that it resolves, and that importing it costs next to nothing."""

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from inspect import isfunction
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

import mcpguard
import mcpguard.testing

LISTED = Path(__file__).with_name("public_api.txt")


def test_the_public_api_is_what_is_listed() -> None:
    """A change of the API is a change of `public_api.txt`, which a reviewer sees."""
    names = [f"mcpguard.{name}" for name in sorted(mcpguard.__all__)]
    names += [f"mcpguard.testing.{name}" for name in sorted(mcpguard.testing.__all__)]
    assert "\n".join(names) + "\n" == LISTED.read_text()


@pytest.mark.parametrize("name", [name for name in mcpguard.__all__ if name != "__version__"])
def test_every_public_name_resolves(name: str) -> None:
    """Names are loaded on use (PEP 562), so a wrong home would be found by a user."""
    assert getattr(mcpguard, name) is not None
    assert name in dir(mcpguard)


def test_the_version_is_that_of_the_distribution() -> None:
    """There is one place where it is written."""
    try:
        installed = version("mcpguard-inline")
    except PackageNotFoundError:
        pytest.skip("mcpguard is not installed, this is a checkout")
    assert mcpguard.__version__ == installed


@pytest.mark.parametrize("name", mcpguard.testing.__all__)
def test_every_public_name_for_tests_resolves(name: str) -> None:
    """The same for `mcpguard.testing`."""
    assert getattr(mcpguard.testing, name) is not None
    assert name in dir(mcpguard.testing)


@pytest.mark.parametrize("module", [mcpguard, mcpguard.testing])
def test_a_name_that_is_not_there_is_an_attribute_error(module: object) -> None:
    """`hasattr`, `getattr` with a default and `from ... import` rely on it."""
    assert not hasattr(module, "Nonsense")
    with pytest.raises(AttributeError, match="has no attribute 'Nonsense'"):
        module.Nonsense  # type: ignore[attr-defined] # noqa: B018 - reading it is the test


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import mcpguard", ["mcp", "mcp_types", "pydantic", "anyio", "yaml", "rich", "httpx"]),
        ("import mcpguard.testing", ["mcp", "mcp_types", "pydantic", "anyio", "yaml", "rich", "httpx"]),
        ("from mcpguard import Call, Interceptor, Result, Run", ["mcp", "pydantic", "anyio"]),
        ("from mcpguard import Guard, Access, AccessRule, Budget", ["mcp", "pydantic"]),
        ("from mcpguard.testing import FakeClock, RecordingSink, ScriptedApprover", ["mcp", "pydantic"]),
        ("from mcpguard.testing import FakeServer, check_interceptor", ["mcp", "pydantic"]),
    ],
)
def test_importing_loads_only_what_is_needed(statement: str, absent: list[str]) -> None:
    """Agents start often; the SDK and pydantic cost a second."""
    script = f"{statement}\nimport sys\nprint([name for name in {absent!r} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def mentioned(hint: object) -> Iterator[type]:
    """The classes of this package in an annotation."""
    for inner in get_args(hint):
        yield from mentioned(inner)
    if isinstance(hint, type) and hint.__module__.startswith("mcpguard."):
        yield hint


@pytest.mark.parametrize(
    "name",
    ["Coverage", "Explanation", "Interceptor", "Store", "ConnectionView", "PolicyError", "Hold", "Account"],
)
def test_what_a_public_signature_mentions_is_public(name: str) -> None:
    """Whoever writes a store or an interceptor, or annotates what a guard shows, needs these names."""
    owner = getattr(mcpguard, name)
    hints = list(get_type_hints(owner).values())
    for member, function in vars(owner).items():
        if isfunction(function) and (not member.startswith("_") or member in ("__init__", "__call__")):
            hints += get_type_hints(function).values()
    found = {kind.__name__ for hint in hints for kind in mentioned(hint)}
    assert found <= set(mcpguard.__all__)
