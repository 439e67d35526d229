"""What a fake server offers, and its own answers in either protocol era.

MCP 2025-11-25 and older are the legacy era: a handshake, plain results. MCP 2026-07-28 is the modern one:
discovery, an envelope in every request, `resultType` and cache hints in every result. Params in, result out;
scripts, connections and requests to the client live elsewhere.
"""

import base64
import json
import re
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias, cast

from mcpguard.core.wire import LISTINGS, JSONObject, mutable_copy
from mcpguard.testing.messages import Answer, RPCError, Wire, structured

__all__ = ["LEGACY_VERSIONS", "LISTEN_METHODS", "MODERN_VERSION", "SUBSCRIPTION_ID", "Catalogue", "Era"]

Era: TypeAlias = Literal["legacy", "modern"]

LEGACY_VERSIONS: Final = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
MODERN_VERSION: Final = "2026-07-28"

META: Final = "io.modelcontextprotocol/"
SUBSCRIPTION_ID: Final = META + "subscriptionId"

LISTEN_METHODS: Final[Mapping[str, str]] = {
    "notifications/tools/list_changed": "toolsListChanged",
    "notifications/prompts/list_changed": "promptsListChanged",
    "notifications/resources/list_changed": "resourcesListChanged",
    "notifications/resources/updated": "resourceSubscriptions",
}
"""Notifications that modern servers send on `subscriptions/listen` streams only, and what asks for them."""

CACHEABLE: Final = frozenset({*LISTINGS, "resources/read", "server/discover"})

ACKNOWLEDGED: Final = frozenset({"ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"})
"""Legacy methods whose answer says nothing."""

METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
UNSUPPORTED_VERSION: Final = -32022
RESOURCE_NOT_FOUND: Final = -32002

CAPABILITIES: Final[JSONObject] = {
    "tools": {"listChanged": True},
    "prompts": {"listChanged": True},
    "resources": {"listChanged": True, "subscribe": True},
    "logging": {},
    "completions": {},
}


