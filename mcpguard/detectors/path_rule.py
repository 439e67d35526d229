"""Paths inside given folders, however they are written.

Pure text: whether a folder exists, and where its links lead, is for whoever has the file system; `admits`
takes that as a function. A path is inside if every reading of it is (`readings`).
"""

import ntpath
import posixpath
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import KW_ONLY, dataclass, field
from typing import Final, TypeAlias

from mcpguard.detectors.readings import Unreadable, readings

__all__ = ["PathRule", "Resolve"]

Resolve: TypeAlias = Callable[[str], str]
"""Where a path leads once its symbolic links are followed; raises OSError or ValueError if that fails."""

MAX_PATH: Final = 4096
"""Characters of a path; the longest that Linux takes (PATH_MAX)."""

_SIMPLE: Final = re.compile(r"(?:/[A-Za-z0-9_-][A-Za-z0-9_.-]*)+")
"""A path that is its own only reading: absolute, no segment begins with a dot, nothing to decode."""
_DRIVE: Final = re.compile(r"[A-Za-z]:")
_SCHEME: Final = re.compile(r"(?i)file:|[a-z][a-z0-9+.-]+:[/\\]")
_FILE: Final = re.compile(r"(?i)file:(?://(?:localhost)?)?(?=/)")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_FADING: Final = re.compile(r"[. ]+")
"""A segment of dots and blanks alone: some programs drop what stands at its end."""
_EXPANDED: Final = re.compile(r"~|\$|`|%[A-Za-z_]\w*%")
"""A beginning that programs replace by another folder: somebody's home, a variable, a command's output."""
_DEVICES: Final = frozenset(
    {
        *("con", "prn", "aux", "nul", "conin$", "conout$", "clock$"),
        *(f"{port}{n}" for port in ("com", "lpt") for n in range(10)),
    }
)
"""Names that Windows keeps for devices, in whatever folder and with whatever suffix."""


@dataclass(frozen=True, slots=True)
class PathRule:
    r"""What a path must be inside of.

    Args:
        roots: Folders, absolute. Windows folders have a drive (`C:\data`) or a host (`\\host\share`) and
            are compared without regard to case; others letter by letter.
        base: The folder that the server resolves relative paths from: its working directory, which whoever
            starts it sets. None: relative paths are refused.
        local: Whether the folders are this machine's, so that symbolic links are followed: the path must be
            inside as written and as it leads. False: it is judged as written.

    Raises:
        TypeError: If `roots` is a single string.
        ValueError: If there is no root, one is not absolute, or Windows folders are mixed with others.
    """

    _: KW_ONLY
    roots: Collection[str]
    base: str | None = None
    local: bool = False
    _is_windows: bool = field(init=False, repr=False, compare=False)
    _roots: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _folders: tuple[str, ...] = field(init=False, repr=False, compare=False)
    """The roots, each with the separator that its members have behind it."""
    _base: str | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.roots, str):
            raise TypeError(f"roots is a list of folders, not the single string {self.roots!r}")
        if not self.roots:
            raise ValueError("roots is empty, and nothing would be inside")
        folders = [*self.roots, *([] if self.base is None else [self.base])]
        windows = [_is_of_windows(folder) for folder in folders]
        for folder, is_windows in zip(folders, windows, strict=True):
            if not is_windows and not folder.startswith("/"):
                raise ValueError(f"{folder!r} is not an absolute path")
        if len(set(windows)) > 1:
            raise ValueError("folders of Windows and others cannot be mixed in one rule")
        object.__setattr__(self, "_is_windows", windows[0])
        roots = tuple(self._normal(root) for root in self.roots)
        object.__setattr__(self, "_roots", roots)
        object.__setattr__(self, "_folders", tuple(map(self._members, roots)))
        object.__setattr__(self, "_base", None if self.base is None else self._normal(self.base))

    def admits(self, path: object, resolve: Resolve | None = None) -> bool:
        """Whether `path` is inside, in every reading. A local rule without `resolve` admits nothing."""
        if not isinstance(path, str) or not 0 < len(path) <= MAX_PATH:
            return False
        if not self.local and not self._is_windows and _SIMPLE.fullmatch(path):
            return self._contains(path)
        try:
            found = [self._whole(one) for one in self._written(path)]
        except Unreadable:
            return False
        if not all(one is not None and self._contains(one) for one in found):
            return False
        if not self.local:
            return True
        return resolve is not None and all(
            one is not None and self._leads_inside(one, resolve) for one in found
        )

    def described(self) -> str:
        """What would be accepted."""
        return f"a path inside {', '.join(self.roots)}"

    def _written(self, path: str) -> Iterator[str]:
        """Every reading; where a backslash may be part of a name, as that and as a separator."""
        for one in readings(path):
            yield one
            if "\\" in one and not self._is_windows:
                yield one.replace("\\", "/")

    def _whole(self, path: str) -> str | None:
        """The absolute path meant by `path`; None if that cannot be told."""
        if _CONTROL.search(path) or _EXPANDED.match(path):
            return None
        if _SCHEME.match(path):
            path, is_file = _FILE.subn("", path, count=1)
            if not is_file or (self._is_windows and not _DRIVE.match(path[1:])):
                return None
            if self._is_windows:
                path = path[1:]
        if self._is_windows:
            return self._whole_windows(path)
        if _DRIVE.match(path) or any(_is_fading(segment) for segment in path.split("/")):
            return None
        if not path.startswith("/"):
            if self._base is None:
                return None
            path = f"{self._base}/{path}"
        return self._normal(path)

    def _whole_windows(self, path: str) -> str | None:
        drive, rest = ntpath.splitdrive(path.replace("/", "\\"))
        if drive.startswith(("\\\\?", "\\\\.")) or ":" in rest:
            return None
        for segment in rest.split("\\"):
            if segment in ("", ".", ".."):
                continue
            if segment[-1] in ". " or segment.partition(".")[0].strip().lower() in _DEVICES:
                return None
        if not drive or not rest.startswith("\\"):
            if self._base is None or drive or rest.startswith("\\"):
                return None
            return self._normal(f"{self._base}\\{rest}")
        return self._normal(path)

    def _normal(self, path: str) -> str:
        if self._is_windows:
            normal = ntpath.normpath(path.replace("/", "\\"))
            return "".join(letter.lower() if letter.isascii() else letter for letter in normal)
        return posixpath.normpath("/" + path.lstrip("/"))

    def _members(self, folder: str) -> str:
        """What every path below `folder` begins with."""
        separator = "\\" if self._is_windows else "/"
        return folder if folder.endswith(separator) else folder + separator

    def _contains(self, path: str) -> bool:
        return path.startswith(self._folders) or path in self._roots

    def _leads_inside(self, path: str, resolve: Resolve) -> bool:
        """Whether the file is inside one of the folders once links of either are followed."""
        try:
            end = self._normal(resolve(path))
            ends = [self._normal(resolve(root)) for root in self._roots]
        except (OSError, ValueError):
            return False
        return any(end == root or end.startswith(self._members(root)) for root in ends)


def _is_of_windows(folder: str) -> bool:
    return bool(_DRIVE.match(folder)) or folder.startswith("\\\\")


def _is_fading(segment: str) -> bool:
    return segment not in ("", ".", "..") and _FADING.fullmatch(segment) is not None
