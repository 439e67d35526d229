"""`mcpguard check POLICY`: is it valid, what runs where, and which rules can never match.

Nothing is opened or connected: the audit file is not created, no server is asked.
"""

import argparse
from typing import TYPE_CHECKING

from mcpguard.cli.output import fail, write, write_json, write_table
from mcpguard.cli.unopened import unopened
from mcpguard.core.errors import GuardBuildError, PolicyError, Problem
from mcpguard.core.views import Coverage, HookView
from mcpguard.core.wire import JSON, Direction

if TYPE_CHECKING:
    from mcpguard.cli import Commands
    from mcpguard.config import Policy

__all__ = ["add_parser", "run"]


def add_parser(commands: "Commands") -> argparse.ArgumentParser:
    """Add the `check` command to the program's commands."""
    parser = commands.add_parser(
        "check",
        help="check a policy file and show what runs where",
        description="Check a policy file; show every hook in the order in which it runs, and rules that can"
        " never match. Exit code 0 if the policy is valid, 2 if it is not.",
    )
    parser.add_argument("policy", metavar="POLICY", help="the policy file: .yaml, .yml, .json or .toml")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if there are warnings")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Check the file; 0 if it is valid, 1 for warnings under `--strict`, 2 if it is invalid."""
    from mcpguard.config import load_policy

    source: str = arguments.policy
    try:
        policy = load_policy(source)
        coverage = unopened(policy).coverage()
        warnings = policy.warnings()
        _require_extras(policy)
    except GuardBuildError as error:
        problems = error.problems if isinstance(error, PolicyError) else (Problem(str(error)),)
        if arguments.json:
            write_json({"valid": False, "source": source, "problems": _listed(problems)})
        return fail(problem.located(source) for problem in problems)
    if arguments.json:
        write_json(_document(policy, coverage, warnings))
    else:
        _print(policy, coverage, warnings)
    return 1 if warnings and arguments.strict else 0


def _require_extras(policy: "Policy") -> None:
    """See that the sinks and the store, which are not made here, could be.

    Raises:
        PolicyError: If the extra of one is missing.
    """
    missing = policy.missing
    if missing:
        raise PolicyError(missing[0].message, source=policy.source, line=missing[0].line, more=missing[1:])


def _document(policy: "Policy", coverage: Coverage, warnings: list[Problem]) -> JSON:
    return {
        "valid": True,
        "source": policy.source,
        "digest": policy.digest,
        "on_deny": policy.on_deny,
        "anonymous": policy.anonymous,
        "servers": {name: {"shared": options.shared} for name, options in policy.servers.items()},
        "hooks": [
            {
                "position": hook.position,
                "interceptor": hook.interceptor,
                "name": hook.name,
                "hook": hook.hook,
                "handles": [{"method": method, "direction": direction} for method, direction in hook.handles],
                "mode": hook.mode,
                "fail_open": hook.fail_open,
            }
            for hook in coverage.hooks
        ],
        "sinks": list(policy.sinks),
        "warnings": _listed(warnings),
    }


def _print(policy: "Policy", coverage: Coverage, warnings: list[Problem]) -> None:
    write(f"{policy.source}: valid", style="bold green")
    if coverage.hooks:
        write_table(
            ("#", "interceptor", "hook", "outbound", "inbound", "mode", "fails"),
            [_row(hook) for hook in coverage.hooks],
            styles={"audit": "yellow", "open": "bold red"},
        )
    servers = [f"{name} (shared)" if one.shared else name for name, one in policy.servers.items()]
    write(f"servers: {', '.join(servers) or 'none declared'}")
    write(f"audit: {', '.join(policy.sinks) or 'none'}")
    write(f"on_deny: {policy.on_deny}; anonymous: {policy.anonymous}")
    for warning in warnings:
        place = "" if warning.line is None else f":{warning.line}"
        write(f"{policy.source}{place}: warning: {warning.message}", style="yellow")


def _row(hook: HookView) -> tuple[str, ...]:
    named = hook.interceptor if hook.interceptor == hook.name else f"{hook.interceptor} ({hook.name})"
    return (
        str(hook.position),
        named,
        hook.hook,
        _methods(hook, "outbound"),
        _methods(hook, "inbound"),
        hook.mode,
        "open" if hook.fail_open else "closed",
    )


def _methods(hook: HookView, direction: Direction) -> str:
    return ", ".join(method for method, its in hook.handles if its == direction) or "-"


def _listed(problems: "tuple[Problem, ...] | list[Problem]") -> list[JSON]:
    return [{"line": problem.line, "message": problem.message} for problem in problems]
