"""Approval: a call that is asked about goes out only as a person has seen and approved it, and once."""

import os
import pty
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from chains import ADA, OK, Checking, Wire, linked, tool_call
from harness import LEGACY_SEAMS, opened
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpguard import (
    Accepted,
    Approval,
    ApprovalRequest,
    ApprovalRule,
    Approved,
    ArgumentRule,
    ArgumentRules,
    Ask,
    Call,
    Deadline,
    Declined,
    Deny,
    ElicitationApprover,
    Guard,
    Principal,
    Result,
    Run,
    TerminalApprover,
    ToolFacts,
)
from mcpguard.config import parse_policy
from mcpguard.detectors.approval import Answer, shown_arguments
from mcpguard.testing import FakeClock, FakeServer, Gate, RecordingSink

pytestmark = pytest.mark.anyio

EVERY = ApprovalRule(reason="the test asks")


class Person:
    """Answers in turn, the last again and again; remembers what was asked."""

    def __init__(self, *answers: Answer | Callable[[], Awaitable[Answer]]) -> None:
        self._answers = list(answers)
        self.asked: list[ApprovalRequest] = []

    async def __call__(self, request: ApprovalRequest) -> Answer:
        self.asked.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return answer if isinstance(answer, Approved | Declined) else await answer()


class Asking:
    """A chain that asks a person about its calls."""

    def __init__(self, person: Any, *more: Any, rules: Any = (EVERY,), **options: Any) -> None:
        self.sink, self.clock, self.wire = RecordingSink(), FakeClock(), Wire(OK)
        self.approval = Approval(rules=rules, approver=person, **options)
        self.chain = linked(*more, self.approval, sinks=[self.sink], clock=self.clock).chain(
            "tools/call", "outbound"
        )

    async def call(self, call: Call | None = None, **arguments: Any) -> str | None:
        """Make a call; the code it was refused with, or None."""
        result = await self.chain(tool_call(**arguments) if call is None else call, self.wire)
        return None if result.denial is None else result.denial.code


async def test_a_call_goes_out_only_after_a_yes() -> None:
    """A no, and nothing at all, keep it in; without the interceptor it goes out."""
    person = Person(Declined(by="ana", reason="not \u202enow"), Approved(by="ana"))
    one = Asking(person)
    refused = await one.chain(tool_call(path="a"), one.wire)
    assert refused.denial is not None
    assert refused.denial.code == "approval_denied"
    assert refused.denial.message.endswith(r"They said: not \u202enow")
    assert one.wire.calls == []
    assert await one.call(path="a") is None
    assert len(one.wire.calls) == 1
    approvals = [event for event in one.sink.events if event.verdict == "approve"]
    assert [(event.reason, event.approver) for event in approvals] == [("approved by ana", "ana")]
    declined = [event for event in one.sink.events if event.verdict == "decline"]
    assert [(event.reason, event.approver) for event in declined] == [("declined by ana", "ana")]


async def test_a_call_without_arguments_is_asked_about_as_any_other() -> None:
    """The arguments may be left out; so may those of a tool that takes none."""
    person = Person(Approved())
    one = Asking(person)
    for params in ({"name": "pay"}, {"name": "pay", "arguments": {}}):
        assert await one.call(Call(id="1", method="tools/call", params=params)) is None
    assert [request.arguments for request in person.asked] == [("arguments = {}",)] * 2
    assert len(one.wire.calls) == 2


async def test_a_yes_holds_once() -> None:
    """The very same call is asked about again."""
    person = Person(Approved())
    one = Asking(person)
    assert [await one.call(path="a") for _ in range(3)] == [None] * 3
    assert len(person.asked) == 3


async def test_calls_that_no_rule_selects_are_not_asked_about() -> None:
    """By tool, role, condition, or because their arguments are harmless."""
    person = Person(Declined())
    rules = (
        ApprovalRule(tools=["send"]),
        ApprovalRule(roles=["intern"]),
        ApprovalRule(tools=["read"], when='call.arguments.diff.contains("+++ b/secrets/")'),
        ApprovalRule(tools=["pay"], unless={"amount": Accepted(maximum=10)}),
    )
    one = Asking(person, rules=rules)
    assert await one.call(tool_call("read", diff="+++ b/docs/x")) is None
    assert await one.call(tool_call("pay", amount=5)) is None
    assert person.asked == []
    for call in (
        tool_call("send"),
        tool_call("read", diff="+++ b/secrets/x"),
        tool_call("read"),
        tool_call("pay", amount=50),
        tool_call("pay"),
        tool_call("list").made_by(Principal(roles=frozenset({"intern"}))),
    ):
        assert await one.call(call) == "approval_denied"
    assert len(person.asked) == 6


