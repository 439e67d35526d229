"""The store an interceptor keeps its state in: its own, the guard's, or one in memory."""

from typing import cast

from mcpguard.core.host import Host
from mcpguard.stores.memory import MemoryStore
from mcpguard.stores.store import Store

__all__ = ["lent"]


def lent(host: Host, own: Store | None = None) -> Store:
    """`own` if there is one, else what the guard lends, else a new store in memory on the guard's clock.

    Raises:
        TypeError: If what the guard lends is no store.
    """
    if own is not None:
        return own
    if host.store is None:
        return MemoryStore(clock=host.clock)
    if not callable(getattr(host.store, "reserve", None)):
        raise TypeError(f"a guard's store has the operations of Store; {type(host.store).__name__} has not")
    return cast("Store", host.store)
