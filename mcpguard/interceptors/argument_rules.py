"""Say what arguments must be: by value, range, pattern, folder, URL, condition, or the tool's own schema.

Who may call what is `Access`'s business, and where a value came from `FlowControl`'s. Nothing is changed: a
call's arguments are accepted or not.
"""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, Literal, Unpack

from mcpguard.core.call import Call
from mcpguard.core.interceptor import Common, Interceptor, Place
from mcpguard.core.scope import Match, matcher
from mcpguard.core.tool_facts import ToolFacts
from mcpguard.core.verdict import ALLOW, Ask, Deny, Verdict
from mcpguard.core.wire import JSON
from mcpguard.detectors.accepted import Accepted
from mcpguard.detectors.argument_rule import ArgumentRule
from mcpguard.detectors.condition import Held
from mcpguard.detectors.path_rule import PathRule
from mcpguard.detectors.selector import MISSING, Selector
from mcpguard.detectors.tool_schema import ToolSchema, UnusableSchema
from mcpguard.detectors.url_rule import UrlRule

__all__ = ["Accepted", "ArgumentRule", "ArgumentRules", "PathRule", "UrlRule"]

MAX_CASES: Final = 2048
"""Uses whose rules are remembered; a client that makes up names has them looked up anew."""

MAX_REMEMBERED: Final = 256
"""Characters of a name beyond which its rules are not remembered."""

MAX_SCHEMAS: Final = 1024
"""Compiled schemas that are kept."""

_MESSAGE: Final = "This call's arguments are not acceptable"


