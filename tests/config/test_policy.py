"""What a valid policy file becomes."""

import json
from pathlib import Path

import pytest

from mcpguard import Access, AccessRule, Budget, Guard, JsonLines, Logging, PolicyError
from mcpguard.config import ServerOptions, load_policy, parse_policy

YAML = """\
version: 1
servers:
  git: {}
  mailer: {shared: true}
interceptors:
  budget:
    - {id: run-cap, calls: 20}
    - {id: mail-cap, calls: 2, servers: [mailer], mode: audit}
  access:
    default: deny
    allow:
      - {servers: [git], tools: ["git_*"]}
      - {servers: [mailer], tools: [send_report], roles: [auditor]}
    deny:
      - {tools: [git_reset]}
audit:
  - jsonl: {path: audit/events.jsonl, mode: strict}
  - logging: {}
on_deny: raise
anonymous: allow
"""

TOML = """\
version = 1
on_deny = "raise"
anonymous = "allow"

[servers]
git = {}
mailer = {shared = true}

[[interceptors.budget]]
id = "run-cap"
calls = 20

[[interceptors.budget]]
id = "mail-cap"
calls = 2
servers = ["mailer"]
mode = "audit"

[interceptors.access]
default = "deny"
deny = [{tools = ["git_reset"]}]

[[interceptors.access.allow]]
servers = ["git"]
tools = ["git_*"]

[[interceptors.access.allow]]
servers = ["mailer"]
tools = ["send_report"]
roles = ["auditor"]

[[audit]]
jsonl = {path = "audit/events.jsonl", mode = "strict"}

[[audit]]
logging = {}
"""

JSON = json.dumps(
    {
        "version": 1,
        "servers": {"git": {}, "mailer": {"shared": True}},
        "interceptors": {
            "budget": [
                {"id": "run-cap", "calls": 20},
                {"id": "mail-cap", "calls": 2, "servers": ["mailer"], "mode": "audit"},
            ],
            "access": {
                "default": "deny",
                "allow": [
                    {"servers": ["git"], "tools": ["git_*"]},
                    {"servers": ["mailer"], "tools": ["send_report"], "roles": ["auditor"]},
                ],
                "deny": [{"tools": ["git_reset"]}],
            },
        },
        "audit": [{"jsonl": {"path": "audit/events.jsonl", "mode": "strict"}}, {"logging": {}}],
        "on_deny": "raise",
        "anonymous": "allow",
    },
    indent=2,
)


@pytest.mark.parametrize(("suffix", "text"), [("yaml", YAML), ("yml", YAML), ("json", JSON), ("toml", TOML)])
def test_every_format_becomes_the_same_objects(tmp_path: Path, suffix: str, text: str) -> None:
    """YAML, JSON and TOML become the same objects."""
    file = tmp_path / f"policy.{suffix}"
    file.write_text(text)

    policy = load_policy(file)

    access, first, second = policy.interceptors
    assert isinstance(access, Access)
    assert access.default == "deny"
    assert access.allow == (
        AccessRule(servers=["git"], tools=["git_*"]),
        AccessRule(servers=["mailer"], tools=["send_report"], roles=["auditor"]),
    )
    assert access.deny == (AccessRule(tools=["git_reset"]),)
    assert isinstance(first, Budget)
    assert isinstance(second, Budget)
    assert (first.id, first.calls, first.mode) == ("run-cap", 20, "enforce")
    assert (second.id, second.calls, second.mode) == ("mail-cap", 2, "audit")
    assert policy.sinks == ("jsonl", "logging")
    assert policy.servers == {"git": ServerOptions(), "mailer": ServerOptions(shared=True)}
    assert (policy.on_deny, policy.anonymous) == ("raise", "allow")
    assert policy.source == str(file)


def test_the_digest_is_of_the_content_and_not_of_the_text() -> None:
    """Approvals bind to it: a comment or another format must not undo them, a changed rule must."""
    digest = parse_policy(YAML).digest

    assert parse_policy(f"# a comment\n{YAML}").digest == digest
    assert parse_policy(JSON, format="json").digest == digest
    assert parse_policy(TOML, format="toml").digest == digest
    assert parse_policy(YAML.replace("calls: 20", "calls: 21")).digest != digest


