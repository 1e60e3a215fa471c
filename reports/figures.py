"""Boards -> Altair charts: score against stored parameters, and validation losses. All positions are computed here."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import altair as alt
import vl_convert

from featherbench.reports.aggregate import ALL, UNTUNED, Board, Summary
from featherbench.reports.blocks import Figure, Spec
from featherbench.reports.losses import best_loss
from featherbench.reports.strip import scale, values
from featherbench.reports.tables import board_title
from featherbench.reports.text import MISSING, estimate_text, number_text

Sets = dict[str, list[dict[str, Any]]]
"""A chart's data by name"""
PALETTE = (
    "#4c78a8", "#f58518", "#54a24b", "#e45756", "#b279a2", "#9d755d", "#d67195", "#72b7b2", "#b79a20", "#79706e",
)  # fmt: skip
"""Readable on white and on dark grey"""
RULE = "#888888"
"""Colour of rows that store nothing"""
SHIFT = 16
"""Pixels between rows whose sizes are too close to tell apart"""
DOTS, MEAN = -4, 3
"""Pixels by which a row's trials stand left of its size and its mean right of it"""
CLOSE = 0.06
"""Sizes whose decimal logarithms differ by less are drawn side by side"""


def size_figure(board: Board) -> Spec | None:
    """Return the primary score against stored parameters; None if no row has both."""
    drawn = [row for row in board.rows if drawable(board, row)]
    if board.primary is None or not drawn:
        return None
    ends = scale(drawn, board.primary, ALL)
    assert ends is not None
    sized = [row for row in drawn if not _is_rule(row)]
    pad = 0.06 * (ends[1] - ends[0])
    y = alt.Scale(domain=[ends[0] - pad, ends[1] + pad], zero=False, nice=False)
    sets: Sets = {}
    layers = [layer for shift, rows in _shifted(sized) for layer in _size_layers(board, rows, shift, sized, y, sets)]
    layers += _rule_layers(board, [row for row in drawn if _is_rule(row)], y, sets)
    return _finished(layers, sets, board_title(board), 340)


def drawable(board: Board, row: Summary) -> bool:
    """True if the row has a primary score and a place on the size axis (or is a horizontal rule)."""
    if board.primary is None or row.scores[board.primary, ALL].mean is None:
        return False
    return _is_rule(row) or (row.costs["stored_parameters"].value or 0) > 0


def _is_rule(row: Summary) -> bool:
    return row.cell.method == UNTUNED or row.costs["stored_parameters"].value == 0


def _size(row: Summary) -> float:
    value = row.costs["stored_parameters"].value
    assert value is not None
    return value


def _shifted(rows: Sequence[Summary]) -> list[tuple[int, list[Summary]]]:
    """Return rows by their sideways shift in pixels: rows of close sizes stand side by side, centred."""
    clusters: list[list[Summary]] = []
    for row in sorted(rows, key=_size):
        if clusters and math.log10(_size(row)) - math.log10(_size(clusters[-1][-1])) < CLOSE:
            clusters[-1].append(row)
        else:
            clusters.append([row])
    shifts: dict[int, list[Summary]] = {}
    for cluster in clusters:
        for i, row in enumerate(cluster):
            shifts.setdefault(round(SHIFT * (i - (len(cluster) - 1) / 2)), []).append(row)
    return sorted(shifts.items())


