"""What a client of HTTP is given in the place of an answer: the same with another body, or an error.

Above: `http`, which sends and decides. Below: `events`, `http_wire`.
"""

from typing import Any, Final

from mcpguard.seams.events import Events
from mcpguard.seams.frames import sentence
from mcpguard.seams.http_wire import error_text, stream_class
from mcpguard.seams.inflate import Inflater, Pace, TooLarge
from mcpguard.seams.messages import Key
from mcpguard.seams.reports import Report
from mcpguard.seams.watch import Watch

__all__ = ["Replies", "body_of"]

_WRITTEN_ANEW: Final = ("content-encoding", "content-length", "transfer-encoding")
"""Headers that say how a body was sent which has been read since."""


class Replies:
    """Makes answers in the form of one HTTP library.

    Args:
        http: The library: httpx or httpx2.
        watch: Told of each answer that is refused or lost.
    """

    def __init__(self, http: Any, watch: Watch) -> None:
        self._http = http
        self._watch = watch

    def plain(self, response: Any, body: bytes, *, status: int | None = None) -> Any:
        """The same answer, with a body that has been read."""
        headers = {
            name: value for name, value in response.headers.items() if name.lower() not in _WRITTEN_ANEW
        }
        made = self._http.Response(
            status or response.status_code, headers=headers, content=body, request=response.request
        )
        made.next_request = response.next_request
        return made

    def streamed(self, response: Any, events: Events) -> Any:
        """The same answer, with a body that is read as the client reads it."""
        kind = response.headers.get("content-type", "").partition(";")[0]  # it is UTF-8, whatever it says
        headers = {**self.plain(response, b"").headers, "content-type": kind}
        headers.pop("content-length", None)
        return self._http.Response(
            200, headers=headers, stream=stream_class(self._http)(events), request=response.request
        )

    def lost(self, request: Any, id: Key, name: str, *, was_sent: bool) -> Any:
        """The exchange failed with an exception called `name`."""
        report = Report.of("connection_lost" if was_sent else "not_sent", limit="http")
        self._watch.hit("http", f"an HTTP exchange failed with {name}")
        return self.error(request, id, report, "The HTTP exchange failed.")

    def refused(self, request: Any, id: Key, limit: str, said: str, response: Any) -> Any:
        """The answer to `id` broke `limit`."""
        self._watch.hit(limit, f"an answer was refused: {sentence(limit)}")
        report = Report.of("refused_answer", limit=limit, status=response.status_code)
        return self.error(request, id, report, said or f"The answer was refused: {sentence(limit)}.")

    def error(self, request: Any, id: Key, report: Report, said: str) -> Any:
        """The error that says `report`, as the answer to `id`."""
        return self._http.Response(
            200,
            headers={"content-type": "application/json"},
            content=error_text(id, report, said),
            request=request,
        )


async def body_of(response: Any, most: int) -> bytes:
    """A whole body, decompressed.

    Raises:
        TooLarge: If it is larger than `most`, or compressed in a way that was not asked for.
    """
    inflater = Inflater(response.headers.get("content-encoding"))
    pace = Pace()
    body = bytearray()
    async for chunk in response.aiter_raw():
        for piece in inflater.pieces(chunk):
            body += piece
            if len(body) > most:
                raise TooLarge
            await pace.take(len(piece))
    return bytes(body)
