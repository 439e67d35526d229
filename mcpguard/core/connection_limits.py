"""What one server may do to one connection: the limits of the policy's section `connection`.

They hold below every interceptor, for whatever comes from the wire before it is a message, and for a server
that says nothing at all. How often the agent may call is `RateLimit`'s business, how long a call may take
`Deadline`'s.
"""

from dataclasses import KW_ONLY, dataclass, fields
from math import isfinite

__all__ = ["ConnectionLimits"]


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Limits on what a server sends and on how long it may keep anybody waiting.

    Args:
        message_bytes: Size of one message, after decompression. At least 1024.
        depth: Objects and lists inside one another in a message. 1 to 150.
        values: Values in one message, counting members, items and everything inside them; an empty object or
            list counts for two.
        containers: Objects and lists in one message: parsing these is what takes time.
        integer_digits: Digits of one whole number. At most 300, which still fits a float.
        content_blocks: Content blocks in the answer to one call.
        definitions: Tools, prompts or resources of one listing, over all its pages.
        definition_bytes: Text in one tool's, prompt's or resource's definition.
        pages: Pages of one listing.
        answer_seconds: How long a request may wait for its answer, from when it is sent.
        write_seconds: How long the server may leave a message unread before the connection is given up.
        close_seconds: How long closing the connection may take.
        notifications_per_second: Notifications of each kind that are passed on; a tenfold burst is let
            through.
        requests_per_second: Requests of the server, of each kind, that are passed on; a tenfold burst is let
            through.
        resumptions: Times that one answer's event stream may be resumed.
        retry_seconds: The longest pause before a resumption that a server may ask for. The shortest is half a
            second.
        reconnects: Attempts in a row to make a lost connection again, where the seam can. 0: none.
        return_seconds: How long a request waits for a connection that is coming back, before it fails unsent.

    Raises:
        ValueError: If a limit is not in its range.
    """

    _: KW_ONLY
    message_bytes: int = 16 * 2**20
    depth: int = 64
    values: int = 200_000
    containers: int = 25_000
    integer_digits: int = 300
    content_blocks: int = 1_000
    definitions: int = 1_000
    definition_bytes: int = 64 * 2**10
    pages: int = 100
    answer_seconds: float = 600.0
    write_seconds: float = 10.0
    close_seconds: float = 10.0
    notifications_per_second: float = 100.0
    requests_per_second: float = 5.0
    resumptions: int = 5
    retry_seconds: float = 30.0
    reconnects: int = 5
    return_seconds: float = 10.0

    def __post_init__(self) -> None:
        for spec in fields(self):
            limit = getattr(self, spec.name)
            kinds = int if spec.type in (int, "int") else (int, float)
            if not isinstance(limit, kinds) or isinstance(limit, bool):
                raise ValueError(f"{spec.name} is a number, not {type(limit).__name__}")
            if not isfinite(limit) or limit < 0 or (limit == 0 and spec.name != "reconnects"):
                raise ValueError(f"{spec.name} is more than 0, not {limit}")
        if self.message_bytes < 1024:
            raise ValueError(f"message_bytes is at least 1024, not {self.message_bytes}")
        if self.depth > 150:
            raise ValueError(f"depth is at most 150, which the SDK's parser can take, not {self.depth}")
        if self.integer_digits > 300:
            raise ValueError(f"integer_digits is at most 300, not {self.integer_digits}")
