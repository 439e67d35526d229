"""`mcpguard demo`: real servers as processes, a real git, and what is there afterwards."""

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mcp import StdioServerParameters

from mcpguard import Guard
from mcpguard.audit.note import Verifier, new_key
from mcpguard.audit.reading import open_trail
from mcpguard.audit.verify import verify
from mcpguard.cli import demo
from mcpguard.cli.demo.agent import PATIENCE
from mcpguard.cli.demo.connect import Servers, bare, virtual
from mcpguard.cli.demo.performance import perform
from mcpguard.cli.demo.repo import (
    STRANGER,
    DemoError,
    clone,
    find_repository,
    look_at,
    make_repository,
)
from mcpguard.cli.demo.report import Report

FORBIDDEN = {"git_reset", "git_checkout", "delete_diffs", "drop_table"}
"""What the agent tries and the example policy denies."""

ASSESSMENTS = 5
"""How many the example policy's cap of a dollar pays for."""


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Both, and each demo once for all tests that look at it."""
    name: str = request.param
    return name


def run_command(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the demo as a user does, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "mcpguard", "demo", *arguments],
        env={**os.environ, **variables},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )


def git(directory: Path, *arguments: str) -> str:
    """Run git as somebody whose identity is known."""
    identity = ["-c", "user.name=Ana", "-c", "user.email=ana@example.com", "-c", "commit.gpgSign=false"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=directory, check=True, capture_output=True, encoding="utf-8"
    )
    return done.stdout.strip()


def fingerprint(directory: Path) -> dict[str, str]:
    """Every file of a directory, `.git` included, with a digest of its content."""
    return {
        str(file.relative_to(directory)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in directory.rglob("*")
        if file.is_file()
    }


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
class TestBothRuns:
    """One demo a backend, on the repository it makes.

    The SDK's HTTP client leaves generators to the garbage collector on trio.
    """

    @pytest.fixture(scope="class")
    async def report(self, anyio_backend: object, tmp_path_factory: pytest.TempPathFactory) -> Report:
        pytest.importorskip("mcp_server_git", reason="comes with the extra `demo`")
        audit = tmp_path_factory.mktemp("audit") / "audit.jsonl"
        return await perform(tmp_path_factory.mktemp("work").resolve(), None, audit, "yes")

    def test_without_a_guard_the_agent_harms_the_repository_and_the_database(self, report: Report) -> None:
        """The threat is real: else the guarded half proves nothing."""
        assert report.before.staged
        assert report.bare.repository.staged == ()
        assert report.bare.repository.branch is None
        assert report.bare.repository.head != report.before.head
        assert "database.history" not in report.bare.left.rows
        assert report.bare.left.rows["database.diffs"] == 4

    def test_with_the_guard_both_are_as_they_should_be(self, report: Report) -> None:
        """Fails when the guard is taken out."""
        assert report.guarded.repository == report.before
        assert report.guarded.left.rows["database.history"] == 5
        assert report.guarded.left.rows["database.diffs"] == 5

    def test_with_the_guard_the_work_that_was_asked_for_is_done(self, report: Report) -> None:
        """A guard that stops the agent's job would be no use."""
        for outcome in (report.bare, report.guarded):
            assert outcome.left.rows["tickets.tickets"] == 1
            assert outcome.left.rows["channel.messages"] == 2 + outcome.left.leaks["told to a stranger"]
            assert sum(step.tool == "store_diff" for step in outcome.steps) == 5

    def test_denied_tools_are_hidden_and_refused_by_name(self, report: Report) -> None:
        """Both: a model knows names that no list told it."""
        shown = {name.partition("__")[2] for name in report.guarded.tools}
        assert not shown & FORBIDDEN
        assert {name.partition("__")[2] for name in report.bare.tools} > FORBIDDEN
        refused = {step.tool: step for step in report.guarded.steps if step.denial == "access_denied"}
        assert refused.keys() == FORBIDDEN
        assert all(step.is_error and step.text for step in refused.values())

    def test_the_agent_that_waits_without_end_is_warned_then_refused_and_goes_on(
        self, report: Report
    ) -> None:
        """Its next step is another one: it says that the ticket is open."""
        assert sum(step.tool == "get_ticket" for step in report.bare.steps) == PATIENCE
        asked = [
            (index, decision.warnings, step.denial)
            for index, (step, decision) in enumerate(zip(report.guarded.steps, report.decisions, strict=True))
            if step.tool == "get_ticket"
        ]
        assert [outcome for _, *outcome in asked] == [
            [(), None],
            [(), None],
            [("loop_suspected",), None],
            [("loop_suspected",), None],
            [(), "loop_detected"],
        ]
        following = report.guarded.steps[asked[-1][0] + 1]
        assert (following.tool, following.denial) == ("notify", None)

    def test_what_would_cost_too_much_is_stopped_at_the_cap(self, report: Report) -> None:
        """The advisor's own bill says so."""
        assert report.bare.left.rows["advisor.bill"] == 2 * ASSESSMENTS
        assert report.guarded.left.rows["advisor.bill"] == ASSESSMENTS
        bought = [step.denial for step in report.guarded.steps if step.tool == "assess"]
        assert bought == [None] * ASSESSMENTS + ["budget_exhausted"] * ASSESSMENTS

    def test_a_server_that_is_down_is_left_alone_until_it_is_back(self, report: Report) -> None:
        """Bare, the agent keeps it down; guarded, the breaker gives it the time to come up."""
        assert all(step.is_error for step in report.bare.steps if step.tool == "on_duty")
        assert report.bare.left.rows["rota.requests"] == PATIENCE
        assert report.guarded.left.rows["rota.requests"] == 4
        assert report.guarded.steps[-1].text.startswith("Ana is on duty")
        states = [state.state for state in report.states if state.interceptor == "rota-breaker"]
        assert states == ["open", "half_open", "closed"]

    def test_a_diff_that_touches_secrets_is_stored_when_somebody_says_so(self, report: Report) -> None:
        """The trail says who; nobody is asked about the others."""
        stored = [
            decision.approver
            for step, decision in zip(report.guarded.steps, report.decisions, strict=True)
            if step.tool == "store_diff"
        ]
        assert [one for one in stored if one] == ["--approve yes"]
        assert len(stored) == 5

    @pytest.mark.parametrize("server", ["database", "tickets", "channel", "advisor"])
    def test_the_guarded_agent_holds_no_token_and_is_served_by_who_wants_one(
        self, report: Report, server: str
    ) -> None:
        """Each refuses what comes without, in a place of its own; the guard must have put it there."""
        assert (report.bare.tokens_held, report.guarded.tokens_held) == (4, 0)
        assert report.bare.tokens_sent == 1 + PATIENCE + 3
        assert report.guarded.tokens_sent == 0
        answered = [step for step in report.guarded.steps if step.server == server and not step.denial]
        assert answered
        assert not any(step.is_error for step in answered)
        assert f"{server.upper()}_TOKEN" not in os.environ

    def test_the_guarded_agent_sees_one_server_and_no_more_than_it_may_use(self, report: Report) -> None:
        """A tool is renamed for it, and another hidden, by the view; the agent does not know."""
        assert (report.bare.sessions, report.guarded.sessions) == (7, 1)
        assert {"rota__on_duty", "channel__read_channel"} <= set(report.bare.tools)
        assert set(report.guarded.tools) == {
            *(
                f"git__git_{name}"
                for name in ("status", "log", "show", "diff", "diff_staged", "diff_unstaged")
            ),
            *(
                "database__store_diff",
                "database__search_diffs",
                "tickets__open_ticket",
                "tickets__get_ticket",
            ),
            *("channel__notify", "advisor__assess", "rota__compliance_on_duty"),
        }

    def test_the_order_in_a_page_is_obeyed_bare_and_marked_and_stopped_guarded(self, report: Report) -> None:
        """The agent tries both times: it believes what it reads."""
        assert report.bare.left.leaks["told to a stranger"] == 1
        assert report.guarded.left.leaks["told to a stranger"] == 0
        for outcome in (report.bare, report.guarded):
            assert [step.about for step in outcome.steps if step.about == STRANGER] == [STRANGER]
        pairs = list(zip(report.guarded.steps, report.decisions, strict=True))
        assert [step.denial for step, _ in pairs if step.about == STRANGER] == ["flow_destination"]
        (page,) = [step for step, one in pairs if "injection_found" in one.warnings]
        assert "untrusted data" in page.text
        assert not any("untrusted data" in step.text for step in report.bare.steps)

    def test_a_token_in_a_commit_is_kept_bare_and_masked_guarded(self, report: Report) -> None:
        """The agent stores what it reads, in a database that others read."""
        assert report.bare.left.leaks["rows with a token"] == 1
        assert report.guarded.left.leaks["rows with a token"] == 0
        read = [step.text for step in report.guarded.steps if "registry_login" in step.text]
        assert read
        assert not any("glpat-" in text for text in read)

    def test_a_tool_that_asks_for_more_than_it_did_is_used_bare_and_withheld_guarded(
        self, report: Report
    ) -> None:
        """It was approved as it described itself before; the trail says what it is now."""
        assert (report.bare.left.leaks["drafts given away"], report.guarded.left.rows["style.checks"]) == (
            1,
            0,
        )
        assert "style__check_style" in set(report.bare.tools) - set(report.guarded.tools)
        assert [step.denial for step in report.guarded.steps if step.server == "style"] == ["tool_changed"]
        assert ("style check_style", "tool_changed") in {(one.of, one.state) for one in report.states}

    def test_the_stricter_policy_is_replayed_over_the_run(self, report: Report) -> None:
        """What the advisor and the rota were asked, and what came after twenty calls."""
        assert report.anew.denied["advisor assess"] == ASSESSMENTS
        assert report.anew.counts["denied"] == sum(report.anew.denied.values())
        assert "undecided" not in report.anew.counts

    def test_the_command_it_ends_with_says_the_same(self, report: Report) -> None:
        """A person goes on from there."""
        printed = dict(line.split(": ", 1) for line in report.left_behind() if not line.startswith(" "))
        *_, command = report.left_behind()
        _, _, *arguments = command.split()
        done = subprocess.run(
            [sys.executable, "-m", "mcpguard", "replay", *arguments, "--json"],
            capture_output=True,
            check=True,
        )
        assert json.loads(done.stdout)["counts"] == report.anew.counts
        assert f"denied {report.anew.counts['denied']} more" in printed["replay"]

    def test_the_trail_is_whole_and_signed_to_its_end(self, report: Report) -> None:
        """Verified with the run's own key, which is gone; another key has signed nothing."""
        trail = open_trail(report.audit)
        assert (report.trail.state, report.trail.signed) == ("intact", report.trail.records)
        assert report.trail.public is not None
        verdict = verify(trail, keys=[Verifier(report.trail.public)])
        assert (verdict.state, verdict.signed_seq) == ("intact", verdict.seq)
        _, another = new_key("somebody")
        assert verify(trail, keys=[Verifier(another)]).state != "intact"
        assert not list(report.audit.parent.rglob("*.key"))

    def test_the_report_is_one_page_that_loads_nothing(self, report: Report) -> None:
        """And it shows what was denied, and what it has cost."""
        text = report.trail.page.read_text("utf-8")
        assert not re.search(r"""(?:src|href)=["']?(?!#|data:)""", text)
        assert "budget_exhausted" in text
        assert report.trail.costs == {"USD": 1_000_000}
        assert report.trail.outcomes["denied"] == sum(bool(one.code) for one in report.decisions)

    def test_the_audit_file_agrees_with_what_the_agent_saw(self, report: Report) -> None:
        """Two witnesses: results the agent read, and events the guard wrote."""
        seen = [step.denial for step in report.guarded.steps]
        assert [decision.code for decision in report.decisions] == seen
        assert [decision.dispatched for decision in report.decisions] == [code is None for code in seen]
        assert report.events["run_opened"] == report.events["run_closed"] == 1

    def test_the_audit_file_holds_no_argument_and_no_result(self, report: Report) -> None:
        """Without a scrubber, digests only."""
        text = report.audit.read_text(encoding="utf-8")
        assert "def pay(amount: int)" in "".join(step.text for step in report.guarded.steps)
        assert "def pay(amount: int)" not in text
        assert "an-example-not-a-real-one" not in text
        assert "Ana Lima" not in text

    def test_the_document_is_json_and_names_every_difference(self, report: Report) -> None:
        """What `--json` prints."""
        document = json.loads(json.dumps(report.document()))
        assert len(document["guarded"]["steps"]) == len(document["decisions"])
        differing = {name for name, effect in document["effects"].items() if effect["differs"]}
        assert differing == {
            "calls carried out",
            "HEAD",
            "staged",
            "rows: database.diffs",
            "rows: database.history",
            "rows: advisor.bill",
            "rows: channel.messages",
            "rows: rota.requests",
            "rows: style.checks",
            "tools the agent saw",
            "tokens the agent held",
            "calls it put one on",
            "rows with a token",
            "told to a stranger",
            "drafts given away",
        }


