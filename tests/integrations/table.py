"""Write the table of docs/integrations/index.md, from the results that the session `integrations` of nox leaves.

    python tests/integrations/table.py RESULTS [--write PAGE]

A result is a JUnit file NAME-RELEASE.xml. A column is a test that every framework's module has, in however many
variants: all passed, some failed, or there is none. The examples of its page are no test of the module's.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from pages import PAGES, Page

COLUMNS = {
    "list": "test_the_model_is_offered_what_the_policy_allows",
    "call": "test_an_allowed_call_is_carried_out",
    "refusal": "test_a_denied_call_is_an_answer_that_the_model_can_read",
    "at once": "test_calls_at_the_same_time_are_all_guarded",
    "thread": "test_a_run_on_a_background_thread_is_guarded",
    "no bypass": "test_what_reaches_the_server_is_in_the_record",
    "agent": "test_the_example_is_an_agent_that_goes_on_after_a_refusal",
    "progress": "test_progress_reaches_who_asked_for_it",
    "control": "test_without_a_guard_the_same_call_reaches_the_server",
}
"""What stands above a column -> the test."""

HEAD = """# Frameworks

What was tested with which releases: each framework in an environment of its own, its lowest supported release and the newest,
on stdio and on HTTP. `nox -s integrations` runs the tests, and `nox -s integrations_table` makes this page of their results.

"""

FOOT = """
- **list, call, refusal**: the model is offered what the policy allows, calls are carried out and recorded for whoever they
  are for, and a refused one is an answer that the model can read.
- **at once, thread**: sixteen calls at the same time; a run on another thread with an event loop of its own.
- **no bypass**: every request that reached the server is in the guard's record, counted at the server.
- **agent**: the complete agent of `examples/frameworks/`, with a script in place of its model and a real server, goes on after a
  refusal.
- **progress**: what a server says meanwhile reaches who asked for it. A dash: there is no such test; most of these frameworks hand none on.
- **control**: without the guard the refused call reaches the server.
- **tests**: how many passed, with those that only this framework has: other ways to its server, options that would open one.

How the words of the interceptor proposal SEP-2624 map to a guard's: [sep-2624.md](../sep-2624.md).
"""


@dataclass(slots=True, kw_only=True)
class Tested:
    """What was seen of one release."""

    release: str
    versions: dict[str, str] = field(default_factory=dict)
    passed: dict[str, list[bool]] = field(default_factory=dict)

    def cell(self, test: str) -> str:
        """Whether all variants of a test passed."""
        outcomes = self.passed.get(test)
        return "-" if outcomes is None else "yes" if all(outcomes) else "**no**"

    @property
    def total(self) -> str:
        """How many passed, of how many if not all."""
        outcomes = [one for variants in self.passed.values() for one in variants]
        return str(len(outcomes)) if all(outcomes) else f"{sum(outcomes)} of {len(outcomes)}"


def read(path: Path) -> Tested:
    """One file of results."""
    tested = Tested(release=path.stem.rpartition("-")[2])
    suite = ElementTree.parse(path).getroot()  # noqa: S314 - pytest's own
    for found in suite.iter("property"):
        tested.versions[found.attrib["name"]] = found.attrib["value"]
    for case in suite.iter("testcase"):
        if case.find("skipped") is None and not case.attrib.get("classname", "").endswith("test_docs"):
            name = case.attrib["name"].partition("[")[0]
            failed = case.find("failure") is not None or case.find("error") is not None
            tested.passed.setdefault(name, []).append(not failed)
    return tested


def rows(results: Path) -> Iterator[str]:
    """The table, a line at a time."""
    heads = ["framework", "release", "SDK", "seam", *COLUMNS, "tests"]
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for page in PAGES:
        known: set[str] = set()
        for release in ("lowest", "newest"):
            path = results / f"{page.name}-{release}.xml"
            if path.exists():
                tested = read(path)
                if tested.versions.get(page.distribution, "") not in known:
                    yield row(page, tested)
                known.add(tested.versions.get(page.distribution, ""))


def row(page: Page, tested: Tested) -> str:
    """One release of one framework."""
    cells = [
        f"[{page.title}]({page.name}.md)",
        tested.versions.get(page.distribution, "?"),
        tested.versions.get("mcp", "?"),
        f"`{page.seam}`",
        *(tested.cell(test) for test in COLUMNS.values()),
        tested.total,
    ]
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the page, or write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--write", type=Path)
    given = parser.parse_args(arguments)
    page = HEAD + "\n".join(rows(given.results)) + "\n" + FOOT
    if given.write is None:
        print(page)
    else:
        given.write.write_text(page, "utf-8")


if __name__ == "__main__":
    main()
