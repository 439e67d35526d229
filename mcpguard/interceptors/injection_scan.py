"""Look for instructions to the model in what servers send, and keep them apart from what it should obey.

A scan finds part of them, so that by default nothing is dropped: the text is delimited and named as data, the
run is labelled, and the record says so. What may be done after that is `FlowControl`'s business, and hidden
characters are `TextHygiene`'s.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Final, Literal, Protocol, Unpack

import anyio.to_thread

from mcpguard.core.call import Call
from mcpguard.core.content import Use, passages
from mcpguard.core.interceptor import CallNext, Common, Handles, Interceptor, Place
from mcpguard.core.result import Result
from mcpguard.core.scope import Match, Scope
from mcpguard.core.strings import strings_of
from mcpguard.core.verdict import ALLOW, Ask, Deny, Verdict
from mcpguard.core.wire import EMPTY, JSON, LISTINGS, JSONObject
from mcpguard.detectors.injection.delimiting import Marks, delimited
from mcpguard.detectors.injection.markup import ToolNames
from mcpguard.detectors.injection.scan import Finding, scan

__all__ = ["InjectionDetector", "InjectionScan"]

INJECTION: Final = "injection"
"""The label of a run that was sent an instruction; `untrusted` goes with it."""

LABELS: Final = (INJECTION, "untrusted")

MAX_TOOLS: Final = 1024
"""Names of one server's tools that are recognised in texts."""

MAX_CHARACTERS: Final = 2_000_000
"""Characters of one answer that are looked at."""

MAX_JUDGED: Final = 4096
"""Entries of lists whose judgement is remembered, by digest: the same ones come with every list."""

FOREIGN: Final = 0.5
"""Weight of words that ask for another server's tool."""

OWN: Final = 0.25
"""Weight of words that ask for a tool of the server that sent them: many honest answers do."""

_BLOCKED: Final = (
    "The answer was withheld: it held instructions that did not come from the user. Go on without it."
)

_GREETINGS: Final = frozenset({"initialize", "server/discover"})
"""Methods whose answers have instructions, which hosts show the model as their own."""

_ANSWERS: Final[Handles] = frozenset({("*", "outbound"), *((method, "outbound") for method in _GREETINGS)})
_ASKED: Final[Handles] = frozenset({("*", "inbound")})


class InjectionDetector(Protocol):
    """A detector of your own, a model for one. It is called in a thread, and may take its time.

    What it raises denies the call, unless the interceptor is `fail_open`.
    """

    def score(self, text: str) -> float:
        """How much a text looks like an injected instruction, from 0 to 1."""
        ...


