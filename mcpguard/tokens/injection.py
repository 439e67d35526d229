"""Where in a message a credential stands: in an argument, or in a field of `_meta`; and in no schema.

Above: `Credentials`. Beside: `voucher`, for those that stand in the header of an HTTP request.
"""

from collections.abc import Mapping, Sequence

from mcpguard.core.wire import EMPTY, JSON, JSONObject
from mcpguard.detectors.argument_schema import without_arguments
from mcpguard.tokens.credential import Credential
from mcpguard.tokens.voucher import VOUCHER_KEY, Carried

__all__ = ["injected", "without_credentials"]


def injected(params: JSONObject, carried: Sequence[Carried], number: str | None) -> JSONObject:
    """The parameters of a call with what goes with it.

    Args:
        params: What it has by itself.
        carried: Credentials; those for arguments and `_meta` are put in.
        number: That of its voucher, where there is one.
    """
    sent: dict[str, JSON] = {**params}
    known, given = sent.get("_meta"), sent.get("arguments")
    meta: dict[str, JSON] = {**known} if known is not None and isinstance(known, (dict, Mapping)) else {}
    meta.pop(VOUCHER_KEY, None)
    for one in carried:
        if one.rule.meta is not None:
            meta[one.rule.meta] = one.text
        elif one.rule.argument is not None and isinstance(given, Mapping | None):
            given = sent["arguments"] = {**(given or EMPTY), one.rule.argument: one.text}
    if number is not None:
        meta[VOUCHER_KEY] = number
    if meta or known is not None:
        sent["_meta"] = meta
    return sent


def without_credentials(tool: JSON, hiding: Sequence[Credential]) -> JSON:
    """A tool as it is listed, its schema without the arguments that these rules give."""
    name = tool.get("name") if isinstance(tool, Mapping) else None
    if not isinstance(tool, Mapping) or not isinstance(name, str):
        return tool
    hidden = [rule.argument for rule in hiding if rule.argument is not None and rule.is_about_tool(name)]
    schema = tool.get("inputSchema")
    if not hidden or not isinstance(schema, Mapping):
        return tool
    return {**tool, "inputSchema": without_arguments(schema, hidden)}
