"""Cap how much of an answer goes on to the model: in bytes, and in tokens, approximately.

What is too long keeps its beginning and its end, with a mark between them that says how much is missing and
that less can be asked for, or where the whole is kept in pages. What is received before that is bounded by
the `connection` limits; how much a run may read in all is `Budget`'s business. Lists are not cut.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import KW_ONLY, dataclass, replace
from functools import partial
from typing import Final, Literal, Unpack

from mcpguard.core.call import Call
from mcpguard.core.interceptor import CallNext, Common, Interceptor, Place
from mcpguard.core.result import Fate, Outcome, Result
from mcpguard.core.scope import Match, Scope, matcher
from mcpguard.core.wire import JSON, LISTINGS, JSONObject, mutable_copy
from mcpguard.detectors.output_schemas import OutputSchemas
from mcpguard.detectors.pages import Kept, Pages
from mcpguard.detectors.shortening import shortened, shortened_text, shortened_units, unit_text
from mcpguard.detectors.size import NOTHING, Size, asked_size, shown_size, size, text_size

__all__ = ["ResultCap", "ResultLimit"]

BYTES: Final = 4 * 2**20
"""Bytes of an answer; a screenshot has one or two million."""

TOKENS: Final = 50_000
"""Tokens of an answer; a quarter of the context of most models."""

KEEP_BYTES: Final = 64 * 2**20
"""Bytes of one run's answers that are kept in pages."""

CUT: Final = "mcpguard/cut"
"""Member of a cut answer's `_meta`: how many bytes it had, and has, and where the whole is kept."""

RUN: Final = "mcpguard/run"
"""Member of the `_meta` of an answer that is of use to its run alone, and is kept for no other."""

_STRUCTURED: Final = "structuredContent"
_UNITS: Final = ("content", "contents", "messages")
"""Members that are lists of what a model is shown; an answer has one of them."""

_INSTRUCTIONS: Final = "instructions"
"""What a server tells the model when it is connected to."""

_CUTTABLE: Final = frozenset({*_UNITS, _STRUCTURED, _INSTRUCTIONS})
_UNSEEN: Final = frozenset({"_meta", "requestState"})
"""Members for the program: the model reads nothing of them, so they are held to the bytes only."""

_GONE: Final = "This page is not kept any more, or never was. Call the tool again if you need it."

_ASK: Final = "Ask for less if you need it: a narrower question, a range, a page or a limit."


@dataclass(frozen=True, slots=True)
class ResultCap:
    """How long an answer may be.

    Args:
        bytes: Bytes. At least 1024.
        tokens: Tokens, approximately: four ASCII characters, or three bytes of others. At least 256.

    Raises:
        ValueError: If a number is out of range.
    """

    _: KW_ONLY
    bytes: int = BYTES
    tokens: int = TOKENS

    def __post_init__(self) -> None:
        if self.bytes < 1024:
            raise ValueError(f"bytes is at least 1024, not {self.bytes}")
        if self.tokens < 256:
            raise ValueError(f"tokens is at least 256, not {self.tokens}")


