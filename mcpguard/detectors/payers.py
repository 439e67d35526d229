"""Who a call is charged to: the parties a limit is kept for.

A call is charged to whoever makes it and to those on whose behalf the runs above are made, so that a
sub-agent with a principal of its own is no way round a limit. Runs are told apart by whoever keeps them.
"""

from collections.abc import Iterator, Sequence
from typing import Final, Literal, TypeAlias

from mcpguard.core.call import Call
from mcpguard.core.linked import ANONYMOUS
from mcpguard.core.principal import Principal
from mcpguard.core.run import Run

__all__ = ["PER", "Payer", "Per", "label", "of_run", "payers"]

Per: TypeAlias = Literal["run", "agent", "user", "tenant", "server", "tool"]
"""What a limit is kept for. `agent`, `user`, `server` and `tool` are a tenant's: two tenants share none."""

PER: Final = ("run", "agent", "user", "tenant", "server", "tool")

Payer: TypeAlias = tuple[str | None, ...]
"""What a party is told apart by among those of its kind: its tenant first, its name last."""

MAX_NAME: Final = 64
"""Characters of a name from outside that a label keeps."""


def payers(per: Per, call: Call) -> Sequence[Payer]:
    """The parties that `call` is charged to, its own first; none if it must be known who calls, and is not.

    For runs see `of_run`.
    """
    who, run = call.principal, call.run
    if run is None or (run.parent is None and run.principal is who):
        own = _payer(per, call, who)
        return () if own is None else (own,)
    return tuple(dict.fromkeys(_all_payers(per, call)))


def of_run(run: Run, serial: str) -> Payer:
    """A run as a payer: kept with the tenant of the outermost run around it."""
    outermost = run.lineage[-1].principal
    return (None if outermost is None else outermost.tenant, serial, run.id)


def label(per: Per, payer: Payer) -> str:
    """What the operator's record calls a payer."""
    tenant, name = payer[0], payer[-1]
    if per in ("run", "tenant"):
        return f"{per} {_cut(name)}"
    server = f" of server {_cut(payer[1])}" if per == "tool" else ""
    owner = "" if tenant is None else f" of tenant {_cut(tenant)}"
    return f"{per} {_cut(name)}{server}{owner}"


def _all_payers(per: Per, call: Call) -> Iterator[Payer]:
    own = _payer(per, call, call.principal)
    if own is None or call.run is None:
        return
    yield own
    for run in call.run.lineage:
        above = None if run.principal is None else _payer(per, call, run.principal)
        if above is not None:
            yield above


def _payer(per: Per, call: Call, who: Principal | None) -> Payer | None:
    tenant = None if who is None else who.tenant
    if per == "server":
        return (tenant, call.server)
    if per == "tool":
        return (tenant, call.server, call.target)
    if who is None:
        return None
    if per == "tenant":
        return (tenant,)
    name = who.user if per == "user" else who.agent
    return None if name is None and who != ANONYMOUS else (tenant, name)


def _cut(name: str | None) -> str:
    return "nobody" if name is None else repr(name[:MAX_NAME])
