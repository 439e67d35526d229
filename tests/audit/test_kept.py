"""A trail that an earlier version has written, in `kept/`: it verifies, is read the same, and is gone on with.

Two processes wrote it in strict mode, over three files, with payloads and signed checkpoints; the names in it are of
every kind that a record treats in its own way. Only the public half of its key is here.
"""

import json
import shutil
from pathlib import Path

import pytest
from trails import event, write

from mcpguard.audit.chain import parted
from mcpguard.audit.note import Verifier
from mcpguard.audit.reading import open_trail, records
from mcpguard.audit.record import encode
from mcpguard.audit.verify import verify
from mcpguard.cli import main

KEPT = Path(__file__).parent / "kept"


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    """A copy, as nothing may be written beside the files themselves."""
    return shutil.copytree(KEPT, tmp_path / "kept")


def test_a_trail_of_an_earlier_version_verifies(trail: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Chain, payloads, and signatures under the key that it was signed with."""
    verdict = verify(open_trail(trail), keys=[Verifier((KEPT / "public").read_text().strip())])
    assert (verdict.state, verdict.findings, verdict.crashes, verdict.erased) == ("intact", [], 0, 0)
    assert verdict.signed_seq == verdict.seq
    assert main(["audit", "verify", str(trail)]) == 0
    assert "intact" in capsys.readouterr().out


def test_a_record_of_an_earlier_version_would_be_written_the_same_today(trail: Path) -> None:
    """Canonical means one form: what is read and written again has the same bytes, escapes included."""
    lines = [line for file in open_trail(trail).segments for line in file.lines()]
    bodies = [parts[1] for line in lines if (parts := parted(line)) is not None]
    assert len(bodies) == len(lines) > 30
    assert [encode(json.loads(body)) for body in bodies] == bodies


@pytest.mark.anyio
async def test_a_trail_of_an_earlier_version_is_gone_on_with(trail: Path) -> None:
    """A guard that was brought up to date writes where the old one stopped."""
    before = sum(1 for _ in records(open_trail(trail)))
    await write(trail, [event(1)])
    verdict = verify(open_trail(trail))
    assert (verdict.state, verdict.records) == ("intact", before + 3)
