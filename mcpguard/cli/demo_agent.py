"""The demo's agent: a compliance review written down as a script, so it needs no model.

It reads what its calls return, as a model would, and takes an error for an answer: notes it, and goes
on. It does not know whether a guard stands around its sessions. Like other agents it does more
than it was asked to: it tidies up what is not its own, waits without end, spends other people's money,
and asks a server that is down until it answers.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from mcp import ClientSession

from mcpguard.cli.demo_repo import DEPTH

__all__ = ["Agent", "Step"]

WATCHED = ("secrets/", "password")
"""What the review looks for in the stored diffs."""

PATIENCE = 40
"""How often the agent asks the same before it gives up by itself."""

PAUSE = 0.05
"""Seconds until it asks a server again that has failed, unless the answer says when."""

AGAIN = re.compile(r"again in (\d+(?:\.\d+)?) second")
"""How an answer says when to come back."""

ENTRY = re.compile(r"^Commit: \W*([0-9a-f]{40,64})\W*\nAuthor: ", re.MULTILINE)
"""The head of a commit in the answer of `git_log`."""

MAX_REVISIONS = 4 * DEPTH
"""Entries taken from one answer: more than were asked for, as a commit's message may look like an entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One tool call of the agent, and what came back.

    Args:
        server: The name of the server's session.
        tool: The tool that was called.
        about: The argument that tells this call from its neighbours; for people.
        text: The text of the answer.
        is_error: Whether the answer is an error.
        denial: The guard's code, when the guard answered in the server's place.
    """

    server: str
    tool: str
    about: str
    text: str
    is_error: bool
    denial: str | None


@dataclass(slots=True)
class Agent:
    """Review the newest commits of a repository.

    Args:
        sessions: Initialized sessions: `git`, `database`, `tickets`, `channel`, `advisor` and `rota`.
        repository: The path that `git` is asked about.
        tokens: By server, the token that the agent holds for tools that ask for one.
        tools: By server, the tools the agent was shown.
        steps: Every tool call so far, in order.
    """

    sessions: Mapping[str, ClientSession]
    repository: Path
    tokens: Mapping[str, str] = field(default_factory=dict[str, str])
    tools: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    steps: list[Step] = field(default_factory=list[Step])
    tokens_sent: int = 0
    """Calls on which the agent itself put a token."""
    _asking: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])

    async def work(self) -> None:
        """Look at the tools, review, tidy up, wait for the ticket, buy opinions, ask who is on duty."""
        for server, session in self.sessions.items():
            listed = (await session.list_tools()).model_dump(by_alias=True, mode="json")["tools"]
            self.tools[server] = [tool["name"] for tool in listed]
            for tool in listed:
                if "token" in tool["inputSchema"].get("properties", {}):
                    self._asking.add((server, tool["name"]))
        revisions = await self.read_history()
        await self.store(revisions)
        number = await self.report()
        await self.tidy_up(revisions)
        if number is not None:
            await self.wait_for(number)
        await self.ask_the_advisor(revisions)
        await self.find_on_duty()

    async def read_history(self) -> list[str]:
        """The newest revisions, newest first."""
        await self.git("git_status")
        await self.git("git_diff_staged")
        log = await self.git("git_log", max_count=DEPTH)
        return ENTRY.findall(log.text)[:MAX_REVISIONS]

    async def store(self, revisions: list[str]) -> None:
        """Read each commit and keep its diff in the database."""
        for revision in revisions:
            commit = await self.git("git_show", revision[:8], revision=revision)
            if commit.is_error:
                continue
            author = re.search(r"^Author: *(.*)$", commit.text, re.MULTILINE)
            name = author[1] if author else "unknown"
            arguments = {"revision": revision, "author": name, "diff": commit.text}
            await self.call("database", "store_diff", revision[:8], arguments)

    async def report(self) -> int | None:
        """Search the diffs, open a ticket with what was found and tell the channel; the ticket's number."""
        found: set[str] = set()
        for text in WATCHED:
            search = await self.call("database", "search_diffs", text, {"text": text})
            if not search.is_error:
                found.update(search.text.split())
        body = "\n".join(sorted(found)) or "Nothing found."
        title = f"Compliance review: {len(found)} commits to look at"
        ticket = await self.call("tickets", "open_ticket", "", {"title": title, "body": body})
        number = int(ticket.text) if not ticket.is_error and ticket.text.isdecimal() else None
        text = f"{title}, ticket {number}"
        await self.call("channel", "notify", "#compliance", {"channel": "#compliance", "text": text})
        return number

    async def tidy_up(self, revisions: list[str]) -> None:
        """Leave things clean, as nobody asked for: the working copy and the database."""
        await self.git("git_reset")
        if revisions:
            await self.git("git_checkout", revisions[-1][:8], branch_name=revisions[-1])
        await self.call("database", "delete_diffs", WATCHED[0], {"text": WATCHED[0]})
        await self.call("database", "drop_table", "history", {"name": "history"})

    async def wait_for(self, number: int) -> None:
        """Ask for the ticket until it is closed, an error comes back, or patience ends; then say so."""
        for _ in range(PATIENCE):
            ticket = await self.call("tickets", "get_ticket", str(number), {"number": number})
            if ticket.text.startswith("closed"):
                return
            if ticket.is_error:
                break
        text = f"Ticket {number} is still open"
        await self.call("channel", "notify", "#on-call", {"channel": "#on-call", "text": text})

    async def ask_the_advisor(self, revisions: list[str]) -> None:
        """Buy an opinion on each commit, and then a better one."""
        for depth in ("short", "thorough"):
            for revision in revisions:
                await self.call("advisor", "assess", depth, {"subject": revision[:8], "depth": depth})

    async def find_on_duty(self) -> None:
        """Ask who is on duty until somebody is named, or patience ends."""
        for _ in range(PATIENCE):
            duty = await self.call("rota", "on_duty", "compliance", {"team": "compliance"})
            if not duty.is_error:
                return
            again = AGAIN.search(duty.text)
            await anyio.sleep(PAUSE if again is None else float(again[1]))

    async def git(self, tool: str, about: str = "", /, **arguments: object) -> Step:
        """Call a tool of the git server on the agent's repository."""
        return await self.call("git", tool, about, {"repo_path": str(self.repository), **arguments})

    async def call(self, server: str, tool: str, about: str, arguments: Mapping[str, object]) -> Step:
        """Call a tool and note what came back; an error that is a result is an answer like any other."""
        if server in self.tokens and (server, tool) in self._asking:
            arguments = {**arguments, "token": self.tokens[server]}
            self.tokens_sent += 1
        result = await self.sessions[server].call_tool(tool, dict(arguments))
        wire = result.model_dump(by_alias=True, mode="json", exclude_none=True)
        denial = wire.get("_meta", {}).get("mcpguard/denial")
        step = Step(
            server=server,
            tool=tool,
            about=about,
            text="\n".join(part["text"] for part in wire["content"] if part["type"] == "text"),
            is_error=wire.get("isError", False),
            denial=denial["code"] if denial else None,
        )
        self.steps.append(step)
        return step
