"""Third-party packages: found by their metadata, validated when used, placed in the order, listed.

The packages are installed as installers do it, modules and `.dist-info` in a folder on the path, and used by
a process of their own, so that nothing is found that a user would not find.
"""

import json
import os
import shutil
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mcpguard
from mcpguard.config.registry import BUILT_IN

PACKAGE = Path(__file__).parent / "plugin_package"

POLICY = """\
version: 1
interceptors:
  budget: {calls: 3}
  quiet_hours:
    hours: {start: 22, end: 24}
    tools: [send_report]
    id: nights
    mode: audit
  access: {default: allow}
audit:
  - ring: {size: 3}
"""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def install(package: Path, target: Path) -> None:
    """Put a package where an installer would, by its `pyproject.toml`."""
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    for module in package.glob("*.py"):
        shutil.copy(module, target)
    name = project["name"].replace("-", "_")
    info = target / f"{name}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    (info / "entry_points.txt").write_text(
        "".join(
            f"[{group}]\n" + "".join(f"{point} = {value}\n" for point, value in points.items())
            for group, points in project["entry-points"].items()
        )
    )


def package(folder: Path, name: str, points: dict[str, str], module: str = "", code: str = "") -> Path:
    """Write a package that provides interceptors."""
    folder = folder / name
    folder.mkdir()
    lines = "".join(f'{point} = "{value}"\n' for point, value in points.items())
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "{name}"\nversion = "0.1"\n'
        f'[project.entry-points."mcpguard.interceptors"]\n{lines}'
    )
    if module:
        (folder / f"{module}.py").write_text(textwrap.dedent(code))
    return folder


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Where packages are installed."""
    path = tmp_path / "site"
    path.mkdir()
    return path


@pytest.fixture
def run(tmp_path: Path, site: Path) -> Run:
    """Run Python in an environment that has what `site` holds."""

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        here = str(Path(mcpguard.__file__).parents[1])
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), here])}
        environment.pop("FORCE_COLOR", None)
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


def listed(run: Run) -> list[dict[str, Any]]:
    """What `mcpguard plugins` finds beside the built-ins."""
    done = run("-m", "mcpguard", "plugins", "--json")
    plugins: list[dict[str, Any]] = json.loads(done.stdout)
    return [one for one in plugins if one["distribution"] != "mcpguard-inline"]


def failure(run: Run, policy: str, tmp_path: Path) -> str:
    """The one line with which `mcpguard check` refuses `policy`."""
    (tmp_path / "policy.yaml").write_text(policy)
    done = run("-m", "mcpguard", "check", "policy.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    return line


def test_a_third_party_package_is_found_and_listed_without_being_imported(run: Run, site: Path) -> None:
    """A plugin is found and listed; what nobody uses costs nothing."""
    install(PACKAGE, site)
    (site / "acme_guards.py").write_text("raise SystemExit('imported')")

    assert listed(run) == [
        {
            "kind": "interceptor",
            "name": "quiet_hours",
            "distribution": "acme-guards 1.2",
            "target": "acme_guards:QuietHours",
            "problem": None,
        },
        {
            "kind": "sink",
            "name": "ring",
            "distribution": "acme-guards 1.2",
            "target": "acme_guards:Ring",
            "problem": None,
        },
    ]


def test_a_third_party_interceptor_is_validated_and_placed(run: Run, site: Path, tmp_path: Path) -> None:
    """It stands where its `place` says, among the built-ins, with the options of the file."""
    install(PACKAGE, site)
    (tmp_path / "policy.yaml").write_text(POLICY)

    done = run("-m", "mcpguard", "check", "policy.yaml", "--json")

    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert [(hook["interceptor"], hook["hook"], hook["mode"]) for hook in report["hooks"]] == [
        ("access", "check", "enforce"),
        ("access", "filter", "enforce"),
        ("budget", "check", "enforce"),
        ("nights", "check", "audit"),
        ("budget", "layer", "enforce"),
    ]
    assert report["sinks"] == ["ring"]


def test_a_third_party_interceptor_decides_and_a_third_party_sink_hears_of_it(
    run: Run, site: Path, tmp_path: Path
) -> None:
    """From the file to a guard that uses both, without the plugin knowing of files."""
    install(PACKAGE, site)
    (tmp_path / "policy.yaml").write_text(POLICY.replace("mode: audit", "mode: enforce"))
    (tmp_path / "use.py").write_text(
        textwrap.dedent("""
            from acme_guards import Hours
            from mcpguard import Call, Deny
            from mcpguard.config import load_policy

            built = load_policy("policy.yaml").build()
            nights = next(one for one in built.interceptors if one.id == "nights")
            assert nights.hours == Hours(start=22, end=24)
            call = Call(id="1", method="tools/call", params={"name": "send_report"})
            assert isinstance(nights.check(call), Deny)
            assert built.sinks[0].events.maxlen == 3
            print("used")
        """)
    )

    done = run("use.py")

    assert (done.stdout, done.stderr) == ("used\n", "")


def test_a_third_party_section_is_checked_like_any_other(run: Run, site: Path, tmp_path: Path) -> None:
    """Its author wrote a constructor and a docstring, and no validation but its own rule."""
    install(PACKAGE, site)
    (tmp_path / "policy.yaml").write_text(
        "version: 1\n"
        "interceptors:\n"
        "  quiet_hours:\n"
        "    - {hours: {start: 5, end: 3}}\n"
        "    - {hours: {start: 5, ends: 3}}\n"
        "  quiet_hour: {}\n"
    )

    done = run("-m", "mcpguard", "check", "policy.yaml")

    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "policy.yaml:4: interceptors.quiet_hours[0].hours: hours run from 0 to 24, not from 5 to 3",
        "policy.yaml:5: interceptors.quiet_hours[1].hours: 'end' is missing",
        "policy.yaml:5: interceptors.quiet_hours[1].hours: unknown key 'ends'; did you mean 'end'? "
        "accepted here: end, start",
        "policy.yaml:6: unknown interceptor 'quiet_hour'; did you mean 'quiet_hours'? "
        f"accepted here: {', '.join(sorted([*BUILT_IN['interceptor'], 'quiet_hours']))}",
    ]


def test_the_schema_holds_what_is_installed(run: Run, site: Path) -> None:
    """An editor completes a plugin's options from its docstring."""
    install(PACKAGE, site)

    done = run("-m", "mcpguard", "schema")

    schema = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert "quiet_hours" in schema["properties"]["interceptors"]["properties"]
    assert schema["$defs"]["Hours"]["properties"]["start"]["description"] == "First hour, 0 to 23."


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import nowhere_to_be_found", "cannot be loaded: ModuleNotFoundError: No module named"),
        ("1 / 0", "cannot be loaded: ZeroDivisionError: division by zero"),
        ("raise ValueError('two\\nlines')", r"cannot be loaded: ValueError: two\nlines"),
        ("Other = 1", "cannot be loaded: AttributeError"),
        ("Thing = 1", "must be a subclass of mcpguard.Interceptor; it is not"),
        ("class Thing: pass", "must be a subclass of mcpguard.Interceptor; it is not"),
        (
            "from mcpguard import Interceptor\nThing = Interceptor()",
            "must be a subclass of mcpguard.Interceptor; it is not",
        ),
        (
            "from mcpguard import Interceptor\nclass Thing(Interceptor):\n    name = 'other'",
            "is named 'other' by its class; entry point and class must have one name",
        ),
        (
            """
            from mcpguard import Interceptor
            class Thing(Interceptor):
                def __init__(self, clock: type) -> None: ...
            """,
            "cannot be used in a policy file: its parameter 'clock' is required, and a file cannot give",
        ),
        (
            """
            from mcpguard import Interceptor
            class Thing(Interceptor):
                def __init__(self) -> None:
                    raise RuntimeError("not\\ntoday")
            """,
            r"cannot be made: RuntimeError: not\ntoday",
        ),
        (
            """
            from mcpguard import ALLOW, Interceptor
            class Thing(Interceptor):
                handles = {("tools/call", "outbound")}
                def check(self, call): return ALLOW
                def warnings(self, servers): return 1 / 0
            """,
            "fails: warnings() raised ZeroDivisionError",
        ),
    ],
)
def test_a_broken_plugin_is_an_error_that_names_it_and_its_distribution(
    run: Run, site: Path, tmp_path: Path, code: str, message: str
) -> None:
    """In one line, so that somebody can uninstall the right thing."""
    install(package(tmp_path, "acme-broken", {"thing": "acme_broken:Thing"}, "acme_broken", code), site)

    line = failure(run, "version: 1\ninterceptors: {thing: {}}\n", tmp_path)

    assert line.startswith("policy.yaml: the interceptor 'thing' of acme-broken 0.1 (acme_broken:Thing) ")
    assert message in line


