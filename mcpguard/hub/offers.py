"""What the servers of a hub offer together, and whose a name or a URI is.

Lists are fetched from all servers at once where they are not known, each as whoever asks may see it. Above:
`hub`. Below: `lists`, one server's; `merge`, names and routes.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import anyio

from mcpguard.core.causes import cause
from mcpguard.core.errors import HubError
from mcpguard.core.principal import Principal
from mcpguard.core.run import current_run
from mcpguard.core.wire import JSONObject
from mcpguard.hub.lists import Lists, has
from mcpguard.hub.member import Member
from mcpguard.hub.merge import PREFIXED, Merged, Naming, merged, owners, split
from mcpguard.seams.serving import LISTING, Unshown

__all__ = ["UNUSED", "Offers"]

_log = logging.getLogger("mcpguard")

UNUSED: Final = "a hub is used inside its `async with`"

AGAIN_SECONDS: Final = 1.0
"""How long others wait for the list of a server that failed to start, or to give it, last time."""

MAX_MERGED: Final = 1024
"""Merged lists that are kept: four for each of 256 principals."""

_Asked: TypeAlias = tuple[str, str, Principal | None]
"""A server, a method that lists, and who asks."""


class Offers:
    """The lists of some servers as one.

    Args:
        members: The servers, by name.
        lists: What each was seen to offer.
        naming: What is done with names.
        is_open: Whether the hub is in use.
        list_timeout: Seconds that one list of one server may take, once it has started.
        start: Does something in a task, in the context of whoever is calling.
        late: Told the server and the method of a list that comes when nobody waits for it any more.
        enforced: What decides at the moment.
    """

    def __init__(
        self,
        members: Mapping[str, Member],
        lists: Mapping[str, Lists],
        naming: Naming,
        is_open: Callable[[], bool],
        list_timeout: float,
        *,
        start: Callable[[Callable[[], Awaitable[None]]], None],
        late: Callable[[str, str], None],
        enforced: Callable[[], object],
    ) -> None:
        self._members = members
        self._lists = lists
        self._naming: Naming = naming
        self._is_open = is_open
        self._list_timeout = list_timeout
        self._start = start
        self._late = late
        self._failed: set[_Asked] = set()
        """What a server failed to list last time."""
        self._again: dict[_Asked, tuple[anyio.Event, float]] = {}
        """What it is asked for again at the moment: when it is known, and until when that is waited for."""
        self._enforced = enforced
        self._shown_under = enforced()
        self._merged: dict[
            tuple[str, Principal | None], tuple[Mapping[str, Sequence[JSONObject]], Merged]
        ] = {}

    def prefixed(self, shown: str) -> tuple[Member, str] | None:
        """The server and its own name of a tool or prompt, where names are prefixed."""
        route = split(shown) if self._naming == "prefix" else None
        member = None if route is None else self._members.get(route[0])
        return None if route is None or member is None else (member, route[1])

    async def find(self, method: str, shown: str) -> tuple[Member, str]:
        """The server that something is shown of, and its own name for it; URIs stay as they are.

        Args:
            method: The list it is in.
            shown: The shown name or the URI.

        Raises:
            Unshown: If no server has it, or it is not clear which.
            HubError: If it may be of a server that is down.
        """
        if self._naming == "prefix" and method in PREFIXED:
            route = split(shown)
        else:
            route = (await self.listed(method)).routes.get(shown)
            if route is None and method == "resources/list":
                route = await self._owner(shown)
            down = [name for name, one in self._members.items() if one.session is None]
            if route is None and down:
                raise HubError(f"the server {' and the server '.join(down)} is down")
            if route is None and any(asked[1] == method and asked[2] == _caller() for asked in self._failed):
                raise HubError("a server that may have it does not list what it has")
        member = None if route is None else self._members.get(route[0])
        if route is None or member is None:
            raise Unshown(f"there is no {_NOUNS[method]} of this name")
        return member, route[1]

    async def listed(self, method: str) -> Merged:
        """One merged list, as whoever asks may see it, and the ways to the servers.

        Raises:
            HubError: If the hub is not in use, or is left meanwhile.
        """
        if not self._is_open():
            raise HubError(UNUSED)
        self.renew()
        principal = _caller()
        lists = {
            name: None if member.session is None else self._lists[name].known(method, principal)
            for name, member in self._members.items()
        }
        missing = [name for name, known in lists.items() if known is None]
        if missing:
            async with anyio.create_task_group() as tasks:
                for name in missing:
                    tasks.start_soon(self._fetch, name, method, principal, lists)
            if not self._is_open():
                raise HubError("the hub was left")
        there = {name: known for name, known in lists.items() if known is not None}
        cached = self._merged.get((method, principal))
        if cached is not None and _are_same(cached[0], there):
            return cached[1]
        made = merged(method, there, self._naming)
        for name in made.clashes:
            _log.warning("several servers have a %s named %r; none is shown", _NOUNS[method], name[:256])
        if len(self._merged) >= MAX_MERGED:
            self._merged.clear()
        self._merged[method, principal] = there, made
        return made

    def renew(self) -> None:
        """Forget everything if other rules are enforced than before."""
        enforced = self._enforced()
        if enforced is not self._shown_under:
            self._shown_under = enforced
            self.forget(None, None)

    def forget(self, server: str | None, notification: str | None) -> None:
        """Forget what a server offers, of the lists that a notification is about; None: all."""
        for name, lists in self._lists.items():
            if server is None or name == server:
                lists.forget(notification)
        if server is None:
            self._failed.clear()
            self._again.clear()
        self._merged.clear()

    async def _owner(self, uri: str) -> tuple[str, str] | None:
        """The server of a resource that none lists: the one whose template it is of, or the only one."""
        if uri in (await self.listed("resources/list")).clashes:
            return None
        templates = await self.listed("resources/templates/list")
        found = owners(templates.routes.items(), uri)
        if not found:
            there = {name: one.session for name, one in self._members.items() if one.session is not None}
            found = {name for name, session in there.items() if has(session, "resources")}
        return (found.pop(), uri) if len(found) == 1 else None

    async def _fetch(
        self,
        name: str,
        method: str,
        principal: Principal | None,
        lists: dict[str, Sequence[JSONObject] | None],
    ) -> None:
        """Add a server's list. One that failed to start, or to give it, last time is hardly waited for."""
        if not self._is_open():
            return
        key = name, method, principal
        if key not in self._failed and not self._members[name].has_failed_to_start:
            lists[name] = await self._ask(*key)
            return
        if key not in self._again:
            self._ask_again(key)
        answered, until = self._again[key]
        with anyio.move_on_after(max(0, until - anyio.current_time())):
            await answered.wait()
        lists[name] = self._lists[name].known(method, principal)

    def _ask_again(self, key: _Asked) -> None:
        """Ask beside whoever waits, who does so for a moment."""
        answered, until = anyio.Event(), anyio.current_time() + AGAIN_SECONDS

        async def ask() -> None:
            try:
                found = await self._ask(*key)
                if found is not None and anyio.current_time() > until:
                    self._late(key[0], key[1])
            finally:
                self._again.pop(key, None)
                answered.set()

        self._start(ask)
        self._again[key] = answered, until

    async def _ask(self, name: str, method: str, principal: Principal | None) -> Sequence[JSONObject] | None:
        """Let a server list something."""

        async def fetch(session: Any) -> Sequence[JSONObject]:
            with anyio.move_on_after(self._list_timeout):
                return await self._lists[name].fetch(session, method=method, principal=principal)
            raise HubError(f"the server {name} did not list what it has in time")

        try:
            found = await self._members[name].use(fetch, LISTING)
            self._failed.discard((name, method, principal))
        except Exception as error:  # noqa: BLE001 - a server that cannot be listed loses what it offers
            if len(self._failed) >= MAX_MERGED:
                self._failed.clear()
            self._failed.add((name, method, principal))
            _log.warning("%s of %s failed: %s", method, name, cause(error))
            return None
        return found


_NOUNS: Final = {
    "tools/list": "tool",
    "prompts/list": "prompt",
    "resources/list": "resource",
    "resources/templates/list": "resource template",
}


def _are_same(one: Mapping[str, object], other: Mapping[str, object]) -> bool:
    return len(one) == len(other) and all(other.get(name) is known for name, known in one.items())


def _caller() -> Principal | None:
    """Who is asking."""
    run = current_run()
    return None if run is None else run.principal
