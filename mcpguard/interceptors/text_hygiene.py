"""Remove from what servers send whatever a reader cannot see: hidden text, terminal escapes, controls.

A model reads tag characters and a terminal obeys escapes; a person sees neither. What invisible characters do
honestly stays (`detectors.invisible` says where). It does not judge what the visible text says; that is
`InjectionScan`'s business.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Unpack

from mcpguard.core.call import Call
from mcpguard.core.content import ContentError, Passage, Use, rewritten, rewritten_result
from mcpguard.core.interceptor import Common, Handles, Interceptor, Place
from mcpguard.core.result import Result
from mcpguard.core.scope import Match, Scope
from mcpguard.core.strings import strings_of, texts
from mcpguard.core.verdict import ALLOW, Deny, Rewrite, Verdict
from mcpguard.core.wire import JSON, LISTINGS, JSONObject
from mcpguard.detectors.invisible import DIRECTION_MARKS, clean, is_clean
from mcpguard.detectors.json_text import rewritten_json
from mcpguard.detectors.output_schemas import OutputSchemas

__all__ = ["TextHygiene"]

_FROM_SERVERS: Final[Handles] = frozenset({("*", "inbound"), ("notifications/*", "inbound")})
_ANSWERS: Final[Handles] = frozenset(
    {("*", "outbound"), ("initialize", "outbound"), ("server/discover", "outbound")}
)

_SMUGGLING: Final = ("tag", "bidi", "variation")
"""Kinds that the model is told of: they carry text, or change how text reads."""

_WORDS: Final[Mapping[str, str]] = {
    "tag": "tag characters",
    "bidi": "bidirectional controls",
    "escape": "terminal escapes",
    "control": "control characters",
    "zero_width": "zero-width characters",
    "variation": "variation selectors",
    "surrogate": "lone surrogates",
}

_WITHHELD: Final = "The server's message held hidden characters and was withheld. Do not try again."


class TextHygiene(Interceptor):
    """Remove hidden text from every answer, request and notification of a server.

    Names, URIs and schema words are not rewritten, because they would fit nothing any more: an entry of a
    list that has hidden characters in one is left out, any other message is refused. Tokens that the model
    never sees (cursors, states, ids) stay as they are.

    Args:
        action: `remove`, or `refuse` to deny a message that has anything to remove.
        note: Whether a tool's answer gets a line for the model when text was smuggled in it. Colours and
            other terminal escapes go without one.
        arguments: Whether what the agent sends is cleaned, too.
        servers: Clean only messages of these servers; names or globs. Empty: all.
        tools: Clean only messages of calls of these tools; names or globs. Empty: all, and all other methods.
        roles: Clean only messages of principals with one of these roles. Empty: all.
        tenants: Clean only messages of these tenants; names or globs. Empty: all.
        agents: Clean only messages of these agents; names or globs. Empty: all.

    Raises:
        ValueError: If `action` is neither word.
    """

    checks = _FROM_SERVERS
    filters = _ANSWERS
    place = Place.TEXT_HYGIENE

    def __init__(
        self,
        *,
        action: Literal["remove", "refuse"] = "remove",
        note: bool = True,
        arguments: bool = False,
        servers: Collection[str] = (),
        tools: Collection[str] = (),
        roles: Collection[str] = (),
        tenants: Collection[str] = (),
        agents: Collection[str] = (),
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        if action not in ("remove", "refuse"):
            raise ValueError(f"action is 'remove' or 'refuse', not {action!r}")
        self._refuses = action == "refuse"
        self._notes = note
        self._scope = Scope(servers=servers, tools=tools, roles=roles, tenants=tenants, agents=agents)
        self._schemas = OutputSchemas()
        if arguments:
            self.checks = {*_FROM_SERVERS, ("*", "outbound"), ("notifications/*", "outbound")}

    def check(self, call: Call) -> Verdict:
        """Clean the parameters of a request or notification."""
        if self._scope.match(call) is Match.NO or _look_clean(texts(call.params)):
            return ALLOW
        seen = _Cleaning()
        try:
            params = rewritten(call.params, seen.treat)
        except ContentError:
            return Deny("hidden_text", reason="two keys differ in hidden characters only", message=_WITHHELD)
        if params is call.params or not isinstance(params, Mapping):
            return ALLOW
        if seen.handles or self._refuses:
            return Deny("hidden_text", reason=f"the message holds {seen.said}", message=_WITHHELD)
        return Rewrite(params, reason=f"removed {seen.said}")

    def filter(self, call: Call, result: Result) -> Result:
        """Clean an answer."""
        if call.method == "tools/list":
            self._schemas.learn(call, result)
        if self._scope.match(call) is Match.NO or _look_clean(strings_of(result).every):
            return result
        seen = _Cleaning()
        listing = LISTINGS.get(call.method)
        try:
            kept = result if listing is None else self._without_unclean(result, listing.items, seen)
            cleaned = rewritten_result(kept, seen.treat)
        except ContentError:
            return _withheld(call, "two keys differ in hidden characters only")
        if cleaned is result:
            return result
        if seen.handles or (self._refuses and cleaned is not kept):
            return _withheld(call, f"the answer holds {seen.said}")
        if not self._schemas.fits(call, result, cleaned):
            return _withheld(call, f"without {seen.said} the answer does not fit the tool's output schema")
        self.host.warn(self, call, code="hidden_text_removed", reason=f"removed {seen.said}")
        return self._noted(call, cleaned, seen)

    def _without_unclean(self, result: Result, member: str, seen: "_Cleaning") -> Result:
        """The list without entries that cannot be cleaned."""
        items = None if result.value is None else result.value.get(member)
        if result.value is None or not isinstance(items, list | tuple):
            return result
        kept: list[JSON] = []
        for item in items:
            one = _Cleaning()
            try:
                is_changed = rewritten(item, one.treat) is not item
            except ContentError:
                one.handles, is_changed = 1, True
            if one.handles or (self._refuses and is_changed):
                seen.removed.update(one.removed)
            else:
                kept.append(item)
        if len(kept) == len(items):
            return result
        return result.replace(value={**result.value, member: kept}, outcome=result.outcome)

    def _noted(self, call: Call, result: Result, seen: "_Cleaning") -> Result:
        value = result.value
        content = None if value is None else value.get("content")
        hidden = any(seen.removed[kind] for kind in _SMUGGLING)
        if not (self._notes and hidden and call.method == "tools/call" and isinstance(content, list | tuple)):
            return result
        note: JSONObject = {
            "type": "text",
            "text": f"[Hidden text was removed from this answer: {seen.said}.]",
        }
        return result.replace(value={**(value or {}), "content": [*content, note]}, outcome=result.outcome)


@dataclass(slots=True)
class _Cleaning:
    """What was removed from one message.

    Args:
        removed: How many of each kind.
        handles: How many strings would be removed from that must not be rewritten.
    """

    removed: Counter[str] = field(default_factory=Counter[str])
    handles: int = 0

    def treat(self, passage: Passage) -> str:
        """What goes on of a passage."""
        if passage.use is Use.OPAQUE:
            return passage.text
        text = self._cleaned(passage.text)
        if passage.use is Use.TEXT and "\\u" in text:
            text = rewritten_json(text, self._cleaned)
        if passage.use is Use.HANDLE and text != passage.text:
            self.handles += 1
        return text

    def _cleaned(self, text: str) -> str:
        cleaned = clean(text)
        self.removed.update(cleaned.removed)
        return cleaned.text

    @property
    def said(self) -> str:
        """How many of what, in words."""
        counts = [f"{count} {_WORDS[kind]}" for kind, count in sorted(self.removed.items())]
        return ", ".join(counts) or "hidden characters"


def _look_clean(strings: Sequence[str]) -> bool:
    """Whether there is nothing to look at more closely. Each string is then judged by itself."""
    joined = "\n".join(strings)
    if "\\u" in joined or not is_clean(joined):
        return False
    return joined.isascii() or not any(mark in joined for mark in DIRECTION_MARKS)


def _withheld(call: Call, reason: str) -> Result:
    return call.denied(code="hidden_text", reason=reason, message=_WITHHELD)
