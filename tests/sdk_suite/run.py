"""Run the MCP SDK's own test suite bare and guarded, and tell what the guard changed.

    python -m tests.sdk_suite.run --sdk 2 --modes empty,chain

A test that holds bare and not guarded is tried again alone, bare and guarded, up to `RETRIES` times. If it
then holds, it is flaky or fell with another test: it is shown with every outcome, and does not count. The
command ends with 0 if no test is newly failing, 1 if one is, 2 if the suite could not be set up.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .compare import MISSING, Coverage, Difference, coverage, lost, tally
from .records import MODE_VARIABLE, MODES, OUT_VARIABLE, Outcome, Passage, read_outcomes, read_passages
from .workbench import SetUpError, Workbench, prepare

REPOSITORY = Path(__file__).parent.parent.parent

NOT_ABOUT_SESSIONS = ("tests/docs",)
"""Directories left out: tests of how the SDK's documentation is built, which need its tools."""

INHERENT: Mapping[str, Mapping[str, str]] = {
    "entered": {
        "tests/client/test_client_caching.py::test_cache_none_disables_the_cache_and_the_handler_wrap": (
            "compares the session's message handler by identity; of a session that runs already, the handler "
            "is what a guard replaces"
        ),
    },
}
"""Tests that cannot hold under a guard, by mode and node id, each with the reason."""

RETRIES = 2
"""How often a test that was lost is tried again."""

MOST_RETRIED = 100
"""Lost tests beyond which trying again, some five seconds each, takes longer than it tells."""

MOST_SHOWN = 50
"""Lost tests beyond which the rest is only in `failures.txt`."""

LONGEST_TEST = 120
"""Seconds after which a single test has failed."""

LONGEST_RUN = 1_200
"""Seconds after which a whole run is given up."""


