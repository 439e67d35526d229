"""`mcpguard approvals`: a person answers from another process, with a key of their own."""

import getpass
import re
from pathlib import Path
from typing import Any

import anyio
import pytest
from chains import OK, Wire, linked, tool_call

from mcpguard import Approval, ApprovalRule
from mcpguard.cli import main

PASSPHRASE = "-".join(["only", "for", "tests"])


@pytest.fixture
def key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[str, str]:
    """A private key's file, and the public key."""
    monkeypatch.setattr(getpass, "getpass", lambda prompt: PASSPHRASE)
    file = str(tmp_path / "person.pem")
    assert main(["approvals", "keygen", file]) == 0
    return file, capsys.readouterr().out.strip()


def test_a_key_is_made_for_its_owner_alone_and_encrypted(key: tuple[str, str]) -> None:
    """And no file is overwritten."""
    file = Path(key[0])
    assert file.stat().st_mode & 0o777 == 0o600
    assert b"ENCRYPTED" in file.read_bytes()
    assert re.fullmatch(r"[A-Za-z0-9+/]{43}=", key[1])
    assert main(["approvals", "keygen", key[0]]) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["list"], "needs --store"),
        (["show", "--store", "sqlite:///x"], "needs the beginning of an id"),
        (["list", "--store", "redis://x"], "a store is sqlite:///PATH"),
        (["list", "--store", "sqlite:////nowhere/at/all.db"], "there is no store at"),
        (["keygen"], "needs the name of a file"),
    ],
)
def test_what_is_missing_is_said_in_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2."""
    assert main(["approvals", *arguments]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize(("action", "expected"), [("approve", None), ("deny", "approval_denied")])
def test_a_call_that_waits_in_a_file_is_answered_from_another_process(
    action: str,
    expected: str | None,
    key: tuple[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is listed, shown, answered once, and gone."""
    sqlite: Any = pytest.importorskip("mcpguard.stores.sqlite")
    file, public = key
    path = tmp_path / "state.db"
    url = f"sqlite:///{path}"
    codes: list[str | None] = []

    async def agent() -> None:
        store = sqlite.SQLiteStore(path)
        approval = Approval(rules=[ApprovalRule()], approver="store", keys=[public], store=store, poll=0.01)
        chain = linked(approval, clock=None).chain("tools/call", "outbound")
        result = await chain(tool_call(path="a"), Wire(OK))
        codes.append(None if result.denial is None else result.denial.code)
        await store.aclose()

    async def both() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(agent)
            await anyio.to_thread.run_sync(person)

    def person() -> None:
        listed = ""
        while '"files": tools/call "read"' not in listed:
            main(["approvals", "list", "--store", url])
            listed = capsys.readouterr().out
        question = re.search(r"^[0-9a-f]{16}", listed, re.MULTILINE)
        assert question is not None
        assert main(["approvals", "show", question[0], "--store", url]) == 0
        assert 'path = "a"' in capsys.readouterr().out
        answer = ["approvals", action, question[0], "--store", url, "--key", file]
        assert main(answer) == 0
        assert main(answer) == 2

    anyio.run(both)
    assert codes == [expected]
