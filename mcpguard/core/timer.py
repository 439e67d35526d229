"""What a layer that times a call tells those further in: whether its time was up when it was cut short.

A call that is given up is cancelled, and a cancellation does not say whose it is. Whoever must know asks the
timer, which the layer that times the call answers once it knows. Above: `Call.timer`. It has no clock.
"""

from collections.abc import Callable, Sequence

__all__ = ["Timer"]


class Timer:
    """One call's, from when a layer begins to time it until it no longer does.

    Args:
        outer: The timer of the layer that times the same call further out, if one does.
    """

    __slots__ = ("_asking", "_outer", "sent")

    def __init__(self, outer: "Timer | None" = None) -> None:
        self._outer = outer
        self._asking: Sequence[Callable[[bool], None]] = ()
        self.sent = 0
        """Messages of the call that have left the chain for the server."""

    def leaves(self) -> None:
        """A message of the call leaves the chain."""
        self.sent += 1
        if self._outer is not None:
            self._outer.leaves()

    def when_over(self, tell: Callable[[bool], None]) -> None:
        """Let `tell` know whether the time was up, as soon as that is known; for whoever was cancelled."""
        self._asking = (*self._asking, tell)

    def over(self, *, is_up: bool) -> None:
        """The call is no longer timed here; `is_up`: it was given up, and nobody else had cancelled it."""
        for tell in self._asking:
            if self._outer is not None and not is_up:
                self._outer.when_over(tell)
            else:
                tell(is_up)
        self._asking = ()