async def test_a_rule_that_cannot_be_told_denies() -> None:
    """Nobody is known, or the condition does not fit."""
    one = Asking(Person(Approved()), rules=(ApprovalRule(roles=["a"]),))
    assert await one.call(tool_call().made_by(None)) == "no_principal"
    other = Asking(Person(Approved()), rules=(ApprovalRule(when="call.arguments.x + 1 == 2"),))
    assert await other.call(x="text") == "condition_failed"


async def test_the_questions_of_other_interceptors_are_answered_together() -> None:
    """A denial among them is not asked about."""
    person = Person(Approved())
    asking = Checking(lambda call: Ask("sensitive", reason="it is"), can_ask=True)
    one = Asking(person, asking)
    assert await one.call(path="a") is None
    assert [question.code for question in person.asked[0].questions] == ["sensitive", "approval_rule_0"]
    denying = Asking(person, asking, Checking(lambda call: Deny("no", reason="no")))
    assert await denying.call(path="a") == "no"
    assert len(person.asked) == 1


async def test_edited_arguments_are_judged_by_every_rule() -> None:
    """What a person types is no way round a policy, and is not asked about again."""
    inside = ArgumentRules(rules=[ArgumentRule(arguments={"n": Accepted(maximum=5)})])
    person = Person(Approved(arguments={"n": 4}), Approved(arguments={"n": 6}), Approved(arguments={"m": 1}))
    one = Asking(person, inside)
    assert await one.call(n=5) is None
    assert one.wire.params[0]["arguments"] == {"n": 4}
    assert await one.call(n=5) == "argument_refused"
    assert await one.call(n=5) == "argument_missing"
    assert len(one.wire.calls) == 1
    assert len(person.asked) == 3


async def test_silence_is_a_refusal_after_a_time_and_is_recorded() -> None:
    """The request is gone then."""
    one = Asking(Person(anyio.sleep_forever), expires=0.01)
    assert await one.call(path="a") == "approval_expired"
    assert one.approval.status()["waiting"] == []
    assert [event.code for event in one.sink.events if event.verdict == "deny"] == ["approval_expired"]
    assert one.wire.calls == []


@pytest.mark.parametrize("answer", [None, True, "yes", {"approved": True}])
async def test_an_approver_that_fails_or_answers_anything_else_refuses(answer: Any) -> None:
    """Only a yes is a yes."""

    async def wrong(request: ApprovalRequest) -> Any:
        if answer is None:
            raise RuntimeError("out of order")
        return answer

    assert await Asking(wrong).call(path="a") == "approval_failed"


async def test_a_wait_that_is_cancelled_leaves_nothing() -> None:
    """And the call does not go out."""
    gate = Gate()

    async def wait() -> Answer:
        await gate.wait()
        return Approved()

    one = Asking(Person(wait))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one.call)
        await anyio.wait_all_tasks_blocked()
        assert len(one.approval.status()["waiting"]) == 1  # type: ignore[arg-type]
        tasks.cancel_scope.cancel()
    assert one.approval.status()["waiting"] == []
    assert one.wire.calls == []


async def test_a_run_that_ended_meanwhile_sends_nothing() -> None:
    """A late yes is too late."""
    run = Run(id="r", principal=ADA)

    async def close() -> Answer:
        run.close()
        return Approved()

    one = Asking(Person(close))
    assert await one.call(tool_call(run=run)) == "run_closed"
    assert one.wire.calls == []


async def test_only_so_many_calls_wait_at_a_time() -> None:
    """More are refused at once."""
    gate = Gate()

    async def wait() -> Answer:
        await gate.wait()
        return Approved()

    one = Asking(Person(wait), max_waiting=4)
    codes: list[str | None] = []

    async def call(n: int) -> None:
        codes.append(
            await one.call(Call(id=str(n), method="tools/call", params={"name": "a", "arguments": {"n": n}}))
        )

    async with anyio.create_task_group() as tasks:
        for n in range(2):
            tasks.start_soon(call, n)
        await anyio.wait_all_tasks_blocked()
        await call(3)
        assert codes == ["approval_busy"]
        gate.open()
    assert codes == ["approval_busy", None, None]


