"""Ask at the terminal, one question at a time.

It reads the terminal itself, not standard input: what is piped into a program is no person's answer. What was
typed before the question was shown does not count.
"""

import json
import os
import select
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal

import anyio
import anyio.to_thread

from mcpguard.detectors.approval import Answer, ApprovalRequest, Approved, Declined

__all__ = ["TerminalApprover"]

POLL: Final = 0.2
"""Seconds after which a waiting question looks whether it has been withdrawn."""

MAX_LINE: Final = 65_536
"""Bytes of an answer that are read."""

_HELP: Final = "yes | no [reason] | edit {new arguments} | run (yes, and the same call again in this run)"

_ON_SCREEN: Final = threading.Lock()
"""One question at a time, in the whole process."""


class TerminalApprover:
    """Show a request on the terminal, and wait for a line.

    Args:
        device: The terminal.
    """

    def __init__(self, *, device: str = "/dev/tty") -> None:
        self._device = device

    async def __call__(self, request: ApprovalRequest, /) -> Answer:
        """Ask. Where there is no terminal the call is declined."""
        withdrawn = threading.Event()
        try:
            return await anyio.to_thread.run_sync(self._asked, request, withdrawn, abandon_on_cancel=True)
        finally:
            withdrawn.set()

    def _asked(self, request: ApprovalRequest, withdrawn: threading.Event) -> Answer:
        while not _ON_SCREEN.acquire(timeout=POLL):
            if withdrawn.is_set():
                return Declined(by="terminal", reason="withdrawn")
        try:
            with _opened(self._device) as terminal:
                return _dialogue(terminal, request, withdrawn)
        except OSError:
            return Declined(by="terminal", reason="there is no terminal to ask at")
        finally:
            _ON_SCREEN.release()


@contextmanager
def _opened(device: str) -> Iterator[int]:
    terminal = os.open(device, os.O_RDWR | getattr(os, "O_NOCTTY", 0))
    try:
        yield terminal
    finally:
        os.close(terminal)


def _dialogue(terminal: int, request: ApprovalRequest, withdrawn: threading.Event) -> Answer:
    _forget_typed(terminal)
    _show(terminal, "\n".join(["", *request.lines(), _HELP, "approve? "]))
    while True:
        line = _line(terminal, withdrawn)
        if line is None:
            _show(terminal, "\n(the question was withdrawn)\n")
            return Declined(by="terminal", reason="withdrawn")
        answer = _answer(line)
        if answer is not None:
            return answer
        _show(terminal, f"{_HELP}\napprove? ")


def _line(terminal: int, withdrawn: threading.Event) -> str | None:
    typed = b""
    while not typed.endswith(b"\n") and len(typed) < MAX_LINE:
        if withdrawn.is_set():
            return None
        if select.select([terminal], [], [], POLL)[0]:
            more = os.read(terminal, MAX_LINE)
            if not more:
                return "no"
            typed += more
    return typed.decode("utf-8", "replace").strip()


def _answer(line: str) -> Answer | None:
    word, _, rest = line.partition(" ")
    if word == "no":
        return Declined(by="terminal", reason=rest.strip())
    remember: Literal["once", "run"] = "run" if word == "run" else "once"
    if word in ("yes", "run") and not rest:
        return Approved(by="terminal", remember=remember)
    if word == "edit":
        try:
            return Approved(by="terminal", arguments=json.loads(rest))
        except (ValueError, TypeError, RecursionError):
            return None
    return None


def _show(terminal: int, text: str) -> None:
    data = text.encode("ascii", "backslashreplace")
    while data:
        data = data[os.write(terminal, data) :]


def _forget_typed(terminal: int) -> None:
    if sys.platform != "win32":
        import termios  # noqa: PLC0415 - not on Windows

        try:
            termios.tcflush(terminal, termios.TCIFLUSH)
        except termios.error:
            raise OSError("not a terminal") from None
