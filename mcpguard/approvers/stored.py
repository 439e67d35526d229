"""Ask by way of a store: another process reads the question there, and leaves a signed answer.

- A question is kept under what it is bound to: after a restart the same call finds its question and the
  answer, as long as that has not expired.
- Of several who answer, the first one counts. Of several who wait for one answer, one gets it.
- A store that fails while somebody waits fails the wait: the call is refused.
- Whoever can write to the store can delete questions, and put back an answer within its time after a restart;
  they can neither make one, nor change what it is about.
"""

import json
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

import anyio

from mcpguard.approvers.signing import Forged, Keys, SignedAnswer, seen
from mcpguard.core.clock import Clock
from mcpguard.core.errors import StoreError
from mcpguard.core.wire import JSON, canonical
from mcpguard.detectors.approval import Answer, ApprovalRequest, Approved, Declined
from mcpguard.stores.store import Store

__all__ = ["Pending", "Question", "StoredApprover", "answer_question", "open_questions"]

INDEX: Final = "approvals"
"""Key of the list of open questions."""

MAX_QUESTIONS: Final = 256
"""Questions in that list; the oldest leave first, and can then only be waited for."""

MAX_TRIES: Final = 50
"""Times a write is tried that others come before."""

MAX_USED: Final = 4096
"""Answers that are remembered as used, so that they cannot be put back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question as it is stored.

    Args:
        digest: What an answer to it is bound to.
        nonce: Tells it from another question about the same call.
        expires: When it ends, in seconds since the epoch.
        lines: What a person reads.
        answer: The answer, as it was stored; None as long as there is none.
    """

    digest: str
    nonce: str
    expires: float
    lines: tuple[str, ...]
    answer: JSON = None

    @property
    def id(self) -> str:
        """What a person names to answer it."""
        return self.digest[:16]

    def encoded(self, answer: JSON = None) -> bytes:
        """As bytes, with an answer."""
        return canonical(
            {
                "digest": self.digest,
                "nonce": self.nonce,
                "expires": self.expires,
                "lines": self.lines,
                "answer": answer,
            }
        )

    @classmethod
    def decoded(cls, value: bytes) -> "Question":
        """From bytes.

        Raises:
            StoreError: If that is no question.
        """
        try:
            read = json.loads(value)
            return cls(
                digest=str(read["digest"]),
                nonce=str(read["nonce"]),
                expires=float(read["expires"]),
                lines=tuple(map(str, read["lines"])),
                answer=read["answer"],
            )
        except (ValueError, KeyError, TypeError, RecursionError):
            raise StoreError("what is stored is no question") from None


class Pending(Exception):  # noqa: N818 - it is an answer
    """A question has been left, and nobody has answered it yet."""


class StoredApprover:
    """Leave a question in a store, and wait for its answer.

    Args:
        store: Where.
        keys: Who may answer.
        clock: Tells when a question has expired.
        poll: Seconds between two looks.
        wait: Seconds after which the one who asks is told that nobody has answered yet. None: never.
        sleep: Waits a number of seconds.
    """

    def __init__(
        self,
        store: Store,
        *,
        keys: Keys,
        clock: Clock,
        poll: float = 1.0,
        wait: float | None = None,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._store = store
        self._keys = keys
        self._clock = clock
        self._poll = poll
        self._wait = inf if wait is None else wait
        self._sleep = sleep
        self._used: dict[str, None] = {}

    async def __call__(self, request: ApprovalRequest, /) -> Answer:
        """Wait for the answer. One that is forged refuses the call.

        Raises:
            Pending: If there is none after a while; the question stays.
        """
        waited = 0.0
        lines = tuple(request.lines())
        key = _key(request.digest)
        while True:
            record = await self._store.read(key)
            question = None if record.value is None else Question.decoded(record.value)
            if question is None or self._is_over(question, request):
                question = Question(
                    digest=request.digest, nonce=secrets.token_hex(16), expires=request.expires, lines=lines
                )
                keep = max(request.expires - self._clock.time(), 0.0)
                if await self._store.swap(key, version=record.version, value=question.encoded(), keep=keep):
                    await _listed(self._store, request.digest, keep)
                continue
            if question.answer is None:
                if waited >= self._wait:
                    raise Pending
                await self._sleep(self._poll)
                waited += self._poll
                continue
            if not await self._store.swap(key, version=record.version, value=None, keep=0.0):
                continue
            self._used[question.nonce] = None
            while len(self._used) > MAX_USED:
                del self._used[next(iter(self._used))]
            return self._trusted(question, lines)

    def _is_over(self, question: Question, request: ApprovalRequest) -> bool:
        """Whether it has ended, or was never one of ours: none is open for longer than a new one would be."""
        if question.nonce in self._used or question.digest != request.digest:
            return True
        return not self._clock.time() < question.expires <= request.expires

    def _trusted(self, question: Question, lines: Sequence[str]) -> Answer:
        try:
            answer = SignedAnswer.from_json(question.answer)
            by = self._keys.signer(answer)
            bound = (answer.digest, answer.nonce, answer.expires)
            if bound != (question.digest, question.nonce, question.expires) or answer.shown != seen(lines):
                raise Forged("for another question")
        except Forged as forged:
            return Declined(by=f"the store: an answer is {forged}")
        if answer.verdict == "deny":
            return Declined(by=by, reason=answer.reason)
        edited = answer.arguments
        return Approved(by=by, arguments=edited, remember="once" if edited is not None else answer.remember)


async def open_questions(store: Store, *, now: float) -> list[Question]:
    """The questions that wait for an answer, oldest first."""
    found: list[Question] = []
    for digest in _digests((await store.read(INDEX)).value):
        record = await store.read(_key(digest))
        if record.value is None:
            continue
        question = Question.decoded(record.value)
        if question.answer is None and question.expires > now and question.digest == digest:
            found.append(question)
    return found


async def answer_question(store: Store, answer: SignedAnswer, *, now: float) -> bool:
    """Leave an answer. False: the question was answered before, has expired, or is another one."""
    key = _key(answer.digest)
    record = await store.read(key)
    if record.value is None:
        return False
    question = Question.decoded(record.value)
    if question.answer is not None or question.nonce != answer.nonce or question.expires <= now:
        return False
    value = question.encoded(answer.as_json())
    return await store.swap(key, version=record.version, value=value, keep=question.expires - now)


async def _listed(store: Store, digest: str, keep: float) -> None:
    """Put a question into the list of open ones."""
    for _ in range(MAX_TRIES):
        record = await store.read(INDEX)
        digests = [one for one in _digests(record.value) if one != digest]
        value = canonical([*digests[-(MAX_QUESTIONS - 1) :], digest])
        if await store.swap(INDEX, version=record.version, value=value, keep=max(keep, 86_400.0)):
            return
    raise StoreError("the list of questions could not be written")


def _digests(value: bytes | None) -> list[str]:
    try:
        read: JSON = [] if value is None else json.loads(value)
    except (ValueError, RecursionError):
        return []
    return [one for one in read if isinstance(one, str)] if isinstance(read, list) else []


def _key(digest: str) -> str:
    return f"{INDEX}/{digest}"
