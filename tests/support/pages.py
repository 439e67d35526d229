"""What the frameworks' pages say: which distribution each is about, and at which seam the guard stands."""

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["DOCS", "LIBRARIES", "PAGES", "Page"]

DOCS = Path(__file__).parents[2] / "docs" / "integrations"

LIBRARIES = frozenset({"presidio"})
"""Pages about what is no framework: it opens no session, so no guard stands anywhere in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One framework's page.

    Args:
        name: Its file, and the module of `mcpguard.integrations`.
        title: What it calls the framework.
        distribution: What has to be installed.
        seam: Where the guard stands.
    """

    name: str
    title: str
    distribution: str
    seam: str


def _read(path: Path) -> Page:
    text = path.read_text("utf-8")
    found = [
        re.search(pattern, text, re.MULTILINE)
        for pattern in (r"^# (.+)", r"needs: ([\w-]+)", r"The seam is `(.+?)`")
    ]
    title, distribution, seam = (one[1] if one else "" for one in found)
    return Page(name=path.stem, title=title, distribution=distribution, seam=seam)


PAGES = [_read(path) for path in sorted(DOCS.glob("*.md")) if path.stem not in {"index", *LIBRARIES}]
