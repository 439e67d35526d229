"""`mcpguard init FILE`: a first policy, from what the servers of a client's configuration offer.

The servers are started and asked for their tools, as the client would. What a server says of its tools is a
claim, so it decides nothing: every tool is in a comment, and the policy denies until a person takes the
comments away. Names and claims from outside are quoted, so that none can end a comment or match more than
itself.
"""

import argparse
import json
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mcpguard.cli.output import fail
from mcpguard.cli.servers_file import Listed, read_servers
from mcpguard.cli.wrapped import unwrapped

if TYPE_CHECKING:
    from mcpguard.cli import Commands
    from mcpguard.core.wire import JSON

__all__ = ["add_parser", "policy_text", "run"]

PATIENCE: Final = 30.0
"""Seconds for one server to start and list its tools."""

MAX_TOOLS: Final = 500
"""Tools of one server that are written down."""

MAX_TEXT: Final = 60
"""Characters of a description."""

_HINTS: Final = (
    ("readOnlyHint", True, "only reads"),
    ("destructiveHint", True, "destroys"),
    ("openWorldHint", True, "reaches outside"),
)


def add_parser(commands: "Commands") -> argparse.ArgumentParser:
    """Add the `init` command to the program's commands."""
    parser = commands.add_parser(
        "init",
        help="write a first policy from what the servers offer",
        description="Start the servers of a client's mcpServers JSON, list their tools, and write a policy"
        " that denies them all, with a line to uncomment for each.",
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="the client's configuration")
    parser.add_argument("--out", type=Path, metavar="POLICY", help="where to write; it must not be there yet")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Write the policy; 0, 1 if a server could not be asked, 2 if the input is unusable."""
    import anyio

    from mcpguard.config import parse_policy

    out: Path | None = arguments.out
    if out is not None and out.exists():
        return fail([f"{out}: is there already; it is not overwritten"])
    _, servers = read_servers(arguments.file)
    offered: dict[str, list[Mapping[str, Any]] | str] = {}
    for one in servers:
        offered[one.name] = anyio.run(_asked, one)
    text = policy_text(offered)
    parse_policy(text)
    if out is None:
        import sys

        sys.stdout.write(text)
    else:
        out.write_text(text, "utf-8")
    unasked = [f"{name}: not asked: {why}" for name, why in offered.items() if isinstance(why, str)]
    if unasked and out is not None:
        unasked.append(f"{out}: written without their tools; remove it before asking again")
    fail(unasked)
    return 1 if unasked else 0


def policy_text(offered: Mapping[str, list[Mapping[str, Any]] | str]) -> str:
    """The policy.

    Args:
        offered: For each server its tools, wire-shaped, or why they are not known.
    """
    lines = [
        "# A first policy: nothing is allowed. Take the # away before what the agent needs.",
        "# In brackets is what a server says of its tool; it may be wrong, or a lie. A client that can be",
        "# asked something (sampling, elicitation, roots) may be offered more, which is denied like these.",
        "version: 1",
        "servers:" if offered else "servers: {}",
        *(f"  {_quoted(name)}: {{}}" for name in offered),
        "interceptors:",
        "  access:",
        "    default: deny",
        "    allow:",
        '      - {methods: ["*/list"]}  # lists, with what is allowed in them',
    ]
    for name, tools in offered.items():
        lines.append(f"      # {_quoted(name)}")
        if isinstance(tools, str):
            lines.append("      # (it could not be asked)")
            continue
        for tool in tools[:MAX_TOOLS]:
            rule = f"{{servers: [{_exact(name)}], tools: [{_exact(str(tool.get('name', '')))}]}}"
            lines.append(f"      # - {rule}  # {_claimed(tool)}")
        if len(tools) > MAX_TOOLS:
            lines.append(f"      # (and {len(tools) - MAX_TOOLS} more)")
        rest = f'{{servers: [{_exact(name)}], prompts: ["*"], resources: ["*"]}}'
        lines.append(f"      # - {rest}  # what it has beside tools")
    lines += [
        "  loop_detector: {}",
        "audit:",
        "  - logging: {}",
    ]
    return "\n".join(lines) + "\n"


def _claimed(tool: Mapping[str, Any]) -> str:
    """What a server says of a tool, in one line of ASCII."""
    hints: JSON = tool.get("annotations")
    said = [word for key, value, word in _HINTS if isinstance(hints, Mapping) and hints.get(key) is value]
    described = tool.get("description")
    text = " ".join(described.split())[:MAX_TEXT] if isinstance(described, str) else ""
    return f"[{', '.join(said) or 'says nothing'}] {_quoted(text)[1:-1]}".rstrip()


def _exact(name: str) -> str:
    """A quoted glob that matches `name` and nothing else."""
    return _quoted("".join(f"[{one}]" if one in "*?[" else one for one in name))


def _quoted(text: str) -> str:
    return json.dumps(text)


async def _asked(one: Listed) -> list[Mapping[str, Any]] | str:
    import anyio

    from mcpguard.core.causes import cause
    from mcpguard.guard import Guard
    from mcpguard.integrations.opened import guarded_session, listed

    try:
        one = unwrapped(one)
        with anyio.fail_after(PATIENCE):
            async with (
                AsyncExitStack() as stack,
                guarded_session(Guard(), await _reached(one, stack), name=one.name) as session,
            ):
                tools = await listed(session)
    except TimeoutError:
        return f"no answer in {PATIENCE:g} s"
    except Exception as error:  # noqa: BLE001 - one server that fails does not stop the others
        return f"it failed with {cause(error)}"
    return [tool.model_dump(by_alias=True, mode="json", exclude_none=True) for tool in tools]


async def _reached(one: Listed, stack: AsyncExitStack) -> object:
    """What its session is opened from, with the headers that the file has for it."""
    if one.command is not None:
        stdio: Any = import_module("mcp.client.stdio")
        env = {**os.environ, **one.env}
        return stdio.StdioServerParameters(command=one.command, args=list(one.args), env=env)
    if not one.headers:
        return one.url
    http: Any = import_module("mcp.client.streamable_http")
    utils: Any = import_module("mcp.shared._httpx_utils")
    client = await stack.enter_async_context(utils.create_mcp_http_client(headers=dict(one.headers)))
    return http.streamable_http_client(one.url, http_client=client)
