"""`mcpguard check` and the commands beside it, as a person and as a program meet them."""

import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mcpguard
from mcpguard.cli import main

POLICY = """\
version: 1
servers:
  git: {}
  mailer: {shared: true}
interceptors:
  budget: {id: run-cap, calls: 20, mode: audit, fail_open: true}
  access:
    default: deny
    allow:
      - {servers: [git], tools: ["git_*"]}
audit:
  - jsonl: {path: audit/}
"""

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A valid policy, in the current directory; nobody forces colour."""
    monkeypatch.chdir(tmp_path)
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    file = Path("policy.yaml")
    file.write_text(POLICY)
    return file


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(mcpguard.__file__).parents[1])}
"""For processes started in another folder: where the package under test is."""


def test_a_rule_for_a_server_that_nobody_declared_is_logged_when_the_guard_is_built(
    policy: Path, capsys: Captured, caplog: pytest.LogCaptureFixture
) -> None:
    """In the words of the check: a deny rule with a misspelt name denies nothing."""
    policy.write_text(
        "version: 1\nservers: {git: {}}\ninterceptors:\n  access:\n    default: allow\n"
        "    deny: [{servers: [gti], tools: [push]}]\n"
    )
    mcpguard.Guard.from_policy(policy)
    (logged,) = caplog.messages
    assert "no declared server is called 'gti'" in logged
    assert main(["check", str(policy)]) == 0
    assert logged.partition(" ")[2] in capsys.readouterr().out
    caplog.clear()
    policy.write_text(policy.read_text().replace("gti", "git"))
    mcpguard.Guard.from_policy(policy)
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("sink", "package"),
    [
        ("postgres: {url: 'postgresql://localhost/audit'}", "psycopg"),
        ("webhook: {url: 'http://localhost:9/'}", "httpx"),
        ("nats: {url: 'nats://localhost:9'}", "nats"),
    ],
)
def test_a_sink_without_its_package_names_the_extra(
    policy: Path, sink: str, package: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checked and built alike, with file and line; in Python too."""
    name = sink.partition(":")[0]
    policy.write_text(f"version: 1\ninterceptors: {{budget: {{calls: 3}}}}\naudit:\n  - {sink}\n")
    monkeypatch.setitem(sys.modules, package, None)
    said = f"policy.yaml:4: audit[0].{name}: needs {package}: pip install 'mcpguard-inline[{name}]'"
    assert main(["check", str(policy)]) == 2
    assert said in capsys.readouterr().err
    with pytest.raises(mcpguard.PolicyError, match=re.escape(said)):
        mcpguard.Guard.from_policy(policy)
    made = {"postgres": mcpguard.PostgreSQL, "webhook": mcpguard.Webhook, "nats": mcpguard.JetStream}[name]
    with pytest.raises(ModuleNotFoundError, match=re.escape(f"mcpguard-inline[{name}]")):
        made("http://localhost:9/")


