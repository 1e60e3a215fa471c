"""Board -> the chart of the primary score against stored parameters, every trial a dot."""

from __future__ import annotations

import math
from collections.abc import Sequence

from featherbench.reports.blocks import Spec
from featherbench.reports.boards import ALL, UNTUNED, Board, Summary
from featherbench.reports.charts.parts import (
    Part,
    bounded,
    chart,
    layer,
    level_layers,
    log_number,
    number,
    row_colours,
    row_hue,
    scored,
    tips,
)
from featherbench.reports.charts.strip import scale, values
from featherbench.reports.tables import board_title
from featherbench.reports.text import MISSING, number_text

SHIFT, WIDEST = 16, 44
"""Pixels between rows whose sizes are too close to tell apart, and from the first to the last of many"""
DOTS, MEAN = -4, 3
"""Pixels by which a row's trials stand left of its size and its mean right of it"""
CLOSE = 0.06
"""Sizes whose decimal logarithms differ by less are drawn side by side"""


def parameters_chart(board: Board) -> Spec | None:
    """Return the primary score against stored parameters; None if no row has both.

    Default configurations beside rows with a search are left out: they would stand where these do.
    """
    drawn = [row for row in board.rows if drawable(board, row) and not row.is_default]
    if board.primary is None or not drawn:
        return None
    ends = scale(drawn, board.primary, ALL)
    assert ends is not None
    pad = 0.06 * (ends[1] - ends[0])
    shown = {"domain": [ends[0] - pad, ends[1] + pad], "zero": False, "nice": False}
    sized = [row for row in drawn if not _stores_nothing(row)]
    layers = [layer for shift, rows in _shifted(sized) for layer in _layers(board, rows, shift, sized, shown)]
    if free := [row for row in drawn if _stores_nothing(row)]:
        y = number("mean", f"{board.primary}, {board.key.evaluated}", scale=shown)
        layers += level_layers([_mean(row, board.primary) for row in free], y, _mean_tips(board.primary))
    return chart(layers, 340, board_title(board))


def drawable(board: Board, row: Summary) -> bool:
    """True if the row has a primary score and a place on the size axis (or is a horizontal rule)."""
    if board.primary is None or row.scores[board.primary, ALL].mean is None:
        return False
    return _stores_nothing(row) or (row.costs["stored_parameters"].value or 0) > 0


def _stores_nothing(row: Summary) -> bool:
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
        apart = min(SHIFT, WIDEST / max(1, len(cluster) - 1))
        for i, row in enumerate(cluster):
            shifts.setdefault(round(apart * (i - (len(cluster) - 1) / 2)), []).append(row)
    return sorted(shifts.items())


def _layers(board: Board, rows: Sequence[Summary], shift: int, sized: Sequence[Summary], shown: Part) -> list[Part]:
    """Return interval, trials and mean of rows that share a shift."""
    metric = board.primary
    assert metric is not None
    means = [_mean(row, metric) for row in rows]
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
    shared = {
        "x": log_number("size", "stored parameters", [_size(row) for row in sized]),
        "color": row_hue([row.label for row in sized], row_colours(board.rows)),
    }
    low, score, mean = (
        number(field, f"{metric}, {board.key.evaluated}", scale=shown) for field in ("low", "score", "mean")
    )
    told = _mean_tips(metric)
    trial = tips(row="row", trial="trial", exact=metric, stored="stored parameters")
    right, left = {"clip": True, "xOffset": shift + MEAN}, {"clip": True, "xOffset": shift + DOTS}
    diamond = {"shape": "diamond", "size": 90, "filled": True, "opacity": 1}
    return [
        layer(bounded(means), "rule", right | {"strokeWidth": 2}, y=low, y2={"field": "high"}, tooltip=told, **shared),
        layer(dots, "circle", left | {"size": 36, "opacity": 1, "fillOpacity": 0.6}, y=score, tooltip=trial, **shared),
        layer(means, "point", right | diamond, y=mean, tooltip=told, **shared),
    ]


def _mean(row: Summary, metric: str) -> Part:
    size = {"row": row.label, "size": row.costs["stored_parameters"].value, "stored": _count(row)}
    return size | scored(row.scores[metric, ALL]) | {"trials": str(row.counts.counted)}


def _count(row: Summary) -> str:
    value = row.costs["stored_parameters"].value
    return MISSING if value is None else number_text(value)


def _mean_tips(metric: str) -> list[Part]:
    return tips(row="row", text=metric, exact="exact mean", trials="trials", stored="stored parameters")
