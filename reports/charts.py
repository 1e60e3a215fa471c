"""Rows of boards -> Altair charts of the site's pages. All positions are computed here; colours of axes are the page's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from featherbench.reports.aggregate import Summary
from featherbench.reports.blocks import Spec
from featherbench.reports.figures import PALETTE, RULE
from featherbench.reports.interval import Estimate
from featherbench.reports.text import estimate_text

WIDTH = 560
"""Pixels in files; on the page a chart is as wide as its place"""
SIDES = {"seen": PALETTE[0], "unseen": PALETTE[1]}


@dataclass(frozen=True, kw_only=True)
class Point:
    """A row's mean score at a cost."""

    label: str
    cost: float
    cost_text: str
    score: Estimate
    front: bool
    """On the Pareto front of means"""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """A row's scores by number of training pairs."""

    label: str
    scores: tuple[tuple[int, Estimate], ...]


def colours(rows: Sequence[Summary]) -> dict[str, str]:
    """Return the colour of each row, the same in every chart; grey where nothing is tuned."""
    tuned = dict.fromkeys(row.label for row in rows if row.runs[0].trial.steps)
    own = {label: PALETTE[i % len(PALETTE)] for i, label in enumerate(tuned)}
    return {row.label: own.get(row.label, RULE) for row in rows}


# --- seen and unseen --------------------------------------------------------------------------------------------------


def sides_chart(rows: Sequence[tuple[str, Estimate, Estimate]], metric: str) -> Spec:
    """Return each row's score on seen and on unseen items side by side. rows: (label, seen, unseen), all with a mean."""
    points = [
        {"row": label, "items": side} | _numbers(value)
        for label, *both in rows
        for side, value in zip(SIDES, both, strict=True)
    ]
    lines = [{"row": label, "from": seen.mean, "to": unseen.mean} for label, seen, unseen in rows]
    y = alt.Y("row:N", sort=[label for label, _, _ in rows], title=None, axis=alt.Axis(labelLimit=180))
    x = alt.Scale(zero=False)
    colour = alt.Color(
        "items:N",
        sort=list(SIDES),
        scale=alt.Scale(domain=list(SIDES), range=list(SIDES.values())),
        legend=_legend(),
    )
    tips = [_tip("row"), _tip("items"), _tip("text", metric), _tip("exact", "exact mean")]
    between = _chart(lines).mark_rule(strokeWidth=5, opacity=0.25, color=RULE)
    interval = _chart([point for point in points if point["low"] is not None]).mark_rule(strokeWidth=2)
    mean = _chart(points).mark_point(filled=True, size=90, opacity=1)
    shape = alt.Shape("items:N", sort=list(SIDES), scale=alt.Scale(domain=list(SIDES), range=["circle", "diamond"]))
    layers = [
        between.encode(y=y, x=alt.X("from:Q", scale=x, title=metric), x2="to:Q"),
        interval.encode(y=y, x=alt.X("low:Q", scale=x, title=metric), x2="high:Q", color=colour, tooltip=tips),
        mean.encode(y=y, x=alt.X("mean:Q", scale=x, title=metric), color=colour, shape=shape, tooltip=tips),
    ]
    return _finished(layers, 34 * len(rows))


# --- score against a cost ---------------------------------------------------------------------------------------------


def front_chart(
    points: Sequence[Point], free: Sequence[tuple[str, Estimate]], metric: str, cost: str, colour: Mapping[str, str]
) -> Spec:
    """Return scores against a cost on a logarithmic axis; points of the front are filled and joined by a step line.

    `free` are rows that cost nothing, which such an axis cannot hold: dashed lines. At least one point costs something.
    """
    rows: list[dict[str, Any]] = [
        {"row": p.label, "cost": p.cost, "costs": p.cost_text, "front": "yes" if p.front else "no"} | _numbers(p.score)
        for p in sorted(points, key=lambda p: p.cost)
    ]
    costs = [row["cost"] for row in rows]
    x = alt.X(
        "cost:Q",
        title=f"{cost} (log axis)",
        scale=alt.Scale(type="log", domain=[min(costs) / 2, max(costs) * 2], nice=False),
        axis=alt.Axis(format="~s", labelOverlap=True, grid=False),
    )
    scale = alt.Scale(zero=False)
    mean, low = (alt.Y(f"{field}:Q", title=metric, scale=scale) for field in ("mean", "low"))
    hue = _colour([p.label for p in points], colour)
    tips = [
        _tip("row"),
        _tip("text", metric),
        _tip("exact", "exact mean"),
        _tip("costs", cost),
        _tip("front", "on the front"),
    ]
    front = [row for row in rows if row["front"] == "yes"]
    step = _chart(front).mark_line(interpolate="step-after", strokeWidth=1.5, color=RULE, opacity=0.9)
    interval = _chart([row for row in rows if row["low"] is not None]).mark_rule(strokeWidth=1.5, opacity=0.7)
    behind = _chart([row for row in rows if row["front"] == "no"]).mark_point(size=80, strokeWidth=2, opacity=1)
    ahead = _chart(front).mark_point(size=110, shape="diamond", filled=True, opacity=1)
    layers = [
        step.encode(x=x, y=mean),
        interval.encode(x=x, y=low, y2="high:Q", color=hue, tooltip=tips),
        behind.encode(x=x, y=mean, color=hue, tooltip=tips),
        ahead.encode(x=x, y=mean, color=hue, tooltip=tips),
    ]
    if free:
        flat = _chart([{"row": label} | _numbers(value) for label, value in free])
        rule = flat.mark_rule(strokeDash=[5, 4], strokeWidth=1.5, color=RULE)
        name = flat.mark_text(align="left", baseline="bottom", dx=4, dy=-3, color=RULE, fontSize=11)
        own = [_tip("row"), _tip("text", metric), _tip("exact", "exact mean")]
        layers += [
            rule.encode(y=mean, tooltip=own),
            name.encode(x=alt.value(0), y=mean, text="row:N", tooltip=own),
        ]
    return _finished(layers, 300)


