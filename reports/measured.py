"""Trials of a row -> one score by unit (seed or draw) and item: what intervals, ranks and paired differences start from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from featherbench.harness.records import ScoreValue
from featherbench.reports.items import Items
from featherbench.reports.read import Run
from featherbench.reports.statistics import Array, block_means, gap_influences

SEEN, UNSEEN = "seen=seen", "seen=unseen"
GAP = "gap"
"""Stands for a subset: unseen minus seen, within each trial"""
MIXED = "the trials were scored by different scorers; re-score them"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One score of a row; the trials of a unit are averaged, since two seeds on one draw are not independent."""

    units: tuple[object, ...]
    """Seeds, or draws"""
    values: Array
    """[units]"""
    psi: Array | None
    """[units, items]; None where a trial has no item statistics, or the score has no sums over items"""

    def only(self, units: Sequence[object]) -> Measured:
        """Return the same for some of the units, in the given order."""
        rows = [self.units.index(unit) for unit in units]
        psi = None if self.psi is None else self.psi[rows]
        return Measured(units=tuple(units), values=self.values[rows], psi=psi)

    def repeated(self, units: Sequence[object]) -> Measured:
        """Return the first value for each of `units`: what has no randomness is the same beside every seed."""
        if not self.units:
            return self
        psi = None if self.psi is None else np.repeat(self.psi[:1], len(units), axis=0)
        return Measured(units=tuple(units), values=np.repeat(self.values[:1], len(units)), psi=psi)


def unit_of(runs: Sequence[Run]) -> str:
    """Return "draw" if the trials differ in their low-data draw, else "seed"."""
    draws = {run.trial.train.draw for run in runs}
    return "draw" if None not in draws and len(draws) > 1 else "seed"


def unit_value(run: Run, unit: str) -> object:
    """Return the seed or the draw of a trial."""
    return run.trial.train.draw if unit == "draw" else run.trial.seed


def mixed(stored: Iterable[ScoreValue | None]) -> bool:
    """True if values come from several scorers, versions or item sets: their mean would mean nothing."""
    return len({score.signature for score in stored if score and score.value is not None}) > 1


def measured(runs: Sequence[Run], unit: str, metric: str, subset: str, items: Items | None = None) -> Measured:
    """Return a score of the runs that have it; `subset` may be GAP. Without `items` there are no pseudo-values."""
    in_order = sorted(runs, key=lambda run: (str(unit_value(run, unit)), run.trial_id))  # the same sums in any order
    scored = [(run, value) for run in in_order if (value := _value(run, metric, subset, items)) is not None]
    if not scored:
        return Measured(units=(), values=np.empty(0), psi=None)
    units = [unit_value(run, unit) for run, _ in scored]
    influences = [psi for run, _ in scored if (psi := _psi(run, metric, subset, items)) is not None]
    whole = len(influences) == len(scored) and len({psi.shape for psi in influences}) == 1
    return Measured(
        units=tuple(dict.fromkeys(units)),
        values=block_means([value for _, value in scored], units),
        psi=block_means(np.stack(influences), units) if whole else None,
    )


def _value(run: Run, metric: str, subset: str, items: Items | None) -> float | None:
    if subset == GAP:
        seen, unseen = (_value(run, metric, part, items) for part in (SEEN, UNSEEN))
        return None if seen is None or unseen is None else unseen - seen
    if items is not None:
        return items.score(run, metric, subset)
    stored = run.score(metric, subset)
    return stored.value if stored else None


def _psi(run: Run, metric: str, subset: str, items: Items | None) -> Array | None:
    if items is None:
        return None
    if subset != GAP:
        return items.psi(run, metric, subset)
    seen, unseen = (items.psi(run, metric, part) for part in (SEEN, UNSEEN))
    return None if seen is None or unseen is None else gap_influences(unseen[None], seen[None])[0]
