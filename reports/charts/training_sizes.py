"""Rows' scores at several sizes of the training data -> the chart of score against the number of training pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from featherbench.reports.blocks import Spec
from featherbench.reports.charts.parts import Part, bounded, chart, layer, number, row_hue, scored, tips
from featherbench.reports.interval import Estimate


@dataclass(frozen=True, kw_only=True)
class BySize:
    """A row's scores by number of training pairs."""

    label: str
    scores: tuple[tuple[int, Estimate], ...]


def training_sizes_chart(rows: Sequence[BySize], metric: str, unit: str, colours: Mapping[str, str]) -> Spec:
    """Return one line a row over sizes with the 95 % band of each; a click into the legend brings a row forward."""
    points = [
        {"row": row.label, "size": size, "units": f"{value.units} {unit}s"} | scored(value)
        for row in rows
        for size, value in row.scores
    ]
    sizes = sorted({size for row in rows for size, _ in row.scores})
    scale = {"type": "log", "domain": [sizes[0] / 1.1, sizes[-1] * 1.1], "nice": False}
    axis = {"values": sizes, "format": ",d", "grid": False}
    x = number("size", "training pairs (log axis)", scale=scale, axis=axis)
    low, mean = (number(field, metric, scale={"zero": False}) for field in ("low", "mean"))
    shared = {"x": x, "color": row_hue([row.label for row in rows], colours)}
    tooltip = tips(row="row", size="training pairs", text=metric, exact="exact mean", units="mean over")
    line = layer(points, "line", {"strokeWidth": 2}, y=mean, strokeOpacity=_chosen(1, 0.15), **shared)
    line |= {"params": [{"name": "chosen", "select": {"type": "point", "fields": ["row"]}, "bind": "legend"}]}
    layers = [
        layer(bounded(points), "area", {}, y=low, y2={"field": "high"}, fillOpacity=_chosen(0.14, 0.02), **shared),
        line,
        layer(
            points,
            "point",
            {"filled": True, "size": 60, "opacity": 1},
            y=mean,
            fillOpacity=_chosen(1, 0.15),
            tooltip=tooltip,
            **shared,
        ),
    ]
    return chart(layers, 340)


def _chosen(opacity: float, otherwise: float) -> Part:
    return {"condition": {"param": "chosen", "value": opacity}, "value": otherwise}
