"""A guard's hub behind an HTTP address: from listening until the last call has been answered.

uvicorn speaks HTTP/1.1, without TLS: that is a reverse proxy's. Told to end, it first takes no more calls and
says so (`/readyz`), then waits for those under way, then ends sessions and streams.

Above: the command line. Below: `endpoint`, `bounded`, `runs`.
"""

import ipaddress
import logging
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio

from mcpguard.core.errors import GuardBuildError, HubError
from mcpguard.core.principal import Principal
from mcpguard.guard import Guard
from mcpguard.hub.hub import Hub
from mcpguard.serving.endpoint import Endpoint
from mcpguard.serving.runs import Runs

if TYPE_CHECKING:
    import uvicorn

    from mcpguard.config.policy import Policy

__all__ = ["Address", "listening"]

_log: Final = logging.getLogger("mcpguard")

BACKLOG: Final = 2_048
"""Connections that wait to be accepted."""

KEEP_ALIVE: Final = 75
"""Seconds a connection is kept between two requests; more than the 60 of the usual reverse proxies."""

LAST_WORDS: Final = 1
"""Seconds for streams to end, once their sessions have."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where it listens.

    Args:
        host: A name or an IP address.
        port: 0 for any that is free.
    """

    host: str
    port: int

    @classmethod
    def parsed(cls, text: str) -> "Address":
        """From `HOST:PORT` or `[IPv6]:PORT`.

        Raises:
            ValueError: If it is none.
        """
        host, colon, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not (colon and host and port.isascii() and port.isdigit() and int(port) < 65_536):
            raise ValueError(f"an address is HOST:PORT, such as 127.0.0.1:8000, not {text!r}")
        return cls(host, int(port))

    @property
    def is_local(self) -> bool:
        """Whether nobody but this machine reaches it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


@asynccontextmanager
async def listening(
    guard: Guard,
    hub: Hub,
    address: Address,
    *,
    principal: Principal | None = None,
    without_tokens: bool = False,
) -> AsyncGenerator[Address]:
    """Serve a hub over HTTP while inside; leaving drains it. Gives the address, with the port that was free.

    Args:
        guard: Made from a policy file: its `principals` say whose tokens are accepted, its `http` what
            clients may do.
        hub: The guard's, entered.
        address: Where.
        principal: On whose behalf everybody calls, where the policy has no `principals`.
        without_tokens: Whether everybody who reaches the address may call, also from other machines.

    Raises:
        GuardBuildError: If anybody could call from elsewhere, under any name, and nobody said so.
        OSError: If the address cannot be listened on.
    """
    policy = _checked(guard, address, principal, without_tokens=without_tokens)
    limits = policy.options.http
    runs = Runs(guard, limit=limits.sessions, idle=limits.idle, has_sessions=not limits.stateless)
    endpoint = Endpoint(
        hub.server(name="mcpguard", runs=runs),
        limits,
        runs=runs,
        verify=guard.principal,
        issuer=partial(_issuer, guard),
        principal=principal,
        is_local=address.is_local,
    )
    with _bound(address) as listener:
        server = _uvicorn(endpoint, policy)
        async with anyio.create_task_group() as tasks, anyio.create_task_group() as helpers:
            tasks.start_soon(partial(server.serve, sockets=[listener]))
            try:
                async with endpoint.running():
                    helpers.start_soon(_warm, hub, endpoint)
                    helpers.start_soon(runs.sweep)
                    try:
                        yield Address(address.host, listener.getsockname()[1])
                    finally:
                        with anyio.move_on_after(limits.drain, shield=True) as draining:
                            await endpoint.drained()
                        if draining.cancelled_caught:
                            _log.warning("calls were under way after %s s, and are ended", limits.drain)
            finally:
                runs.close_idle(every=True)
                server.should_exit = True
                helpers.cancel_scope.cancel()


def _checked(
    guard: Guard, address: Address, principal: Principal | None, *, without_tokens: bool
) -> "Policy":
    policy = guard.policy
    if policy is None:
        raise GuardBuildError("serving needs a guard that was made by Guard.from_policy()")
    if policy.tokens_plan is not None and principal is not None:
        raise GuardBuildError("the policy says who calls by principals.jwt: nobody else can")
    if policy.tokens_plan is None and not (address.is_local or without_tokens):
        raise GuardBuildError(
            f"anybody who reaches {address.host} could call: give the policy principals.jwt, or say that this"
            " is meant (--without-tokens)"
        )
    if not address.is_local and not policy.options.http.hosts:
        raise GuardBuildError(
            f"listening on {address.host} needs http.hosts in the policy: the names that clients reach it by"
        )
    return policy


def _issuer(guard: Guard) -> str | None:
    """Who issues tokens, by the policy that is enforced now; None where it asks for none."""
    tokens = None if guard.policy is None else guard.policy.tokens_plan
    return None if tokens is None else str(tokens.options["issuer"])


@contextmanager
def _bound(address: Address) -> Generator[socket.socket]:
    """A socket that listens, and says that it is TCP's: asyncio then sends answers without delay."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address.host, address.port))
        listener.listen(BACKLOG)
        yield listener


def _uvicorn(endpoint: Endpoint, policy: "Policy") -> "uvicorn.Server":
    """The HTTP server. Signals are its caller's business."""
    import uvicorn

    from mcpguard.serving.bounded import BoundedProtocol

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Generator[None]:
            yield

    protocol = partial(BoundedProtocol, limits=policy.options.http)
    config = uvicorn.Config(
        endpoint,
        http=protocol,  # type: ignore[arg-type]
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=LAST_WORDS,
    )
    return Server(config)


async def _warm(hub: Hub, endpoint: Endpoint) -> None:
    """Try every server once, so that the first client does not wait for them."""
    with suppress(HubError):
        await hub.tools()
    endpoint.is_ready = True
