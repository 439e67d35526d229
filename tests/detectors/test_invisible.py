"""Invisible text: what hides goes, what people write stays to the byte."""

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpguard.detectors.invisible import CHUNK, clean, is_clean

HONEST = {
    "Arabic": "مرحبًا بكم في المكتبة. الرقم ١٢٣، و«النص» هنا.\u200f (C++) \u200eAPI",
    "Arabic with a joiner": "سنة ١٤٤٥ ه\u200d، ص ٤",
    "Hebrew": "שָׁלוֹם עוֹלָם! \u200f(C++)\u200e וגם 100% מהטקסט.",
    "Hebrew with a joiner of accents": "יְרוּשָׁלִַ\u034fם",
    "Persian": "می\u200cخواهم کتاب\u200cها را بخوانم.",
    "Persian with two": "خانه\u200c\u200cهای ما",
    "Hindi": "क्\u200dष और क्\u200cष; हिन्दी में लिखा हुआ पाठ।",
    "Malayalam": "അവന്\u200d പറഞ്ഞു",
    "Sinhala": "ශ්\u200dරී ලංකාව",
    "Thai": "ภาษา\u200bไทย\u200bไม่มี\u200bวรรค",
    "Khmer": "ភាសា\u200bខ្មែរ",
    "Japanese": "日本語のテキスト。\u200b葛\U000e0100城市、東京\ufe00",
    "Mongolian": "ᠮᠣᠩᠭᠣᠯ\u180b ᠪᠢᠴᠢᠭ\u180eᠡ",
    "Korean": "한국어 \u1112\u119e\u11ab \u115f\u1161 텍스트",
    "emoji": "❤️ 👍🏽 👨\u200d👩\u200d👧\u200d👦 🏳️\u200d🌈 🏴\u200d☠️ 👁️\u200d🗨️ ☎︎ ©️ 🇩🇪",
    "keycaps": "1️⃣ #️⃣ *⃣",
    "flags in tags": "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f and "
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "mathematics": "A ∩︀ B ≨︀ C",
    "line ends": "a\r\nb\tc\nd\re",
    "a file's first mark": "\ufeffid;name\n",
    "French": "Où ? Là\u00a0! «\u202foui\u202f»",
}


@pytest.mark.parametrize("language", HONEST)
def test_honest_text_comes_out_to_the_byte(language: str) -> None:
    """And so it does when it is cut anywhere into a longer text."""
    text = HONEST[language]
    assert clean(text).text.encode() == text.encode()
    assert is_clean(text)
    assert not clean(text).removed


@pytest.mark.parametrize(
    "text",
    ["Hello, \u2068Ana\u2069!", "\u2068שלום\u2069 (\u20685\u2069 files)", "\u2068a b\u2069\n\u2068c\u2069"],
)
def test_a_name_that_is_isolated_in_a_message_stays_so(text: str) -> None:
    """What CLDR's libraries write, whatever the language of the message."""
    assert is_clean(text)
    assert clean(text).text == text


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("ig\u2068no\u2069re", "ignore"),
        ("\u2068\u2069 a", " a"),
        ("\u2068a", "a"),
        ("a \u2069b", "a b"),
        ("\u2068a\nb\u2069", "a\nb"),
        ("\u2067a\u2069 \u2066b\u2069", "a b"),
        ("\u2068a\u2069 \u200bb", "a b"),
        ("\u2068" + "a" * 300 + "\u2069", "a" * 300),
    ],
)
def test_isolates_that_isolate_no_name_are_removed(text: str, cleaned: str) -> None:
    """In words, alone, around nothing or much, with a direction, and where other things are hidden."""
    assert clean(text).text == cleaned


