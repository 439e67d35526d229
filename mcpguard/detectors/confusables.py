"""Which names look alike: one skeleton for all that a reader, or a model, would take for the same.

After UTS 39 (Unicode security mechanisms), reduced to letters that pass for Latin ones, and stricter where a
name is concerned: case, separators and invisible characters do not tell two names apart.
"""

import unicodedata
from collections.abc import Mapping
from typing import Final

__all__ = ["LOOKALIKES", "skeleton"]

_PAIRS: Final = (
    ("а", "a"), ("ạ", "a"), ("ɑ", "a"), ("α", "a"), ("Ь", "b"), ("ƅ", "b"), ("с", "c"), ("ϲ", "c"),
    ("ԁ", "d"), ("ɗ", "d"), ("е", "e"), ("ҽ", "e"), ("є", "e"), ("ε", "e"), ("ƒ", "f"), ("ɡ", "g"),
    ("ց", "g"), ("һ", "h"), ("հ", "h"), ("і", "i"), ("ı", "i"), ("ɩ", "i"), ("ι", "i"), ("ј", "j"),
    ("ϳ", "j"), ("к", "k"), ("κ", "k"), ("ӏ", "l"), ("ⅼ", "l"), ("ʟ", "l"), ("м", "m"), ("ո", "n"),
    ("п", "n"), ("η", "n"), ("о", "o"), ("ο", "o"), ("օ", "o"), ("σ", "o"), ("р", "p"), ("ρ", "p"),
    ("ԛ", "q"), ("г", "r"), ("ѕ", "s"), ("ꜱ", "s"), ("т", "t"), ("τ", "t"), ("ս", "u"), ("υ", "u"),
    ("ѵ", "v"), ("ν", "v"), ("ѡ", "w"), ("ԝ", "w"), ("ω", "w"), ("х", "x"), ("χ", "x"), ("у", "y"),
    ("ү", "y"), ("γ", "y"), ("ᴢ", "z"), ("ʐ", "z"), ("в", "b"), ("н", "h"), ("ø", "o"), ("ł", "l"),
    ("đ", "d"), ("ᴀ", "a"), ("ʙ", "b"), ("ᴄ", "c"), ("ᴅ", "d"), ("ᴇ", "e"), ("ꜰ", "f"), ("ɢ", "g"),
    ("ʜ", "h"), ("ɪ", "i"), ("ᴊ", "j"), ("ᴋ", "k"), ("ᴍ", "m"), ("ɴ", "n"), ("ᴏ", "o"), ("ᴘ", "p"),
    ("ʀ", "r"), ("ᴛ", "t"), ("ᴜ", "u"), ("ᴠ", "v"), ("ᴡ", "w"), ("ʏ", "y"), ("ɋ", "q"),
)  # fmt: skip

_OTHER_SCRIPTS: Final = (
    (
        "ꓐꓑꓓꓔꓖꓗꓙꓚꓜꓝꓟꓠꓡꓢꓣꓦꓧꓪꓫꓬꓮꓰꓲꓳꓴᎠᎡᎢᎥᎪᎫᎬᎳᎷᎻᏀᏃᏒᏔᏕᏙᏚᏞᏟᏢᏦᏧᏳᏴ",
        "bpdtgkjczfmnlsrvhwxyaeioudrtiajewmhgzrwsvslcpkdgb",
    ),
    ("ⲛⲟⲣⲥɍɨǥագқǀ", "nopcrigwqkl"),
)
"""Cherokee, Lisu, Coptic and some others -> Latin, letter by letter (Unicode, confusables.txt)."""

LOOKALIKES: Final[Mapping[str, str]] = {
    one: latin
    for small, latin in (*_PAIRS, *(pair for row in _OTHER_SCRIPTS for pair in zip(*row, strict=True)))
    for one in (small, small.upper())
    if len(one) == 1
}
"""A letter that is not ASCII -> the small Latin letter it passes for."""

_LATIN: Final = str.maketrans(dict(LOOKALIKES))

_ALIKE: Final = str.maketrans(
    {"0": "o", "1": "l", "i": "l", "|": "l", "5": "s", "3": "e", "$": "s", "@": "a", "ß": "b"}
    | dict.fromkeys("_-./: '\"`", "")
)
"""In a name: what is read as something else, and what is overlooked."""


def skeleton(name: str) -> str:
    """What two names have in common that look alike; not for showing."""
    marks = unicodedata.normalize("NFKD", name.translate(_LATIN))
    letters = "".join(one for one in marks if unicodedata.category(one)[0] not in "MC")
    folded = letters.casefold().translate(_LATIN).translate(_ALIKE)
    return folded.replace("rn", "m").replace("vv", "w")
