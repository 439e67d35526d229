"""The files in examples/ run as they are, each in a process of its own, without network or warnings."""

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(tmp_path: Path, *arguments: str) -> list[str]:
    """Run Python somewhere else than in the examples' folder; the lines it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout.splitlines()


def test_the_quickstart_shows_what_is_allowed_and_what_is_not(tmp_path: Path) -> None:
    """Two calls are sent, two refused, and all four recorded."""
    printed = run(tmp_path, str(EXAMPLES / "quickstart.py"))

    assert printed[0] == "tools: read_note"
    assert [line.rpartition(" ")[2] for line in printed[1:5]] == [
        "milk.",
        "[access_denied]",
        "milk.",
        "[budget_exhausted]",
    ]
    assert printed[5:] == [
        "sent to the server: 2",
        "recorded:",
        "  ana read_note ok",
        "  ana delete_note access_denied",
        "  ana read_note ok",
        "  ana read_note budget_exhausted",
    ]


def test_the_plugin_keeps_the_contract_and_does_its_work(tmp_path: Path) -> None:
    """It runs `check_interceptor` on its own class first."""
    assert run(tmp_path, str(EXAMPLES / "plugin_interceptor.py")) == [
        "A cat.",
        "[image left out: it cannot be read here]",
        "{'text_only': {'results_changed': 1}}",
    ]


def test_the_tests_with_fakes_pass(tmp_path: Path) -> None:
    """Four tests, each on asyncio and trio."""
    tests = str(EXAMPLES / "testing_with_fakes.py")
    printed = run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", tests)

    assert printed[-1].startswith("8 passed")
