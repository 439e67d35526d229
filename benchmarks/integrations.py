"""What a guard costs on a framework's own way to a tool, beside its bare call and a second one as control.

Takes whichever frameworks are installed; each calls the same tool of a server in this process. It is
processor time, in blocks that are interleaved: the median distance from the bare block of the same round.

    python benchmarks/integrations.py [--rounds N]
"""

import argparse
import importlib.util
import random
import statistics
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from importlib.metadata import version
from typing import Any

import anyio
import mcp

from mcpguard import Access, AccessRule, Budget, Guard
from mcpguard.integrations.opened import listed
from mcpguard.testing import FakeServer

BLOCK = 8
"""Calls between two looks at the clock: few, so that what else the machine does falls on all alike."""

Call = Callable[[], Awaitable[Any]]
Make = Callable[[AsyncExitStack, Guard | None], Awaitable[Call]]

ARGUMENTS = {"text": "x" * 200}


async def langchain_mcp_adapters(session: Any) -> Call:
    """A LangChain tool, as a tool node calls it."""
    (tool,) = await import_module("langchain_mcp_adapters.tools").load_mcp_tools(session)
    call = {"type": "tool_call", "id": "1", "name": "echo", "args": ARGUMENTS}
    return lambda: tool.ainvoke(call)


async def anthropic(session: Any) -> Call:
    """A tool of the runner's."""
    convert = import_module("anthropic.lib.tools.mcp").async_mcp_tool
    tool = convert((await listed(session))[0], session)
    return lambda: tool.call(ARGUMENTS)


async def dspy(session: Any) -> Call:
    """A tool of dspy's."""
    tool = import_module("dspy").Tool.from_mcp_tool(session, (await listed(session))[0])
    return lambda: tool.acall(**ARGUMENTS)


async def llama_index(session: Any) -> Call:
    """A tool of a spec's."""
    spec = import_module("llama_index.tools.mcp").McpToolSpec(client=session)
    (tool,) = await spec.to_tool_list_async()
    return lambda: tool.acall(**ARGUMENTS)


async def agno(session: Any) -> Call:
    """A function of a toolkit's."""
    call = import_module("agno.tools.function").FunctionCall
    toolkit = import_module("agno.tools.mcp").MCPTools(session=session)
    await toolkit.build_tools()
    function = toolkit.functions["echo"]
    return lambda: call(function=function, arguments=dict(ARGUMENTS), call_id="1").aexecute()


async def bare_session(session: Any) -> Call:
    """No framework: what is left is the SDK's."""
    return lambda: session.call_tool("echo", ARGUMENTS)


def on_a_session(make: Callable[[Any], Awaitable[Call]]) -> Make:
    """For frameworks that take a session."""

    async def made(stack: AsyncExitStack, guard: Guard | None) -> Call:
        return await make(await stack.enter_async_context(opened(guard)))

    return made


async def openai_agents(stack: AsyncExitStack, guard: Guard | None) -> Call:
    """A server of the framework's, as its runner calls it; it makes the session itself."""
    base: Any = import_module("agents.mcp").MCPServerStdio

    class InProcess(base):  # type: ignore[misc]  # the class is known at run time only
        def create_streams(self) -> Any:
            return server().connect()

    made = InProcess({"command": "none"})
    if guard is not None:
        import_module("mcpguard.integrations.openai_agents").guarded_server(guard, made, name="bench")
    await stack.enter_async_context(made)
    return lambda: made.call_tool("echo", ARGUMENTS)


async def pydantic_ai(stack: AsyncExitStack, guard: Guard | None) -> Call:
    """A toolset, as its agent calls it."""
    base: Any = import_module("fastmcp.client.transports.base").ClientTransport

    class InProcess(base):  # type: ignore[misc]  # the class is known at run time only
        @asynccontextmanager
        async def connect_session(self, **options: Any) -> AsyncGenerator[Any]:
            options.pop("transport_options", None)
            async with server().connect() as streams, mcp.ClientSession(*streams, **options) as session:
                yield session

    if guard is None:
        toolset = import_module("pydantic_ai.mcp").MCPToolset(InProcess())
    else:
        integration: Any = import_module("mcpguard.integrations.pydantic_ai")
        toolset = integration.guarded_toolset(guard, InProcess(), name="bench")
    await stack.enter_async_context(toolset)
    return lambda: toolset.direct_call_tool("echo", ARGUMENTS)


FRAMEWORKS: dict[str, tuple[str, str, Make]] = {
    "the SDK alone": ("mcp", "mcp", on_a_session(bare_session)),
    "langchain-mcp-adapters": (
        "langchain_mcp_adapters",
        "langchain-mcp-adapters",
        on_a_session(langchain_mcp_adapters),
    ),
    "openai-agents": ("agents", "openai-agents", openai_agents),
    "pydantic-ai": ("pydantic_ai", "pydantic-ai-slim", pydantic_ai),
    "anthropic": ("anthropic", "anthropic", on_a_session(anthropic)),
    "dspy": ("dspy", "dspy", on_a_session(dspy)),
    "llama-index": ("llama_index", "llama-index-tools-mcp", on_a_session(llama_index)),
    "agno": ("agno", "agno", on_a_session(agno)),
}
"""Name -> module, distribution, and what makes a call that passes a guard."""

POLICY = [
    Access(default="deny", allow=[AccessRule(servers=["bench"], tools=["echo"])]),
    Budget(per="run", calls=10**9),
]


def server() -> FakeServer:
    """What is called."""
    made = FakeServer("bench")
    schema: Any = {"type": "object", "properties": {"text": {"type": "string"}}}
    made.tool("echo", description="Say it again.", schema=schema).returns("x" * 200)
    return made


@asynccontextmanager
async def opened(guard: Guard | None) -> AsyncGenerator[Any]:
    """A session, as the integrations open one, or as the SDK does."""
    async with server().connect() as (read, write):
        session: Any = mcp.ClientSession(read, write)
        if guard is not None:
            guard.session(session, name="bench")
        async with session:
            await session.initialize()
            yield session


async def measure(name: str, rounds: int) -> None:
    """Print one framework's figures."""
    _, distribution, make = FRAMEWORKS[name]
    limited = Guard(POLICY)
    guards = {"bare": None, "bare, again": None, "empty guard": Guard(), "access and budget": limited}
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(limited.run())
        calls = {kind: await make(stack, guard) for kind, guard in guards.items()}
        spent: dict[str, list[float]] = {kind: [] for kind in calls}
        for number in range(rounds + 10):
            for kind in random.sample(list(calls), len(calls)):
                start = time.process_time()
                for _ in range(BLOCK):
                    await calls[kind]()
                if number >= 10:
                    spent[kind].append((time.process_time() - start) / BLOCK * 1e6)
    print(f"{name} {version(distribution)}, mcp {version('mcp')}")
    bare = statistics.median(spent["bare"])
    for kind, values in spent.items():
        more = statistics.median(one - other for one, other in zip(values, spent["bare"], strict=True))
        print(f"  {kind:<20} {bare + more:8.1f} us  {1 + more / bare:5.2f}  {more:+7.1f} us")


async def main() -> None:
    """Measure what is installed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=400)
    rounds = parser.parse_args().rounds
    for name, (module, _, _) in FRAMEWORKS.items():
        if importlib.util.find_spec(module) is not None:
            await measure(name, rounds)


if __name__ == "__main__":
    anyio.run(main)
