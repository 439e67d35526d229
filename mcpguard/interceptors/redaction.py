"""Keep secrets and personal data from the model, or from a server: masked, dropped, refused, or held back.

It finds what shows by its form or by the name it is given (`detectors.redactor` says how). What a model would
have to understand to find, names and addresses above all, needs a detector of your own. Events are cleaned by
the guard's `Scrubber`, not here.
"""

from collections.abc import Collection, Mapping
from typing import Final, Literal, TypeAlias, Unpack

from anyio import to_thread

from mcpguard.core.call import Call
from mcpguard.core.content import ContentError, Passage, Use, rewritten, rewritten_result
from mcpguard.core.interceptor import CallNext, Common, Handles, Interceptor, Place
from mcpguard.core.result import Result
from mcpguard.core.scope import Match, Scope, matcher
from mcpguard.core.verdict import ALLOW, Deny, Rewrite, Verdict
from mcpguard.core.wire import is_notification
from mcpguard.detectors.output_schemas import OutputSchemas
from mcpguard.detectors.pii import Kind
from mcpguard.detectors.redactor import DEFAULT_PII, Detector, Redactor, mask
from mcpguard.detectors.vault import Vault

__all__ = ["Redaction"]

Direction: TypeAlias = Literal["results", "arguments"]

_RECEIVED: Final[Handles] = frozenset({("*", "inbound"), ("notifications/*", "inbound")})
_ANSWERS: Final[Handles] = frozenset(
    {("*", "outbound"), ("initialize", "outbound"), ("server/discover", "outbound")}
)
_SENT: Final[Handles] = frozenset({("*", "outbound"), ("notifications/*", "outbound")})
_REPLIES: Final[Handles] = frozenset({("*", "inbound")})

_NOTIFICATIONS: Final[Handles] = frozenset({("notifications/*", "inbound"), ("notifications/*", "outbound")})
_RESTORED: Final[Handles] = frozenset({("tools/call", "outbound")})
"""Calls in which placeholders give their values back."""

RUN: Final = "mcpguard/run"
"""Member of the `_meta` of an answer that is of use to its run alone, and is kept for no other."""

_RESULTS: Final[tuple[Direction, ...]] = ("results",)

_WITHHELD: Final = "The answer held secrets or personal data and was withheld. Do not try again."
_NOT_SENT: Final = "This call holds secrets or personal data and was not sent. Leave them out."


