"""What becomes of a server's answers under limits: passed on, cut, or refused.

It knows what was asked and what was listed before; whether anybody waits is `watch`'s business, above. Below:
`detectors.listings`, `results` and `structured`, one question each.
"""

from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import KW_ONLY, dataclass, replace
from functools import partial
from typing import Any, Final, TypeAlias

import anyio.to_thread

from mcpguard.core.connection_limits import ConnectionLimits
from mcpguard.core.result import WireError
from mcpguard.core.wire import EMPTY, LISTINGS, JSONObject
from mcpguard.detectors.listing_text import INSIDE
from mcpguard.detectors.listings import Pages, Trail, text_in
from mcpguard.detectors.shapes import content_fault, value_fault
from mcpguard.seams import messages
from mcpguard.seams.limits.frames import Fault, fault_answer, sentence
from mcpguard.seams.limits.results import asked_version, is_definition, is_result
from mcpguard.seams.messages import Key
from mcpguard.seams.reports import Report, Said
from mcpguard.seams.structured import Structured

__all__ = ["Asked", "Left", "Listing", "Screening"]

Listing: TypeAlias = Generator[None, None, Any]
"""Makes of a listing, one definition after the other, what goes on in its place."""

Left: TypeAlias = Callable[[], Awaitable[Any]]
"""Makes of an answer what goes on in its place."""

MAX_MEASURED: Final = 2**20
"""How much of a listing that breaks a limit is searched for what breaks it, as `definition_bytes` counts."""

_MADE_UP: Final = "SSE stream"
"""How the errors begin that the SDK's HTTP transport makes up for an answer that does not come."""

_CONTENT: Final[Mapping[str, str]] = {
    "tools/call": "content",
    "prompts/get": "messages",
    "resources/read": "contents",
}


@dataclass(slots=True)
class Asked:
    """What an answer is held against.

    Args:
        id: The request's id.
        method: The protocol's method.
        trail: The pages before the one that was asked for, where it is one of a listing.
        tool: The tool that was called.
        version: The protocol's version, where that can be told.
    """

    _: KW_ONLY
    id: Key
    method: str
    trail: Trail | None
    tool: str | None
    version: str | None


