"""What a board is: the rows of one comparable set of cells, a row being all trials of one cell's final phase."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from featherbench.harness.records import Cell
from featherbench.reports.interval import Estimate
from featherbench.reports.items import ALL as ALL
from featherbench.reports.items import Items, higher_is_better
from featherbench.reports.measured import SEEN as SEEN
from featherbench.reports.measured import UNSEEN as UNSEEN
from featherbench.reports.read import Run

UNTUNED, COPY = "untuned", "copy_source"


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A mean cost over trials, without interval."""

    value: float | None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Places of a cell in the final phase, by what became of their trials."""

    places: int
    counted: int
    """Trials that enter the means: ok and diverged ones, each once"""
    diverged: int
    failed: int
    unfinished: int
    repeated: int
    """Places that a trial fills which already stands at another place of the cell"""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One row: a cell's trials of the final phase."""

    cell: Cell
    label: str
    runs: tuple[Run, ...]
    """Every final place, failed and unfinished ones too"""
    unit: str
    """What the interval is over: "seed" or "draw" """
    deterministic: bool
    counts: Counts
    scores: Mapping[tuple[str, str], Estimate]
    """By (metric, subset)"""
    gaps: Mapping[str, Estimate]
    """By metric: unseen minus seen, within each trial"""
    costs: Mapping[str, Quantity]
    notes: tuple[str, ...]
    rank: tuple[int, int] | None = None
    """Simultaneous 95 % rank interval by the primary score, among the ranked rows of its board"""
    unranked: str = ""
    """Why the row has no rank"""

    @cached_property
    def counted(self) -> tuple[Run, ...]:
        """Runs that enter the means."""
        return tuple(run for run in self.runs if run.counts)

    @property
    def searched(self) -> bool:
        """True if the plan has a search for the row."""
        return self.planned("search", "configurations") not in ("null", "0")

    @property
    def procedure(self) -> bool:
        """True if every draw or seed of the row has a search of its own."""
        return self.searched and self.planned("final", "estimand") == '"procedure"'

    @property
    def is_default(self) -> bool:
        """True for the baseline that stands beside a searched row with the method's defaults (harness/baselines.py)."""
        return self.cell.fixed.get("search") == {} and bool(self.runs[0].trial.steps)

    @cached_property
    def treatment(self) -> dict[str, str]:
        """What must be equal for rows to be ranked or claimed against each other, by name."""
        signatures = {score.signature for run in self.counted for score in run.scores}
        return {
            "step cap": self.planned("trial", "steps"),
            "search": self.planned("search"),
            "estimand": self.planned("final", "estimand"),
            "training settings": json.dumps(sorted({run.trial.settings.model_dump_json() for run in self.counted})),
            "decoding": json.dumps(sorted({run.trial.decoding.model_dump_json() for run in self.counted})),
            "precision": json.dumps(sorted({run.trial.precision for run in self.counted})),
            "scorer version": json.dumps(sorted(signatures)),
            "method version": str(len({run.trial.method_version for run in self.counted})),
        }

    def planned(self, *keys: str) -> str:
        """Return what the plan fixed for all trials of the row, as a text that can be compared."""
        value: object = self.cell.fixed
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return json.dumps(value, sort_keys=True)


@dataclass(frozen=True, kw_only=True)
class Caution:
    """What a reader must know before comparing rows of a board."""

    text: str
    unequal: bool
    """True where rows were treated differently; False for what limits all rows, or what the results themselves show"""


@dataclass(frozen=True, kw_only=True)
class Key:
    """What all rows of a board share."""

    backbone: str
    backbone_sha256: str
    task: str
    task_version: int
    evaluated: str
    """Name of the subset"""
    evaluated_sha256: str
    size: int | None
    """Training pairs; None: the whole training split"""
    size_unit: str
    protocol: int


@dataclass(frozen=True, kw_only=True)
class Board:
    """One leaderboard."""

    key: Key
    metrics: tuple[str, ...]
    """The first is the primary one"""
    subsets: tuple[str, ...]
    """"all" first"""
    rows: tuple[Summary, ...]
    """In the order of the plans"""
    cautions: tuple[Caution, ...]
    items: Items | None = None
    """The item statistics of its runs"""

    @property
    def primary(self) -> str | None:
        """The primary metric; None if no trial has a score."""
        return self.metrics[0] if self.metrics else None

    @property
    def higher_is_better(self) -> bool:
        """The direction of the primary score."""
        return self.primary is None or self.higher_is_better_in(self.primary)

    def by_score(self) -> list[Summary]:
        """Return the rows, the best primary mean first; those without one are last."""
        sign = -1 if self.higher_is_better else 1
        means = [row.scores[self.primary, ALL].mean if self.primary else None for row in self.rows]
        ordered = sorted(range(len(means)), key=lambda i: math.inf if (mean := means[i]) is None else sign * mean)
        return [self.rows[i] for i in ordered]

    def higher_is_better_in(self, metric: str) -> bool:
        """Return the direction of a score."""
        return higher_is_better(self.rows[0].runs[0].trial, metric)
