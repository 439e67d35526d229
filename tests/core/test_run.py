"""Runs: nesting, binding, ending."""

import contextvars
import threading
from typing import Any

import anyio
import pytest

from mcpguard import Principal, Run, current_run
from mcpguard.core.run import MAX_DEPTH, bound

pytestmark = pytest.mark.anyio

ADA = Principal(tenant="acme", user="ada")


def test_a_run_has_an_id_of_its_own_unless_one_is_given() -> None:
    """The audit tells runs apart by it."""
    assert Run(id="job-7").id == "job-7"
    assert Run().id != Run().id
    with pytest.raises(ValueError, match="must not be empty"):
        Run(id="")
    other: Any = 7
    with pytest.raises(TypeError, match="id is text, not int"):
        Run(id=other)
    with pytest.raises(TypeError, match=r"principal is a Principal\(user=...\), not int"):
        Run(principal=other)


def test_a_run_is_on_behalf_of_whoever_its_parent_is() -> None:
    """A sub-agent acts for the same person, unless somebody says otherwise."""
    outer = Run(principal=ADA)
    assert Run(parent=outer).principal is ADA
    other = Principal(tenant="other")
    inner = Run(parent=Run(parent=outer), principal=other)
    assert inner.principal is other
    assert inner.tenants == {"acme", "other"}
    assert Run(principal=Principal()).tenants == frozenset()
    assert Run().tenants == frozenset()


def test_lineage_is_from_the_inside_out() -> None:
    """Budgets charge every run in it."""
    outer = Run()
    middle = Run(parent=outer)
    inner = Run(parent=middle)
    assert inner.lineage == (inner, middle, outer)
    assert "depth=2" in repr(inner)


def test_runs_do_not_nest_for_ever() -> None:
    """A program that calls itself ends in an error, not in memory."""
    run = Run()
    for _ in range(MAX_DEPTH - 1):
        run = Run(parent=run)
    with pytest.raises(ValueError, match="nest deeper than 32"):
        Run(parent=run)


def test_closing_a_parent_ends_what_is_inside() -> None:
    """A call under a closed run is denied, and a sub-agent's call is under its parent's run too."""
    outer = Run()
    inner = Run(parent=outer)
    outer.close()
    assert inner.ended == "run_closed"
    assert outer.ended == "run_closed"


def test_closing_a_sub_run_leaves_its_parent_open() -> None:
    """One task of several is over."""
    outer = Run()
    inner = Run(parent=outer)
    inner.close()
    assert inner.ended == "run_closed"
    assert outer.ended is None


def test_stopped_outweighs_closed_wherever_it_stands() -> None:
    """The kill switch is what a record must show."""
    outer = Run()
    inner = Run(parent=outer)
    inner.close()
    outer.stop()
    assert inner.ended == "run_stopped"
    outer.close()
    assert outer.ended == "run_stopped"
    closed = Run()
    closed.close()
    closed.stop()
    assert closed.ended == "run_stopped"


@pytest.mark.parametrize("end", [Run.close, Run.stop])
def test_a_run_that_has_ended_has_no_new_parts(end: object) -> None:
    """Else work under a stopped run could go on under a new name."""
    run = Run(id="job")
    end(run)  # type: ignore[operator]
    with pytest.raises(ValueError, match=r"parent run 'job' has ended \(run_"):
        Run(parent=run)


def test_a_run_is_bound_to_what_happens_inside() -> None:
    """`async with guard.run()` binds by context."""
    assert current_run() is None
    outer, inner = Run(), Run()
    with bound(outer):
        with bound(inner):
            assert current_run() is inner
        with bound(None):
            assert current_run() is None
        assert current_run() is outer
    assert current_run() is None


def test_an_error_inside_unbinds_too() -> None:
    """Else the next task of this thread would be charged."""
    with pytest.raises(KeyError), bound(Run()):
        raise KeyError
    assert current_run() is None


async def test_tasks_started_inside_belong_to_the_run() -> None:
    """Contexts are inherited, on both event loops."""
    seen: list[Run | None] = []

    async def child() -> None:
        seen.append(current_run())

    run = Run()
    with bound(run):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(child)
    assert seen == [run]


async def test_tasks_side_by_side_have_runs_of_their_own() -> None:
    """A host serves several people in one event loop."""
    seen: dict[str, Run | None] = {}
    both_bound = anyio.Event()

    async def child(name: str, run: Run) -> None:
        with bound(run):
            if name == "second":
                both_bound.set()
            await both_bound.wait()
            seen[name] = current_run()

    first, second = Run(), Run()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(child, "first", first)
        tasks.start_soon(child, "second", second)
    assert seen == {"first": first, "second": second}


def test_a_thread_has_no_run_unless_its_context_is_copied() -> None:
    """Why `run=` can be bound explicitly when wrapping."""
    seen: list[Run | None] = []

    def look() -> None:
        seen.append(current_run())

    run = Run()
    with bound(run):
        context = contextvars.copy_context()
        for target in (look, lambda: context.run(look)):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
    assert seen == [None, run]
