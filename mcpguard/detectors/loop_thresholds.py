"""How often something may repeat before the model is told, and before it is refused."""

from dataclasses import KW_ONLY, dataclass

from mcpguard.detectors.repeats import Finding

__all__ = ["LoopThresholds"]


@dataclass(frozen=True, slots=True)
class LoopThresholds:
    """How patient to be with some tools.

    Args:
        warn_after: How often something is repeated when the model is told. At least 2.
        block_after: The repetition that is refused; never with 0. At least `warn_after` otherwise.

    Raises:
        ValueError: If a number is out of range.
    """

    _: KW_ONLY
    warn_after: int = 3
    block_after: int = 5

    def __post_init__(self) -> None:
        if self.warn_after < 2:
            raise ValueError(f"warn_after is at least 2, not {self.warn_after}")
        if self.block_after and self.block_after < self.warn_after:
            raise ValueError(f"block_after is 0, or at least warn_after; not {self.block_after}")

    def warns(self, found: Finding) -> bool:
        """Whether the model is told of this."""
        return found.count >= self.warn_after

    def blocks(self, found: Finding) -> bool:
        """Whether this is refused. A step that was seen before is weaker evidence than a repeated block."""
        return bool(self.block_after) and found.count >= self.block_after + (found.rule == "nothing_new")