class InjectionScan(Interceptor):
    """Delimit, report, ask about or block answers that hold instructions to the model.

    Args:
        action: What becomes of such an answer. `annotate`: its texts are delimited and named as data. `ask`:
            the same, and every later tool call of the run is put to a person; without a run it is blocked.
            `block`: it is withheld, and what is listed with it leaves the list. `report`: nothing. A server's
            instructions are delimited with `annotate`, and left out with `ask` and `block`.
        threshold: The score from which on text counts as an instruction. Above 0, at most 1.
        servers: Look only at these servers; names or globs. Empty: all.
        tools: Look only at answers of these tools; names or globs. Empty: all, and all other methods.
        roles: Look only at what is for principals with one of these roles. Empty: all.
        tenants: Look only at what is for these tenants; names or globs. Empty: all.
        agents: Look only at what is for these agents; names or globs. Empty: all.
        detectors: Further detectors; in Python only.

    Raises:
        ValueError: If `action` is none of its words, or `threshold` is out of range.
    """

    place = Place.INJECTION_SCAN
    check_place = Place.FLOW_CONTROL

    def __init__(
        self,
        *,
        action: Literal["annotate", "ask", "block", "report"] = "annotate",
        threshold: float = 0.5,
        servers: Collection[str] = (),
        tools: Collection[str] = (),
        roles: Collection[str] = (),
        tenants: Collection[str] = (),
        agents: Collection[str] = (),
        detectors: Sequence[InjectionDetector] = (),
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        if action not in ("annotate", "ask", "block", "report"):
            raise ValueError(f"action is 'annotate', 'ask', 'block' or 'report', not {action!r}")
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold is above 0 and at most 1, not {threshold}")
        self._action = action
        self._threshold = threshold
        self._scope = Scope(servers=servers, tools=tools, roles=roles, tenants=tenants, agents=agents)
        self._detectors = tuple(detectors)
        self._owners: dict[str, str] = {}
        self._known = Counter[str]()
        self._weighed: dict[str, ToolNames] = {}
        self._judged: dict[tuple[str, bytes], Finding] = {}
        self.can_ask = action == "ask"
        self.checks = frozenset([*_ASKED, ("tools/call", "outbound")]) if self.can_ask else _ASKED
        self.filters = frozenset() if self._detectors else _ANSWERS
        self.layers = _ANSWERS if self._detectors else frozenset()

    def check(self, call: Call) -> Verdict:
        """Ask about calls of a run that was sent an instruction, and judge what servers ask."""
        if call.direction == "outbound":
            if call.run is not None and INJECTION in call.run.labels:
                return Ask("injection_seen", reason="an answer in this run held instructions to the model")
            return ALLOW
        if not self._covers(call):
            return ALLOW
        finding = self._scanned(call, _shown(call.params))
        if finding.score < self._threshold:
            return ALLOW
        self._tell(call, finding)
        if self._action == "block":
            return Deny("injection_blocked", reason=_said(finding), message=_BLOCKED)
        if self._action == "ask":
            return Ask("injection_found", reason=_said(finding))
        return ALLOW

    def filter(self, call: Call, result: Result) -> Result:
        """Look at an answer."""
        if result.denial is not None or not self._covers(call):
            return result
        if call.method in LISTINGS:
            return self._listed(call, result)
        return self._treated(call, result, self._scanned(call, strings_of(result).shown))

    async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
        """The same, with further detectors, in a thread."""
        result = await call_next(call)
        treated = self.filter(call, result)
        if (
            treated is not result
            or call.method in _GREETINGS
            or result.denial is not None
            or not self._covers(call)
        ):
            return treated
        text = "\n".join(strings_of(result).shown)
        if not text or not call.enforced:
            return result
        scores = [await anyio.to_thread.run_sync(one.score, text[:MAX_CHARACTERS]) for one in self._detectors]
        return self._treated(call, result, Finding(max(scores, default=0.0), ("detector",)))

    def status(self) -> Mapping[str, JSON]:
        """How many tools' names are recognised in texts."""
        return {"tools": len(self._owners)}

    def _covers(self, call: Call) -> bool:
        return self._scope.match(call) is not Match.NO

    def _scanned(self, call: Call, found: Iterable[str]) -> Finding:
        text = "\n".join(found)
        if len(text) > MAX_CHARACTERS:
            self._mark(call)
            self.host.warn(
                self, call, code="injection_unscanned", reason=f"more than {MAX_CHARACTERS} characters"
            )
            return scan(text[:MAX_CHARACTERS], self._weights(call.server))
        return scan(text, self._weights(call.server))

    def _entry(self, call: Call, text: str) -> Finding:
        """What is found in an entry of a list; one that was judged before is not scanned again."""
        key = call.server, blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        finding = self._judged.get(key)
        if finding is None:
            finding = self._scanned(call, [text])
            if len(self._judged) >= MAX_JUDGED:
                self._judged.clear()
            if len(text) <= MAX_CHARACTERS:
                self._judged[key] = finding
        return finding

    def _weights(self, server: str) -> ToolNames:
        weights = self._weighed.get(server)
        if weights is None:
            owned = self._owners.items()
            weights = ToolNames({name: OWN if owner == server else FOREIGN for name, owner in owned})
            self._weighed[server] = weights
        return weights

    def _listed(self, call: Call, result: Result) -> Result:
        """Take note of tools' names; take out of a list what is to be blocked."""
        listing = LISTINGS[call.method]
        items = None if result.value is None else result.value.get(listing.items)
        if result.value is None or not isinstance(items, list | tuple):
            return result
        shown: list[JSON] = []
        for item in items:
            finding = self._entry(call, "\n".join(_shown({listing.items: [item]})))
            if finding.score >= self._threshold:
                if self._action == "block":
                    self.host.warn(self, call, code="injection_found", reason=_said(finding))
                    continue
                self._tell(call, finding)
            shown.append(item)
        if call.method == "tools/list":
            for item in items:
                self._remember(call.server, item)
        return (
            result
            if len(shown) == len(items)
            else result.replace(value={**result.value, listing.items: shown})
        )

    def _remember(self, server: str, item: JSON) -> None:
        """Keep a name that is no ordinary word."""
        name = item.get("name") if isinstance(item, Mapping) else None
        if not isinstance(name, str) or not 3 <= len(name) <= 64 or self._known[server] >= MAX_TOOLS:
            return
        is_word = name.isalpha() and (name.islower() or name.istitle())
        if not is_word and name.lower() not in self._owners:
            self._owners[name.lower()] = server
            self._known[server] += 1
            self._weighed = {}
            self._judged.clear()

    def _treated(self, call: Call, result: Result, finding: Finding) -> Result:
        if finding.score < self._threshold:
            return result
        self._tell(call, finding)
        if self._action == "report":
            return result
        if call.method in _GREETINGS and result.value is not None:
            return result.replace(value=self._greeting(result.value))
        if self._action == "block" or (self._action == "ask" and call.run is None):
            return call.denied(code="injection_blocked", reason=_said(finding), message=_BLOCKED)
        if result.error is not None:
            message = Marks().around(result.error.message)
            result = result.replace(error=replace(result.error, message=message))
        if result.value is None:
            return result
        return result.replace(value=_labelled(delimited(result.value)))

    def _greeting(self, value: JSONObject) -> JSONObject:
        """A server's greeting with its instructions delimited, or left out; it is of use without them."""
        instructions = value.get("instructions")
        rest = {name: part for name, part in value.items() if name != "instructions"}
        if self._action != "annotate" or not isinstance(instructions, str):
            return rest
        return {**rest, "instructions": Marks().around(instructions)}

    def _tell(self, call: Call, finding: Finding) -> None:
        self._mark(call)
        self.host.warn(self, call, code="injection_found", reason=_said(finding))

    def _mark(self, call: Call) -> None:
        if call.run is not None and call.enforced and not call.explained:
            for label in LABELS:
                call.run.mark(label, f"{call.server}/{call.target or call.method}")


def _labelled(value: JSONObject) -> JSONObject:
    """An answer with the labels that it gives a run, also one that gets it from a cache."""
    meta = value.get("_meta")
    labels = {"mcpguard/labels": list(LABELS)}
    return {**value, "_meta": {**(meta if isinstance(meta, Mapping) else EMPTY), **labels}}


def _shown(message: JSON) -> Iterator[str]:
    """All that is read of a message, in order."""
    return (passage.text for passage in passages(message) if passage.use is not Use.OPAQUE)


def _said(finding: Finding) -> str:
    return f"score {finding.score:.2f}: {', '.join(finding.reasons)}"
