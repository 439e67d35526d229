"""Which labels a call and its answer have, by what the user declared of servers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from mcpguard.core.scope import Matcher, matcher
from mcpguard.core.servers import Labelled, ServerOptions, ToolOptions
from mcpguard.detectors.uris import expansions, loose_spellings, spelled

__all__ = ["DESTINATION", "UNTRUSTED", "Labelling", "Labels"]

UNTRUSTED: Final = "untrusted"
"""The label of whatever comes from a server with `trust: false`."""

DESTINATION: Final = "destination"
"""The label of an argument that says where data goes."""

MAX_CASES: Final = 2048
"""Answers that are remembered; names come from the model."""

MAX_REMEMBERED: Final = 256
"""Characters of a name beyond which an answer is not remembered."""


@dataclass(frozen=True, slots=True)
class Labels:
    """What is declared of one tool, prompt or resource.

    Args:
        own: Labels of every call, and of every answer.
        arguments: Labels of a call that gives the argument.
        is_trusted: Whether its server was declared to be.
    """

    own: frozenset[str]
    arguments: Mapping[str, frozenset[str]]
    is_trusted: bool


class Labelling:
    """Looks labels up, and remembers what it found.

    Args:
        servers: What was declared, by server.
    """

    __slots__ = ("_cases", "_resources", "_servers", "_tools")

    def __init__(self, servers: Mapping[str, ServerOptions]) -> None:
        self._servers = dict(servers)
        self._tools: dict[str, list[tuple[Matcher, ToolOptions]]] = {
            name: [(matcher([glob]), options) for glob, options in server.tools.items()]
            for name, server in servers.items()
        }
        self._resources: dict[str, list[tuple[Matcher, Matcher, Labelled]]] = {
            name: [
                (matcher([*spelled([glob])]), expansions([glob]), options)
                for glob, options in server.resources.items()
            ]
            for name, server in servers.items()
        }
        self._cases: dict[tuple[str, str, str | None], Labels] = {}

    def of(self, server: str, method: str, target: str | None) -> Labels:
        """The labels of a use of `server`."""
        key = (server, method, target)
        found = self._cases.get(key)
        if found is None:
            found = self._found(server, method, target)
            if len(method) + len(target or "") <= MAX_REMEMBERED:
                if len(self._cases) >= MAX_CASES:
                    self._cases.clear()
                self._cases[key] = found
        return found

    def declared(self) -> frozenset[str]:
        """Every label that something has."""
        return frozenset(self._all())

    def _found(self, server: str, method: str, target: str | None) -> Labels:
        options = self._servers.get(server)
        if options is None:
            return _NONE
        own = set(options.labels)
        arguments: dict[str, frozenset[str]] = {}
        if method == "tools/call" and target is not None:
            for matches, tool in self._tools[server]:
                if matches(target):
                    own |= set(tool.labels)
                    for name, labels in tool.arguments.items():
                        arguments[name] = arguments.get(name, frozenset()) | set(labels)
        elif target is not None and method.startswith("resources/"):
            names = loose_spellings(target)
            for matches, expands, resource in self._resources[server]:
                if names is None or any(matches(name) or expands(name) for name in (target, *names)):
                    own |= set(resource.labels)
        if options.trust is False:
            own.add(UNTRUSTED)
        return Labels(frozenset(own), arguments, options.trust is True)

    def _all(self) -> Iterator[str]:
        for server in self._servers.values():
            yield from server.labels
            if server.trust is False:
                yield UNTRUSTED
            for tool in server.tools.values():
                yield from tool.labels
                for labels in tool.arguments.values():
                    yield from labels
            for resource in server.resources.values():
                yield from resource.labels


_NONE: Final = Labels(frozenset(), {}, is_trusted=False)