def _size_layers(
    board: Board, rows: Sequence[Summary], shift: int, sized: Sequence[Summary], y_scale: alt.Scale, sets: Sets
) -> list[alt.Chart]:
    """Return interval, trials and mean of rows that share a shift."""
    metric = board.primary
    assert metric is not None
    means = [_mean_point(row, metric) for row in rows]
    dots = [
        {
            "row": row.label,
            "size": _size(row),
            "stored": _count(row),
            "score": value,
            "exact": repr(value),
            "trial": name + (", diverged" if diverged else ""),
        }
        for row in rows
        for name, value, diverged in values(row, metric, ALL)
    ]
    x = alt.X(
        "size:Q",
        title="stored parameters (log axis)",
        scale=alt.Scale(type="log", domain=_size_domain(sized), nice=False),
        axis=alt.Axis(format="~s", labelOverlap=True, grid=False),
    )
    colour = _colour(board, sized)
    title = f"{metric}, {board.key.evaluated}"
    mean_tips = _mean_tips(metric)
    dot_tips = [_tip("row"), _tip("trial"), _tip("exact", metric), _tip("stored", "stored parameters")]
    interval = (
        alt.Chart(_data(sets, [mean for mean in means if mean["low"] is not None]))
        .mark_rule(strokeWidth=2, clip=True, xOffset=shift + MEAN)
        .encode(x=x, y=alt.Y("low:Q", title=title, scale=y_scale), y2="high:Q", color=colour, tooltip=mean_tips)
    )
    trials = (
        alt.Chart(_data(sets, dots))
        .mark_circle(size=36, opacity=0.6, clip=True, xOffset=shift + DOTS)
        .encode(x=x, y=alt.Y("score:Q", title=title, scale=y_scale), color=colour, tooltip=dot_tips)
    )
    mean = (
        alt.Chart(_data(sets, means))
        .mark_point(shape="diamond", size=90, filled=True, opacity=1, clip=True, xOffset=shift + MEAN)
        .encode(x=x, y=alt.Y("mean:Q", title=title, scale=y_scale), color=colour, tooltip=mean_tips)
    )
    return [interval, trials, mean]


def _mean_point(row: Summary, metric: str) -> dict[str, Any]:
    estimate = row.scores[metric, ALL]
    low, high = estimate.bounds or (None, None)
    note = f" ({estimate.note})" if estimate.note else ""
    return {
        "row": row.label,
        "size": row.costs["stored_parameters"].value,
        "stored": _count(row),
        "mean": estimate.mean,
        "low": low,
        "high": high,
        "exact": repr(estimate.mean),
        "text": estimate_text(estimate) + note,
        "trials": str(row.counts.counted),
    }


def _count(row: Summary) -> str:
    value = row.costs["stored_parameters"].value
    return MISSING if value is None else number_text(value)


def _rule_layers(board: Board, rows: Sequence[Summary], y_scale: alt.Scale, sets: Sets) -> list[alt.Chart]:
    """Return a labelled horizontal rule for every row that stores nothing."""
    if not rows or board.primary is None:
        return []
    data = _data(sets, [_mean_point(row, board.primary) for row in rows])
    y = alt.Y("mean:Q", title=f"{board.primary}, {board.key.evaluated}", scale=y_scale)
    tips = _mean_tips(board.primary)
    rule = alt.Chart(data).mark_rule(strokeDash=[5, 4], strokeWidth=1.5, color=RULE).encode(y=y, tooltip=tips)
    label = (
        alt.Chart(data)
        .mark_text(align="left", baseline="bottom", dx=4, dy=-3, color=RULE, fontSize=11)
        .encode(x=alt.value(0), y=y, text="row:N", tooltip=tips)
    )
    return [rule, label]


def _size_domain(rows: Sequence[Summary]) -> list[float]:
    sizes = [_size(row) for row in rows]
    return [min(sizes) / 2, max(sizes) * 2]


# --- validation losses ------------------------------------------------------------------------------------------------


