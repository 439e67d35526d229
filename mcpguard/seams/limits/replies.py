"""What a client of HTTP is given in the place of an answer: the same with another body, or an error.

Above: `http`, which sends and decides. Below: `events`, `http_wire`.
"""

from typing import Any, Final

from mcpguard.seams import messages
from mcpguard.seams.limits.events import Events
from mcpguard.seams.limits.frames import sentence
from mcpguard.seams.limits.http_wire import error_text, stream_class
from mcpguard.seams.limits.inflate import Inflater, Pace, TooLarge
from mcpguard.seams.limits.watch import Watch
from mcpguard.seams.messages import Key
from mcpguard.seams.reports import Report

__all__ = ["Replies", "body_of"]

_WRITTEN_ANEW: Final = (b"content-encoding", b"content-length", b"transfer-encoding")
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

    def plain(self, response: Any, body: bytes) -> Any:
        """The same answer, with a body that has been read."""
        headers = [one for one in response.headers.raw if one[0].lower() not in _WRITTEN_ANEW]
        made = self._http.Response(
            response.status_code, headers=headers, content=body, request=response.request
        )
        made.next_request = response.next_request
        return made

    def own(self, request: Any, answer: Any, id: Key) -> Any:
        """The server's answer, which may not know to which request, as the one to `id`."""
        body = messages.body_of(answer)
        body.id = id
        return self._answer(request, body.model_dump_json(by_alias=True, exclude_unset=True).encode())

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
        return self._answer(request, error_text(id, report, said))

    def _answer(self, request: Any, text: bytes) -> Any:
        return self._http.Response(
            200, headers={"content-type": "application/json"}, content=text, request=request
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
