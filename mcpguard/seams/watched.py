"""What clients of a hub's server object watch: each resource at its server for as long as anybody does.

Every watch has a place, from before its server is told until that has been told that it is over; whoever asks
for many gets all places or none. Nobody waits for the end of a watch: a task of the hub's sees to it, on
behalf of whoever watched.

Above: `sdk1.server` and `sdk2.watches`, which know how a server is told. Below: the hub.
"""

from collections import Counter
from collections.abc import Callable, Collection, Generator, Hashable, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol, TypeAlias

import anyio

from mcpguard.core.errors import HubError
from mcpguard.core.run import Run, current_run
from mcpguard.seams.serving import Hub, has_timed_out, in_run

__all__ = ["MAX_STREAMS", "Full", "Places", "Subscribers", "Upstream", "Watch", "Watched", "owner_of"]

MAX_WATCHES: Final = 1024
"""Resources that clients of one server object may watch; further ones are refused."""

MAX_STREAMS: Final = 128
"""Of these, resources of servers that tell of changes in a stream each: over HTTP an open file."""

SHARE: Final = 4
"""One principal has at most all places divided by this; and never more than half of what is free."""

UNSUBSCRIBE_SECONDS: Final = 10.0
"""How long a server may take to answer that something is watched no longer, before that counts as done."""

_Key: TypeAlias = tuple[str, str]
"""A resource's URI and its server's name."""


class Full(HubError):  # noqa: N818 - the hub's own word
    """There is no place for a further watch."""


