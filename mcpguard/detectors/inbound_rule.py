"""Rules of `InboundRequests`: what a server may ask of whom, and in what form it is passed on.

Rules change requests and judge them; how many have been made is not known here.
"""

from collections.abc import Collection, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Final

from mcpguard.core.scope import Matcher, Scope, matcher
from mcpguard.core.wire import JSON, JSONObject
from mcpguard.detectors.secret_fields import asks_for_secret
from mcpguard.detectors.uris import spelled, spellings
from mcpguard.detectors.url_rule import UrlRule

__all__ = ["ElicitationRule", "RootsRule", "SamplingRule"]

MAX_COUNT: Final = 10**9
"""The largest number of requests or tokens a rule may name."""


@dataclass(frozen=True, slots=True)
class SamplingRule:
    """What a server may have the agent's model say.

    What is not allowed is taken out of the request, except tools: a request with tools is refused.

    Args:
        servers: Names or globs of servers. Empty: all.
        roles: The principal has at least one of these; not globs. Empty: whoever.
        tenants: Names or globs of the principal's tenant. Empty: whoever.
        agents: Names or globs of the principal's agent. Empty: whoever.
        max_tokens: Tokens one request may ask for; more is lowered to it.
        per_run: Requests in one run, those of the runs inside it included.
        per_server: Requests of one server at once, for one tenant; used up, they come back over an hour.
        tokens_per_run: Tokens that all requests of a run may ask for together. None: as many.
        models: Names or globs of models that a server may hint at. Empty: preferences are taken out.
        system_prompt: Whether the server may give a system prompt.
        context: Whether the server may have other context included (`includeContext`).
        tools: Whether the server may give the model tools.
        metadata: Whether the server may give metadata for the model's provider.

    Raises:
        ValueError: If a number is below 1.
    """

    _: KW_ONLY
    servers: Collection[str] = ()
    roles: Collection[str] = ()
    tenants: Collection[str] = ()
    agents: Collection[str] = ()
    max_tokens: int = 4096
    per_run: int = 25
    per_server: int = 100
    tokens_per_run: int | None = None
    models: Collection[str] = ()
    system_prompt: bool = False
    context: bool = False
    tools: bool = False
    metadata: bool = False
    scope: Scope = field(init=False, repr=False, compare=False)
    _model: Matcher = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("max_tokens", "per_run", "per_server", "tokens_per_run"):
            _refuse_count(name, getattr(self, name))
        object.__setattr__(self, "scope", _scope(self))
        object.__setattr__(self, "_model", matcher(self.models))

    def refused(self, params: JSONObject) -> str | None:
        """Why a request is not passed on, for the record; None if it is."""
        tokens = params.get("maxTokens")
        if not isinstance(tokens, int) or isinstance(tokens, bool) or tokens < 1:
            return "it does not say how many tokens it wants"
        if not self.tools and (params.get("tools") is not None or params.get("toolChoice") is not None):
            return "it gives the model tools"
        return None

    def passed(self, params: JSONObject) -> JSONObject:
        """The request as it is passed on; the same if nothing has to be changed."""
        changes: dict[str, JSON] = {}
        out: set[str] = set()
        tokens = params.get("maxTokens")
        if isinstance(tokens, int) and tokens > self.max_tokens:
            changes["maxTokens"] = self.max_tokens
        if not self.system_prompt and params.get("systemPrompt") is not None:
            out.add("systemPrompt")
        if not self.context and params.get("includeContext") not in (None, "none"):
            changes["includeContext"] = "none"
        if not self.metadata and params.get("metadata") is not None:
            out.add("metadata")
        preferences = params.get("modelPreferences")
        if preferences is not None:
            kept = self._preferences(preferences)
            if kept is None:
                out.add("modelPreferences")
            elif kept != preferences:
                changes["modelPreferences"] = kept
        if not changes and not out:
            return params
        return {name: value for name, value in {**params, **changes}.items() if name not in out}

    def _preferences(self, preferences: JSON) -> JSONObject | None:
        if not self.models or not isinstance(preferences, Mapping):
            return None
        hints = preferences.get("hints")
        kept = [hint for hint in hints if self._is_known(hint)] if isinstance(hints, list | tuple) else []
        others = {name: value for name, value in preferences.items() if name != "hints"}
        return {**others, "hints": kept} if hints is not None else others

    def _is_known(self, hint: JSON) -> bool:
        name = hint.get("name") if isinstance(hint, Mapping) else None
        return isinstance(name, str) and self._model(name)


