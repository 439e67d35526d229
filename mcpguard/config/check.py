"""One pass over a policy: every section against its class, and everything that is wrong, at once.

Interceptors are made, because their constructors judge what types cannot; sinks are not, because they open
files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from pydantic import ValidationError

from mcpguard.config.content import SCHEMA_KEY, Content
from mcpguard.config.document import Node, Where, kind_of
from mcpguard.config.explain import explain, spelled, unknown
from mcpguard.config.plan import Plan, check_section
from mcpguard.config.registry import Kind, Registry
from mcpguard.config.signature import made, model_of
from mcpguard.config.tokens import Tokens
from mcpguard.core.errors import GuardBuildError, PolicyError, Problem
from mcpguard.core.events import Sink
from mcpguard.core.interceptor import Interceptor, Place
from mcpguard.core.order import arrange
from mcpguard.stores.opening import check_store_url

__all__ = ["Checked", "by_line", "check_document"]

T = TypeVar("T")

MAX_PROBLEMS: Final = 50
"""Problems that one error reports; a file with more was not meant as a policy."""

_GLOB: Final = frozenset("*?[")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A policy's parts, all valid.

    Args:
        content: What stands at the top.
        interceptors: How to make each, in canonical order.
        made: Each of them, made once.
        sinks: How to make each, in the file's order.
        tokens: How to make what verifies tokens; None if the file says nothing of them.
    """

    content: Content
    interceptors: tuple[Plan[Interceptor], ...]
    made: tuple[Interceptor, ...]
    sinks: tuple[Plan[Sink], ...]
    tokens: Plan[Tokens] | None


def check_document(root: Node, unclear: Sequence[Problem], *, source: str, folder: Path) -> Checked:
    """Check a whole policy.

    Args:
        root: The document.
        unclear: What its reader found; what follows from it in the same lines is not reported.
        source: What errors call the file.
        folder: Where relative paths start.

    Raises:
        PolicyError: If anything is wrong with it.
        PluginError: If it uses a plugin that cannot be used.
    """
    check = _Check(source, folder)
    content = check.content(root)
    pairs = check.interceptors(root.members().get("interceptors") or Node(None))
    sinks = check.sinks(root.members().get("audit") or Node(None))
    tokens = check.tokens(root.members().get("principals") or Node(None))
    told = {problem.line for problem in unclear} - {None}
    problems = [*unclear, *(one for one in check.problems if one.line not in told)]
    if problems or content is None:
        raise _error(problems, source)
    pairs.sort(key=lambda pair: pair[1].place or Place.PLUGIN)
    interceptors = tuple(one for _, one in pairs)
    try:
        arrange(interceptors)
    except GuardBuildError as error:
        raise PolicyError(str(error), source=source) from error
    return Checked(
        content=content,
        interceptors=tuple(plan for plan, _ in pairs),
        made=interceptors,
        sinks=tuple(sinks),
        tokens=tokens,
    )


def by_line(problem: Problem) -> int:
    """Problems in the file's order, those without a line first."""
    return problem.line or 0


