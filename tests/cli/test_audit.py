"""`mcpguard audit`: what was recorded, as tables, in other shapes and as a page."""

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import anyio
import pytest
from trails import event, write

from mcpguard import Access, AccessRule, Budget, Guard, JsonLines, Principal
from mcpguard.audit.calls import CallView, Selection
from mcpguard.audit.export import csv_rows
from mcpguard.audit.report import Report, page
from mcpguard.cli import main
from mcpguard.core.result import Fate, Outcome
from mcpguard.testing import FakeServer, structured

HOSTILE = '</script><script>document.title="owned"</script>\x1b[31m=1+1'


def sessions() -> Any:
    """The SDK's session class; imported here, so that the other tests need no SDK."""
    from mcp import ClientSession

    return ClientSession


async def work(folder: Path) -> None:
    """Two runs of two people: calls that succeed, fail, are denied, and one that costs."""
    server = FakeServer()
    server.tool("read").returns(structured({"a": 1}))
    server.tool(HOSTILE).returns("x")
    interceptors = [
        Access(default="allow", deny=[AccessRule(tools=["delete"])]),
        Budget(id="money", cost="1 USD", prices=[], max_cost="0.25 USD"),
    ]
    async with Guard(interceptors, sinks=[JsonLines(folder / "audit")]) as guard:
        for user in ("ana", "ben"):
            async with server.connect() as (read, write_):
                session = guard.session(sessions()(read, write_), name="files")
                principal = Principal(tenant="acme", user=user)
                async with session, guard.run(principal=principal, id=f"run-{user}"):
                    await session.initialize()
                    await session.call_tool("read", {"path": "canary"})
                    await session.call_tool("delete", {"path": "canary"})
                    await session.call_tool(HOSTILE, {})


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trail of real sessions."""
    folder = tmp_path_factory.mktemp("work")
    anyio.run(work, folder)
    return folder / "audit"


class Command:
    """Runs a subcommand and gives its lines."""

    def __init__(self, capsys: pytest.CaptureFixture[str], trail: Path) -> None:
        self._capsys = capsys
        self._trail = trail

    def __call__(self, subcommand: str, *options: str) -> str:
        assert main(["audit", subcommand, str(self._trail), *options]) == 0
        return self._capsys.readouterr().out


@pytest.fixture
def audit(capsys: pytest.CaptureFixture[str], trail: Path) -> Command:
    """The command, on the trail."""
    return Command(capsys, trail)


def test_show_lists_calls_with_what_became_of_them(audit: Command) -> None:
    """One line each; names from outside command no terminal."""
    lines = audit("show").splitlines()
    assert lines[0].split() == ["time", "who", "run", "server", "what", "outcome", "code", "by", "ms"]
    (denied,) = [line for line in lines if "delete" in line and "ana" in line]
    assert denied.split()[2:-1] == [
        "acme/ana",
        "run-ana",
        "files",
        "delete",
        "denied",
        "access_denied",
        "access",
    ]
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize(
    ("options", "number"),
    [
        (["--run", "run-ana", "--outcome", "denied"], 1),
        (["--principal", "ben", "--tool", "read"], 1),
        (["--principal", "acme", "--tool", "read"], 2),
        (["--tool", "nothing"], 0),
        (["--since", "2100-01-01"], 0),
        (["--until", "2000-01-01T00:00+02:00"], 0),
        (["--tool", "delete", "--since", "2000-01-01", "--until", "2100-01-01"], 2),
    ],
)
def test_show_can_be_narrowed(audit: Command, options: list[str], number: int) -> None:
    """By run, tool, principal, outcome and time."""
    shown = [json.loads(line) for line in audit("show", "--json", *options).splitlines()]
    assert len(shown) == number


def test_what_is_recorded_while_show_follows_is_shown_at_once(tmp_path: Path) -> None:
    """Also where another program reads it; Ctrl-C ends it."""
    path = tmp_path / "events.jsonl"
    anyio.run(lambda: write(path, [event(1, kind="completed", call_id="a", target="first", server="s")]))
    command = [sys.executable, "-m", "mcpguard", "audit", "show", str(path), "--follow", "--json"]
    around = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    pipe = subprocess.PIPE
    heeding = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # what runs these tests may ignore it
    with subprocess.Popen(
        command,
        stdout=pipe,
        stderr=pipe,
        text=True,
        env=around,
        preexec_fn=heeding,  # noqa: PLW1509 - no locks
    ) as following:
        assert following.stdout is not None
        assert following.stderr is not None
        rescue = threading.Timer(60, following.kill)
        rescue.start()
        assert json.loads(following.stdout.readline())["target"] == "first"
        anyio.run(lambda: write(path, [event(2, kind="completed", call_id="b", target="later", server="s")]))
        assert json.loads(following.stdout.readline())["target"] == "later"
        following.send_signal(signal.SIGINT)
        following.wait(30)
        rescue.cancel()
        _, errors = following.communicate(timeout=30)
    assert "Traceback" not in errors


def test_no_shape_has_a_value_of_an_argument(audit: Command) -> None:
    """Digests only, wherever it goes."""
    for shape in ("ocsf", "cloudevents", "jsonl", "csv"):
        assert "canary" not in audit("export", "--format", shape)


def test_ocsf_has_what_the_class_requires(audit: Command) -> None:
    """OCSF 1.3.0, API Activity: the attributes it calls required."""
    events = [json.loads(line) for line in audit("export", "--format", "ocsf").splitlines()]
    required = {"activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid"}
    for one in events:
        assert required | {"actor", "api", "src_endpoint"} <= one.keys()
        assert (one["class_uid"], one["category_uid"], one["metadata"]["version"]) == (6003, 6, "1.3.0")
    (denied,) = [one for one in events if one["api"]["operation"] == "delete" and "ana" in str(one["actor"])]
    assert (denied["action_id"], denied["status_id"], denied["status_code"]) == (2, 2, "access_denied")


def test_cloud_events_have_what_the_specification_requires(audit: Command) -> None:
    """CloudEvents 1.0; source and id together are unique."""
    events = [json.loads(line) for line in audit("export", "--format", "cloudevents").splitlines()]
    assert all({"specversion", "id", "source", "type"} <= one.keys() for one in events)
    assert len({(one["source"], one["id"]) for one in events}) == len(events)
    assert events[0]["type"] == "dev.mcpguard.audit.opened.v1"


def test_csv_commands_no_terminal_and_breaks_no_line() -> None:
    """Of a record that no sink has written; `verify` finds it, and nobody needs to have asked that first."""
    view = CallView(seq=1, call_id="c", target="\x1b]0;x\x07\r\n=1\u202e", user="\t=1", reason="ä \\ ok")
    heading, line = csv_rows([view])
    assert heading.startswith("seq,call_id,")
    assert line[:-1].isprintable()
    assert "\\u001b]0;x\\u0007\\u000d\\u000a=1\\u202e" in line
    assert "ä \\ ok" in line


def test_csv_holds_no_formula(audit: Command) -> None:
    """A tool's name must not run in whoever opens the table."""
    view = CallView(seq=1, call_id="=cmd", target="+1", user="@x", agent="-1")
    (row,) = csv.DictReader(io.StringIO("".join(csv_rows([view]))))
    assert (row["call_id"], row["target"], row["user"], row["agent"]) == ("'=cmd", "'+1", "'@x", "'-1")
    rows = list(csv.DictReader(io.StringIO(audit("export", "--format", "csv"))))
    assert {row["outcome"] for row in rows if row["target"] == "delete"} == {"denied"}


