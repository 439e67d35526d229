"""How a server's name is bound to a guard: what is declared of it, who may use it, what it is held to.

Every seam starts from a `Binding` made here. What the name stands for outlasts a session: the auth object of
the server, its variables, the connections there are.

Above: `Guard`. Below: `callers`, which goes by a binding, and `credentials`.
"""

import threading
import weakref
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from mcpguard.core.connection_limits import ConnectionLimits
from mcpguard.core.errors import SeamError
from mcpguard.core.interceptor import Interceptor
from mcpguard.core.linked import Handle
from mcpguard.core.run import Run, current_run
from mcpguard.core.servers import ServerOptions
from mcpguard.seams.callers import Binding
from mcpguard.seams.connection import Connection

if TYPE_CHECKING:
    from mcpguard.interceptors.credentials import Credentials
    from mcpguard.seams.http_auth import HTTPAuth
    from mcpguard.seams.opening import Opening

__all__ = ["Bindings"]


class Bindings:
    """Bind servers to a guard by their names.

    Args:
        handle: The guard.
        interceptors: Its interceptors, who are told what is wrapped.
        servers: What is declared of servers. Where some are declared, others cannot be wrapped.
        limits: What connections are held to. None: nothing.
    """

    def __init__(
        self,
        handle: Handle,
        interceptors: Sequence[Interceptor],
        servers: Mapping[str, ServerOptions],
        limits: ConnectionLimits | None,
    ) -> None:
        self.interceptors = tuple(interceptors)
        self._handle = handle
        self._servers = servers
        self._limits = limits
        self._http_auths: dict[str, HTTPAuth] = {}
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._lock = threading.Lock()

    def replace(
        self,
        interceptors: Sequence[Interceptor],
        servers: Mapping[str, ServerOptions],
        limits: ConnectionLimits | None,
    ) -> None:
        """Go by others from here on, or raise and change nothing. Auth objects stay, and go by them too.

        Raises:
            GuardBuildError: If several `Credentials` would put headers on requests to one server.
        """
        with self._lock:
            followers = self._followers(interceptors)
            self.interceptors = tuple(interceptors)
            self._servers, self._limits = servers, limits
            for auth, giver in followers:
                auth.follow(giver)

    def binding(self, name: str, run: Run | None, shared: bool | None) -> Binding:
        """What a seam goes by that wraps the server of this name.

        Args:
            name: What policy, stores and audit call it.
            run: Binds every call to this run.
            shared: Whether several principals may use the connection. None: as declared, else not.

        Raises:
            ValueError: If servers are declared, and this is none of them; if `name` is empty.
            SeamError: If it cannot be wrapped as an interceptor asks.
        """
        declared = self._servers.get(name)
        if self._servers and declared is None:
            known = ", ".join(sorted(self._servers))
            raise ValueError(f"the declared servers are {known}; name={name!r} is none of them")
        if shared is None:
            shared = self.is_shared(name)
        http_auth = self._http_auths.get(name)
        for one in self.interceptors:
            one.wrapping(name, shared=shared, http_auth=http_auth is not None)
        if http_auth is not None and shared:
            http_auth.is_shared = True
        return Binding(
            handle=self._handle,
            name=name,
            run=run,
            shared=shared,
            register=self._register,
            limits=self._limits,
            is_limited=self._limits is not None,
        )

    def is_shared(self, name: str) -> bool:
        """Whether several principals may use a connection to the server of this name, as it is declared."""
        declared = self._servers.get(name)
        return declared is not None and declared.shared

    def openings(self, servers: Mapping[str, Any] | None) -> "dict[str, Opening]":
        """How each of `servers` is opened, for all who use a hub.

        Args:
            servers: What each is reached by, under its name. None: those that are declared with that.

        Raises:
            SeamError: If something is no server to connect to, or cannot be wrapped as an interceptor asks.
            ValueError: If a name cannot be one.
        """
        from mcpguard.seams.opening import Opening, reached

        if servers is None:
            servers = {name: one for name, one in self._servers.items() if one.command or one.url}
        openings: dict[str, Opening] = {}
        for name, given in servers.items():
            source, headers = reached(given, name)
            openings[name] = Opening(
                source=source,
                headers=headers,
                auth=self.http_auth(name, source) if isinstance(source, str) else None,
                binding=self.binding(name, None, shared=True),
                environment=partial(self.environment, name, None),
            )
        return openings

    def http_auth(self, name: str, url: str | None) -> "HTTPAuth":
        """The auth object of a server; one per name.

        Args:
            name: What policy, stores and audit call it.
            url: Where it is. None: where the first request goes.

        Raises:
            GuardBuildError: If several `Credentials` put headers on requests to it.
            ValueError: If the auth object of this name was given another origin before.
        """
        from mcpguard.seams.http_auth import giver_of, http_auth

        with self._lock:
            known = self._http_auths.get(name)
            if known is None:
                giver = giver_of(name, self.interceptors)
                known = self._http_auths[name] = http_auth(name, giver, url)
            elif url is not None:
                known.settle(url)
        return known

    async def environment(self, name: str, run: Run | None) -> dict[str, str]:
        """The variables for a server that is started as a process.

        Args:
            name: What policy, stores and audit call it.
            run: On whose behalf it is started; None: as the context says.

        Raises:
            SeamError: If a credential cannot be had.
        """
        from mcpguard.interceptors.credentials import Credentials
        from mcpguard.tokens.secret import TokenError

        bound = run or current_run()
        principal = None if bound is None else bound.principal
        variables: dict[str, str] = {}
        for one in self.interceptors:
            if isinstance(one, Credentials):
                try:
                    variables.update(await one.environment(name, principal))
                except TokenError as error:
                    raise SeamError(f"{name} cannot be started: {error}") from None
        return variables

    def connections(self) -> list[Connection]:
        """Those there are, as far as anybody holds them."""
        with self._lock:
            return list(self._connections)

    def _register(self, connection: Connection) -> None:
        with self._lock:
            self._connections.add(connection)

    def _followers(self, interceptors: Sequence[Interceptor]) -> "list[tuple[HTTPAuth, Credentials | None]]":
        """Every auth object that was asked for, and what it goes by among these."""
        if not self._http_auths:
            return []
        from mcpguard.seams.http_auth import giver_of

        return [(auth, giver_of(name, interceptors)) for name, auth in self._http_auths.items()]
