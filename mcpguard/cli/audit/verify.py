"""`mcpguard audit verify`: is the trail what was written?"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mcpguard.cli.audit.source import opened
from mcpguard.cli.output import fail, write, write_json

if TYPE_CHECKING:
    from mcpguard.audit.note import Verifier
    from mcpguard.audit.verdict import Verdict

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    """Verify; 0 intact, 1 tampered, 2 incomplete or unreadable."""
    from mcpguard.audit.verdict import EXIT_CODES
    from mcpguard.audit.verify import verify

    try:
        keys = [_key(text) for text in arguments.key]
        anchors = [Path(one).read_text("utf-8", errors="replace") for one in arguments.anchor]
        verdict = verify(opened(arguments.path), keys=keys, anchors=anchors)
    except ModuleNotFoundError:
        return fail(["signatures take the extra `audit`: pip install 'mcpguard-inline[audit]'"])
    except OSError as error:
        return fail([f"{error.filename or arguments.path}: cannot be read: {error.strerror}"])
    except ValueError as error:
        return fail([str(error)])
    if arguments.json:
        _write_json(verdict)
    else:
        _print(verdict, has_keys=bool(keys))
    return EXIT_CODES[verdict.state]


def _key(text: str) -> "Verifier":
    """A public key, or one in a file."""
    from mcpguard.audit.note import Verifier

    file = Path(text)
    return Verifier(file.read_text("utf-8") if "+" not in text and file.is_file() else text)


def _print(verdict: "Verdict", *, has_keys: bool) -> None:
    style = {"intact": "bold green", "tampered": "bold red", "incomplete": "bold yellow"}[verdict.state]
    write(f"{verdict.state}: {verdict.records} records of trail {verdict.stream or '-'}", style=style)
    for finding in verdict.findings:
        at = "" if finding.seq is None else f"record {finding.seq}: "
        write(f"  {finding.state}: {finding.where}: {at}{finding.what}")
    write(f"head: record {verdict.seq}, {verdict.head.hex()}")
    if has_keys:
        behind = verdict.seq - verdict.signed_seq
        write(f"signed: up to record {verdict.signed_seq}; {behind} after it are covered by the chain alone")
    else:
        write("signed: not checked, no --key was given")
    write(
        f"crashes: {verdict.crashes}; records dropped: {verdict.dropped};"
        f" calls without outcome: {verdict.unanswered}; payloads erased: {verdict.erased};"
        f" {'closed' if verdict.is_closed else 'not closed'}"
    )


def _write_json(verdict: "Verdict") -> None:
    write_json(
        {
            "state": verdict.state,
            "findings": [
                {"state": one.state, "where": one.where, "what": one.what, "seq": one.seq}
                for one in verdict.findings
            ],
            "stream": verdict.stream,
            "records": verdict.records,
            "seq": verdict.seq,
            "head": verdict.head.hex(),
            "signed_seq": verdict.signed_seq,
            "crashes": verdict.crashes,
            "dropped": verdict.dropped,
            "unanswered": verdict.unanswered,
            "erased": verdict.erased,
            "closed": verdict.is_closed,
        }
    )