async def test_one_principal_does_not_take_the_places_of_everybody_else() -> None:
    """Whatever it calls its agents; nobody known counts as one. The last place is for whoever has none."""
    gate = Gate()

    async def wait() -> Answer:
        await gate.wait()
        return Approved()

    one = Asking(Person(wait), max_waiting=8)
    codes: dict[str, list[str | None]] = {}

    async def call(who: Principal | None, n: int) -> None:
        made = Call(id=f"{who}-{n}", method="tools/call", params={"name": "pay"}, principal=who)
        codes.setdefault("nobody" if who is None else str(who.user), []).append(await one.call(made))

    callers = [*(Principal(tenant="acme", user="eve", agent=str(n)) for n in range(8)), *[None] * 8]
    callers += [Principal(tenant="acme", user=name) for name in ("ana", "bo", "cy", "di")]
    async with anyio.create_task_group() as tasks:
        for n, who in enumerate(callers):
            tasks.start_soon(call, who, n)
            await anyio.wait_all_tasks_blocked()
        assert codes.pop("di") == ["approval_busy"]
        gate.open()
    assert codes == {
        "eve": ["approval_busy"] * 5 + [None] * 3,
        "nobody": ["approval_busy"] * 6 + [None] * 2,
        "ana": [None],
        "bo": [None],
        "cy": [None],
    }


async def test_a_single_place_is_had_by_whoever_asks() -> None:
    """Half of one is one."""
    assert await Asking(Person(Approved()), max_waiting=1).call() is None


async def test_a_wait_does_not_use_up_the_tools_deadline() -> None:
    """The deadline begins when the call goes on."""
    timed: list[Any] = []
    deadline = Deadline(seconds=60)

    async def answer() -> Answer:
        timed.append(deadline.status()["under_way"])
        return Approved()

    async def wire(call: Call) -> Result:
        timed.append(deadline.status()["under_way"])
        return OK

    approval = Approval(rules=[EVERY], approver=Person(answer))
    chain = linked(approval, deadline).chain("tools/call", "outbound")
    assert (await chain(tool_call(), wire)).value == OK.value
    assert timed == [0, 1]


FACTS = {"name": "read", "inputSchema": {"type": "object"}}


@pytest.mark.parametrize(
    "other",
    [
        tool_call("read", path="b"),
        tool_call("read", path="a", more=1),
        tool_call("write", path="a"),
        tool_call("read", path="a").made_by(Principal(tenant="other", user="ada", agent="tester")),
        tool_call("read", path="a").made_by(Principal(tenant="acme", user="bob", agent="tester")),
        tool_call("read", path="a").made_by(None),
        tool_call("read", path="a").with_tool(ToolFacts("read", {**FACTS, "description": "changed"})),
        Call(
            id="1",
            method="tools/call",
            params=tool_call("read", path="a").params,
            server="other",
            principal=ADA,
        ),
    ],
)
async def test_a_remembered_answer_holds_for_exactly_the_same_call(other: Call) -> None:
    """Not for other arguments, tools, definitions, callers or servers."""
    person = Person(Approved(remember="principal"), Declined())
    one = Asking(person)
    same = tool_call("read", path="a").with_tool(ToolFacts("read", FACTS))
    if other.tool is None:
        other = other.with_tool(ToolFacts("read", FACTS))
    assert [await one.call(same) for _ in range(3)] == [None] * 3
    assert len(person.asked) == 1
    assert await one.call(other) == "approval_denied"


async def test_a_remembered_answer_ends_with_its_run_or_its_time() -> None:
    """Runs inside it share it; without a run it is not kept."""
    person = Person(Approved(remember="run"))
    one = Asking(person, remember=100)
    run = Run(id="r", principal=ADA)
    for made_in in (run, run, Run(id="i", parent=run)):
        assert await one.call(tool_call(run=made_in)) is None
    assert len(person.asked) == 1
    await one.call(tool_call(run=Run(id="r", principal=ADA)))
    assert len(person.asked) == 2
    one.clock.advance(101)
    await one.call(tool_call(run=run))
    assert len(person.asked) == 3
    await one.call(tool_call())
    await one.call(tool_call())
    assert len(person.asked) == 5


