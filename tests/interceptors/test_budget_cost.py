"""Budget: money, tokens and bytes are held before a call goes out and corrected by its answer."""

from collections.abc import Sequence
from typing import Any

import pytest
from driven import ANSWER, ASKED, FAILED, LOST, UNSENT, Chain, Driven, chain, code, known
from hypothesis import given, settings
from hypothesis import strategies as st

from mcpguard import Budget, Call, Fate, Outcome, Result, Run, WireError
from mcpguard.core.wire import canonical
from mcpguard.detectors.prices import Price
from mcpguard.detectors.usage import Usage

REFUSED = Result(outcome=Outcome.PROTOCOL_ERROR, fate=Fate.ANSWERED, error=WireError(-32603, "x" * 90))


def told(**usage: Any) -> Result:
    """An answer that tells its usage."""
    return Result.of({"content": [], "structuredContent": {"usage": usage}})


def used(budget: Budget) -> Any:
    """What the newest account has used."""
    accounts: Any = budget.status()["accounts"]
    return {name: value for name, value in accounts[0].items() if name != "of"}


def test_calls_cost_what_their_tool_does() -> None:
    """Prices are by tool, and the budget is denied when it is used up (prismor #273, skyvern #70)."""
    budget = Budget(cost="0.10 USD", prices={"search_*": "0.04 USD", "*": "0 USD"})
    run, made = Run(id="r"), chain(budget)
    assert [code(made.make(run, name="search_web")) for _ in range(3)] == [None, None, "budget_exhausted"]
    assert code(made.make(run, name="read")) is None
    assert used(budget) == {"cost": "0.08 USD"}
    denial = known(made.begin(run, "search_web").result).denial
    assert denial is not None
    assert denial.reason == "run 'r' has used 0.08 of its 0.10 USD"
    assert "nearly used up" in denial.message
    assert "0.0" not in denial.message


def test_both_calls_and_money_may_be_limited() -> None:
    """Whichever is used up first."""
    made = chain(Budget(calls=2, cost="1 USD", prices={"dear": "0.90 USD", "*": "0 USD"}))
    run = Run()
    assert [code(made.make(run, name=name)) for name in ("dear", "dear", "work", "work")] == [
        None,
        "budget_exhausted",
        None,
        "budget_exhausted",
    ]


def test_an_argument_may_set_the_price() -> None:
    """Price by argument: so much for each result asked for."""
    price = Price("0.001 USD", tools=["search"], per_argument="max_results")
    budget = Budget(cost="0.05 USD", prices=[price])
    run, made = Run(), chain(budget)
    assert code(made.make(run, name="search", arguments={"max_results": 30})) is None
    assert code(made.make(run, name="search", arguments={"max_results": 21})) == "budget_exhausted"
    assert code(made.make(run, name="search", arguments={"max_results": 20})) is None
    assert used(budget) == {"cost": "0.05 USD"}


def test_a_call_that_takes_more_than_the_whole_budget_is_told_so() -> None:
    """Waiting would not help; the price says nothing of the argument."""
    price = Price("0.001 USD", per_argument="n")
    made = chain(Budget(cost="0.05 USD", prices=[price], every="day"))
    denial = made.make(Run(id="r"), arguments={"n": 4_711}).denial
    assert denial is not None
    assert denial.retry_after is None
    assert denial.reason == "run 'r' has used 0.00 of its 0.05 USD, and this call takes more than all of it"
    assert "too small for this call" in denial.message


@pytest.mark.parametrize(
    "arguments", [{}, {"n": "7"}, {"n": None}, {"n": float("nan")}, {"n": -5}, {"n": True}]
)
def test_an_unknown_cost_is_refused_and_not_skipped(arguments: dict[str, Any]) -> None:
    """LiteLLM's known failure: no hold where the cost is unknown."""
    budget = Budget(cost="1 USD", prices=[Price("0.01 USD", tools=["work"], per_argument="n")])
    made = chain(budget)
    assert code(made.make(Run(), arguments=arguments)) == "cost_unknown"
    assert code(made.make(Run(), name="other")) == "cost_unknown"
    assert budget.status()["accounts"] == [] or used(budget) == {"cost": "0.00 USD"}


def test_an_unknown_cost_is_refused_before_anybody_is_asked() -> None:
    """The look says so, without holding anything."""
    budget = Budget(cost="1 USD", prices={"work": "0.01 USD"})
    chain(budget)
    run = Run()
    looked = [
        budget.check(Call(id="c", method="tools/call", params={"name": name}, run=run))
        for name in ("work", "other")
    ]
    assert [getattr(verdict, "code", None) for verdict in looked] == [None, "cost_unknown"]


