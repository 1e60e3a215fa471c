"""Rows of a board -> simultaneous rank intervals, for rows that were treated alike (protocol 1.3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from featherbench.reports.items import ALL, Items, higher_is_better
from featherbench.reports.measured import Measured, measured
from featherbench.reports.read import Run
from featherbench.reports.statistics import ranks


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """One row, before and after it was ranked."""

    runs: tuple[Run, ...]
    """Those that enter the mean"""
    unit: str
    """ "seed" or "draw" """
    fixed: Mapping[str, str]
    """What must be equal for rows to be ranked together, by name"""
    reason: str = ""
    """Why it is not ranked"""
    rank: tuple[int, int] | None = None
    """Ends of the 95 % rank interval; 1 is the best"""


def ranking(rows: Sequence[Ranking], metric: str, items: Items | None) -> list[Ranking]:
    """Return the rows with their rank intervals, or with the reason why one has none.

    Ranked are the rows that agree with the most others in seeds (or draws) and in everything fixed.
    """
    found = {i: measured(row.runs, row.unit, metric, ALL, items) for i, row in enumerate(rows) if not row.reason}
    alike = {i: {"seeds": _units(rows[i], one), **rows[i].fixed} for i, one in found.items()}
    usual = {name: Counter(one[name] for one in alike.values()).most_common(1)[0][0] for name in _names(alike)}
    result, kept = list(rows), []
    for i, one in alike.items():
        if other := [name for name in usual if one[name] != usual[name]]:
            result[i] = replace(rows[i], reason=f"other {other[0]} than most rows")
        else:
            kept.append(i)
    if len(kept) == 1:
        result[kept[0]] = replace(rows[kept[0]], reason="no other row to be compared with")
    elif kept:
        for i, rank in zip(kept, _ranks([found[i] for i in kept], rows[kept[0]], metric), strict=True):
            result[i] = replace(rows[i], rank=rank)
    return result


def _units(row: Ranking, one: Measured) -> str:
    return f"{row.unit} {sorted(map(str, one.units))}"


def _names(alike: Mapping[int, Mapping[str, str]]) -> list[str]:
    return list(next(iter(alike.values()))) if alike else []


def _ranks(found: Sequence[Measured], row: Ranking, metric: str) -> list[tuple[int, int]]:
    units = found[0].units
    same = [one.only(units) for one in found]
    shapes = {None if one.psi is None else one.psi.shape for one in same}
    psi = (
        np.stack([one.psi for one in same if one.psi is not None]) if None not in shapes and len(shapes) == 1 else None
    )
    higher = higher_is_better(row.runs[0].trial, metric)
    intervals = ranks(np.stack([one.values for one in same]), psi, higher_is_better=higher)
    return [(int(low), int(high)) for low, high in zip(intervals.low, intervals.high, strict=True)]