class Catalogue:
    """The definitions of one server and what it says of itself."""

    def __init__(self, era: Era, version: str | None, about: Wire, capabilities: JSONObject | None) -> None:
        self.era: Era = era
        self.version = version
        self.about = about
        self.capabilities = CAPABILITIES if capabilities is None else capabilities
        self.instructions: str | None = None
        self.ttl_ms = 0
        self.page_size: int | None = None
        self.is_endless = False
        self.listed: dict[str, dict[str, Wire]] = {method: {} for method in LISTINGS}
        self.unlisted: dict[str, Wire] = {}
        self.contents: dict[str, str | bytes] = {}
        self.completions: dict[str, Mapping[str, list[str]]] = {}

    def tool(self, name: str) -> Wire | None:
        """The definition of a tool, listed or not."""
        return self.listed["tools/list"].get(name) or self.unlisted.get(name)

    def template_of(self, uri: str) -> tuple[str, Wire] | None:
        """The resource template that matches `uri`, and its variables."""
        for template in self.listed["resources/templates/list"]:
            pattern = re.sub(
                r"\\\{(\\\+)?(\w+)\\\}",
                lambda found: f"(?P<{found[2]}>{'.+' if found[1] else '[^/]+'})",
                re.escape(template),
            )
            if match := re.fullmatch(pattern, uri):
                return template, match.groupdict()
        return None

    def check_envelope(self, method: str, params: Wire) -> None:
        """Refuse what a modern server refuses before it looks at the method (MCP 2026-07-28, basic)."""
        if self.era == "legacy":
            return
        served = [self.version or MODERN_VERSION]
        if method == "initialize":
            wanted = params.get("protocolVersion")
        else:
            meta: Wire = params.get("_meta") or {}
            if META + "protocolVersion" not in meta or META + "clientCapabilities" not in meta:
                raise RPCError(INVALID_PARAMS, f"{method} came without its envelope in _meta")
            wanted = meta[META + "protocolVersion"]
        if method == "initialize" or wanted not in served:
            data: Wire = {"supported": served, "requested": wanted}
            raise RPCError(UNSUPPORTED_VERSION, "Unsupported protocol version", data)

    def answer(self, method: str, params: Wire, replies: list[Wire]) -> Wire:
        """The server's own answer to a request.

        Raises:
            RPCError: If there is no such method in this era, or nothing of that name.
        """
        if method in LISTINGS:
            return self._page(method, params.get("cursor"))
        match method:
            case "tools/call":
                return self._called(params, replies)
            case "prompts/get":
                if params.get("name") not in self.listed["prompts/list"]:
                    raise RPCError(INVALID_PARAMS, f"Unknown prompt: {params.get('name')}")
                return self.result(method, params, json.dumps(replies or params.get("arguments") or {}))
            case "resources/read":
                return self._read(params["uri"])
            case "completion/complete":
                return self._completed(params)
            case "initialize" if self.era == "legacy":
                return self._introduced(params)
            case "server/discover" if self.era == "modern":
                return {"supportedVersions": [self.version or MODERN_VERSION], **self._about_itself()}
            case _ if self.era == "legacy" and method in ACKNOWLEDGED:
                return {}
            case _:
                raise RPCError(METHOD_NOT_FOUND, f"Method not found: {method}")

    def result(self, method: str, params: Wire, answer: Answer) -> Wire:
        """`answer` as a whole result; modern members that it lacks are added."""
        if isinstance(answer, str):
            text: Wire = {"type": "text", "text": answer}
            if method == "tools/call":
                result: Wire = {"content": [text]}
            elif method == "prompts/get":
                result = {"messages": [{"role": "user", "content": text}]}
            else:
                result = {"contents": [{"uri": params.get("uri"), "text": answer}]}
        else:
            result = cast("Wire", mutable_copy(answer))
        return result if self.era == "legacy" else self._modern(method, result)

    def _modern(self, method: str, result: Wire) -> Wire:
        complete = {"resultType": "complete", **result}
        if method in CACHEABLE and complete["resultType"] == "complete":
            complete = {"ttlMs": self.ttl_ms, "cacheScope": "private", **complete}
        meta = complete.get("_meta", {})
        if isinstance(meta, dict):
            complete["_meta"] = {META + "serverInfo": self.about, **cast("Wire", meta)}
        return complete

    def _about_itself(self) -> Wire:
        said: Wire = {"capabilities": self.capabilities}
        return said if self.instructions is None else {**said, "instructions": self.instructions}

    def _introduced(self, params: Wire) -> Wire:
        wanted = params.get("protocolVersion")
        version = self.version or (wanted if wanted in LEGACY_VERSIONS else LEGACY_VERSIONS[-1])
        return {"protocolVersion": version, "serverInfo": self.about, **self._about_itself()}

    def _page(self, method: str, cursor: object) -> Wire:
        items = list(self.listed[method].values())
        kind = LISTINGS[method].items
        page = 1
        if cursor is not None:
            found = re.fullmatch(r"page-(\d+)", str(cursor))
            page = int(found[1]) if found else 0
        if self.is_endless and page:
            return {kind: items, "nextCursor": f"page-{page + 1}"}
        size = self.page_size or max(len(items), 1)
        start = (page - 1) * size
        if page == 0 or (page > 1 and start >= len(items)):
            raise RPCError(INVALID_PARAMS, f"Unknown cursor: {cursor}")
        listed: Wire = {kind: items[start : start + size]}
        return listed if start + size >= len(items) else {**listed, "nextCursor": f"page-{page + 1}"}

    def _called(self, params: Wire, replies: list[Wire]) -> Wire:
        definition = self.tool(params.get("name", ""))
        if definition is None:
            raise RPCError(INVALID_PARAMS, f"Unknown tool: {params.get('name')}")
        arguments: Wire = params.get("arguments") or {}
        if "outputSchema" in definition:
            return structured(arguments)
        return self.result("tools/call", params, json.dumps(replies or arguments))

    def _read(self, uri: str) -> Wire:
        content: str | bytes
        if uri in self.listed["resources/list"]:
            content = self.contents[uri]
        elif self.template_of(uri):
            content = uri
        else:
            code = RESOURCE_NOT_FOUND if self.era == "legacy" else INVALID_PARAMS
            raise RPCError(code, f"Resource not found: {uri}", {"uri": uri})
        kind = self.listed["resources/list"].get(uri, {}).get("mimeType")
        said: Wire = {"uri": uri} if kind is None else {"uri": uri, "mimeType": kind}
        if isinstance(content, bytes):
            return {"contents": [{**said, "blob": base64.b64encode(content).decode()}]}
        return {"contents": [{**said, "text": content}]}

    def _completed(self, params: Wire) -> Wire:
        ref, argument = params["ref"], params["argument"]
        known = self.completions.get(ref.get("name") or ref.get("uri"), {})
        values = [one for one in known.get(argument["name"], []) if one.startswith(argument["value"])]
        return {"completion": {"values": values[:100], "total": len(values), "hasMore": len(values) > 100}}
