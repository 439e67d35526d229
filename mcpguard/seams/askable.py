"""A client of a hub's server object, as a guard asks it a form of its own; on both majors of the SDK.

Above: `sdk1.asked` and `sdk2.asked`, how each is asked at all.
"""

from abc import ABC, abstractmethod
from importlib import import_module
from typing import Any

from mcpguard.core.errors import HubError
from mcpguard.core.wire import JSONObject

__all__ = ["Askable"]


class Askable(ABC):
    """A request of a client, however that is asked."""

    @abstractmethod
    async def ask(self, method: str, params: Any) -> Any:
        """The answer, in the SDK's types; an error where there is none."""

    async def elicit(self, params: JSONObject) -> JSONObject:
        """What the client answers to a form of the guard's own, wire-shaped.

        Raises:
            HubError: If it does not answer forms.
        """
        types: Any = import_module("mcp.types")
        answer = await self.ask("elicitation/create", types.ElicitRequestFormParams.model_validate(params))
        if not isinstance(answer, types.ElicitResult):
            raise HubError("the client does not answer forms")
        told: JSONObject = answer.model_dump(by_alias=True, mode="json", exclude_none=True)
        return told
