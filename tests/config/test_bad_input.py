"""Policy files that are wrong: each ends in one clear error, with the file, the line and the way out."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpguard import GuardBuildError, PolicyError
from mcpguard.config import Policy, load_policy, parse_policy
from mcpguard.config.registry import BUILT_IN

KNOWN = ", ".join(sorted(BUILT_IN["interceptor"]))

DEPTH = 100_000
"""Nesting that overflows the stack of any reader that recurses."""


def problems(text: str, format: str = "yaml") -> list[tuple[int | None, str]]:
    """What is wrong with `text`, by line."""
    with pytest.raises(PolicyError) as caught:
        parse_policy(text, format=format)  # type: ignore[arg-type]
    return [(problem.line, problem.message) for problem in caught.value.problems]


def only_problem(text: str, format: str = "yaml") -> str:
    """The one thing that is wrong with `text`, as `line: message`."""
    ((line, message),) = problems(text, format)
    return f"{line}: {message}"


# The file


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    """Not a traceback from `open`."""
    with pytest.raises(PolicyError, match=r"nowhere.yaml: cannot be read: No such file"):
        load_policy(tmp_path / "nowhere.yaml")


def test_a_directory_is_no_policy(tmp_path: Path) -> None:
    """A suffix does not make it one."""
    (tmp_path / "policy.yaml").mkdir()
    with pytest.raises(PolicyError, match="expected a regular file"):
        load_policy(tmp_path / "policy.yaml")


def test_a_file_name_that_no_system_has_is_an_error() -> None:
    """A NUL in a name is a ValueError of the system call."""
    with pytest.raises(PolicyError, match="cannot be read: not a file name"):
        load_policy("a\0b.yaml")


@pytest.mark.parametrize("name", ["policy", "policy.ini", "policy.yaml.bak"])
def test_a_suffix_that_names_no_format_is_refused(tmp_path: Path, name: str) -> None:
    """Guessing the format would be reading one file in two ways."""
    (tmp_path / name).write_text("version: 1\n")
    with pytest.raises(PolicyError, match=r"expected one of .yaml, .yml, .json, .toml"):
        load_policy(tmp_path / name)


@pytest.mark.parametrize("suffix", ["yaml", "json", "toml"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b" \n\n", "the file is empty"),
        (b"\xef\xbb\xbf", "the file is empty"),
        (b"version: 1\nx: \xff\xfe", "not text in UTF-8"),
        ("version: 1\n".encode("utf-16"), "not text in UTF-8"),
        (b"version: 1\n\x00\x01\x02", "not a text file"),
        (b"\x7fELF\x02\x01\x01\x00", "not a text file"),
        (b"#" * (2**20 + 1), "at most 1048576 bytes"),
    ],
)
def test_a_file_that_cannot_be_a_policy_is_refused(
    tmp_path: Path, suffix: str, content: bytes, message: str
) -> None:
    """Empty, not text, not UTF-8, or huge."""
    file = tmp_path / f"policy.{suffix}"
    file.write_bytes(content)
    with pytest.raises(PolicyError, match=message) as caught:
        load_policy(file)
    assert caught.value.source == str(file)


def test_text_that_is_too_long_is_refused() -> None:
    """The bound holds however the text came."""
    assert "at most" in only_problem("#" * (2**20 + 1))


@pytest.mark.parametrize(
    ("format", "text"),
    [
        ("yaml", "version: 1\nservers: [\n"),
        ("yaml", "version: 1\n\tservers: {}\n"),
        ("yaml", "version: 1\nservers: @x\n"),
        ("json", '{"version": 1,\n}'),
        ("json", "{'version': 1}"),
        ("json", '{"version": 1} {}'),
        ("json", '{"a": "' + chr(92) + 'q"}'),
        ("toml", "version = 1\nservers = {\n"),
        ("toml", "version: 1\n"),
    ],
)
def test_broken_syntax_is_reported_with_its_line(format: str, text: str) -> None:
    """Where the reader stopped."""
    ((line, message),) = problems(text, format)
    assert message.startswith(f"not {format.upper()}: ")
    assert line is not None


# The document


@pytest.mark.parametrize(
    ("format", "text"),
    [
        ("yaml", "a: " + "[" * DEPTH),
        ("yaml", "a: " + "{a: " * DEPTH),
        ("yaml", "".join(" " * level + "a:\n" for level in range(700))),
        ("json", '{"a": ' + "[" * DEPTH + "]" * DEPTH + "}"),
        ("json", '{"a": ' * DEPTH + "1" + "}" * DEPTH),
        ("json", '{"a": ' * 70 + "1" + "}" * 70),
        ("toml", "a = " + "[" * DEPTH + "]" * DEPTH),
        ("toml", "a = " + "[" * 70 + "]" * 70),
        ("toml", "a." * DEPTH + "a = 1"),
        ("toml", "[" + '"a".' * DEPTH + "a]"),
        ("toml", "[" + "a." * 70 + "a]\nb = 1"),
    ],
)
def test_deep_nesting_is_refused_without_overflowing_the_stack(format: str, text: str) -> None:
    """64 deep at most."""
    assert only_problem(text, format).endswith("nested more than 64 deep")


def test_aliases_and_anchors_are_refused() -> None:
    """A billion laughs in nine lines; and what a rule says should stand where the rule stands."""
    text = "version: 1\nservers: &a {x: {}}\ninterceptors: *a\n"

    assert problems(text) == [
        (2, "anchors (&name) are refused: write the value out where it is needed"),
        (3, "aliases (*name) are refused: write the value out; a glob goes in quotes, such as '*'"),
    ]


def test_a_value_that_contains_itself_is_refused() -> None:
    """YAML can write a list that holds itself."""
    assert problems("version: 1\naudit: &a [*a]\n")[0][1].startswith("anchors")


@pytest.mark.parametrize(
    "value", ["!!python/object/apply:os.system ['true']", "!include other.yaml", "!!str x", "! x", "!!map {}"]
)
def test_tags_are_refused(value: str) -> None:
    """A policy is plain data."""
    assert (2, "tags (!name) are refused: a policy is plain data") in problems(
        f"version: 1\ninterceptors: {value}\n"
    )


def test_merge_keys_are_refused() -> None:
    """`<<` is a key in YAML 1.2 and an instruction in 1.1."""
    found = problems("version: 1\nservers: {git: {<<: {shared: true}}}\n")

    assert found == [
        (2, "this plain value is another type to some readers of YAML and text to others: put it in quotes")
    ]


def test_a_second_document_is_refused() -> None:
    """Rules after the separator would be left out silently."""
    assert only_problem("version: 1\n---\nversion: 1\n").startswith("2: a second document begins here")


@pytest.mark.parametrize(
    ("format", "text", "line"),
    [
        ("yaml", "version: 1\nservers: {}\nservers: {git: {}}\n", 3),
        ("yaml", "version: 1\ninterceptors:\n  budget:\n    - calls: 1\n      calls: 2\n", 5),
        ("json", '{"version": 1,\n "servers": {},\n "servers": {"git": {}}}', 3),
        ("json", '{"version": 1,\n "interceptors": {"budget": [{"calls": 1,\n"calls": 2}]}}', 3),
    ],
)
def test_a_key_that_stands_twice_is_refused_at_any_depth(format: str, text: str, line: int) -> None:
    """Readers would silently take the last: of two deny lists one would be lost."""
    found = only_problem(text, format)
    assert found.startswith(f"{line}: the key ")
    assert found.endswith(f"stands here a second time; the first is in line {line - 1}")


def test_a_toml_key_that_stands_twice_is_refused() -> None:
    """TOML itself says so."""
    assert only_problem("version = 1\n[servers]\n[servers]\n", "toml").startswith(
        "3: not TOML: Cannot declare"
    )


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("on", "the plain word on is a boolean to some readers of YAML and text to others"),
        ("no", "the plain word no is a boolean to some readers of YAML and text to others"),
        ("1", "keys are text; got a whole number as a key: put it in quotes"),
        ("true", "keys are text; got a boolean as a key: put it in quotes"),
        ("1.5", "keys are text; got a decimal number as a key: put it in quotes"),
        ("~", "keys are text; got nothing as a key: put it in quotes"),
        ("? [a]", "keys are text; got a list or a mapping as a key"),
        ("? {a: 1}", "keys are text; got a list or a mapping as a key"),
    ],
)
def test_keys_are_text(key: str, message: str) -> None:
    """YAML allows anything; the Norway problem included."""
    colon = "\n  : {}" if key.startswith("?") else ": {}"
    line, found = problems(f"version: 1\nservers:\n  {key}{colon}\n")[0]
    assert line == 3
    assert found.startswith(message)


@pytest.mark.parametrize(
    "word",
    [
        "no",
        "Yes",
        "off",
        "010",
        "08",
        "0x1F",
        "0o17",
        "0b1",
        "1_000",
        "1e3",
        "12:30",
        "2026-07-28",
        "1_0.5",
        "=",
    ],
)
def test_plain_words_that_readers_of_yaml_disagree_about_are_refused(word: str) -> None:
    """An editor reads YAML 1.2, PyYAML 1.1: a policy has one meaning or none."""
    found = only_problem(f"version: 1\ninterceptors:\n  budget: {{tools: [{word}]}}\n")
    assert found.startswith("3: ")
    assert "put it in quotes" in found


@pytest.mark.parametrize(
    ("format", "text"),
    [
        ("yaml", "version: .nan"),
        ("yaml", "version: -.INF"),
        ("yaml", "version: 1.0e+999"),
        ("json", '{"version": NaN}'),
        ("json", '{"version": -Infinity}'),
        ("json", '{"version": 1e999}'),
        ("toml", "version = nan"),
        ("toml", "version = -inf"),
    ],
)
def test_numbers_that_are_none_are_refused(format: str, text: str) -> None:
    """A limit of NaN is above and below everything."""
    assert only_problem(text, format) == "1: expected a finite number, got an infinite one or NaN"


@pytest.mark.parametrize(
    ("format", "text"),
    [
        ("yaml", f"version: {'9' * 5000}"),
        ("yaml", f"version: {2**63}"),
        ("json", f'{{"version": {"9" * 5000}}}'),
        ("json", f'{{"version": {2**63}}}'),
        ("toml", f"version = {'9' * 5000}"),
        ("toml", f"version = {2**63}"),
    ],
)
def test_numbers_that_are_too_long_are_refused(format: str, text: str) -> None:
    """Python refuses to read thousands of digits; 64 bits are what all formats have."""
    assert len(problems(text, format)) == 1


def test_dates_are_not_text() -> None:
    """TOML has a type for them, and a policy none."""
    assert only_problem("version = 1\non_deny = 2026-07-28\n", "toml").startswith(
        "2: expected text, a number"
    )


@pytest.mark.parametrize("escape", [r"\ud800", r"\u0000", r"\u001b[31m"])
def test_escapes_do_not_smuggle_in_what_is_not_text(escape: str) -> None:
    """Names from a policy reach terminals and files."""
    text = f'{{"version": 1, "servers": {{"{escape}": {{"shared": "{escape}"}}}}}}'
    assert {message for _, message in problems(text, "json")} == {
        "keys are text; got control characters or half a surrogate pair",
        "expected text, got control characters or half a surrogate pair",
    }


def test_half_a_surrogate_pair_in_the_text_itself_is_refused() -> None:
    """UTF-8 cannot hold it, a Python string can."""
    assert only_problem("version: 1\n# \ud800\n").startswith("2: not a text file")


# The content


@pytest.mark.parametrize("text", ["[]", "- version: 1", "just words", "1", "null", "--- ~"])
def test_a_policy_is_a_mapping(text: str) -> None:
    """Anything else at the top is named."""
    assert only_problem(text).startswith("1: a policy is a mapping, got ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("servers: {}", "'version' is missing"),
        ("version: 2", "version: expected 1, got a whole number"),
        ("version: '1'", "version: expected 1, got text"),
        ("version: 1.0", "version: expected 1, got a decimal number"),
        ("version: true", "version: expected 1, got a boolean"),
        ("version: ~", "version: expected 1, got nothing"),
    ],
)
def test_the_version_is_required_and_known(text: str, message: str) -> None:
    """A file of a later format must not be half understood."""
    assert only_problem(text) == f"1: {message}"


@pytest.mark.parametrize("key", ["trust", "stores", "labels", "Interceptors", "x-note"])
def test_a_key_that_nobody_knows_is_refused(key: str) -> None:
    """A guardrail that is silently left out is worse than none; so are keys of later versions."""
    found = only_problem(f"version: 1\n{key}: {{}}\n")
    assert found.startswith(f"2: unknown key '{key}'; ")
    assert found.endswith(
        "accepted here: anonymous, audit, connection, http, interceptors, on_deny, principals, servers, store, version"
    )


def test_an_unknown_key_comes_with_the_nearest_valid_one() -> None:
    """File, line and the nearest valid key, at any depth."""
    found = problems(
        "version: 1\n"
        "on_denny: raise\n"
        "servers:\n"
        "  git: {sharde: true}\n"
        "interceptors:\n"
        "  budget:\n"
        "    - cals: 3\n"
        "  access:\n"
        "    default: deny\n"
        "    allow:\n"
        "      - {servers: [git], tols: [x]}\n"
        "      - servers: [git]\n"
        "        role: [x]\n"
    )
    assert [(line, message.partition("?")[0]) for line, message in found] == [
        (2, "unknown key 'on_denny'; did you mean 'on_deny'"),
        (4, "servers.git: unknown key 'sharde'; did you mean 'shared'"),
        (7, "interceptors.budget[0]: unknown key 'cals'; did you mean 'calls'"),
        (11, "interceptors.access.allow[0]: unknown key 'tols'; did you mean 'tools'"),
        (13, "interceptors.access.allow[1]: unknown key 'role'; did you mean 'roles'"),
    ]


def test_an_unknown_interceptor_or_sink_comes_with_the_nearest_name() -> None:
    """The names are those of the registry, plugins included."""
    found = problems("version: 1\ninterceptors: {acess: {}, zzz: {}}\naudit: [jsnl: {path: x}]\n")

    assert found[0] == (
        2,
        f"unknown interceptor 'acess'; did you mean 'access'? accepted here: {KNOWN}",
    )
    assert found[1] == (2, f"unknown interceptor 'zzz'; accepted here: {KNOWN}")
    assert found[2] == (
        3,
        "unknown sink 'jsnl'; did you mean 'jsonl'? accepted here: jsonl, logging, nats, otel, postgres, sqlite, webhook",
    )


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("budget: {calls: '10'}", "budget.calls: expected a whole number, got text"),
        ("budget: {calls: 10.0}", "budget.calls: expected a whole number, got a decimal number"),
        ("budget: {calls: true}", "budget.calls: expected a whole number, got a boolean"),
        ("budget: {id: 7}", "budget.id: expected text, got a whole number; put it in quotes"),
        ("budget: {fail_open: 1}", "budget.fail_open: expected true or false, got a whole number"),
        ("budget: {fail_open: 'true'}", "budget.fail_open: expected true or false, got text"),
        (
            "budget: {tools: git_log}",
            "budget.tools: expected a list, got text; a list of one is written [like this]",
        ),
        ("budget: {tools: {git_log: 1}}", "budget.tools: expected a list, got a mapping"),
        ("budget: {tools: ~}", "budget.tools: expected a list, got nothing; an empty list is written []"),
        ("budget: {tools: [1]}", "budget.tools[0]: expected text, got a whole number; put it in quotes"),
        (
            "budget: {mode: audits}",
            "budget.mode: expected 'enforce' or 'audit', got text; did you mean 'audit'?",
        ),
        (
            "budget: {per: 7}",
            "budget.per: expected 'run', 'agent', 'user', 'tenant', 'server' or 'tool', got a whole number",
        ),
        ("budget: ~", "budget: expected a mapping, got nothing; write {} for the defaults"),
        ("budget: 10", "budget: expected a mapping, got a whole number"),
        ("budget: []", "budget: the list is empty; leave the section out"),
        ("budget: [[{}]]", "budget[0]: expected a mapping, got a list"),
        ("access: {}", "access: 'default' is missing"),
        ("access: {default: deny, allow: [git]}", "access.allow[0]: expected a mapping, got text"),
    ],
)
def test_a_wrong_type_is_named_with_what_would_be_accepted(section: str, message: str) -> None:
    """Strictly: nothing is converted, because a converted rule is not the rule somebody wrote."""
    assert only_problem(f"version: 1\ninterceptors:\n  {section}\n") == f"3: interceptors.{message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("servers: [git]", "servers: expected a mapping, got a list"),
        ("servers: {git: ~}", "servers.git: expected a mapping, got nothing; write {} for the defaults"),
        ("servers: {'git*': {}}", "servers.'git*': expected the name of one server"),
        ("servers: {'': {}}", "servers.'': expected the name of one server"),
        ("interceptors: [budget]", "interceptors: expected a mapping, got a list"),
        ("interceptors: ~", "interceptors: expected a mapping, got nothing; write {} for the defaults"),
        ("audit: {logging: {}}", "audit: expected a list, got a mapping"),
        ("audit: [logging]", "audit[0]: expected a mapping, got text"),
        ("audit: [{}]", "audit[0]: expected one sink in each item, got none"),
        (
            "audit: [{logging: {}, jsonl: {path: x}}]",
            "audit[0]: expected one sink in each item, got logging, jsonl",
        ),
        (
            "audit: [logging: ~]",
            "audit[0].logging: expected a mapping, got nothing; write {} for the defaults",
        ),
        ("audit: [jsonl: {}]", "audit[0].jsonl: 'path' is missing"),
        (
            "audit: [jsonl: {path: 1}]",
            "audit[0].jsonl.path: expected text, got a whole number; put it in quotes",
        ),
        ("audit: [jsonl: {path: ''}]", "audit[0].jsonl.path: expected at least 1 character, got text"),
        (
            "audit: [logging: {level: []}]",
            "audit[0].logging.level: expected a whole number or text, got a list",
        ),
        ("on_deny: raises", "on_deny: expected 'result' or 'raise', got text; did you mean 'raise'?"),
        ("anonymous: false", "anonymous: expected 'deny' or 'allow', got a boolean"),
    ],
)
def test_what_stands_at_the_top_is_checked_as_strictly(text: str, message: str) -> None:
    """Servers, audit and the two choices."""
    assert only_problem(f"version: 1\n{text}\n") == f"2: {message}"


def test_what_a_constructor_refuses_is_reported_at_its_line() -> None:
    """Rules that types cannot express are the constructor's; its sentence is the message."""
    found = problems(
        "version: 1\n"
        "interceptors:\n"
        "  budget:\n"
        "    - {calls: 1}\n"
        "    - {id: none, calls: 0}\n"
        "  access:\n"
        "    default: deny\n"
        "    allow:\n"
        "      - {servers: []}\n"
    )
    assert [line for line, _ in found] == [5, 9]
    assert found[0][1].startswith("interceptors.budget[1]: calls is at least 1")
    assert found[1][1].startswith("interceptors.access.allow[0]: servers is empty")


