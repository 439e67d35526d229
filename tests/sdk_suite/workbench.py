"""Fetch one version of the MCP SDK with its tests, and an environment that can run them.

The tests come from the source distribution, the SDK they run against is the installed wheel: the
source distribution's own `src` is renamed, so that nothing can import it. Everything lies in one
directory, is kept, and is made anew when what it was made from has changed. mcpguard is built and
installed each time, so a run measures one state of it, and measures its wheel.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

__all__ = ["SetUpError", "Workbench", "prepare"]

NEEDS = (
    "blockbuster",
    "coverage[toml]<=7.13",
    "dirty-equals",
    "inline-snapshot",
    "logfire",
    "opentelemetry-sdk",
    "pillow",
    "pydantic-settings",
    "pytest",
    "pytest-examples",
    "pytest-flakefinder",
    "pytest-pretty",
    "pytest-timeout",
    "pytest-xdist",
    "pyyaml",
    "trio",
)
"""What the SDK's tests import, of both majors, and what this harness adds: a limit on the time of a test."""

EXTRAS = {1: "cli,rich,ws", 2: "cli,rich"}
"""The SDK's own extras that its tests need, by major."""


class SetUpError(Exception):
    """The suite could not be fetched, installed or started: nothing has been measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workbench:
    """A suite that is ready to run.

    Args:
        version: The SDK's full version, as in "2.3.0".
        home: Directory of everything that belongs to this version.
        source: The unpacked source distribution; the suite runs here.
        python: The interpreter of the environment.
        harness: Directory to put on `PYTHONPATH`: it holds a copy of this package and nothing else.
    """

    version: str
    home: Path
    source: Path
    python: Path
    harness: Path


def prepare(spec: str, *, work: Path, guard: Path) -> Workbench:
    """Fetch and install whatever is not there yet.

    Args:
        spec: A full version of the SDK, or a major for the newest version of it.
        work: Directory to keep everything in.
        guard: Directory of the project to measure, or a wheel of it.

    Raises:
        SetUpError: If a step fails.
    """
    archive = _download(spec, work)
    version = archive.name.removeprefix("mcp-").removesuffix(".tar.gz")
    home = work / f"mcp-{version}"
    source = _unpack(archive, home)
    python = _environment(version, home, source)
    _install_guard(python, guard, home)
    harness = home / "harness"
    shutil.rmtree(harness, ignore_errors=True)
    here = Path(__file__).parent
    shutil.copytree(here, harness / here.name, ignore=shutil.ignore_patterns("__pycache__"))
    return Workbench(version=version, home=home, source=source, python=python, harness=harness)


def _download(spec: str, work: Path) -> Path:
    downloads = work / "downloads" / spec
    kept = sorted(downloads.glob("mcp-*.tar.gz"))
    if kept and not spec.isdecimal():
        return kept[-1]
    requirement = f"mcp>={spec},<{int(spec) + 1}" if spec.isdecimal() else f"mcp=={spec}"
    fetcher = _new_environment(work / "fetcher")
    shutil.rmtree(downloads, ignore_errors=True)
    command = [str(fetcher), "-m", "pip", "download", "--no-deps", "--no-binary", "mcp"]
    _step([*command, "--dest", str(downloads), requirement], f"download the sources of {requirement}")
    return next(downloads.glob("mcp-*.tar.gz"))


def _unpack(archive: Path, home: Path) -> Path:
    source = home / "source"
    if not source.exists():
        home.mkdir(parents=True, exist_ok=True)
        unpacked = home / archive.name.removesuffix(".tar.gz")
        shutil.rmtree(unpacked, ignore_errors=True)
        with tarfile.open(archive) as tar:
            tar.extractall(home, filter="data")
        (unpacked / "src").rename(unpacked / "src-not-tested")
        unpacked.rename(source)
    return source


def _environment(version: str, home: Path, source: Path) -> Path:
    requirements = [f"mcp[{EXTRAS[int(version.partition('.')[0])]}]=={version}", *NEEDS]
    if (source / "examples" / "pyproject.toml").exists():
        requirements.append(str(source / "examples"))
    stamp = home / "environment.json"
    made_of = {"python": sys.version, "requirements": requirements}
    python = home / "venv" / "bin" / "python"
    if not (stamp.exists() and json.loads(stamp.read_text(encoding="utf-8")) == made_of):
        stamp.unlink(missing_ok=True)
        shutil.rmtree(home / "venv", ignore_errors=True)
        python = _new_environment(home / "venv")
        _step([str(python), "-m", "pip", "install", "--quiet", *requirements], "install what the suite needs")
        stamp.write_text(json.dumps(made_of), encoding="utf-8")
    return python


def _install_guard(python: Path, guard: Path, home: Path) -> None:
    pip = [str(python), "-m", "pip"]
    wheel = guard
    if guard.is_dir():
        wheels = home / "wheel"
        shutil.rmtree(wheels, ignore_errors=True)
        build = [*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(wheels), str(guard)]
        _step(build, f"build a wheel of {guard}")
        (wheel,) = wheels.glob("*.whl")
    _step([*pip, "install", "--quiet", "--force-reinstall", "--no-deps", str(wheel)], "install mcpguard")
    _step([*pip, "install", "--quiet", str(wheel)], "install what mcpguard needs")
    _step([str(python), "-P", "-c", "from mcpguard import ALLOW, Guard, Interceptor"], "import mcpguard")


def _new_environment(directory: Path) -> Path:
    python = directory / "bin" / "python"
    if not python.exists():
        _step([sys.executable, "-m", "venv", str(directory)], f"make an environment in {directory}")
    return python


def _step(command: list[str], purpose: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        raise SetUpError(f"could not {purpose}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
