"""The policy file: YAML, JSON or TOML in, interceptors in canonical order and sinks out.

What the file can say, Python can say: a section holds the arguments of a constructor. Everything is checked
before anything is opened, all faults are reported at once, and a key that nobody knows is a fault: a
guardrail that is silently left out is worse than none. What a changed policy keeps of the one before it
stands in `reload`.
"""

import hashlib
import stat
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mcpguard.config import from_json, from_toml, from_yaml
from mcpguard.config.check import Checked, by_line, check_document
from mcpguard.config.content import Anonymous, OnDeny, ServerOptions
from mcpguard.config.document import Format, Reader, Unreadable, refuse_what_is_not_text
from mcpguard.config.explain import spelled
from mcpguard.config.opening import closing_if_refused
from mcpguard.config.plan import Plan
from mcpguard.config.tokens import Tokens
from mcpguard.core.clock import SYSTEM_CLOCK, Clock
from mcpguard.core.connection_limits import ConnectionLimits
from mcpguard.core.errors import PluginError, PolicyError, Problem, StoreError
from mcpguard.core.events import Sink
from mcpguard.core.http_limits import HTTPLimits
from mcpguard.core.interceptor import Interceptor
from mcpguard.core.wire import JSON, canonical
from mcpguard.stores.opening import open_store, store_extra
from mcpguard.stores.store import Store

__all__ = ["Built", "Options", "Policy", "ServerOptions", "load_policy", "parse_policy"]

MAX_BYTES: Final = 2**20
"""Size of a policy file: 1 MiB, some twenty thousand rules."""

