"""`mcpguard replay` and `mcpguard explain`: another policy's judgement, and what it cannot know."""

import io
import json
from pathlib import Path
from typing import Any

import anyio
import pytest

from mcpguard import Access, AccessRule, Guard, JsonLines, Principal
from mcpguard.cli import main
from mcpguard.testing import FakeServer, structured, tool_error

OLD = [Access(default="allow", deny=[AccessRule(tools=["delete"])])]


async def work(folder: Path) -> None:
    """Ten reads, five failing writes and a denied call, of somebody with a role."""
    from mcp import ClientSession

    server = FakeServer()
    server.tool("read").returns(structured({"a": 1}))
    server.tool("write").returns(tool_error("no"))
    async with Guard(OLD, sinks=[JsonLines(folder / "audit")]) as guard, server.connect() as (read, write):
        session = guard.session(ClientSession(read, write), name="files")
        principal = Principal(tenant="acme", user="ana", roles=frozenset({"auditor"}))
        async with session, guard.run(principal=principal, id="job"):
            await session.initialize()
            for number in range(10):
                await session.call_tool("read", {"path": f"{number}"})
            for _ in range(5):
                await session.call_tool("write", {"path": "same"})
            await session.call_tool("delete", {})


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What they left."""
    folder = tmp_path_factory.mktemp("work")
    anyio.run(work, folder)
    return folder / "audit"


class Replayed:
    """Judges the trail by a policy."""

    def __init__(self, trail: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._trail, self._folder, self._capsys = trail, folder, capsys

    def __call__(self, interceptors: str, *options: str, head: str = "") -> dict[str, Any]:
        policy = self._folder / "policy.yaml"
        policy.write_text(
            f"version: 1\n{head}interceptors: {interceptors}\naudit: [jsonl: {{path: made/}}]\n"
        )
        code = main(["replay", "--policy", str(policy), str(self._trail), "--json", *options])
        assert code in (0, 1)
        assert not (self._folder / "made").exists()
        document: dict[str, Any] = json.loads(self._capsys.readouterr().out)
        document["code"] = code
        return document


@pytest.fixture
def replay(trail: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Replayed:
    """The command, on the trail."""
    return Replayed(trail, tmp_path, capsys)


def changes(document: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What changes for which call, and by which code."""
    return [(one["target"], one["change"], one["code"]) for one in document["calls"]]


def test_the_same_policy_changes_nothing(replay: Replayed) -> None:
    """Or the table would show what is not there."""
    document = replay('{access: {default: allow, deny: [{tools: ["delete"]}]}}', "--strict")
    assert (document["calls"], document["counts"], document["code"]) == ([], {"same": 17}, 0)


def test_a_stricter_policy_shows_what_it_would_have_denied(replay: Replayed) -> None:
    """By name, by number and by outcome, each at the recorded time."""
    document = replay('{access: {default: allow, deny: [{tools: ["write", "delete"]}]}}', "--strict")
    assert changes(document) == [("write", "denied", "access_denied")] * 5
    assert document["calls"][0]["why"] == "access: access.deny[0] covers it"
    assert document["code"] == 1
    document = replay("{access: {default: allow, deny: [{tools: [delete]}]}, budget: {per: run, calls: 12}}")
    assert changes(document) == [("write", "denied", "budget_exhausted")] * 3
    document = replay(
        "{access: {default: allow, deny: [{tools: [delete]}]}, rate_limit: {calls: 3, seconds: 3600}}"
    )
    assert [one[0] for one in changes(document)].count("read") == 7


def test_a_looser_policy_shows_what_it_would_have_let_through(replay: Replayed) -> None:
    """What would have become of the call nobody knows."""
    assert changes(replay("{access: {default: allow}}")) == [("delete", "allowed", "")]


def test_what_depends_on_what_is_not_recorded_is_undecided(replay: Replayed) -> None:
    """Roles, arguments that cost money, servers with another name; who cannot know is named."""
    roles = '{access: {default: deny, allow: [{tools: ["read"], roles: [auditor]}, {tools: [write]}]}}'
    document = replay(roles)
    assert {one for one in changes(document) if one[0] in ("read", "write")} == {("read", "undecided", "")}
    money = "{access: {default: allow, deny: [{tools: [delete]}]}, budget: {id: money, cost: 1 USD, max_cost: 1 USD}}"
    document = replay(money)
    assert {one["why"] for one in document["calls"]} == {"money: needs what is not recorded"}
    assert document["counts"]["undecided"] == 15
    document = replay("{}", head="servers: {git: {}}\n")
    assert document["counts"] == {"undecided": 17}
    assert "declares no server called 'files'" in document["calls"][0]["why"]


def test_a_rule_in_audit_mode_changes_nothing(replay: Replayed) -> None:
    """It would not have decided anything."""
    document = replay('{access: {default: allow, deny: [{tools: ["*"]}], mode: audit}}', "--run", "job")
    assert changes(document) == [("delete", "allowed", "")]


async def task_by_task(folder: Path) -> None:
    """Two tasks of two calls each under one id, the second with a task below it, which is under one id too."""
    from mcp import ClientSession

    server = FakeServer()
    server.tool("read").returns(structured({"a": 1}))
    async with Guard(sinks=[JsonLines(folder / "audit")]) as guard, server.connect() as (read, write):
        async with guard.session(ClientSession(read, write), name="files") as session:
            await session.initialize()
            for _ in range(2):
                async with guard.run(principal=Principal(user="ana"), id="task-1"):
                    await session.call_tool("read", {"path": "a"})
                    async with guard.run(id="below"):
                        await session.call_tool("read", {"path": "b"})