def test_an_unknown_cost_holds_the_declared_maximum() -> None:
    """And stays charged where no answer tells better."""
    budget = Budget(cost="1 USD", max_cost="0.40 USD", prices={"cheap": "0.01 USD"})
    run, made = Run(), chain(budget)
    assert [code(made.make(run)) for _ in range(3)] == [None, None, "budget_exhausted"]
    assert code(made.make(run, name="cheap")) is None
    assert used(budget) == {"cost": "0.81 USD"}


def test_a_result_may_tell_what_a_call_has_cost() -> None:
    """The maximum is held while it is under way, and what was not used is given back."""
    budget = Budget(cost="1 USD", max_cost="0.50 USD", usage={"cost": "/structuredContent/usage/cost"})
    run, made = Run(), chain(budget)
    first, second = made.begin(run), made.begin(run)
    assert code(made.make(run)) == "budget_exhausted"
    first.answer(told(cost=0.0031))
    assert used(budget) == {"cost": "0.5031 USD"}
    second.answer(told(cost="0.10 USD"))
    assert used(budget) == {"cost": "0.1031 USD"}
    assert code(made.make(run, told(cost=0))) is None


def test_what_a_result_tells_may_be_more_than_was_held() -> None:
    """Then the account is above its limit, and nothing more is admitted: the money is spent."""
    budget = Budget(cost="1 USD", max_cost="0.10 USD", usage={"cost": "/structuredContent/usage/cost"})
    run, made = Run(), chain(budget)
    made.make(run, told(cost=7.5))
    assert used(budget) == {"cost": "7.50 USD"}
    assert code(made.make(run)) == "budget_exhausted"


@pytest.mark.parametrize(
    "cost",
    [
        float("nan"),
        float("inf"),
        float("-inf"),
        -1,
        -0.01,
        1e300,
        10**30,
        True,
        "free",
        "1 EUR",
        "-1 USD",
        [],
        {"USD": 1},
    ],
)
def test_absurd_usage_is_not_believed(cost: Any) -> None:
    """The estimate stays charged, the answer passes, and the record says so without the value."""
    budget = Budget(cost="1 USD", max_cost="0.10 USD", usage={"cost": "/structuredContent/usage/cost"})
    run, made = Run(), chain(budget)
    answer = told(cost=cost)
    assert made.make(run, answer) is answer
    assert used(budget) == {"cost": "0.10 USD"}
    warning = made.seen.last("warning")
    assert warning.code == "usage_unreadable"
    assert str(cost) not in str(warning.reason)


@pytest.mark.parametrize("answer", [ANSWER, FAILED, LOST, REFUSED, told(), told(cost=None)])
def test_where_no_usage_is_told_the_estimate_stays(answer: Result) -> None:
    """Unknown after as before: charged, and no warning."""
    budget = Budget(cost="1 USD", max_cost="0.10 USD", usage={"cost": "/structuredContent/usage/cost"})
    made = chain(budget)
    made.make(Run(), answer)
    assert used(budget) == {"cost": "0.10 USD"}
    assert made.seen.of("warning") == []


def test_what_was_not_sent_costs_nothing() -> None:
    """Released, whatever was held."""
    budget = Budget(
        calls=1,
        cost="1 USD",
        prices={"*": "0.10 USD"},
        tokens=100,
        max_tokens=60,
        usage={"tokens": "/usage"},
        bytes=1000,
        max_bytes=900,
    )
    run, made = Run(), chain(budget)
    made.make(run, UNSENT)
    assert used(budget) == {"calls": 0, "cost": "0.00 USD", "tokens": 0, "bytes": 0}


def test_a_cancelled_call_is_charged_what_was_held() -> None:
    """The server may have done it all."""
    budget = Budget(cost="1 USD", max_cost="0.40 USD", usage={"cost": "/structuredContent/usage/cost"})
    made = chain(budget)
    made.begin(Run()).cancel()
    assert used(budget) == {"cost": "0.40 USD"}


