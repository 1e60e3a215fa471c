"""Scores of one row -> the geometry of a small strip that shows every trial as a dot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from featherbench.reports.boards import Board, Summary
from featherbench.reports.statistics import LEAST_UNITS
from featherbench.reports.text import score_text

WIDTH, HEIGHT, MARGIN = 150, 24, 8
"""Pixels of a strip; dots stay MARGIN away from its ends"""


@dataclass(frozen=True, kw_only=True)
class Dot:
    """One trial."""

    x: float
    title: str
    diverged: bool
    trial: str
    """Its id"""


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Pixel positions from left."""

    dots: tuple[Dot, ...]
    mean: float
    low: float | None
    high: float | None
    """Ends of the interval; None without interval"""
    cut_low: bool
    cut_high: bool
    """True if the interval goes on beyond the strip"""
    label: str


def scale(rows: Iterable[Summary], metric: str, subset: str) -> tuple[float, float] | None:
    """Return the range that shows every trial, and every interval over enough units; None without a score."""
    ends: list[float] = []
    for row in rows:
        ends += [value for _, value, _ in values(row, metric, subset)]
        estimate = row.scores[metric, subset]
        if estimate.bounds and estimate.units >= LEAST_UNITS:
            ends += estimate.bounds
    if not ends:
        return None
    low, high = min(ends), max(ends)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def values(row: Summary, metric: str, subset: str) -> list[tuple[str, float, bool]]:
    """Return (trial's name, score, diverged) of every trial that enters the mean."""
    stored = [(run, run.score(metric, subset)) for run in row.counted]
    return [(r.name, s.value, r.status == "diverged") for r, s in stored if s and s.value is not None]


def strip(board: Board, row: Summary, metric: str, subset: str) -> Strip | None:
    """Return the strip of one score on the scale that all rows of the board share; None without a score."""
    ends, found = scale(board.rows, metric, subset), values(row, metric, subset)
    estimate = row.scores[metric, subset]
    if ends is None or not found or estimate.mean is None:
        return None
    low, high = estimate.bounds or (None, None)
    trials = [run.trial_id for run in row.counted if (s := run.score(metric, subset)) and s.value is not None]
    return Strip(
        dots=tuple(
            Dot(
                x=_x(value, ends),
                title=f"{name}: {value!r}{', diverged' if diverged else ''}",
                diverged=diverged,
                trial=trial,
            )
            for (name, value, diverged), trial in zip(found, trials, strict=True)
        ),
        mean=_x(estimate.mean, ends),
        low=None if low is None else _x(low, ends),
        high=None if high is None else _x(high, ends),
        cut_low=low is not None and low < ends[0],
        cut_high=high is not None and high > ends[1],
        label=f"{len(found)} trials: {', '.join(score_text(value) for _, value, _ in found)}",
    )


def _x(value: float, ends: Sequence[float]) -> float:
    inner = WIDTH - 2 * MARGIN
    position = MARGIN + inner * (value - ends[0]) / (ends[1] - ends[0])
    return round(min(max(position, MARGIN / 2), WIDTH - MARGIN / 2), 2)