def test_an_id_that_is_taken_is_refused_across_kinds() -> None:
    """Counters and approvals are found by it."""
    found = only_problem(
        "version: 1\ninterceptors:\n  access: {id: a, default: deny}\n  budget:\n    - calls: 1\n"
        "      id: a\n"
    )
    assert found == "6: interceptors.budget[0]: the id is taken; ids are unique"


def test_everything_wrong_is_reported_at_once_in_the_order_of_the_file() -> None:
    """Nobody wants to fix a file one run at a time."""
    with pytest.raises(PolicyError) as caught:
        parse_policy(
            "version: 2\nservers: {no: {}}\ninterceptors: {budget: {calls: x}}\nextra: 1\n", source="p.yaml"
        )

    error = caught.value
    assert [problem.line for problem in error.problems] == [1, 2, 3, 4]
    assert (error.line, error.source) == (1, "p.yaml")
    assert [line.partition(" ")[0] for line in str(error).splitlines()] == [
        "p.yaml:1:",
        "p.yaml:2:",
        "p.yaml:3:",
        "p.yaml:4:",
    ]


def test_a_flood_of_problems_is_cut() -> None:
    """A file of another kind is not quoted back whole."""
    text = "version: 1\n" + "".join(f"key{number}: 1\n" for number in range(1000))

    found = problems(text)

    assert len(found) == 50
    assert found[-1] == (None, "and 951 problems more")


