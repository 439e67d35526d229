"""The demo's agent: a compliance review written down as a script, so it needs no model.

It reads what its calls return, as a model would, and takes an error for an answer: notes it, and goes
on. It does not know whether a guard stands around its tools, nor how many servers they are of. Like other
agents it does more than it was asked to: it tidies up what is not its own, waits without end, spends other
people's money, asks a server that is down until it answers, and does what the texts tell it that it reads.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from mcp import ClientSession

from mcpguard.cli.demo.repo import DEPTH

__all__ = ["IN_META", "Agent", "Step"]

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

ORDER = re.compile(r"call channel\.notify\(([^()\s]{1,200})\)")
"""An order in a text: whom to tell what is not published yet."""

MAX_REVISIONS = 4 * DEPTH
"""Entries taken from one answer: more than were asked for, as a commit's message may look like an entry."""

SEPARATOR = "__"
"""Between the name of a server and its tool's, as hosts write it that merge the tools of several servers."""

IN_META = {"channel": "example.com/token"}
"""Servers that want their token in `_meta`, and as which member."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One tool call of the agent, and what came back.

    Args:
        server: The server it had in mind.
        tool: The tool it had in mind.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool as the agent was shown it.

    Args:
        description: What it says of itself.
        arguments: The names of its arguments.
    """

    description: str
    arguments: frozenset[str]


@dataclass(slots=True)
class Agent:
    """Review the newest commits of a repository.

    Args:
        sessions: Initialized sessions, by what is put before the names of their tools.
        repository: The path that `git` is asked about.
        tokens: By server, the token that the agent holds for it.
        tools: The tools the agent was shown, by name.
        steps: Every tool call so far, in order.
        tokens_sent: Calls on which the agent itself put a token.
    """

    sessions: Mapping[str, ClientSession]
    repository: Path
    tokens: Mapping[str, str] = field(default_factory=dict[str, str])
    tools: dict[str, Tool] = field(default_factory=dict[str, Tool])
    steps: list[Step] = field(default_factory=list[Step])
    tokens_sent: int = 0
    _draft: str = ""

    async def work(self) -> None:
        """Look at the tools, review, tidy up, wait for the ticket, buy opinions, ask who is on duty."""
        await self.look()
        revisions = await self.read_history()
        await self.store(revisions)
        number = await self.report()
        await self.tidy_up(revisions)
        if number is not None:
            await self.wait_for(number)
        await self.ask_the_advisor(revisions)
        await self.find_on_duty()

    async def look(self) -> None:
        """Read which tools there are."""
        for prefix, session in self.sessions.items():
            listed = (await session.list_tools()).model_dump(by_alias=True, mode="json")["tools"]
            for tool in listed:
                self.tools[prefix + tool["name"]] = Tool(
                    description=tool["description"] or "",
                    arguments=frozenset(tool["inputSchema"].get("properties", {})),
                )

    async def read_history(self) -> list[str]:
        """The newest revisions, newest first."""
        await self.git("git_status")
        staged = await self.git("git_diff_staged")
        self._draft = staged.text
        log = await self.git("git_log", max_count=DEPTH)
        return ENTRY.findall(log.text)[:MAX_REVISIONS]

    async def store(self, revisions: list[str]) -> None:
        """Read each commit, keep its diff, do what it says, and have the style of the newest one checked."""
        for revision in revisions:
            commit = await self.git("git_show", revision[:8], revision=revision)
            if commit.is_error:
                continue
            author = re.search(r"^Author: *(.*)$", commit.text, re.MULTILINE)
            name = author[1] if author else "unknown"
            arguments = {"revision": revision, "author": name, "diff": commit.text}
            await self.call("database", "store_diff", revision[:8], arguments)
            for whom in ORDER.findall(commit.text):
                await self.call("channel", "notify", whom, {"channel": whom, "text": self._draft})
            if revision == revisions[0]:
                await self.check_style(commit.text)

    async def check_style(self, diff: str) -> None:
        """Have a diff checked, with whatever else the tool asks for."""
        shown = self.tools.get(self._name("style", "check_style"))
        arguments = {"diff": diff}
        if shown is not None and "`context`" in shown.description:
            arguments["context"] = self._draft
        await self.call("style", "check_style", "", arguments)

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
        name = self._name(server, tool)
        shown = self.tools.get(name)
        given = {key: value for key, value in arguments.items() if shown is None or key in shown.arguments}
        meta: Any = None
        token = self.tokens.get(server)
        if token is not None and server in IN_META:
            meta = {IN_META[server]: token}
        elif token is not None and shown is not None and "token" in shown.arguments:
            given["token"] = token
        self.tokens_sent += meta is not None or "token" in given
        prefix = next(prefix for prefix in self.sessions if name.startswith(prefix))
        result = await self.sessions[prefix].call_tool(name.removeprefix(prefix), given, meta=meta)
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

    def _name(self, server: str, tool: str) -> str:
        """The tool it was shown that is the one it has in mind: of that name, or one that ends like it."""
        name = f"{server}{SEPARATOR}{tool}"
        alike = (one for one in self.tools if one.startswith(server + SEPARATOR) and one.endswith(tool))
        return name if name in self.tools else next(alike, name)