# --- score against the number of training pairs -----------------------------------------------------------------------


def sizes_chart(rows: Sequence[Sizes], metric: str, unit: str, colour: Mapping[str, str]) -> Spec:
    """Return one line a row over sizes with the 95 % band of each; a click into the legend brings a row forward."""
    points: list[dict[str, Any]] = [
        {"row": row.label, "size": size, "units": f"{value.units} {unit}s"} | _numbers(value)
        for row in rows
        for size, value in row.scores
    ]
    sizes = sorted({point["size"] for point in points})
    x = alt.X(
        "size:Q",
        title="training pairs (log axis)",
        scale=alt.Scale(type="log", domain=[sizes[0] / 1.1, sizes[-1] * 1.1], nice=False),
        axis=alt.Axis(values=sizes, format=",d", grid=False),
    )
    scale = alt.Scale(zero=False)
    hue = _colour([row.label for row in rows], colour)
    chosen = alt.selection_point(name="chosen", fields=["row"], bind="legend")
    tips = [
        _tip("row"),
        _tip("size", "training pairs"),
        _tip("text", metric),
        _tip("exact", "exact mean"),
        _tip("units", "mean over"),
    ]
    band = _chart([point for point in points if point["low"] is not None]).mark_area()
    line = _chart(points).mark_line(strokeWidth=2).add_params(chosen)
    mark = _chart(points).mark_point(filled=True, size=60)
    low, mean = (alt.Y(f"{field}:Q", title=metric, scale=scale) for field in ("low", "mean"))
    layers = [
        band.encode(
            x=x,
            y=low,
            y2="high:Q",
            color=hue,
            opacity=alt.when(chosen).then(alt.value(0.14)).otherwise(alt.value(0.02)),
        ),
        line.encode(x=x, y=mean, color=hue, opacity=alt.when(chosen).then(alt.value(1)).otherwise(alt.value(0.15))),
        mark.encode(
            x=x, y=mean, color=hue, tooltip=tips, opacity=alt.when(chosen).then(alt.value(1)).otherwise(alt.value(0.15))
        ),
    ]
    return _finished(layers, 340)


# --- shared -----------------------------------------------------------------------------------------------------------


def _numbers(value: Estimate) -> dict[str, Any]:
    low, high = value.bounds or (None, None)
    note = f" ({value.note})" if value.note else ""
    return {
        "mean": value.mean,
        "low": low,
        "high": high,
        "exact": repr(value.mean),
        "text": estimate_text(value) + note,
    }


def _chart(rows: Sequence[Mapping[str, Any]]) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=[dict(row) for row in rows]))


def _tip(field: str, title: str | None = None) -> alt.Tooltip:
    return alt.Tooltip(f"{field}:N", title=title or field)


def _legend() -> alt.Legend:
    return alt.Legend(title=None, orient="bottom", labelLimit=140, symbolOpacity=1)


def _colour(labels: Sequence[str], colour: Mapping[str, str]) -> alt.Color:
    scale = alt.Scale(domain=list(labels), range=[colour[label] for label in labels])
    return alt.Color("row:N", sort=list(labels), scale=scale, legend=_legend())


def _finished(layers: Sequence[alt.Chart], height: int) -> Spec:
    # unvalidated: that takes most of the time; the tests validate
    spec: Spec = alt.LayerChart(layer=list(layers)).properties(width=WIDTH, height=height).to_dict(validate=False)
    spec.pop("$schema", None)
    return spec | {"config": {"legend": {"columns": 4}}}
