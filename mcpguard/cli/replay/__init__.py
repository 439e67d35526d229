"""`mcpguard replay --policy NEW.yaml AUDIT`: what another policy would have done with recorded calls."""

import argparse
from collections import Counter
from typing import TYPE_CHECKING

from mcpguard.cli.output import write, write_json, write_table

if TYPE_CHECKING:
    from mcpguard.cli import Commands
    from mcpguard.cli.replay.judge import Judgement

__all__ = ["add_parser", "run"]


def add_parser(commands: "Commands") -> argparse.ArgumentParser:
    """Add the `replay` command to the program's commands."""
    from mcpguard.cli.audit import selecting

    parser = commands.add_parser(
        "replay",
        help="judge recorded calls by another policy",
        description="Show which recorded calls a policy would have denied or let through, and why. What"
        " cannot be decided from what was recorded says so. Nothing is sent, no sink is opened.",
    )
    selecting(parser)
    parser.add_argument("--policy", required=True, metavar="POLICY", help="the other policy file")
    parser.add_argument("--all", action="store_true", help="show calls for which nothing changes, too")
    parser.add_argument(
        "--strict", action="store_true", help="exit with 1 if anything changes or is undecided"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Judge; 0, or 1 for differences under `--strict`."""
    import anyio

    from mcpguard.cli.audit.source import chosen, opened
    from mcpguard.cli.replay.judge import Replay
    from mcpguard.config import load_policy

    replay = Replay(load_policy(arguments.policy))
    opened(arguments.path)
    judgements = anyio.run(replay.judge, list(chosen(arguments)))
    counts = Counter(one.change for one in judgements)
    shown = [one for one in judgements if arguments.all or one.change != "same"]
    if arguments.json:
        write_json(
            {
                "counts": {str(name): number for name, number in counts.items()},
                "calls": [_document(one) for one in shown],
            }
        )
    else:
        if shown:
            styles = {"denied": "bold red", "allowed": "green", "undecided": "yellow"}
            headings = ("time", "who", "server", "what", "was", "would be", "code", "why")
            write_table(headings, [_row(one) for one in shown], styles=styles)
        write(
            f"{len(judgements)} calls: {counts['same']} as before, {counts['denied']} would be denied,"
            f" {counts['allowed']} would be let through, {counts['undecided']} undecided"
        )
    return 1 if arguments.strict and counts.total() != counts["same"] else 0


def _row(one: "Judgement") -> tuple[str, ...]:
    from mcpguard.audit.export import timestamp

    view = one.view
    who = "/".join(filter(None, (view.tenant, view.user, view.agent))) or "-"
    return (
        timestamp(view.time_us)[:19].replace("T", " "),
        who,
        view.server,
        view.target or view.method,
        view.outcome,
        one.change,
        one.code or "-",
        one.why or "-",
    )


def _document(one: "Judgement") -> dict[str, str | int]:
    view = one.view
    return {
        "seq": view.seq,
        "call_id": view.call_id,
        "time_us": view.time_us,
        "server": view.server,
        "target": view.target or view.method,
        "was": view.outcome,
        "change": one.change,
        "code": one.code,
        "why": one.why,
    }
