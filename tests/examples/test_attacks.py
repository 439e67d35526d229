"""The attacks in examples/attacks/ succeed without a guard, and are stopped or put to a person with one."""

import subprocess
import sys
from pathlib import Path

import pytest

ATTACKS = Path(__file__).parents[2] / "examples" / "attacks"

EXTRA = {
    "trifecta": [
        "a person was asked: the trifecta: the run has seen private (database/query), untrusted (issues/read)"
    ],
    "markdown_exfiltration": ["recorded: score 0.98: override, answer, exfiltrating_link"],
}
"""What else an attack's file prints."""


def test_every_known_attack_is_here() -> None:
    """The list of the threats page, and nothing that is not tested."""
    assert {path.stem for path in ATTACKS.glob("*.py")} - {"stage"} == {
        "escape_smuggling",
        "markdown_exfiltration",
        "poisoned_description",
        "rug_pull",
        "shadowing",
        "trifecta",
    }


@pytest.mark.parametrize("name", sorted(path.stem for path in ATTACKS.glob("*.py") if path.stem != "stage"))
def test_the_attack_succeeds_bare_and_fails_guarded(name: str, tmp_path: Path) -> None:
    """As a person would run it."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(ATTACKS / f"{name}.py")],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    printed = done.stdout.splitlines()
    assert printed[:2] == ["bare: the attack succeeds: True", "guarded: the attack succeeds: False"]
    assert printed[2:] == EXTRA.get(name, [])