PYTEST_OPTIONS = (
    "-q",
    "--color=no",
    "--continue-on-collection-errors",
    f"--timeout={LONGEST_TEST}",
    *("-o", "log_cli=false"),
    *("-p", "no:cacheprovider"),
)
"""What every run has beside the options of the suite's own pyproject.toml."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of the suite, or of a part of it."""

    outcomes: Mapping[str, Outcome]
    passages: Mapping[str, Passage]
    seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, run, report; return the exit status."""
    options = _options(arguments)
    modes = options.modes.split(",")
    if unknown := [mode for mode in modes if mode not in MODES]:
        _say(f"no such mode: {', '.join(unknown)}; there are {', '.join(MODES)}")
        return 2
    try:
        bench = prepare(options.sdk, work=options.work.resolve(), guard=options.guard.resolve())
        _say(f"mcp {bench.version}, Python {sys.version.split()[0]}, {bench.home}")
        bare = _bare(bench, options.only, workers=options.workers, reuse=options.reuse_bare)
        newly_failing = [
            difference
            for mode in modes
            for difference in _guarded(bench, mode, bare, options.only, workers=options.workers)
        ]
    except SetUpError as error:
        _say(f"set-up failed: {error}")
        return 2
    return 1 if newly_failing else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="sdk_suite", description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--sdk", default="2", help="a version of mcp, or a major for its newest version (default: 2)")
    add("--modes", default="empty,chain", help=f"guarded runs, of {', '.join(MODES)} (default: empty,chain)")
    add("--work", type=Path, default=REPOSITORY / ".nox" / "sdk-suite", help="directory for all that is kept")
    add("--guard", type=Path, default=REPOSITORY, help="the project to measure, or a wheel of it")
    add("--workers", type=int, default=2, help="processes of pytest-xdist (default: 2)")
    add("--reuse-bare", action="store_true", help="do not repeat a bare run that is kept")
    add("only", nargs="*", help="files or node ids to run, instead of the whole suite")
    return parser.parse_args(arguments)


def _bare(bench: Workbench, only: Sequence[str], *, workers: int, reuse: bool) -> Run:
    kept = bench.home / "runs" / "bare"
    if reuse and not only and (outcomes := read_outcomes(kept)):
        run = Run(outcomes=outcomes, passages={}, seconds=0.0)
    else:
        out = kept.with_name("bare-only") if only else kept
        run = _run(bench, out, None, only, workers=workers)
        _require(bool(run.outcomes), "no test ended", out)
    _say_outcomes("bare", run)
    for node, outcome in run.outcomes.items():
        if outcome.name == "failed":
            _say(f"  fails bare as well: {node}")
    return run


def _guarded(
    bench: Workbench, mode: str, bare: Run, only: Sequence[str], *, workers: int
) -> list[Difference]:
    out = bench.home / "runs" / mode
    run = _run(bench, out, mode, only, workers=workers)
    _require(bool(run.outcomes), "no test ended", out)
    _say_outcomes(mode, run)
    seen = coverage(run.passages.values())
    _say_coverage(mode, seen)
    _require(mode == "control" or seen.tests_through > 0, "no message passed the guard", out)
    inherent = INHERENT.get(mode, {})
    differences = [each for each in lost(bare.outcomes, run.outcomes) if each.node not in inherent]
    _try_again(bench, mode, differences)
    newly_failing = [each for each in differences if each.is_newly_failing]
    for each in differences[:MOST_SHOWN]:
        _say(f"  {'NEWLY FAILING' if each.is_newly_failing else 'holds alone'}: {each}")
    alone = len(differences) - len(newly_failing)
    _say(f"  {len(newly_failing)} newly failing, {alone} that hold alone; details in {out / 'failures.txt'}")
    for node, reason in inherent.items():
        if node in run.outcomes:
            _say(f"  not counted, {run.outcomes[node].name}: {node}: it {reason}")
    failures = [f"=== {each}\n{each.text}" for each in differences]
    (out / "failures.txt").write_text("\n\n".join(failures), encoding="utf-8")
    return newly_failing


def _try_again(bench: Workbench, mode: str, differences: Sequence[Difference]) -> None:
    """Run each test that was lost again, guarded alone in its process, and note how it ended.

    Alone, because one failure can take others along: the SDK's tests share an event loop by module.
    """
    if len(differences) > MOST_RETRIED:
        _say(f"  {len(differences)} tests were lost; more than {MOST_RETRIED} are not tried again")
        return
    for attempt in range(1, RETRIES + 1):
        lost_so_far = [each for each in differences if each.is_newly_failing]
        if not lost_so_far:
            return
        out = bench.home / "runs" / f"{mode}-again-{attempt}"
        bare = _run(bench, out / "bare", None, [each.node for each in lost_so_far], workers=1)
        for number, each in enumerate(lost_so_far):
            guarded = _run(bench, out / str(number), mode, [each.node], workers=1)
            each.bare.append(bare.outcomes.get(each.node, MISSING).name)
            each.guarded.append(guarded.outcomes.get(each.node, MISSING).name)


def _run(bench: Workbench, out: Path, mode: str | None, only: Sequence[str], *, workers: int) -> Run:
    """Run the suite once.

    Raises:
        SetUpError: If the whole run took too long.
    """
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "PYTEST", "COVERAGE", "VIRTUAL_ENV"))
    }
    environment |= {"PYTHONPATH": str(bench.harness), OUT_VARIABLE: str(out)}
    plugins = ["-p", "sdk_suite.outcomes"]
    if mode is not None:
        plugins += ["-p", "sdk_suite.plugin"]
        environment[MODE_VARIABLE] = mode
    targets = list(only) or ["tests", *(f"--ignore={path}" for path in NOT_ABOUT_SESSIONS)]
    command = [str(bench.python), "-m", "pytest", *plugins, *PYTEST_OPTIONS, "-n", str(workers), *targets]
    started = time.monotonic()
    with (out / "pytest.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=bench.source, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            process.wait(LONGEST_RUN)
        except subprocess.TimeoutExpired:
            raise SetUpError(f"the run took longer than {LONGEST_RUN} s: see {out / 'pytest.log'}") from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    seconds = time.monotonic() - started
    return Run(outcomes=read_outcomes(out), passages=read_passages(out), seconds=seconds)


def _require(holds: bool, complaint: str, out: Path) -> None:
    if not holds:
        tail = (out / "pytest.log").read_text(encoding="utf-8", errors="replace")[-4000:]
        raise SetUpError(f"{complaint} in {out}:\n{tail}")


def _say_outcomes(label: str, run: Run) -> None:
    counts = tally(run.outcomes)
    columns = "  ".join(f"{counts[name]:>5} {name}" for name in ("passed", "failed", "skipped", "xfailed"))
    _say(f"{label:<8}{columns}  {run.seconds:>6.0f} s")


def _say_coverage(mode: str, seen: Coverage) -> None:
    sessions = f"{seen.total.guarded} of {seen.total.sessions} client sessions guarded"
    _say(f"  {sessions}, in {seen.tests_with_session} tests; {seen.tests_with_message} tests had messages")
    messages = f"{seen.total.through.total()} of {seen.total.messages.total()} messages"
    _say(f"  through the guard: {seen.tests_through} tests ({seen.tests_all_through} wholly), {messages}")
    if mode in ("chain", "entered"):
        shown = f"{seen.total.checked.total()} calls checked, {seen.total.layered.total()} layered"
        _say(f"  shown to an interceptor: {seen.tests_checked} tests, {shown}")
    if mode in ("empty", "chain"):
        for key, count in seen.around.most_common():
            _say(f"  past the guard: {count} x {key}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
