"""JSON written out in a text block: the strings inside it, read and put back.

Servers send a result's structured content a second time as text, where an escape hides from whoever looks at
characters. Only a text that is one JSON document as a whole is read: escapes in source code are code.
"""

import json
import re
from collections.abc import Callable
from typing import Final

__all__ = ["rewritten_json"]

_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_STARTS: Final = ("{", "[", '"')


def rewritten_json(text: str, treat: Callable[[str], str]) -> str:
    """`text` with every string of its JSON treated, keys too; as it is where it is no JSON or has no escape.

    What is not changed keeps its spelling: white space, order of keys, numbers, other escapes.

    Args:
        text: Any text.
        treat: Given a string as it reads, what to put in its place.
    """
    if "\\" not in text or not text.lstrip().startswith(_STARTS):
        return text
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text

    def put_back(found: re.Match[str]) -> str:
        if "\\" not in found[0]:
            return found[0]
        read = json.loads(found[0], strict=False)
        treated = treat(read)
        return found[0] if treated == read else json.dumps(treated, ensure_ascii=found[0].isascii())

    return _STRING.sub(put_back, text)