def test_defaults_are_those_of_python() -> None:
    """What the file leaves out is left to the constructor."""
    policy = parse_policy("version: 1\ninterceptors: {budget: {}}\n")

    (budget,) = policy.interceptors
    assert isinstance(budget, Budget)
    assert budget.calls == Budget().calls
    assert (budget.id, budget.mode, budget.fail_open) == (None, "enforce", False)
    assert (policy.on_deny, policy.anonymous, policy.servers) == ("result", "deny", {})


def test_a_policy_with_nothing_in_it_is_valid_and_warned_of() -> None:
    """It lets everything pass, which nobody should find out later."""
    policy = parse_policy("version: 1\n")

    assert policy.interceptors == ()
    assert [warning.message for warning in policy.warnings()] == [
        "there are no interceptors: every call passes"
    ]


def test_interceptors_stand_in_the_canonical_order_whatever_the_order_of_the_file() -> None:
    """The design: this is the policy file's order whatever the file's."""
    first = parse_policy("version: 1\ninterceptors: {budget: {}, access: {default: allow}}\n")
    second = parse_policy("version: 1\ninterceptors: {access: {default: allow}, budget: {}}\n")

    assert [one.name for one in first.interceptors] == ["access", "budget"]
    assert [one.name for one in second.interceptors] == ["access", "budget"]


def test_two_of_a_kind_keep_the_order_of_the_file() -> None:
    """Within one place the order is the file's."""
    policy = parse_policy("version: 1\ninterceptors: {budget: [{id: b}, {id: a}, {id: c}]}\n")

    assert [one.id for one in policy.interceptors] == ["b", "a", "c"]


def test_nothing_is_opened_before_a_guard_is_built(tmp_path: Path) -> None:
    """Checking a policy must not create files."""
    file = tmp_path / "policy.yaml"
    file.write_text(YAML)

    load_policy(file)

    assert sorted(tmp_path.iterdir()) == [file]


async def _closed(*sinks: object) -> None:
    for sink in sinks:
        assert isinstance(sink, JsonLines | Logging)
        await sink.aclose()


@pytest.mark.anyio
async def test_a_relative_path_starts_from_the_folder_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service is started from anywhere; its policy stays where it is."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "policy.yaml").write_text(YAML)
    monkeypatch.chdir(tmp_path)

    built = load_policy(Path("etc/policy.yaml")).build()

    jsonl, logging = built.sinks
    assert isinstance(jsonl, JsonLines)
    assert isinstance(logging, Logging)
    assert jsonl.strict
    assert (tmp_path / "etc" / "audit" / "events.jsonl").is_file()
    assert built.options.on_deny == "raise"
    await _closed(*built.sinks)


@pytest.mark.anyio
async def test_a_path_keeps_its_trailing_slash(tmp_path: Path) -> None:
    """The JSON Lines sink takes it for a directory, whatever its name looks like."""
    text = "version: 1\naudit: [{jsonl: {path: audit.d/}}]\n"

    built = parse_policy(text, folder=tmp_path).build()

    assert (tmp_path / "audit.d").is_dir()
    await _closed(*built.sinks)


