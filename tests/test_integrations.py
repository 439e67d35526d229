"""Every integration has all that belongs to one, and the table is made of what the tests' results say."""

import ast
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from xml.etree import ElementTree

import pytest
from packaging.requirements import Requirement
from packaging.version import Version
from pages import DOCS, LIBRARIES, PAGES, Page

from mcpguard import SeamError
from mcpguard.integrations.framework import framework

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "tests" / "integrations" / "table.py"
NOT_ONE = {"__init__", "framework", "kept", "opened"}
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]


def sessions() -> dict[str, tuple[str, str, list[str]]]:
    """What the noxfile says of each framework, read without nox."""
    (found,) = (
        node.value
        for node in ast.parse((ROOT / "noxfile.py").read_text("utf-8")).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FRAMEWORKS"
    )
    made: dict[str, tuple[str, str, list[str]]] = ast.literal_eval(found)
    return made


def table(results: Path) -> list[list[str]]:
    """The rows that a folder of results makes."""
    command = [sys.executable, str(TABLE), str(results)]
    printed = subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout
    lines = [line for line in printed.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def write(results: Path, name: str, cases: dict[str, str | None], **versions: str) -> None:
    """A file of results: tests by name, with what became of those that did not pass."""
    suite = ElementTree.Element("testsuite")
    properties = ElementTree.SubElement(suite, "properties")
    for distribution, number in versions.items():
        ElementTree.SubElement(properties, "property", name=distribution, value=number)
    for case, outcome in cases.items():
        module, _, test = case.rpartition("::")
        made = ElementTree.SubElement(suite, "testcase", name=test, classname=module)
        if outcome is not None:
            ElementTree.SubElement(made, outcome)
    ElementTree.ElementTree(suite).write(results / f"{name}.xml")


def test_every_module_has_a_page() -> None:
    """And no page is of a module that is gone."""
    modules = {path.stem for path in (ROOT / "mcpguard" / "integrations").glob("*.py")} - NOT_ONE
    assert modules == {page.name for page in PAGES} | LIBRARIES
    assert all((DOCS / f"{name}.md").exists() for name in LIBRARIES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_page_has_tests_and_an_agent(page: Page) -> None:
    """What the table is made of, and what people copy."""
    assert page.distribution in {Requirement(one).name for one in EXTRAS[page.name.replace("_", "-")]}
    assert page.seam
    assert (ROOT / "tests" / "integrations" / f"test_{page.name}.py").exists()
    assert (ROOT / "examples" / "frameworks" / f"{page.name}_agent.py").exists()


@pytest.mark.parametrize("name", sorted({*LIBRARIES, *(page.name for page in PAGES)}))
def test_an_extra_starts_at_the_lowest_release_that_is_tested(name: str) -> None:
    """What is promised to work is what was seen to."""
    requirement, lowest, _ = sessions()[name]
    wanted = {one.name: one.specifier for one in map(Requirement, EXTRAS[name.replace("_", "-")])}
    (start,) = wanted[Requirement(requirement).name]
    assert (start.operator, Version(start.version)) == (">=", Version(lowest))


@pytest.mark.parametrize(("module", "name"), [("no_framework", None), ("json", "moved")])
def test_what_a_release_has_not_is_an_error_that_says_which_has(module: str, name: str | None) -> None:
    """At import or when something is wrapped: before a guard stands where nothing passes."""
    with pytest.raises(SeamError, match=r"pip install 'mcpguard-inline\[agno\]'") as told:
        getattr(framework(module, extra="agno"), name or "anything")
    assert (name or module) in str(told.value)
    if is_installed():
        assert "agno[mcp]>=3" in str(told.value)


def is_installed() -> bool:
    """Whether the distribution is, and not only its checkout found."""
    try:
        return bool(version("mcpguard-inline"))
    except PackageNotFoundError:
        return False


def test_the_table_says_what_passed_and_what_did_not(tmp_path: Path) -> None:
    """A variant that fails is not hidden by those that pass, and one that was skipped is no result."""
    cases = {
        "test_an_allowed_call_is_carried_out[stdio]": None,
        "test_an_allowed_call_is_carried_out[http]": "failure",
        "test_calls_at_the_same_time_are_all_guarded[stdio]": None,
        "test_what_reaches_the_server_is_in_the_record[stdio]": "error",
        "test_a_run_on_a_background_thread_is_guarded[stdio]": "skipped",
        "tests.test_docs::test_every_python_block_runs[docs/integrations/dspy.md:1]": None,
    }
    write(tmp_path, "dspy-newest", cases, dspy="9.9", mcp="2.9")
    heads, _, row = table(tmp_path)
    told = dict(zip(heads, row, strict=True))
    assert told["framework"] == "[dspy](dspy.md)"
    assert (told["release"], told["SDK"]) == ("9.9", "2.9")
    assert (told["call"], told["at once"], told["no bypass"]) == ("**no**", "yes", "**no**")
    assert (told["thread"], told["list"]) == ("-", "-")
    assert told["tests"] == "2 of 4"


def test_releases_that_are_the_same_make_one_row(tmp_path: Path) -> None:
    """Where the lowest supported release is the newest."""
    for release, number in (("lowest", "1"), ("newest", "1")):
        write(tmp_path, f"dspy-{release}", {}, dspy=number)
    for release, number in (("lowest", "1"), ("newest", "2")):
        write(tmp_path, f"agno-{release}", {}, agno=number)
    assert [row[1] for row in table(tmp_path)[2:]] == ["1", "2", "1"]
