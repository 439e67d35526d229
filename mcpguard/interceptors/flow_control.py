"""Ask before what a run has read goes where it should not: rules over labels and destinations.

Labels are declared by the user for servers, tools, resources and arguments, and remembered for the run that
has seen them. What a text says is not judged here, and nothing a server says of itself counts.
"""

import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Unpack, cast
from weakref import WeakKeyDictionary

from mcpguard.core.call import Call
from mcpguard.core.host import Host
from mcpguard.core.interceptor import Common, Interceptor, Place
from mcpguard.core.result import Fate, Result
from mcpguard.core.run import Run
from mcpguard.core.scope import Match, Scope
from mcpguard.core.servers import ServerOptions
from mcpguard.core.strings import strings_of
from mcpguard.core.verdict import ALLOW, Ask, Deny, Verdict
from mcpguard.core.wire import JSON, LIFECYCLE, LISTINGS
from mcpguard.detectors.flow_rules import ContentLabel, DestinationRule, FlowRule
from mcpguard.detectors.labelling import DESTINATION, UNTRUSTED, Labelling, Labels
from mcpguard.detectors.provenance import Allowed, ReadDestinations, sent_by

__all__ = ["ContentLabel", "DestinationRule", "FlowControl", "FlowRule"]

SINK: Final = "sink"
"""The label of calls that send data somewhere."""

PRIVATE: Final = "private"
"""The label of what must not be sent."""

LABELS_KEY: Final = "mcpguard/labels"
"""Where an answer's `_meta` has the labels that an interceptor gave it."""

MAX_LABELS: Final = 4
"""Labels of one answer that are read from its `_meta`."""

MAX_LABEL: Final = 64
"""Characters of such a label."""

MAX_UNNAMED: Final = 32
"""Labels of a run from which on it takes from answers only those that a rule names: a server that makes up
labels leaves room for the declared ones."""

_SILENT: Final = LIFECYCLE | LISTINGS.keys()
"""Methods whose answers hold no data of the server's, and label nothing."""

_REFUSED: Final = (
    "This call would send data where the operator's policy does not let it go. Do not repeat it."
)
_NO_RUN: Final = Deny(
    "no_run",
    reason="a rule depends on what the run has seen, and the call is made in no run",
    message="This call cannot be checked here and was refused. Go on without it.",
)