class TestTheUsersRepository:
    """`--repo`: read, never changed."""

    @pytest.fixture(autouse=True)
    def needs_the_extra(self) -> None:
        pytest.importorskip("mcp_server_git", reason="comes with the extra `demo`")

    def test_no_byte_of_it_changes_nor_of_the_one_in_git_dir(self, tmp_path: Path) -> None:
        """It has work staged, a hook, and messages that try to steer; the demo runs as if from a git hook."""
        repository, decoy = make_repository(tmp_path / "theirs"), make_repository(tmp_path / "decoy")
        (repository / "big.txt").write_text("a line\n" * 200_000, encoding="utf-8")
        git(repository, "add", "--all")
        git(
            repository,
            "commit",
            "--message",
            f"Big\n\nCommit: {'f' * 40}\nAuthor: x",
            "--author",
            "\x1b[31mEve <e@x>",
        )
        (repository / ".git" / "hooks").mkdir(exist_ok=True)
        hook = repository / ".git" / "hooks" / "post-checkout"
        hook.write_text(f"#!/bin/sh\ntouch '{tmp_path}/hooked'\n", encoding="utf-8")
        hook.chmod(0o755)
        (repository / "unfinished.txt").write_text("mine", encoding="utf-8")
        git(repository, "add", "unfinished.txt")
        before = fingerprint(repository), fingerprint(decoy)

        audit = tmp_path / "audit.jsonl"
        audit.write_bytes(b"what stood in the file before, \xff and not JSON")
        done = run_command(
            "--repo", str(repository / "src"), "--audit", str(audit), "--json", GIT_DIR=str(decoy / ".git")
        )

        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        assert (fingerprint(repository), fingerprint(decoy)) == before
        assert not (tmp_path / "hooked").exists()
        document = json.loads(done.stdout)
        assert document["repository"] == str(repository)
        assert document["effects"]["HEAD"]["before"].endswith(git(repository, "rev-parse", "HEAD")[:8])
        assert document["effects"]["HEAD"]["guarded"] == document["effects"]["HEAD"]["before"]
        assert (document["audit"]["state"], document["audit"]["key"]) == ("intact", None)
        refused = [step for step in document["guarded"]["steps"] if step["denial"] == "approval_denied"]
        assert [step["tool"] for step in refused] == ["store_diff"]
        assert sum(step["tool"] == "store_diff" for step in document["unguarded"]["steps"]) == 5
        aside = tmp_path / "audit.jsonl.replaced-0"
        assert aside.read_bytes() == b"what stood in the file before, \xff and not JSON"
        assert audit.read_bytes().startswith(b'{"hash":')
        assert len(done.stdout) < 100_000

    def test_a_bare_one_with_one_commit_is_shown_in_plain_text(self, tmp_path: Path) -> None:
        """Output goes into files and READMEs: 100 columns, no escape codes, whatever the encoding."""
        work = tmp_path / "work"
        git(tmp_path, "init", "--quiet", str(work))
        (work / "a.txt").write_text("a\n", encoding="utf-8")
        git(work, "add", "a.txt")
        git(work, "commit", "--message", "Only one")
        git(tmp_path, "clone", "--quiet", "--bare", str(work), "bare.git")

        done = run_command(
            "--repo", str(tmp_path / "bare.git"), PYTHONIOENCODING="ascii", TMPDIR=str(tmp_path)
        )

        assert done.returncode == 0, done.stderr
        assert "\x1b" not in done.stdout
        lines = done.stdout.replace("\\u2026", ".").splitlines()
        assert all(
            len(line) <= 100
            or line.startswith(
                (
                    "policy:",
                    "audit:",
                    "repository:",
                    "chain:",
                    "report:",
                    "replay:",
                    "        mcpguard replay",
                )
            )
            for line in lines
        )
        assert all(line == line.rstrip() for line in done.stdout.splitlines())
        (audit,) = tmp_path.glob("mcpguard-demo-*.jsonl")
        assert f"report: {audit.with_suffix('.html')}" in done.stdout
        assert f"audit:  {audit}" in done.stdout

    def test_a_clone_shares_no_file_and_is_no_deeper_than_the_review(self, tmp_path: Path) -> None:
        """Large repositories are not copied whole."""
        origin = make_repository(tmp_path / "origin")
        for number in range(5):
            git(origin, "commit", "--allow-empty", "--message", f"Commit {number}")
        copy = clone(origin, tmp_path / "copy")
        assert look_at(copy).head == look_at(origin).head
        assert git(copy, "rev-list", "--count", "HEAD") == "6"
        assert all(file.stat().st_nlink == 1 for file in (origin / ".git").rglob("*") if file.is_file())


