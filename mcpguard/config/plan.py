"""One section of a policy file, validated: which class, with which arguments, from which line.

Interceptors are made once while the file is checked, because their constructors judge what types cannot,
and again for every guard, because they hold state. Sinks are made for a guard only: they open files.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

from mcpguard.config.document import Node, Where
from mcpguard.config.explain import explain, one_line, spelled
from mcpguard.config.hints import FOLDER, NotData
from mcpguard.config.signature import arguments, model_of
from mcpguard.core.errors import PluginError, PolicyError, Problem
from mcpguard.core.extra import Extra

__all__ = ["Plan", "check_section", "model_for"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Generic[T]):
    """How to make one interceptor or sink.

    Args:
        cls: The class.
        options: Keyword arguments of its constructor; what the file leaves out is not there.
        name: Its name in the policy file.
        described: What errors call it, with its distribution.
        path: Where in the file its section is.
        source: The file.
        line: The section's line.
    """

    cls: type[T]
    options: Mapping[str, object]
    name: str
    described: str
    path: Where
    source: str
    line: int | None

    @property
    def missing(self) -> Problem | None:
        """The extra without which it cannot be made here; None if there is none."""
        of_options: Mapping[str, Extra] = getattr(self.cls, "option_extras", {})
        given = [extra for name, extra in of_options.items() if self.options.get(name) is not None]
        for extra in (getattr(self.cls, "extra", None), *given):
            if isinstance(extra, Extra) and extra.missing is not None:
                return Problem(f"{spelled(self.path)}: {extra.missing}", self.line)
        return None

    def build(self) -> T:
        """Make it.

        Raises:
            PolicyError: If its constructor refuses the arguments, a file it names cannot be opened, or an
                extra that it needs is missing.
            PluginError: If its constructor fails otherwise.
        """
        if self.missing is not None:
            raise PolicyError(self.missing.message, source=self.source, line=self.line)
        where = spelled(self.path)
        try:
            return self.cls(**self.options)
        except (TypeError, ValueError) as error:
            raise PolicyError(
                f"{where}: {one_line(str(error))}", source=self.source, line=self.line
            ) from error
        except OSError as error:
            what = f"{where}: {error.filename or 'a file'} cannot be opened: {error.strerror}"
            raise PolicyError(what, source=self.source, line=self.line) from error
        except Exception as error:
            what = f"{self.described} cannot be made: {type(error).__name__}: {error}"
            raise PluginError(what) from error


def model_for(cls: type, described: str) -> type[BaseModel]:
    """The model of a section for `cls`.

    Raises:
        PluginError: If its constructor takes what no file can give, or cannot be read.
    """
    try:
        return model_of(cls)
    except NotData as error:
        raise PluginError(f"{described} cannot be used in a policy file: {error}") from error
    except Exception as error:
        what = f"{described} has a constructor that cannot be read: {type(error).__name__}: {error}"
        raise PluginError(what) from error


def check_section(
    cls: type[T], node: Node, *, name: str, described: str, path: Where, source: str, folder: Path
) -> Plan[T] | list[Problem]:
    """The plan for a section, or what is wrong with it.

    Raises:
        PluginError: If the class cannot be used in a file, or what it validates with fails.
    """
    model = model_for(cls, described)
    try:
        options = arguments(model.model_validate(node.plain(), context={FOLDER: folder}))
    except ValidationError as error:
        return explain(error, model, node, path)
    except Exception as error:
        raise PluginError(f"{described} fails over its section: {type(error).__name__}: {error}") from error
    return Plan(
        cls=cls, options=options, name=name, described=described, path=path, source=source, line=node.line
    )
