"""Give calls the credentials of whoever makes them: the agent holds none, and the model sees none.

A credential goes into a header, an argument that is in no schema, a field of `_meta`, or the environment a
server is started with. Headers are put on by `guard.http_auth(name=)`, the one place that sees every request;
this is where it learns which. Where tokens come from and how long they are kept stands in `tokens`.
"""

import hashlib
import os
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import Final, Unpack

import anyio

from mcpguard.core.call import Call
from mcpguard.core.errors import SeamError
from mcpguard.core.host import ALONE, Host
from mcpguard.core.interceptor import CallNext, Common, Interceptor, Place
from mcpguard.core.principal import Principal
from mcpguard.core.result import Fate, Result
from mcpguard.core.scope import Match
from mcpguard.core.verdict import ALLOW, Rewrite, Verdict
from mcpguard.core.wire import JSON, LIFECYCLE, canonical, is_notification
from mcpguard.detectors.withheld import withheld, without
from mcpguard.tokens.credential import Credential
from mcpguard.tokens.injection import injected, without_credentials
from mcpguard.tokens.purse import Purse
from mcpguard.tokens.secret import Token, TokenError
from mcpguard.tokens.sent import Sent
from mcpguard.tokens.voucher import Carried, Voucher

__all__ = ["Credential", "Credentials"]

MAX_CASES: Final = 2048
"""Uses whose rules are remembered; a client that makes up names has them looked up anew."""

MAX_REMEMBERED: Final = 256
"""Characters of a tool's name beyond which its rules are not remembered."""

FETCH_TIMEOUT: Final = 15.0
"""Seconds that a call waits for a credential."""

_MESSAGE: Final = "This cannot be used at the moment: its operator has to look at it. Go on without it."


