"""Named series of points -> one chart: lines with bands, or means with intervals and single values."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from featherbench.reports.blocks import Spec
from featherbench.reports.charts.parts import Part, bounded, chart, hue, layer, method_colours, number, tips

X = float | str
FEW = 8
"""Places on a logarithmic axis up to which each of them has its number"""


@dataclass(frozen=True, kw_only=True)
class Point:
    """A position in a chart, with what a reader sees on pointing at it."""

    x: X
    y: float
    text: str
    low: float | None = None
    high: float | None = None
    """Ends of the interval or band; None without"""


Series = Mapping[str, Sequence[Point]]
"""Points by the name of their series"""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """An axis; texts as positions make it a list of names in the order of the points."""

    title: str
    kind: Literal["linear", "log", "names"] = "linear"


def series_chart(
    title: str,
    x: Axis,
    y: Axis,
    *,
    lines: Series | None = None,
    means: Series | None = None,
    dots: Series | None = None,
    methods: Mapping[str, str] | None = None,
    height: int = 280,
) -> Spec:
    """Return the chart of {series: points}: lines have bands, means have intervals, dots are single values.

    `methods`: those of the series, which share a colour in shades; None: each series has its own.
    """
    lines, means, dots = lines or {}, means or {}, dots or {}
    names = list(dict.fromkeys(str(p.x) for part in (means, dots) for points in part.values() for p in points))
    hues = method_colours({name: (methods or {}).get(name, name) for name in [*lines, *means, *dots]})
    places = {p.x for part in (lines, means, dots) for points in part.values() for p in points}
    shared = {"x": _across(x, names, places), "color": hue("series", hues, symbolType="circle")}
    at, low = (number(field, y.title, scale={"zero": False}) for field in ("y", "low"))
    told, high = tips(series="series", text="value"), {"field": "high"}
    drawn, single, centres = _points(lines), _points(dots), _points(means)
    layers: list[Part] = []
    if band := bounded(drawn):
        layers.append(layer(band, "area", {"fillOpacity": 0.18}, y=low, y2=high, **shared))
    if drawn:
        layers.append(layer(drawn, "line", {"strokeWidth": 2, "point": True}, y=at, tooltip=told, **shared))
    if single:
        layers.append(
            layer(single, "circle", {"size": 32, "opacity": 1, "fillOpacity": 0.55}, y=at, tooltip=told, **shared)
        )
    if intervals := bounded(centres):
        layers.append(layer(intervals, "rule", {"strokeWidth": 2}, y=low, y2=high, tooltip=told, **shared))
    if centres:
        diamond = {"shape": "diamond", "size": 90, "filled": True, "opacity": 1}
        layers.append(layer(centres, "point", diamond, y=at, tooltip=told, **shared))
    return chart(layers, height, title)


def _across(x: Axis, names: Sequence[str], places: Collection[X]) -> Part:
    if x.kind == "names":
        level = {"labelAngle": 0, "labelLimit": 160}
        return {"field": "x", "type": "nominal", "title": x.title, "sort": list(names), "axis": level}
    log = x.kind == "log"
    scale: Part = {"type": "log"} if log else {"type": "linear", "zero": False}
    axis: Part = {"grid": False, "labelOverlap": True, "format": "~g" if log else "~s"}
    if log and len(places) <= FEW:
        axis["values"] = sorted(places)  # where all points stand at a few places, these say more than powers of ten
    title = f"{x.title} (log axis)" if log else x.title
    return number("x", title, scale=scale | {"nice": False, "padding": 12}, axis=axis)


def _points(parts: Series) -> list[Part]:
    return [
        {"series": name, "x": p.x, "y": p.y, "low": p.low, "high": p.high, "text": p.text}
        for name, points in parts.items()
        for p in points
    ]
