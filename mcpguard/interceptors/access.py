"""Say who may use what: tools, prompts, resources and methods, by name or glob.

What may not be used leaves the lists and is refused when it is named all the same. Arguments are not judged
here, nor what servers ask of the agent, nor notifications in either direction.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Unpack

from mcpguard.core.call import Call
from mcpguard.core.interceptor import Common, Interceptor, Place
from mcpguard.core.result import Result
from mcpguard.core.scope import Match
from mcpguard.core.verdict import ALLOW, NOT_AVAILABLE, Deny, Verdict
from mcpguard.core.wire import EMPTY, JSON, LIFECYCLE, LISTINGS, TARGETS, JSONObject, is_notification
from mcpguard.detectors.access_rule import AccessRule

__all__ = ["Access", "AccessRule"]

MAX_CASES: Final = 2048
"""Decisions remembered; a client that makes up names makes them be worked out anew."""

MAX_REMEMBERED: Final = 256
"""Characters of a method and name together beyond which a decision is not remembered."""

_USES: Final[Mapping[str, str]] = {
    "tools/list": "tools/call",
    "prompts/list": "prompts/get",
    "resources/list": "resources/read",
    "resources/templates/list": "resources/read",
}
"""List method -> the method by which an item is used: what may not be used is not listed."""

_FREE: Final = LIFECYCLE | LISTINGS.keys() | {"subscriptions/listen"}
"""Methods that need no allow rule: they keep the connection, or show no more than rules let them."""


class Access(Interceptor):
    """Allow or deny what an agent may use.

    A deny rule wins over an allow rule, whatever their order. What no rule covers is decided by `default`.
    Under `default="deny"` lists may be fetched, and hold what is allowed; completion needs its method
    allowed *and* the prompt or resource it is about; any other method needs a rule that names it, or one
    that covers all of its server. `initialize`, `server/discover` and `ping` are refused only by a deny
    rule that spells them out.

    Where nobody is known, a rule that depends on the caller and otherwise matches refuses with
    `no_principal`, unless an allow rule that does not depend on the caller matches as well.

    Args:
        default: What happens to what no rule covers.
        allow: What may be used.
        deny: What may not be used, even if a rule allows it.

    Raises:
        TypeError: If `allow` or `deny` holds something else than rules.
        ValueError: If `default` is neither word.
    """

    checks = frozenset({("*", "outbound")})
    filters = frozenset((method, "outbound") for method in LISTINGS)
    place = Place.ACCESS

    def __init__(
        self,
        *,
        default: Literal["allow", "deny"],
        allow: Sequence[AccessRule] = (),
        deny: Sequence[AccessRule] = (),
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        if default not in ("allow", "deny"):
            raise ValueError(f"default is 'allow' or 'deny', not {default!r}")
        self.default = default
        self.allow = tuple(allow)
        self.deny = tuple(deny)
        self._allows = _numbered(self.allow, f"{self.label}.allow")
        self._denies = _numbered(self.deny, f"{self.label}.deny")
        spelled = {method for rule in self.deny for method in rule.methods if method in LIFECYCLE}
        self.checks = frozenset(
            (method, "outbound") for method in ("*", *spelled) if not is_notification(method)
        )
        self._unnamed = _refusal("access_denied", f"no rule of {self.label} allows it")
        self._cases: dict[tuple[str, str, str | None], _Case] = {}

    def check(self, call: Call) -> Verdict:
        """Refuse what may not be used, whether or not the server has it."""
        method = call.method
        key = TARGETS.get(method)
        if key is not None:
            return self._judge(call, method, call.params.get(key))
        verdict = self._judge(call, method, None)
        for used, name in _embedded(method, call.params):
            if verdict is not ALLOW:
                break
            verdict = self._judge(call, used, name)
        return verdict

    def filter(self, call: Call, result: Result) -> Result:
        """Take out of a list what may not be used; the cursor and an emptied page stay as they are."""
        listing = LISTINGS.get(call.method)
        if listing is None or result.value is None or listing.items not in result.value:
            return result
        items = result.value[listing.items]
        shown: list[JSON] = []
        if isinstance(items, list | tuple):
            shown.extend(item for item in items if self._shows(call, listing.key, item))
            if len(shown) == len(items):
                return result
        elif self._shows(call, listing.key, None):
            return result
        return result.replace(value={**result.value, listing.items: shown})

    def warnings(self, servers: Collection[str]) -> Iterable[str]:
        """Rules that can never match, as far as that is certain."""
        if self.default == "allow" and self.allow:
            yield f"{self.label}: allow rules change nothing while default is 'allow'"
        if self.default == "deny" and not self.allow:
            yield f"{self.label}: default is 'deny' and no rule allows anything"
        for entries in (self._allows, self._denies):
            for position, entry in enumerate(entries):
                yield from (f"{entry.where}: {what}" for what in entry.rule.warnings(servers))
                twin = next((one for one in entries[:position] if one.rule == entry.rule), None)
                if twin is not None:
                    yield f"{entry.where} says the same as {twin.where}"
        for entry in self._allows:
            denial = next((one for one in self._denies if one.rule.contains(entry.rule)), None)
            if denial is not None:
                yield f"{entry.where} can never match: {denial.where} denies all of it"

    def status(self) -> Mapping[str, JSON]:
        """How many decisions are remembered."""
        return {"remembered": len(self._cases)}

    def _shows(self, call: Call, key: str, item: JSON) -> bool:
        name = item.get(key) if isinstance(item, Mapping) else None
        if isinstance(name, str):
            return self._judge(call, _USES[call.method], name) is ALLOW
        return self.default == "allow" and self._judge(call, _USES[call.method], "") is ALLOW

    def _judge(self, call: Call, method: str, name: object) -> Verdict:
        if not isinstance(name, str):
            name = None
        case = self._cases.get((call.server, method, name)) or self._remember(call.server, method, name)
        if not case.denies and not case.allows:
            return case.otherwise
        return case.decide(call)

    def _remember(self, server: str, method: str, name: str | None) -> "_Case":
        case = self._case(server, method, name)
        if len(method) + len(name or "") <= MAX_REMEMBERED:
            if len(self._cases) >= MAX_CASES:
                self._cases.clear()
            self._cases[server, method, name] = case
        return case

    def _case(self, server: str, method: str, name: str | None) -> "_Case":
        denies = [one for one in self._denies if one.rule.covers(server, method, name, granting=False)]
        for entry in denies:
            if not entry.is_conditional:
                return _Case(entry.refusal)
        if self.default == "allow" or method in _FREE:
            return _Case(ALLOW, tuple(denies))
        allows = [one for one in self._allows if one.rule.covers(server, method, name, granting=True)]
        if any(not entry.is_conditional for entry in allows):
            return _Case(ALLOW, tuple(denies))
        return _Case(self._unnamed, tuple(denies), tuple(allows))


class _Entry:
    """A rule in its list, and the two ways it refuses."""

    __slots__ = ("nobody", "refusal", "rule", "where")

    def __init__(self, rule: AccessRule, where: str) -> None:
        self.rule = rule
        self.where = where
        self.refusal = _refusal("access_denied", f"{where} covers it")
        self.nobody = _refusal("no_principal", f"{where} depends on who calls, and nobody said")

    @property
    def is_conditional(self) -> bool:
        """Whether it depends on who calls."""
        return self.rule.caller.needs_principal


@dataclass(frozen=True, slots=True)
class _Case:
    """What rules say of one use: rules that depend on who calls, and what holds if none of them speaks."""

    otherwise: Verdict
    denies: Sequence[_Entry] = ()
    allows: Sequence[_Entry] = ()

    def decide(self, call: Call) -> Verdict:
        """The verdict for the caller."""
        for entry in self.denies:
            match = entry.rule.caller.match_principal(call)
            if match is not Match.NO:
                return entry.refusal if match is Match.YES else entry.nobody
        for entry in self.allows:
            match = entry.rule.caller.match_principal(call)
            if match is not Match.NO:
                return ALLOW if match is Match.YES else entry.nobody
        return self.otherwise


def _numbered(rules: Sequence[AccessRule], where: str) -> tuple[_Entry, ...]:
    for position, rule in enumerate(rules):
        if not isinstance(rule, AccessRule):
            raise TypeError(f"{where}[{position}] is an AccessRule, not {type(rule).__name__}")
    return tuple(_Entry(rule, f"{where}[{position}]") for position, rule in enumerate(rules))


def _refusal(code: str, reason: str) -> Deny:
    return Deny(code, reason=reason, message=NOT_AVAILABLE)


def _embedded(method: str, params: JSONObject) -> Iterator[tuple[str, JSON]]:
    """What else `params` name, as (method by which it is used, name).

    `completion/complete` names a prompt or template in `ref`, `subscriptions/listen` (MCP 2026-07-28) URIs.
    """
    if method == "completion/complete":
        ref = params.get("ref")
        known = ref if isinstance(ref, Mapping) else EMPTY
        if "uri" in known:
            yield "resources/read", known["uri"]
        if "name" in known or "uri" not in known:
            yield "prompts/get", known.get("name")
    elif method == "subscriptions/listen":
        wanted = params.get("notifications")
        uris = wanted.get("resourceSubscriptions") if isinstance(wanted, Mapping) else wanted
        if isinstance(uris, list | tuple):
            yield from (("resources/subscribe", uri) for uri in uris)
        elif uris is not None:
            yield "resources/subscribe", None
