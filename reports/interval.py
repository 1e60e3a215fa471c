"""Values of independent units -> mean and 95 % interval."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

LEVEL = 0.95
RANKED_FROM = 3
"""Units below which a row is marked as not ranked: with 2 the half width is 9 standard deviations"""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over units (seeds or draws); never NaN."""

    units: int
    mean: float | None
    half_width: float | None
    """Of the 95 % t interval; None with fewer than two units"""
    note: str = ""
    """Why the mean or the interval is missing, or how it is restricted"""

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Lower and upper end of the interval."""
        if self.mean is None or self.half_width is None:
            return None
        return self.mean - self.half_width, self.mean + self.half_width


def estimate(values: Sequence[float], unit: str = "seed") -> Estimate:
    """Return mean ± t(0.975, n - 1) · s / sqrt(n) of the values of n independent units."""
    n = len(values)
    if n == 0:
        return Estimate(units=0, mean=None, half_width=None, note="no value")
    mean = statistics.fmean(values)
    if n == 1:
        return Estimate(units=1, mean=mean, half_width=None, note=f"1 {unit}: no interval")
    quantile = float(stats.t.ppf((1 + LEVEL) / 2, n - 1))
    return Estimate(units=n, mean=mean, half_width=quantile * statistics.stdev(values) / math.sqrt(n))
