"""The task contract: data, splits, linearisation, decoding defaults and official scores of one data set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SPLITS = ("train", "validation", "test")


class Unavailable(RuntimeError):
    """A score cannot be computed on this machine; the message says what is missing and how to get it."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """One item: a distinct linearised source with all its references."""

    source: str
    references: tuple[str, ...]
    tags: Mapping[str, str] = field(default_factory=dict)
    """E.g. {"category": "Airport", "seen": "unseen"}; every example of a task has the same keys. Under the key
    "seen", values are "seen" or "unseen" and reports show the two side by side."""


@dataclass(frozen=True, kw_only=True)
class File:
    """A release file."""

    path: str
    """Relative to the data root; a name that ends in .gz is decompressed"""
    sha256: str
    """Of the decompressed content"""
    url: str | None = None
    """Where the content can be had; None for files that travel inside the package"""


@dataclass(frozen=True, kw_only=True)
class Score:
    """An official score. `corpus(predictions, references)` -> value, over all items together.

    A scorer that cannot work here (no Java, no weights) raises Unavailable.
    """

    name: str
    corpus: Callable[[Sequence[str], Sequence[Sequence[str]]], float]
    signature: Callable[[Sequence[Sequence[str]]], str]
    """Scorer, version, options and reference counts, for the given references"""
    higher_is_better: bool = True
    unit: str = "points, 0 to 100"
    """What the value counts"""


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How every method's outputs are decoded on this task; never tuned per method."""

    beams: int = 5
    max_new_tokens: int = 100
    length_penalty: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Task:
    """One data set with its official protocol. `version` is part of every trial id."""

    name: str
    source: str
    """Paper or origin"""
    licence: str
    version: int
    files: Mapping[str, tuple[File, ...]]
    """Split -> its files"""
    read: Callable[[Sequence[Path], str], Iterable[Example]]
    """(paths of the split's files, split) -> examples in file order, one per distinct source"""
    scores: tuple[Score, ...]
    primary: str
    """Name of the score that selects configurations and ranks methods"""
    words: str
    """The task words: initialisation where a method can take them, the same words in the text otherwise"""
    decoding: Decoding = field(default_factory=Decoding)
