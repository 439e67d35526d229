"""Credentials in command lines and statements, where a blank stands between the name and its value.

An option with a secret's name, `curl -u`, the options of programs whose letter for a password is known,
`ENV NAME value`, SQL. A blank says less than a sign between, so the value must look like no word.
"""

import re
from collections.abc import Iterator
from typing import Final

from mcpguard.detectors.findings import Finding
from mcpguard.detectors.secrets.stop_list import could_be_credential

__all__ = ["behind_a_blank", "in_commands"]

_VALUE: Final = (
    r"(?:\\{0,3}[\"'](?P<quoted>[^\s\"'\\]{4,512}+)|"
    r"(?P<bare>[^\s\"'`|;&<>(){}\[\]\\,-][^\s\"'`|;&<>(){}\[\]\\,]{3,511}+))"
)
_OPTION: Final = re.compile(rf"[A-Za-z0-9_.-]{{0,48}}+(?:\\{{0,3}}[\"'],?)?[ \t]{{1,8}}+{_VALUE}")
_QUOTED: Final = re.compile(
    r"[A-Za-z0-9_]{0,48}+(?:[ \t]{1,8}+|\()\\{0,3}[\"'](?P<quoted>[^\s\"'\\()]{4,512}+)\\{0,3}[\"']"
)
_SAID: Final = re.compile(r"[A-Za-z]{0,4}+ (?:is|was):? (?P<bare>[^\s\"'`,;<>()]{8,128}+)(?<![.!?:])")
_STATED: Final = re.compile(
    r"(?:(?:\A|\n)[ \t]{0,16}(?:ENV|setx|set)[ ]|\b(?:machine|login|with|set)\b[^\n]{0,80} )"
    r"[A-Za-z0-9_]{0,48}\Z",
    re.IGNORECASE,
)
_LOGIN: Final = re.compile(
    r"-(?:u|U|-user|-proxy-user)(?:[ \t]{1,8}+|=)['\"]?[^\s:%'\"/]{1,64}[:%](?P<bare>[^\s'\"]{3,256}+)"
)
_PROGRAM: Final = re.compile(
    r"(?:\b(?:(?:sshpass|az login|docker login|podman login|helm registry login)\b[^\n|;&]{0,160}? -p|"
    r"redis-cli\b[^\n|;&]{0,80}? -a|(?:mysql|mysqldump|mysqladmin|mariadb)\b[^\n|;&]{0,160}? -p|"
    r"htpasswd\b -[a-zA-Z]{0,4}b[a-zA-Z]{0,4} \S{1,128} \S{1,64}|IDENTIFIED BY|requirepass|"
    r"ConvertTo-SecureString(?: -String)?)|-pass(?:in|out) pass)"
    r"[ =:]{0,2}['\"]?(?P<bare>[^\s'\"]{4,256}+)",
)
_PROGRAMS: Final = (
    "sshpass",
    " login",
    "redis-cli",
    "mysql",
    "mariadb",
    "htpasswd",
    "IDENTIFIED BY",
    "requirepass",
    "-pass",
    "SecureString",
)
"""One of these stands in everything that is told by its program."""

_COMMANDS: Final = (" -", "IDENTIFIED BY", "requirepass")
"""And one of these, which fewer texts have."""


def behind_a_blank(text: str, start: int, end: int) -> tuple[int, int] | None:
    """The value behind a name with a blank between, if it is a credential.

    Args:
        text: What both stand in.
        start: Where the name begins.
        end: Where what is known of the name ends; it may go on.
    """
    before = max(0, start - 160)
    if (
        text[start : start + 1] == "-"
        or text[start - 1 : start] == "-"
        or _STATED.search(text, before, start)
    ):
        found = _OPTION.match(text, end)
        name = "quoted" if found is not None and found["quoted"] is not None else "bare"
    else:
        found, name = _QUOTED.match(text, end), "quoted"
        if found is None:
            found, name = _SAID.match(text, end), "bare"
    if found is None or not could_be_credential(found[name]):
        return None
    return found.span(name)


def in_commands(text: str) -> Iterator[Finding]:
    """Every password in a command or statement that is told by the program and not by a name."""
    if not any(map(text.__contains__, _COMMANDS)):
        return
    patterns = [_LOGIN] if "-u" in text or "-U" in text or "-proxy-user" in text else []
    if any(map(text.__contains__, _PROGRAMS)):
        patterns.append(_PROGRAM)
    for pattern in patterns:
        for found in pattern.finditer(text):
            if could_be_credential(found["bare"]):
                yield Finding(*found.span("bare"), "credential")
