"""Board -> the chart of every counted trial's validation loss."""

from __future__ import annotations

from featherbench.reports.blocks import Spec
from featherbench.reports.boards import Board
from featherbench.reports.charts.parts import chart, layer, number, row_colours, row_hue, tips
from featherbench.reports.losses import best_loss
from featherbench.reports.tables import board_title

LOG_FROM = 20
"""Losses that differ by a larger factor are drawn on a logarithmic axis"""


def loss_chart(board: Board) -> Spec | None:
    """Return a line a trial with the step marked whose weights are kept; None without a curve."""
    runs = [(row.label, run) for row in board.rows for run in row.counted]
    points = [
        {"row": label, "trial": run.name, "key": run.trial_id, "step": step, "loss": loss, "exact": repr(loss)}
        for label, run in runs
        for step, loss in run.losses
    ]
    if not points:
        return None
    best = [
        {"row": label, "trial": run.name, "step": run.best_step, "loss": loss, "exact": repr(loss)}
        for label, run in runs
        if (loss := best_loss(run)) is not None
    ]
    losses = [loss for _, run in runs for _, loss in run.losses]
    kind = "log" if min(losses) > 0 and max(losses) > LOG_FROM * min(losses) else "linear"
    labels = list(dict.fromkeys(label for label, run in runs if run.losses))
    axis = {"format": "d", "tickMinStep": 1, "tickCount": 8, "grid": False}
    shared = {
        "x": number("step", "optimiser step", axis=axis),
        "y": number("loss", "validation loss", scale={"type": kind, "zero": False}),
        "color": row_hue(labels, row_colours(board.rows)),
        "tooltip": tips(row="row", trial="trial", step="step", exact="validation loss"),
    }
    each = {"field": "key", "type": "nominal"}
    layers = [
        layer(points, "line", {"strokeOpacity": 0.55, "strokeWidth": 1.5}, detail=each, **shared),
        layer(best, "point", {"filled": True, "size": 60, "opacity": 1}, **shared),
    ]
    return chart(layers, 220, f"Validation loss · {board_title(board)}")
