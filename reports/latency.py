"""Runs -> seconds of decoding per output, and how many times the bare backbone's that is."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from featherbench.harness.records import Cost
from featherbench.reports.boards import UNTUNED, Board, Quantity, Summary
from featherbench.reports.read import Run

MOST_WAITED = 0.1
"""Share of waiting for a processor beyond which seconds are not taken for the method's own"""


def disturbed(cost: Cost) -> bool:
    """Say whether other programs had the processors so much that the seconds are too long; False where not recorded."""
    return (cost.processor_wait or 0.0) > MOST_WAITED


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Seconds per output of a row's trials that were alone on one device; or why there are none."""

    seconds: float | None = None
    device: str = ""
    decoding: str = ""
    note: str = ""


def latency(runs: Sequence[Run]) -> Latency:
    """Return the mean decoding time per output of the runs that were measured alone and undisturbed."""
    kept = [(run, run.cost) for run in runs if run.cost is not None and run.outputs.kept]
    decoded = [(run, cost) for run, cost in kept if cost.decode_seconds > 0]
    undisturbed = [(run, cost) for run, cost in decoded if not disturbed(cost)]
    alone = [(run, cost) for run, cost in undisturbed if cost.pack == 1 and not cost.decode_halvings]
    if not kept:
        return Latency(note="not measured: no cost or no output is kept")
    if not decoded:
        return Latency(note="not measured: no model decodes")
    if not undisturbed:
        return Latency(note="not measured: other programs used the processors meanwhile")
    if not alone:
        packed = all(cost.pack != 1 for _, cost in undisturbed)
        return Latency(
            note=f"not measured: {'trained in packs' if packed else 'no trial decoded alone in whole batches'}"
        )
    devices, settings = {c.device for _, c in alone}, {run.trial.decoding.model_dump_json() for run, _ in alone}
    if len(devices) > 1 or len(settings) > 1:
        return Latency(note=f"not measured: several {'devices' if len(devices) > 1 else 'decoding settings'}")
    return Latency(
        seconds=statistics.fmean(cost.decode_seconds / run.outputs.kept for run, cost in alone),
        device=devices.pop(),
        decoding=settings.pop(),
        note=f"mean of {len(alone)} of {len(runs)} trials" if len(alone) < len(runs) else "",
    )


def bare(board: Board) -> Summary | None:
    """Return the untuned row that overheads are taken to: without task words, if there is such a one."""
    rows = [row for row in board.rows if row.cell.method == UNTUNED and row.counted]
    return min(rows, key=lambda row: bool(row.counted[0].trial.words), default=None)


def overhead(board: Board, row: Summary) -> Quantity:
    """Return a row's latency as a multiple of the bare backbone's on the same device and decoding settings."""
    base = bare(board)
    if base is None:
        return Quantity(value=None, note="not measured: no untuned row here")
    if row is base:
        return Quantity(value=None, note="the bare backbone")
    own, other = latency(row.counted), latency(base.counted)
    for label, one in ((row.label, own), (base.label, other)):
        if one.seconds is None:
            return Quantity(value=None, note=f"{label}: {one.note}")
    if own.device != other.device:
        return Quantity(value=None, note=f"not measured: {own.device} here, {other.device} for {base.label}")
    if own.decoding != other.decoding:
        return Quantity(value=None, note=f"not measured: decoded with other settings than {base.label}")
    assert own.seconds is not None and other.seconds is not None
    return Quantity(value=own.seconds / other.seconds)
