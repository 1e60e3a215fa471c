"""Rows at their costs -> the chart of score against a cost, with the Pareto front of means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from featherbench.reports.blocks import Spec
from featherbench.reports.charts.parts import (
    GREY,
    Part,
    bounded,
    chart,
    layer,
    level_layers,
    log_number,
    number,
    row_hue,
    scored,
    tips,
)
from featherbench.reports.interval import Estimate


@dataclass(frozen=True, kw_only=True)
class AtCost:
    """A row's mean score at a cost above 0."""

    label: str
    cost: float
    cost_text: str
    score: Estimate
    front: bool
    """On the Pareto front of means"""


def front_chart(
    rows: Sequence[AtCost], free: Sequence[tuple[str, Estimate]], metric: str, cost: str, colours: Mapping[str, str]
) -> Spec:
    """Return scores against a cost on a logarithmic axis; rows of the front are filled and joined by a step line.

    `free` are rows that cost nothing, which such an axis cannot hold: dashed lines. At least one row costs something.
    """
    points = [
        {"row": row.label, "cost": row.cost, "costs": row.cost_text, "front": "yes" if row.front else "no"}
        | scored(row.score)
        for row in sorted(rows, key=lambda row: row.cost)
    ]
    x = log_number("cost", cost, [row.cost for row in rows])
    mean, low = (number(field, metric, scale={"zero": False}) for field in ("mean", "low"))
    told = {"row": "row", "text": metric, "exact": "exact mean"}
    shared: Part = {"color": row_hue([row.label for row in rows], colours), "x": x}
    shared |= {"tooltip": tips(**told, costs=cost, front="on the front")}
    ahead, behind = ([point for point in points if point["front"] == where] for where in ("yes", "no"))
    step = {"interpolate": "step-after", "strokeWidth": 1.5, "color": GREY, "strokeOpacity": 0.9}
    filled = {"size": 110, "shape": "diamond", "filled": True, "opacity": 1}
    layers = [
        layer(ahead, "line", step, x=x, y=mean),
        layer(
            bounded(points), "rule", {"strokeWidth": 1.5, "strokeOpacity": 0.7}, y=low, y2={"field": "high"}, **shared
        ),
        layer(behind, "point", {"size": 80, "strokeWidth": 2, "opacity": 1}, y=mean, **shared),
        layer(ahead, "point", filled, y=mean, **shared),
    ]
    if free:
        layers += level_layers([{"row": label} | scored(value) for label, value in free], mean, tips(**told))
    return chart(layers, 300)
