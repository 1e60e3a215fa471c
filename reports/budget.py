"""Searches -> the validation score that a random part of the search would have found, against what it costs (1.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from featherbench.harness.records import Cell, content_hash
from featherbench.reports.items import higher_is_better
from featherbench.reports.search import Attempt, Search
from featherbench.reports.statistics import Array, Curve, expected_curve


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The quasi-random search phase of one row, over all its independently scrambled studies."""

    cell: Cell
    """Of the first study; the others differ in search.study alone"""
    metric: str
    evaluated: str
    values: Array
    """[studies, configurations], validation scores in the order of the search"""
    curve: Curve
    trials: float
    """Per configuration, mean"""
    seconds: float | None
    """Training and decoding per configuration, mean; None if no configuration has its cost"""
    flops: float | None
    failed: int
    diverged: int
    notes: tuple[str, ...]


def budgets(searches: Sequence[Search]) -> list[Budget]:
    """Return the rows that have a quasi-random search, in report order."""
    found = (_budget(group) for group in studies(searches))
    return [one for one in found if one is not None]


def studies(searches: Sequence[Search]) -> list[list[Search]]:
    """Return the searches by row: those that differ in their scramble alone are studies of one."""
    found: dict[str, list[Search]] = {}
    for search in searches:
        found.setdefault(_but_study(search.cell), []).append(search)
    return list(found.values())


def _but_study(cell: Cell) -> str:
    """Return what studies of one search share, as a text that can be compared."""
    content = cell.model_dump(mode="json")
    search = {key: value for key, value in content["fixed"].get("search", {}).items() if key != "study"}
    return content_hash(content | {"fixed": content["fixed"] | {"search": search}}, 64)


def _budget(group: Sequence[Search]) -> Budget | None:
    metric = group[0].metric
    usable = [found for search in group if (found := _quasi_random(search)) and search.metric == metric]
    scores = [a.score for attempts in usable for a in attempts if a.score is not None]
    if metric is None or not scores:
        return None
    higher = higher_is_better(group[0].tried[0].trial, metric)
    worst = min(scores) if higher else max(scores)
    count = min(len(attempts) for attempts in usable)
    used = [attempt for attempts in usable for attempt in attempts[:count]]
    values = np.array([[worst if a.score is None else a.score for a in attempts[:count]] for attempts in usable])
    seconds = [a.seconds for a in used if a.seconds is not None]
    flops = [a.flops for a in used if a.flops is not None]
    return Budget(
        cell=group[0].cell,
        metric=metric,
        evaluated=group[0].evaluated,
        values=values,
        curve=expected_curve(values, higher_is_better=higher),
        trials=float(np.mean([a.trials for a in used])),
        seconds=float(np.mean(seconds)) if seconds else None,
        flops=float(np.mean(flops)) if flops else None,
        failed=sum(a.failed for a in used),
        diverged=sum(a.diverged for a in used),
        notes=tuple(_notes(group, usable, count, len(used) - len(seconds))),
    )


def _quasi_random(search: Search) -> list[Attempt]:
    """Return the first attempts that are fixed points of the space and have all their scores, or failed."""
    found: list[Attempt] = []
    for attempt in search.attempts:
        scored = attempt.score is not None or attempt.failed
        if attempt.sampler != "sobol" or attempt.number != len(found) or attempt.unfinished or not scored:
            break
        found.append(attempt)
    return found


def _notes(group: Sequence[Search], usable: Sequence[Sequence[Attempt]], count: int, costless: int) -> list[str]:
    planned = max(int(search.cell.fixed.get("search", {}).get("configurations", 0)) for search in group)
    found = []
    if count < planned:
        found.append(f"the first {count} of {planned} configurations")
    if len(usable) < len(group):
        found.append(f"{len(usable)} of {len(group)} studies have scores")
    if costless:
        found.append(f"{costless} configurations without a stored cost are left out of the mean cost")
    return found