def test_an_interceptor_without_a_hook_is_an_error(run: Run, site: Path, tmp_path: Path) -> None:
    """What can be checked links: a valid policy makes a guard."""
    code = "from mcpguard import Interceptor\nclass Thing(Interceptor): pass\n"
    install(package(tmp_path, "acme-broken", {"thing": "acme_broken:Thing"}, "acme_broken", code), site)

    line = failure(run, "version: 1\ninterceptors: {thing: {}}\n", tmp_path)

    assert line == "policy.yaml: Thing overrides none of check, filter and __call__"


def test_an_interceptor_that_asks_needs_one_that_answers(run: Run, site: Path, tmp_path: Path) -> None:
    """With no Approval linked, that is an error; `check` says so before a guard is built."""
    code = """
        from mcpguard import Ask, Interceptor
        class Thing(Interceptor):
            handles = {("tools/call", "outbound")}
            can_ask = True
            def check(self, call): return Ask("thing", reason="why not")
    """
    install(package(tmp_path, "acme-asks", {"thing": "acme_asks:Thing"}, "acme_asks", code), site)

    assert "no Approval stands further in" in failure(
        run, "version: 1\ninterceptors: {thing: {}}\n", tmp_path
    )


def test_plugins_without_a_place_stand_between_flow_control_and_the_loop_detector(
    run: Run, site: Path, tmp_path: Path
) -> None:
    """`Place.PLUGIN`, in the order of the file."""
    code = """
        from mcpguard import ALLOW, Interceptor
        class First(Interceptor):
            handles = {("tools/call", "outbound")}
            def check(self, call): return ALLOW
        class Second(First):
            pass
    """
    points = {"first": "acme_two:First", "second": "acme_two:Second"}
    install(package(tmp_path, "acme-two", points, "acme_two", code), site)
    (tmp_path / "policy.yaml").write_text(
        "version: 1\ninterceptors: {second: {}, budget: {}, first: {}, access: {default: allow}}\n"
    )

    done = run("-m", "mcpguard", "check", "policy.yaml", "--json")

    order = [hook["interceptor"] for hook in json.loads(done.stdout)["hooks"] if hook["hook"] == "check"]
    assert order == ["access", "second", "first", "budget"]