def test_a_run_that_was_opened_again_starts_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A budget is that of a run, and two runs may have one id: the run above as well."""
    anyio.run(task_by_task, tmp_path)
    replay = Replayed(tmp_path / "audit", tmp_path, capsys)
    assert replay("{budget: {per: run, calls: 2}}")["counts"] == {"same": 5}
    assert replay("{budget: {per: run, calls: 1}}")["counts"] == {"same": 3, "denied": 2}
    assert main(["audit", "stats", str(tmp_path / "audit"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"] == 4


@pytest.mark.parametrize(
    ("options", "outcome"),
    [
        ("rules: [{tools: [write], arguments: {path: {max_length: 3}}}]", {"write": "undecided"}),
        ("rules: [{tools: [write], effect: deny}]", {"write": "denied"}),
        ("rules: [{tools: [write], roles: [auditor], effect: deny}]", {"write": "undecided"}),
        ("rules: [{tools: [write], tenants: [other], effect: deny}]", {}),
        ("rules: [{servers: [git], only: true}]", {}),
        ("rules: [{tools: [write], when: 'true'}], default: deny", {"write": "undecided", "read": "denied"}),
        ("rules: [{tools: [read, write]}], default: deny", {}),
        ("rules: [{tools: [none], only: true}], schema: true", {"read": "undecided", "write": "undecided"}),
    ],
)
def test_only_calls_that_a_rule_about_arguments_may_be_about_are_undecided(
    replay: Replayed, options: str, outcome: dict[str, str]
) -> None:
    """Server, tool, tenant and agent are recorded; arguments and roles are not."""
    access = "access: {default: allow, deny: [{tools: [delete]}]}"
    document = replay(f"{{{access}, argument_rules: {{{options}}}}}")
    assert {one["target"]: one["change"] for one in document["calls"] if one["target"]} == outcome


def explain(folder: Path, call: Any, interceptors: str, *options: str) -> int:
    """Explain a call under a policy."""
    (folder / "policy.yaml").write_text(f"version: 1\ninterceptors: {interceptors}\n")
    (folder / "call.json").write_text(call if isinstance(call, str) else json.dumps(call))
    return main(["explain", "--policy", str(folder / "policy.yaml"), str(folder / "call.json"), *options])


POLICY = "{access: {default: deny, allow: [{tools: [read], roles: [auditor]}]}, budget: {per: run, calls: 5}}"


def test_explain_shows_every_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Who says what, and what the end of it is."""
    call = {"server": "files", "tool": "read", "principal": {"user": "ana", "roles": ["auditor"]}}
    assert explain(tmp_path, call, POLICY) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["#", "interceptor", "hook", "mode", "verdict", "code", "reason"]
    assert [line[1:5] for line in lines[1:-2]] == [
        ["access", "check", "enforce", "allow"],
        ["budget", "check", "enforce", "allow"],
        ["budget", "layer", "enforce", "undecided"],
    ]
    assert lines[-2] == ["allow"]
    assert lines[-1][:2] == ["judged", "alone:"]
    assert explain(tmp_path, {**call, "tool": "delete"}, POLICY, "--json") == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["verdict"], document["code"]) == ("deny", "access_denied")


def test_explain_reads_a_call_from_stdin(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the name that other programs have for it."""
    (tmp_path / "policy.yaml").write_text(f"version: 1\ninterceptors: {POLICY}\n")
    monkeypatch.setattr("sys.stdin", io.StringIO('{"server": "files", "tool": "delete"}'))
    assert main(["explain", "--policy", str(tmp_path / "policy.yaml"), "-"]) == 1
    assert capsys.readouterr().out.splitlines()[-2].startswith("deny: ")


def test_the_call_that_the_docs_show_is_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file's shape stands in docs/cli.md."""
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text("utf-8")
    shown = page.split("```json\n")[1].split("```")[0]
    assert json.loads(shown)["tool"] == "git_log"
    assert explain(tmp_path, shown, "{access: {default: deny, allow: [{roles: [auditor]}]}}") == 0
    assert capsys.readouterr().out.splitlines()[-2] == "allow"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ([], "expected a mapping"),
        ({"server": "s"}, "either tool or method"),
        ({"server": "s", "tool": "t", "method": "m"}, "either tool or method"),
        ({"tool": "t"}, "expected server"),
        ({"server": "s", "tool": "t", "canary": 1}, "accepted here"),
        ({"server": "s", "tool": "t", "arguments": [1]}, "arguments are a mapping"),
        ({"server": "s", "tool": "t", "principal": {"name": "x"}}, "a principal has"),
        ({"server": "s", "tool": "t", "principal": {"roles": "x"}}, "roles takes a collection"),
        ({"server": "s", "tool": "t", "direction": "up"}, "direction is"),
    ],
)
def test_a_call_that_is_none_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], call: Any, message: str
) -> None:
    """Exit code 2, on stderr."""
    assert explain(tmp_path, call, POLICY) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert (said.out, said.err.count("\n")) == ("", 1)
