"""The contract every other layer builds on: calls, results, verdicts, hooks, the chain, runs and events.

Nothing here imports `mcp` or `pydantic` or does I/O; one core serves both majors of the SDK.
"""
