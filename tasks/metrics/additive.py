"""Corpus scores that follow from sums over items: what the jackknife needs to leave items out without scoring again.

Weights that come from the references (NIST's information, CIDEr's idf) stay those of the whole set.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Additive:
    """A score as a function of sums: `score(statistics(outputs, references).sum(axis=0))` is the corpus score."""

    names: tuple[str, ...]
    """What each statistic counts"""
    statistics: Callable[[Sequence[str], Sequence[Sequence[str]]], Array]
    """(outputs, references) -> [items, statistics]"""
    score: Callable[[Array], Array]
    """Sums over items -> corpus scores in the score's own unit. Shape: [..., statistics] -> [...]"""
    weighted: bool = False
    """True if the statistics weigh by all references of the set: then sums over a part are not the part's own score"""


def mean_of(
    lines: Callable[[Sequence[str], Sequence[Sequence[str]]], Sequence[float]],
    scale: float = 100,
    weighted: bool = False,
) -> Additive:
    """Return the record of a score that is `scale` times the mean over lines."""

    def statistics(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Array:
        found = np.asarray(lines(predictions, references), dtype=np.float64)
        return np.stack([found, np.ones_like(found)], axis=1)

    return Additive(
        names=("line", "items"),
        statistics=statistics,
        score=lambda sums: scale * sums[..., 0] / sums[..., 1],
        weighted=weighted,
    )


def left_out(score: Callable[[Array], Array], statistics: Array) -> Array:
    """Return the corpus score without each item. Shapes: statistics [items, statistics] -> [items].

    Raises: ValueError with fewer than two items.
    """
    if len(statistics) < 2:
        raise ValueError("one item cannot be left out: nothing would be scored")
    return score(statistics.sum(axis=0) - statistics)


def by_group(statistics: Array, groups: Sequence[object]) -> Array:
    """Return the sums of each group, in order of first appearance: where groups are what is drawn, they are the items.

    Shapes: statistics [items, statistics], groups: that of each item -> [groups, statistics].
    """
    names = list(dict.fromkeys(groups))
    if len(groups) != len(statistics):
        raise ValueError(f"{len(statistics)} items and {len(groups)} groups")
    sums = np.zeros((len(names), statistics.shape[1]))
    np.add.at(sums, [names.index(group) for group in groups], statistics)
    return sums


def pack(statistics: Array) -> bytes:
    """Return an array [items, statistics] as little-endian float64, row by row, compressed by zlib."""
    return zlib.compress(statistics.astype("<f8").tobytes())


def unpack(packed: bytes, columns: int) -> Array:
    """Return what was packed, [items, statistics]."""
    return np.frombuffer(zlib.decompress(packed), dtype="<f8").astype(np.float64).reshape(-1, columns)