@dataclass(frozen=True, slots=True)
class ElicitationRule:
    """What a server may ask a person.

    Args:
        servers: Names or globs of servers. Empty: all.
        roles: The principal has at least one of these; not globs. Empty: whoever.
        tenants: Names or globs of the principal's tenant. Empty: whoever.
        agents: Names or globs of the principal's agent. Empty: whoever.
        forms: Whether it may ask by form. Forms that ask for secrets are refused all the same.
        urls: Where it may send the person. None: nowhere.
    """

    _: KW_ONLY
    servers: Collection[str] = ()
    roles: Collection[str] = ()
    tenants: Collection[str] = ()
    agents: Collection[str] = ()
    forms: bool = True
    urls: UrlRule | None = None
    scope: Scope = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.forms and self.urls is None:
            raise ValueError("a rule allows forms, urls or both; leave it out to allow none")
        object.__setattr__(self, "scope", _scope(self))

    def refused(self, params: JSONObject) -> str | None:
        """Why a request is not passed on, for the record; None if it is."""
        mode = params.get("mode", "form")
        if mode == "url":
            if self.urls is None:
                return "it sends the person to a URL"
            return (
                None
                if self.urls.admits(params.get("url"))
                else "the URL it sends the person to is not allowed"
            )
        if mode != "form" or "url" in params:
            return "it asks in a way that is not known"
        if not self.forms:
            return "it asks by form"
        return "its form asks for a secret" if asks_for_secret(params) else None


@dataclass(frozen=True, slots=True)
class RootsRule:
    """Which of the client's roots a server is told.

    Args:
        servers: Names or globs of servers. Empty: all.
        roles: The principal has at least one of these; not globs. Empty: whoever.
        tenants: Names or globs of the principal's tenant. Empty: whoever.
        agents: Names or globs of the principal's agent. Empty: whoever.
        uris: URIs or globs of roots; a root is told if it matches in every spelling that a server may take
            it for.
        names: Whether a root's own name is told.
    """

    _: KW_ONLY
    servers: Collection[str] = ()
    roles: Collection[str] = ()
    tenants: Collection[str] = ()
    agents: Collection[str] = ()
    uris: Collection[str] = ("*",)
    names: bool = True
    scope: Scope = field(init=False, repr=False, compare=False)
    _uri: Matcher = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.uris:
            raise ValueError("uris is empty, and no root would be told; leave the rule out instead")
        object.__setattr__(self, "scope", _scope(self))
        matcher(self.uris)
        object.__setattr__(self, "_uri", matcher([*spelled(self.uris)]))

    def told(self, roots: JSON) -> list[JSON]:
        """The roots that are told, as they are told."""
        found: list[JSON] = []
        for root in roots if isinstance(roots, list | tuple) else ():
            uri = root.get("uri") if isinstance(root, Mapping) else None
            if isinstance(root, Mapping) and isinstance(uri, str) and self._is_told(uri):
                found.append(root if self.names else {"uri": uri})
        return found

    def _is_told(self, uri: str) -> bool:
        read = spellings(uri)
        return read is not None and self._uri(uri) and all(map(self._uri, read))


def _scope(rule: SamplingRule | ElicitationRule | RootsRule) -> Scope:
    return Scope(servers=rule.servers, roles=rule.roles, tenants=rule.tenants, agents=rule.agents)


def _refuse_count(name: str, value: int | None) -> None:
    if value is not None and (isinstance(value, bool) or not 1 <= value <= MAX_COUNT):
        raise ValueError(f"{name} is from 1 to {MAX_COUNT}, not {value!r}")