class Credentials(Interceptor):
    """Inject what a server wants to see, for whoever calls.

    For each place, a header or an argument, the first rule that is about the call decides. A call that rules
    are about, but none for whoever makes it, is refused. What comes from a server, then or later, is cleaned
    of the credentials it was sent.

    Args:
        rules: Which credential goes where, for which servers and callers.

    Raises:
        TypeError: If `rules` holds something else.
        ValueError: If there are no rules, or `mode` is `audit`: a credential is sent or it is not.
    """

    place = Place.CREDENTIALS
    injects = True

    def __init__(self, *, rules: Sequence[Credential], **common: Unpack[Common]) -> None:
        super().__init__(**common)
        if self.mode == "audit":
            raise ValueError("credentials cannot be injected in mode 'audit': leave them out instead")
        for rule in rules:
            if not isinstance(rule, Credential):
                raise TypeError(f"rules holds Credential objects, not {type(rule).__name__}")
        if not rules:
            raise ValueError("without rules there is nothing to inject")
        self._rules = tuple(rules)
        self._vouchers: dict[str, Voucher] = {}
        self._purse = Purse(ALONE.clock)
        self._servers: dict[str, _Server] = {}
        self._cases: dict[tuple[str, str | None], Sequence[Credential]] = {}
        opening = {method for method in LIFECYCLE if not is_notification(method)}
        has_headers = any(rule.header is not None for rule in rules)
        self.layers = frozenset((method, "outbound") for method in {"*", *(opening if has_headers else ())})
        self.checks = frozenset({("*", "inbound"), ("notifications/*", "inbound")})
        hides = any(rule.argument is not None for rule in rules)
        self.filters = frozenset({("tools/list", "outbound")} if hides else ())

    def join(self, host: Host) -> None:
        """Take the guard's clock."""
        super().join(host)
        self._purse = Purse(host.clock)

    async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
        """Put the credentials of whoever calls where their rules say."""
        try:
            carried = await self._carried(call)
        except TokenError as error:
            return call.denied(
                code="credential_unavailable", reason=f"{self.label}: {error}", message=_MESSAGE
            )
        if carried is None:
            return call.denied(
                code="no_principal" if call.principal is None else "no_credential",
                reason="rules are about this call, and none for whoever makes it",
                message=_MESSAGE,
            )
        server = self._server(call.server)
        sent, has_headers = server.sent, server.has_headers
        if not carried and not has_headers:
            return withheld(await call_next(call), sent.sought)
        sent.note(carried)
        number = os.urandom(16).hex()
        voucher = Voucher(call.method, call.server, call.principal, carried)
        if has_headers:
            self._vouchers[number] = voucher
        try:
            result = await call_next(
                call.replace(params=injected(call.params, carried, number if has_headers else None))
            )
        finally:
            self._vouchers.pop(number, None)
        if not voucher.was_used and voucher.headers and result.fate is not Fate.NOT_SENT:
            self.host.warn(
                self,
                call,
                code="credential_unused",
                reason="no HTTP request carried the credential: is guard.http_auth() its client's auth?",
            )
        return withheld(result, sent.note(voucher.carried))

    def check(self, call: Call) -> Verdict:
        """Take the credentials that a server was sent out of what it asks and tells by itself."""
        params = without(call.params, self._server(call.server).sent.sought)
        return ALLOW if params is call.params else Rewrite(params, reason="it repeats a credential")

    def filter(self, call: Call, result: Result) -> Result:
        """Take arguments out of schemas that are credentials."""
        tools = None if result.value is None else result.value.get("tools")
        hiding = [
            rule for rule in self._rules if rule.argument is not None and rule.scope.has_server(call.server)
        ]
        if result.value is None or not hiding or not isinstance(tools, list | tuple):
            return result
        return result.replace(
            value={**result.value, "tools": [without_credentials(tool, hiding) for tool in tools]}
        )

    def wrapping(self, server: str, *, shared: bool, http_auth: bool) -> None:
        """Refuse to guard what would not carry its credentials."""
        rules = [rule for rule in self._rules if rule.scope.has_server(server)]
        if any(rule.header is not None for rule in rules) and not http_auth:
            raise SeamError(
                f"{self.label} puts headers on requests to {server}: build the HTTP client of its transport "
                f"with auth=guard.http_auth(name={server!r}) first"
            )
        if shared and any(rule.env is not None and rule.depends_on_caller for rule in rules):
            raise SeamError(
                f"a process has one environment: a session to {server} with a credential of somebody's in it "
                "cannot be shared"
            )

    def voucher(self, number: str, method: str) -> Voucher | None:
        """What stands behind a number that a request carries."""
        voucher = self._vouchers.get(number)
        return voucher if voucher is not None and voucher.method == method else None

    async def for_session(self, server: str, principal: Principal | None) -> Sequence[Carried]:
        """The headers of what belongs to no call: streams, endings, answers. Nobody's, where that is shared.

        Raises:
            TokenError: If a credential cannot be had.
        """
        found: dict[str, Credential] = {}
        for rule in self._rules:
            if rule.header is not None and rule.use != "calls" and rule.is_of(server, principal):
                found.setdefault(rule.header.lower(), rule)
        carried = [Carried(rule, await self._token(rule, principal)) for rule in found.values()]
        self._server(server).sent.note(carried)
        return carried

    async def renewed(self, carried: Sequence[Carried], principal: Principal | None) -> Sequence[Carried]:
        """The same credentials after the server has not accepted them.

        Raises:
            TokenError: If one cannot be had.
        """
        fresh: list[Carried] = []
        for one in carried:
            self._purse.drop(self._key(one.rule, principal), one.token)
            fresh.append(Carried(one.rule, await self._token(one.rule, principal)))
        return fresh

    async def environment(self, server: str, principal: Principal | None) -> Mapping[str, str]:
        """The variables a server is to be started with.

        Raises:
            TokenError: If a credential cannot be had, or rules are about the server and none for `principal`.
        """
        rules = [rule for rule in self._rules if rule.env is not None and rule.scope.has_server(server)]
        variables: dict[str, str] = {}
        for rule in rules:
            if rule.env is not None and rule.env not in variables and rule.is_of(server, principal):
                token = await self._token(rule, principal)
                self._server(server).sent.note([Carried(rule, token)])
                variables[rule.env] = token.secret.reveal()
        missing = {rule.env for rule in rules} - variables.keys()
        if missing:
            raise TokenError(
                f"no rule gives {(principal and principal.tenant) or 'nobody'} a credential for {server}"
            )
        return variables

    def warnings(self, servers: Collection[str]) -> Iterable[str]:
        """Rules for servers that are not declared."""
        for position, rule in enumerate(self._rules):
            if servers and not any(map(rule.scope.has_server, servers)):
                yield f"{self.label}.rules[{position}]: no declared server is meant"

    def status(self) -> Mapping[str, JSON]:
        """How many calls are under way with a credential in a header, and how much is remembered."""
        return {
            "rules": len(self._rules),
            "under_way": len(self._vouchers),
            "remembered": len(self._cases),
        }

    def has_headers(self, server: str) -> bool:
        """Whether it puts headers on requests to a server."""
        return self._server(server).has_headers

    def _server(self, name: str) -> "_Server":
        known = self._servers.get(name)
        if known is None:
            has_headers = any(rule.header is not None and rule.scope.has_server(name) for rule in self._rules)
            known = self._servers.setdefault(name, _Server(has_headers))
        return known

    async def _carried(self, call: Call) -> Sequence[Carried] | None:
        """What goes with a call; None if rules are about it, and none for whoever makes it."""
        found: dict[tuple[str, str] | None, Credential | None] = {}
        for rule in self._about(call):
            if found.get(rule.where) is None:
                found[rule.where] = rule if rule.scope.match_principal(call) is Match.YES else None
        carried: list[Carried] = []
        for one in found.values():
            if one is not None:
                key = self._key(one, call.principal)
                token = self._purse.known(key)
                if token is None:
                    token = await self._fetched(key, one, call.principal)
                carried.append(Carried(one, token))
            elif call.method not in LIFECYCLE:
                return None
        return carried

    def _about(self, call: Call) -> Sequence[Credential]:
        """The rules that put something into messages such as this, whoever sends it."""
        tool = call.target if call.method == "tools/call" else None
        key = call.server, tool
        rules = self._cases.get(key)
        if rules is None:
            rules = [
                rule
                for rule in self._rules
                if rule.where is not None and rule.use != "session" and rule.is_about(call)
            ]
            if tool is None or len(tool) <= MAX_REMEMBERED:
                if len(self._cases) >= MAX_CASES:
                    self._cases.clear()
                self._cases[key] = rules
        return rules

    async def _token(self, rule: Credential, principal: Principal | None) -> Token:
        key = self._key(rule, principal)
        token = self._purse.known(key)
        return await self._fetched(key, rule, principal) if token is None else token

    async def _fetched(self, key: Hashable, rule: Credential, principal: Principal | None) -> Token:
        with anyio.move_on_after(FETCH_TIMEOUT):
            return await self._purse.get(key, lambda: rule.source.fetch(principal))
        raise TokenError("its source takes too long")

    def _key(self, rule: Credential, principal: Principal | None) -> Hashable:
        if not rule.source.is_personal or principal is None:
            return id(rule), None
        claims = hashlib.sha256(canonical(principal.claims)).digest() if principal.claims else b""
        return id(rule), principal, claims


class _Server:
    """A server, whether headers go to it, and what it was sent."""

    __slots__ = ("has_headers", "sent")

    def __init__(self, has_headers: bool) -> None:
        self.has_headers = has_headers
        self.sent = Sent()
