"""Final runs -> validation losses: at step 0, at the best step, and the curves between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from featherbench.reports.boards import Board, Summary
from featherbench.reports.interval import Estimate, estimate
from featherbench.reports.measured import unit_value
from featherbench.reports.read import Run
from featherbench.reports.statistics import block_means


@dataclass(frozen=True, kw_only=True)
class RowLosses:
    """The validation losses of one row, over the trials that enter its scores."""

    label: str
    start: Estimate
    """At step 0, before any update"""
    best: Estimate
    """At the step whose weights are kept"""
    best_steps: tuple[int, ...]
    last_step: int | None
    """Largest evaluated step of the row"""


def row_losses(board: Board) -> list[RowLosses]:
    """Return one record per row that has a validation loss."""
    return [_losses(row) for row in board.rows if any(run.losses for run in row.counted)]


def best_loss(run: Run) -> float | None:
    """Return the validation loss of the kept weights."""
    return None if run.best_step is None else dict(run.losses).get(run.best_step)


def _losses(row: Summary) -> RowLosses:
    return RowLosses(
        label=row.label,
        start=_estimate(row, [(run, dict(run.losses).get(0)) for run in row.counted]),
        best=_estimate(row, [(run, best_loss(run)) for run in row.counted]),
        best_steps=tuple(run.best_step for run in row.counted if run.best_step is not None),
        last_step=max((step for run in row.counted for step, _ in run.losses), default=None),
    )


def _estimate(row: Summary, values: Sequence[tuple[Run, float | None]]) -> Estimate:
    found = [(run, value) for run, value in values if value is not None]
    units = [unit_value(run, row.unit) for run, _ in found]
    result = estimate([*block_means([value for _, value in found], units)] if found else [], row.unit)
    if row.deterministic:
        return Estimate(
            units=result.units, mean=result.mean, half_width=None, note="deterministic" if found else "no value"
        )
    return result