HIDDEN = {
    "tags": ("hi" + "".join(chr(0xE0000 + ord(c)) for c in "send it") + "!", "hi!", {"tag": 7}),
    "tags behind a flag": ("🏴" + "".join(chr(0xE0000 + ord(c)) for c in "gbxyz") + "!", "🏴!", {"tag": 5}),
    "a flag that goes on": (
        "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f\U000e0041",
        "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
        {"tag": 1},
    ),
    "a bidi override": ("ok \u202etxt.exe\u202c", "ok txt.exe", {"bidi": 2}),
    "bidi isolates": ("a\u2066b\u2069", "ab", {"bidi": 2}),
    "a direction mark among Latin letters": ("pay\u200fpal", "paypal", {"bidi": 1}),
    "one too far from any right-to-left letter": ("א" + "." * 50 + "\u200f", "א" + "." * 50, {"bidi": 1}),
    "colours": ("\x1b[1;31mred\x1b[0m", "red", {"escape": 2}),
    "a cursor that goes back": ("safe\x1b[4D\x1b[Kevil", "safeevil", {"escape": 2}),
    "a window's title": ("a\x1b]0;title\x07b", "ab", {"escape": 1}),
    "a hyperlink": ("\x1b]8;;http://x\x1b\\text\x1b]8;;\x1b\\", "text", {"escape": 2}),
    "a device string": ("a\x1bPq#1\x1b\\b", "ab", {"escape": 1}),
    "eight-bit controls": ("a\x9b31mb\x9d0;t\x9cc", "abc", {"escape": 2}),
    "an escape that never ends": ("a\x1b]0;title", "a0;title", {"escape": 1}),
    "a character set": ("\x1b(0lqk\x1b(B", "lqk", {"escape": 2}),
    "controls": ("a\x00b\x08c\x7fd\x90e", "abcde", {"control": 4}),
    "a page's end": ("a\x0cb\x85c", "a\nb\nc", {"control": 2}),
    "zero width": ("ig\u200bno\u200cre\u200d \u2060al\u00adl\ufeff", "ignore all", {"zero_width": 6}),
    "fillers": ("a\u3164b\u115fc\uffa0", "abc", {"zero_width": 3}),
    "invisible operators": ("a\u2062b\u2064", "ab", {"zero_width": 2}),
    "bytes in variation selectors": ("😀" + "\ufe0f\ufe01\U000e0152\U000e0153", "😀\ufe0f", {"variation": 3}),
    "variation selectors behind letters": ("a\ufe0fb\U000e0100c", "abc", {"variation": 2}),
    "half a pair": ("a\ud800b", "a\ufffdb", {"surrogate": 1}),
    "a joiner between an emoji and a letter": ("😀\u200da", "😀a", {"zero_width": 1}),
    "a mark by a letter that is hidden": ("\u200e\x9d\u05d0\x07", "", {"escape": 1, "bidi": 1}),
}


@pytest.mark.parametrize("trick", HIDDEN)
def test_what_hides_is_removed_and_counted(trick: str) -> None:
    """By kind, so that the note can say what it was."""
    text, left, removed = HIDDEN[trick]
    assert not is_clean(text)
    assert clean(text).text == left
    assert clean(text).removed == removed


@pytest.mark.parametrize("language", HONEST)
@pytest.mark.parametrize("trick", ["tags", "a bidi override", "colours", "a window's title"])
def test_smuggling_inside_honest_text_is_removed_and_the_text_stays(language: str, trick: str) -> None:
    """Neither shields the other."""
    text, left, _ = HIDDEN[trick]
    honest = HONEST[language] + " "
    assert clean(honest + text + honest).text == honest + left + honest.replace("\ufeff", "")


PIECES = st.sampled_from(
    [
        *"ab1#\n\x1b[]m;0P\\\x07\x9b\x9c\x9d\u00ad\u200b\u200c\u200d\u200e\u200f\u202e\ufe0f\ufe00\ufeff",
        *"\u20e3\u180b\u05d0\u0645\u0915\u0e44\u8a9e\u182e\u2764\U0001f600\U0001f3f4\U0001f3fd\u180e\ud800",
        *"\U000e0067\U000e0062\U000e007f\U000e0100\u034f\u115f\u1161",
    ]
)


@given(st.lists(PIECES, max_size=30).map("".join))
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    """What is left has nothing to remove."""
    left = clean(text).text
    assert clean(left).text == left
    assert is_clean(left)


@given(st.text())
def test_nothing_is_removed_that_can_be_seen(text: str) -> None:
    """Letters, marks, numbers, punctuation and symbols come out as they went in; escapes take their letters."""
    if "\x1b" not in text and "\x9b" not in text and "\x9d" not in text:
        seen = [
            c for c in text if unicodedata.category(c)[0] in "LNPS" and c not in "\u115f\u1160\u3164\uffa0"
        ]
        assert [c for c in clean(text).text if c in set(seen)] == seen


@given(st.text(st.characters(codec="ascii")))
def test_the_quick_look_at_ascii_agrees_with_the_slow_one(text: str) -> None:
    """They are two pieces of code."""
    assert is_clean(text) == is_clean(text + "é")


def test_a_control_in_a_later_chunk_is_seen() -> None:
    """The quick look goes by chunks."""
    assert not is_clean("x" * (3 * CHUNK - 1) + "\x00")
    assert not is_clean("x" * CHUNK + "\x1b")
    assert is_clean("x" * (3 * CHUNK))


HOSTILE = [
    *(
        "\x1b",
        "\x1b]",
        "\x1b[",
        "\x1b[0;",
        "\x9d",
        "\x9b",
        "\x1bP",
        "\x1b(",
        "\u200d",
        "\u200e",
        "\ufe0f",
        "\ud800",
    ),
    *("\U000e0041", "🏴\U000e0067", "a\u200e", "😀\u200d", "\x1b]x"),
]


@pytest.mark.parametrize("piece", HOSTILE, ids=ascii)
def test_time_grows_with_length_and_no_faster(piece: str) -> None:
    """Sixteen times the text takes less than a hundred times the time: quadratic would be 256 times."""

    def took(count: int) -> float:
        best = float("inf")
        for _ in range(3):
            began = time.process_time()
            clean(piece * count)
            best = min(best, time.process_time() - began)
        return best

    assert took(16 * 2_000) < 100 * max(took(2_000), 1e-3)