@pytest.mark.parametrize(
    ("rest", "where", "package", "extra"),
    [
        ("store: redis://localhost:9/0\n", "store", "redis", "redis"),
        ("store: valkeys://localhost:9/0\n", "store", "redis", "redis"),
        ("audit: [{jsonl: {path: audit/, key: log.key}}]\n", "audit[0].jsonl", "cryptography", "audit"),
        ("audit: [{sqlite: {path: a.db, key: log.key}}]\n", "audit[0].sqlite", "cryptography", "audit"),
    ],
)
def test_an_option_without_its_package_names_the_extra(
    policy: Path,
    rest: str,
    where: str,
    package: str,
    extra: str,
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A store of a server's, a trail that is signed: checked and built alike, and nothing is opened."""
    policy.write_text(f"version: 1\ninterceptors: {{budget: {{calls: 3}}}}\n{rest}")
    monkeypatch.setitem(sys.modules, package, None)
    said = f"policy.yaml:3: {where}: needs {package}: pip install 'mcpguard-inline[{extra}]'"
    assert main(["check", str(policy)]) == 2
    assert said in capsys.readouterr().err
    with pytest.raises(mcpguard.PolicyError, match=re.escape(said)):
        mcpguard.Guard.from_policy(policy)
    assert [one.name for one in Path().iterdir()] == ["policy.yaml"]
    policy.write_text("version: 1\ninterceptors: {budget: {calls: 3}}\naudit: [{jsonl: {path: audit/}}]\n")
    assert main(["check", str(policy)]) == 0


def test_a_question_that_can_be_left_nowhere_is_a_fault(policy: Path, capsys: Captured) -> None:
    """As when the guard is built; with a store named nothing is opened, and a call can be explained."""
    pytest.importorskip("cryptography")
    key = base64.b64encode(bytes(range(32))).decode()
    approval = f"interceptors:\n  approval: {{approver: store, keys: ['{key}'], rules: [{{tools: [pay]}}]}}\n"
    policy.write_text(f"version: 1\n{approval}")
    with pytest.raises(mcpguard.GuardBuildError, match="asks by way of a store"):
        mcpguard.Guard.from_policy(policy)
    assert main(["check", str(policy)]) == 2
    assert "asks by way of a store" in capsys.readouterr().err
    policy.write_text(f"version: 1\nstore: sqlite:///state.db\n{approval}")
    Path("call.json").write_text('{"server": "bank", "tool": "pay"}')
    assert main(["check", str(policy)]) == 0
    assert main(["explain", "--policy", str(policy), "call.json"]) == 1
    assert not Path("state.db").exists()


@pytest.mark.usefixtures("policy")
def test_a_valid_policy_is_shown_as_what_runs_where(capsys: Captured) -> None:
    """Valid? what runs where?"""
    assert main(["check", "policy.yaml"]) == 0

    out, err = capsys.readouterr()
    assert err == ""
    listings = "prompts/list, resources/list, resources/templates/list, tools/list"
    assert out.splitlines() == [
        "policy.yaml: valid",
        f"#  interceptor       hook    {'outbound':{len(listings)}}  inbound  mode     fails",
        f"1  access            check   {'*':{len(listings)}}  -        enforce  closed",
        f"2  access            filter  {listings}  -        enforce  closed",
        f"3  run-cap (budget)  check   {'tools/call':{len(listings)}}  -        audit    open",
        f"4  run-cap (budget)  layer   {'tools/call':{len(listings)}}  -        audit    open",
        "servers: git, mailer (shared)",
        "audit: jsonl",
        "on_deny: result; anonymous: deny",
    ]


@pytest.mark.usefixtures("policy")
def test_the_same_for_programs(capsys: Captured) -> None:
    """The keys of docs/cli.md."""
    assert main(["check", "policy.yaml", "--json"]) == 0

    report = json.loads(capsys.readouterr().out)
    digest = report.pop("digest")
    hooks = report.pop("hooks")
    assert report == {
        "valid": True,
        "source": "policy.yaml",
        "on_deny": "result",
        "anonymous": "deny",
        "servers": {"git": {"shared": False}, "mailer": {"shared": True}},
        "sinks": ["jsonl"],
        "warnings": [],
    }
    assert len(digest) == 64
    assert hooks[2] == {
        "position": 3,
        "interceptor": "run-cap",
        "name": "budget",
        "hook": "check",
        "handles": [{"method": "tools/call", "direction": "outbound"}],
        "mode": "audit",
        "fail_open": True,
    }


def test_checking_creates_and_opens_nothing(policy: Path) -> None:
    """The audit file belongs to the guard."""
    assert main(["check", "policy.yaml"]) == 0
    assert [one.name for one in policy.absolute().parent.iterdir()] == ["policy.yaml"]


def test_an_invalid_policy_is_a_line_for_each_problem_and_exit_code_2(policy: Path, capsys: Captured) -> None:
    """Errors are one clear line and exit code 2."""
    policy.write_text("version: 1\ninterceptors:\n  budget: {cals: 3}\n  acces: {}\n")

    assert main(["check", "policy.yaml"]) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert [line.partition(";")[0] for line in err.splitlines()] == [
        "policy.yaml:3: interceptors.budget: unknown key 'cals'",
        "policy.yaml:4: unknown interceptor 'acces'",
    ]


def test_an_invalid_policy_is_a_document_for_programs(policy: Path, capsys: Captured) -> None:
    """The same problems, with their lines as numbers; people still get theirs on stderr."""
    policy.write_text("version: 2\n")

    assert main(["check", "policy.yaml", "--json"]) == 2

    out, err = capsys.readouterr()
    assert json.loads(out) == {
        "valid": False,
        "source": "policy.yaml",
        "problems": [{"line": 1, "message": "version: expected 1, got a whole number"}],
    }
    assert err == "policy.yaml:1: version: expected 1, got a whole number\n"


@pytest.mark.usefixtures("policy")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "nowhere.yaml"], "nowhere.yaml: cannot be read: No such file or directory"),
        (["check", "."], ".: the suffix tells the format"),
        (["check"], "mcpguard check: the following arguments are required: POLICY"),
        (["check", "policy.yaml", "--jsn"], "mcpguard: unrecognized arguments: --jsn"),
        (["chek"], "mcpguard: argument COMMAND: invalid choice: 'chek'"),
        ([], "mcpguard: the following arguments are required: COMMAND"),
    ],
)
def test_unusable_input_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, capsys: Captured
) -> None:
    """Never a traceback, never a page of usage."""
    assert main(arguments) == 2

    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(message)
    assert len(err.splitlines()) == 1


