"""Lists that frameworks keep, and answer everybody with: they were somebody's."""

from typing import TYPE_CHECKING

from mcpguard.core.errors import SeamError

if TYPE_CHECKING:
    from mcpguard.core.run import Run
    from mcpguard.guard import Guard

__all__ = ["has_several_users", "refuse_kept_list"]


def has_several_users(guard: "Guard", *, name: str, run: "Run | None", shared: bool | None) -> bool:
    """Whether one connection is for several principals.

    Args:
        guard: The guard.
        name: What the policy calls the server.
        run: The run that every call is bound to, if there is one.
        shared: Whether several principals may use it. None: as the policy says of `name`, else not.
    """
    return run is None and (guard.is_shared(name) if shared is None else shared)


def refuse_kept_list(
    guard: "Guard", option: str, *, name: str, run: "Run | None", shared: bool | None
) -> None:
    """Refuse an option that keeps the list of tools that somebody was given.

    Args:
        guard: The guard.
        option: What keeps the list.
        name: As for `has_several_users`.
        run: As for `has_several_users`.
        shared: As for `has_several_users`.

    Raises:
        SeamError: If several principals may use the server.
    """
    if has_several_users(guard, name=name, run=run, shared=shared):
        raise SeamError(
            f"{option} offers one principal's tools to all who share {name}: leave it out, or guard a "
            "connection for each principal that is not shared"
        )
