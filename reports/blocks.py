"""What a page is made of: plain records that html.py, markdown.py and sheets.py write. Every text is untrusted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from featherbench.reports.charts.strip import Strip
from featherbench.reports.charts.trial_curves import Lines
from featherbench.reports.samples import Sample

Spec = dict[str, Any]
"""A Vega-Lite specification"""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One field of a table."""

    text: str
    value: float | int | str | None = None
    """Exact value behind a rounded text: what tables sort by and files hold; None: the text itself, or missing"""
    parts: Mapping[str, float | int | str | None] = field(default_factory=dict)
    """Further exact values behind the text, e.g. {"half width": 1.2}: columns of their own in files"""
    note: str = ""
    """Small second line: the reason, the warning"""
    strip: Strip | None = None
    long: bool = False
    """True for running text, which wraps and keeps its line breaks"""
    link: str = ""
    """Address within the site, e.g. "trials/0123456789ab.html"; made by us, never from the store's texts"""


@dataclass(frozen=True, kw_only=True)
class Table:
    """The first field of every row is its header."""

    name: str
    """Small letters, digits and hyphens, unique in the site: also of its files; empty: no files"""
    title: str
    """Unique on the page; names the scrolling region"""
    header: tuple[Entry, ...]
    rows: tuple[tuple[Entry, ...], ...]
    facets: tuple[Mapping[str, str], ...] = ()
    """What each row can be filtered by, e.g. {"task": "e2e", "size": "100"}, all with the same keys; empty: no filters"""
    at_most: str = ""
    """Column of numbers that the reader can bound from above; only beside facets"""


@dataclass(frozen=True, kw_only=True)
class Heading:
    """A heading within a page."""

    level: int
    """2 to 4"""
    text: str
    anchor: str = ""


@dataclass(frozen=True, kw_only=True)
class Text:
    """A paragraph."""

    text: str
    caution: bool = False
    """True for what makes numbers less than they seem"""


@dataclass(frozen=True, kw_only=True)
class Bullets:
    """A list."""

    items: tuple[str, ...]
    caution: bool = False


@dataclass(frozen=True, kw_only=True)
class Code:
    """A command to type or a text to copy, shown as it stands."""

    text: str
    title: str = ""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A chart: interactive on the page, and as SVG and PNG beside it."""

    name: str
    """Like a table's: also of its files"""
    title: str
    spec: Spec
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Outputs of several rows for the same inputs."""

    samples: tuple[Sample, ...]


@dataclass(frozen=True, kw_only=True)
class Folded:
    """Blocks that are shown on demand; always open in print."""

    title: str
    blocks: tuple[Block, ...]


Block = Heading | Text | Bullets | Code | Table | Figure | Lines | Samples | Folded


@dataclass(frozen=True, kw_only=True)
class Page:
    """One page of the site."""

    path: str
    """Relative to the site's folder, e.g. "index.html" or "trials/0123456789ab.html" """
    title: str
    lead: str
    """One or two sentences on what the page answers"""
    blocks: tuple[Block, ...] = field(default=())
    listed: bool = True
    """False: reached by links only, as trial pages are"""
    record: str = ""
    """JSON that lies beside the page, by its name with .json; empty: none"""

    @property
    def record_path(self) -> str:
        """Where the record lies, relative to the site's folder; empty: none."""
        return self.path.removesuffix(".html") + ".json" if self.record else ""

    def all_blocks(self) -> Iterator[Block]:
        """Yield every block, folded ones too."""
        yield from unfolded(self.blocks)


def unfolded(blocks: Iterable[Block]) -> Iterator[Block]:
    """Yield the blocks and those folded within them."""
    for block in blocks:
        yield block
        if isinstance(block, Folded):
            yield from unfolded(block.blocks)


def how_to_read(*texts: str) -> Folded:
    """Return a page's explanation of itself, a paragraph a text."""
    return Folded(title="How to read this page", blocks=tuple(Text(text=text) for text in texts))


def cautions(texts: Iterable[str]) -> Bullets:
    """Return the list of what makes the numbers of a board less than they seem."""
    return Bullets(items=tuple(f"Caution: {text}." for text in texts), caution=True)


def entries(*texts: object) -> tuple[Entry, ...]:
    """Return one field per text."""
    return tuple(Entry(text=str(text)) for text in texts)