def test_warnings_are_shown_and_fail_only_under_strict(policy: Path, capsys: Captured) -> None:
    """Rules that can never match: valid, and probably not meant."""
    policy.write_text(POLICY.replace("servers: [git]", "servers: [gti]"))

    assert main(["check", "policy.yaml"]) == 0
    assert main(["check", "policy.yaml", "--strict"]) == 1
    shown = capsys.readouterr().out.splitlines()
    assert main(["check", "policy.yaml", "--strict", "--json"]) == 1

    warning = "access.allow[0]: no declared server is called 'gti'"
    assert shown.count(f"policy.yaml:7: warning: {warning}") == 2
    assert json.loads(capsys.readouterr().out)["warnings"] == [{"line": 7, "message": warning}]


@pytest.mark.usefixtures("policy")
def test_strict_without_warnings_is_success() -> None:
    """For continuous integration."""
    assert main(["check", "policy.yaml", "--strict"]) == 0


def test_a_policy_without_interceptors_has_no_table(policy: Path, capsys: Captured) -> None:
    """An empty table would say less than the warning."""
    policy.write_text("version: 1\n")

    assert main(["check", "policy.yaml"]) == 0

    assert capsys.readouterr().out.splitlines() == [
        "policy.yaml: valid",
        "servers: none declared",
        "audit: none",
        "on_deny: result; anonymous: deny",
        "policy.yaml: warning: there are no interceptors: every call passes",
    ]


@pytest.mark.usefixtures("policy")
def test_a_terminal_gets_colour_unless_it_asks_for_none(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NO_COLOR, as no-color.org has it."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")

    main(["check", "policy.yaml"])
    coloured = capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    main(["check", "policy.yaml"])
    plain = capsys.readouterr().out

    assert "\x1b[33maudit" in coloured
    assert "\x1b[33m" not in plain
    assert "resources/templates/list" in coloured
    assert all(len(re.sub("\x1b\\[[0-9;]*m", "", line)) <= 80 for line in plain.splitlines())


def test_names_from_a_policy_cannot_command_the_terminal(policy: Path, capsys: Captured) -> None:
    """What is not printable is shown escaped; a policy may come from somebody else."""
    policy.write_text(POLICY.replace("run-cap", '"\u202etxt.\u2067x"'))

    assert main(["check", "policy.yaml"]) == 0

    out = capsys.readouterr().out
    assert "\\u202etxt.\\u2067x (budget)" in out
    assert out.count("\n") == 9


def test_a_terminal_that_cannot_show_a_name_shows_it_escaped(policy: Path) -> None:
    """A table must not end in an encoding error."""
    policy.write_text(POLICY.replace("run-cap", "märz"), encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-m", "mcpguard", "check", "policy.yaml"],
        env={**ENVIRONMENT, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=60,
    )

    assert (done.returncode, done.stderr) == (0, b"")
    assert b"m\\xe4rz (budget)" in done.stdout


def test_a_reader_that_has_gone_is_no_traceback(policy: Path) -> None:
    """`mcpguard schema | head -1`."""
    del policy
    process = subprocess.Popen(
        [sys.executable, "-m", "mcpguard", "schema"],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()

    assert process.wait(60) == 141
    assert error == b""


def test_plugins_lists_what_a_policy_may_name(capsys: Captured) -> None:
    """Built in, if nothing else is installed."""
    assert main(["plugins"]) == 0

    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading.split() == ["kind", "name", "distribution", "class"]
    named = [row.split()[:2] for row in rows if "mcpguard-inline" in row]
    assert named == sorted(named)
    assert {("interceptor", "access"), ("interceptor", "budget"), ("sink", "jsonl")} <= set(map(tuple, named))


def test_schema_prints_the_schema(capsys: Captured) -> None:
    """For editors: `mcpguard schema > policy.schema.json`."""
    assert main(["schema"]) == 0

    schema = json.loads(capsys.readouterr().out)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["additionalProperties"] is False


def test_version_and_help_are_success(capsys: Captured) -> None:
    """And they go to stdout."""
    assert main(["--version"]) == 0
    assert main(["--help"]) == 0
    assert main(["check", "--help"]) == 0

    out, err = capsys.readouterr()
    assert out.startswith("mcpguard ")
    assert {"check", "plugins", "schema", "demo"} <= set(out.split())
    assert err == ""


def test_the_command_line_loads_neither_sdk_nor_pydantic_before_it_must() -> None:
    """Start-up is most of what a person waits for."""
    code = (
        "import sys; import mcpguard.cli as cli; cli.main(['plugins', '--json']); "
        "print([one for one in ('mcp', 'pydantic', 'yaml', 'rich', 'anyio') if one in sys.modules], "
        "file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, timeout=60)
    assert done.stderr.split(b"\n")[-2] == b"[]"
