"""Items of one category together: its score, and the category as what an interval draws anew (protocol 1.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from featherbench.reports.boards import Board, Summary
from featherbench.reports.items import ALL, Items, scorer
from featherbench.reports.measured import GAP, SEEN, UNSEEN, Measured, measured, unit_value
from featherbench.reports.read import Run
from featherbench.reports.statistics import Array, block_means, gap_influences, pseudo_values
from featherbench.tasks.base import Score
from featherbench.tasks.metrics.additive import by_group, left_out

LEAST_CATEGORIES = 12
"""Unseen ones from which an interval may speak of new categories (protocol 1.1)"""
FEWEST, MOST = 2, 40
"""Values of a tag that are shown as categories: fewer split nothing, more are no categories"""


@dataclass(frozen=True, kw_only=True)
class Category:
    """One value of a tag among the evaluated items."""

    name: str
    seen: str
    """ "seen", "unseen", "both" or, where the task does not say, empty"""
    items: int


def tags_of(board: Board) -> Sequence[Mapping[str, str]]:
    """Return the tags of each evaluated item; empty where no item statistics are kept."""
    runs = [run for row in board.rows for run in row.counted]
    return board.items.tags(runs[0]) if runs and board.items else ()


def category_tags(board: Board) -> list[str]:
    """Return the tags, other than "seen", whose values are categories."""
    tags = tags_of(board)
    values = {name: {item.get(name) for item in tags} for name in dict.fromkeys(n for item in tags for n in item)}
    return [name for name, found in values.items() if name != "seen" and FEWEST <= len(found) <= MOST]


def categories(board: Board, tag: str) -> list[Category]:
    """Return the values of a tag in order of first appearance, which is that of `category_scores`."""
    tags = tags_of(board)
    found = []
    for name in dict.fromkeys(item.get(tag, "") for item in tags):
        members = [item.get("seen", "") for item in tags if item.get(tag, "") == name]
        seen = members[0] if len(set(members)) == 1 else "both"
        found.append(Category(name=name, seen=seen, items=len(members)))
    return found


def category_scores(board: Board, row: Summary, metric: str, tag: str) -> list[Measured] | None:
    """Return the score of each category by unit; None where the items' sums do not say it for every trial.

    A score that weighs by all references of the set (CIDEr, NIST) is no function of a part's sums.
    """
    found = [_category_scores(board.items, run, metric, tag) for run in row.counted] if board.items else []
    values = [one for one in found if one is not None]
    if not values or len(values) < len(row.counted):
        return None
    units = [unit_value(run, row.unit) for run in row.counted]
    means = block_means(np.stack(values), units)
    distinct = tuple(dict.fromkeys(units))
    return [Measured(units=distinct, values=column, psi=None) for column in means.T]


def _category_scores(items: Items, run: Run, metric: str, tag: str) -> Array | None:
    """Return [categories]."""
    sums, found = items.statistics(run, metric, ALL), scorer(run.trial, metric)
    groups = [item.get(tag, "") for item in items.tags(run)]
    if sums is None or found is None or found.additive is None or found.additive.weighted or len(groups) != len(sums):
        return None
    values = found.additive.score(by_group(sums, groups))
    return values if np.isfinite(values).all() else None


def over_categories(board: Board, row: Summary, metric: str, subset: str, tag: str) -> Measured:
    """Return the score of "seen=unseen", or the gap, by unit with pseudo-values over categories instead of items.

    None instead of pseudo-values [units, categories] where a side has fewer than LEAST_CATEGORIES.
    """
    found = measured(row.counted, row.unit, metric, subset, board.items)
    by_unit = []
    for unit in found.units:
        runs = [run for run in row.counted if unit_value(run, row.unit) == unit]
        parts = [_influences(board.items, run, metric, subset, tag) if board.items else None for run in runs]
        whole = [part for part in parts if part is not None]
        if len(whole) < len(parts):
            return replace(found, psi=None)
        by_unit.append(np.mean(whole, axis=0))
    return replace(found, psi=np.stack(by_unit) if by_unit else None)


def _influences(items: Items, run: Run, metric: str, subset: str, tag: str) -> Array | None:
    """Return [categories], for the gap those of both sides."""
    score = scorer(run.trial, metric)
    if score is None or score.additive is None:
        return None
    if subset != GAP:
        return _pseudo(items, run, score, subset, tag)
    seen, unseen = (_pseudo(items, run, score, part, tag) for part in (SEEN, UNSEEN))
    return None if seen is None or unseen is None else gap_influences(unseen[None], seen[None])[0]


def _pseudo(items: Items, run: Run, score: Score, subset: str, tag: str) -> Array | None:
    sums = items.statistics(run, score.name, subset)
    if sums is None or score.additive is None:
        return None
    name, _, value = subset.partition("=")
    groups = by_group(sums, [item.get(tag, "") for item in items.tags(run) if item.get(name) == value])
    if len(groups) < LEAST_CATEGORIES:
        return None
    whole, without = float(score.additive.score(groups.sum(axis=0))), left_out(score.additive.score, groups)
    if not (np.isfinite(whole) and np.isfinite(without).all()):
        return None
    return pseudo_values([whole], without[None])[0]
