"""A guard to ask what a policy does: it is built as any other, and opens and reaches nothing."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcpguard.config import Policy
    from mcpguard.guard import Guard

__all__ = ["unopened"]


def unopened(policy: "Policy") -> "Guard":
    """A guard on the interceptors that a policy has to look at. The store it names is one in memory here.

    Raises:
        GuardBuildError: If no guard can be built by the policy as it stands.
    """
    from mcpguard.guard import Guard
    from mcpguard.stores.memory import MemoryStore

    return Guard(
        policy.interceptors,
        store=None if policy.options.store is None else MemoryStore(),
        servers=policy.servers,
        anonymous=policy.anonymous,
    )
