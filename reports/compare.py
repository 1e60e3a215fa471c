"""Two rows -> their paired differences on every board that has both, with what can and cannot be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from featherbench.harness.spec import nearest
from featherbench.reports.boards import Summary
from featherbench.reports.comparisons import SUBSETS, Contrast, Difference, mean_difference
from featherbench.reports.interval import Estimate
from featherbench.reports.measured import GAP
from featherbench.reports.report import Report
from featherbench.reports.statements import ClaimError, matching, size_word, table_words, together
from featherbench.reports.statistics import Interval


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Two rows on one board, or averaged over the sizes of several."""

    where: str
    """In the words of claims"""
    means: tuple[tuple[Estimate, ...], ...]
    """Of both rows, by size: over all units of each"""
    difference: Difference
    """Over the units that both have; with Holm's p if a headline list has it, without any p as long as that one waits"""
    listed: bool
    """Whether a headline list has it"""
    alike: tuple[str, ...]
    """What both rows were given the same of"""
    other: tuple[str, ...]
    """What they were given differently"""


def compare(
    report: Report,
    ours: str,
    theirs: str,
    *,
    task: str | None = None,
    size: int | None | str = "any",
    backbone: str | None = None,
    subset: str = "all",
    metric: str | None = None,
    margin: float | None = None,
) -> tuple[list[Compared], list[str]]:
    """Return the comparisons, and in words the boards that have only one of the rows.

    `size` is a number of training pairs, None for the whole training split, or "any". Boards that differ only in the
    size are also averaged, within each seed or draw.
    Raises: ClaimError for names that the store does not have.
    """
    if subset not in SUBSETS:
        raise ClaimError(f"unknown subset {subset!r}.{nearest(subset, SUBSETS)} Known: {', '.join(SUBSETS)}.")
    if margin is not None and not margin > 0:
        raise ClaimError(f"the margin must be above 0, not {margin:g}: give the smallest difference that matters.")
    sizes = None if isinstance(size, str) else (size,)
    boards = matching(report.boards, task=task, sizes=sizes, backbone=backbone)
    if metric is not None and not any(metric in board.metrics for board in boards):
        known = list(dict.fromkeys(name for board in boards for name in board.metrics))
        raise ClaimError(f"unknown score {metric!r}.{nearest(metric, known)} There: {', '.join(known)}.")
    pairs, single = together([b for b in boards if metric is None or metric in b.metrics], (ours, theirs))
    groups: dict[object, list[Contrast]] = {}
    for pair in pairs:
        groups.setdefault(replace(pair[0].key, size=None), []).append(pair)
    wanted = [[pair] for pair in pairs] + [group for group in groups.values() if len(group) > 1]
    return [_compared(report, group, metric, subset, margin) for group in wanted], single


def _compared(
    report: Report, pairs: Sequence[Contrast], metric: str | None, subset: str, margin: float | None
) -> Compared:
    one = replace(mean_difference(pairs, metric=metric, subset=subset), smallest_effect=margin)
    listed = [d for found in report.headlines for d in found.differences if same_comparison(one, d)]
    if listed:
        one = replace(one, adjusted_p=listed[0].adjusted_p, looked=listed[0].looked)
        if one.awaited or one.looked:  # no test of it may be quoted
            one = replace(one, sign_flip=None, smallest_effect=None)
    _, *rows = pairs[0]
    keys = [board.key for board, *_ in pairs]
    others = [board.key for board in report.boards]
    sizes = ",".join(size_word(key.size) for key in keys)
    where = table_words(keys[0], others)
    if len(pairs) > 1:
        where = f"{keys[0].task}.{keys[0].evaluated} with {sizes} (mean) of {keys[0].backbone}"
    return Compared(
        where=where,
        means=tuple(tuple(_mean(row, one.metric, subset) for row in rows) for _, *rows in pairs),
        difference=one,
        listed=bool(listed),
        alike=tuple(name for name in rows[0].treatment if name not in (*one.unlike, "scorer version")),
        other=one.unlike,
    )


def same_comparison(one: Difference, other: Difference) -> bool:
    """Say whether two differences are of the same rows and score, in either direction."""
    return (one.cells, one.metric, one.subset) == (other.cells, other.metric, other.subset)


def _mean(row: Summary, metric: str, subset: str) -> Estimate:
    if SUBSETS[subset] == GAP:
        return row.gaps[metric]
    missing = Estimate(units=0, mean=None, half_width=None, note="no such items here")
    return row.scores.get((metric, SUBSETS[subset]), missing)


# --- for programs -----------------------------------------------------------------------------------------------------


def interval_json(found: Interval | None) -> dict[str, Any] | None:
    """Return an interval as plain JSON values."""
    if found is None:
        return None
    numbers = ("estimate", "standard_error", "degrees_of_freedom", "level", "low", "high")
    return {name: float(getattr(found, name)) for name in numbers} | {"units": found.units, "items": found.items}


def difference_json(found: Difference) -> dict[str, Any]:
    """Return a difference as plain JSON values; p only where a headline list has it and nothing is awaited."""
    both_ways = found.found
    equivalent = found.equivalence
    return {
        "ours": found.ours,
        "theirs": found.theirs,
        "cells": sorted(found.cells),
        "metric": found.metric,
        "subset": found.subset,
        "sizes": [size_word(size) for size in found.sizes],
        "higher_is_better": found.higher_is_better,
        "unit": found.unit,
        "units": [str(unit) for unit in found.units],
        "values": list(found.values),
        "estimate": found.estimate,
        "new_inputs": interval_json(both_ways.new_inputs) if both_ways else None,
        "test_set": interval_json(both_ways.test_set) if both_ways else None,
        "awaited": list(found.awaited),
        "adjusted_p": found.adjusted_p,
        "sign_flip_p": found.sign_flip,
        "equivalence": None
        if equivalent is None
        else {"margin": equivalent.margin, "p": float(equivalent.p), "holds": bool(equivalent.holds)},
        "detectable": found.detectable,
        "item_floor": found.floor,
        "note": found.note,
    }


def compared_json(found: Compared) -> dict[str, Any]:
    """Return a comparison as plain JSON values."""
    return {
        "where": found.where,
        "in_headline_list": found.listed,
        "means": [{"ours": asdict(ours), "theirs": asdict(theirs)} for ours, theirs in found.means],
        "difference": difference_json(found.difference),
        "alike": list(found.alike),
        "other": list(found.other),
    }
