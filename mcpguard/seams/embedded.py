"""What a modern server asks for inside its answer (MCP 2026-07-28): judged when it arrives.

The checks of the inbound chain see every embedded request before the client does, on every seam. What they
refuse the guard answers itself, in the round that follows: a refused elicitation is declined, refused roots
are empty. Refused sampling refuses the call.
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from mcpguard.core.call import Call
from mcpguard.core.result import Denial, Fate, Result
from mcpguard.core.wire import EMPTY, JSON, JSONObject
from mcpguard.seams.render import inbound_answer
from mcpguard.seams.rounds import Continuation, Rounds, own_state

__all__ = ["Judge", "screened", "with_answers"]

Judge: TypeAlias = Callable[[Call, str, JSONObject], JSONObject | Denial]
"""Judges one embedded request of a call, by method: the request as it is handed on, or why it is not."""


def screened(call: Call, result: Result, rounds: Rounds, judge: Judge) -> Result:
    """The `input_required` result as the client gets it; what it asked is remembered in `rounds`."""
    value = EMPTY if result.value is None else result.value
    state = value.get("requestState")
    state = state if isinstance(state, str) else None
    requests = value.get("inputRequests")
    waiting = Continuation(call, state=state)
    kept: dict[str, JSON] = {}
    for key, request in requests.items() if isinstance(requests, Mapping) else ():
        method = request.get("method") if isinstance(request, Mapping) else None
        if not isinstance(request, Mapping) or not isinstance(method, str):
            kept[key] = request
            continue
        judged = judge(call, method, request)
        if not isinstance(judged, Denial):
            kept[key] = judged
            waiting.asked[key] = method
            continue
        answer = inbound_answer(method)
        if answer is None:
            return Result.denied(judged, fate=Fate.ANSWERED)
        waiting.answers[key] = answer
    if not waiting.answers and not _differs(kept, requests):
        rounds.expect(waiting, state)
        return result
    shown = state if kept or state is not None else own_state()
    changed: dict[str, JSON] = {k: v for k, v in value.items() if k != "inputRequests"}
    if kept:
        changed["inputRequests"] = kept
    if shown is not None:
        changed["requestState"] = shown
    rounds.expect(waiting, shown)
    return result.replace(value=changed)


def with_answers(params: JSONObject, resumed: Continuation) -> JSONObject:
    """The continuation as the server expects it: with the guard's own answers, under the server's state."""
    if not resumed.answers:
        return params
    given = params.get("inputResponses")
    answers: dict[str, JSON] = {**(given if isinstance(given, Mapping) else {}), **resumed.answers}
    changed: dict[str, JSON] = {**params, "inputResponses": answers}
    if resumed.state is None:
        changed.pop("requestState", None)
    return changed


def _differs(kept: Mapping[str, JSON], requests: JSON) -> bool:
    if not isinstance(requests, Mapping):
        return False
    return any(kept.get(key) is not request for key, request in requests.items())
