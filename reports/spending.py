"""Cells and their runs -> what each row was given and spent, and where its best value stands in the search space."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from featherbench.harness.records import Cell, Trial
from featherbench.reports.aggregate import configuration
from featherbench.reports.boards import COPY, UNTUNED
from featherbench.reports.read import Contents, Run
from featherbench.reports.search import Search

BARE = (UNTUNED, COPY)
"""Methods that train nothing: rows to compare with, which were given and spent nothing"""
OUTER = 0.1
"""Share of a range at either end in which a best value is too near the edge (protocol, section 2)"""
DECADES = 3
"""Width of every method's range of learning rates under protocol 1, around the default"""


Spend = Mapping[str, tuple[int, float]]
"""Cell -> its trials with a stored cost, which most failed ones lack, and their seconds on their workers"""


def spend_by_cell(contents: Contents) -> Spend:
    """Return what each cell took, its search and its final phase, each trial once."""
    found: dict[str, dict[str, float]] = {}
    for run in contents.runs:
        if run.cost is not None:
            found.setdefault(run.cell.id, {})[run.trial_id] = run.cost.seconds
    return {cell: (len(trials), sum(trials.values())) for cell, trials in found.items()}


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What the trials of one phase, or of both, took; each trial once."""

    trials: int
    failed: int
    diverged: int
    unfinished: int
    costless: int
    """Finished trials without a stored cost: failed ones, mostly"""
    seconds: float
    """Training and decoding; of a packed trial its share"""
    flops: float
    tokens: int


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """One row of the fairness ledger."""

    cell: Cell
    estimand: str
    """ "configuration", "procedure", or why neither holds"""
    given: str
    """How the configuration was chosen"""
    search: Spent
    final: Spent
    configurations: int
    """Proposed"""
    draws: int | None
    """Low-data draws of the search; None without a search"""
    step_cap: int | None
    dimensions: tuple[str, ...]
    """Searched ones"""
    words: str
    devices: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """One searched dimension of one row, and where the best configuration stands in it."""

    label: str
    """Of the search"""
    name: str
    values: tuple[object, ...]
    """Proposed, in rising order where they are numbers"""
    low: float | None
    high: float | None
    """Ends of the range; None for what is no number"""
    declared: bool
    """True if the range is the protocol's, not that of the proposed values"""
    best: object
    place: float | None
    """Of the best value in the range, 0 to 1, on a log scale for learning rates; None where there is no inside"""

    @property
    def at_edge(self) -> bool:
        """True if the best value stands in the outer tenth of the range."""
        return self.place is not None and not OUTER < self.place < 1 - OUTER


def ledger(contents: Contents, searches: Sequence[Search]) -> list[Ledger]:
    """Return what every cell was given and spent, in report order."""
    found: dict[str, list[Search]] = {}
    for search in searches:
        found.setdefault(search.cell.id, []).append(search)
    of_cell: dict[str, list[Run]] = {cell.id: [] for cell in contents.cells}
    for run in contents.runs:
        of_cell[run.cell.id].append(run)
    return [_ledger(cell, of_cell[cell.id], found.get(cell.id, [])) for cell in contents.cells if of_cell[cell.id]]


def _ledger(cell: Cell, runs: Sequence[Run], searches: Sequence[Search]) -> Ledger:
    final = [run for run in runs if run.phase == "final"]
    estimand, given = _estimand(cell, [run for run in final if run.counts], len(searches))
    trial: Mapping[str, Any] = cell.fixed.get("trial", {})
    words = {"none": "none", None: "not recorded"}.get(
        trial.get("words_as"), f"{trial.get('words')!r} as {trial.get('words_as')}"
    )
    return Ledger(
        cell=cell,
        estimand=estimand,
        given=given,
        search=spent([run for run in runs if run.phase == "search"]),
        final=spent(final),
        configurations=sum(search.proposed for search in searches),
        draws=len(searches) * cell.fixed.get("search", {}).get("draws", 1) if searches else None,
        step_cap=trial.get("steps"),
        dimensions=tuple(searches[0].space) if searches else (),
        words=words,
        devices=tuple(sorted({run.cost.device for run in runs if run.cost})),
    )


def _estimand(cell: Cell, counted: Sequence[Run], searches: int) -> tuple[str, str]:
    """Return what the row's mean speaks of (protocol 1.4), and how its configuration came to be."""
    if cell.method in BARE:
        return "none", "nothing is tuned"
    study = cell.fixed.get("search", {}).get("study", 0)
    if searches > 1:
        return "procedure", f"{searches} searches, one for each replicate"
    given = f"one search, study {study}" if searches else "no search"
    configurations = len({configuration(run) for run in counted})
    if configurations <= 1:
        return "configuration", given
    if searches and configurations == len(counted):
        return "procedure", "a configuration of its own for every trial"
    return "mixed", f"{configurations} configurations in {len(counted)} trials"


def spent(runs: Sequence[Run]) -> Spent:
    """Return the sums over the runs' trials, each once."""
    fresh = [run for run in runs if run.repeats is None]
    costs = [run.cost for run in fresh if run.cost is not None]
    return Spent(
        trials=len(fresh),
        failed=sum(run.status == "failed" for run in fresh),
        diverged=sum(run.status == "diverged" for run in fresh),
        unfinished=sum(run.status is None for run in fresh),
        costless=sum(run.status is not None and run.cost is None for run in fresh),
        seconds=math.fsum(cost.train_seconds + cost.decode_seconds for cost in costs),
        flops=math.fsum(cost.train_flops + cost.decode_flops for cost in costs),
        tokens=sum(cost.train_tokens for cost in costs),
    )


# --- search spaces ----------------------------------------------------------------------------------------------------


def dimensions(search: Search) -> list[Dimension]:
    """Return every searched dimension with the place of the best configuration in it."""
    return [_dimension(search, name, values) for name, values in search.space.items()]


def _dimension(search: Search, name: str, values: Sequence[object]) -> Dimension:
    numbers = sorted(float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool))
    whole = len(numbers) == len(values) and bool(numbers)
    best = value_of(search.best.trial, name) if search.best else None
    centre = search.cell.fixed.get("trial", {}).get("learning_rate") if name == "learning_rate" else None
    low, high, declared = (numbers[0], numbers[-1], False) if whole else (None, None, False)
    if whole and centre and centre > 0:
        ends = (centre / 10 ** (DECADES / 2), centre * 10 ** (DECADES / 2))
        if ends[0] <= numbers[0] * (1 + 1e-9) and numbers[-1] <= ends[1] * (1 + 1e-9):
            low, high, declared = *ends, True
    inside = low is not None and high is not None and high > low and (declared or len(numbers) >= 3)
    place = None
    if inside and isinstance(best, int | float) and low is not None and high is not None:
        log = name == "learning_rate" and low > 0
        a, b, c = (math.log(x) if log else float(x) for x in (low, high, best))
        place = (c - a) / (b - a)
    ordered = sorted(
        values, key=lambda v: (not isinstance(v, int | float), v if isinstance(v, int | float) else json.dumps(v))
    )
    return Dimension(
        label=search.label,
        name=name,
        values=tuple(ordered),
        low=low,
        high=high,
        declared=declared,
        best=best,
        place=place,
    )


def value_of(trial: Trial, name: str) -> object:
    """Return the value of a searched dimension in a trial; None if it has none."""
    shared = {"learning_rate": trial.learning_rate, "weight_decay": trial.weight_decay, "steps": trial.steps}
    return shared[name] if name in shared else trial.config.get(name)