class ArgumentRules(Interceptor):
    """Accept or refuse a call by its arguments; the first rule that is about it decides.

    A rule is about a call by server, tool or prompt, caller and condition. Then every argument it names must
    be there and be accepted, each element of a list included; else the call is refused, whatever further
    rules say. Calls that no rule is about are decided by `default`.

    A condition that reads a field which is not there does not make an `allow` rule match, and makes an
    `ask` or `deny` rule match; where that leaves a call with no rule at all, it is refused. A condition that
    cannot be evaluated refuses the call.

    Args:
        rules: In order.
        default: What happens to a call that no rule is about.
        schema: Whether arguments must also fit the schema that the tool itself declares, rules or not.

    Raises:
        TypeError: If `rules` holds something else than rules.
        ValueError: If there is nothing to enforce, `default` is neither word, or the extra `rules` is needed
            and not installed.
    """

    handles = frozenset({("tools/call", "outbound"), ("prompts/get", "outbound")})
    place = Place.ARGUMENT_RULES

    def __init__(
        self,
        *,
        rules: Sequence[ArgumentRule] = (),
        default: Literal["allow", "deny"] = "allow",
        schema: bool = False,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(**common)
        if default not in ("allow", "deny"):
            raise ValueError(f"default is 'allow' or 'deny', not {default!r}")
        for position, rule in enumerate(rules):
            if not isinstance(rule, ArgumentRule):
                raise TypeError(f"rules[{position}] is an ArgumentRule, not {type(rule).__name__}")
        if not rules and not schema and default == "allow":
            raise ValueError("there is nothing to enforce: give rules, schema=True or default='deny'")
        if schema:
            ToolSchema({})  # without its extra it fails now, not at the first call
        self.rules = tuple(rules)
        self.default = default
        self.schema = schema
        self.needs_tool = schema
        self.can_ask = any(rule.effect == "ask" for rule in rules)
        self._entries = tuple(
            _Entry(rule, f"{self.label}.rules[{position}]") for position, rule in enumerate(rules)
        )
        self._cases: dict[tuple[str, str, str], Sequence[_Entry]] = {}
        self._schemas: dict[tuple[str, str], tuple[ToolFacts, ToolSchema | Deny]] = {}
        self._otherwise: Verdict = ALLOW
        if default == "deny":
            self._otherwise = _refused("arguments_denied", f"no rule of {self.label} is about it")

    def check(self, call: Call) -> Verdict:
        """Judge the call's arguments by the first rule that is about it, and by the tool's schema."""
        name = call.params.get("name")
        arguments = call.params.get("arguments")
        if not isinstance(name, str) or not (arguments is None or isinstance(arguments, (dict, Mapping))):
            return _MALFORMED
        verdict = self._judged(call, name)
        if verdict is ALLOW or isinstance(verdict, Ask):
            mismatch = self._mismatch(call) if self.schema and call.method == "tools/call" else None
            return verdict if mismatch is None else mismatch
        return verdict

    def warnings(self, servers: Collection[str]) -> Iterable[str]:
        """Rules that can never match, as far as that is certain."""
        for position, entry in enumerate(self._entries):
            for name in entry.rule.servers:
                if servers and not any(map(matcher([name]), servers)):
                    yield f"{entry.where}: no declared server is called {name!r}"
            wide = next((one for one in self._entries[:position] if one.takes_all_of(entry)), None)
            if wide is not None:
                yield f"{entry.where} can never match: {wide.where} decides about the same calls before it"

    def status(self) -> Mapping[str, JSON]:
        """How much is remembered."""
        return {"remembered": len(self._cases), "schemas": len(self._schemas)}

    def _judged(self, call: Call, name: str) -> Verdict:
        key = (call.server, call.method, name)
        entries = self._cases.get(key)
        if entries is None:
            entries = self._remember(key)
        unclear: _Entry | None = None
        for entry in entries:
            if entry.is_narrow:
                about = entry.about(call)
                if isinstance(about, Deny):
                    return about
                if about is not Held.YES:
                    unclear = entry if about is Held.MISSING else unclear
                    continue
            return entry.verdict(call)
        return self._otherwise if unclear is None else unclear.unclear

    def _remember(self, key: tuple[str, str, str]) -> Sequence["_Entry"]:
        found = tuple(entry for entry in self._entries if entry.rule.covers(*key))
        if len(key[2]) <= MAX_REMEMBERED:
            if len(self._cases) >= MAX_CASES:
                self._cases.clear()
            self._cases[key] = found
        return found

    def _mismatch(self, call: Call) -> Deny | None:
        facts = call.tool
        if facts is None:
            return _refused("tool_unknown", "the tool's definition is not known")
        key = (call.server, facts.name)
        known = self._schemas.get(key)
        if known is None or known[0] is not facts:
            known = (facts, _compiled(facts))
            if len(self._schemas) >= MAX_SCHEMAS:
                self._schemas.clear()
            self._schemas[key] = known
        schema = known[1]
        if isinstance(schema, Deny):
            return schema
        what = schema.mismatch(call.arguments)
        if what is None:
            return None
        return _refused(
            "schema_mismatch", "they do not fit the tool's schema", f"{what} of the tool's schema"
        )


class _Entry:
    """A rule in its list, with its refusals made beforehand."""

    __slots__ = (
        "_checks",
        "_unexpected",
        "_unknown",
        "failed",
        "is_narrow",
        "nobody",
        "rule",
        "unclear",
        "where",
    )

    def __init__(self, rule: ArgumentRule, where: str) -> None:
        self.rule = rule
        self.where = where
        self.is_narrow = rule.caller.needs_principal or rule.condition is not None
        self.nobody = _refused("no_principal", f"{where} depends on who calls, and nobody said")
        self.failed = _refused("condition_failed", f"the condition of {where} could not be evaluated")
        self.unclear = _refused("condition_unknown", f"the condition of {where} reads what is not there")
        names = ", ".join(sorted(rule.names)) or "none"
        self._unexpected = _refused(
            "argument_unexpected", f"{where} accepts no others", f"accepted are {names}"
        )
        self._checks = tuple(
            (selector, wanted.test(os.path.realpath), wanted.optional, *_said(selector, wanted, where))
            for selector, wanted in rule.accepted
        )

    def about(self, call: Call) -> Held | Deny:
        """Whether the rule is about whoever makes `call` and holds for it."""
        match = self.rule.caller.match_principal(call)
        if match is not Match.YES:
            return Held.NO if match is Match.NO else self.nobody
        condition = self.rule.condition
        if condition is None:
            return Held.YES
        held = condition.held(call)
        if held is Held.FAILED:
            return self.failed
        if held is Held.MISSING and self.rule.effect != "allow":
            return Held.YES
        return held

    def verdict(self, call: Call) -> Verdict:
        """What the rule says of a call it is about."""
        if self.rule.effect == "deny":
            return _refused("arguments_denied", f"{self.where} is about it")
        rule, arguments = self.rule, call.arguments
        if rule.only and not arguments.keys() <= rule.names:
            return self._unexpected
        for selector, is_accepted, is_optional, refused, missing in self._checks:
            for value in selector.select(arguments):
                if value is MISSING:
                    if not is_optional:
                        return missing
                elif not is_accepted(value):
                    return refused
        if rule.effect == "ask":
            return Ask("arguments_need_approval", reason=f"{self.where} is about it")
        return ALLOW

    def takes_all_of(self, other: "_Entry") -> bool:
        """Whether no call gets past this rule that the other is about, for certain."""
        if self.is_narrow or bool(self.rule.prompts) != bool(other.rule.prompts):
            return False
        return all(
            not mine or "*" in mine or (bool(others) and set(others) <= set(mine))
            for mine, others in (
                (self.rule.servers, other.rule.servers),
                (self.rule.tools, other.rule.tools),
                (self.rule.prompts, other.rule.prompts),
            )
        )


def _said(selector: Selector, wanted: Accepted, where: str) -> tuple[Deny, Deny]:
    described = wanted.described()
    return (
        _refused(
            "argument_refused",
            f"{where} does not accept what {selector.text} is",
            f"{selector.text} must be {described}",
        ),
        _refused(
            "argument_missing", f"{where} wants {selector.text}", f"{selector.text} is required: {described}"
        ),
    )


def _compiled(facts: ToolFacts) -> ToolSchema | Deny:
    try:
        return ToolSchema(facts.input_schema)
    except UnusableSchema as error:
        return _refused("schema_unusable", str(error))


def _refused(code: str, reason: str, accepted: str | None = None) -> Deny:
    message = f"{_MESSAGE}." if accepted is None else f"{_MESSAGE}: {accepted}."
    return Deny(code, reason=reason, message=message)


_MALFORMED: Final = _refused("arguments_malformed", "its name is no text or its arguments are no object")
