"""Let an agent use a tool only as long as its definition is the one that was approved.

What was approved stands in a lock file: written by `mcpguard pin`, or on a server's first use. A tool whose
definition has changed, that has another name, or that is new leaves the lists and is refused by name. What
a tool does when it is called is not seen here: a definition can stay the same over other code.
"""

import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Final, Literal, Unpack

import anyio.to_thread

from mcpguard.core.call import Call
from mcpguard.core.interceptor import CallNext, Common, Handles, Interceptor, Place
from mcpguard.core.result import Result
from mcpguard.core.scope import Match, Scope
from mcpguard.core.verdict import ALLOW, Allow, Deny
from mcpguard.core.wire import JSON, JSONObject, definition_digest
from mcpguard.detectors.definitions import changed_members
from mcpguard.detectors.namespace import Namespace
from mcpguard.detectors.pins import Pins, pinned
from mcpguard.detectors.review import reviewed
from mcpguard.stores.lock_file import read_lock, write_lock

__all__ = ["ToolPinning"]

MAX_TOLD: Final = 4096
"""Refused definitions that are reported once each; when there are more, some are reported again."""

_MESSAGE: Final = "This tool is not available: its definition was not approved. Go on without it."

_LISTED: Final[Handles] = frozenset({("tools/list", "outbound")})
_CALLED: Final[Handles] = frozenset({("tools/call", "outbound")})


