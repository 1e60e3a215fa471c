"""The protocol's statistics as pure functions of arrays: intervals, tests, ranks, claims, curves. Reads no store.

Axes of every array, from the left: repeats (any number, also none), methods, units, items. A unit is what was drawn
anew: a seed, or a low-data draw with its trials averaged. Values are in the score's own points. An array without axes of
repeats gives single numbers. Sections are those of protocol 1; interval, p, rank and claim come from one standard error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

Array = NDArray[np.float64]
Values = np.float64 | Array

ALPHA, POWER = 0.05, 0.8
LEAST_UNITS, FULL_UNITS = 3, 5
"""No interval below the first; a mark below the second (1.1)"""
SIGN_FLIP_FROM = 8
"""Blocks from which the sign-flip check is shown (1.2)"""
HEADLINE_MOST = 6
"""Longest headline list (1.2)"""
LOOKS, LOOK_ALPHA = (5, 8, 12, 16), 0.0167
"""Numbers of units at which a claim may be looked at, and the error of each look (1.2)"""
STUDIES_FROM = 3
"""Independently scrambled searches from which a curve has a band (1.5)"""
TASKS_FROM = 5
"""Tasks from which scores are summed up over tasks (1.2)"""
MOST_UNITS = 1000
"""Where the search for a sufficient number of units ends"""


def _checked(values: ArrayLike, axes: Sequence[str]) -> Array:
    """Return the values as an array whose last axes are `axes`; NaN is a mistake of the caller."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim < len(axes):
        raise ValueError(f"expected values by {' and '.join(axes)}, got the shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("a value is not finite: leave the unit out, or score step 0 of a trial that diverged")
    return array


def _number(values: ArrayLike) -> Values:
    """Return a number for an array without axes, else the array."""
    found: Values = np.asarray(values, dtype=np.float64)[()]
    return found


# --- intervals (1.1) ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate with its standard error, and the t interval and p that follow from the two.

    Numbers for one experiment, arrays over repeats for many. A standard error of 0 gives an interval of no width.
    """

    estimate: Values
    standard_error: Values
    degrees_of_freedom: Values
    level: float
    low: Values
    high: Values
    p: Values
    """Two-sided, against 0"""
    units: int
    items: int | None
    """None: over units alone, so it speaks of this test set and not of new inputs"""

    def __neg__(self) -> Interval:
        """Return the interval of the opposite difference."""
        return replace(self, estimate=-self.estimate, low=-self.high, high=-self.low)

    @property
    def few(self) -> bool:
        """True where units are so few that the page marks the interval."""
        return self.units < FULL_UNITS

    def at(self, level: float) -> Interval:
        """Return the same estimate with an interval of another level."""
        return t_interval(
            self.estimate,
            self.standard_error,
            self.degrees_of_freedom,
            units=self.units,
            items=self.items,
            level=level,
        )

    def p_above(self, value: float) -> Values:
        """Return the one-sided p of "the true value is above `value`"."""
        return _number(stats.t.sf(_t(self, value), self.degrees_of_freedom))

    def p_below(self, value: float) -> Values:
        """Return the one-sided p of "the true value is below `value`"."""
        return _number(stats.t.cdf(_t(self, value), self.degrees_of_freedom))


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """The two estimands side by side."""

    new_inputs: Interval | None
    """Crossed seed x item; None where the score has no additive statistics"""
    test_set: Interval
    """Over units alone: for comparison with papers"""

    @property
    def primary(self) -> Interval:
        """What p, ranks and claims use."""
        return self.new_inputs or self.test_set

    def __neg__(self) -> Intervals:
        """Return the intervals of the opposite difference."""
        return Intervals(new_inputs=-self.new_inputs if self.new_inputs else None, test_set=-self.test_set)


def _t(interval: Interval, value: float) -> Array:
    """Return (estimate - value) / standard error; without error 0 or infinite."""
    distance = np.asarray(interval.estimate - value, dtype=np.float64)
    error = np.asarray(interval.standard_error)
    certain = np.where(distance == 0, 0.0, np.copysign(np.inf, distance))
    return np.divide(distance, error, out=certain, where=error > 0)


def t_interval(
    estimate: ArrayLike,
    standard_error: ArrayLike,
    degrees_of_freedom: ArrayLike,
    *,
    units: int,
    items: int | None = None,
    level: float = 1 - ALPHA,
) -> Interval:
    """Return estimate ± t((1 + level) / 2, df) · standard error, and p from the same three (1.1)."""
    centre, error, df = (np.asarray(v, dtype=np.float64) for v in (estimate, standard_error, degrees_of_freedom))
    half = stats.t.ppf((1 + level) / 2, df) * error
    certain = np.where(centre == 0, 0.0, np.inf)
    ratio = np.divide(np.abs(centre), error, out=certain, where=error > 0)
    return Interval(
        estimate=_number(centre),
        standard_error=_number(error),
        degrees_of_freedom=_number(df),
        level=level,
        low=_number(centre - half),
        high=_number(centre + half),
        p=_number(2 * stats.t.sf(ratio, df)),
        units=units,
        items=items,
    )


def _enough(units: int) -> None:
    if units < LEAST_UNITS:
        raise ValueError(
            f"{units} units are too few for an interval: at least {LEAST_UNITS}, {FULL_UNITS} without a mark"
        )


def over_units(values: ArrayLike, *, level: float = 1 - ALPHA) -> Interval:
    """Return mean ± t(df = S - 1) · s / √S: the mean on this very test set (1.1).

    Shape: values [..., units]. Raises: ValueError with fewer than three units.
    """
    scores = _checked(values, ["unit"])
    units = scores.shape[-1]
    _enough(units)
    error = scores.std(axis=-1, ddof=1) / math.sqrt(units)
    return t_interval(scores.mean(axis=-1), error, np.full(error.shape, units - 1.0), units=units, level=level)


def pseudo_values(whole: ArrayLike, left_out: ArrayLike) -> Array:
    """Return the jackknife's N · θ - (N - 1) · θ(without item i), whose mean over items stands for θ (1.1).

    Shapes: whole [..., units], scores of all N items; left_out [..., units, items], scores without the item.
    """
    without = _checked(left_out, ["unit", "item"])
    items = without.shape[-1]
    return items * _checked(whole, ["unit"])[..., None] - (items - 1) * without


def mean_squares(psi: ArrayLike) -> tuple[Array, Array, Array]:
    """Return (MSs, MSi, MSe): mean squares of units, of items, and of what is left (1.1).

    Shape: psi [..., units, items]. Source: two-way layout without replication.
    """
    values = _checked(psi, ["unit", "item"])
    units, items = values.shape[-2:]
    rows, columns = values.mean(axis=-1), values.mean(axis=-2)
    left = values - rows[..., :, None] - columns[..., None, :] + rows.mean(axis=-1)[..., None, None]
    rest = np.einsum("...si,...si->...", left, left) / ((units - 1) * (items - 1))
    return items * rows.var(axis=-1, ddof=1), units * columns.var(axis=-1, ddof=1), rest


def crossed(psi: ArrayLike, *, centre: ArrayLike | None = None, level: float = 1 - ALPHA) -> Interval:
    """Return the t interval for new seeds and new inputs, from crossed seed × item variance (1.1).

    v = (MSs + MSi - MSe) / (S · N) with Satterthwaite's degrees of freedom, S - 1 at least; where v ≤ 0, MSs / (S · N).
    Shapes: psi [..., units, items], pseudo-values or influences of a score or of a difference of two; centre [...], the
    mean corpus score, which goes before the mean of psi. Raises: ValueError with fewer than three units or two items.
    """
    values = _checked(psi, ["unit", "item"])
    units, items = values.shape[-2:]
    _enough(units)
    if items < 2:
        raise ValueError("one item says nothing of new inputs: use the interval over units")
    by_unit, by_item, rest = (square / (units * items) for square in mean_squares(values))
    variance = by_unit + by_item - rest
    weight = by_unit**2 / (units - 1) + by_item**2 / (items - 1) + rest**2 / ((units - 1) * (items - 1))
    usable = (variance > 0) & (weight > 0)
    df = np.divide(variance**2, weight, out=np.full(variance.shape, units - 1.0), where=usable)
    estimate = values.mean(axis=(-2, -1)) if centre is None else centre
    error = np.sqrt(np.where(variance > 0, variance, by_unit))
    return t_interval(estimate, error, np.maximum(df, units - 1), units=units, items=items, level=level)


def intervals(scores: ArrayLike, psi: ArrayLike | None = None, *, level: float = 1 - ALPHA) -> Intervals:
    """Return both intervals of the mean score, or of a paired difference of scores (1.1).

    Shapes: scores [..., units]; psi [..., units, items], None for a score without additive statistics. A paired
    difference is `intervals(ours - theirs, psi_ours - psi_theirs)`, rows being the same seeds and columns the same items.
    """
    test_set = over_units(scores, level=level)
    if psi is None:
        return Intervals(new_inputs=None, test_set=test_set)
    if np.shape(psi)[:-1] != np.shape(scores):
        raise ValueError(f"scores {np.shape(scores)} and item statistics {np.shape(psi)} differ in units")
    return Intervals(new_inputs=crossed(psi, centre=test_set.estimate, level=level), test_set=test_set)


def gap_influences(unseen: ArrayLike, seen: ArrayLike) -> Array:
    """Return pseudo-values of θ(unseen) - θ(seen) over the items of both, for `crossed` (1.1, claim C3).

    Shapes: unseen [..., units, items], seen [..., units, other items] -> [..., units, all items].
    """
    parts = [_checked(part, ["unit", "item"]) for part in (unseen, seen)]
    items = sum(part.shape[-1] for part in parts)
    means = [part.mean(axis=-1, keepdims=True) for part in parts]
    around = [items / part.shape[-1] * (part - mean) for part, mean in zip(parts, means, strict=True)]
    return means[0] - means[1] + np.concatenate([around[0], -around[1]], axis=-1)


# --- tests (1.2) ----------------------------------------------------------------------------------------------------


def block_means(values: ArrayLike, blocks: Sequence[object]) -> Array:
    """Return the mean of each block, in order of first appearance: nested trials are averaged, never counted (1.2).

    Shapes: values [trials, ...], blocks: the block of each trial -> [blocks, ...].
    """
    array = _checked(values, ["trial"])
    if len(blocks) != len(array):
        raise ValueError(f"{len(array)} trials and {len(blocks)} blocks")
    rows: dict[object, list[int]] = {}
    for row, block in enumerate(blocks):
        rows.setdefault(block, []).append(row)
    return np.stack([array[found].mean(axis=0) for found in rows.values()])


def sign_flip(differences: ArrayLike) -> float | None:
    """Return the exact two-sided p of the mean under all changes of signs; None below eight blocks (1.2).

    Shape: differences [blocks], at most 40. The sums of all signs of either half are sorted and counted together.
    """
    values = np.abs(given := _checked(differences, ["block"]))
    if given.ndim != 1 or len(given) > 40:
        raise ValueError(f"expected the differences of at most 40 blocks, got the shape {given.shape}")
    if len(given) < SIGN_FLIP_FROM:
        return None
    half = len(values) // 2
    first, second = (_signed_sums(part) for part in (values[:half], values[half:]))
    limit = abs(given.sum()) - 1e-9 * values.sum()
    second = np.sort(second)
    above = len(second) - np.searchsorted(second, limit - first, side="left")
    below = np.searchsorted(second, -limit - first, side="right")
    return float(min(1.0, (above.sum() + below.sum()) / 2.0 ** len(values)))


def _signed_sums(values: Array) -> Array:
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums - value, sums + value])
    return sums


def largest_family(blocks: int, alpha: float = ALPHA) -> int:
    """Return the most comparisons of which a sign-flip test over these blocks can reject one under Holm (1.2)."""
    return math.floor(alpha * 2 ** (blocks - 1))


def holm(p: ArrayLike) -> Array:
    """Return Holm's adjusted p of each comparison: at most α means rejected within the family (1.2).

    Shape: p [..., comparisons]. Source: Holm 1979.
    """
    values = _checked(p, ["comparison"])
    size = values.shape[-1]
    order = np.argsort(values, axis=-1, kind="stable")
    raised = np.take_along_axis(values, order, axis=-1) * np.arange(size, 0, -1)
    adjusted = np.empty_like(values)
    np.put_along_axis(adjusted, order, np.minimum(np.maximum.accumulate(raised, axis=-1), 1.0), axis=-1)
    return adjusted


def headline(p: Mapping[str, float]) -> dict[str, float]:
    """Return Holm's adjusted p by comparison of the plan's headline list (1.2). Raises: ValueError above six."""
    if len(p) > HEADLINE_MOST:
        raise ValueError(f"a headline list has at most {HEADLINE_MOST} comparisons, not {len(p)}: take some out")
    return dict(zip(p, holm(list(p.values())).tolist(), strict=True)) if p else {}


def look_alpha(units: int) -> float:
    """Return the error that a look at this many units may have when more can follow (1.2). Raises: ValueError."""
    if units not in LOOKS:
        raise ValueError(
            f"{units} units are no look: add units until {', '.join(map(str, LOOKS))}, or fix their number"
        )
    return LOOK_ALPHA


@dataclass(frozen=True, kw_only=True)
class Equivalence:
    """Two one-sided tests against a declared margin."""

    margin: float
    alpha: float
    p: Values
    """The larger of the two one-sided"""
    low: Values
    high: Values
    """Of the interval of level 1 - 2α: within ± margin exactly where p < α"""

    @property
    def holds(self) -> np.bool_ | NDArray[np.bool_]:
        """True where the true value is shown to lie within ± margin."""
        return self.p < self.alpha


def equivalence(interval: Interval, margin: float, *, alpha: float = ALPHA) -> Equivalence:
    """Return the two one-sided tests of |true value| < margin (1.2, claim C2). Raises: ValueError if margin ≤ 0."""
    if not margin > 0:
        raise ValueError(f"the margin must be above 0, not {margin}")
    inner = interval.at(1 - 2 * alpha)
    p = np.maximum(interval.p_above(-margin), interval.p_below(margin))
    return Equivalence(margin=margin, alpha=alpha, p=_number(p), low=inner.low, high=inner.high)


# --- ranks (1.3) ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """Simultaneous rank intervals; [..., methods]."""

    low: NDArray[np.int64]
    """1 + number of methods that are significantly better"""
    high: NDArray[np.int64]
    """Number of methods minus those that are significantly worse"""
    beaten_by: NDArray[np.bool_]
    """[..., methods, methods]: True where the second one is significantly better than the first"""

    @property
    def not_beaten(self) -> NDArray[np.bool_]:
        """True for methods that no other is significantly better than."""
        return self.low == 1


def ranks(
    scores: ArrayLike, psi: ArrayLike | None = None, *, higher_is_better: bool = True, alpha: float = ALPHA
) -> Ranks:
    """Return the rank interval of every method from all paired differences, Holm over all pairs (1.3).

    Shapes: scores [..., methods, units], psi [..., methods, units, items] or None; all methods on the same seeds.
    """
    values = _checked(scores, ["method", "unit"])
    methods = values.shape[-2]
    better = np.zeros((*values.shape[:-1], methods), dtype=np.bool_)
    first, second = np.triu_indices(methods, 1)
    if len(first):
        items = None if psi is None else _checked(psi, ["method", "unit", "item"])
        between = None if items is None else items[..., second, :, :] - items[..., first, :, :]
        found = intervals(values[..., second, :] - values[..., first, :], between).primary
        sign = np.sign(found.estimate) if higher_is_better else -np.sign(found.estimate)
        apart = holm(found.p) <= alpha
        better[..., first, second] = apart & (sign > 0)
        better[..., second, first] = apart & (sign < 0)
    return Ranks(low=1 + better.sum(axis=-1), high=methods - better.sum(axis=-2), beaten_by=better)


# --- what a design can show (1.6) -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The two parts of a mean's variance: unit_sd² / S + item_error²."""

    unit_sd: float
    """Standard deviation of the paired difference between units, in points"""
    item_error: float
    """sd(c) / √N: what no number of units takes away; 0 for this test set"""
    units: int
    items: int | None

    def planned(self, level: float = 0.8) -> Spread:
        """Return the spread with the upper limit of the unit's standard deviation, to plan with (1.6)."""
        df = self.units - 1
        factor = math.sqrt(df / float(stats.chi2.ppf(1 - level, df)))
        return Spread(unit_sd=factor * self.unit_sd, item_error=self.item_error, units=self.units, items=self.items)

    def error(self, units: int) -> tuple[float, float]:
        """Return standard error and degrees of freedom of a mean over so many units."""
        by_unit, by_item = self.unit_sd**2 / units, self.item_error**2
        weight = by_unit**2 / (units - 1) + (by_item**2 / (self.items - 1) if self.items else 0.0)
        df = (by_unit + by_item) ** 2 / weight if weight > 0 else units - 1.0
        return math.sqrt(by_unit + by_item), max(df, units - 1.0)


def spread(scores: ArrayLike, psi: ArrayLike | None = None) -> Spread:
    """Return the spread of one paired difference (1.6). Shapes: scores [units], psi [units, items] or None."""
    values = _checked(scores, ["unit"])
    units = len(values)
    _enough(units)
    if psi is None:
        return Spread(unit_sd=float(values.std(ddof=1)), item_error=0.0, units=units, items=None)
    by_unit, by_item, rest = mean_squares(psi)
    items = np.shape(psi)[-1]
    return Spread(
        unit_sd=math.sqrt(by_unit / items),
        item_error=math.sqrt(max(0.0, float(by_item - rest)) / (units * items)),
        units=units,
        items=items,
    )


@lru_cache(maxsize=1)
def _quadrature() -> tuple[Array, Array]:
    return np.polynomial.legendre.leggauss(400)


def power(effect: float, standard_error: float, degrees_of_freedom: float, alpha: float = ALPHA) -> float:
    """Return how often the two-sided t test finds an effect of this size: both tails of the noncentral t (1.6).

    The normal's tails are averaged over the estimated standard error, since scipy's noncentral t is NaN far out.
    """
    nodes, weights = _quadrature()
    estimated = np.sqrt(stats.chi2.ppf((nodes + 1) / 2, degrees_of_freedom) / degrees_of_freedom)
    limit, shift = stats.t.ppf(1 - alpha / 2, degrees_of_freedom) * estimated, effect / standard_error
    return float(weights @ (special.ndtr(shift - limit) + special.ndtr(-shift - limit)) / 2)


def detectable(standard_error: float, degrees_of_freedom: float, *, family: int = 1, alpha: float = ALPHA) -> float:
    """Return the smallest difference found in 80 % of experiments, at α / family (1.6); exact."""
    if standard_error == 0:
        return 0.0
    df, each = degrees_of_freedom, alpha / family
    near = float(stats.t.ppf(1 - each / 2, df) + stats.t.ppf(POWER, df))
    return standard_error * float(optimize.brentq(lambda x: power(x, 1.0, df, each) - POWER, 0.5 * near, 2 * near))


def reachable_margin(standard_error: float, degrees_of_freedom: float, *, alpha: float = ALPHA) -> float:
    """Return the margin that two one-sided tests reach in 80 % of experiments where there is no difference (1.6)."""
    df = degrees_of_freedom
    return standard_error * float(stats.t.ppf(1 - alpha, df) + stats.t.ppf((1 + POWER) / 2, df))


def item_floor(found: Spread, *, family: int = 1, alpha: float = ALPHA) -> float:
    """Return the difference that stays undetectable with any number of units: 2.8 · sd(c) / √N at α = .05 (1.6)."""
    return float(stats.norm.ppf(1 - alpha / (2 * family)) + stats.norm.ppf(POWER)) * found.item_error


def units_needed(found: Spread, effect: float, *, family: int = 1, alpha: float = ALPHA) -> int | None:
    """Return the least number of units that detects `effect`; None: no number of them settles it on this test set (1.6).

    Also None where more than 1,000 would be needed. Give `planned()` spreads to be careful.
    """

    def detects(units: int) -> bool:
        return detectable(*found.error(units), family=family, alpha=alpha) <= effect

    if item_floor(found, family=family, alpha=alpha) >= effect or not detects(MOST_UNITS):
        return None
    low, high = LEAST_UNITS - 1, MOST_UNITS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if detects(middle) else (middle, high)
    return high


# --- claims (4) -----------------------------------------------------------------------------------------------------

Answer = Literal["supported", "equivalent", "not resolved", "contradicted"]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The answer to "ours - theirs is above 0, and by no less than the smallest effect of interest"."""

    answer: Answer
    smallest_effect: float
    interval: Interval
    """Of level 1 - α"""
    p: float
    """Against 0, adjusted where the family was given"""
    equivalence: Equivalence
    """Against ± the smallest effect"""


def claim(found: Interval, smallest_effect: float, *, adjusted_p: float | None = None, alpha: float = ALPHA) -> Claim:
    """Answer one claim: an effect is beyond 0 *and* at least as large as declared, or small, or unknown (4).

    supported: p ≤ α and estimate ≥ smallest effect; contradicted: the same on the other side; equivalent: shown to lie
    within ± the smallest effect at α. `adjusted_p` is Holm's, for a claim of the headline list; at a look, α is
    `look_alpha`. Where lower scores are better, turn the difference round first.
    """
    tested = equivalence(found, smallest_effect, alpha=alpha)
    p = float(found.p) if adjusted_p is None else adjusted_p
    answer: Answer = "not resolved"
    estimate = float(found.estimate)
    if p <= alpha and abs(estimate) >= smallest_effect:
        answer = "supported" if estimate > 0 else "contradicted"
    elif tested.holds:
        answer = "equivalent"
    return Claim(answer=answer, smallest_effect=smallest_effect, interval=found.at(1 - alpha), p=p, equivalence=tested)


# --- expected validation score against budget (1.5) -----------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Expected best validation score of the first n configurations, n = 1, 2, …; each a sequence over n."""

    mean: Array
    low: Array | None
    high: Array | None
    """A t band over studies; None with fewer than three"""
    studies: int


def expected_best(values: ArrayLike, *, higher_is_better: bool = True) -> Array:
    """Return the mean best of every n of the K values, for n = 1…K: the unbiased U estimator (1.5).

    Shape: values [..., configurations] -> [..., configurations].
    """
    ordered = np.sort(_checked(values, ["configuration"]), axis=-1)
    if not higher_is_better:
        ordered = ordered[..., ::-1]
    count = ordered.shape[-1]
    rank, size = np.arange(1, count + 1)[:, None], np.arange(1, count + 1)[None, :]
    return ordered @ (special.comb(rank - 1, size - 1) / special.comb(count, size))


def expected_curve(values: ArrayLike, *, higher_is_better: bool = True, level: float = 1 - ALPHA) -> Curve:
    """Return the curve of one method and its pointwise band over independently scrambled studies (1.5).

    Shape: values [studies, configurations], dev scores; diverged trials count with the score of step 0. At n = 1 the band
    is too narrow where the search space has a cliff: studies of a Sobol net then often agree by chance.
    """
    lines = expected_best(_checked(values, ["study", "configuration"]), higher_is_better=higher_is_better)
    if lines.ndim != 2:
        raise ValueError(f"expected values by study and configuration, got the shape {lines.shape}")
    studies = len(lines)
    if studies < STUDIES_FROM:
        return Curve(mean=lines.mean(axis=0), low=None, high=None, studies=studies)
    band = over_units(lines.T, level=level)
    return Curve(mean=np.asarray(band.estimate), low=np.asarray(band.low), high=np.asarray(band.high), studies=studies)


# --- over tasks (1.2) -----------------------------------------------------------------------------------------------


def _enough_tasks(tasks: int) -> None:
    if tasks < TASKS_FROM:
        raise ValueError(
            f"{tasks} tasks are too few to be summed up: show them side by side, from {TASKS_FROM} on together"
        )


def interquartile_mean(scores: ArrayLike) -> float:
    """Return the mean of the middle half of all tasks' units (1.2). Source: Agarwal et al. 2021, arXiv:2108.13264.

    Shape: scores [tasks, units], on one scale for all tasks. Raises: ValueError with fewer than five tasks.
    """
    values = _checked(scores, ["task", "unit"])
    _enough_tasks(len(values))
    return float(stats.trim_mean(values, 0.25, axis=None))


def probability_of_improvement(ours: ArrayLike, theirs: ArrayLike) -> float:
    """Return the mean over tasks of P(a unit of ours is better than one of theirs), ties as halves (1.2).

    Shapes: ours [tasks, units], theirs [tasks, other units]; higher is better. Source: Agarwal et al. 2021,
    arXiv:2108.13264. Raises: ValueError with fewer than five tasks.
    """
    first, second = (_checked(part, ["task", "unit"]) for part in (ours, theirs))
    if len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} tasks")
    _enough_tasks(len(first))
    return float((1 + np.sign(first[:, :, None] - second[:, None, :])).mean() / 2)