class _Check:
    """The problems found so far."""

    def __init__(self, source: str, folder: Path) -> None:
        self.problems: list[Problem] = []
        self._registry = Registry()
        self._source = source
        self._folder = folder

    def content(self, root: Node) -> Content | None:
        """What stands at the top; None if that is invalid."""
        if not isinstance(root.value, dict):
            self._add(f"a policy is a mapping, got {kind_of(root.value)}", root)
            return None
        members = {name: node for name, node in root.value.items() if name != SCHEMA_KEY}
        for name, node in (members.get("servers") or Node(None)).members().items():
            if not name or _GLOB & set(name):
                self._add(f"{spelled(('servers', name))}: expected the name of one server", node)
        url = members.get("store")
        if url is not None and isinstance(url.value, str):
            try:
                check_store_url(url.value)
            except ValueError as error:
                self._add(f"store: {error}", url)
        root = Node(members, root.line)
        model = model_of(Content)
        try:
            return made(Content, model.model_validate(root.plain()))
        except ValidationError as error:
            self.problems.extend(explain(error, model, root, ()))
            return None

    def interceptors(self, sections: Node) -> list[tuple[Plan[Interceptor], Interceptor]]:
        """Every interceptor, in the file's order: how to make it, and one made."""
        pairs: list[tuple[Plan[Interceptor], Interceptor]] = []
        ids: set[str | None] = {None}
        for name, section in sections.members().items():
            if not self._is_known("interceptor", name, section):
                continue
            cls = self._registry.interceptor(name)
            for node, path in self._several(section, ("interceptors", name)):
                plan = self._plan(cls, "interceptor", name, node, path)
                one = None if plan is None else self._make(plan)
                if plan is None or one is None:
                    continue
                if one.id is not None and one.id in ids:
                    line = node.nearest(("id",)).line
                    self.problems.append(Problem(f"{spelled(path)}: the id is taken; ids are unique", line))
                    continue
                ids.add(one.id)
                pairs.append((plan, one))
        return pairs

    def sinks(self, items: Node) -> list[Plan[Sink]]:
        """Every sink, in the file's order."""
        plans: list[Plan[Sink]] = []
        for position, item in enumerate(items.items()):
            members = item.members()
            if isinstance(item.value, dict) and len(members) != 1:
                got = ", ".join(map(spelled, ((name,) for name in members))) or "none"
                self._add(f"audit[{position}]: expected one sink in each item, got {got}", item)
                continue
            for name, section in members.items():
                if self._is_known("sink", name, section):
                    path: Where = ("audit", position, name)
                    plan = self._plan(self._registry.sink(name), "sink", name, section, path)
                    plans.extend([] if plan is None else [plan])
        return plans

    def tokens(self, section: Node) -> Plan[Tokens] | None:
        """What verifies tokens, made once to see that it can be."""
        members = section.members()
        for name, node in members.items():
            if name != "jwt":
                self._add(f"{spelled(('principals', name))}: unknown key; accepted here: jwt", node)
        if "jwt" not in members:
            return None
        plan = check_section(
            Tokens,
            members["jwt"],
            name="jwt",
            described="principals.jwt",
            path=("principals", "jwt"),
            source=self._source,
            folder=self._folder,
        )
        if isinstance(plan, list):
            self.problems.extend(plan)
            return None
        return None if self._make(plan) is None else plan

    def _is_known(self, kind: Kind, name: str, section: Node) -> bool:
        names = self._registry.names(kind)
        if name not in names:
            self._add(unknown(kind, name, names), section)
        return name in names

    def _several(self, section: Node, path: Where) -> list[tuple[Node, Where]]:
        if not isinstance(section.value, list):
            return [(section, path)]
        if not section.value:
            self._add(f"{spelled(path)}: the list is empty; leave the section out", section)
        return [(node, (*path, position)) for position, node in enumerate(section.value)]

    def _plan(self, cls: type[T], kind: Kind, name: str, node: Node, path: Where) -> Plan[T] | None:
        plan = check_section(
            cls,
            node,
            name=name,
            described=self._registry.described(kind, name),
            path=path,
            source=self._source,
            folder=self._folder,
        )
        if isinstance(plan, Plan):
            return plan
        self.problems.extend(plan)
        return None

    def _make(self, plan: Plan[T]) -> T | None:
        try:
            return plan.build()
        except PolicyError as error:
            self.problems.extend(error.problems)
            return None

    def _add(self, message: str, node: Node) -> None:
        self.problems.append(Problem(message, node.line))


def _error(problems: list[Problem], source: str) -> PolicyError:
    first, *more = sorted(problems, key=by_line)
    if len(more) >= MAX_PROBLEMS:
        more = [*more[: MAX_PROBLEMS - 2], Problem(f"and {len(more) - MAX_PROBLEMS + 2} problems more")]
    return PolicyError(first.message, source=source, line=first.line, more=more)
