"""Detectors of one's own in Redaction: asked where they keep nobody waiting, and held to what all others are."""

import re
import threading
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from chains import OK, Wire, linked, tool_call
from seeds import FORMATS, token

from mcpguard import Call, Finding, Redaction, Result, Rewrite, Run
from mcpguard.core.wire import canonical
from mcpguard.testing import RecordingSink

pytestmark = pytest.mark.anyio

TOKEN = token(next(one for one in FORMATS if one.kind == "github_token"))


class Names:
    """Finds one name; remembers the threads it was asked in and what it saw."""

    def __init__(self) -> None:
        self.threads: set[int] = set()
        self.seen: list[str] = []

    def __call__(self, text: str) -> Iterator[Finding]:
        self.threads.add(threading.get_ident())
        self.seen.append(text)
        return (Finding(*found.span(), "person") for found in re.finditer("Ada Lovelace", text))


def block(*texts: str) -> dict[str, Any]:
    """A tool's answer, a block for each text."""
    return {"content": [{"type": "text", "text": text} for text in texts]}


async def answered(one: Redaction, *texts: str, **more: Any) -> Result:
    """What comes out of a chain with nothing else."""
    return await linked(one).chain("tools/call", "outbound")(
        tool_call(**more), Wire(Result.of(block(*texts)))
    )


async def test_a_detector_finds_what_no_pattern_knows_and_the_loop_does_not_wait_for_it() -> None:
    """A model takes milliseconds; it sees nothing of what has been replaced already."""
    names = Names()
    result = await answered(Redaction(detectors=[names]), f"Ada Lovelace has {TOKEN}.", "Ada Lovelace")
    assert result.value == block("[REDACTED:person] has [REDACTED:github_token].", "[REDACTED:person]")
    assert threading.get_ident() not in names.threads
    assert not any(TOKEN in text for text in names.seen)
    assert (await answered(Redaction(), "Ada Lovelace")).value == block("Ada Lovelace")


async def test_what_it_finds_is_withheld_where_that_is_the_action() -> None:
    """The kind and number are told, and not the name."""
    denial = (await answered(Redaction(detectors=[Names()], action="refuse"), "by Ada Lovelace")).denial
    assert denial is not None
    assert (denial.code, denial.reason) == ("redacted", "the answer holds 1 person")
    assert "Lovelace" not in denial.message


@pytest.mark.parametrize("action", ["mask", "refuse"])
async def test_what_is_sent_is_looked_at_only_where_that_is_asked_for(action: Any) -> None:
    """In arguments of any shape, before the server has them."""
    for directions, passes in ((("results",), True), (("results", "arguments"), False)):
        sent = Wire(OK)
        one = Redaction(detectors=[Names()], action=action, directions=directions)
        result = await linked(one).chain("tools/call", "outbound")(tool_call(to=["Ada Lovelace"]), sent)
        assert any("Lovelace" in canonical(params).decode() for params in sent.params) is passes
        assert (result.denial is not None) is (action == "refuse" and not passes)


async def test_a_placeholder_for_what_it_finds_gives_the_value_back() -> None:
    """Found by a detector or by a pattern makes no difference."""
    one, run = (
        Redaction(detectors=[Names()], action="placeholder", directions=["results", "arguments"]),
        Run(),
    )
    shown = (await answered(one, "Ada Lovelace", run=run)).value
    name = str(shown and shown["content"][0]["text"])  # type: ignore[index, call-overload]
    assert name.startswith("<PERSON_")
    sent = Wire(OK)
    await linked(one).chain("tools/call", "outbound")(tool_call(run=run, to=name), sent)
    assert sent.params[0]["arguments"] == {"to": "Ada Lovelace"}


async def test_requests_and_notifications_of_a_server_are_looked_at() -> None:
    """A notification cannot wait, so that there the detector is asked at once."""
    one = Redaction(detectors=[Names()])
    params = {"messages": [{"role": "user", "content": {"type": "text", "text": "for Ada Lovelace"}}]}
    asked = Wire(OK)
    call = Call(id="1", method="sampling/createMessage", params=params, server="files", direction="inbound")
    await linked(one).chain("sampling/createMessage", "inbound")(call, asked)
    assert asked.params[0]["messages"][0]["content"]["text"] == "for [REDACTED:person]"
    news = "notifications/message"
    told = Call(
        id="2", method=news, params={"data": f"Ada Lovelace {TOKEN}"}, server="files", direction="inbound"
    )
    verdict = one.check(told)
    assert isinstance(verdict, Rewrite)
    assert verdict.params == {"data": "[REDACTED:person] [REDACTED:github_token]"}


async def test_one_that_fails_denies_and_says_nothing_of_the_text() -> None:
    """Fail closed, unless somebody chose otherwise."""

    def broken(text: str) -> list[Finding]:
        raise RuntimeError(text)

    sink = RecordingSink()
    chain = linked(Redaction(detectors=[broken]), sinks=[sink]).chain("tools/call", "outbound")
    result = await chain(tool_call(), Wire(Result.of(block("Ada Lovelace"))))
    assert result.denial is not None
    assert result.denial.code == "interceptor_failed"
    assert "Lovelace" not in repr((sink.events, result))
    assert (await answered(Redaction(detectors=[broken], fail_open=True), "a")).value == block("a")


async def test_a_call_that_is_cancelled_does_not_wait_for_it() -> None:
    """The thread goes on by itself until the detector returns."""
    begun, goes_on = threading.Event(), threading.Event()

    def slow(_text: str) -> list[Finding]:
        begun.set()
        goes_on.wait()
        return []

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: answered(Redaction(detectors=[slow]), "text"))
        await anyio.to_thread.run_sync(begun.wait)
        tasks.cancel_scope.cancel()
    goes_on.set()


async def test_in_mode_audit_it_is_not_asked() -> None:
    """What looks on keeps nobody waiting."""
    names = Names()
    result = await answered(Redaction(detectors=[names], mode="audit"), "Ada Lovelace")
    assert result.value == block("Ada Lovelace")
    assert names.seen == []