def loss_figure(board: Board) -> Spec | None:
    """Return every counted trial's validation loss with its best step marked; None without a curve."""
    rows = [row for row in board.rows if any(run.losses for run in row.counted)]
    points = [
        {"row": row.label, "trial": run.name, "key": run.trial_id, "step": step, "loss": loss, "exact": repr(loss)}
        for row in rows
        for run in row.counted
        for step, loss in run.losses
    ]
    best = [
        {"row": row.label, "trial": run.name, "step": run.best_step, "loss": loss, "exact": repr(loss)}
        for row in rows
        for run in row.counted
        if (loss := best_loss(run)) is not None
    ]
    if not points:
        return None
    losses = [loss for row in rows for run in row.counted for _, loss in run.losses]
    kind: Literal["log", "linear"] = "log" if min(losses) > 0 and max(losses) > 20 * min(losses) else "linear"
    x = alt.X("step:Q", title="optimiser step", axis=alt.Axis(format="d", tickMinStep=1, tickCount=8, grid=False))
    y = alt.Y("loss:Q", title="validation loss", scale=alt.Scale(type=kind, zero=False))
    tips = [_tip("row"), _tip("trial"), _tip("step"), _tip("exact", "validation loss")]
    colour = _colour(board, rows)
    sets: Sets = {}
    line = alt.Chart(_data(sets, points)).mark_line(opacity=0.55, strokeWidth=1.5)
    mark = alt.Chart(_data(sets, best)).mark_point(filled=True, size=60, opacity=1)
    layers = [
        line.encode(x=x, y=y, color=colour, detail="key:N", tooltip=tips),
        mark.encode(x=x, y=y, color=colour, tooltip=tips),
    ]
    return _finished(layers, sets, f"Validation loss · {board_title(board)}", 220)


# --- shared -----------------------------------------------------------------------------------------------------------


def _colour(board: Board, rows: Sequence[Summary]) -> alt.Color:
    """Return the colours of `rows`; a row has the same one in every chart of its board."""
    own = {row.label: PALETTE[i % len(PALETTE)] for i, row in enumerate(r for r in board.rows if not _is_rule(r))}
    labels = [row.label for row in rows]
    colours = [own.get(label, RULE) for label in labels]
    legend = alt.Legend(title=None, orient="bottom", labelLimit=140, symbolType="circle", symbolOpacity=1)
    return alt.Color("row:N", sort=labels, scale=alt.Scale(domain=labels, range=colours), legend=legend)


def _tip(field: str, title: str | None = None) -> alt.Tooltip:
    return alt.Tooltip(f"{field}:N", title=title or field)


def _mean_tips(metric: str) -> list[alt.Tooltip]:
    exact = [_tip("exact", "exact mean"), _tip("trials"), _tip("stored", "stored parameters")]
    return [_tip("row"), _tip("text", metric), *exact]


def _data(sets: Sets, rows: Sequence[Mapping[str, Any]]) -> alt.NamedData:
    """Put the rows among the chart's data; by name, since Altair copies data that stand in a chart many times."""
    name = f"data-{len(sets)}"
    sets[name] = [dict(row) for row in rows]
    return alt.NamedData(name=name)


def _finished(layers: Sequence[alt.Chart], sets: Sets, title: str, height: int) -> Spec:
    chart = alt.LayerChart(layer=list(layers))
    sized = chart.properties(width=560, height=height, title=alt.TitleParams(title, anchor="start", fontSize=12))
    spec: Spec = sized.to_dict(
        validate=False
    )  # the tests draw every kind of chart, and checking takes longer than drawing
    spec.pop("$schema", None)
    return spec | {"datasets": sets, "config": {"legend": {"columns": 4}}}


def on_page(spec: Spec) -> Spec:
    """Return `spec` as wide as its container, without title (the page has a heading) and colours (charts.js)."""
    kept = {key: value for key, value in spec.items() if key not in ("title", "config")}
    return kept | {"width": "container", "autosize": {"type": "fit-x", "contains": "padding"}, "background": None}


def write_figure(figure: Figure, folder: Path) -> None:
    """Write NAME.svg and NAME.png, on white."""
    svg = _renumbered(vl_convert.vegalite_to_svg(figure.spec | {"background": "white"}))
    (folder / f"{figure.name}.svg").write_text(svg, encoding="utf-8")
    (folder / f"{figure.name}.png").write_bytes(vl_convert.svg_to_png(svg, scale=2))


def _renumbered(svg: str) -> str:
    """Number the clip paths from 0: Vega counts them over all charts of the process, so equal charts would differ."""
    numbers = {old: str(i) for i, old in enumerate(dict.fromkeys(re.findall(r'id="clip(\d+)"', svg)))}
    return re.sub(r'(?<=id="clip)\d+(?=")|(?<=url\(#clip)\d+(?=\))', lambda found: numbers.get(found[0], found[0]), svg)