class ToolPinning(Interceptor):
    """Refuse tools whose definition is not the one in the lock file, in lists and by name.

    All of a definition counts: name, title, description, both schemas, annotations, icons, `_meta` and
    whatever else the server puts there. With `first_use="trust"` what a server lists first is approved and
    written to the lock, up to the end of that list; what it changes or adds later is not. A definition is
    not approved unseen if it has the name of another server's tool, or one that looks like it, speaks of
    another server's tools, or holds instructions to the model: that takes `mcpguard pin`.

    Args:
        lock: The lock file. One that is damaged is an error; one that is missing approves nothing.
        first_use: `refuse` what is not in the lock, or `trust` a server's first list.
        servers: Hold only these servers to the lock; names or globs. Empty: all.
        roles: Hold servers to it only for principals with one of these roles. Empty: for all.
        tenants: Hold servers to it only for these tenants; names or globs. Empty: for all.
        agents: Hold servers to it only for these agents; names or globs. Empty: for all.

    Raises:
        ValueError: If the lock is damaged, or `first_use` is neither word.
        OSError: If the lock cannot be read.
    """

    checks = _CALLED
    filters = _LISTED
    layers = frozenset([*_CALLED, *_LISTED])
    place = Place.TOOL_PINNING
    needs_tool = True

    def __init__(
        self,
        *,
        lock: str | PathLike[str],
        first_use: Literal["refuse", "trust"] = "refuse",
        servers: Collection[str] = (),
        roles: Collection[str] = (),
        tenants: Collection[str] = (),
        agents: Collection[str] = (),
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        if first_use not in ("refuse", "trust"):
            raise ValueError(f"first_use is 'refuse' or 'trust', not {first_use!r}")
        self._path = Path(lock)
        self._trusts = first_use == "trust"
        if not self._trusts:
            self.layers = frozenset()
        self._scope = Scope(servers=servers, roles=roles, tenants=tenants, agents=agents)
        self._guard = threading.Lock()
        """Held while pins are added, and while they are written."""
        self._is_saved = True
        self._names = Namespace()
        text = read_lock(self._path)
        self._pins = Pins() if text is None else Pins.parse(text)
        for server, name in self._pins.names():
            self._names.add(server, name)
        self._awaited: dict[str, JSON] = {}
        """Server -> cursor of the next page of its first list, once that has begun; null at its end."""
        self._told: set[tuple[str, str, str]] = set()

    def check(self, call: Call) -> Allow | Deny:
        """Refuse a call of a tool whose definition is not approved, or not known."""
        if self._scope.match(call) is Match.NO:
            return ALLOW
        facts = call.tool
        if facts is None or facts.name != call.target:
            return _refusal("tool_not_listed", "the server does not list it, so nobody approved it")
        verdict = self._judge(call.server, facts.name, facts.digest, facts.definition)
        if verdict is not ALLOW:
            self._tell(call, facts.name, facts.digest, verdict)
        return verdict

    def filter(self, call: Call, result: Result) -> Result:
        """Take out of a list what is not approved; the cursor stays as it is."""
        if result.value is None or self._scope.match(call) is Match.NO:
            return result
        listed = result.value.get("tools")
        tools = list(_items(listed))
        shown: list[JSON] = [item for item in tools if self._shows(call, item)]
        if isinstance(listed, Sequence) and len(shown) == len(listed):
            return result
        return result.replace(value={**result.value, "tools": shown})

    async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
        """Approve what a server lists first, and a tool that is called before its server has listed any."""
        if not call.enforced or self._scope.match(call) is Match.NO:
            return await call_next(call)
        if call.method == "tools/call":
            if call.tool is not None:
                await self._approve(call.server, [call.tool.definition], is_whole=False)
            return await call_next(call)
        result = await call_next(call)
        if result.value is not None:
            tools = list(_items(result.value.get("tools")))
            cursor, further = call.params.get("cursor"), result.value.get("nextCursor")
            if self._turns(call.server, cursor, further):
                await self._approve(call.server, tools, is_whole=further is None)
            elif any(self._pins.get(call.server, str(tool.get("name"))) is None for tool in tools):
                await self._approve(call.server, (), is_whole=True)
        return result

    def warnings(self, servers: Collection[str]) -> Iterable[str]:
        """A lock that approves nothing, or that is about servers that are not declared."""
        if not self._pins.servers and not self._trusts:
            yield f"{self.label}: nothing is approved in {self._path}: every tool is refused"
        for name in self._pins.servers:
            if servers and name not in servers:
                yield f"{self.label}: the lock holds tools of {name!r}, which is not declared"

    def status(self) -> Mapping[str, JSON]:
        """How many tools of each server are approved."""
        return {"approved": {server: len(tools) for server, tools in self._pins.servers.items()}}

    def _judge(self, server: str, name: str, digest: str, definition: JSONObject) -> Allow | Deny:
        pin = self._pins.get(server, name)
        if pin is not None:
            if pin.digest == digest:
                return ALLOW
            what = " and ".join(changed_members(pin.definition, definition))
            return _refusal("tool_changed", f"{what} changed since the tool was approved")
        found = reviewed(self._names, server, definition) if self._trusts else ()
        if found:
            return _refusal("tool_suspicious", f"first use is not trusted: {', '.join(found)}")
        if not self._trusts or server in self._pins.sealed:
            return _refusal("tool_not_approved", "nothing was approved under this name")
        return ALLOW

    def _shows(self, call: Call, item: JSON) -> bool:
        name = item.get("name") if isinstance(item, Mapping) else None
        if not isinstance(item, Mapping) or not isinstance(name, str):
            return False
        digest = definition_digest(item)
        verdict = self._judge(call.server, name, digest, item)
        if verdict is not ALLOW:
            self._tell(call, name, digest, verdict)
        return verdict is ALLOW

    def _tell(self, call: Call, name: str, digest: str, verdict: Allow | Deny) -> None:
        """Report a refused definition, once; a list does not refuse, so the record would not show it."""
        if not isinstance(verdict, Deny) or call.explained or (call.server, name, digest) in self._told:
            return
        if len(self._told) >= MAX_TOLD:
            self._told.clear()
        self._told.add((call.server, name, digest))
        self.host.changed(self, state=verdict.code, reason=verdict.reason, server=call.server, target=name)

    def _turns(self, server: str, cursor: JSON, further: JSON) -> bool:
        """Whether a page belongs to a server's first list: each is seen once, and named by the one before."""
        with self._guard:
            if server in self._awaited and (cursor is None or cursor != self._awaited[server]):
                return False
            self._awaited[server] = further
            return True

    async def _approve(self, server: str, definitions: Iterable[JSONObject], *, is_whole: bool) -> None:
        """Approve what nobody has seen yet, and write it down before anybody uses it."""
        if server in self._pins.sealed and self._is_saved:
            return
        with self._guard:
            for definition in definitions:
                name = definition.get("name")
                if not isinstance(name, str) or self._pins.get(server, name) or server in self._pins.sealed:
                    continue
                if reviewed(self._names, server, definition):
                    continue
                self._pins.add(server, name, pinned(definition))
                self._names.add(server, name)
                self._is_saved = False
            if is_whole and server not in self._pins.sealed:
                self._pins.servers.setdefault(server, {})
                self._pins.sealed.add(server)
                self._is_saved = False
        if not self._is_saved:
            await anyio.to_thread.run_sync(self._save)

    def _save(self) -> None:
        """Write the lock. What another process has approved meanwhile stands, also against what is here."""
        with self._guard:
            text = read_lock(self._path)
            theirs = Pins() if text is None else Pins.parse(text)
            for server, name in theirs.names():
                pin = theirs.get(server, name)
                if pin is not None:
                    self._pins.add(server, name, pin)
                    self._names.add(server, name)
            self._pins.sealed |= theirs.sealed
            write_lock(self._path, self._pins.dump())
            self._is_saved = True


def _items(listed: JSON) -> Iterator[JSONObject]:
    """The definitions in a list; what is none is left out."""
    for item in listed if isinstance(listed, Sequence) and not isinstance(listed, str) else ():
        if isinstance(item, Mapping):
            yield item


def _refusal(code: str, reason: str) -> Deny:
    return Deny(code, reason=reason, message=_MESSAGE)
