"""`mcpguard audit stats`: how many calls, of what, with which outcome."""

import argparse
from typing import TYPE_CHECKING

from mcpguard.cli.audit.source import chosen
from mcpguard.cli.output import write, write_json, write_table

if TYPE_CHECKING:
    from mcpguard.audit.stats import Stats

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    """Show the figures; 0."""
    from mcpguard.audit.stats import gather

    stats = gather(chosen(arguments))
    if arguments.json:
        _write_json(stats)
        return 0
    outcomes = ", ".join(f"{number} {name}" for name, number in stats.outcomes.most_common())
    write(f"{stats.calls} calls in {len(stats.runs)} runs: {outcomes or 'none'}")
    for currency, cost in sorted(stats.costs.items()):
        write(f"cost: {cost / 1_000_000:.6f} {currency}")
    rows = [
        (
            tool.server,
            tool.target,
            str(tool.calls),
            str(tool.outcomes["ok"]),
            str(tool.outcomes["denied"]),
            f"{tool.percentile(0.5):.1f}",
            f"{tool.percentile(0.95):.1f}",
        )
        for tool in sorted(stats.tools.values(), key=lambda one: -one.calls)
    ]
    if rows:
        write_table(("server", "what", "calls", "ok", "denied", "p50 ms", "p95 ms"), rows)
    if stats.denials:
        denials = [(*key, str(number)) for key, number in stats.denials.most_common()]
        write_table(("denied by", "code", "reason", "calls"), denials)
    return 0


def _write_json(stats: "Stats") -> None:
    write_json(
        {
            "calls": stats.calls,
            "runs": len(stats.runs),
            "outcomes": dict(stats.outcomes),
            "cost": dict(stats.costs),
            "tools": [
                {
                    "server": tool.server,
                    "target": tool.target,
                    "outcomes": dict(tool.outcomes),
                    "p50_ms": tool.percentile(0.5),
                    "p95_ms": tool.percentile(0.95),
                    "cost": tool.cost,
                }
                for tool in stats.tools.values()
            ],
            "denials": [
                {"interceptor": who, "code": code, "reason": reason, "calls": number}
                for (who, code, reason), number in stats.denials.most_common()
            ],
        }
    )
