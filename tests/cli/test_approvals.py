"""`mcpguard approvals`: a person answers from another process, with a key of their own."""

import getpass
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from chains import OK, Wire, linked, tool_call
from servers import free_port, running

from mcpguard import Approval, ApprovalRule
from mcpguard.approvers.stored import open_questions
from mcpguard.cli import main
from mcpguard.stores.opening import open_store

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


async def ask_and_leave(url: str, public: str) -> str:
    """Leave a question in a store; its id."""
    store = open_store(url)
    approval = Approval(rules=[ApprovalRule()], approver="store", keys=[public], store=store, wait=0)
    result = await linked(approval, clock=None).chain("tools/call", "outbound")(tool_call(path="a"), Wire(OK))
    assert result.denial is not None
    assert result.denial.code == "approval_pending"
    (question,) = await open_questions(store, now=time.time())
    await store.aclose()
    return question.id


def test_a_passphrase_is_typed_twice_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A key whose passphrase nobody knows is none."""
    typed = iter([PASSPHRASE, PASSPHRASE + "r"])
    monkeypatch.setattr(getpass, "getpass", lambda prompt: next(typed))
    assert main(["approvals", "keygen", str(tmp_path / "new.pem")]) == 2
    assert capsys.readouterr().err.strip().endswith("the two passphrases are not the same")
    assert not (tmp_path / "new.pem").exists()


@pytest.mark.parametrize("action", ["keygen", "approve"])
def test_a_passphrase_that_nobody_can_type_is_said_in_one_line(
    key: tuple[str, str], tmp_path: Path, action: str
) -> None:
    """No terminal, and nothing at standard input."""
    url = f"sqlite:///{tmp_path}/state.db"
    what = [str(tmp_path / "new.pem")]
    if action == "approve":
        what = [anyio.run(ask_and_leave, url, key[1]), "--store", url, "--key", key[0]]
    ran = subprocess.run(
        [sys.executable, "-m", "mcpguard", "approvals", action, *what],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        start_new_session=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 2
    (told,) = ran.stderr.splitlines()
    assert told.endswith("the passphrase is typed at a terminal, and there is none")
    assert not (tmp_path / "new.pem").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["list"], "needs --store"),
        (["show", "--store", "sqlite:///x"], "needs the beginning of an id"),
        (["list", "--store", "postgres://x"], "a store's URL is one of"),
        (["list", "--store", "memory://"], "memory of another process"),
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


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A store that several processes reach: a file, or a real server."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'state.db'}"
        return
    with running(tmp_path) as server:
        yield server.url


def test_a_server_that_is_not_there_is_told_in_one_line_without_its_password(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing is answered, and no password is shown."""
    pytest.importorskip("redis")
    assert main(["approvals", "list", "--store", f"redis://:{PASSPHRASE}@127.0.0.1:{free_port()}/0"]) == 2
    told = capsys.readouterr()
    assert told.err.count("\n") == 1
    assert PASSPHRASE not in told.err + told.out


@pytest.mark.parametrize(("action", "expected"), [("approve", None), ("deny", "approval_denied")])
def test_a_call_that_waits_in_a_store_is_answered_from_another_process(
    action: str,
    expected: str | None,
    key: tuple[str, str],
    url: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is listed, shown, answered once, and gone."""
    file, public = key
    codes: list[str | None] = []
    monkeypatch.setenv("MCPGUARD_STORE", url)

    async def agent() -> None:
        store = open_store(url)
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
            main(["approvals", "list"])
            listed = capsys.readouterr().out
        question = re.search(r"^[0-9a-f]{16}", listed, re.MULTILINE)
        assert question is not None
        assert main(["approvals", "show", question[0], "--store", url]) == 0
        assert 'path = "a"' in capsys.readouterr().out
        answer = ["approvals", action, question[0], "--store", url, "--key", file]
        assert main(answer) == 0
        assert main(answer) == 2
        assert main(["approvals", "list", "--json"]) == 0
        assert capsys.readouterr().out.endswith("[]\n")

    anyio.run(both)
    assert codes == [expected]
