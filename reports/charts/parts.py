"""What interactive charts share: a chart is a Vega-Lite specification of plain dicts, and the tests hold each to its schema.

Source: https://vega.github.io/vega-lite/docs/. Colours of axes and texts are the page's (charts.js).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from featherbench.reports.blocks import Spec
from featherbench.reports.boards import Summary
from featherbench.reports.interval import Estimate
from featherbench.reports.text import estimate_text

Part = dict[str, Any]
"""A piece of a specification"""
Points = Sequence[Mapping[str, Any]]
"""What a layer draws: the fields of each of its marks"""
PALETTE = (
    "#4c78a8", "#f58518", "#54a24b", "#e45756", "#b279a2", "#9d755d", "#d67195", "#72b7b2", "#b79a20", "#79706e",
)  # fmt: skip
"""Readable on white and on dark grey"""
GREY = "#888888"
"""Colour of what is no tuned row"""
FAINT = "#b0b0b0"
"""Colour of default configurations beside rows with a search: they have no entry in a legend"""
SHADES = "A colour stands for a method, its shades from dark to light for the rows of it."
FAINT_MARKS = (
    f"{SHADES} What is light grey is the default configuration of a row that has a search, named on pointing at it."
)
NOT_DRAWN = f"{SHADES} Default configurations of rows that have a search stand in the tables alone."
WIDTH = 560
"""Pixels in files; on the page a chart is as wide as its place"""


def chart(layers: Sequence[Part], height: int, title: str = "") -> Spec:
    """Return the layers as one chart; those of the same points share them. The title stands in files only."""
    datasets: dict[str, Points] = {}
    drawn = []
    for one in layers:
        points = one["data"]["values"]
        name = next((name for name, known in datasets.items() if known == points), f"data-{len(datasets)}")
        datasets[name] = points
        drawn.append(one | {"data": {"name": name}})
    spec = {"layer": drawn, "datasets": datasets, "width": WIDTH, "height": height}
    heading = {"title": {"text": title, "anchor": "start", "fontSize": 12}} if title else {}
    return spec | heading | {"config": {"legend": {"columns": 4}}}


def layer(points: Points, mark: str, style: Mapping[str, Any], **encoding: object) -> Part:
    """Return marks of one style, a mark a point (or a line or area through them).

    Styles give the opacity of strokes or fills: that of a whole mark makes its PNG ten times as slow to draw.
    """
    return {"data": {"values": list(points)}, "mark": {"type": mark, **style}, "encoding": encoding}


def number(field: str, title: str, **more: object) -> Part:
    """Return a position by a number."""
    return {"field": field, "type": "quantitative", "title": title, **more}


def log_number(field: str, title: str, values: Sequence[float]) -> Part:
    """Return a position on a logarithmic axis that shows `values` with room at both sides."""
    scale = {"type": "log", "domain": [min(values) / 2, max(values) * 2], "nice": False}
    axis = {"format": "~s", "labelOverlap": True, "grid": False}
    return number(field, f"{title} (log axis)", scale=scale, axis=axis)


def hue(field: str, colours: Mapping[str, str], **legend: object) -> Part:
    """Return colours by name, with a legend in their order."""
    names = list(colours)
    shown: dict[str, object] = {"title": None, "orient": "bottom", "labelLimit": 140, "symbolLimit": 0}
    shown |= {"symbolOpacity": 1, **legend}
    scale = {"domain": names, "range": list(colours.values())}
    return {"field": field, "type": "nominal", "sort": names, "scale": scale, "legend": shown}


def row_hue(labels: Sequence[str], colours: Mapping[str, str]) -> Part:
    """Return the colours of the rows that a chart has."""
    named = [label for label in labels if colours[label] != FAINT]
    legend = {"values": named} if len(named) < len(labels) else {}
    return hue("row", {label: colours[label] for label in labels}, symbolType="circle", **legend)


def tips(**titles: str) -> list[Part]:
    """Return what a reader sees on pointing at a mark: {field: title}."""
    return [{"field": field, "type": "nominal", "title": title} for field, title in titles.items()]


def level_layers(points: Points, y: Part, tooltip: Sequence[Part]) -> list[Part]:
    """Return a named dashed line across the chart for every point: rows that have no place on its axis."""
    dashed, name = {"strokeDash": [5, 4], "strokeWidth": 1.5, "color": GREY}, {"align": "left", "baseline": "bottom"}
    written = name | {"dx": 4, "dy": -3, "color": GREY, "fontSize": 11}
    text = {"field": "row", "type": "nominal"}
    return [
        layer(points, "rule", dashed, y=y, tooltip=tooltip),
        layer(points, "text", written, x={"value": 0}, y=y, text=text, tooltip=tooltip),
    ]


def scored(value: Estimate) -> Part:
    """Return a score as fields: mean, low, high, exact and text."""
    low, high = value.bounds or (None, None)
    text = estimate_text(value) + (f" ({value.note})" if value.note else "")
    return {"mean": value.mean, "low": low, "high": high, "exact": repr(value.mean), "text": text}


def bounded(points: Points) -> Points:
    """Return the points that have an interval."""
    return [point for point in points if point["low"] is not None]


def row_colours(rows: Sequence[Summary]) -> dict[str, str]:
    """Return the colour of each row, the same in every chart of these rows; grey where nothing is tuned."""
    tuned = {row.label: row.cell.method for row in rows if row.runs[0].trial.steps and not row.is_default}
    own = method_colours(tuned)
    return {row.label: FAINT if row.is_default else own.get(row.label, GREY) for row in rows}


def method_colours(methods: Mapping[str, str]) -> dict[str, str]:
    """Return a colour for each label of {label: method}: a hue a method, in shades where it has several labels."""
    known = list(dict.fromkeys(methods.values()))
    found: dict[str, str] = {}
    for i, method in enumerate(known):
        labels = [label for label, its in methods.items() if its == method]
        found |= dict(zip(labels, _shades(PALETTE[i % len(PALETTE)], len(labels)), strict=True))
    return {label: found[label] for label in methods}


def _shades(colour: str, count: int) -> list[str]:
    """Return `count` shades of a colour like "#4c78a8", from dark to light; one is the colour itself."""
    parts = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    depths = [0.0] if count == 1 else [-0.5 + 0.85 * i / (count - 1) for i in range(count)]  # below 0 towards black
    return [
        "#" + "".join(f"{round(p + (255 - p) * depth if depth > 0 else p * (1 + depth)):02x}" for p in parts)
        for depth in depths
    ]