@pytest.mark.parametrize(
    ("name", "owners"),
    [
        ("thing", ["acme-one 0.1 (a:Thing)", "acme-two 0.1 (b:Thing)"]),
        ("budget", ["mcpguard-inline (mcpguard.interceptors.budget:Budget)", "acme-one 0.1 (a:Thing)"]),
    ],
)
def test_a_name_that_two_provide_is_an_error_that_names_both(
    run: Run, site: Path, tmp_path: Path, name: str, owners: list[str]
) -> None:
    """Which of two `budget` a policy means must not depend on the order of a folder."""
    install(package(tmp_path, "acme-one", {name: "a:Thing"}), site)
    install(package(tmp_path, "acme-two", {name: "b:Thing"}), site)
    (tmp_path / "policy.yaml").write_text(f"version: 1\ninterceptors: {{{name}: {{}}}}\n")

    checked = run("-m", "mcpguard", "check", "policy.yaml")
    listing = run("-m", "mcpguard", "plugins")

    for done in (checked, listing):
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert all(owner in line for owner in owners)
    assert "acme-one 0.1" in listing.stdout


def test_a_clash_disturbs_no_policy_that_does_not_use_the_name(run: Run, site: Path, tmp_path: Path) -> None:
    """It is raised when the name is used."""
    install(package(tmp_path, "acme-one", {"thing": "a:Thing"}), site)
    install(package(tmp_path, "acme-two", {"thing": "b:Thing"}), site)
    (tmp_path / "policy.yaml").write_text("version: 1\ninterceptors: {budget: {}}\n")

    assert run("-m", "mcpguard", "check", "policy.yaml").returncode == 0