def test_a_policy_error_is_a_build_error_and_a_value_error() -> None:
    """One `except` for whoever builds guards."""
    with pytest.raises(GuardBuildError):
        parse_policy("")
    with pytest.raises(ValueError, match="empty"):
        parse_policy("")


def test_messages_never_repeat_a_value() -> None:
    """Values may be secret; keys and the words that would be accepted are not."""
    value = "hunter-two"
    for text in (
        f"version: {value}",
        f"version: 1\non_deny: {value}",
        f"version: 1\ninterceptors: {{budget: {{calls: {value}}}}}",
        f"version: 1\ninterceptors: {value}",
        f"version: 1\ninterceptors: {{access: {{default: {value}, allow: {value}}}}}",
        f"version: 1\naudit: [jsonl: {{path: [{value}]}}]",
        f"version: 1\naudit: *{value}",
    ):
        with pytest.raises(PolicyError) as caught:
            parse_policy(text)
        assert value not in str(caught.value)


def test_a_long_or_strange_key_is_shown_cut_and_escaped() -> None:
    """A message is one line, whatever the key."""
    found = only_problem(json.dumps({"version": 1, "k" * 10_000 + "\n": 1}), "json")
    assert len(found) < 300
    assert "\n" not in found


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('version = 1\n\n[interceptors.budget]\ncals = "x"\n', 4),
        ("version = 1\n[[interceptors.budget]]\nid = 'a'\n[[interceptors.budget]]\nid = 'b'\ncals = 1\n", 6),
        ("version = 1\n[interceptors]\nbudget.cals = 1\n", 3),
        ("version = 1\n[interceptors]\nbudget = {calls = 1, cals = 2}\n", 3),
        ("version = 1\n[interceptors]\nbudget = [\n  {calls = 1},\n  {cals = 2},\n]\n", 3),
        (
            "version = 1\n[[interceptors.access]]\ndefault = 'deny'\n"
            "[[interceptors.access.allow]]\ntols = []\n",
            5,
        ),
        ('version = 1\n[servers."a.b"]\nsharde = true\n', 3),
        ("version = 1\n[interceptors.budgets]\n", 2),
        ("version = 1\n[trust.git]\nlabels = []\n", 2),
    ],
)
def test_toml_problems_have_the_line_of_their_key_or_of_the_value_around_it(text: str, line: int) -> None:
    """The standard library tells no lines."""
    ((found, _),) = problems(text, "toml")
    assert found == line


