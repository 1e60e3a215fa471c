"""The task contract: data, splits, linearisation, decoding defaults and official scores of one data set."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from featherbench.tasks.metrics.additive import Additive

SPLITS = ("train", "validation", "test")


class Unavailable(RuntimeError):
    """A score cannot be computed on this machine; the message says what is missing and how to get it."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """One item: a distinct linearised source with all its references.

    Where the official scorer counts a source twice, the test split has two items of it (`Task.repeated_sources`).
    """

    source: str
    references: tuple[str, ...]
    tags: Mapping[str, str] = field(default_factory=dict)
    """E.g. {"category": "Airport", "seen": "unseen"}; every example of a task has the same keys. Under the key
    "seen", values are "seen" or "unseen" and reports show the two side by side."""


@dataclass(frozen=True, kw_only=True)
class File:
    """A release file."""

    path: str
    """Relative to the data root, or absolute; found with or without .gz, and then decompressed"""
    sha256: str | None
    """Of the decompressed content. None: nobody states it, so that the sha256 found here is part of every trial id"""
    url: str | None = None
    """Where the content can be had; None for files that travel inside the package"""
    mend: str | None = None
    """How to come by a file that has no url; said when it is missing"""
    hub: str | None = None
    """ "owner/name:split" of the `datasets` library, written out as JSON Lines; `path` then names the local file that
    goes before it, in any format of tasks/files.py"""


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
    additive: Additive | None = None
    """How it follows from sums over items, if it does: then intervals for new inputs can be had"""


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How every method's outputs are decoded on this task; never tuned per method."""

    beams: int = 5
    max_new_tokens: int = 100
    length_penalty: float = 1.0
    min_new_tokens: int = 0
    """An output ends after this many tokens at the earliest"""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One data set with its official protocol. `version` is part of every trial id."""

    name: str
    source: str
    """Paper or origin"""
    licence: str
    samples_allowed: bool = False
    """True where the licence lets a report show sources, references and outputs; it then names the licence"""
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
    max_source_tokens: int | None = None
    """Sources are cut after this many tokens of the backbone's tokenizer, in training, validation and decoding alike"""
    repeated_sources: bool = False
    """The official scorer counts some test sources several times, so they are that many items; decoded once"""
    overlap: int | None = 0
    """Number of times that two splits of the release share a source, and the official protocol keeps both; None: not
    known, since the whole release could not be had when this was written"""


def one_line(text: str) -> str:
    """Return the text without blanks at its ends, line breaks as single blanks, else unchanged."""
    return re.sub(r"\s*[\r\n\u2028\u2029\x0b\x0c\x85]\s*", " ", text.strip())


def grouped(examples: Iterable[Example]) -> list[Example]:
    """Return one example per distinct source, in order of first appearance; references in order, the first one's tags."""
    first: dict[str, Example] = {}
    references: dict[str, list[str]] = {}
    for example in examples:
        first.setdefault(example.source, example)
        references.setdefault(example.source, []).extend(example.references)
    return [Example(source=s, references=tuple(refs), tags=first[s].tags) for s, refs in references.items()]
