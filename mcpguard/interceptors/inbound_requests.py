"""Say what servers may ask of the agent: its model (sampling), its user (elicitation), its folders (roots).

Nothing that no rule allows, and what no rule can allow a server is not advertised to it. What a text says is
for content interceptors, which meet these requests and their answers too. Nothing is opened here: a URL that
passes is the host's to show.
"""

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, TypeAlias, Unpack
from weakref import WeakKeyDictionary

from mcpguard.core.call import Call
from mcpguard.core.host import Host
from mcpguard.core.interceptor import CallNext, Common, Interceptor, Place
from mcpguard.core.result import Result
from mcpguard.core.run import Run
from mcpguard.core.scope import Match, matcher
from mcpguard.core.verdict import ALLOW, Deny, Rewrite, Verdict
from mcpguard.core.wire import INPUT_METHODS, JSON
from mcpguard.detectors.capabilities import Path, told
from mcpguard.detectors.inbound_rule import ElicitationRule, RootsRule, SamplingRule
from mcpguard.detectors.url_rule import UrlRule
from mcpguard.stores.lent import lent
from mcpguard.stores.memory import MemoryStore
from mcpguard.stores.store import Store

__all__ = ["ElicitationRule", "InboundRequests", "RootsRule", "SamplingRule", "UrlRule"]

HOUR: Final = 3600.0
"""Seconds in which `per_server` counts."""

MAX_SERVERS: Final = 1024
"""Servers for which is remembered what is not advertised to them."""

URL_ELICITATION_REQUIRED: Final = -32042
"""JSON-RPC code by which a server sends a person to a URL instead of answering (MCP 2025-11-25)."""

SAMPLING: Final = "sampling/createMessage"
ELICITATION: Final = "elicitation/create"
ROOTS: Final = "roots/list"

Rule: TypeAlias = SamplingRule | ElicitationRule | RootsRule


