"""A tally of limits that are hit, as a list of their names."""

__all__ = ["Names"]


class Names:
    """Notes the name of each limit.

    Args:
        told: Where the names go.
    """

    def __init__(self, told: list[str]) -> None:
        self._told = told

    def tell(self, limit: str, reason: str, now: float, kind: str = "") -> None:
        """Note a limit that was hit."""
        self._told.append(limit)

    def flush(self) -> None:
        """Nothing was held back."""