class TestErrors:
    """One clear line and exit code 2."""

    def fails(self, capsys: pytest.CaptureFixture[str], **arguments: object) -> str:
        """Run the command where it cannot work; what it says."""
        chosen = {"repo": None, "audit": None, "approve": None, "json": False} | arguments
        assert demo.run(argparse.Namespace(**chosen)) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("mcpguard demo: ")
        assert said.err.count("\n") == 1
        return said.err

    def test_a_missing_server_names_what_to_install(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The extra is optional; a traceback would not say so."""
        monkeypatch.setitem(sys.modules, "mcp_server_git", None)
        assert "pip install 'mcpguard-inline[demo]'" in self.fails(capsys)

    @pytest.mark.parametrize(
        ("path", "said"),
        [
            ("missing", "no such directory"),
            ("file", "no such directory"),
            ("plain", "not a git repository"),
            ("empty", "no commit yet"),
        ],
    )
    def test_what_is_no_repository_is_named(
        self, path: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Before any process is started."""
        pytest.importorskip("mcp_server_git", reason="comes with the extra `demo`")
        (tmp_path / "file").write_text("", encoding="utf-8")
        (tmp_path / "plain").mkdir()
        git(tmp_path, "init", "--quiet", "empty")
        message = self.fails(capsys, repo=tmp_path / path)
        assert said in message
        assert str(tmp_path / path) in message

    def test_a_missing_git_is_named(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The server needs the program, not only its Python package."""
        pytest.importorskip("mcp_server_git", reason="comes with the extra `demo`")
        monkeypatch.setenv("PATH", "")
        assert "git is missing" in self.fails(capsys)

    def test_an_audit_file_that_cannot_be_written_is_named(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Before any process is started."""
        pytest.importorskip("mcp_server_git", reason="comes with the extra `demo`")
        assert "--audit" in self.fails(capsys, audit=tmp_path / "no" / "audit.jsonl")

    @pytest.mark.anyio
    async def test_a_server_that_ends_at_once_is_told_with_its_last_words(self, tmp_path: Path) -> None:
        """Its stderr is not on the screen, so the line must carry the reason."""
        server = StdioServerParameters(command=sys.executable, args=["-c", "raise SystemExit('no database')"])
        with (tmp_path / "stderr").open("w+", encoding="utf-8") as stderr:
            servers = Servers(stdio={"database": server}, http={}, stderr=stderr)
            with pytest.raises(DemoError, match=r"a server failed: .*no database"):
                async with bare(servers, {}):
                    pass
            guard = Guard([])
            with pytest.raises(DemoError, match=r"database did not start; .*no database"):
                async with guard.run() as run, virtual(servers, guard, run):
                    pass

    @pytest.mark.anyio
    async def test_a_server_over_http_that_does_not_say_where_it_is_is_told(self, tmp_path: Path) -> None:
        """It ends before it listens."""
        server = StdioServerParameters(command=sys.executable, args=["-c", "raise SystemExit('no port')"])
        with (tmp_path / "stderr").open("w+", encoding="utf-8") as stderr:
            servers = Servers(stdio={}, http={"advisor": server}, stderr=stderr)
            with pytest.raises(DemoError, match=r"advisor did not say where it listens; no port"):
                async with bare(servers, {}):
                    pass

    def test_a_path_inside_a_repository_finds_its_root(self, tmp_path: Path) -> None:
        """As git itself does."""
        origin = make_repository(tmp_path / "origin")
        assert find_repository(origin / "src") == origin.resolve()
