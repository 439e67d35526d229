"""A package that is not installed with this one, and the extra by which it is."""

from dataclasses import KW_ONLY, dataclass
from importlib.util import find_spec

__all__ = ["Extra"]


@dataclass(frozen=True, slots=True)
class Extra:
    """What a class needs beside what everybody has. It says so as the class's `extra`.

    Args:
        name: The extra.
        package: What is imported from it.
    """

    name: str
    _: KW_ONLY
    package: str

    @property
    def missing(self) -> str | None:
        """What to do about it; None where it is installed."""
        if find_spec(self.package) is not None:
            return None
        return f"needs {self.package}: pip install 'mcpguard-inline[{self.name}]'"

    def require(self) -> None:
        """Do nothing where it is installed.

        Raises:
            ModuleNotFoundError: Where it is not; says what to do.
        """
        if self.missing is not None:
            raise ModuleNotFoundError(self.missing, name=self.package)