async def test_a_pattern_answers_the_calls_it_accepts_and_no_others() -> None:
    """Of the same tool, caller and questions; what the pattern does not name is what the person has seen."""
    pattern = {"path": Accepted(globs=["/srv/*"]), "mode": Accepted(values=["r"], optional=True)}
    person = Person(Approved(remember="principal", pattern=pattern), Declined())
    one = Asking(person)
    assert await one.call(path="/srv/a", n=1) is None
    assert await one.call(n=1, path="/srv/b") is None
    assert await one.call(path="/srv/b", n=1, mode="r") is None
    assert await one.call(path="/etc/a", n=1) == "approval_denied"
    assert await one.call(path="/srv/a", n=1, mode="w") == "approval_denied"
    assert await one.call(n=1) == "approval_denied"
    assert await one.call(path="/srv/b", n=2) == "approval_denied"
    assert await one.call(path="/srv/b") == "approval_denied"
    assert await one.call(path="/srv/b", n=1, then="rm") == "approval_denied"
    assert await one.call(tool_call("write", path="/srv/a", n=1)) == "approval_denied"


async def test_a_pattern_says_nothing_of_what_stands_beside_what_it_names() -> None:
    """Neither in an object, nor in the elements of a list; and one that names nothing answers the same call."""
    files = [{"url": "https://a.example/1", "to": "x"}, {"url": "https://a.example/2", "to": "x"}]
    pattern = {"files[*].url": Accepted(globs=["https://a.example/*"]), "to.name": Accepted(globs=["*"])}
    person = Person(Approved(remember="principal", pattern=pattern), Declined())
    one = Asking(person)
    assert await one.call(files=files, to={"name": "a", "id": 1}) is None
    assert await one.call(files=[*files[1:], *files], to={"name": "b", "id": 1}) is None
    assert await one.call(files=files, to={"name": "b", "id": 2}) == "approval_denied"
    assert await one.call(files=[{**files[0], "to": "y"}], to={"name": "a", "id": 1}) == "approval_denied"
    assert (
        await one.call(files=[*files, {**files[0], "n": 1}], to={"name": "a", "id": 1}) == "approval_denied"
    )
    assert await one.call(files=[], to={"name": "a", "id": 1}) == "approval_denied"
    person = Person(Approved(remember="principal", pattern={}), Declined())
    one = Asking(person)
    assert [await one.call(n=1), await one.call(n=1), await one.call(n=2)] == [None, None, "approval_denied"]


async def test_a_person_sees_every_value_escaped_and_where_it_came_from() -> None:
    """In one order, whatever order the agent chose."""
    run = Run(id="r", principal=ADA)
    run.user_said("write to ana@example.org")
    person = Person(Approved())
    call = tool_call("send", run=run, to="ana@example.org", body="a\u202eb\x1b[2J\n", cc=[{"x y": None}, []])
    await Asking(person).call(call)
    assert list(person.asked[0].lines()) == [
        '"files": tools/call "send"',
        '  for tenant "acme", user "ada", agent "tester"',
        '  asked by approval: "the test asks"',
        r'  body = "a\u202eb\u001b[2J\n"',
        '  cc[0]."x y" = null',
        "  cc[1] = []",
        '  to = "ana@example.org"  (given by the user)',
    ]


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_no_argument_reaches_a_person_unescaped(value: Any) -> None:
    """Whatever it holds, what is shown is printable ASCII, a line a value."""
    lines = shown_arguments(tool_call("read", x=value))
    assert lines is not None
    assert all(line.isascii() and line.isprintable() for line in lines)


async def test_arguments_that_nobody_can_read_are_not_asked_about() -> None:
    """Too long; or so deep that showing them would fail."""
    person = Person(Approved())
    one = Asking(person)
    assert await one.call(x="a" * 70_000) == "approval_too_large"
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    assert await one.call(x=deep) == "approval_too_large"
    assert person.asked == []


async def test_no_claim_of_a_token_is_shown_to_whoever_is_asked() -> None:
    """An approver may be somebody else's program."""
    person = Person(Approved())
    await Asking(person).call(tool_call().made_by(Principal(tenant="a", claims={"x": "y"})))
    assert person.asked[0].principal is not None
    assert person.asked[0].principal.claims == {}


async def test_an_auditing_approval_does_not_wait() -> None:
    """It reports that it would have asked."""
    person = Person(Declined())
    sink = RecordingSink()
    one = Approval(rules=[EVERY], approver=person, mode="audit")
    chain = linked(one, sinks=[sink]).chain("tools/call", "outbound")
    assert (await chain(tool_call(), Wire(OK))).value == OK.value
    assert person.asked == []
    assert [(event.verdict, event.mode) for event in sink.events if event.verdict] == [("ask", "audit")]


