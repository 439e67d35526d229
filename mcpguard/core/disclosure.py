"""What a record may show of a call: whose it is, what it aims at, and its payload, each of them cleaned.

Above: `emitter`, which puts it into events, and what traces. Below: `names`, which cleans one name.
"""

import logging
from collections.abc import Callable, Mapping
from typing import TypedDict

from mcpguard.core.call import Call
from mcpguard.core.events import Scrubber
from mcpguard.core.names import MAX_NAME, Names, public_part
from mcpguard.core.principal import Principal
from mcpguard.core.run import Run
from mcpguard.core.wire import JSON, mutable_copy

__all__ = ["Disclosure", "Owner"]

_log = logging.getLogger("mcpguard")


class Owner(TypedDict, total=False):
    """Whose a call or a run is, as events have it."""

    run_id: str
    parent_run_id: str
    tenant: str
    user: str
    agent: str


class Disclosure:
    """Clean what goes into records.

    Args:
        name: Cleans a name: of a run, a principal or a target.
        scrubber: Cleans payloads; None keeps payloads out.
    """

    def __init__(self, name: Names, scrubber: Scrubber | None = None) -> None:
        self.name = name
        self._scrubber = scrubber
        self.shows_payloads = scrubber is not None
        """Whether `payload` gives anything."""
        self.hides: tuple[Callable[[str, Run | None], str], ...] = ()
        """Take out of a payload's texts what interceptors have put into the calls of a run."""

    def afresh(self) -> "Disclosure":
        """The same for other interceptors: nothing is hidden for them yet."""
        return Disclosure(self.name, self._scrubber)

    def account(self, call: Call) -> dict[str, object]:
        """What all events of a call say of it."""
        members: dict[str, object] = {
            "call_id": call.id,
            "round": call.round,
            "server": call.server or None,
            "method": call.method[:MAX_NAME],
            "direction": call.direction,
            **self.owner(call.run, call.principal),
        }
        if call.parent is not None:
            members["parent_id"] = call.parent
        target = self.target(call.target)
        if target is not None:
            members["target"] = target
        return members

    def owner(self, run: Run | None, principal: Principal | None) -> Owner:
        """The names of a run, of the one it is part of, and of a principal, where there are any."""
        name, owner = self.name, Owner()
        if run is not None:
            owner["run_id"] = name(run.id)
            if run.parent is not None:
                owner["parent_run_id"] = name(run.parent.id)
        if principal is not None:
            if principal.tenant is not None:
                owner["tenant"] = name(principal.tenant)
            if principal.user is not None:
                owner["user"] = name(principal.user)
            if principal.agent is not None:
                owner["agent"] = name(principal.agent)
        return owner

    def target(self, target: str | None) -> str | None:
        """A target as records have it: cleaned by the scrubber, or a URI without its private parts."""
        if target is None:
            return None
        if self._scrubber is None:
            return self.name(public_part(target))
        cleaned = _scrubbed(self._scrubber, target)
        return self.name(cleaned) if isinstance(cleaned, str) else None

    def payload(self, call: Call, value: JSON) -> JSON:
        """Arguments or a result of `call` as the scrubber leaves them; None without a scrubber."""
        if self._scrubber is None:
            return None

        def hidden(text: str) -> str:
            for hide in self.hides:
                text = hide(text, call.run)
            return text

        cleaned = _scrubbed(self._scrubber, value)
        return _each(cleaned, hidden) if self.hides and call.run is not None else cleaned


def _scrubbed(scrubber: Scrubber, value: JSON) -> JSON:
    try:
        return scrubber.scrub(mutable_copy(value))
    except Exception as error:  # noqa: BLE001 - what cannot be cleaned is not recorded
        _log.warning("scrubber failed with %s; payload dropped", type(error).__name__)
        return None


def _each(value: JSON, change: Callable[[str], str]) -> JSON:
    """A copy with every text in it changed, keys among them."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {change(name): _each(member, change) for name, member in value.items()}
    return [_each(one, change) for one in value] if isinstance(value, list | tuple) else value
