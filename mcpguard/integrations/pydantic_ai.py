"""pydantic-ai: an `MCPToolset` on a guarded FastMCP transport.

`process_tool_call` would see the calls of the model's tools only; here the toolset's lists, resources and
prompts, and the calls of its apps, are guarded too. A refusal reaches the model as a retry.

Where somebody else makes the toolset, `process_tool_call` is a guard as that hook. It is handed what the
framework makes of a result, which is text and data: rules look at that.

`guarded_runs` is a capability of an agent's: each of its runs is one of the guard's, under the same id. It is
bound around what the run's toolsets do, as well as by context: who drives a run may have another one's.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic_core import to_jsonable_python

from mcpguard.core.run import Run, bound
from mcpguard.core.wire import JSONObject, mutable_copy
from mcpguard.integrations.framework import framework
from mcpguard.integrations.kept import has_several_users

if TYPE_CHECKING:
    from mcpguard.core.principal import Principal
    from mcpguard.guard import Guard

__all__ = ["guarded_runs", "guarded_toolset", "process_tool_call"]

_CACHES: Final = ("cache_tools", "cache_resources", "cache_prompts")


def guarded_toolset(
    guard: "Guard",
    transport: Any,
    *,
    name: str,
    run: "Run | None" = None,
    shared: bool | None = None,
    **options: Any,
) -> Any:
    """An `MCPToolset` whose every session is guarded.

    Args:
        guard: The guard.
        transport: A FastMCP transport, or anything FastMCP infers one from. Its credentials are its own:
            pydantic-ai refuses `headers` and `auth` beside a transport.
        name: What policy, stores and audit call the server.
        run: Binds every call to this run.
        shared: Whether several principals may use it. None: as the policy says of `name`, else not.
        options: Further arguments of `MCPToolset`. One that is shared keeps no lists, unless `cache_tools`,
            `cache_resources` or `cache_prompts` says so: they would be those of whoever asked first.

    Raises:
        SeamError: If pydantic-ai is not installed with its extra `mcp`, or the transport is guarded already.
    """
    toolset = framework("pydantic_ai.mcp", extra="pydantic-ai").MCPToolset
    guarded = guard.fastmcp_transport(transport, name=name, run=run, shared=shared)
    if has_several_users(guard, name=name, run=run, shared=shared):
        options = {**dict.fromkeys(_CACHES, False), **options}
    return toolset(guarded, **options)


def guarded_runs(guard: "Guard", *, principal: "Callable[[Any], Principal | None] | None" = None) -> Any:
    """A capability with which each run of an agent is a run of the guard's, and ends with it.

    An agent that another one calls has a run within that one's.

    Args:
        guard: The guard.
        principal: Says of the framework's `RunContext`, which has the agent's `deps`, on whose behalf the
            run is. None, here or from it: of the run around.

    Raises:
        SeamError: If pydantic-ai is not installed, or a release has no capabilities.
    """
    base = framework("pydantic_ai.capabilities", extra="pydantic-ai").AbstractCapability
    wrapper = framework("pydantic_ai.toolsets", extra="pydantic-ai").WrapperToolset

    class GuardedRuns(base):  # type: ignore[misc, valid-type]  # the class is known at run time only
        """An agent's runs, as the guard's; of each run one."""

        run: Run | None = None

        async def for_run(self, ctx: Any) -> Any:
            """Another one for each run."""
            del ctx
            return GuardedRuns()

        async def wrap_run(self, ctx: Any, *, handler: Callable[[], Any]) -> Any:
            """Keep a run open while the agent's is."""
            whose = None if principal is None else principal(ctx)
            async with guard.run(id=ctx.run_id, principal=whose) as self.run:
                return await handler()

        def get_wrapper_toolset(self, toolset: Any) -> Any:
            """Bind the run to what the agent's tools do, and to what they are listed by."""
            return RunToolset(toolset, self)

    @dataclass
    class RunToolset(wrapper):  # type: ignore[misc, valid-type]  # the class is known at run time only
        """Tools that are listed and called in a run of the guard's, whoever drives the agent's."""

        wrapped: Any
        runs: GuardedRuns

        async def get_tools(self, ctx: Any) -> Any:
            """List them."""
            with self._bound():
                return await self.wrapped.get_tools(ctx)

        async def call_tool(self, *args: Any, **options: Any) -> Any:
            """Call one."""
            with self._bound():
                return await self.wrapped.call_tool(*args, **options)

        def _bound(self) -> AbstractContextManager[None]:
            return nullcontext() if self.runs.run is None else bound(self.runs.run)

    return GuardedRuns()


def process_tool_call(
    guard: "Guard",
    *,
    name: str,
    run: "Run | None" = None,
    shared: bool | None = None,
    tool_error_behavior: Literal["retry", "failed", "error"] = "retry",
) -> Any:
    """A `process_tool_call` hook that guards the calls of a toolset's tools.

    Args:
        guard: The guard.
        name: What policy, stores and audit call the server.
        run: Binds every call to this run.
        shared: Whether several principals may use the toolset. None: as the policy says of `name`, else not.
        tool_error_behavior: How a refusal is told: as the toolset has it, which a hook is not told.

    Raises:
        SeamError: If pydantic-ai is not installed.
        ValueError: If `tool_error_behavior` is none that the framework has.
    """
    known = framework("pydantic_ai.exceptions", extra="pydantic-ai")
    tool_error = framework("fastmcp.exceptions", extra="pydantic-ai").ToolError
    errors = {"retry": known.ModelRetry, "failed": known.ToolFailed, "error": tool_error}
    if tool_error_behavior not in errors:
        raise ValueError(f"tool_error_behavior is one of {', '.join(errors)}, not {tool_error_behavior!r}")
    refused = errors[tool_error_behavior]
    handed = guard.handed_calls(name=name, run=run, shared=shared)

    async def process(_context: Any, call_tool: Any, tool: str, arguments: dict[str, Any]) -> Any:
        answers: list[tuple[JSONObject, Any]] = []

        async def send(tool: str, arguments: dict[str, object]) -> JSONObject:
            try:
                answer = await call_tool(tool, arguments)
                shaped = _shaped(answer)
            except tuple(errors.values()) as error:
                answer, shaped = error, {**_shaped(str(error)), "isError": True}
            answers.append((shaped, answer))
            return shaped

        result = await handed.call(tool, arguments, send)
        for shaped, answer in answers:
            if shaped is result and shaped.get("isError"):
                raise answer
            if shaped is result:
                return answer
        if result.get("isError"):
            failed = [type(answer) for _, answer in answers if isinstance(answer, Exception)]
            raise (failed[-1] if failed else refused)(_text(result))
        data = result.get("structuredContent")
        return mutable_copy(data["result"]) if isinstance(data, dict) else _text(result)

    return process


def _shaped(answer: Any) -> dict[str, Any]:
    """What the framework makes of a result, as a result again: its data, and its text."""
    if isinstance(answer, str):
        return {"content": [{"type": "text", "text": answer}]}
    data = to_jsonable_python(answer, bytes_mode="base64", serialize_unknown=True)
    return {"content": [], "structuredContent": {"result": data}}


def _text(result: JSONObject) -> str:
    blocks: Any = result.get("content") or ()
    return "\n".join(str(block.get("text", "")) for block in blocks)
