"""`mcpguard pin LOCK`: approve tools' definitions one by one; with `--check`, see that they still are.

What differs from the lock is shown line by line. Nothing is approved that nobody named: on a terminal each
is asked about, elsewhere `--approve` and `--all` name them.
"""

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from mcpguard.cli.output import write, write_json
from mcpguard.core.wire import JSON, JSONObject
from mcpguard.detectors.definitions import changes, definition_digest
from mcpguard.detectors.namespace import Namespace
from mcpguard.detectors.pins import Pins, pinned
from mcpguard.detectors.review import reviewed
from mcpguard.stores.lock_file import read_lock, write_lock

if TYPE_CHECKING:
    from mcpguard.cli import Commands

__all__ = ["add_parser", "run"]

MAX_SHOWN: Final = 2000
"""Characters of one value that are shown; the lock holds all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One tool that is not as the lock has it.

    Args:
        server: The server's name.
        tool: The tool's name.
        state: `new`, `changed`, or `gone`: in the lock, and no longer listed.
        definition: What the server lists now; None for one that is gone.
        was: The name under which the same definition was approved, if it is gone now.
        findings: What speaks against it, as codes.
    """

    server: str
    tool: str
    state: Literal["new", "changed", "gone"]
    definition: JSONObject | None = None
    was: str | None = None
    findings: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What it is called in arguments and in what is printed."""
        return f"{self.server}/{self.tool}"


def add_parser(commands: "Commands") -> argparse.ArgumentParser:
    """Add the `pin` command to the program's commands."""
    parser = commands.add_parser(
        "pin",
        help="approve tools' definitions, or check that they are approved",
        description="Compare what servers list with a lock file, show every difference, and approve what is"
        " named. Exit code: 0 if all that is listed is approved, 1 if something is not, 2 on errors.",
    )
    parser.add_argument("lock", metavar="LOCK", type=Path, help="the lock file that ToolPinning reads")
    parser.add_argument("--servers", metavar="FILE", type=Path, help="servers, in the file that hosts read")
    parser.add_argument(
        "--listing",
        metavar="NAME=FILE",
        action="append",
        default=[],
        help="a server's tools/list result, as JSON",
    )
    parser.add_argument("--check", action="store_true", help="approve nothing, ask nothing")
    parser.add_argument(
        "--approve",
        metavar="SERVER/TOOL",
        action="append",
        default=[],
        help="approve this definition as it is now",
    )
    parser.add_argument("--all", action="store_true", help="approve everything that nothing speaks against")
    parser.add_argument("--prune", action="store_true", help="drop what is no longer listed")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Compare, show, approve; 0 if all that is listed is approved now, 1 if not."""
    from mcpguard.cli.pin_listing import PinError

    path: Path = arguments.lock
    try:
        text = read_lock(path)
        pins = Pins() if text is None else Pins.parse(text)
    except (OSError, ValueError) as error:
        raise PinError(f"{path}: {error.strerror if isinstance(error, OSError) else error}") from None
    found = _gathered(arguments)
    differences = list(_compared(pins, found))
    if not arguments.check:
        _refuse_unknown(arguments.approve, differences)
    open_ones = [one for one in differences if one.state != "gone"]
    left: list[Difference] = []
    for one in differences:
        if not arguments.json:
            _show(pins, one)
        if one.state == "gone":
            continue
        if arguments.check or not _is_approved(one, arguments):
            left.append(one)
            continue
        try:
            pins.add(one.server, one.tool, pinned(one.definition or {}))
        except ValueError as error:
            raise PinError(f"{one.label}: {error}") from None
    if not arguments.check:
        _finish(path, pins, found, differences if arguments.prune else ())
    if arguments.json:
        write_json(_document(differences, left))
    else:
        _sum_up(open_ones, left, arguments)
    return 1 if left else 0


def _gathered(arguments: argparse.Namespace) -> dict[str, list[JSONObject]]:
    import anyio

    from mcpguard.cli.pin_listing import PinError, listed_by, read_listing, read_servers

    found: dict[str, list[JSONObject]] = {}
    for given in arguments.listing:
        name, is_pair, file = given.partition("=")
        if not is_pair or not name:
            raise PinError(f"--listing takes NAME=FILE, not {given!r}")
        found[name] = read_listing(Path(file))
    if arguments.servers is not None:
        with Path(os.devnull).open("w") as nowhere:
            for name, options in read_servers(arguments.servers).items():
                if name not in found:
                    found[name] = anyio.run(listed_by, name, options, nowhere)
    if not found:
        raise PinError("nothing to compare with: give --servers or --listing")
    for name, tools in found.items():
        names = [tool["name"] for tool in tools]
        if len(set(names)) != len(names):
            raise PinError(f"{name}: it lists two tools of one name")
    return found


def _compared(pins: Pins, found: dict[str, list[JSONObject]]) -> Iterator[Difference]:
    names = Namespace()
    for server, tool in pins.names():
        names.add(server, tool)
    for server, tools in found.items():
        for definition in tools:
            names.add(server, str(definition["name"]))
    for server, tools in found.items():
        listed = {str(tool["name"]): tool for tool in tools}
        approved = pins.servers.get(server, {})
        gone = {name: pin for name, pin in approved.items() if name not in listed}
        former = {definition_digest({**pin.definition, "name": ""}): name for name, pin in gone.items()}
        for name, definition in listed.items():
            pin = approved.get(name)
            if pin is not None and pin.digest == definition_digest(definition):
                continue
            yield Difference(
                server=server,
                tool=name,
                state="new" if pin is None else "changed",
                definition=definition,
                was=former.get(definition_digest({**definition, "name": ""})) if pin is None else None,
                findings=reviewed(names, server, definition),
            )
        for name in gone:
            yield Difference(server=server, tool=name, state="gone")


def _refuse_unknown(approve: Sequence[str], differences: list[Difference]) -> None:
    from mcpguard.cli.pin_listing import PinError

    known = {one.label for one in differences if one.state != "gone"}
    for label in approve:
        if label not in known:
            raise PinError(
                f"--approve {label}: there is nothing to approve by that name; there is: "
                f"{', '.join(sorted(known)) or 'nothing'}"
            )


def _is_approved(one: Difference, arguments: argparse.Namespace) -> bool:
    if one.label in arguments.approve:
        return True
    if arguments.all:
        return not one.findings
    if arguments.approve or arguments.json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    write(f"approve {one.label}? [y/N] ")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _finish(path: Path, pins: Pins, servers: Iterable[str], gone: Sequence[Difference]) -> None:
    from mcpguard.cli.pin_listing import PinError

    for server in servers:
        pins.servers.setdefault(server, {})
        pins.sealed.add(server)
    for one in gone:
        if one.state == "gone":
            del pins.servers[one.server][one.tool]
    try:
        text = pins.dump()
        if text != read_lock(path):
            write_lock(path, text)
    except OSError as error:
        raise PinError(f"{path}: cannot be written: {error.strerror}") from None


def _show(pins: Pins, one: Difference) -> None:
    note = f", was {one.was}" if one.was else ""
    write(f"{one.label}: {one.state}{note}", style="bold")
    for code in one.findings:
        write(f"  ! {code}", style="bold red")
    if one.definition is None:
        return
    pin = pins.get(one.server, one.tool)
    for change in changes({} if pin is None else pin.definition, one.definition):
        if change.before is not None:
            write(f"  - {change.path}: {_cut(change.before)}", style="red")
        if change.after is not None:
            write(f"  + {change.path}: {_cut(change.after)}", style="green")


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}... ({len(text)} characters)"


def _sum_up(open_ones: list[Difference], left: list[Difference], arguments: argparse.Namespace) -> None:
    if not open_ones:
        write("all that is listed is approved")
    elif left:
        write(f"not approved: {', '.join(one.label for one in left)}")
        if not arguments.check:
            write("approve with --approve SERVER/TOOL, or --all for those without a !")
    else:
        write(f"approved: {', '.join(one.label for one in open_ones)}")


def _document(differences: list[Difference], left: list[Difference]) -> JSON:
    return {
        "differences": [
            {
                "server": one.server,
                "tool": one.tool,
                "state": one.state,
                "was": one.was,
                "findings": list(one.findings),
                "is_approved": one.state != "gone" and one not in left,
            }
            for one in differences
        ],
        "is_clean": not left,
    }