def test_what_is_exported_as_json_lines_are_the_records(audit: Command, tmp_path: Path) -> None:
    """All of them; and of some calls, all of theirs."""
    records = [json.loads(line) for line in audit("export", "--format", "jsonl").splitlines()]
    assert [record["seq"] for record in records] == list(range(1, len(records) + 1))
    audit("export", "--format", "jsonl", "--tool", "read", "--run", "run-ana", "--out", str(tmp_path / "x"))
    kinds = [json.loads(line)["kind"] for line in (tmp_path / "x").read_text().splitlines()]
    assert kinds == ["received", "dispatched", "spent", "completed"]


def test_stats_count_by_tool_and_denial(audit: Command) -> None:
    """And the money."""
    stats = json.loads(audit("stats", "--json", "--principal", "ana"))
    assert stats["outcomes"]["denied"] == 1
    assert stats["cost"] == {"USD": 500_000}
    assert stats["denials"] == [
        {"interceptor": "access", "code": "access_denied", "reason": "access.deny[0] covers it", "calls": 1}
    ]
    text = audit("stats", "--principal", "ana")
    assert "cost: 0.500000 USD" in text
    assert all(line.isprintable() for line in text.splitlines())


def test_a_trail_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """For every subcommand."""
    for subcommand in ("show", "stats", "verify", "report"):
        assert main(["audit", subcommand, str(tmp_path / "none.jsonl")]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_a_private_key_is_not_taken_for_the_public_one_which_can_be_shown_again(
    capsys: pytest.CaptureFixture[str], trail: Path, tmp_path: Path
) -> None:
    """The file that is at hand is the private one."""
    pytest.importorskip("cryptography")
    file = tmp_path / "audit.key"
    assert main(["audit", "keygen", "host", "--out", str(file)]) == 0
    public = capsys.readouterr().out
    assert main(["audit", "verify", str(trail), "--key", str(file)]) == 2
    said = capsys.readouterr().err
    assert "this is the private key, and the public one is wanted" in said
    assert file.read_text().strip() not in said
    assert main(["audit", "keygen", "--public", str(file)]) == 0
    assert capsys.readouterr().out == public
    for wrong in (["--out", str(tmp_path / "x")], ["host", "--public", str(file)], ["--public", "none"]):
        assert main(["audit", "keygen", *wrong]) == 2
    assert not (tmp_path / "x").exists()


class Seen(HTMLParser):
    """What a browser would make of a page, as far as loading and running goes."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.data = ""
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "action")]
        self._inside = dict(attrs).get("id") or ""

    def handle_data(self, data: str) -> None:
        if self._inside == "calls":
            self.data += data


def test_the_report_is_one_page_that_loads_nothing_and_runs_only_its_own(
    audit: Command, tmp_path: Path
) -> None:
    """A tool named after a script element is a name."""
    out = tmp_path / "report.html"
    audit("report", "--out", str(out), "--title", HOSTILE)
    seen = Seen()
    seen.feed(out.read_text("utf-8"))
    assert seen.links == []
    assert seen.tags.count("script") == 2
    assert "script-src 'sha256-" in out.read_text("utf-8")
    data = json.loads(seen.data)
    assert any("document.title" in word for word in data["words"])
    assert len(data["rows"]) == audit("show", "--json").count("\n")
    assert "intact" in out.read_text("utf-8")
    assert "canary" not in out.read_text("utf-8")


def many(calls: int) -> Report:
    """A report of that many calls."""
    report = Report()
    for number in range(calls):
        report.add(
            CallView(seq=number, call_id=str(number), time_us=number, outcome="ok", server="s", target="t")
        )
    return report


def test_a_report_of_very_many_calls_lists_the_newest() -> None:
    """Figures are of all."""
    report = many(250_000)
    rows = json.loads(re.search(r'id="calls">(.*?)</script>', page(report, title="x"))[1])["rows"]  # type: ignore[index]
    assert (report.stats.calls, len(rows)) == (250_000, 100_000)


@pytest.mark.parametrize(
    ("cost", "shown"), [(0, "0"), (1_500_000, "1.5"), (1_234_567, "1.2346"), (10_000_000, "10")]
)
def test_a_report_shows_money_as_a_number(cost: int, shown: str) -> None:
    """To the right, with four digits after the point at most."""
    report = Report()
    report.add(CallView(seq=1, call_id="a", outcome="ok", server="s", target="t", cost=cost, currency="USD"))
    made = page(report, title="t")
    assert f'<td class="n">{shown}</td></tr>' in made
    assert (f"<b>{shown}</b>USD" in made) is (cost > 0)


def test_a_report_draws_each_server_and_the_states_of_each_breaker() -> None:
    """Whatever they are called."""
    report = Report()
    about: dict[str, Any] = {"server": HOSTILE, "target": "t", "kind": "state_changed"}
    states = [(2_000, "open"), (4_000, "half_open"), (5_000, "closed"), (6_000, "tool_changed")]
    report.states = [{**about, "state": state, "time_us": time} for time, state in states]
    for time, outcome in ((1_000, "ok"), (7_000, "denied")):
        report.add(CallView(seq=1, call_id="a", time_us=time, outcome=outcome, server=HOSTILE, target="t"))
    drawn = page(report, title="x")
    seen = Seen()
    seen.feed(drawn)
    assert seen.tags.count("script") == 2
    _, breakers = drawn.split("<h2>Breakers</h2>")
    pieces = re.findall(r'<rect class="(\w+)" x="([\d.]+)".*?<title>(.*?)</title>', breakers)
    assert pieces == [
        ("ok", "0.00", "closed"),
        ("denied", "10.00", "open"),
        ("error", "30.00", "half_open"),
        ("ok", "40.00", "closed"),
    ]
    lane = re.findall(r"(\d answered, \d failed, \d denied)", drawn)
    assert lane == ["1 answered, 0 failed, 0 denied", "0 answered, 0 failed, 1 denied"] * 2


BROWSER = shutil.which("chromium") or shutil.which("chromium-headless-shell") or shutil.which("google-chrome")


NEEDS_BROWSER = pytest.mark.skipif(
    BROWSER is None and os.environ.get("MCPGUARD_REQUIRE_BROWSER") != "1", reason="needs chromium"
)


@NEEDS_BROWSER
def test_the_report_opens_in_a_real_browser(audit: Command, tmp_path: Path) -> None:
    """The list is drawn, and the hostile name is text in it."""
    out = tmp_path / "report.html"
    audit("report", "--out", str(out))
    shown = drawn_by_browser(out, tmp_path)
    drawn = shown.partition('<tbody id="rows">')[2]
    number = audit("show", "--json").count("\n")
    assert drawn.count("<tr>") == number
    assert f"{number} calls, page 1 of 1" in shown
    assert "<title>Audit report</title>" in shown
    assert "&lt;/script&gt;&lt;script&gt;" in drawn


@NEEDS_BROWSER
def test_a_report_of_very_many_calls_is_drawn_a_page_at_a_time(tmp_path: Path) -> None:
    """So that a browser does not freeze over it."""
    report = many(100_000)
    out = tmp_path / "report.html"
    out.write_text(page(report, title="x"), "utf-8")
    shown = drawn_by_browser(out, tmp_path)
    assert re.search(r"100000 calls, page 1 of \d{3}", shown)
    assert 50 <= shown.partition('<tbody id="rows">')[2].count("<tr>") <= 1000


def drawn_by_browser(out: Path, folder: Path) -> str:
    """The document as it is once its script has run."""
    done = subprocess.run(
        [
            str(BROWSER),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            f"--user-data-dir={folder / 'profile'}",
            "--virtual-time-budget=5000",
            "--dump-dom",
            out.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert '<tbody id="rows">' in done.stdout, done.stderr
    return done.stdout


def test_an_intent_without_outcome_is_shown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What a crash leaves."""
    events = [
        event(
            1,
            kind="received",
            call_id="c",
            target="pay",
            method="tools/call",
            server="bank",
            arguments_digest="d",
        ),
        event(2, kind="dispatched", call_id="c", target="pay", method="tools/call", server="bank"),
        event(3, kind="received", call_id="d", target="ok", server="bank"),
        event(
            4,
            kind="completed",
            call_id="d",
            target="ok",
            server="bank",
            outcome=Outcome.OK,
            fate=Fate.ANSWERED,
        ),
    ]
    anyio.run(lambda: write(tmp_path / "events.jsonl", events))
    assert main(["audit", "show", str(tmp_path), "--outcome", "unanswered", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["target"], shown["attempts"]) == ("pay", 1)
    assert Selection(outcome="ok").takes(CallView(seq=1, call_id="x", outcome="ok"))