_READERS: Final[Mapping[Format, Reader]] = {
    "yaml": from_yaml.read,
    "json": from_json.read,
    "toml": from_toml.read,
}
_SUFFIXES: Final[Mapping[str, Format]] = {".yaml": "yaml", ".yml": "yaml", ".json": "json", ".toml": "toml"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a policy says beside its interceptors and sinks.

    Args:
        on_deny: Whether a denied tool call is answered with an error result or raised.
        anonymous: Whether a rule about principals denies a call that has none, or just does not match it.
        servers: The declared servers.
        store: The URL of where limits keep what has been used, which may hold a password. None: in memory.
        connection: What a server may send and how long it may keep anybody waiting; None for no limits.
        http: Who may reach it where it is served over HTTP, and how much they may take.
    """

    on_deny: OnDeny
    anonymous: Anonymous
    servers: Mapping[str, ServerOptions]
    connection: ConnectionLimits | None
    http: HTTPLimits
    store: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What one guard is made of.

    Args:
        interceptors: In canonical order, with no state yet.
        sinks: In the file's order, open.
        options: Everything else.
        store: Where limits keep what has been used, open; whoever built it closes it. None: the file names
            none, or another was given.
        tokens: What verifies tokens; None: the file says nothing of them.
    """

    interceptors: tuple[Interceptor, ...]
    sinks: tuple[Sink, ...]
    options: Options
    store: Store | None = None
    tokens: Tokens | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A policy that has been checked. Nothing has been opened for it.

    Args:
        source: The file, as it was named.
        digest: SHA-256 of the content: what it says, whatever the format, white space and comments.
        interceptors: In canonical order, to look at: a guard gets its own from `build`.
        sinks: The sinks' names, in the file's order.
        options: What it says beside interceptors and sinks.
        plans: How to make each of the interceptors.
        sink_plans: How to make each of the sinks.
        tokens_plan: How to make what verifies tokens; None: the file says nothing of them.
    """

    source: str
    digest: str
    interceptors: tuple[Interceptor, ...]
    sinks: tuple[str, ...]
    options: Options
    plans: tuple[Plan[Interceptor], ...] = field(repr=False)
    sink_plans: tuple[Plan[Sink], ...] = field(repr=False)
    tokens_plan: Plan[Tokens] | None = field(repr=False)
    _folder: Path = field(repr=False)
    _store_line: int | None = field(repr=False)

    @property
    def on_deny(self) -> OnDeny:
        """Whether a denied tool call is answered with an error result or raised."""
        return self.options.on_deny

    @property
    def anonymous(self) -> Anonymous:
        """Whether a rule about principals denies a call that has none, or just does not match it."""
        return self.options.anonymous

    @property
    def servers(self) -> Mapping[str, ServerOptions]:
        """The declared servers."""
        return self.options.servers

    def build(self, *, clock: Clock = SYSTEM_CLOCK, store: Store | None = None) -> Built:
        """Make interceptors and sinks for one guard. Sinks, and the store, open what they write to.

        Args:
            clock: The store's time.
            store: Takes the place of the one the file names, which is then not opened.

        Raises:
            PolicyError: If a sink or the store cannot be opened, or refuses its options; carries its line.
            PluginError: If a plugin's constructor fails.
        """
        sinks: list[Sink] = []
        with closing_if_refused(sinks):
            interceptors = tuple(plan.build() for plan in self.plans)
            for plan in self.sink_plans:
                sinks.append(plan.build())  # noqa: PERF401 - one that fails leaves those before it to be closed
            tokens = None if self.tokens_plan is None else self.tokens_plan.build()
            opened = self._store(clock) if store is None else None
        return Built(
            interceptors=interceptors,
            sinks=tuple(sinks),
            options=self.options,
            store=opened,
            tokens=tokens,
        )

    @property
    def missing(self) -> list[Problem]:
        """The extras without which its sinks and its store cannot be made here."""
        problems = [plan.missing for plan in self.sink_plans]
        return [problem for problem in (*problems, self._missing_for_store) if problem is not None]

    @property
    def _missing_for_store(self) -> Problem | None:
        extra = None if self.options.store is None else store_extra(self.options.store)
        missing = None if extra is None else extra.missing
        return None if missing is None else Problem(f"store: {missing}", self._store_line)

    def _store(self, clock: Clock) -> Store | None:
        if self.options.store is None:
            return None
        missing = self._missing_for_store
        if missing is not None:
            raise PolicyError(missing.message, source=self.source, line=missing.line)
        try:
            return open_store(self.options.store, clock=clock, folder=self._folder)
        except StoreError as error:
            raise PolicyError(f"store: {error}", source=self.source, line=self._store_line) from error

    def warnings(self) -> list[Problem]:
        """What is valid and probably not meant: rules that can never match, nothing enforced, twins.

        Raises:
            PluginError: If a plugin fails while it looks for warnings.
        """
        found = [
            problem
            for plan, interceptor in zip(self.plans, self.interceptors, strict=True)
            for problem in _warned(plan, interceptor, self.servers)
        ]
        if not self.interceptors:
            found.append(Problem("there are no interceptors: every call passes"))
        elif all(one.mode == "audit" for one in self.interceptors):
            found.append(Problem("every interceptor is in mode audit: nothing is enforced"))
        labels = Counter(one.label for one in self.interceptors)
        found.extend(
            Problem(f"{number} interceptors are called {label!r} in records: give each an id")
            for label, number in labels.items()
            if number > 1
        )
        return sorted(found, key=by_line)


def load_policy(path: str | Path) -> Policy:
    """Read and check a policy file; its suffix tells the format (`.yaml`, `.yml`, `.json`, `.toml`).

    Relative paths in the file start from the file's own folder.

    Raises:
        PolicyError: If it cannot be read, or says something wrong; `problems` holds all that was found.
        PluginError: If it uses a plugin that cannot be used.
    """
    file = Path(path)
    source = str(path)
    kind = _SUFFIXES.get(file.suffix.lower())
    if kind is None:
        accepted = ", ".join(_SUFFIXES)
        raise PolicyError(f"the suffix tells the format; expected one of {accepted}", source=source)
    try:
        text = _text(file)
    except Unreadable as error:
        raise PolicyError(error.problem.message, source=source, line=error.problem.line) from None
    return parse_policy(text, format=kind, source=source, folder=file.absolute().parent)


def parse_policy(
    text: str, *, format: Format = "yaml", source: str = "<policy>", folder: Path | None = None
) -> Policy:
    """Check a policy given as text.

    Args:
        text: The policy.
        format: `yaml`, `json` or `toml`.
        source: What errors call it.
        folder: Where relative paths in it start. None: the current directory.

    Raises:
        PolicyError: If it says something wrong; `problems` holds all that was found.
        PluginError: If it uses a plugin that cannot be used.
        ValueError: If `format` is none of the three.
    """
    if format not in _READERS:
        raise ValueError(f"format is one of {', '.join(_READERS)}, not {format!r}")
    text = text.removeprefix("\ufeff")
    try:
        if len(text) > MAX_BYTES:
            raise Unreadable(_TOO_LARGE)
        refuse_what_is_not_text(text)
        root, unclear = _READERS[format](text)
    except Unreadable as error:
        raise PolicyError(error.problem.message, source=source, line=error.problem.line) from None
    checked = check_document(root, unclear, source=source, folder=folder or Path.cwd())
    content = checked.content
    return Policy(
        source=source,
        digest=_digest(root.plain(), checked),
        interceptors=checked.made,
        sinks=tuple(plan.name for plan in checked.sinks),
        options=Options(
            on_deny=content.on_deny,
            anonymous=content.anonymous,
            servers=content.servers,
            store=content.store,
            connection=content.connection,
            http=content.http,
        ),
        plans=checked.interceptors,
        sink_plans=checked.sinks,
        tokens_plan=checked.tokens,
        _folder=folder or Path.cwd(),
        _store_line=root.nearest(("store",)).line,
    )


_TOO_LARGE: Final = f"expected a policy of at most {MAX_BYTES} bytes, got more"


def _text(file: Path) -> str:
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise Unreadable("expected a regular file, got a directory or device")
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a file name"
        raise Unreadable(f"cannot be read: {reason}") from None
    if len(content) > MAX_BYTES:
        raise Unreadable(_TOO_LARGE)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable("not text in UTF-8", content.count(b"\n", 0, error.start) + 1) from None


def _digest(content: JSON, checked: Checked) -> str:
    """The order is part of what a policy says: plugins of one place run in the file's order."""
    order = [plan.name for plan in checked.interceptors]
    return hashlib.sha256(canonical([content, order])).hexdigest()


def _warned(plan: Plan[Interceptor], interceptor: Interceptor, servers: Collection[str]) -> list[Problem]:
    try:
        sentences = [str(sentence) for sentence in interceptor.warnings(servers)]
    except Exception as error:
        raise PluginError(f"{plan.described} fails: warnings() raised {type(error).__name__}") from error
    path = spelled(plan.path)
    return [
        Problem(sentence if sentence.startswith(interceptor.label) else f"{path}: {sentence}", plan.line)
        for sentence in sentences
    ]