@pytest.mark.anyio
async def test_an_absolute_path_and_a_home_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` is the home of whoever runs the guard, not a folder of that name."""
    monkeypatch.setenv("HOME", str(tmp_path))
    text = f"version: 1\naudit: [{{jsonl: {{path: ~/a.jsonl}}}}, {{jsonl: {{path: {tmp_path}/b.jsonl}}}}]\n"

    built = parse_policy(text, folder=Path("/nowhere")).build()

    assert all((tmp_path / name).is_file() for name in ("a.jsonl", "b.jsonl"))
    await _closed(*built.sinks)


def test_every_guard_gets_interceptors_of_its_own() -> None:
    """They hold state: two guards of one policy must not count each other's calls."""
    policy = parse_policy("version: 1\ninterceptors: {budget: {}}\n")

    first, second = policy.build(), policy.build()

    assert first.interceptors[0] is not second.interceptors[0]
    assert first.interceptors[0] is not policy.interceptors[0]


@pytest.mark.anyio
async def test_a_guard_is_built_from_a_policy(tmp_path: Path) -> None:
    """`Guard.from_policy` links what the file says, in the file's mode."""
    file = tmp_path / "policy.yaml"
    file.write_text(YAML)

    async with Guard.from_policy(file) as guard:
        coverage = guard.coverage()

    assert coverage.handling("tools/call") == ("access", "run-cap", "mail-cap")
    assert {hook.interceptor: hook.mode for hook in coverage.hooks} == {
        "access": "enforce",
        "run-cap": "enforce",
        "mail-cap": "audit",
    }


def test_an_audit_file_that_cannot_be_opened_is_an_error_with_its_line(tmp_path: Path) -> None:
    """A guard without the audit it was told to keep must not come to be."""
    (tmp_path / "audit").write_text("a file where a directory is needed")
    policy = parse_policy("version: 1\naudit:\n  - jsonl: {path: audit/a.jsonl}\n", folder=tmp_path)

    with pytest.raises(PolicyError, match=r"<policy>:3: audit\[0\].jsonl: .* cannot be opened"):
        policy.build()


def test_a_sink_that_refuses_its_options_is_an_error_with_its_line() -> None:
    """A sink's constructor judges when a guard is built, because it may open something."""
    policy = parse_policy("version: 1\naudit:\n  - logging: {level: loud}\n")

    with pytest.raises(PolicyError, match=r"<policy>:3: audit\[0\].logging: no level is called"):
        policy.build()


def test_rules_that_can_never_match_are_warned_of_with_their_line() -> None:
    """Rules that can never match."""
    policy = parse_policy(
        "version: 1\n"
        "servers: {git: {}}\n"
        "interceptors:\n"
        "  access: {default: deny, allow: [{servers: [gti]}]}\n"
        "  budget: {servers: [web], calls: 3}\n"
    )

    found = [(warning.line, warning.message) for warning in policy.warnings()]

    assert found == [
        (4, "access.allow[0]: no declared server is called 'gti'"),
        (5, "budget: no declared server is called 'web'"),
    ]


def test_a_policy_that_enforces_nothing_is_warned_of() -> None:
    """Auditing everything is a good first week and a bad second year."""
    policy = parse_policy("version: 1\ninterceptors: {budget: {mode: audit}}\n")

    assert [warning.message for warning in policy.warnings()] == [
        "every interceptor is in mode audit: nothing is enforced"
    ]


def test_interceptors_that_records_cannot_tell_apart_are_warned_of() -> None:
    """Records call an interceptor by its id, or by its name where it has none."""
    policy = parse_policy("version: 1\ninterceptors: {budget: [{calls: 1}, {calls: 2}]}\n")

    assert [warning.message for warning in policy.warnings()] == [
        "2 interceptors are called 'budget' in records: give each an id"
    ]


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    """Editors on Windows write one."""
    for suffix, text in (("yaml", YAML), ("json", JSON), ("toml", TOML)):
        file = tmp_path / f"policy.{suffix}"
        file.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
        assert len(load_policy(file).interceptors) == 3
    assert parse_policy(f"\ufeff{YAML}").digest == parse_policy(YAML).digest


def test_a_json_policy_may_name_its_schema() -> None:
    """JSON has no comments: a key is the only way to tell an editor."""
    text = json.dumps({"$schema": "policy.schema.json", **json.loads(JSON)})

    assert len(parse_policy(text, format="json").interceptors) == 3


def test_plain_yaml_words_mean_what_they_look_like() -> None:
    """Numbers, booleans and nothing are read where every reader of YAML agrees on them."""
    policy = parse_policy(
        "version: 1\ninterceptors: {budget: {calls: 12, fail_open: true, id: ~, tools: ['no', '010', x]}}\n"
    )

    (budget,) = policy.interceptors
    assert isinstance(budget, Budget)
    assert (budget.calls, budget.fail_open, budget.id) == (12, True, None)
    assert tuple(budget.scope.tools) == ("no", "010", "x")


def test_an_unknown_format_is_misuse() -> None:
    """An error of the program, not of the file."""
    with pytest.raises(ValueError, match="yaml, json, toml"):
        parse_policy("", format="ini")  # type: ignore[arg-type]
