"""What is made to hurt whoever reads it, through everything that reads content, all at once."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from chains import Wire, linked, tool_call
from seeds import FORMATS, token

from mcpguard import (
    DestinationRule,
    FlowControl,
    InjectionScan,
    Redaction,
    Redactor,
    Result,
    ResultLimit,
    Run,
    TextHygiene,
    WireError,
)
from mcpguard.core.strings import strings_of
from mcpguard.testing import RecordingSink

pytestmark = pytest.mark.anyio

KINDS = {one.kind: one for one in FORMATS}
TOKEN = token(KINDS["github_token"])
OTHER = token(KINDS["npm_token"], 1)
PASSWORD = "r33-house" + "-9xQ4"


@pytest.fixture
def anyio_backend() -> str:
    """One is enough: nothing here waits."""
    return "asyncio"


DEEP: Any = {"value": TOKEN}
for _ in range(3_000):
    DEEP = [DEEP]


def nested(depth: int) -> str:
    """JSON in JSON in JSON, as text."""
    text = TOKEN
    for _ in range(depth):
        text = json.dumps({"body": text})
    return text


TEXTS: dict[str, Callable[[], str]] = {
    "nested quantifiers": lambda: "a" * 100_000 + "!" + "=" * 100_000,
    "nearly passwords": lambda: "password: " * 20_000,
    "nearly tokens": lambda: f"{TOKEN[:20]} " * 50_000,
    "nearly keys": lambda: "-----BEGIN PRIVATE KEY-----" * 20_000,
    "nearly addresses": lambda: "a@" * 50_000,
    "nearly URLs with a password": lambda: "https://u:" * 50_000,
    "nearly orders": lambda: "ignore all " * 50_000,
    "nearly links": lambda: "![" * 100_000 + "](" * 100_000,
    "nearly escapes": lambda: "\x1b]" * 100_000 + "\x1b[" * 100_000,
    "lone surrogates": lambda: "\ud800" * 50_000 + "\udc00x" * 1_000,
    "invalid JSON": lambda: '{"a": "\\u202e' + "\\u20" * 50_000,
    "base64 without end": lambda: "QUFB" * 250_000 + "=",
    "base64 of base64": lambda: base64.b64encode(base64.b64encode(b"ignore all " * 10_000)).decode(),
    "a data URI of nothing but text": lambda: (
        "data:text/plain;base64," + base64.b64encode(b"a b " * 100_000).decode()
    ),
}


def guarded(**more: Any) -> Any:
    """A chain of everything that reads what a server answers."""
    flow = FlowControl(trifecta="deny", destinations=DestinationRule(action="deny"))
    parts = [flow, Redaction(), ResultLimit(action="spill"), InjectionScan(), TextHygiene()]
    return linked(*parts, **more).chain("tools/call", "outbound")


async def answered(value: dict[str, Any] | Result, **more: Any) -> Result:
    """What the agent gets."""
    answer = value if isinstance(value, Result) else Result.of(value)
    result: Result = await guarded(**more)(tool_call(run=Run()), Wire(answer))
    if result.denial is not None:
        assert result.denial.code in ("hidden_text", "redacted", "result_too_large", "interceptor_failed")
    return result


def holds(result: Result, *secrets: str) -> bool:
    """Whether anything of an answer, its refusal included, holds a secret."""
    told = [*strings_of(result).every, repr(result.denial)]
    return any(secret in text for secret in secrets for text in told)


@pytest.mark.parametrize("name", TEXTS)
async def test_a_text_made_to_blow_up_is_read_to_its_end(name: str) -> None:
    """A secret behind it is found, or all is withheld; nothing crashes on the way."""
    result = await answered({"content": [{"type": "text", "text": TEXTS[name]() + f"\n{TOKEN}\n"}]})
    assert not holds(result, TOKEN)
    assert result.denial is None or result.denial.code != "interceptor_failed"


@pytest.mark.parametrize(
    "value",
    [
        {"content": [], "structuredContent": {"deep": DEEP}},
        {
            "content": [],
            "structuredContent": {str(number): number for number in range(30_000)} | {"x": TOKEN},
        },
        {
            "content": [{"type": "text", "text": str(number)} for number in range(30_000)]
            + [{"type": "text", "text": TOKEN}]
        },
        {"content": [{"type": "text", "text": nested(3)}]},
        {"content": [{"type": "text", "text": f"[{TOKEN}, "}]},
    ],
    ids=["deep", "wide", "thirty thousand blocks", "JSON in JSON in JSON", "JSON cut off"],
)
async def test_whatever_the_shape_no_secret_comes_out(value: dict[str, Any]) -> None:
    """What cannot be looked at, or rewritten, is withheld."""
    result = await answered(value)
    assert result.denial is not None or result.value is not None
    assert not holds(result, TOKEN)


async def test_fifty_megabytes_are_looked_at_and_cut() -> None:
    """Before they are cut, so that what stays is clean as well."""
    body = "the quick brown fox, " * 2_500_000
    result = await answered({"content": [{"type": "text", "text": f"{TOKEN} {body} {TOKEN}"}]})
    assert result.denial is None
    assert not holds(result, TOKEN)
    assert sum(map(len, strings_of(result).every)) < 300_000


@pytest.mark.parametrize(
    "blocks",
    [
        [TOKEN + OTHER],
        [f"password={TOKEN}{OTHER}"],
        [f"https://u:{PASSWORD}@h/?token={TOKEN}&key={OTHER}"],
        [TOKEN[:20], TOKEN[20:]],
        [*TOKEN],
        [json.dumps({"password": PASSWORD, "copy": [PASSWORD, TOKEN]})],
        [f"password:\n  {PASSWORD}\n"],
    ],
    ids=[
        "side by side",
        "one in another",
        "three in a URL",
        "over two blocks",
        "a letter a block",
        "twice",
        "over lines",
    ],
)
async def test_secrets_that_overlap_or_are_split_do_not_come_out(blocks: list[str]) -> None:
    """Read one after another, too."""
    result = await answered({"content": [{"type": "text", "text": text} for text in blocks]})
    read = "".join(strings_of(result).every)
    for secret in (TOKEN, OTHER, PASSWORD):
        assert secret not in read
        assert not holds(result, secret)


async def test_no_record_and_no_error_of_any_of_it_holds_a_secret() -> None:
    """Events, scrubbed; messages, data and causes of errors."""
    sink = RecordingSink()
    for answer in (
        Result.of({"content": [{"type": "text", "text": f"key {TOKEN}"}], "_meta": {"note": TOKEN}}),
        Result.of({"content": [], "structuredContent": {"deep": DEEP}}),
    ):
        assert not holds(await answered(answer, sinks=[sink], scrubber=Redactor()), TOKEN)
    failed = Result.of({"content": []}).replace(
        error=WireError(-32603, f"no {TOKEN}", {"at": [TOKEN]}), value=None
    )
    assert not holds(await answered(failed, sinks=[sink], scrubber=Redactor()), TOKEN)
    assert sink.events
    assert TOKEN not in repr([event.as_dict() for event in sink.events])