class InboundRequests(Interceptor):
    """Refuse what servers ask of the agent, save what rules allow.

    Of each kind the first rule that is about the server and the caller decides; without one the request is
    refused: an elicitation is declined, there are no roots, sampling is an error. The tool call that it
    interrupts goes on.

    Args:
        sampling: What servers may have the agent's model say.
        elicitation: What servers may ask a person.
        roots: Which roots servers are told.
        methods: Names or globs of other methods that servers may request.
        store: Where `per_server` is counted. None: the guard's store, or this process's memory.

    Raises:
        TypeError: If a list holds something else than its rules.
    """

    place = Place.INBOUND_REQUESTS

    def __init__(
        self,
        *,
        sampling: Sequence[SamplingRule] = (),
        elicitation: Sequence[ElicitationRule] = (),
        roots: Sequence[RootsRule] = (),
        methods: Collection[str] = (),
        store: Store | None = None,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        kinds: Sequence[tuple[str, Sequence[Rule], type[Rule]]] = (
            (SAMPLING, sampling, SamplingRule),
            (ELICITATION, elicitation, ElicitationRule),
            (ROOTS, roots, RootsRule),
        )
        for method, given, kind in kinds:
            for rule in given:
                if not isinstance(rule, kind):
                    raise TypeError(f"a rule about {method} is a {kind.__name__}, not {type(rule).__name__}")
        self._rules: Mapping[str, tuple[Rule, ...]] = {method: tuple(given) for method, given, _ in kinds}
        self._method = matcher(methods)
        self._methods = tuple(methods)
        self._refused: dict[str, tuple[Path, ...]] = {}
        self._used: WeakKeyDictionary[Run, list[int]] = WeakKeyDictionary()
        self._used_outside: dict[str, list[int]] = {}
        self._lock = threading.Lock()
        self._own = store
        self._store: Store = MemoryStore() if store is None else store
        self.checks = frozenset(
            {
                ("*", "inbound"),
                ("*", "outbound"),
                ("initialize", "outbound"),
                ("server/discover", "outbound"),
                ("notifications/roots/list_changed", "outbound"),
            }
        )
        self.filters = frozenset({(ROOTS, "inbound"), ("*", "outbound")})
        self.layers = frozenset({(SAMPLING, "inbound")}) if sampling else frozenset()

    def join(self, host: Host) -> None:
        """Take what the guard lends. An auditing one counts in memory of its own."""
        super().join(host)
        self._store = MemoryStore(clock=host.clock) if self.mode == "audit" else lent(host, self._own)

    def check(self, call: Call) -> Verdict:
        """Judge a server's request; take out of an outgoing one what is not to be advertised."""
        if call.direction == "inbound":
            return self._judged(call)
        refused = self._refused.get(call.server)
        if refused is None:
            refused = self._remember(call.server)
        if call.is_notification:
            is_told = ("roots",) not in refused
            return ALLOW if is_told else Deny("roots_denied", reason="the server is told of no roots")
        params = told(call.method, call.params, refused)
        if params is call.params:
            return ALLOW
        return Rewrite(params, reason="capabilities that are refused altogether")

    def filter(self, call: Call, result: Result) -> Result:
        """Take out roots that are not told; refuse an answer that sends a person where they may not go."""
        if call.direction == "outbound":
            error = result.error
            if error is None or error.code != URL_ELICITATION_REQUIRED or self._may_follow(call, error.data):
                return result
            return call.denied(
                code="elicitation_denied",
                reason="its answer sends the person to a URL that is not allowed",
                message="The server wants the user to visit a page, which is not allowed here.",
            )
        if result.value is None:
            return result
        rule = self._rule(call)
        roots = result.value.get("roots")
        shown = rule.told(roots) if isinstance(rule, RootsRule) else []
        return result if shown == roots else result.replace(value={**result.value, "roots": shown})

    async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
        """Count a sampling request; refuse it where its run or its server has had enough."""
        rule = self._rule(call)
        if not isinstance(rule, SamplingRule):
            return call.denied(code="sampling_denied", reason="no rule allows it")
        tokens = call.params.get("maxTokens")
        if not self._takes(call, rule, tokens if isinstance(tokens, int) else rule.max_tokens):
            return call.denied(
                code="sampling_exhausted",
                reason="the run has no sampling requests or tokens left",
                message="No more sampling is allowed in this task.",
            )
        tenant = None if call.principal is None else call.principal.tenant
        pace = await self._store.pace(
            f"{self.label}/{call.server}/{tenant or ''}",
            interval=HOUR / rule.per_server,
            burst=rule.per_server,
            max_wait=0.0,
            group=tenant or "",
        )
        if not pace.is_admitted:
            return call.denied(
                code="sampling_exhausted",
                reason=f"the server has made {rule.per_server} requests in an hour",
                message="No more sampling is allowed for this server now.",
                retry_after=pace.wait,
            )
        return await call_next(call)

    def warnings(self, servers: Collection[str]) -> Iterable[str]:
        """Rules for servers that are not declared, and rules behind a wider one."""
        for method, rules in self._rules.items():
            for position, rule in enumerate(rules):
                where = f"{self.label}: rule {position} about {method}"
                for name in rule.servers:
                    if servers and not any(map(matcher([name]), servers)):
                        yield f"{where}: no declared server is called {name!r}"
                if any(not one.servers and not one.scope.needs_principal for one in rules[:position]):
                    yield f"{where} can never match: one before it is about every server and caller"

    def _judged(self, call: Call) -> Verdict:
        if call.is_notification:
            return ALLOW
        method = call.method
        if method not in INPUT_METHODS:
            return (
                ALLOW
                if self._method(method)
                else _refused("request_denied", f"no rule of {self.label} allows it")
            )
        rule = self._rule(call)
        kind = method.partition("/")[0]
        if isinstance(rule, Match):
            return _refused("no_principal", "a rule depends on who is asked, and nobody said")
        if rule is None:
            return _refused(f"{kind}_denied", f"no rule of {self.label} allows the server to ask")
        if isinstance(rule, RootsRule):
            return ALLOW
        why = rule.refused(call.params)
        if why is not None:
            return _refused(f"{kind}_denied", why)
        if isinstance(rule, SamplingRule):
            params = rule.passed(call.params)
            if params is not call.params:
                return Rewrite(params, reason="what the rule does not let a server choose")
        return ALLOW

    def _rule(self, call: Call, method: str | None = None) -> Rule | Match | None:
        """The rule about a request; NO_PRINCIPAL where that depends on who is asked, and nobody said."""
        for rule in self._rules[method or call.method]:
            match = rule.scope.match(call)
            if match is not Match.NO:
                return rule if match is Match.YES else match
        return None

    def _may_follow(self, call: Call, data: JSON) -> bool:
        """Whether every URL of an error that asks for a visit may be visited."""
        rule = self._rule(call, ELICITATION)
        asked = data.get("elicitations") if isinstance(data, Mapping) else None
        if not isinstance(rule, ElicitationRule) or not isinstance(asked, list | tuple):
            return False
        return all(isinstance(one, Mapping) and rule.refused({"mode": "url", **one}) is None for one in asked)

    def _remember(self, server: str) -> tuple[Path, ...]:
        """What no rule can allow `server`, as places in the client's capabilities."""
        able: dict[str, list[Rule]] = {
            method: [rule for rule in rules if not rule.servers or matcher(rule.servers)(server)]
            for method, rules in self._rules.items()
        }
        sampling = [rule for rule in able[SAMPLING] if isinstance(rule, SamplingRule)]
        asking = [rule for rule in able[ELICITATION] if isinstance(rule, ElicitationRule)]
        refused: list[Path] = []
        if not sampling:
            refused.append(("sampling",))
        else:
            refused += [("sampling", "tools")] if not any(rule.tools for rule in sampling) else []
            refused += [("sampling", "context")] if not any(rule.context for rule in sampling) else []
        if not asking:
            refused.append(("elicitation",))
        else:
            refused += [("elicitation", "url")] if not any(rule.urls for rule in asking) else []
            refused += [("elicitation", "form")] if not any(rule.forms for rule in asking) else []
        if not able[ROOTS]:
            refused.append(("roots",))
        if len(self._refused) >= MAX_SERVERS:
            self._refused.clear()
        self._refused[server] = found = tuple(refused)
        return found

    def _takes(self, call: Call, rule: SamplingRule, tokens: int) -> bool:
        """Take one request and its tokens from the outermost run; what belongs to no run shares one count."""
        with self._lock:
            if call.run is not None:
                used = self._used.setdefault(call.run.lineage[-1], [0, 0])
            else:
                if len(self._used_outside) >= MAX_SERVERS and call.server not in self._used_outside:
                    return False
                used = self._used_outside.setdefault(call.server, [0, 0])
            requests, all_tokens = used[0] + 1, used[1] + tokens
            limit = rule.tokens_per_run
            if requests > rule.per_run or (limit is not None and all_tokens > limit):
                return False
            used[:] = [requests, all_tokens]
            return True


def _refused(code: str, reason: str) -> Deny:
    return Deny(code, reason=reason, message="The client does not allow this request.")
