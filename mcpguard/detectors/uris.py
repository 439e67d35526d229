"""What a URI may be taken for by a server more lenient than the rule it is compared with.

Beside: `readings`, which decodes; here a reading becomes what a URL parser or a file system makes of it. A
rule that grants holds for all spellings of a URI, one that refuses for any.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from functools import partial
from typing import Final
from urllib.parse import unquote

from mcpguard.core.scope import Matcher, matcher
from mcpguard.detectors.readings import Unreadable, readings

__all__ = ["expansions", "loose_spellings", "spelled", "spellings"]

MAX_URI: Final = 8192
"""Characters of a URI that is read; servers refuse longer ones (RFC 9110, section 4.1, asks for 8000)."""

MAX_ESCAPES: Final = 4
"""Times escapes are undone; deeper nesting stays as it is."""

_LEFT_OUT: Final = {ord(letter): None for letter in "\t\n\r"}
_AROUND: Final = "".join(map(chr, range(0x21)))
"""What URL parsers drop inside, and at both ends (WHATWG URL, basic URL parser)."""

_WRAPPED: Final = re.compile(r"(?i)<?(?:url:)?(.*?)>?", re.DOTALL)
"""What some libraries take off (RFC 3986, appendix C)."""

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(//)?(.*)", re.DOTALL)
_PORTS: Final = {"file": "", "ftp": "21", "http": "80", "https": "443", "ws": "80", "wss": "443"}
"""Schemes that need no slashes before their host (WHATWG URL, special schemes), and their ports."""

_HERE: Final = frozenset({"localhost", "127.0.0.1"})
"""Hosts that are none in a `file:` URI (RFC 8089, section 2)."""

_REST: Final = re.compile(r"[?#;\x00]|::\$", re.DOTALL)
"""Where servers stop to read: query, fragment, parameters, the end of a C string, a stream of NTFS."""

_EXPRESSION: Final = re.compile(r"\{[^{}]*\}")
"""An expression of a template (RFC 6570, section 2.2)."""


def spellings(uri: str) -> Collection[str] | None:
    """Every reading of `uri`, resolved; a backslash is a separator, and is none. None if that has no end."""
    if len(uri) > MAX_URI:
        return None
    try:
        read = readings(uri)
    except Unreadable:
        return None
    found = dict.fromkeys(map(_resolved, read))
    found.update(dict.fromkeys(map(partial(_resolved, separators="/"), (one for one in read if "\\" in one))))
    return found.keys()


def loose_spellings(uri: str) -> Collection[str] | None:
    """The same, and each without what servers may not read: query, fragment, parameters, a fading end."""
    found = spellings(uri)
    return None if found is None else {*found, *map(_bare, found)}


def spelled(patterns: Iterable[str]) -> Iterator[str]:
    """URIs and globs of a rule, and all their spellings."""
    for pattern in patterns:
        yield pattern
        yield _resolved(pattern)
        yield from spellings(pattern) or ()


def expansions(patterns: Iterable[str]) -> Matcher:
    """Whether a URI may be what a template among `patterns` is expanded to; more than can be, never less."""
    known = [
        (matcher([_EXPRESSION.sub("*", one)]), one.count("/") if _is_simple(one) else None)
        for one in patterns
        if _EXPRESSION.search(one)
    ]
    return lambda uri: any(slashes in (None, uri.count("/")) and matches(uri) for matches, slashes in known)


def _is_simple(template: str) -> bool:
    """Whether no expression of a template makes slashes (RFC 6570, section 3.2.2)."""
    return all(expression[1:-1].isidentifier() for expression in _EXPRESSION.findall(template))


def _resolved(uri: str, *, separators: str = "/\\") -> str:
    """`uri` with its escapes undone, dots and empty segments resolved, scheme and host in one form.

    More than RFC 3986, section 6.2.2, calls equivalent, and therefore for comparing beside the URI as it is
    written, never in its place. Text without a scheme and `://` only has its escapes undone, save of schemes
    that parsers complete. Tabs and line ends are left out before anything else, and blanks and controls
    around it, as in the URL standard of the WHATWG.
    """
    for _ in range(MAX_ESCAPES):
        before, uri = uri, unquote(uri.translate(_LEFT_OUT).strip(_AROUND))
        if uri == before:
            break
    slashed = uri.replace("\\", "/") if "\\" in separators else uri
    wrapped = _WRAPPED.fullmatch(slashed)
    parts = _SCHEME.fullmatch(slashed if wrapped is None else wrapped[1])
    if parts is None:
        return uri
    scheme, rest = parts[1].lower(), parts[3]
    if not parts[2]:
        if scheme not in _PORTS:
            return uri
        rest = f"/{rest.lstrip('/')}" if scheme == "file" else rest.lstrip("/")
    host, slash, path = rest.partition("/")
    segments = path.split("/")
    kept: list[str] = []
    for segment in segments:
        if _leads_up(segment):
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    if kept and segments[-1] in ("", ".", ".."):
        kept.append("")
    return f"{scheme}://{_host(scheme, host)}{slash}{'/'.join(kept)}"


def _leads_up(segment: str) -> bool:
    """Whether a segment leads up, or does once parameters are taken off and dots and blanks fade."""
    name = segment.partition(";")[0]
    return name.count(".") > 1 and not name.strip(". ")


def _host(scheme: str, authority: str) -> str:
    host = authority.rpartition("@")[2].lower()
    port = _PORTS.get(scheme)
    if port is not None:
        name, colon, given = host.rpartition(":")
        if colon and given in ("", port):
            host = name
        host = host.removesuffix(".")
    return "" if scheme == "file" and host in _HERE else host


def _bare(uri: str) -> str:
    return _REST.split(uri, maxsplit=1)[0].rstrip("/. ")