class Screening:
    """What one connection's answers are held to.

    Args:
        limits: The limits.
        hit: Told of each that is hit: its name, and a sentence for the operator.
        is_parsed_here: Whether messages were parsed within the limits, so that they need not be measured.
    """

    def __init__(
        self, limits: ConnectionLimits, hit: Callable[[str, str], None], *, is_parsed_here: bool
    ) -> None:
        self._limits = limits
        self._hit = hit
        self._is_parsed_here = is_parsed_here
        self._pages = Pages(limits)
        self._structured = Structured(limits.definitions)
        self.listing: Listing | None = None
        self.left: Left | None = None
        self._version: str | None = None
        """The protocol's version, where the handshake has agreed on one."""

    def asked(self, body: Any) -> Asked:
        """What the answer to a request will be held against."""
        method: str = body.method
        params: JSONObject = body.params or EMPTY
        tool = params.get("name") if method == "tools/call" else None
        return Asked(
            id=body.id,
            method=method,
            trail=self._pages.trail(method, params.get("cursor")) if method in LISTINGS else None,
            tool=tool if isinstance(tool, str) else None,
            version=asked_version(method, params, self._version),
        )

    def answer(self, item: Any, body: Any, asked: Asked) -> Any:
        """The answer to a request as it goes on, or an error in its place."""
        limit: str | None = None
        if not self._is_parsed_here:
            item, body, limit = self._measured(item, body, asked)
        listed = _CONTENT.get(asked.method)
        if limit is None and listed is not None and listed in body.result:
            limit = content_fault(body.result[listed], self._limits.content_blocks)
        if limit is None and not is_result(asked.method, asked.version, body.result):
            limit = "malformed"
        if limit is not None:
            self._hit(limit, f"the answer to {asked.method} was refused: {sentence(limit)}")
            return fault_answer(Fault(limit, asked.id, is_answer=True), asked.id)
        if asked.trail is not None:
            self.listing = self._listed(item, body, asked, asked.trail)
        elif asked.method == "initialize":
            agreed = body.result.get("protocolVersion")
            self._version = agreed if isinstance(agreed, str) else None
        elif asked.tool is not None:
            checked = self._structured.checked(asked.tool, body.result)
            if checked is not body.result:
                return self._broken(body.id, checked)
            if self._structured.left is not None:
                self.left = partial(self._finished, item, body, self._structured.left)
        return item

    def _measured(self, item: Any, body: Any, asked: Asked) -> tuple[Any, Any, str | None]:
        """An answer that somebody else parsed, and the limit it breaks; a listing loses what does."""
        limit = value_fault(body.result, self._limits)
        if asked.trail is None or limit is None:
            return item, body, limit
        listing = LISTINGS[asked.method].items
        items = body.result.get(listing)
        if not isinstance(items, list) or len(items) > self._limits.definitions:
            return item, body, limit
        inside = replace(self._limits, depth=max(1, self._limits.depth - INSIDE + 1))
        kept: list[Any] = []
        spent = 0
        for one in items:
            size = text_in(one, inside.definition_bytes)
            spent += min(size, inside.definition_bytes)
            if spent > MAX_MEASURED:
                return item, body, limit
            is_large = size > inside.definition_bytes
            kept.append("definition_bytes" if is_large else value_fault(one, inside) or one)
        result = {**body.result, listing: kept}
        if value_fault(result, self._limits) is not None:
            return item, body, limit
        item = messages.response(body.id, result)
        return item, messages.body_of(item), None

    def error(self, item: Any, body: Any) -> Any:
        """An error as it goes on: no report of ours that is not ours."""
        given = body.error.data
        if isinstance(given, Report):
            return item
        data = Report.taken(given)
        limit = None if self._is_parsed_here else value_fault(data, self._limits)
        if limit is not None:
            self._hit(limit, f"the data of an error was left out: {sentence(limit)}")
            data = None
        if data is not given:
            item = messages.error(body.id, WireError(body.error.code, body.error.message, data))
            body = messages.body_of(item)
        if not isinstance(data, Report) and not body.error.message.startswith(_MADE_UP):
            body.error.message = Said(body.error.message)
        return item

    def take_listing(self) -> Listing | None:
        """What the answer of the moment is made into, where it is a listing: step by step."""
        listing, self.listing = self.listing, None
        return listing

    def _listed(self, item: Any, body: Any, asked: Asked, trail: Trail) -> Listing:
        judge = partial(self._judged, asked.method, asked.version)
        shown, broken = yield from self._pages.screening(asked.method, trail, body.result, judge)
        for name in broken:
            self._hit(name, f"{asked.method} was cut: {sentence(name)}")
            yield
        return item if shown is body.result else messages.response(body.id, shown)

    def take_left(self) -> Left | None:
        """What is left to do with the answer of the moment, in a thread, before it is passed on."""
        left, self.left = self.left, None
        return left

    async def _finished(self, item: Any, body: Any, check: Callable[[JSONObject], JSONObject]) -> Any:
        """The answer as it goes on."""
        checked = await anyio.to_thread.run_sync(check, body.result)
        return item if checked is body.result else self._broken(body.id, checked)

    def _broken(self, id: Key, result: JSONObject) -> Any:
        """The answer in the place of one that is not what was promised."""
        self._hit("structured_content", "a result is not what the tool's output schema promises")
        return messages.response(id, result)

    def _judged(self, method: str, version: str | None, definition: JSONObject) -> JSONObject | str:
        """A definition as it may be shown; what the SDK cannot read would cost the whole listing."""
        if not is_definition(method, version, definition):
            return "malformed"
        if method != "tools/list":
            return definition
        shown = self._structured.learn(definition)
        if shown is not definition:
            self._hit("output_schema", "a tool's output schema cannot be used safely, and is not shown")
        return shown