class ResultLimit(Interceptor):
    """Cut answers that are too long for the model, or refuse them.

    Content and structured content are each held to the cap, as they say the same twice; what else there is,
    together. A server's instructions are cut whatever the action. An answer that cannot
    be cut so that it fits the cap and the tool's output schema is refused. With `spill` the text of all of it
    is kept in memory until the run is gone, and read page by page as a resource of any guarded server; a page
    is as long as the cap allows, and is there for the run, those inside it, and no other tenant.

    Args:
        bytes: Bytes of an answer. At least 1024.
        tokens: Tokens of an answer, approximately: four ASCII characters, or three bytes of others; images
            and audio count in bytes only. At least 256.
        action: `cut`; `spill` to cut and keep the whole in pages, where there is a run; or `refuse` to deny
            what is too long.
        keep_bytes: Bytes of one run's answers that are kept with `spill`, at four bytes a character; the
            oldest go. At least 1.
        caps: Other numbers for some tools, by name or glob; the first that matches.
        servers: Cap only answers of these servers; names or globs. Empty: all.
        tools: Cap only answers of these tools; names or globs. Empty: all, and prompts and resources.
        roles: Cap only answers to principals with one of these roles. Empty: all.
        tenants: Cap only answers to these tenants; names or globs. Empty: all.
        agents: Cap only answers to these agents; names or globs. Empty: all.

    Raises:
        ValueError: If a number is out of range, or `action` is none of its words.
    """

    filters = frozenset({("*", "outbound"), ("initialize", "outbound"), ("server/discover", "outbound")})
    place = Place.RESULT_LIMIT

    def __init__(
        self,
        *,
        bytes: int = BYTES,
        tokens: int = TOKENS,
        action: Literal["cut", "spill", "refuse"] = "cut",
        keep_bytes: int = KEEP_BYTES,
        caps: Mapping[str, ResultCap] | None = None,
        servers: Collection[str] = (),
        tools: Collection[str] = (),
        roles: Collection[str] = (),
        tenants: Collection[str] = (),
        agents: Collection[str] = (),
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        if action not in ("cut", "spill", "refuse"):
            raise ValueError(f"action is 'cut', 'spill' or 'refuse', not {action!r}")
        if keep_bytes < 1:
            raise ValueError(f"keep_bytes is at least 1, not {keep_bytes}")
        self._refuses = action == "refuse"
        self._pages = Pages(keep_bytes) if action == "spill" else None
        self.layers = frozenset({("resources/read", "outbound")}) if action == "spill" else frozenset()
        self._default = _room(ResultCap(bytes=bytes, tokens=tokens))
        self._caps = [(matcher([name]), _room(cap)) for name, cap in (caps or {}).items()]
        self._scope = Scope(servers=servers, tools=tools, roles=roles, tenants=tenants, agents=agents)
        self._schemas = OutputSchemas()

    def filter(self, call: Call, result: Result) -> Result:
        """Cut an answer, or an error's message."""
        if call.method == "tools/list":
            self._schemas.learn(call, result)
        if self._scope.match(call) is Match.NO:
            return result
        room = self._room_for(call)
        if result.error is not None:
            result = _shorter_error(result, room)
        if result.value is None or call.method in LISTINGS:
            return result
        large = _large(result.value, room)
        if not large:
            return result
        before = size(result.value).bytes
        if (self._refuses and large != [_INSTRUCTIONS]) or not _CUTTABLE.issuperset(large):
            return _withheld(call, before, "it is over the cap")
        try:
            kept = self._kept(call, result.value, large, room)
            cut = _shorter(result, large, room, before, call.target, kept)
        except RecursionError:
            return _withheld(call, before, "it is nested too deeply to be cut")
        if cut.value is None or not set(large).isdisjoint(_large(cut.value, room)):
            return _withheld(call, before, "it cannot be cut to the cap", kept)
        if not self._schemas.fits(call, result, cut):
            return _withheld(call, before, "cut to the cap it does not fit the tool's output schema", kept)
        self.host.warn(self, call, code="result_cut", reason=f"cut {before} bytes to {size(cut.value).bytes}")
        return cut

    async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
        """Answer with a page that is kept; what else is read is the server's business."""
        uri = call.params.get("uri")
        if self._pages is None or not isinstance(uri, str) or not self._pages.names(uri):
            return await call_next(call)
        page = self._pages.page(call.run, _tenant(call), uri)
        if page is None:
            why = "no such page is kept for the run and tenant of the call"
            return call.denied(code="page_gone", reason=why, message=_GONE)
        value: JSON = [{"uri": uri, "mimeType": "text/plain", "text": page}]
        return Result(outcome=Outcome.OK, fate=Fate.NOT_SENT, value={"contents": value})

    def status(self) -> Mapping[str, JSON]:
        """How many answers are kept in pages."""
        return {} if self._pages is None else {"kept": self._pages.count()}

    def _kept(self, call: Call, value: JSONObject, large: list[str], room: Size) -> Kept | None:
        """Keep the text of the large parts of an answer, if that is asked for and there is a run."""
        if self._pages is None or call.run is None or not call.enforced:
            return None
        return self._pages.keep(call.run, _tenant(call), _read(value, large), room)

    def _room_for(self, call: Call) -> Size:
        if call.method == "tools/call":
            for is_about, room in self._caps:
                if is_about(call.target or ""):
                    return room
        return self._default


def _tenant(call: Call) -> str | None:
    return None if call.principal is None else call.principal.tenant


def _read(value: JSONObject, large: list[str]) -> str:
    """The text of the large parts of an answer: that of each block, and structured content as JSON."""
    read: list[str] = []
    for name in large:
        part = value[name]
        if name == _STRUCTURED or not isinstance(part, list | tuple):
            read.append(json.dumps(mutable_copy(part), ensure_ascii=False, indent=1))
        else:
            read.extend(text for unit in part if (text := unit_text(unit)))
    return "\n".join(read)


def _room(cap: ResultCap) -> Size:
    return Size.of(cap.bytes, cap.tokens)


def _large(value: JSONObject, room: Size) -> list[str]:
    """The members of an answer that are over the cap, or are so together."""
    units = next((name for name in _UNITS if value.get(name)), "")
    large: list[str] = []
    rest = NOTHING
    for name, part in value.items():
        if name in _UNSEEN:
            is_large = size(part).bytes > room.bytes
        elif name == units:
            is_large = not shown_size(part) <= room
        elif name in (_STRUCTURED, _INSTRUCTIONS):
            is_large = not size(part) <= room
        else:
            rest += asked_size(part) if name == "inputRequests" else size(part)
            is_large = not rest <= room
        if is_large:
            large.append(name)
    return large


def _shorter(
    result: Result, large: list[str], room: Size, before: int, target: str | None, kept: Kept | None
) -> Result:
    """The answer with its large parts cut, and a word about it where the model reads."""
    value: dict[str, JSON] = dict(result.value or {})
    mark = partial(_mark, _ASK if kept is None else kept.said)
    for name in large:
        part = value[name]
        if name == _INSTRUCTIONS and isinstance(part, str):
            value[name] = shortened_text(part, room - size(""), mark)
        elif name == _STRUCTURED or not isinstance(part, list | tuple):
            value[name] = shortened(part, room, _short_mark)
        else:
            value[name] = shortened_units(part, room, mark, partial(_unit, name, target))
    content = value.get("content")
    if large == [_STRUCTURED] and isinstance(content, list | tuple):
        said = f"[The structured content of this answer was cut. {_ASK if kept is None else kept.said}]"
        value["content"] = [*content, _unit("content", target, said)]
    meta = value.get("_meta")
    told: dict[str, JSON] = {"bytes": before, "kept": size(value).bytes}
    if kept is not None:
        told |= {"uri": kept.uri, "pages": kept.pages}
    for_run: dict[str, JSON] = {} if kept is None else {RUN: True}
    value["_meta"] = {**(meta if isinstance(meta, Mapping) else {}), CUT: told, **for_run}
    return result.replace(value=value, outcome=result.outcome)


def _shorter_error(result: Result, room: Size) -> Result:
    error = result.error
    if error is None or (text_size(error.message) <= room and size(error.data) <= room):
        return result
    data = error.data if size(error.data) <= room else None
    message = shortened_text(error.message, room, partial(_mark, _ASK))
    return result.replace(error=replace(error, message=message, data=data))


def _unit(name: str, target: str | None, said: str) -> JSON:
    """A block, a resource's contents or a message that says `said`."""
    if name == "contents":
        return {"uri": target or "", "mimeType": "text/plain", "text": said}
    block: JSON = {"type": "text", "text": said}
    return block if name == "content" else {"role": "user", "content": block}


def _mark(advice: str, missing: int) -> str:
    return f"\n[Cut here: {missing:,} bytes of this answer are left out. {advice}]\n"


def _short_mark(missing: int) -> str:
    return f" [cut: {missing:,} bytes] "


def _withheld(call: Call, before: int, why: str, kept: Kept | None = None) -> Result:
    advice = _ASK if kept is None else kept.said
    return call.denied(
        code="result_too_large",
        reason=f"the answer has {before} bytes: {why}",
        message=f"The answer was too long ({before:,} bytes) and was withheld. {advice}",
    )