NAMES = st.sampled_from(
    ["version", "servers", "interceptors", "audit", "budget", "access", "jsonl", "logging", "path", "default"]
) | st.sampled_from(
    ["allow", "deny", "tools", "id", "mode", "calls", "on_deny", "anonymous", "shared", "level"]
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), NAMES, st.just("deny")
)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(NAMES, st.text(max_size=5)), inner, max_size=5)
    ),
    max_leaves=30,
)
ALMOST = st.fixed_dictionaries(
    {"version": st.just(1)},
    optional={
        "servers": DOCUMENTS,
        "interceptors": st.fixed_dictionaries({}, optional={"access": DOCUMENTS, "budget": DOCUMENTS}),
        "audit": st.lists(st.fixed_dictionaries({}, optional={"jsonl": DOCUMENTS, "logging": DOCUMENTS})),
    },
)


@settings(deadline=None)
@given(st.one_of(DOCUMENTS, ALMOST), st.sampled_from(["json", "yaml"]))
def test_a_random_document_is_a_policy_or_a_policy_error(document: object, format: str) -> None:
    """JSON is YAML too, near enough; nothing else than these two ways out."""
    check_outcome(json.dumps(document), format)


@settings(deadline=None)
@given(st.text(), st.sampled_from(["json", "yaml", "toml"]))
def test_random_text_is_a_policy_or_a_policy_error(text: str, format: str) -> None:
    """Whatever is fed to it."""
    check_outcome(text, format)


