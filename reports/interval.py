"""Values of independent units -> mean and 95 % intervals (statistics.py), or the reason why there are none."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from featherbench.reports.statistics import FULL_UNITS, LEAST_UNITS, Array, intervals


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over units (seeds or draws); never NaN."""

    units: int
    mean: float | None
    half_width: float | None
    """Of the 95 % t interval for new inputs, or for this test set where `items` is None; None with fewer than three units"""
    note: str = ""
    """Why the mean or the interval is missing, or how it is restricted"""
    test_set: float | None = None
    """Half width of the 95 % t interval over units alone: how far other seeds move the mean on these very items"""
    items: int | None = None
    """Inputs that the interval is over, beside the units; None: it speaks of this test set only"""

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Lower and upper end of the interval."""
        if self.mean is None or self.half_width is None:
            return None
        return self.mean - self.half_width, self.mean + self.half_width


def estimate(values: Sequence[float], unit: str = "seed", psi: Array | None = None) -> Estimate:
    """Return the mean of n units with its intervals.

    Shapes: values [units]; psi [units, items], pseudo-values of a corpus score, None if it has no sums over items.
    """
    n = len(values)
    if n == 0:
        return Estimate(units=0, mean=None, half_width=None, note="no value")
    if n < LEAST_UNITS:
        note = f"{n} {unit}{'s' * (n > 1)}: no interval below {LEAST_UNITS}"
        return Estimate(units=n, mean=statistics.fmean(values), half_width=None, note=note)
    found = intervals(values, psi if psi is not None and psi.shape[-1] > 1 else None)
    half, over_units = (float(part.high - part.low) / 2 for part in (found.primary, found.test_set))
    return Estimate(
        units=n,
        mean=statistics.fmean(values),
        half_width=half,
        note=f"few {unit}s: {n} of at least {FULL_UNITS}" if found.test_set.few else "",
        test_set=over_units,
        items=found.primary.items,
    )
