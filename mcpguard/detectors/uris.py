"""What a URI may be taken for by a server more lenient than the rule it is compared with."""

from typing import Final
from urllib.parse import unquote

__all__ = ["resolved"]

MAX_ESCAPES: Final = 4
"""Times escapes are undone; deeper nesting stays as it is."""

_LEFT_OUT: Final = {ord(letter): None for letter in "\t\n\r"}
_AROUND: Final = "".join(map(chr, range(0x21)))
"""What URL parsers drop inside, and at both ends (WHATWG URL, basic URL parser)."""


def resolved(uri: str) -> str:
    """`uri` with its escapes undone, dots and empty segments resolved, scheme and host in lower case.

    More than RFC 3986, section 6.2.2, calls equivalent, and therefore for comparing beside the URI as it is
    written, never in its place. Text without `://` only has its escapes undone. Tabs and line ends are left
    out before anything else, and blanks and controls around it, as in the URL standard of the WHATWG.
    """
    for _ in range(MAX_ESCAPES):
        before, uri = uri, unquote(uri.translate(_LEFT_OUT).strip(_AROUND))
        if uri == before:
            break
    scheme, separator, rest = uri.replace("\\", "/").partition("://")
    if not separator:
        return uri
    host, slash, path = rest.partition("/")
    segments = path.split("/")
    kept: list[str] = []
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    if kept and segments[-1] in ("", ".", ".."):
        kept.append("")
    return f"{scheme.lower()}://{host.lower()}{slash}{'/'.join(kept)}"