@settings(deadline=None)
@given(
    st.text(alphabet="version: 1\n[]{}#&*!|>'\"%@`,?-~<=.0xeE_\tabc"),
    st.sampled_from(["json", "yaml", "toml"]),
)
def test_random_punctuation_is_a_policy_or_a_policy_error(text: str, format: str) -> None:
    """What means something to one of the readers."""
    check_outcome(text, format)


def check_outcome(text: str, format: str) -> None:
    """A policy, or an error whose lines are in the file."""
    try:
        outcome: Policy | PolicyError = parse_policy(text, format=format)  # type: ignore[arg-type]
    except PolicyError as error:
        outcome = error
    if isinstance(outcome, PolicyError):
        assert len(str(outcome).splitlines()) == len(outcome.problems) > 0
        lines = sum(map(text.count, "\n\r\x85\u2028\u2029")) + 2
        assert all(problem.line is None or 1 <= problem.line <= lines for problem in outcome.problems)


@pytest.mark.parametrize("other", ["\x85", "\u2028", "\u2029"])
def test_a_line_break_that_ends_a_comment_for_some_readers_is_refused(other: str) -> None:
    """YAML 1.1 breaks lines where 1.2 does not: a key in a comment would be live for one of them."""
    text = f"version: 1\ninterceptors: {{access: {{default: deny}}}}\n# a comment{other}anonymous: allow\n"
    with pytest.raises(PolicyError, match="line break") as raised:
        parse_policy(text)
    assert raised.value.line == 3


def test_thousands_of_faults_are_told_as_the_first_few() -> None:
    """What explains one fault must not look at all others."""
    text = "version: 1\nservers:\n" + "".join(f"  s{number}: 1\n" for number in range(10_000))
    with pytest.raises(PolicyError) as raised:
        parse_policy(text)
    assert len(raised.value.problems) == 50


def test_a_glob_without_quotes_is_told_apart_from_an_alias() -> None:
    """Who writes tools: [*] means a glob."""
    text = "version: 1\ninterceptors:\n  access: {default: deny, allow: [{servers: [*], tools: [x]}]}\n"
    assert problems(text) == [
        (3, "not YAML: a word that begins with * is an alias; a glob goes in quotes, such as '*'")
    ]
