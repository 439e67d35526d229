"""What a check may say of a call: allow it, deny it, ask a person, or rewrite it. Nothing else."""

from dataclasses import KW_ONLY, dataclass, field
from typing import Final, TypeAlias

from mcpguard.core.result import check_texts
from mcpguard.core.wire import JSONObject

__all__ = ["ALLOW", "NOT_AVAILABLE", "Allow", "Ask", "Deny", "Rewrite", "Verdict"]


@dataclass(frozen=True, slots=True)
class Allow:
    """Let the call go on to the next interceptor."""


NOT_AVAILABLE: Final = "This is not available here. Go on without it and do not try it again."
"""What the model is told of what is denied, hidden or not there at all: it is not to tell them apart."""

ALLOW: Final = Allow()
"""The one `Allow` a check needs; comparing by identity keeps the common path short."""


@dataclass(frozen=True, slots=True)
class Deny:
    """Refuse the call.

    Args:
        code: Stable snake_case code; part of the API.
        reason: For the operator's record. Holds no argument or result value.
        message: For the model: no policy internals. None gives a general sentence with the code.
        retry_after: Seconds until trying again makes sense. None: trying again is pointless.

    Raises:
        TypeError: If a text is no text, or `retry_after` is no number.
        ValueError: If `code` is empty, or `retry_after` is negative or not finite.
    """

    code: str
    _: KW_ONLY
    reason: str
    message: str | None = None
    retry_after: float | None = None

    def __post_init__(self) -> None:
        check_texts(self.code, self.reason, self.message, self.retry_after)


@dataclass(frozen=True, slots=True)
class Ask:
    """Let a person decide; an `Approval` further in resolves it.

    Args:
        code: Stable snake_case code of the rule that asks.
        reason: Why, for the person and the record.
        source: Name of the interceptor that asked; the chain fills it in.

    Raises:
        TypeError: If a text is no text.
        ValueError: If `code` is empty.
    """

    code: str
    _: KW_ONLY
    reason: str
    source: str | None = None

    def __post_init__(self) -> None:
        check_texts(self.code, self.reason, None, None)


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Go on with other parameters. Checks that had passed judge the call again.

    Args:
        params: The new parameters, wire-shaped, whole.
        reason: What was changed, for the record, without values.
    """

    params: JSONObject = field(repr=False)
    _: KW_ONLY
    reason: str = "rewritten"


Verdict: TypeAlias = Allow | Deny | Ask | Rewrite