async def test_a_guarded_session_asks_and_goes_on() -> None:
    """The tool runs once for a yes, and not at all for a no."""
    from mcp import ClientSession

    server = FakeServer()
    server.tool("send").returns("sent")
    person = Person(Declined(reason="wait"), Approved())
    guard = Guard([Approval(rules=[ApprovalRule(tools=["send"])], approver=person)])
    async with server.connect() as (read, write), guard.run():
        async with guard.session(ClientSession(read, write), name="mailer") as session:
            await session.initialize()
            said = [(await session.call_tool("send", {"n": n})).content[0].text for n in range(2)]  # type: ignore[union-attr]
    assert said[0].startswith("A person was asked about this call and refused it.")
    assert said[1] == "sent"
    assert server.calls("send") == [{"n": 1}]


@pytest.mark.parametrize("seam", LEGACY_SEAMS)
async def test_what_is_sent_is_what_the_person_has_seen(seam: str) -> None:
    """Whoever holds the arguments may change them while a person reads, in place and below."""
    given: dict[str, Any] = {"path": "/a", "below": {"list": [1], "more": {"b": 1}}}

    async def decide() -> Answer:
        given["path"] = "/etc/passwd"
        given["below"]["list"].append(2)
        given["below"]["more"]["b"] = 2
        return Approved()

    server = FakeServer()
    server.tool("send").returns("sent")
    person = Person(decide)
    guard = Guard([Approval(rules=[ApprovalRule(tools=["send"])], approver=person)])
    async with opened(guard, server, seam) as peer:
        await peer.call("send", given)
    assert person.asked[0].arguments == ("below.list[0] = 1", "below.more.b = 1", 'path = "/a"')
    assert server.calls("send") == [{"path": "/a", "below": {"list": [1], "more": {"b": 1}}}]


async def test_names_that_nobody_can_read_are_not_asked_about() -> None:
    """What is shown of two long names may be the same, and a person would approve one for the other."""
    person = Person(Approved())
    asking = Asking(person)
    call = Call(id="1", method="tools/call", params={"name": "send" + "x" * 10_000, "arguments": {}})
    assert await asking.call(call) == "approval_too_large"
    assert person.asked == []


async def answered_at_terminal(typed: bytes, early: bytes = b"") -> tuple[Answer, str]:
    """What the terminal approver makes of what is typed, and what it showed."""
    ours, theirs = pty.openpty()
    try:
        if early:
            os.write(ours, early)
        request = ApprovalRequest(
            id="1",
            digest="d",
            principal=None,
            run=None,
            server="files\x1b[2J",
            method="tools/call",
            target="read",
            questions=(Ask("a", reason="why", source="test"),),
            arguments=('x = "y"',),
            expires=0.0,
        )
        answers: list[Answer] = []
        shown = b""

        async def ask() -> None:
            answers.append(await TerminalApprover(device=os.ttyname(theirs))(request))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            while b"approve? " not in shown:
                shown += await anyio.to_thread.run_sync(os.read, ours, 4096)
            os.write(ours, typed)
        return answers[0], shown.decode()
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (b"yes\n", Approved(by="terminal")),
        (b"run\n", Approved(by="terminal", remember="run")),
        (b"no\n", Declined(by="terminal")),
        (b"no not today\n", Declined(by="terminal", reason="not today")),
        (b'edit {"x": 1}\n', Approved(by="terminal", arguments={"x": 1})),
        (b"y\nYES\nyes please\n\nedit [1]\nedit {\nno\n", Declined(by="terminal")),
    ],
)
async def test_the_terminal_takes_whole_words_alone(typed: bytes, expected: Answer) -> None:
    """What is no answer is asked again; nothing from a name moves the cursor."""
    answer, shown = await answered_at_terminal(typed)
    assert answer == expected
    assert "\x1b" not in shown
    assert r"files\u001b[2J" in shown


async def test_what_was_typed_before_the_question_is_no_answer() -> None:
    """It was meant for something else."""
    answer, _ = await answered_at_terminal(b"no\n", early=b"yes\n")
    assert answer == Declined(by="terminal")