class Redaction(Interceptor):
    """Replace secrets and personal data in what passes, wherever in a message they are.

    Args:
        secrets: Whether tokens, private keys, passwords and other credentials are looked for.
        pii: Which personal data is looked for: `email`, `card`, `iban`, `ssn`, `ip`, `phone`.
        patterns: Further things to look for: kind to regular expression, in RE2 syntax; needs the extra
            `patterns`.
        action: `mask` puts the kind in the place, `drop` puts nothing there, `refuse` denies the message,
            `placeholder` puts a name there that gives the value back in later calls of the same run to the
            same server, or to one in `destinations`. Without a run, it masks.
        directions: `results` is all that servers send, `arguments` all that is sent to them.
        destinations: Servers that may have the values behind any placeholders; names or globs. Empty: each
            server only those that came from it.
        detectors: Further functions that find something in a text, a model for one; in Python only. They
            are called in a thread, about what the others have let pass, and may take their time; about
            notifications, which cannot wait, they are called at once.
        servers: Redact only messages of these servers; names or globs. Empty: all.
        tools: Redact only messages of calls of these tools. Empty: all, and all other methods.
        roles: Redact only messages of principals with one of these roles. Empty: all.
        tenants: Redact only messages of these tenants; names or globs. Empty: all.
        agents: Redact only messages of these agents; names or globs. Empty: all.

    Raises:
        ValueError: If a word is none of those above, or a pattern is none.
        ImportError: If there are patterns and `google-re2` is not installed.
    """

    checks = _RECEIVED
    filters = _ANSWERS
    layers: Handles | None = ()
    place = Place.PLACEHOLDERS
    check_place = Place.ARGUMENT_RULES
    filter_place = Place.REDACTION

    def __init__(
        self,
        *,
        secrets: bool = True,
        pii: Collection[Kind] = DEFAULT_PII,
        patterns: Mapping[str, str] | None = None,
        action: Literal["mask", "drop", "refuse", "placeholder"] = "mask",
        directions: Collection[Direction] = _RESULTS,
        destinations: Collection[str] = (),
        detectors: Collection[Detector] = (),
        servers: Collection[str] = (),
        tools: Collection[str] = (),
        roles: Collection[str] = (),
        tenants: Collection[str] = (),
        agents: Collection[str] = (),
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        if action not in ("mask", "drop", "refuse", "placeholder"):
            raise ValueError(f"action is 'mask', 'drop', 'refuse' or 'placeholder', not {action!r}")
        if isinstance(directions, str) or not directions or set(directions) - {"results", "arguments"}:
            raise ValueError("directions is a list of 'results' and 'arguments', one at least")
        self._redactor = Redactor(secrets=secrets, pii=pii, patterns=patterns)
        self._slow = Redactor(secrets=False, pii=(), detectors=detectors) if detectors else None
        self._action = action
        self._scope = Scope(servers=servers, tools=tools, roles=roles, tenants=tenants, agents=agents)
        self._is_destination = matcher(destinations)
        self._vault = Vault()
        self.hides = self._vault.hidden if action == "placeholder" else None
        self._schemas = OutputSchemas()
        self._reads_results = received = "results" in directions
        self._reads_arguments = sent = "arguments" in directions
        self.checks = {*(_RECEIVED if received else ()), *(_SENT if sent else ())}
        self.filters = {*(_ANSWERS if received else ()), *(_REPLIES if sent else ())}
        waits = [*self.checks, *self.filters] if detectors else []
        restores = _RESTORED if action == "placeholder" else ()
        self.layers = {one for one in (*waits, *restores) if one not in _NOTIFICATIONS}

    def check(self, call: Call) -> Verdict:
        """Redact the parameters of a request or notification."""
        if self._scope.match(call) is Match.NO:
            return ALLOW
        verdict = self._repeated(call, self._judged(call, self._redactor))
        if self._slow is None or not is_notification(call.method) or isinstance(verdict, Deny):
            return verdict
        cleaned = call.replace(params=verdict.params) if isinstance(verdict, Rewrite) else call
        after = self._judged(cleaned, self._slow)
        return verdict if after is ALLOW else after

    def _repeated(self, call: Call, verdict: Verdict) -> Verdict:
        """The verdict on a server's message, without values that were put back and that it repeats."""
        if self._action != "placeholder" or call.direction != "inbound" or isinstance(verdict, Deny):
            return verdict
        params = verdict.params if isinstance(verdict, Rewrite) else call.params
        try:
            hidden = rewritten(params, lambda passage: self._unsaid(call, passage))
        except ContentError:
            return Deny("redacted", reason="two keys become one when they are redacted", message=_NOT_SENT)
        if hidden is params or not isinstance(hidden, Mapping):
            return verdict
        return Rewrite(hidden, reason="redacted what was put back")

    def _unsaid(self, call: Call, passage: Passage) -> str:
        return passage.text if passage.use is Use.OPAQUE else self._vault.hidden(passage.text, call.run)

    def _judged(self, call: Call, redactor: Redactor) -> Verdict:
        kinds: list[str] = []
        try:
            params = redactor.params(call.params, lambda kind, value: self._sent(call, kind, value, kinds))
        except ContentError:
            return Deny("redacted", reason="two keys become one when they are redacted", message=_NOT_SENT)
        if params is call.params or not isinstance(params, Mapping):
            return ALLOW
        if self._action == "refuse" or call.replace(params=params).target != call.target:
            return Deny("redacted", reason=f"the message holds {_said(kinds)}", message=_NOT_SENT)
        return Rewrite(params, reason=f"redacted {_said(kinds)}")

    def filter(self, call: Call, result: Result) -> Result:
        """Redact an answer."""
        if call.method == "tools/list":
            self._schemas.learn(call, result)
        if self._scope.match(call) is Match.NO:
            return result
        cleaned, kinds = self._cleaned(call, result, self._redactor)
        self._tell(call, kinds)
        if self._action != "placeholder" or call.direction == "inbound" or cleaned.denial is not None:
            return cleaned
        return self._hidden(call, cleaned)

    def _hidden(self, call: Call, result: Result) -> Result:
        """An answer without values that were put back into calls and that the server repeats."""
        try:
            hidden = rewritten_result(result, lambda passage: self._unsaid(call, passage))
        except ContentError:
            return _withheld(call, "two keys become one when they are redacted")
        if hidden is result:
            return result
        if not self._schemas.fits(call, result, hidden):
            return _withheld(call, "without values that it repeats the answer does not fit the output schema")
        return _for_run(hidden)

    async def __call__(self, call: Call, call_next: CallNext, /) -> Result:
        """Ask further detectors, in a thread, and put values back where the receiver may have them."""
        if self._scope.match(call) is Match.NO:
            return await call_next(call)
        slow = self._slow if call.enforced else None
        if slow is not None and self._is_read(call, is_answer=False):
            verdict = await to_thread.run_sync(self._judged, call, slow, abandon_on_cancel=True)
            if isinstance(verdict, Deny):
                return call.denied(code=verdict.code, reason=verdict.reason, message=verdict.message)
            if isinstance(verdict, Rewrite):
                call = call.replace(params=verdict.params)
        if self._action == "placeholder":
            call = self._restored(call)
        result = await call_next(call)
        if slow is None or result.denial is not None or not self._is_read(call, is_answer=True):
            return result
        cleaned, kinds = await to_thread.run_sync(self._cleaned, call, result, slow, abandon_on_cancel=True)
        self._tell(call, kinds)
        return cleaned

    def _is_read(self, call: Call, *, is_answer: bool) -> bool:
        """Whether parameters or answer go in a direction that is looked at."""
        is_from_server = (call.direction == "inbound") is not is_answer
        return self._reads_results if is_from_server else self._reads_arguments

    def _cleaned(self, call: Call, result: Result, redactor: Redactor) -> tuple[Result, list[str]]:
        """An answer as it goes on, and the kinds of what was replaced in it."""
        kinds: list[str] = []
        try:
            redacted = redactor.result(
                result,
                lambda kind, value: self._put(
                    call, kind, value, kinds, to_server=call.direction == "inbound"
                ),
            )
        except ContentError:
            return _withheld(call, "two keys become one when they are redacted"), []
        if redacted is result:
            return result, []
        if self._action == "refuse":
            return _withheld(call, f"the answer holds {_said(kinds)}"), []
        if not self._schemas.fits(call, result, redacted):
            why = f"without {_said(kinds)} the answer does not fit the tool's output schema"
            return _withheld(call, why), []
        may_hold = self._action == "placeholder" and call.run is not None and call.direction == "outbound"
        return (_for_run(redacted) if may_hold else redacted), kinds

    def _tell(self, call: Call, kinds: list[str]) -> None:
        if kinds:
            self.host.warn(self, call, code="redacted", reason=f"redacted {_said(kinds)}")

    def _restored(self, call: Call) -> Call:
        """The call with values put back; the rules before judge it with them."""

        def treat(passage: Passage) -> str:
            if passage.use is Use.HANDLE or passage.use is Use.OPAQUE:
                return passage.text
            return self._vault.restored(passage.text, call.run, lambda origin: self._may_have(call, origin))

        if (call.method, call.direction) not in _RESTORED:
            return call
        params = rewritten(call.params, treat)
        if params is call.params or not isinstance(params, Mapping):
            return call
        return call.replace(params=params)

    def _may_have(self, call: Call, origin: str) -> bool:
        return call.server == origin or self._is_destination(call.server)

    def _sent(self, call: Call, kind: str, value: str, kinds: list[str]) -> str:
        """What stands in the place of a value that is sent: itself, where a placeholder has given it back."""
        is_restored = call.direction == "outbound" and self._vault.knows(
            value, call.run, lambda origin: self._may_have(call, origin)
        )
        if is_restored:
            return value
        return self._put(call, kind, value, kinds, to_server=call.direction == "outbound")

    def _put(self, call: Call, kind: str, value: str, kinds: list[str], *, to_server: bool) -> str:
        """What stands in the place of a value; a server gets no placeholder, which it could have put back."""
        kinds.append(kind)
        if self._action == "drop":
            return ""
        if self._action == "placeholder" and not to_server:
            return self._vault.keep(call.run, call.server, kind, value) or mask(kind, value)
        return mask(kind, value)


def _said(kinds: list[str]) -> str:
    """What was found, by kind and number."""
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds))) or "secrets"


def _for_run(result: Result) -> Result:
    """An answer marked as one that is kept for no other run, as there may be placeholders in it."""
    if result.value is None:
        return result
    meta = result.value.get("_meta")
    marked = {**(meta if isinstance(meta, Mapping) else {}), RUN: True}
    return result.replace(value={**result.value, "_meta": marked}, outcome=result.outcome)


def _withheld(call: Call, reason: str) -> Result:
    return call.denied(code="redacted", reason=reason, message=_WITHHELD)
