"""What `ArgumentRules` says of a recorded call, without its arguments and its caller's roles."""

from mcpguard.core.call import Call
from mcpguard.core.scope import Match, Scope
from mcpguard.core.verdict import Verdict
from mcpguard.detectors.argument_rule import ArgumentRule
from mcpguard.interceptors.argument_rules import ArgumentRules

__all__ = ["certain"]


def certain(one: ArgumentRules, call: Call) -> Verdict | None:
    """The verdict on `call`, whatever its arguments and its caller's roles; None if it depends on them."""
    if one.schema and call.method == "tools/call":
        return None
    for rule in one.rules:
        if not rule.covers(call.server, call.method, call.target) or _is_of_others(rule, call):
            continue
        if rule.roles or rule.when is not None or rule.arguments or rule.only:
            return None
        break
    return one.check(call)


def _is_of_others(rule: ArgumentRule, call: Call) -> bool:
    """Whether whoever makes `call` is none of those the rule is about, whatever their roles."""
    return Scope(tenants=rule.tenants, agents=rule.agents).match_principal(call) is Match.NO
