"""Credentials in structured content that are told by the members beside or above them.

A variable's `value` by its `name`, a header's second item by its first, the members of a JSON Web Key, the
lines of a private key in a list. What a member's own name tells is told here too.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, cast

from mcpguard.core.content import Passage, Path, Use
from mcpguard.core.wire import JSON
from mcpguard.detectors.secrets.assignments import is_login, is_secret_name, is_secret_value
from mcpguard.detectors.secrets.private_keys import KEY_MEMBERS, holds_begin, holds_end
from mcpguard.detectors.secrets.stop_list import is_placeholder, looks_made

__all__ = ["has_secret_member", "secret_members"]

_BESIDE: Final = ("name", "key", "Name", "Key")
"""Members that say what the `value` beside them is."""

_PLAIN_KEYS: Final = frozenset({"text", "type", "content", "structuredContent", "_meta", "name", "uri"})
"""Keys of the protocol that most messages have: they name no secret."""

_VALUES: Final = frozenset({"value", "Value"})
_HEADERS: Final = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key", "x-auth-token"})
_LOGINS: Final = frozenset({"auth", "_auth"})


def has_secret_member(value: JSON) -> bool:
    """Whether a member with a secret's name holds a string, at any depth."""
    ahead: list[object] = [value]
    while ahead:
        one = ahead.pop()
        if isinstance(one, list | tuple):
            items = cast("Sequence[object]", one)
            if len(items) == 2 and isinstance(items[0], str) and items[0].lower() in _HEADERS:
                return True
            if any(isinstance(item, str) and _is_option(item) for item in items):
                return True
            ahead.extend(items)
        elif isinstance(one, dict) or isinstance(one, Mapping):  # noqa: SIM101 - a dict is told in no time
            if _is_told_by_another(cast("Mapping[str, object]", one)):
                return True
            for key, member in cast("Mapping[str, object]", one).items():
                kind = type(member)
                if (
                    (kind is str or kind is list or _has_value(member))
                    and key not in _PLAIN_KEYS
                    and is_secret_name(key)
                ):
                    return True
                if kind is not str:
                    ahead.append(member)
    return False


def _has_value(member: object) -> bool:
    return isinstance(member, Mapping) and "value" in member


def secret_members(seen: Iterable[Passage]) -> dict[Path, str]:
    """The places of strings that are credentials as a whole, with their kinds."""
    texts = {one.path: one for one in seen if not one.is_key}
    found: dict[Path, str] = {}
    block: Path | None = None
    for path, one in texts.items():
        inside = block is not None and path[:-1] == block
        if inside or holds_begin(one.text):
            if inside:
                found[path] = "private_key"
            in_list = bool(path) and isinstance(path[-1], int)
            block = None if holds_end(one.text) or not in_list else path[:-1]
        if path and one.use is not Use.OPAQUE and _is_secret(path, one, texts):
            found[path] = "credential"
    return found


def _is_secret(path: Path, one: Passage, texts: dict[Path, Passage]) -> bool:
    """Whether the string at `path` is a credential by what it is called."""
    own = path[-1]
    if isinstance(own, int) and own and _is_option(texts.get((*path[:-1], own - 1), one).text):
        return looks_made(one.text) and not is_placeholder(one.text)
    if own == 1 and (first := texts.get((*path[:-1], 0))) is not None:
        return first.text.lower() in _HEADERS and is_secret_value(first.text, one.text)
    if own in KEY_MEMBERS and (*path[:-1], "kty") in texts:
        return True
    if own in _LOGINS and is_login(one.text):
        return True
    if own in _VALUES:
        for beside in _BESIDE:
            named = texts.get((*path[:-1], beside))
            if named is not None and is_secret_name(named.text):
                return is_secret_value(named.text, one.text)
        path = path[:-1]
    name = next((part for part in reversed(path) if isinstance(part, str)), "")
    return one.use is Use.TEXT and is_secret_name(name) and is_secret_value(name, one.text)


def _is_option(text: str) -> bool:
    """Whether it is an option of a command line behind which a credential stands."""
    return text[:1] == "-" and is_secret_name(text.lstrip("-"))


def _is_told_by_another(members: Mapping[str, object]) -> bool:
    """Whether a member may be a credential by what stands beside or in it."""
    if "kty" in members:
        return True
    if "value" in members or "Value" in members:
        return any(isinstance(name := members.get(one), str) and is_secret_name(name) for one in _BESIDE)
    login = members.get("auth", members.get("_auth"))
    return isinstance(login, str) and is_login(login)
