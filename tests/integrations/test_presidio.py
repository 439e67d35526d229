"""Presidio, as docs/integrations/presidio.md shows it: its analyzer with real recognisers and no language model."""

from typing import Any

import pytest

pytest.importorskip("presidio_analyzer")

import spacy
from chains import Wire, linked, tool_call
from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
from presidio_analyzer.nlp_engine import SpacyNlpEngine
from presidio_analyzer.predefined_recognizers import CryptoRecognizer, MedicalLicenseRecognizer, NhsRecognizer

from mcpguard import Guard, Redaction, Redactor, Result
from mcpguard.integrations.presidio import OVERLAP, WINDOW, Presidio
from mcpguard.testing import FakeServer, RecordingSink

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore")]

NHS = "943 476" + " 5919"
WALLET = "1BoatSLRHtKNngkdXEeob" + "R76b53LETtpyT"


class Blank(SpacyNlpEngine):
    """Words and no more: what recognisers of patterns need."""

    def __init__(self) -> None:
        super().__init__()
        self.nlp = {"en": spacy.blank("en")}


@pytest.fixture(scope="module")
def analyzer() -> AnalyzerEngine:
    """An engine with three recognisers of things that the built-in detectors do not know."""
    recognisers = [NhsRecognizer(), CryptoRecognizer(), MedicalLicenseRecognizer()]
    return AnalyzerEngine(registry=RecognizerRegistry(recognizers=recognisers), nlp_engine=Blank())


async def read(text: str, analyzer: AnalyzerEngine, **options: Any) -> str:
    """What a tool's answer reads after a Redaction that asks Presidio."""
    redaction = Redaction(detectors=[Presidio(analyzer, **options)])
    answer = Result.of({"content": [{"type": "text", "text": text}]})
    result = await linked(redaction).chain("tools/call", "outbound")(tool_call(), Wire(answer))
    content: Any = (result.value or {})["content"]
    return str(content[0]["text"])


async def test_what_presidio_finds_is_redacted_and_without_it_it_is_not(analyzer: AnalyzerEngine) -> None:
    """Real recognisers, with their own checksums: a number with a wrong digit stays."""
    server = FakeServer()
    server.tool("read").returns(f"Patient {NHS}, not {NHS[:-1]}7; pays with {WALLET}.")
    for guard, said in (
        (Guard([Redaction()]), f"Patient {NHS}, not {NHS[:-1]}7; pays with {WALLET}."),
        (
            Guard([Redaction(detectors=[Presidio(analyzer)])]),
            f"Patient [REDACTED:uk_nhs], not {NHS[:-1]}7; pays with [REDACTED:crypto].",
        ),
    ):
        async with server.connect() as streams, guard.run():
            from mcp import ClientSession

            async with guard.session(ClientSession(*streams), name="files") as session:
                await session.initialize()
                result = await session.call_tool("read", {})
                assert result.content[0].text == said


async def test_entities_and_threshold_narrow_what_counts(analyzer: AnalyzerEngine) -> None:
    """Presidio's own words for them."""
    text = f"{NHS} and {WALLET}"
    assert await read(text, analyzer, entities=["CRYPTO"]) == f"{NHS} and [REDACTED:crypto]"
    assert await read(text, analyzer, threshold=0) == "[REDACTED:uk_nhs] and [REDACTED:crypto]"


@pytest.mark.parametrize("before", [0, WINDOW - 5, WINDOW - OVERLAP - 5, 3 * WINDOW - 20])
def test_a_finding_anywhere_in_a_long_text_is_found_where_it_is(
    analyzer: AnalyzerEngine, before: int
) -> None:
    """Windows overlap; places are those of the whole text."""
    text = "a b " * (before // 4) + f"{NHS} " + "c d " * 100
    found = {(one.start, one.end) for one in Presidio(analyzer, entities=["UK_NHS"])(text)}
    assert found == {(text.index(NHS), text.index(NHS) + len(NHS))}


async def test_what_sinks_get_has_passed_presidio(analyzer: AnalyzerEngine) -> None:
    """As part of a scrubber."""
    sink = RecordingSink()
    scrubber = Redactor(detectors=[Presidio(analyzer)])
    answer = Result.of({"content": [{"type": "text", "text": f"Patient {NHS}"}]})
    chain = linked(Redaction(secrets=False, pii=[]), sinks=[sink], scrubber=scrubber)
    await chain.chain("tools/call", "outbound")(tool_call(note=NHS), Wire(answer))
    assert "uk_nhs" in repr(sink.events)
    assert NHS not in repr(sink.events)


def test_a_threshold_out_of_range_is_refused(analyzer: AnalyzerEngine) -> None:
    """At construction."""
    with pytest.raises(ValueError, match="from 0 to 1"):
        Presidio(analyzer, threshold=1.5)
