"""What README.md and docs/ show is what happens: blocks run, policies load, links lead somewhere.

A Python block is a script in a process and a folder of its own. The folder holds the files that the page
names (blocks whose first line is a comment with a file name), so that a script finds its policy and a
plugin its entry point. `<!-- needs: mcp>=2 -->` before a block says what it takes; `<!-- prints -->` before
a text block, that it is all that the Python block above it prints.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from packaging.requirements import Requirement

import mcpguard

ROOT = Path(__file__).parents[1]

PARSERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "yaml": yaml.safe_load,
    "toml": tomllib.loads,
    "json": json.loads,
}
"""Languages of data; a block of one that is a policy is loaded as one."""

MARKS: Final = {"python": ("", "needs"), "text": ("", "prints")}
"""What may stand before a block of some language."""

SHOWN_ONLY: Final = frozenset({"console", "text", "bash", "sh"})
"""Languages of blocks that are read and not run."""

LOAD: Final = "import sys; from mcpguard.config import load_policy; load_policy(sys.argv[1]).build()"

PATIENCE: Final = 120
"""Seconds for one block; the slowest starts a server and takes three."""

_FENCE = re.compile(r"(`{3,})(\w*)$")
_MARK = re.compile(r"<!-- (needs|run|prints):? ?(.*?) ?-->$")
_FILE = re.compile(r"# ([\w./-]+\.(?:py|yaml|yml|toml|json))$")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block of a page."""

    page: str
    line: int
    language: str
    text: str
    mark: str = ""
    value: str = ""

    @property
    def file(self) -> str | None:
        """The file that its first line says it is."""
        named = _FILE.match(self.text.partition("\n")[0])
        return named[1] if named else None

    @property
    def is_test(self) -> bool:
        """Whether it is for pytest."""
        return self.file is not None and self.file.startswith("tests/")

    @property
    def is_policy(self) -> bool:
        """Whether it is a whole policy."""
        try:
            data = PARSERS[self.language](self.text) if self.language in PARSERS else None
        except (ValueError, yaml.YAMLError):
            return False
        return isinstance(data, dict) and "version" in data and "interceptors" in data

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """README.md and all of docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def relative(page: Path) -> str:
    """A page's path in the project."""
    return page.relative_to(ROOT).as_posix()


@cache
def blocks_of(page: Path) -> tuple[Block, ...]:
    """The blocks of a page, in order; those inside a list are indented with it."""
    return tuple(_read(relative(page), page.read_text("utf-8").splitlines()))


def _read(page: str, lines: list[str]) -> Iterator[Block]:
    before = ""
    numbered = enumerate(lines, start=1)
    for number, line in numbered:
        opening = _FENCE.match(line.strip())
        if opening is None:
            before = line.strip() or before
            continue
        indent = len(line) - len(line.lstrip())
        body: list[str] = []
        for _, inner in numbered:
            if inner.strip() == opening[1]:
                break
            body.append(inner[indent:])
        marked = _MARK.match(before)
        yield Block(
            page=page,
            line=number,
            language=opening[2],
            text="".join(f"{one}\n" for one in body),
            mark=marked[1] if marked else "",
            value=marked[2] if marked else "",
        )
        before = ""


BLOCKS = [block for page in pages() for block in blocks_of(page)]
SCRIPTS = [block for block in BLOCKS if block.language == "python"]
POLICIES = [block for block in BLOCKS if block.is_policy]


def seed(folder: Path, block: Block) -> None:
    """Write the files that the page names; of two with one name, the last before the block."""
    for other in blocks_of(ROOT / block.page):
        if other.file is None or other.is_test or other is block:
            continue
        file = folder / other.file
        if not file.exists() or other.line < block.line:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(other.text, "utf-8")
    project = folder / "pyproject.toml"
    if project.exists():
        install(tomllib.loads(project.read_text("utf-8"))["project"], folder)
    if "mcp-server-git" in block.text:
        make_repository(folder)
    try:
        version("mcpguard-inline")
    except PackageNotFoundError:  # found by PYTHONPATH, which servers started over stdio do not inherit
        (folder / "mcpguard").symlink_to(Path(mcpguard.__file__).parent)


def install(project: dict[str, Any], folder: Path) -> None:
    """Give `folder` the metadata an installer would, so that entry points in it are found."""
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    head = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(head)
    groups = project.get("entry-points", {})
    points = "".join(
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in members.items())
        for group, members in groups.items()
    )
    (info / "entry_points.txt").write_text(points)


