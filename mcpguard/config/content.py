"""The shape of a policy file: what stands at its top, beside the sections that others define."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from mcpguard.core.connection_limits import ConnectionLimits
from mcpguard.core.http_limits import HTTPLimits
from mcpguard.core.linked import OnDeny
from mcpguard.core.servers import ServerOptions

__all__ = ["SCHEMA_KEY", "Anonymous", "Content", "OnDeny", "ServerOptions"]

Anonymous: TypeAlias = Literal["deny", "allow"]

SCHEMA_KEY: Final = "$schema"
"""The one key that is for editors and says nothing: a JSON file has no other way to name its schema."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A policy of mcpguard: which interceptors stand around MCP sessions, and where the audit goes.

    Args:
        version: The version of the format: 1.
        servers: The servers by the names they are wrapped with. Rules that name another server are warned of.
        interceptors: One section for each interceptor: its options, or a list for several of a kind. They run
            in the canonical order, whatever the order here.
        audit: Where events go: a list of sinks, each a mapping from the sink's name to its options.
        store: Where limits keep what has been used: `memory://`, `sqlite:///file` (a relative path starts
            from this file's folder), `redis://host:port/number`. Not given: in this process's memory.
        on_deny: `result` answers a denied tool call with an error result the model can read; `raise` raises.
        anonymous: Whether a rule about principals denies a call that has none, or just does not match it.
        connection: What a server may send and how long it may keep anybody waiting. Left out: no limits; an
            empty mapping: the defaults.
        principals: What says on whose behalf a request is made: `jwt`, with the options of `Tokens`.
        http: Who may reach `mcpguard serve --http`, and how much they may take.
    """

    version: Literal[1]
    servers: Mapping[str, ServerOptions] = field(default_factory=dict[str, ServerOptions])
    interceptors: Mapping[str, object] = field(default_factory=dict[str, object])
    audit: Sequence[Mapping[str, object]] = ()
    store: str | None = field(default=None, repr=False)
    on_deny: OnDeny = "result"
    anonymous: Anonymous = "deny"
    connection: ConnectionLimits | None = None
    principals: Mapping[str, object] = field(default_factory=dict[str, object])
    http: HTTPLimits = field(default_factory=HTTPLimits)
