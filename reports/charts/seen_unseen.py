"""Rows' scores on seen and on unseen items -> the chart that sets them side by side."""

from __future__ import annotations

from collections.abc import Sequence

from featherbench.reports.blocks import Spec
from featherbench.reports.charts.parts import GREY, PALETTE, Part, bounded, chart, hue, layer, number, scored, tips
from featherbench.reports.interval import Estimate

SIDES = {"seen": PALETTE[0], "unseen": PALETTE[1]}


def seen_unseen_chart(rows: Sequence[tuple[str, Estimate, Estimate]], metric: str) -> Spec:
    """Return each row's score on seen and on unseen items. rows: (label, seen, unseen), all with a mean."""
    points = [
        {"row": label, "items": side} | scored(value)
        for label, *both in rows
        for side, value in zip(SIDES, both, strict=True)
    ]
    between = [{"row": label, "from": seen.mean, "to": unseen.mean} for label, seen, unseen in rows]
    y: Part = {"field": "row", "type": "nominal", "sort": [label for label, _, _ in rows], "title": None}
    y |= {"axis": {"labelLimit": 180}}
    start, low, mean = (number(field, metric, scale={"zero": False}) for field in ("from", "low", "mean"))
    shape: Part = {"field": "items", "type": "nominal", "sort": list(SIDES)}
    shape |= {"scale": {"domain": list(SIDES), "range": ["circle", "diamond"]}}
    shared: Part = {"y": y, "color": hue("items", SIDES)}
    shared |= {"tooltip": tips(row="row", items="items", text=metric, exact="exact mean")}
    layers = [
        layer(
            between, "rule", {"strokeWidth": 5, "strokeOpacity": 0.25, "color": GREY}, y=y, x=start, x2={"field": "to"}
        ),
        layer(bounded(points), "rule", {"strokeWidth": 2}, x=low, x2={"field": "high"}, **shared),
        layer(points, "point", {"filled": True, "size": 90, "opacity": 1}, x=mean, shape=shape, **shared),
    ]
    return chart(layers, 34 * len(rows))