def make_repository(folder: Path) -> None:
    """A git repository with one commit."""
    identity = ["-c", "user.name=Ana", "-c", "user.email=ana@example.com", "-c", "commit.gpgSign=false"]
    for command in ("init --quiet", "add .", "commit --quiet --allow-empty -m First"):
        subprocess.run(["git", *identity, *command.split()], cwd=folder, check=True)


def run(folder: Path, *arguments: str, warnings: str = "error") -> str:
    """Run Python in `folder` and return what it prints; installed commands are found first."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    done = subprocess.run(
        [sys.executable, "-W", warnings, *arguments],
        cwd=folder,
        env={**inherited, "PATH": path, "PYTHONIOENCODING": "utf-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def skip_unless_met(block: Block) -> None:
    """Skip a block that needs what is not installed here, and say what."""
    needs = [one.strip() for one in block.value.split(",")] if block.mark == "needs" else []
    for requirement in map(Requirement, needs):
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            pytest.skip(f"needs {requirement}, which is not installed")
        if not requirement.specifier.contains(found, prereleases=True):
            pytest.skip(f"needs {requirement}; {found} is installed")
    if "mcp-server-git" in block.text and importlib.util.find_spec("mcp_server_git") is None:
        pytest.skip("needs mcp-server-git, which the extra [demo] brings")


@pytest.mark.parametrize("block", SCRIPTS, ids=str)
def test_every_python_block_runs(block: Block, tmp_path: Path) -> None:
    """Every code block in README and docs is executed."""
    skip_unless_met(block)
    seed(tmp_path, block)
    script = tmp_path / (block.file or "block.py")
    script.parent.mkdir(exist_ok=True)
    script.write_text(block.text, "utf-8")
    if block.is_test:
        run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(script))
        return
    a_framework_warns = block.page.startswith("docs/integrations/")
    printed = run(tmp_path, str(script), warnings="ignore" if a_framework_warns else "error")
    following = blocks_of(ROOT / block.page)
    following = following[following.index(block) + 1 :]
    if following and following[0].mark == "prints":
        assert printed == following[0].text


@pytest.mark.parametrize("block", POLICIES, ids=str)
def test_every_policy_loads(block: Block, tmp_path: Path) -> None:
    """A policy that somebody copies from the documentation is accepted."""
    seed(tmp_path, block)
    file = tmp_path / (block.file or f"policy.{block.language}")
    file.write_text(block.text, "utf-8")
    run(tmp_path, "-c", LOAD, str(file))


@pytest.mark.parametrize("page", pages(), ids=relative)
def test_nothing_goes_unchecked_for_a_slip_of_the_pen(page: Path) -> None:
    """No language, data that cannot be parsed, a mark before no block: nobody would notice."""
    for block in blocks_of(page):
        assert block.language in {"python", *PARSERS, *SHOWN_ONLY}, str(block)
        assert block.mark in MARKS.get(block.language, ("", "run")), str(block)
        if block.language in PARSERS:
            PARSERS[block.language](block.text)
    marks = [line for line in page.read_text("utf-8").splitlines() if _MARK.match(line.strip())]
    assert len(marks) == sum(block.mark != "" for block in blocks_of(page))


@pytest.mark.parametrize("page", pages(), ids=relative)
def test_every_link_leads_to_a_file(page: Path) -> None:
    """Links within the project; those to elsewhere are not followed."""
    targets = [target for target in _LINK.findall(page.read_text("utf-8")) if "://" not in target]
    files = [(target, page.parent / target.partition("#")[0]) for target in targets if target[0] != "#"]
    assert not [target for target, file in files if not file.exists()]


def test_the_index_names_every_page() -> None:
    """docs/index.md is where a reader finds the others."""
    docs = ROOT / "docs"
    linked = set(_LINK.findall((docs / "index.md").read_text("utf-8")))
    assert {str(page.relative_to(docs)) for page in docs.rglob("*.md")} - linked == {"index.md"}


@pytest.mark.parametrize(
    ("name", "command"),
    [("demo", "pip install '.[demo]' && mcpguard demo"), ("tests", "pip install nox && nox -s tests")],
)
def test_the_readme_has_the_commands_that_set_everything_up(name: str, command: str) -> None:
    """Two commands, each of which sets up all it needs."""
    marked = [block for block in blocks_of(ROOT / "README.md") if block.mark == "run" and block.value == name]
    assert [block.text for block in marked] == [f"{command}\n"]


def test_the_readme_gives_a_reason_for_every_dependency() -> None:
    """Nothing is depended on without a reason in the README's table."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needed = {Requirement(one).name for one in project["dependencies"]}
    table = re.findall(r"^\| `([\w-]+)` \|", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    assert needed - set(table) == set()