class Places:
    """Places for watches, and whose they are.

    Args:
        most: How many there are. Where nobody says on whose behalf it is, anybody may have all of them.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: dict[Hashable, Counter[Hashable]] = {}

    @contextmanager
    def taken(self, owner: Hashable) -> Generator[None]:
        """Have one place meanwhile.

        Raises:
            Full: Likewise.
        """
        place = object()
        self.take(owner, [place])
        try:
            yield
        finally:
            self.give_back(owner, place)

    def take(self, owner: Hashable, things: Collection[Hashable]) -> None:
        """Take a place for each thing, all or none; one that the owner has a place for needs no other.

        Raises:
            Full: If there are not as many, or that is more than the owner's share.
        """
        own = self._taken.get(owner, Counter[Hashable]())
        free = self._most - sum(map(len, self._taken.values()))
        count = len(set(things) - own.keys())
        if count > free:
            raise Full(f"more than {self._most} resources are watched")
        if (
            owner is not None
            and count
            and len(own) + count > min(self._most // SHARE, (free + len(own)) // 2)
        ):
            raise Full(f"that is more than one principal's share of the {self._most} resources to watch")
        if things:
            own.update(list(things))
            self._taken[owner] = own

    def give_back(self, owner: Hashable, thing: Hashable) -> None:
        """A thing that a place was taken for needs none, unless it was taken again."""
        own = self._taken[owner]
        own[thing] -= 1
        if not own[thing]:
            del own[thing]
        if not own:
            del self._taken[owner]


@dataclass(slots=True, eq=False)
class Watch:
    """One client's watch of one resource.

    Args:
        uri: The resource.
        run: On whose behalf it is watched.
        owner: Whose place it has.
        key: The resource at the server that it holds a subscription of, with others.
        stop: What ends the stream that it has for itself.
    """

    uri: str
    run: Run | None
    owner: Hashable
    key: _Key | None = None
    stop: Callable[[], None] | None = None


class Upstream(Protocol):
    """How a server is told what is watched."""

    async def subscribe(self, uri: str) -> Callable[[], None] | None:
        """Watch a resource; what ends the stream that was opened for it, None if it was subscribed to."""
        ...

    async def unsubscribe(self, server: str, uri: str) -> None:
        """Have a server that was subscribed tell of a resource no longer."""
        ...


@dataclass(slots=True)
class _Held:
    """One subscription at a server.

    Args:
        count: Watches that hold it.
        sent: How often the server may have been asked for it.
    """

    count: int = 0
    sent: int = 0


class Watched:
    """The watches of all clients of one server object.

    Args:
        hub: The hub.
        upstream: Tells the servers.
    """

    def __init__(self, hub: Hub, upstream: Upstream) -> None:
        self._hub = hub
        self._upstream = upstream
        self._places = Places(MAX_WATCHES)
        self._held: dict[_Key, _Held] = {}
        self._ending: dict[_Key, anyio.Event] = {}

    def __contains__(self, key: _Key) -> bool:
        """Whether a server is subscribed to a resource that somebody watches."""
        return key in self._held and self._held[key].count > 0

    def take(self, uris: Collection[str]) -> list[Watch]:
        """Places for watching these; whoever takes them ends what they are taken for.

        Raises:
            Full: If there is no place for all of them.
        """
        run, owner = current_run(), owner_of()
        self._places.take(owner, uris)
        return [Watch(uri, run, owner) for uri in uris]

    async def begin(self, watch: Watch) -> None:
        """Have the server of a resource tell of its changes, as whoever asks may."""
        key = watch.uri, await self._hub.where("resources/list", watch.uri)
        while key in self._ending:
            await self._ending[key].wait()
        held = self._held.setdefault(key, _Held())
        held.count += 1
        held.sent += 1
        watch.key = key
        try:
            watch.stop = await self._upstream.subscribe(watch.uri)
        except Exception as error:
            held.sent -= not has_timed_out(error)
            raise
        if watch.stop is not None:
            held.sent -= 1
            held.count -= 1
            self._forget(watch)
            watch.key = None

    def end(self, watches: Sequence[Watch]) -> None:
        """End watches; what servers have to be told is told in a task of the hub's."""
        for watch in watches:
            if watch.stop is not None:
                watch.stop()
            if watch.key is not None:
                self._held[watch.key].count -= 1
        try:
            self._hub.start(partial(self._end, list(watches)))
        except HubError:  # the hub was left, and all servers with it
            self._free(watches)

    async def _end(self, watches: list[Watch]) -> None:
        try:
            while watches:
                with suppress(Exception), anyio.move_on_after(UNSUBSCRIBE_SECONDS):
                    await self._unsubscribe(watches[-1])
                self._free([watches.pop()])
        finally:
            self._free(watches)

    async def _unsubscribe(self, watch: Watch) -> None:
        """Tell the server, unless others watch the same or see to it."""
        key = watch.key
        held = None if key is None else self._held.get(key)
        if key is None or held is None or held.count or not held.sent or key in self._ending:
            return
        uri, server = key
        ended = self._ending[key] = anyio.Event()
        try:
            await in_run(watch.run, partial(self._upstream.unsubscribe, server, uri))
        finally:
            held.sent = 0
            del self._ending[key]
            ended.set()

    def _free(self, watches: Sequence[Watch]) -> None:
        for watch in watches:
            self._places.give_back(watch.owner, watch.uri)
            self._forget(watch)

    def _forget(self, watch: Watch) -> None:
        """Forget a subscription that nobody holds."""
        if watch.key is not None and watch.key in self._held and not self._held[watch.key].count:
            del self._held[watch.key]


class Subscribers:
    """Which clients watch which resources, by `resources/subscribe`.

    Args:
        watched: The watches of all clients.
    """

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._watches: dict[tuple[str, Hashable], tuple[Any, Watch]] = {}

    async def add(self, uri: str, key: Hashable, session: Any) -> None:
        """`session`, known as `key`, watches `uri`.

        Raises:
            HubError: If too many watch something, or no server has it.
        """
        watches = self._watched.take([uri])
        try:
            await self._watched.begin(watches[0])
        except BaseException:
            self._watched.end(watches)
            raise
        self.remove(uri, key)
        self._watches[uri, key] = session, watches[0]

    def remove(self, uri: str, key: Hashable) -> None:
        """A client watches `uri` no longer."""
        known = self._watches.pop((uri, key), None)
        if known is not None:
            self._watched.end([known[1]])

    def forget(self, key: Hashable) -> None:
        """A client has gone."""
        gone = [one for one in self._watches if one[1] == key]
        if gone:
            self._watched.end([self._watches.pop(one)[1] for one in gone])

    def of(self, uri: str) -> list[Any]:
        """The clients that watch `uri`."""
        return [session for (one, _), (session, _) in self._watches.items() if one == uri]


def owner_of() -> Hashable:
    """Whose places a watch takes; None where nobody says on whose behalf it is."""
    run = current_run()
    principal = None if run is None else run.principal
    return None if principal is None else (principal.tenant, principal.user)