async def test_where_there_is_no_terminal_a_call_is_declined(tmp_path: Any) -> None:
    """A file is none either."""
    file = tmp_path / "answers"
    file.write_text("yes\n")
    for device in (str(file), str(tmp_path / "none")):
        assert await Asking(TerminalApprover(device=device)).call(x=1) == "approval_denied"


async def test_a_question_at_the_terminal_that_is_withdrawn_ends() -> None:
    """Its thread does not wait for an answer that would go to the next question."""
    ours, theirs = pty.openpty()
    try:
        one = Asking(TerminalApprover(device=os.ttyname(theirs)), expires=0.05)
        assert await one.call(x=1) == "approval_expired"
        shown = b""
        while b"withdrawn" not in shown:
            shown += await anyio.to_thread.run_sync(os.read, ours, 4096)
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_policy_file_says_the_same() -> None:
    """The terminal is who is asked there."""
    policy = parse_policy(
        """
version: 1
interceptors:
  approval:
    expires: 60
    rules:
      - {tools: [pay], unless: {amount: {maximum: 10}}, reason: "more than 10"}
"""
    )
    (one,) = policy.build().interceptors
    assert isinstance(one, Approval)
    assert one.rules[0].reason == "more than 10"
    assert list(one.warnings(["a"])) == []


@pytest.mark.parametrize(
    "made",
    [
        lambda: Approval(expires=0),
        lambda: Approval(remember=-1),
        lambda: Approval(max_waiting=0),
        lambda: Approval(approver="nobody"),  # type: ignore[arg-type]
        lambda: Approval(rules=[Accepted()]),  # type: ignore[list-item]
        lambda: ApprovalRule(when="nope"),
        lambda: Approved(arguments={}, remember="run"),
        lambda: Approved(arguments=[1]),  # type: ignore[arg-type]
        lambda: Approved(remember="ever"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_meant_is_refused_when_it_is_made(made: Any) -> None:
    """Not at the first call."""
    with pytest.raises((TypeError, ValueError)):
        made()


def test_a_preview_says_that_it_would_ask() -> None:
    """And sends nothing."""
    guard = Guard([Approval(rules=[EVERY], approver=Person(Approved()))])
    assert guard.explain(tool_call()).verdict == "ask"


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ({"action": "accept", "content": {"decision": "approve"}}, Approved(by="elicitation")),
        (
            {"action": "accept", "content": {"decision": "approve", "remember": "run"}},
            Approved(by="elicitation", remember="run"),
        ),
        (
            {"action": "accept", "content": {"decision": "deny", "reason": "no"}},
            Declined(by="elicitation", reason="no"),
        ),
        ({"action": "accept", "content": {"decision": True}}, Declined(by="elicitation")),
        ({"action": "accept", "content": {}}, Declined(by="elicitation")),
        ({"action": "accept"}, Declined(by="elicitation")),
        ({"action": "decline", "content": {"decision": "approve"}}, Declined(by="elicitation")),
        ({"action": "cancel", "content": {"decision": "approve"}}, Declined(by="elicitation")),
        ({}, Declined(by="elicitation")),
    ],
)
async def test_a_host_approves_only_by_an_accepted_form_that_says_so(result: Any, expected: Answer) -> None:
    """It reads the same lines as everybody else."""
    asked: list[Any] = []

    async def ask(params: Any) -> Any:
        asked.append(params)
        return result

    one = Asking(ElicitationApprover(ask))
    code = await one.call(path="a\u202eb")
    assert code == (None if isinstance(expected, Approved) else "approval_denied")
    assert r'path = "a\u202eb"' in asked[0]["message"]
    assert one.approval.status()["remembered"] == 0
    request = ApprovalRequest(
        id="1",
        digest="d",
        principal=None,
        run=None,
        server="a",
        method="tools/call",
        target="b",
        questions=(),
        arguments=(),
        expires=0.0,
    )
    assert await ElicitationApprover(ask)(request) == expected


async def test_where_no_client_is_served_there_is_none_to_ask() -> None:
    """A policy that asks clients refuses in a program that has none, rather than to ask somebody else."""
    one = Asking("client")
    assert await one.call(path="a") == "approval_failed"
    assert one.wire.calls == []
    with pytest.raises(ValueError, match="are for approver='store'"):
        Approval(approver="client", wait=0)
    with pytest.raises(TypeError, match="'terminal', 'store', 'client' or a function"):
        Approval(approver="nobody")  # type: ignore[arg-type]
