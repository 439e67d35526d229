"""Telling the listing that an SDK makes for itself from one that its host asks for.

After a tool has answered, a session that has never seen the tool in a list fetches the list, to validate the
answer: the very next request, in the caller's own context. It is no call of the agent's; and the tool has
run, so it cannot fail the call. At a transport it looks like any other: what came before gives it away.

Above: `relay`.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Final, NamedTuple

from mcpguard.core.result import Outcome
from mcpguard.core.run import current_run
from mcpguard.core.wire import EMPTY, JSON, JSONObject
from mcpguard.seams.catalog import Catalog
from mcpguard.seams.messages import Key, id_key, result_of

__all__ = ["NO_TOOLS", "Called", "Listings"]

NO_TOOLS: Final[JSONObject] = {"tools": []}
"""A list to validate nothing against."""

MAX_NAMES: Final = 10_000
"""Names remembered per connection; a tool beyond them counts as not listed."""

MAX_PASSED: Final = 1024
"""Requests that meet no chain and whose answers are looked for."""


class Called:
    """The last tool called in some context.

    Args:
        by: Stands for the connection it was called on.
        tool: Its name, as the client knows it.
    """

    __slots__ = ("_run", "by", "is_answered", "tool")

    def __init__(self, by: object, tool: object) -> None:
        self._run = current_run()
        self.by = by
        self.tool = tool
        self.is_answered = False
        """Whether it has answered, and not with an error."""

    @property
    def is_current(self) -> bool:
        """Whether the run it was made in is bound here too; it may have ended, but the call is done."""
        return self._run is current_run()


class _Listing(NamedTuple):
    """A listing that meets no chain."""

    params: JSONObject
    is_sdks_own: bool


_last: ContextVar[Called | None] = ContextVar("mcpguard_last_called", default=None)


class Listings:
    """What one connection's client knows of the server's tools.

    Args:
        catalog: Takes the definitions from listings that meet no chain.
    """

    __slots__ = ("_catalog", "_names", "_passed", "_token")

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._token = object()
        self._passed: OrderedDict[Key | None, Called | _Listing] = OrderedDict()
        self._names: set[str] = set()

    def called(self, params: JSONObject) -> Called:
        """A tool is called in the current context, which is the caller's."""
        call = Called(self._token, params.get("name"))
        _last.set(call)
        return call

    def is_sdks_own(self, params: JSONObject) -> bool:
        """Whether a listing asked for in the current context is the SDK's; true once for each call."""
        call = _last.get()
        if call is None or call.by is not self._token or not call.is_answered or "cursor" in params:
            return False
        if not call.is_current:
            return False
        call.is_answered = False
        return call.tool not in self._names

    def passes(self, body: Any) -> None:
        """A request meets no chain; its answer tells what becomes of a call, or of the SDK's own listing."""
        params: JSONObject = EMPTY if body.params is None else body.params
        if body.method == "tools/call":
            self._passed[id_key(body.id)] = self.called(params)
        elif body.method == "tools/list":
            self._passed[id_key(body.id)] = _Listing(params, self.is_sdks_own(params))
        if len(self._passed) > MAX_PASSED:
            self._passed.popitem(last=False)

    def must_not_fail(self, body: Any) -> bool:
        """Whether an answer that meets no chain ends a listing of the SDK's own without a list."""
        passed = self._passed.pop(id_key(body.id), None)
        if passed is None:
            return False
        result = result_of(body)
        if isinstance(passed, Called):
            passed.is_answered = result.outcome is Outcome.OK
            return False
        if result.value is not None:
            self._catalog.record(result.value)
            self.delivered(passed.params, result.value)
        return passed.is_sdks_own and result.value is None

    def delivered(self, params: JSONObject, page: JSONObject) -> None:
        """The client was given a page of the list; one that is the whole list replaces what it knew."""
        tools: JSON = page.get("tools")
        if "cursor" not in params and page.get("nextCursor") is None:
            self._names.clear()
        for tool in tools if isinstance(tools, Sequence) and not isinstance(tools, str) else ():
            name = tool.get("name") if isinstance(tool, Mapping) else None
            if isinstance(name, str) and len(self._names) < MAX_NAMES:
                self._names.add(name)
