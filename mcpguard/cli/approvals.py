"""`mcpguard approvals`: read the calls that wait for a person in a store, and answer them.

An answer is signed with a key of the person's, which the policy lists. The key is kept encrypted, so that a
program that runs as the same user cannot answer itself.
"""

import argparse
import getpass
import json
import os
import time
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, cast
from urllib.parse import unquote

from mcpguard.cli.output import fail, write, write_json, write_table

if TYPE_CHECKING:
    from mcpguard.approvers.stored import Question
    from mcpguard.cli import Commands
    from mcpguard.core.wire import JSONObject
    from mcpguard.stores.store import Store

__all__ = ["add_parser", "run"]

T = TypeVar("T")

STORE = "MCPGUARD_STORE"
"""The variable that says where calls wait: a URL with a password has no place in a list of processes."""


def add_parser(commands: "Commands") -> argparse.ArgumentParser:
    """Add the `approvals` command to the program's commands."""
    parser = commands.add_parser(
        "approvals",
        help="read and answer the calls that wait for a person",
        description="Read the calls that wait for a person in a store, and answer them. Exit code 2 if there"
        " is no such call any more, or it was answered before.",
    )
    parser.add_argument("action", choices=("list", "show", "approve", "deny", "keygen"))
    parser.add_argument("what", nargs="?", help="the beginning of a call's id; for keygen, the file to make")
    parser.add_argument(
        "--store",
        metavar="URL",
        default=os.environ.get(STORE),
        help="where calls wait: sqlite:///PATH or redis://HOST:PORT/NUMBER, as in a policy file"
        f" (default: what {STORE} says in the environment)",
    )
    parser.add_argument("--key", metavar="FILE", help="the private key to sign with")
    parser.add_argument("--arguments", metavar="JSON", help="approve with these arguments instead")
    parser.add_argument("--remember", choices=("once", "run", "principal"), default="once")
    parser.add_argument("--reason", default="", help="of a denial; the model is told")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Do it; 0, or 2."""
    if arguments.action == "keygen":
        return _keygen(arguments.what)
    if not arguments.store:
        return fail([f"mcpguard approvals {arguments.action} needs --store"])
    if arguments.action == "list":
        return _list(arguments)
    if not arguments.what:
        return fail([f"mcpguard approvals {arguments.action} needs the beginning of an id"])
    found = [one for one in _questions(arguments.store) if one.id.startswith(arguments.what)]
    if len(found) != 1:
        return fail([f"{len(found)} waiting calls have an id that begins with {arguments.what!r}"])
    for line in found[0].lines:
        write(line)
    return 0 if arguments.action == "show" else _answer(arguments, found[0])


def _list(arguments: argparse.Namespace) -> int:
    questions = _questions(arguments.store)
    if arguments.json:
        write_json([{"id": one.id, "expires": one.expires, "lines": one.lines} for one in questions])
        return 0
    now = time.time()
    rows = [(one.id, f"{one.expires - now:.0f} s", one.lines[0] if one.lines else "") for one in questions]
    write_table(("id", "expires in", "call"), rows)
    return 0


def _answer(arguments: argparse.Namespace, question: "Question") -> int:
    from mcpguard.approvers.signing import SignedAnswer, load_key, seen, sign
    from mcpguard.approvers.stored import answer_question

    if not arguments.key:
        return fail([f"mcpguard approvals {arguments.action} needs --key"])
    edited: JSONObject | None = None
    if arguments.arguments is not None:
        try:
            read = json.loads(arguments.arguments)
        except (ValueError, RecursionError):
            read = None
        if not isinstance(read, dict):
            return fail(["--arguments is no JSON object"])
        edited = cast("JSONObject", read)
    try:
        key = load_key(Path(arguments.key).read_bytes(), _passphrase("Passphrase: "))
    except EOFError as error:
        return fail([str(error)])
    except (OSError, ValueError) as error:
        return fail([f"{arguments.key}: {error}"])
    verdict: Literal["approve", "deny"] = "approve" if arguments.action == "approve" else "deny"
    unsigned = SignedAnswer(
        digest=question.digest,
        nonce=question.nonce,
        shown=seen(question.lines),
        expires=question.expires,
        verdict=verdict,
        arguments=edited if verdict == "approve" else None,
        remember=arguments.remember,
        reason=arguments.reason,
    )
    answer = sign(unsigned, key)
    if not _with(arguments.store, lambda store: answer_question(store, answer, now=time.time())):
        return fail([f"{question.id} was answered before, or has expired"])
    write(f"{question.id}: {verdict}")
    return 0


def _keygen(path: str | None) -> int:
    from mcpguard.approvers.signing import make_key

    if not path:
        return fail(["mcpguard approvals keygen needs the name of a file to make"])
    try:
        passphrase = _passphrase("New passphrase: ")
        if len(passphrase) < 8:
            return fail(["a passphrase has at least 8 characters"])
        if _passphrase("Once more: ") != passphrase:
            return fail(["the two passphrases are not the same"])
    except EOFError as error:
        return fail([str(error)])
    private, public = make_key(passphrase)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        return fail([f"{path}: {error.strerror}"])
    with os.fdopen(descriptor, "wb") as file:
        file.write(private)
    write(public)
    return 0


def _passphrase(prompt: str) -> bytes:
    """What a person types, unseen.

    Raises:
        EOFError: If there is no terminal to type it at, or nothing is typed any more.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return getpass.getpass(prompt).encode()
        except (EOFError, getpass.GetPassWarning) as error:
            raise EOFError("the passphrase is typed at a terminal, and there is none") from error


def _questions(url: str) -> "list[Question]":
    from mcpguard.approvers.stored import open_questions

    return _with(url, lambda store: open_questions(store, now=time.time()))


def _with(url: str, work: "Callable[[Store], Awaitable[T]]") -> T:
    import anyio

    async def main() -> T:
        store = _opened(url)
        try:
            return await work(store)
        finally:
            await store.aclose()

    return anyio.run(main)


def _opened(url: str) -> "Store":
    from mcpguard.core.errors import StoreError
    from mcpguard.stores.opening import check_store_url, open_store

    scheme, _, rest = url.partition("://")
    try:
        check_store_url(url)
    except ValueError as error:
        raise StoreError(str(error)) from None
    if scheme == "memory":
        raise StoreError("calls that wait in the memory of another process cannot be read here")
    path = unquote(rest[1:])
    if scheme == "sqlite" and not Path(path).exists():
        raise StoreError(f"there is no store at {path}")
    return open_store(url)
