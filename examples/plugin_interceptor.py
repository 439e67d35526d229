"""An interceptor as a plugin: the class, what its `pyproject.toml` says, and a guard that runs it.

Run it with `python plugin_interceptor.py`. Once it is installed with the entry point

    [project.entry-points."mcpguard.interceptors"]
    text_only = "plugin_interceptor:TextOnly"

a policy file may say `text_only: {keep: [image/svg+xml]}`.
"""

from collections.abc import Collection, Mapping
from typing import Unpack

import anyio
from mcp import ClientSession

from mcpguard import JSON, Call, Common, Guard, Interceptor, JSONObject, Place, Result
from mcpguard.testing import FakeServer, check_interceptor

__all__ = ["TextOnly"]

PICTURES = frozenset({"image", "audio"})
"""Types of content that a model which reads text cannot use."""


class TextOnly(Interceptor):
    """Put a sentence in place of images and sound in what tools return.

    Structured content is left as it is, and so are resources, whatever they hold.

    Args:
        keep: MIME types that stay. Empty: none.
    """

    handles = frozenset({("tools/call", "outbound")})
    place = Place.RESULT_LIMIT

    def __init__(self, *, keep: Collection[str] = (), **common: Unpack[Common]) -> None:
        super().__init__(**common)
        self.keep = frozenset(keep)
        self._replaced = 0

    def filter(self, call: Call, result: Result) -> Result:
        """Replace what cannot be read; the same object where there is nothing to replace."""
        content = None if result.value is None else result.value.get("content")
        if result.value is None or not isinstance(content, list | tuple):
            return result
        shown = [self._sentence(item) if self._is_unread(item) else item for item in content]
        if shown == list(content):
            return result
        self._replaced += 1
        return result.replace(value={**result.value, "content": shown})

    def status(self) -> Mapping[str, JSON]:
        """How many results were changed."""
        return {"results_changed": self._replaced}

    def _is_unread(self, item: JSON) -> bool:
        return (
            isinstance(item, Mapping)
            and item.get("type") in PICTURES
            and item.get("mimeType") not in self.keep
        )

    def _sentence(self, item: JSON) -> JSONObject:
        kind = item.get("type") if isinstance(item, Mapping) else None
        return {"type": "text", "text": f"[{kind} left out: it cannot be read here]"}


async def main() -> None:
    """Check the class against the contract, then let a guard run it."""
    await check_interceptor(TextOnly)

    picture = {"type": "image", "data": "aGVsbG8=", "mimeType": "image/png"}
    server = FakeServer("studio")
    server.tool("draw").returns({"content": [{"type": "text", "text": "A cat."}, picture]})

    guard = Guard([TextOnly()])
    async with server.connect() as (read, write):
        session = guard.session(ClientSession(read, write), name="studio")
        async with session:
            await session.initialize()
            result = await session.call_tool("draw", {})
    for block in result.content:
        print(block.model_dump()["text"])
    print(guard.status()["interceptors"])


if __name__ == "__main__":
    anyio.run(main)
