"""Show a server as it should be seen: what is there, under which names, with which arguments.

The virtual server's curation. What is hidden leaves the lists and cannot be used under any name; what is
renamed is used by its new name and reaches the server by its own. Who may use what is shown is `Access`'s
business. Rules, stores and records know the server's own names: only a view knows the others.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Final, Unpack

from mcpguard.core.call import Call
from mcpguard.core.interceptor import CallNext, Common, Interceptor, Place
from mcpguard.core.result import Result
from mcpguard.core.scope import Match, Scope
from mcpguard.core.verdict import ALLOW, NOT_AVAILABLE, Deny, Rewrite, Verdict
from mcpguard.core.wire import LISTINGS
from mcpguard.detectors.curation import PromptView, ResourceView, ToolView
from mcpguard.detectors.edit import Refused
from mcpguard.detectors.vista import Vista

__all__ = ["PromptView", "ResourceView", "ToolView", "View"]

_UPDATED: Final = "notifications/resources/updated"
_ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"


class View(Interceptor):
    """Show only some of a server, and that by other names, descriptions and arguments.

    All names in a view's options are the server's own, but those it gives. Several views may stand in a
    guard, each for other servers or callers.

    Args:
        expose_tools: Tools that are shown; names or globs. None: all.
        expose_prompts: Prompts that are shown; names or globs. None: all.
        expose_resources: URIs or globs of resources, and templates as they are written. None: all.
        hide_tools: Tools that are not shown, even if they are exposed; names or globs.
        hide_prompts: Prompts that are not shown; names or globs.
        hide_resources: Resources and templates that are not shown; URIs or globs.
        tools: How tools are shown that are shown differently.
        prompts: The same for prompts.
        resources: The same for resources.
        servers: View only these servers; names or globs. Empty: all.
        roles: The view of principals with one of these roles. Empty: everybody's.
        tenants: The view of these tenants; names or globs. Empty: all.
        agents: The view of these agents; names or globs. Empty: all.

    Raises:
        TypeError: If a name is no text, or a single text stands for a list.
        ValueError: If two things are shown under one name, or a rule is said twice.
    """

    place = Place.VIEW
    check_place = Place.BYTE_CAP
    translates = True

    def __init__(
        self,
        *,
        expose_tools: Collection[str] | None = None,
        expose_prompts: Collection[str] | None = None,
        expose_resources: Collection[str] | None = None,
        hide_tools: Collection[str] = (),
        hide_prompts: Collection[str] = (),
        hide_resources: Collection[str] = (),
        tools: Sequence[ToolView] = (),
        prompts: Sequence[PromptView] = (),
        resources: Sequence[ResourceView] = (),
        servers: Collection[str] = (),
        roles: Collection[str] = (),
        tenants: Collection[str] = (),
        agents: Collection[str] = (),
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        self._vista = vista = Vista(
            expose=(expose_tools, expose_prompts, expose_resources),
            hide=(hide_tools, hide_prompts, hide_resources),
            tools=tools,
            prompts=prompts,
            resources=resources,
        )
        self._scope = Scope(servers=servers, roles=roles, tenants=tenants, agents=agents)
        self._is_everybodys = not (servers or self._scope.needs_principal)
        self.layers = frozenset((method, "outbound") for method in vista.methods)
        self.filters = frozenset((method, "outbound") for method in vista.answers)
        told = {_UPDATED, _ACKNOWLEDGED} if "resources/read" in vista.methods else ()
        self.checks = frozenset((method, "inbound") for method in told)

    def aim(self, call: Call) -> str | None:
        """The server's own name for what is called; the name as it is where that is nothing."""
        target = call.target
        if target is None or self._match(call) is not Match.YES:
            return target
        own = self._vista.own(call.method, target)
        return target if own is None else own

    async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
        """Say the call in the server's own names, with the arguments that are not shown."""
        match = self._match(call)
        if match is Match.NO:
            return await call_next(call)
        if match is Match.NO_PRINCIPAL:
            return call.denied(code="no_principal", reason="what is shown depends on who calls")
        params = self._vista.inward(call.method, call.params)
        if isinstance(params, Refused):
            return call.denied(
                code=params.code, reason=params.reason, message=params.message or NOT_AVAILABLE
            )
        return await call_next(call if params is call.params else call.replace(params=params))

    def filter(self, call: Call, result: Result) -> Result:
        """Show lists as they should be seen, and resources that an answer mentions by their shown URIs."""
        if result.value is None:
            return result
        match = self._match(call)
        if match is Match.NO:
            return result
        listing = LISTINGS.get(call.method)
        if match is Match.NO_PRINCIPAL:
            return result if listing is None else result.replace(value={**result.value, listing.items: []})
        value = self._vista.outward(call.method, result.value)
        return result if value is result.value else result.replace(value=value)

    def check(self, call: Call) -> Verdict:
        """Say what a server tells of a resource by its shown URI, or nothing of a hidden one."""
        match = self._match(call)
        if match is Match.NO:
            return ALLOW
        if match is Match.NO_PRINCIPAL:
            return Deny("no_principal", reason="what is shown depends on who listens")
        if call.method == _ACKNOWLEDGED:
            params = self._vista.acknowledged(call.params)
            return ALLOW if params is call.params else Rewrite(params, reason="translated")
        uri = call.params.get("uri")
        shown = self._vista.shown("resources/read", uri) if isinstance(uri, str) else None
        if shown is None:
            return Deny("not_available", reason="it is about a resource that is not shown")
        return ALLOW if shown == uri else Rewrite({**call.params, "uri": shown}, reason="translated")

    def warnings(self, servers: Collection[str]) -> Iterable[str]:
        """Rules about what is never shown, and servers that are not declared."""
        for own in self._vista.pointless:
            yield f"{self.label}: {own!r} has a rule and is not shown"
        for name in self._scope.servers:
            if servers and not any(map(Scope(servers=[name]).has_server, servers)):
                yield f"{self.label}: no declared server is called {name!r}"

    def _match(self, call: Call) -> Match:
        return Match.YES if self._is_everybodys else self._scope.match(call)
