"""One rule of `Credentials`: which credential goes where, for which servers and callers."""

import re
from collections.abc import Collection
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Final, Literal

from mcpguard.core.call import Call
from mcpguard.core.principal import Principal
from mcpguard.core.scope import Match, Matcher, Scope, matcher
from mcpguard.tokens.oauth import ClientCredentials, TokenExchange
from mcpguard.tokens.secret import Secret
from mcpguard.tokens.source import Asked, Called, Environment, File, Keyring, Source, Static

__all__ = ["Credential"]

_PLACES: Final = ("header", "argument", "meta", "env")
_SOURCES: Final = (
    "environment",
    "file",
    "keyring",
    "client_credentials",
    "token_exchange",
    "secret",
    "function",
)
_FIELD_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A header field's name (RFC 9110, 5.1)."""

_FRAMING: Final = frozenset(
    {"host", "content-length", "content-type", "transfer-encoding", "connection", "cookie"}
)
_OUR_META: Final = ("mcpguard/", "io.modelcontextprotocol/", "progressToken")


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential, where it goes, and for whom. One place and one source.

    Args:
        servers: Names or globs of the servers it is for. Not empty.
        tools: Send it with calls of these tools only; names or globs. Empty: with every request.
        roles: For principals with one of these roles. Empty: for all.
        tenants: For these tenants; names or globs. Empty: for all.
        agents: For these agents; names or globs. Empty: for all.
        header: Put it into this HTTP header.
        scheme: What stands before it there, and a blank. Empty: nothing does.
        argument: Put it into this argument of tools, which leaves their schemas.
        meta: Put it into this field of `_meta`.
        env: Put it into this variable of the environment that a server is started with.
        environment: It is the value of this variable of the program's own environment.
        file: It is the text of this file, read again after a minute.
        keyring: It is an entry of the operating system's keyring.
        client_credentials: It is a token for the program.
        token_exchange: It is a token in exchange for the caller's own.
        secret: It is this; in Python only.
        function: It is what this gives for whoever calls; in Python only.
        use: Of a header: with `calls` only, with what belongs to no call only (`session`: streams,
            endings), or `both`.

    Raises:
        ValueError: If `servers` is empty, there is not one place and one source, or the place cannot have
            such a name.
    """

    _: KW_ONLY
    servers: Collection[str]
    tools: Collection[str] = ()
    roles: Collection[str] = ()
    tenants: Collection[str] = ()
    agents: Collection[str] = ()
    header: str | None = None
    scheme: str = "Bearer"
    argument: str | None = None
    meta: str | None = None
    env: str | None = None
    environment: str | None = None
    file: Path | None = None
    keyring: Keyring | None = None
    client_credentials: ClientCredentials | None = None
    token_exchange: TokenExchange | None = None
    secret: Secret | None = None
    function: Asked | None = None
    use: Literal["calls", "session", "both"] = "both"
    scope: Scope = field(init=False, repr=False, compare=False)
    source: Source = field(init=False, repr=False, compare=False)
    where: tuple[str, str] | None = field(init=False, repr=False, compare=False)
    """Kind and name of the place in a message; None for an environment."""
    _tool: Matcher | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.servers:
            raise ValueError("servers is empty: a credential is for servers that are named")
        places = [name for name in _PLACES if getattr(self, name) is not None]
        if len(places) != 1:
            raise ValueError(f"a credential goes to one of {', '.join(_PLACES)}; got {places or 'none'}")
        sources = [name for name in _SOURCES if getattr(self, name) is not None]
        if len(sources) != 1:
            raise ValueError(f"a credential is one of {', '.join(_SOURCES)}; got {sources or 'none'}")
        if self.use not in ("calls", "session", "both"):
            raise ValueError(f"use is 'calls', 'session' or 'both', not {self.use!r}")
        self._check_place(places[0], getattr(self, places[0]))
        scope = Scope(servers=self.servers, roles=self.roles, tenants=self.tenants, agents=self.agents)
        where = None if places[0] == "env" else (places[0], getattr(self, places[0]).lower())
        for name, value in (
            ("scope", scope),
            ("source", self._source()),
            ("where", where),
            ("_tool", matcher(self.tools) if self.tools else None),
        ):
            object.__setattr__(self, name, value)

    @property
    def depends_on_caller(self) -> bool:
        """Whether it is another for another principal."""
        return self.scope.needs_principal or self.source.is_personal

    def is_about(self, call: Call) -> bool:
        """Whether it goes with a call, whoever makes it."""
        if not self.scope.has_server(call.server):
            return False
        if self.argument is not None or self._tool is not None:
            target = call.target if call.method == "tools/call" else None
            return target is not None and self.is_about_tool(target)
        return True

    def is_about_tool(self, name: str) -> bool:
        """Whether it goes with calls of a tool."""
        return self._tool is None or self._tool(name)

    def is_of(self, server: str, principal: Principal | None) -> bool:
        """Whether it is this principal's, or anybody's where nobody is known, for what is no tool's call."""
        if self._tool is not None or not self.scope.has_server(server):
            return False
        if principal is None and self.source.is_personal:
            return False
        asked = Call(id="session", method="session", server=server, principal=principal)
        return self.scope.match_principal(asked) is Match.YES

    def _source(self) -> Source:
        if self.environment is not None:
            return Environment(self.environment)
        if self.file is not None:
            return File(self.file)
        if self.secret is not None:
            return Static(self.secret)
        if self.function is not None:
            return Called(self.function)
        source = self.keyring or self.client_credentials or self.token_exchange
        if source is None:
            raise ValueError("a credential has a source")
        return source

    def _check_place(self, place: str, name: str) -> None:
        if not name:
            raise ValueError(f"{place} must not be empty")
        if place == "header" and (_FIELD_NAME.fullmatch(name) is None or name.lower() in _FRAMING):
            raise ValueError(f"{name!r} is no header that a credential can stand in")
        if place == "header" and self.scheme and _FIELD_NAME.fullmatch(self.scheme) is None:
            raise ValueError("scheme is one word, such as Bearer, or empty")
        if place == "header" and name.lower().startswith("mcp-"):
            raise ValueError(f"{name!r} is the protocol's own header")
        if place == "meta" and name.startswith(_OUR_META):
            raise ValueError(f"{name!r} is the protocol's own field")
        if place == "env" and ("=" in name or "\0" in name):
            raise ValueError("env is the name of a variable")
        if place != "header" and self.use != "both":
            raise ValueError("use is about headers")
