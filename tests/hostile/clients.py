"""One conversation with a hostile server: list, call `go`, call `honest`, leave; and what came of each step."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import anyio
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

HERE = Path(__file__).parent
V1 = version("mcp").startswith("1.")
PAGES = 300
"""Pages of a listing after which whoever lists gives up."""


@dataclass(slots=True)
class Steps:
    """What came of each step: `ok`, the error's class and code, or `hang`."""

    listed: str = "not reached"
    went: str = "not reached"
    honest: str = "not reached"
    left: str = "not reached"
    error: BaseException | None = field(default=None, repr=False)
    """What the call raised."""
    tools: list[str] = field(default_factory=list)
    result: Any = None
    runs: int = 0


Wrap = Callable[[Any], Any]
"""What is put around a transport: a guard's, or nothing."""


@contextmanager
def http_server(behaviour: str, runs: Path) -> Iterator[str]:
    """A raw HTTP server; its URL."""
    command = [sys.executable, "-S", str(HERE / "http_server.py"), str(runs), behaviour]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/mcp"
        finally:
            process.kill()


@asynccontextmanager
async def transport_to(kind: str, behaviour: str, runs: Path) -> AsyncIterator[Any]:
    """The SDK's transport, not entered, to a raw server."""
    if kind == "stdio":
        args = ["-S", str(HERE / "stdio_server.py"), str(runs), behaviour]
        yield stdio_client(StdioServerParameters(command=sys.executable, args=args), errlog=NOWHERE)
        return
    with http_server(behaviour, runs) as url:
        yield import_module("mcp.client.streamable_http").streamable_http_client(url)


NOWHERE = Path(os.devnull).open("w")  # noqa: SIM115


async def talk(kind: str, behaviour: str, wrap: Wrap, runs: Path, *, limit: float) -> Steps:
    """Have the conversation; no step takes longer than `limit` seconds."""
    steps = Steps()
    async with transport_to(kind, behaviour, runs) as transport:
        try:
            with anyio.move_on_after(4 * limit) as whole:
                async with wrap(transport) as (read, write, *_), ClientSession(read, write) as session:
                    await session.initialize()
                    steps.listed = await _step(limit, steps, lambda: _list(session, steps))
                    steps.error = None
                    steps.went = await _step(limit, steps, lambda: _call(session, "go", steps))
                    error, result = steps.error, steps.result
                    steps.honest = await _step(limit, steps, lambda: _call(session, "honest", steps))
                    steps.error, steps.result = error, result
                    whole.deadline = anyio.current_time() + limit
            steps.left = "hang" if whole.cancelled_caught else "ok"
        except BaseException as error:
            steps.left = _named(error)
            steps.error = steps.error or error
    steps.runs = _lines_in(runs)
    return steps


async def _list(session: ClientSession, steps: Steps) -> None:
    cursor = None
    for _ in range(PAGES):
        params = import_module("mcp.types").PaginatedRequestParams(cursor=cursor)
        page = await session.list_tools(params=params)
        steps.tools += [tool.name for tool in page.tools]
        cursor = page.nextCursor if V1 else page.next_cursor
        if cursor is None:
            return
    raise RuntimeError("the listing does not end")


async def _call(session: ClientSession, name: str, steps: Steps) -> None:
    steps.result = None
    steps.result = await session.call_tool(name, {})


async def _step(limit: float, steps: Steps, step: Callable[[], Any]) -> str:
    with anyio.move_on_after(limit) as scope:
        try:
            await step()
        except Exception as error:
            steps.error = error
            return _named(error)
    return "hang" if scope.cancelled_caught else "ok"


def _lines_in(file: Path) -> int:
    return len(file.read_text().splitlines()) if file.exists() else 0


def _named(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    code = getattr(getattr(error, "error", None), "code", None)
    return type(error).__name__ if code is None else f"{type(error).__name__} {code}"
