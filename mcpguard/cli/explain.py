"""`mcpguard explain --policy P CALL.json`: how a policy would decide about a call, step by step.

The call is not sent and spends nothing. What a layer would do, a budget for one, depends on what went
before and is shown as undecided.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mcpguard.cli.output import fail, write, write_json, write_table
from mcpguard.cli.unopened import unopened

if TYPE_CHECKING:
    from mcpguard.cli import Commands
    from mcpguard.core.call import Call
    from mcpguard.core.views import Explanation
    from mcpguard.core.wire import JSONObject

__all__ = ["add_parser", "run"]

_MEMBERS = frozenset({"server", "tool", "arguments", "method", "params", "direction", "principal"})
_PRINCIPAL = frozenset({"tenant", "user", "agent", "roles"})


def add_parser(commands: "Commands") -> argparse.ArgumentParser:
    """Add the `explain` command to the program's commands."""
    parser = commands.add_parser(
        "explain",
        help="show how a policy decides about one call",
        description="Show what every check says of a call. Exit code 0 if it would go out, 1 if it would be"
        " denied or a person asked, 2 if policy or call are invalid.",
    )
    parser.add_argument("call", metavar="CALL", help='a JSON file, or - for stdin: {"server": "git", ...}')
    parser.add_argument("--policy", required=True, metavar="POLICY", help="the policy file")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Explain; 0 allowed, 1 denied or asked, 2 invalid."""
    from mcpguard.config import load_policy

    policy = load_policy(arguments.policy)
    try:
        call = _call(json.loads(_text(arguments.call)))
    except OSError as error:
        return fail([f"{arguments.call}: cannot be read: {error.strerror}"])
    except (TypeError, ValueError, RecursionError) as error:
        what = "not JSON" if isinstance(error, json.JSONDecodeError | RecursionError) else str(error)
        return fail([f"{arguments.call}: {what}"])
    explanation = unopened(policy).explain(call)
    undeclared = bool(policy.servers) and call.server not in policy.servers
    if arguments.json:
        write_json(_document(explanation))
    else:
        _print(explanation, call, undeclared=undeclared)
    return 0 if explanation.verdict == "allow" else 1


def _text(path: str) -> str:
    return sys.stdin.read() if path == "-" else Path(path).read_text("utf-8")


def _call(value: object) -> "Call":
    """The call that a file describes.

    Raises:
        ValueError: If it describes none.
    """
    from mcpguard.core.call import Call
    from mcpguard.core.principal import Principal
    from mcpguard.core.run import Run

    if not isinstance(value, Mapping):
        raise ValueError("expected a mapping with server and tool")
    given = cast("Mapping[str, object]", value)
    unknown = sorted(set(given) - _MEMBERS)
    if unknown:
        raise ValueError(f"unknown: {', '.join(unknown)}; accepted here: {', '.join(sorted(_MEMBERS))}")
    server, tool, method = (given.get(name, "") for name in ("server", "tool", "method"))
    who = given.get("principal", {})
    params = given.get("params", {"name": tool, "arguments": given.get("arguments", {})})
    if not isinstance(server, str) or not isinstance(params, Mapping) or not isinstance(who, Mapping):
        raise ValueError("server is text; params and principal are mappings")
    if not server or bool(tool) == bool(method) or not isinstance(tool, str) or not isinstance(method, str):
        raise ValueError("expected server, and either tool or method")
    if (
        not isinstance(given.get("arguments", {}), Mapping)
        or set(cast("Mapping[str, object]", who)) - _PRINCIPAL
    ):
        raise ValueError("arguments are a mapping; a principal has tenant, user, agent and roles")
    direction = given.get("direction", "outbound")
    if direction not in ("outbound", "inbound"):
        raise ValueError("direction is outbound or inbound")
    principal = Principal(**cast("Any", who)) if who else None
    return Call(
        id="explained",
        method=method or "tools/call",
        params=cast("JSONObject", params),
        direction="inbound" if direction == "inbound" else "outbound",
        server=server,
        principal=principal,
        run=Run(id="explained", principal=principal),
    )


def _print(explanation: "Explanation", call: "Call", *, undeclared: bool) -> None:
    if undeclared:
        write(f"the policy declares no server called {call.server}", style="yellow")
    rows = [
        (
            str(number),
            step.interceptor,
            step.hook,
            step.mode,
            step.verdict,
            step.code or "-",
            step.reason or "-",
        )
        for number, step in enumerate(explanation.steps, start=1)
    ]
    if rows:
        styles = {"deny": "bold red", "ask": "yellow", "undecided": "dim"}
        write_table(("#", "interceptor", "hook", "mode", "verdict", "code", "reason"), rows, styles=styles)
    denial = explanation.denial
    why = "" if denial is None else f": {denial.code} ({denial.source or 'guard'}: {denial.reason})"
    write(f"{explanation.verdict}{why}", style="bold")
    write("judged alone: what a run has used up, said or done before is not known here", style="dim")


def _document(explanation: "Explanation") -> "JSONObject":
    denial = explanation.denial
    return {
        "verdict": explanation.verdict,
        "code": None if denial is None else denial.code,
        "reason": None if denial is None else denial.reason,
        "steps": [
            {
                "interceptor": step.interceptor,
                "hook": step.hook,
                "mode": step.mode,
                "verdict": step.verdict,
                "code": step.code,
                "reason": step.reason,
            }
            for step in explanation.steps
        ],
    }
