"""What a server says, without the credentials that it was sent: servers repeat what they get."""

from collections.abc import Mapping, Sequence
from typing import Final

from mcpguard.core.result import Result, WireError
from mcpguard.core.wire import JSON, JSONObject

__all__ = ["withheld", "without"]

MARK: Final = "[credential]"
"""What stands in its place."""


def without(params: JSONObject, secrets: Sequence[str]) -> JSONObject:
    """`params` with `secrets` replaced wherever they stand; the same object if they are nowhere."""
    if not secrets or not _holds(params, secrets):
        return params
    cleaned = _cleaned(params, secrets)
    return cleaned if isinstance(cleaned, Mapping) else {}


def withheld(result: Result, secrets: Sequence[str]) -> Result:
    """`result` with `secrets` replaced wherever they stand, in keys and in errors too."""
    if not secrets:
        return result
    if result.error is not None:
        told: JSON = [result.error.message, result.error.data]
        if _holds(told, secrets):
            cleaned = _cleaned(told, secrets)
            message, data = cleaned if isinstance(cleaned, list) else ("", None)
            error = WireError(result.error.code, str(message), data)
            return result.replace(error=error, cause=None)
    elif result.cause is not None and any(secret in str(result.cause) for secret in secrets):
        return result.replace(cause=ConnectionError(type(result.cause).__name__))
    if result.value is None or not _holds(result.value, secrets):
        return result
    value = _cleaned(result.value, secrets)
    return result.replace(value=value) if isinstance(value, Mapping) else result


def _holds(value: JSON, secrets: Sequence[str]) -> bool:
    ahead: list[JSON] = [value]
    for one in ahead:  # it grows on the way
        if isinstance(one, str):
            for secret in secrets:
                if secret in one:
                    return True
        elif isinstance(one, list):
            ahead += one
        elif one is None or isinstance(one, (int, float)):
            continue
        elif isinstance(one, (dict, Mapping)):
            ahead += one
            ahead += one.values()
        else:
            ahead += one
    return False


def _cleaned(value: JSON, secrets: Sequence[str]) -> JSON:
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, MARK)
        return value
    if isinstance(value, Mapping):
        return {str(_cleaned(name, secrets)): _cleaned(one, secrets) for name, one in value.items()}
    if isinstance(value, Sequence):
        return [_cleaned(one, secrets) for one in value]
    return value