def test_tokens_are_held_at_their_maximum_and_settled_as_told() -> None:
    """From the result's `_meta` as well; what is not whole is rounded up."""
    budget = Budget(tokens=100, max_tokens=40, usage={"tokens": "/_meta/usage/total_tokens"})
    run, made = Run(), chain(budget)
    for tokens, total in ((7, 7), (0.5, 8), (12.0, 20), (0, 20)):
        made.make(run, Result.of({"content": [], "_meta": {"usage": {"total_tokens": tokens}}}))
        assert used(budget) == {"tokens": total}
    first, second = made.begin(run), made.begin(run)
    assert code(made.make(run)) == "budget_exhausted"
    first.answer(ANSWER)
    second.answer(ANSWER)
    assert used(budget) == {"tokens": 100}


def test_bytes_are_those_of_the_result() -> None:
    """Reserve the cap, settle by the size in canonical form; an error has one too."""
    budget = Budget(bytes=1000, max_bytes=400)
    run, made = Run(), chain(budget)
    first, second = made.begin(run), made.begin(run)
    assert code(made.make(run)) == "budget_exhausted"
    first.answer(ANSWER)
    second.answer(REFUSED)
    sizes = len(canonical(ANSWER.value)) + len(canonical(["x" * 90, None]))
    assert used(budget) == {"bytes": sizes}
    made.make(run, LOST)
    assert used(budget) == {"bytes": sizes + 400}


def test_a_function_may_read_the_usage() -> None:
    """From call and result; None leaves the estimate."""

    def read(call: Call, result: Result) -> Usage | None:
        if call.target == "silent":
            return None
        return Usage(cost=0.02 if call.arguments else "0.05 USD", tokens=len(call.arguments))

    budget = Budget(
        cost="1 USD", prices={"silent": "0.03 USD"}, max_cost="0.50 USD", tokens=10, max_tokens=5, usage=read
    )
    run, made = Run(), chain(budget)
    made.make(run, arguments={"a": 1, "b": 2})
    assert used(budget) == {"cost": "0.02 USD", "tokens": 2}
    made.make(run, name="silent")
    assert used(budget) == {"cost": "0.52 USD", "tokens": 7}
    assert code(made.make(run)) == "budget_exhausted"


def _raises(call: Call, result: Result) -> Usage:
    raise ValueError(f"what is {result.value}?")


@pytest.mark.parametrize(
    ("usage", "reason"),
    [
        (_raises, "usage raised ValueError"),
        (lambda call, result: 7, "usage returned int, not Usage"),
        (lambda call, result: Usage(cost="free"), "a cost that is not money"),
        (lambda call, result: Usage(cost=float("nan")), "a cost that is not a number from 0"),
        (lambda call, result: Usage(tokens=-1), "a number of tokens that is not a number from 0"),
    ],
)
def test_a_function_that_fails_does_not_lose_the_answer(usage: Any, reason: str) -> None:
    """Nor does what it raises get into the record."""
    budget = Budget(cost="1 USD", max_cost="0.10 USD", tokens=100, max_tokens=10, usage=usage)
    made = chain(budget)
    assert made.make(Run(), ANSWER) is ANSWER
    assert made.seen.last("warning").reason == f"what was held stays charged: {reason}"
    assert used(budget) == {"cost": "0.10 USD", "tokens": 10}


def test_a_call_in_rounds_is_settled_by_its_last() -> None:
    """The first round pays and its hold is carried over (MCP 2026-07-28, input_required)."""
    budget = Budget(
        calls=5, cost="1 USD", max_cost="0.50 USD", usage={"cost": "/structuredContent/usage/cost"}
    )
    run, made = Run(), chain(budget)
    assert made.make(run, ASKED, id="a") is ASKED
    assert used(budget) == {"calls": 1, "cost": "0.50 USD"}
    assert made.make(run, ASKED, id="a", round=1) is ASKED
    assert made.make(run, UNSENT, id="a", round=2) is UNSENT
    made.make(run, told(cost=0.2), id="a", round=2)
    assert used(budget) == {"calls": 1, "cost": "0.20 USD"}
    made.make(run, told(cost=0.9), id="a", round=3)
    assert used(budget) == {"calls": 1, "cost": "0.20 USD"}


def test_the_bytes_of_every_round_count() -> None:
    """Else a server could send what it likes in rounds."""
    budget = Budget(bytes=10_000, max_bytes=1_000)
    run, made = Run(), chain(budget)
    made.make(run, ASKED, id="a")
    assert used(budget) == {"bytes": 1_000}
    made.make(run, ASKED, id="a", round=1)
    made.make(run, ANSWER, id="a", round=2)
    assert used(budget) == {"bytes": 2 * len(canonical(ASKED.value)) + len(canonical(ANSWER.value))}


