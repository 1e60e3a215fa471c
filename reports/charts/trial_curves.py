"""Values over steps -> the geometry of a small static line chart, drawn without JavaScript."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from featherbench.reports.text import number_text

Points = Sequence[tuple[int, float]]
"""(step, value), steps ascending"""
WIDTH, HEIGHT = 520, 190
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 10, 26
"""Pixels around the drawing, for the numbers of the axes"""
MOST = 300
"""Points of a line; of a longer one the smallest and the largest of each of MOST / 2 stretches are drawn"""
WIDE = 20
"""Values that differ by a larger factor are drawn on a logarithmic axis"""


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A number at an axis."""

    at: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Line:
    """One curve."""

    name: str
    points: str
    """Of an SVG polyline"""


@dataclass(frozen=True, kw_only=True)
class Lines:
    """A line chart: pixel positions from the upper left."""

    title: str
    label: str
    """What somebody hears who cannot see it"""
    x: tuple[Tick, ...]
    y: tuple[Tick, ...]
    lines: tuple[Line, ...]
    rule: Tick | None
    """A dashed horizontal line"""
    mark: tuple[float, float, str] | None
    """A dot and what it means"""


def lines(
    title: str,
    series: Sequence[tuple[str, Points]],
    *,
    rule: tuple[float, str] | None = None,
    mark: tuple[int, float, str] | None = None,
) -> Lines | None:
    """Return the chart of finite values; None if there is none. The rule is drawn if it lies within the values."""
    drawn = [(name, points) for name, points in series if points]
    if not drawn:
        return None
    values = [value for _, points in drawn for _, value in points]
    steps = [step for _, points in drawn for step, _ in points]
    low, high = min(values), max(values)
    log = low > 0 and high > WIDE * low
    across = _Axis(low=min(steps), high=max(steps), first=LEFT, last=WIDTH - RIGHT)
    up = _Axis(low=low, high=high, first=HEIGHT - BOTTOM, last=TOP, log=log)
    return Lines(
        title=title,
        label=f"{title}: " + "; ".join(_told(name, points) for name, points in drawn),
        x=across.ticks([value for value in round_numbers(min(steps), max(steps)) if value == int(value)]),
        y=up.ticks((powers if log else round_numbers)(low, high)),
        lines=tuple(Line(name=name, points=_path(thinned(points), across, up)) for name, points in drawn),
        rule=Tick(at=up.at(rule[0]), text=rule[1]) if rule and low <= rule[0] <= high else None,
        mark=(across.at(mark[0]), up.at(mark[1]), mark[2]) if mark else None,
    )


@dataclass(frozen=True, kw_only=True)
class _Axis:
    """Where values stand, in pixels."""

    low: float
    high: float
    first: float
    last: float
    log: bool = False

    def all_at(self, values: Sequence[float]) -> list[float]:
        found, ends = np.asarray(values, dtype=np.float64), np.asarray([self.low, self.high], dtype=np.float64)
        if self.log:
            found, ends = np.log10(found), np.log10(ends)
        share = (found - ends[0]) / (ends[1] - ends[0]) if ends[0] < ends[1] else np.full_like(found, 0.5)
        places: list[float] = np.round(self.first + (self.last - self.first) * share, 1).tolist()
        return places

    def at(self, value: float) -> float:
        """Return the place of one value; numpy would take ten times as long for so few."""
        ends = (math.log10(self.low), math.log10(self.high)) if self.log else (self.low, self.high)
        found = math.log10(value) if self.log else value
        share = (found - ends[0]) / (ends[1] - ends[0]) if ends[0] < ends[1] else 0.5
        return round(self.first + (self.last - self.first) * share, 1)

    def ticks(self, values: Sequence[float]) -> tuple[Tick, ...]:
        return tuple(Tick(at=self.at(value), text=f"{value:g}") for value in values)


def _path(points: Points, across: _Axis, up: _Axis) -> str:
    steps, values = zip(*points, strict=True)
    return " ".join([f"{x},{y}" for x, y in zip(across.all_at(steps), up.all_at(values), strict=True)])


def _told(name: str, points: Points) -> str:
    (first, start), (last, end) = points[0], points[-1]
    return f"{name} from {number_text(start)} at step {first} to {number_text(end)} at step {last}"


def thinned(points: Points) -> Points:
    """Return at most MOST points in which every peak of a longer line is left."""
    if len(points) <= MOST:
        return points
    size = math.ceil(2 * len(points) / MOST)
    kept: list[tuple[int, float]] = []
    for start in range(0, len(points), size):
        stretch = points[start : start + size]
        kept += sorted({min(stretch, key=lambda point: point[1]), max(stretch, key=lambda point: point[1])})
    return kept


def round_numbers(low: float, high: float) -> list[float]:
    """Return two to six multiples of 1, 2 or 5 times a power of ten from `low` to `high`."""
    if low == high:
        return [low]
    power = 10.0 ** math.floor(math.log10((high - low) / 2))
    step = next(power * factor for factor in (5, 2, 1) if (high - low) / (power * factor) >= 2)
    return [round(i * step, 12) for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def powers(low: float, high: float) -> list[float]:
    """Return up to seven powers of ten from `low` to `high`, with 2 and 5 times them where they are few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = math.ceil((last - first) / 6) or 1
    factors = (1, 2, 5) if last - first <= 2 else (1,)
    found = [factor * 10.0**power for power in range(first, last + 1, every) for factor in factors]
    return [value for value in found if low <= value <= high] or [low, high]
