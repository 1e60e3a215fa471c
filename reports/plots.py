"""Named series of points -> one chart: lines with bands, or points with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import altair as alt

from featherbench.reports.blocks import Spec
from featherbench.reports.figures import PALETTE

X = float | str


@dataclass(frozen=True, kw_only=True)
class Point:
    """A position in a chart, with what a reader sees on pointing at it."""

    x: X
    y: float
    text: str
    low: float | None = None
    high: float | None = None
    """Ends of the interval or band; None without"""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """An axis; texts as positions make it a list of names in the order of the points."""

    title: str
    kind: Literal["linear", "log", "names"] = "linear"


def plot(
    title: str,
    x: Axis,
    y: Axis,
    *,
    lines: Mapping[str, Sequence[Point]] | None = None,
    means: Mapping[str, Sequence[Point]] | None = None,
    dots: Mapping[str, Sequence[Point]] | None = None,
    height: int = 280,
) -> Spec:
    """Return the chart of {series: points}: lines have bands, means have intervals, dots are single values."""
    series = list(dict.fromkeys([*(lines or {}), *(means or {}), *(dots or {})]))
    names = list(dict.fromkeys(str(p.x) for part in (means, dots) for points in (part or {}).values() for p in points))
    across = _across(x, names)
    colour = _colour(series)
    scale = alt.Scale(zero=False)
    up, low = alt.Y("y:Q", title=y.title, scale=scale), alt.Y("low:Q", title=y.title, scale=scale)
    tips = [alt.Tooltip("series:N"), alt.Tooltip("text:N", title="value")]
    layers: list[alt.Chart] = []
    if lines and _banded(lines):
        band = alt.Chart(_data(lines, banded=True)).mark_area(opacity=0.18)
        layers.append(band.encode(x=across, y=low, y2="high:Q", color=colour))
    if lines:
        line = alt.Chart(_data(lines)).mark_line(strokeWidth=2, point=True)
        layers.append(line.encode(x=across, y=up, color=colour, tooltip=tips))
    if dots:
        circle = alt.Chart(_data(dots)).mark_circle(size=32, opacity=0.55)
        layers.append(circle.encode(x=across, y=up, color=colour, tooltip=tips))
    if means and _banded(means):
        rule = alt.Chart(_data(means, banded=True)).mark_rule(strokeWidth=2)
        layers.append(rule.encode(x=across, y=low, y2="high:Q", color=colour, tooltip=tips))
    if means:
        diamond = alt.Chart(_data(means)).mark_point(shape="diamond", size=90, filled=True, opacity=1)
        layers.append(diamond.encode(x=across, y=up, color=colour, tooltip=tips))
    head = alt.TitleParams(title, anchor="start", fontSize=12)
    spec: Spec = alt.LayerChart(layer=layers).properties(width=560, height=height, title=head).to_dict()
    spec.pop("$schema", None)
    return spec | {"config": {"legend": {"columns": 4}}}


def _banded(parts: Mapping[str, Sequence[Point]]) -> bool:
    return any(point.low is not None for points in parts.values() for point in points)


def _across(x: Axis, names: Sequence[str]) -> alt.X:
    if x.kind == "names":
        return alt.X("x:N", title=x.title, sort=list(names), axis=alt.Axis(labelAngle=0, labelLimit=160))
    scale = alt.Scale(type="linear", zero=False, nice=False, padding=12)
    if x.kind == "log":
        scale = alt.Scale(type="log", nice=False, padding=12)
    axis = alt.Axis(grid=False, labelOverlap=True, format="~g" if x.kind == "log" else "~s")
    return alt.X("x:Q", title=f"{x.title} (log axis)" if x.kind == "log" else x.title, scale=scale, axis=axis)


def _colour(series: Sequence[str]) -> alt.Color:
    colours = [PALETTE[i % len(PALETTE)] for i in range(len(series))]
    legend = alt.Legend(title=None, orient="bottom", labelLimit=140, symbolType="circle", symbolOpacity=1)
    return alt.Color("series:N", sort=list(series), scale=alt.Scale(domain=list(series), range=colours), legend=legend)


def _data(parts: Mapping[str, Sequence[Point]], *, banded: bool = False) -> alt.InlineData:
    rows: list[dict[str, Any]] = [
        {"series": name, "x": p.x, "y": p.y, "low": p.low, "high": p.high, "text": p.text}
        for name, points in parts.items()
        for p in points
        if not banded or p.low is not None
    ]
    return alt.InlineData(values=rows)