def test_what_is_left_is_told_with_each_result() -> None:
    """pydantic-ai-harness #24: the model can plan with it."""
    root = Run()
    run = Run(parent=root)
    made = chain(Budget(calls=5, cost="1 USD", prices={"*": "0.30 USD"}, tell=True))
    made.make(root)
    value = made.make(run).value
    assert value is not None
    assert value["content"] == [
        {"type": "text", "text": "done"},
        {"type": "text", "text": "[Left for this task: 3 of 5 tool calls, 0.40 of 1.00 USD.]"},
    ]
    assert ANSWER.value == {"content": [{"type": "text", "text": "done"}]}


def test_what_is_left_is_told_after_settling() -> None:
    """By what the answer has really cost."""
    budget = Budget(
        cost="1 USD", max_cost="0.60 USD", usage={"cost": "/structuredContent/usage/cost"}, tell=True
    )
    made = chain(budget)
    value = made.make(Run(), told(cost=0.25)).value
    assert value is not None
    assert value["content"] == [{"type": "text", "text": "[Left for this task: 0.75 of 1.00 USD.]"}]
    assert value["structuredContent"] == {"usage": {"cost": 0.25}}


@pytest.mark.parametrize("answer", [LOST, REFUSED, UNSENT, ASKED, Result.of({"content": "odd"})])
def test_where_there_is_no_content_nothing_is_told(answer: Result) -> None:
    """A result that is no tool's result stays as it is."""
    assert chain(Budget(tell=True)).make(Run(), answer) is answer


def listed(made: Chain, run: Run | None, *tools: Any) -> Sequence[Any]:
    """The tools that a listing shows."""
    call = Call(id="l", method="tools/list", server="git", run=run, principal=None)

    async def wire(_: Call) -> Result:
        return Result.of({"tools": list(tools), "nextCursor": "c"})

    value = known(Driven(made.linked.chain("tools/list", "outbound")(call, wire)).result).value
    assert value is not None
    assert value["nextCursor"] == "c"
    shown = value["tools"]
    assert isinstance(shown, list)
    return shown


DEAR, CHEAP = {"name": "dear"}, {"name": "cheap"}


def test_tools_without_budget_leave_the_list() -> None:
    """pydantic-ai-harness #168; what still can be paid for stays."""
    run = Run()
    made = chain(Budget(cost="1 USD", prices={"dear": "0.60 USD", "cheap": "0.10 USD"}, hide=True))
    assert listed(made, run, DEAR, CHEAP) == [DEAR, CHEAP]
    made.make(run, name="dear")
    assert listed(made, run, DEAR, CHEAP) == [CHEAP]
    assert listed(made, Run(), DEAR, CHEAP) == [DEAR, CHEAP]
    assert listed(made, None, DEAR, {"no": "name"}, 7) == [DEAR, {"no": "name"}, 7]


def test_a_list_stays_whole_unless_it_is_to_hide() -> None:
    """Then the listing does not even meet the budget."""
    assert chain(Budget(calls=1)).linked.chain("tools/list", "outbound").steps == ()