def test_the_schema_leaves_out_what_is_broken_and_says_so(run: Run, site: Path, tmp_path: Path) -> None:
    """One broken plugin must not take the editor's help for all others away."""
    install(package(tmp_path, "acme-broken", {"thing": "nowhere:Thing"}), site)

    done = run("-m", "mcpguard", "schema")

    assert done.returncode == 0
    assert done.stderr.startswith("left out: the interceptor 'thing' of acme-broken 0.1 (nowhere:Thing)")
    assert set(json.loads(done.stdout)["properties"]["interceptors"]["properties"]) == set(
        BUILT_IN["interceptor"]
    )


def test_a_sink_without_the_methods_of_one_is_refused(run: Run, site: Path, tmp_path: Path) -> None:
    """Before a guard is built, not at the first event."""
    folder = package(tmp_path, "acme-sink", {}, "acme_sink", "class Hole:\n    def emit(self, event): ...\n")
    text = (folder / "pyproject.toml").read_text().replace("mcpguard.interceptors", "mcpguard.sinks")
    (folder / "pyproject.toml").write_text(f'{text}hole = "acme_sink:Hole"\n')
    install(folder, site)

    line = failure(run, "version: 1\naudit: [hole: {}]\n", tmp_path)

    assert line == (
        "policy.yaml: the sink 'hole' of acme-sink 0.1 (acme_sink:Hole) "
        "must be a class with emit and aclose; it is not"
    )


def test_metadata_that_cannot_be_read_is_an_error(run: Run, site: Path, tmp_path: Path) -> None:
    """A distribution half installed."""
    install(package(tmp_path, "acme-one", {"thing": "a:Thing"}), site)
    (site / "acme_one-0.1.dist-info" / "entry_points.txt").write_text("[mcpguard.interceptors]\nthing\n")

    line = failure(run, "version: 1\n", tmp_path)

    assert "the entry points of mcpguard.interceptors cannot be read" in line


@pytest.mark.parametrize(
    ("message", "shown"), [("too\\n late", "too late"), ("", "refused, for no reason given")]
)
def test_what_a_third_party_constructor_refuses_is_one_line(
    run: Run, site: Path, tmp_path: Path, message: str, shown: str
) -> None:
    """Whatever its author wrote into the error."""
    code = f"""
        from mcpguard import Interceptor
        class Thing(Interceptor):
            def __init__(self) -> None:
                raise ValueError("{message}")
    """
    install(package(tmp_path, "acme-late", {"thing": "acme_late:Thing"}, "acme_late", code), site)

    line = failure(run, "version: 1\ninterceptors: {thing: {}}\n", tmp_path)

    assert line == f"policy.yaml:2: interceptors.thing: {shown}"
