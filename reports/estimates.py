"""Estimates and paired differences -> fields of tables that tell both intervals (protocol 1.1)."""

from __future__ import annotations

from dataclasses import replace

from featherbench.reports.blocks import Entry
from featherbench.reports.boards import Board, Summary
from featherbench.reports.comparisons import Difference
from featherbench.reports.interval import Estimate
from featherbench.reports.statistics import FULL_UNITS
from featherbench.reports.tables import estimate_entry
from featherbench.reports.text import MISSING, half_width_text

REFERENCE = "full_ft"
"""Method that differences are taken to"""
HOW_TO_READ = (
    "“a ± b” is the mean over seeds, or over draws of the training pairs where these are drawn anew, with its 95 % "
    "interval for new inputs: how far other seeds (or draws) and other items of the same kind could move it. The second "
    "line has the half width for this test set alone: other seeds (or draws) on these very items. A score that is no "
    "function of sums over items has the latter only, and says so. Differences are paired: the same seeds or draws on "
    "both sides, and the same items. They carry no p and no star: those belong to the plan's headline list."
)


def interval_entry(value: Estimate, *, signed: bool = False) -> Entry:
    """Return mean ± half width for new inputs with the half width for this test set below it; a difference is `signed`."""
    shown = estimate_entry(value)
    above = signed and value.mean is not None and value.mean > 0 and shown.text.split(" ")[0].strip("0.")
    notes = [_test_set(value), value.note]
    return replace(
        shown,
        text=f"+{shown.text}" if above else shown.text,
        note="; ".join(note for note in notes if note),
        parts={**shown.parts, "half width, this test set": value.test_set},
    )


def _test_set(value: Estimate) -> str:
    if value.half_width is None or value.test_set is None:
        return ""
    return f"± {half_width_text(value.test_set)} on this test set" if value.items else "this test set only"


def difference_entry(found: Difference) -> Entry:
    """Return a paired difference with both intervals."""
    value = Estimate(units=len(found.units), mean=found.estimate, half_width=None, note=found.note)
    if found.found is not None:
        half, over_units = (float(i.high - i.low) / 2 for i in (found.found.primary, found.found.test_set))
        few = f"few {found.unit}s: {len(found.units)} of at least {FULL_UNITS}" if found.found.primary.few else ""
        note = "; ".join(part for part in (few, found.note) if part)
        value = replace(value, half_width=half, test_set=over_units, items=found.found.primary.items, note=note)
    return interval_entry(value, signed=True)


def reference(board: Board) -> Summary | None:
    """Return the board's row of full fine-tuning: that of the plain name, else the first; None if none has a trial."""
    rows = [row for row in board.rows if row.cell.method == REFERENCE and row.counted]
    return min(rows, key=lambda row: row.cell.row != REFERENCE, default=None)


def missing(reason: str) -> Entry:
    """Return an empty field with its reason."""
    return Entry(text=MISSING, note=reason)