def test_calls_outside_its_scope_are_not_hidden() -> None:
    """A budget for one tool hides that one only."""
    run = Run()
    made = chain(Budget(calls=1, tools=["dear"], hide=True))
    made.make(run, name="dear")
    assert listed(made, run, DEAR, CHEAP) == [CHEAP]


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"cost": "2.00"}, ValueError, "money is written like"),
        ({"cost": 2}, TypeError, "money is text"),
        ({"cost": "0 USD", "max_cost": "0 USD"}, ValueError, "more than 0"),
        ({"cost": "0.0000001 USD", "max_cost": "0 USD"}, ValueError, "exact to six decimals"),
        ({"cost": "1 USD"}, ValueError, "nothing says what calls cost"),
        ({"cost": "1 USD", "usage": {"cost": "/c"}}, ValueError, "nothing says what calls cost"),
        ({"cost": "1 USD", "max_cost": "2 USD"}, ValueError, "no call would be admitted"),
        ({"cost": "1 USD", "max_cost": "1 EUR"}, ValueError, "in EUR, and the budget in USD"),
        ({"cost": "1 USD", "prices": {"a": "1 EUR"}}, ValueError, "in EUR, and the budget in USD"),
        ({"prices": {"a": "1 EUR"}}, ValueError, "give cost"),
        ({"max_cost": "1 EUR"}, ValueError, "give cost"),
        ({"tokens": 5}, ValueError, "tokens needs max_tokens"),
        ({"tokens": 5, "max_tokens": 5}, ValueError, "and usage"),
        ({"tokens": 5, "max_tokens": 6, "usage": {"tokens": "/t"}}, ValueError, "no call would be"),
        ({"tokens": 5, "max_tokens": 1, "usage": {"cost": "/t"}}, ValueError, "tokens needs"),
        ({"tokens": 0, "max_tokens": 0, "usage": {"tokens": "/t"}}, ValueError, "at least 1"),
        ({"tokens": 10**16, "max_tokens": 1, "usage": {"tokens": "/t"}}, ValueError, "at most"),
        ({"max_tokens": 5}, ValueError, "give tokens"),
        ({"bytes": 5}, ValueError, "bytes needs max_bytes"),
        ({"bytes": 5, "max_bytes": 2.5}, TypeError, "max_bytes is a whole number"),
        ({"bytes": 5, "max_bytes": -1}, ValueError, "max_bytes"),
        ({"max_bytes": 5}, ValueError, "give bytes"),
        ({"usage": {"cost": "/c"}}, ValueError, "neither is limited"),
        ({"cost": "1 USD", "max_cost": "1 USD", "usage": {}}, ValueError, "cost or tokens"),
        ({"cost": "1 USD", "max_cost": "1 USD", "usage": {"price": "/c"}}, ValueError, "cost or tokens"),
        ({"cost": "1 USD", "max_cost": "1 USD", "usage": {"cost": "c"}}, ValueError, "begins with a slash"),
        ({"cost": "1 USD", "max_cost": "1 USD", "usage": "/cost"}, TypeError, "usage is a mapping"),
        ({"warn_at": 0}, ValueError, "warn_at"),
        ({"warn_at": 1.5}, ValueError, "warn_at"),
        ({"warn_at": float("nan")}, ValueError, "warn_at"),
        ({"warn_at": "most"}, TypeError, "warn_at"),
    ],
)
def test_misuse_is_refused_when_it_is_built(
    options: dict[str, Any], error: type[Exception], text: str
) -> None:
    """Zero, negative, huge and fractional; a budget under which nothing could be called."""
    with pytest.raises(error, match=text):
        Budget(**options)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_account_is_ever_overspent(data: st.DataObject) -> None:
    """Any interleaving of sub-agents' calls, answers and cancellations, where none tells more than was held."""
    limit = data.draw(st.integers(1, 20), label="limit")
    most = data.draw(st.integers(1, limit), label="most")
    budget = Budget(
        calls=data.draw(st.integers(1, 12), label="calls"),
        cost=f"0.{limit:02} USD",
        max_cost=f"0.{most:02} USD",
        usage={"cost": "/structuredContent/usage/cost"},
    )
    calls: Any = budget.status()["calls"]
    made, root = chain(budget), Run(id="0")
    runs = [root, Run(id="1", parent=root), Run(id="2", parent=root)]
    spent = {run: [0, 0] for run in runs}
    under_way: list[tuple[Run, Driven]] = []
    for _ in range(data.draw(st.integers(1, 30), label="steps")):
        if data.draw(st.booleans()) or not under_way:
            run = data.draw(st.sampled_from(runs))
            driven = made.begin(run)
            fits = all(spent[one][0] < calls and spent[one][1] + most <= limit for one in run.lineage)
            assert driven.is_on_the_wire == fits
            if fits:
                under_way.append((run, driven))
                for one in run.lineage:
                    spent[one] = [spent[one][0] + 1, spent[one][1] + most]
        else:
            run, driven = under_way.pop(data.draw(st.integers(0, len(under_way) - 1)))
            ending = data.draw(st.one_of(st.sampled_from(["cancel", "unsent", "lost"]), st.integers(0, most)))
            if ending == "cancel":
                driven.cancel()
            elif ending == "unsent":
                driven.answer(UNSENT)
            elif ending == "lost":
                driven.answer(LOST)
            else:
                driven.answer(told(cost=ending / 100))
            for one in run.lineage:
                if ending == "unsent":
                    spent[one] = [spent[one][0] - 1, spent[one][1] - most]
                elif isinstance(ending, int):
                    spent[one] = [spent[one][0], spent[one][1] - most + ending]
        assert all(count <= calls and money <= limit for count, money in spent.values())
        accounts: Any = budget.status()["accounts"]
        for account in accounts:
            count, money = spent[runs[int(account["of"].split("'")[1])]]
            assert account["calls"] == count
            assert account["cost"] == f"0.{money:02} USD"
    for _, driven in under_way:
        driven.cancel()
