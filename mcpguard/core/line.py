"""The line to a server: what is known of it, for whoever shows calls. It carries nothing itself."""

from typing import Literal, TypeAlias

__all__ = ["Line", "Transport"]

Transport: TypeAlias = Literal["pipe", "tcp"]
"""`pipe`: a process on the other end of standard input and output. `tcp`: HTTP."""


class Line:
    """One connection's line. A connection that is made again has the same.

    Args:
        transport: What messages go over; None where that is not known, or where there is nothing in between.
        address: The server's host name or IP address.
        port: Its port.

    Attributes:
        session: Id of the session that the server has opened, where one goes by HTTP and the server said so.
    """

    __slots__ = ("address", "port", "session", "transport")

    def __init__(
        self, transport: Transport | None = None, *, address: str | None = None, port: int | None = None
    ) -> None:
        self.transport = transport
        self.address = address
        self.port = port
        self.session: str | None = None