class FlowControl(Interceptor):
    """Ask about calls by what their run has seen before, and by where their destinations come from.

    Three kinds of rules. The trifecta: something labelled `private` and something labelled `untrusted` has
    been seen, and the call is labelled `sink`. Rules of your own: after these labels, not those. And
    destinations: an address, URL or account that stood in an answer and that `run.user_said` did not name.
    A run shares what it has seen with the runs it is part of. A call that a rule may be about and that is
    made in no run is refused.

    Args:
        trifecta: What becomes of such a call: `ask`, `deny` or `off`.
        rules: Rules of your own.
        destinations: The rule about destinations. None: none.
        content: Texts that put labels on answers.
        servers: Look only at what goes to and comes from these servers; names or globs. Empty: all.
        roles: Look only at calls of principals with one of these roles. Empty: all.
        tenants: Look only at calls of these tenants; names or globs. Empty: all.
        agents: Look only at calls of these agents; names or globs. Empty: all.

    Raises:
        TypeError: If a member holds something else than rules.
        ValueError: If `trifecta` is none of its words.
    """

    checks = frozenset({("*", "outbound"), ("*", "inbound")})
    filters = frozenset({("*", "outbound")})
    place = Place.FLOW_CONTROL
    can_ask = True

    def __init__(
        self,
        *,
        trifecta: Literal["ask", "deny", "off"] = "ask",
        rules: Sequence[FlowRule] = (),
        destinations: DestinationRule | None = None,
        content: Sequence[ContentLabel] = (),
        servers: Collection[str] = (),
        roles: Collection[str] = (),
        tenants: Collection[str] = (),
        agents: Collection[str] = (),
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        if trifecta not in ("ask", "deny", "off"):
            raise ValueError(f"trifecta is 'ask', 'deny' or 'off', not {trifecta!r}")
        named = [_Rule(f"{self.label}.rules[{at}]", "flow_rule", rule) for at, rule in enumerate(rules)]
        if trifecta != "off":
            rule = FlowRule(after=[PRIVATE, UNTRUSTED], never=[SINK], action=trifecta)
            named.insert(0, _Rule("the trifecta", "flow_trifecta", rule))
        self._rules = tuple(named)
        self._destinations = destinations
        self._allowed = Allowed(() if destinations is None else destinations.allow)
        self._content = tuple(content)
        self._scope = Scope(servers=servers, roles=roles, tenants=tenants, agents=agents)
        actions = {one.rule.action for one in named} | ({destinations.action} if destinations else set[str]())
        self.can_ask = "ask" in actions
        self._heeded = frozenset[str]().union(*(one.after for one in named))
        if destinations is not None:
            self._heeded |= set(destinations.after)
        self._labelling = Labelling({})
        self._uses: dict[frozenset[str], tuple[_Rule, ...]] = {}
        self._read: WeakKeyDictionary[Run, ReadDestinations] = WeakKeyDictionary()
        self._guard = threading.RLock()

    def join(self, host: Host) -> None:
        """Take the labels from what the guard declares of servers."""
        super().join(host)
        self._labelling = Labelling(host.servers)

    def check(self, call: Call) -> Verdict:
        """Ask about a call that a rule is about, or refuse it."""
        if self._scope.match(call) is Match.NO:
            return ALLOW
        labels = self._labelling.of(call.server, call.method, call.target)
        if call.direction == "inbound" and not call.explained:
            self._mark(call, labels)
        if not labels.own and not labels.arguments:
            return ALLOW
        given = labels.own
        if labels.arguments:
            arguments = call.arguments
            given = given.union(*(its for name, its in labels.arguments.items() if name in arguments))
        rules = self._about(given)
        goes_out = self._destinations is not None and (SINK in given or DESTINATION in given)
        if not rules and not goes_out:
            return ALLOW
        if call.run is None:
            return _NO_RUN
        hits = [self._hit(one, call.run) for one in rules if one.after <= call.run.labels.keys()]
        if goes_out and self._destinations is not None:
            hits.extend(self._strays(call, call.run, labels, self._destinations))
        return _verdict(hits) if hits else ALLOW

    def filter(self, call: Call, result: Result) -> Result:
        """Remember what the run has seen."""
        run = call.run
        if run is None or call.method in _SILENT or self._scope.match(call) is Match.NO:
            return result
        if result.fate is Fate.NOT_SENT and result.value is None:
            return result
        labels = self._labelling.of(call.server, call.method, call.target)
        self._mark(call, labels)
        for label in _labels_in(result):
            if label in self._heeded or len(run.labels) < MAX_UNNAMED:
                self._see(call, run, [label])
        for one in self._content:
            if one.covers(call) and one.is_in(strings_of(result).every):
                self._see(call, run, one.labels)
        if self._destinations is not None and self._destinations.origin == "read" and not labels.is_trusted:
            self._of(run).read(strings_of(result).every)
        return result

    def warnings(self, servers: Collection[str]) -> Iterable[str]:
        """Labels that nothing has: rules that name them never match."""
        options = cast("Mapping[str, ServerOptions]", servers if isinstance(servers, Mapping) else {})
        declared = set(Labelling(options).declared())
        declared |= {label for one in self._content for label in one.labels}
        for one in self._rules:
            for label in sorted((one.after | one.never) - declared):
                yield f"{self.label}: {one.name} names the label {label!r}, which nothing has"
        if self._destinations is not None and not {SINK, DESTINATION} & declared:
            yield f"{self.label}: destinations are about labels 'sink' and 'destination', which nothing has"

    def status(self) -> Mapping[str, JSON]:
        """How many runs' destinations are remembered."""
        return {"runs": len(self._read)}

    def _about(self, given: frozenset[str]) -> tuple["_Rule", ...]:
        """The rules that may be about a call with these labels; their number is that of what is declared."""
        rules = self._uses.get(given)
        if rules is None:
            rules = tuple(one for one in self._rules if one.never & given)
            self._uses[given] = rules
        return rules

    def _mark(self, call: Call, labels: Labels) -> None:
        if call.run is not None and labels.own:
            self._see(call, call.run, labels.own)

    def _see(self, call: Call, run: Run, labels: Iterable[str]) -> None:
        """Mark the run with what it has not seen yet, and record that it has now."""
        for label in labels:
            if label not in run.labels:
                run.mark(label, _where(call))
                if label in run.labels:
                    self.host.labelled(self, call, label=label)

    def _hit(self, one: "_Rule", run: Run) -> "_Hit":
        seen = ", ".join(f"{label} ({run.labels[label]})" for label in sorted(one.after))
        return _Hit(one.code, one.rule.action, f"{one.name}: the run has seen {seen}")

    def _strays(self, call: Call, run: Run, labels: Labels, rule: DestinationRule) -> Iterator["_Hit"]:
        """Hits of destinations; one for each argument at most."""
        if not set(rule.after) <= run.labels.keys():
            return
        read = self._read.get(run.lineage[-1])
        for name, found in sent_by(call, labels):
            for one in found:
                if one in self._allowed or one.is_named(run.said):
                    continue
                is_read = read is not None and one in read
                if is_read or one.kind == "other" or rule.origin == "unnamed":
                    what = f"argument {name!r}" if name in labels.arguments else "an argument"
                    came = "was read in this run and" if is_read else "is of unknown origin:"
                    reason = f"{what} names a destination that {came} the user did not name"
                    yield _Hit("flow_destination", rule.action, reason)
                    break

    def _of(self, run: Run) -> ReadDestinations:
        outermost = run.lineage[-1]
        with self._guard:
            read = self._read.get(outermost)
            if read is None:
                read = self._read[outermost] = ReadDestinations()
        return read


class _Rule:
    """A flow rule with its name and code."""

    __slots__ = ("after", "code", "name", "never", "rule")

    def __init__(self, name: str, code: str, rule: FlowRule) -> None:
        self.name = name
        self.code = code
        self.rule = rule
        self.after = frozenset(rule.after)
        self.never = frozenset(rule.never)


@dataclass(frozen=True, slots=True)
class _Hit:
    """One rule that is about a call."""

    code: str
    action: str
    reason: str


def _labels_in(result: Result) -> Iterator[str]:
    """Labels that another interceptor has put on an answer, which may come from a cache.

    A server that puts them there itself makes its run more careful, and no less.
    """
    meta = None if result.value is None else result.value.get("_meta")
    labels = meta.get(LABELS_KEY) if isinstance(meta, Mapping) else None
    for label in labels[:MAX_LABELS] if isinstance(labels, list | tuple) else ():
        if isinstance(label, str) and len(label) <= MAX_LABEL:
            yield label


def _where(call: Call) -> str:
    """Where something was seen: server, and tool or resource."""
    return f"{call.server}/{call.target or call.method}"


def _verdict(hits: Sequence[_Hit]) -> Verdict:
    reason = "; ".join(dict.fromkeys(hit.reason for hit in hits))
    for hit in hits:
        if hit.action == "deny":
            return Deny(hit.code, reason=reason, message=_REFUSED)
    return Ask(hits[0].code, reason=reason)
