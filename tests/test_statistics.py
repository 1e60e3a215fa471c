"""The protocol's statistics: hand-computed cases, laws, scipy's tests where it has the same ones, and simulations.

The simulations are the protocol's: D[s, i] = δ + b_s + c_i + e_si for the difference of two methods, 10,000 times, with
the numbers of units that plans use. Their Monte Carlo error is ± .4 points at a coverage of 95 %.
"""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from featherbench.reports import statistics as st
from featherbench.reports.statistics import Array

REPEATS, ITEMS = 10_000, 60


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20261121)


# --- intervals ------------------------------------------------------------------------------------------------------


def test_the_crossed_variance_on_hand_numbers():
    """Row means 1.5, 4.5, 4.5; column means 3, 4; residuals 0, 0, -1, 1, 1, -1."""
    psi = [[1, 2], [3, 6], [5, 4]]
    assert [float(m) for m in st.mean_squares(psi)] == pytest.approx([6, 1.5, 2])
    found = st.crossed(psi)
    assert found.estimate == 3.5
    assert found.standard_error**2 == pytest.approx((6 + 1.5 - 2) / 6)
    assert found.degrees_of_freedom == 2, "Satterthwaite gives 1.36; units less one are the floor"
    assert found.high - 3.5 == pytest.approx(4.302653 * math.sqrt(5.5 / 6))
    assert (found.units, found.items, found.few) == (3, 2, True)


def test_a_variance_below_zero_falls_back_to_the_units():
    psi = [[1, 3], [3, 5], [5, 1]]
    assert [float(m) for m in st.mean_squares(psi)] == pytest.approx([2, 0, 6])
    found = st.crossed(psi)
    assert found.standard_error**2 == pytest.approx(2 / 6)
    assert found.degrees_of_freedom == 2


def test_the_crossed_interval_is_the_protocols_formula(rng):
    psi = rng.normal(size=(5, 1)) + 4 * rng.normal(size=(1, 40)) + 3 * rng.normal(size=(5, 40))
    s, n = psi.shape
    rows, columns = psi.mean(1), psi.mean(0)
    residual = psi - rows[:, None] - columns + psi.mean()
    mss, msi, mse = n * rows.var(ddof=1), s * columns.var(ddof=1), (residual**2).sum() / ((s - 1) * (n - 1))
    sn = s * n
    v = (mss + msi - mse) / sn
    df = v**2 / ((mss / sn) ** 2 / (s - 1) + (msi / sn) ** 2 / (n - 1) + (mse / sn) ** 2 / ((s - 1) * (n - 1)))
    found = st.crossed(psi)
    assert found.degrees_of_freedom == pytest.approx(df) and df > s - 1
    assert (found.low, found.high) == pytest.approx(stats.t.interval(0.95, df, psi.mean(), math.sqrt(v)))
    assert found.p == pytest.approx(2 * stats.t.sf(abs(psi.mean()) / math.sqrt(v), df))


def test_over_units_it_is_scipys_t_test(rng):
    values = rng.normal(1, 2, size=6)
    found, expected = st.over_units(values), stats.ttest_1samp(values, 0)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert found.p_above(0.5) == pytest.approx(stats.ttest_1samp(values, 0.5, alternative="greater").pvalue)
    assert found.p_below(0.5) == pytest.approx(stats.ttest_1samp(values, 0.5, alternative="less").pvalue)
    assert found.items is None and not found.few


def test_a_paired_difference_is_the_t_test_of_related_samples(rng):
    ours, theirs = rng.normal(size=(2, 8))
    found, expected = st.intervals(ours - theirs).primary, stats.ttest_rel(ours, theirs)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_items_without_effect_leave_the_interval_over_units(rng):
    """Where items differ in nothing, new inputs and this test set are the same question."""
    values = rng.normal(size=7)
    crossed, units = st.crossed(np.repeat(values[:, None], 20, axis=1)), st.over_units(values)
    assert (crossed.low, crossed.high, crossed.p) == pytest.approx((units.low, units.high, units.p))


@pytest.mark.parametrize("level", [0.9, 0.95, 0.9833])
def test_shift_and_scale_move_the_interval_and_leave_the_p_of_a_shifted_question(rng, level):
    psi = rng.normal(size=(5, 30)) + rng.normal(size=(5, 1))
    plain, moved = st.crossed(psi, level=level), st.crossed(-3 * psi + 7, level=level)
    assert (moved.low, moved.high) == pytest.approx((7 - 3 * plain.high, 7 - 3 * plain.low))
    assert moved.degrees_of_freedom == pytest.approx(plain.degrees_of_freedom)
    assert moved.p_above(7) == pytest.approx(plain.p_below(0))


def test_the_order_of_units_and_items_does_not_count(rng):
    psi = rng.normal(size=(6, 25)) + rng.normal(size=25)
    shuffled = psi[rng.permutation(6)][:, rng.permutation(25)]
    assert st.crossed(shuffled).high == pytest.approx(st.crossed(psi).high)


def test_interval_and_p_agree_at_every_level(rng):
    psi = rng.normal(0.4, 1, size=(400, 5, 20))
    found = st.crossed(psi)
    for level in (0.8, 0.95, 0.9833):
        at = found.at(level)
        assert np.array_equal((at.low > 0) | (at.high < 0), found.p < 1 - level)


def test_many_experiments_at_once_are_the_same_as_one_by_one(rng):
    psi = rng.normal(size=(3, 4, 5, 12))
    together = st.crossed(psi)
    assert together.estimate.shape == (3, 4)
    alone = st.crossed(psi[2, 1])
    assert isinstance(alone.high, float)
    assert (together.low[2, 1], together.high[2, 1], together.p[2, 1]) == (alone.low, alone.high, alone.p)


def test_the_two_estimands_stand_side_by_side(rng):
    psi = rng.normal(size=(5, 50)) + 3 * rng.normal(size=50)
    scores = psi.mean(axis=1) + 0.25
    both = st.intervals(scores, psi)
    assert both.primary is both.new_inputs and both.new_inputs is not None
    assert both.new_inputs.estimate == both.test_set.estimate, "the mean corpus score is the centre of both"
    assert both.new_inputs.standard_error == st.crossed(psi).standard_error
    assert both.new_inputs.standard_error > both.test_set.standard_error
    alone = st.intervals(scores)
    assert alone.new_inputs is None and alone.primary == both.test_set


def test_no_difference_at_all_has_p_1_and_a_constant_one_p_0():
    assert st.over_units([0, 0, 0]).p == 1
    assert st.over_units([2, 2, 2]).p == 0
    assert st.over_units([2, 2, 2]).p_above(2) == 0.5
    assert st.crossed(np.zeros((3, 4))).p == 1


def test_what_cannot_have_an_interval_is_refused_with_the_reason():
    with pytest.raises(ValueError, match="2 units are too few.*at least 3"):
        st.over_units([1.0, 2.0])
    with pytest.raises(ValueError, match="2 units are too few"):
        st.crossed(np.ones((2, 9)))
    with pytest.raises(ValueError, match="one item"):
        st.crossed(np.ones((5, 1)))
    with pytest.raises(ValueError, match="not finite"):
        st.over_units([1.0, math.nan, 2.0])
    with pytest.raises(ValueError, match="by unit and item"):
        st.crossed([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="differ in units"):
        st.intervals(np.ones(5), np.ones((4, 9)))


def test_pseudo_values_of_a_mean_are_the_items_themselves(rng):
    items = rng.normal(size=(3, 10))
    left_out = (items.sum(axis=1, keepdims=True) - items) / 9
    np.testing.assert_allclose(st.pseudo_values(items.mean(axis=1), left_out), items)


def test_the_gap_of_two_item_sets_is_welchs_variance_for_fixed_seeds(rng):
    """With one and the same seed repeated, only items count: var/n of either set, and the difference of means."""
    unseen, seen = rng.normal(1, 1, size=300), rng.normal(0, 3, size=500)
    psi = st.gap_influences(np.tile(unseen, (4, 1)), np.tile(seen, (4, 1)))
    assert psi.shape == (4, 800)
    found = st.crossed(psi)
    assert found.estimate == pytest.approx(unseen.mean() - seen.mean())
    assert found.standard_error == pytest.approx(
        stats.ttest_ind(unseen, seen, equal_var=False)._standard_error, rel=3e-3
    )


def test_the_statistics_load_numpy_and_scipy_only():
    source = Path(st.__file__).read_text()
    found = re.findall(r"^(?:from|import) ([a-z_]+)", source, re.MULTILINE)
    assert set(found) <= {"__future__", "math", "collections", "dataclasses", "functools", "typing", "numpy", "scipy"}


# --- tests ----------------------------------------------------------------------------------------------------------


def test_trials_of_a_block_are_averaged():
    assert st.block_means([1.0, 10.0, 3.0], ["a", "b", "a"]).tolist() == [2, 10]
    assert st.block_means(np.arange(6.0).reshape(3, 2), [7, 7, 1]).tolist() == [[1, 2], [4, 5]]
    with pytest.raises(ValueError, match="3 trials and 2 blocks"):
        st.block_means([1.0, 2.0, 3.0], [0, 1])


def test_the_sign_flip_is_scipys_exact_permutation_test(rng):
    for values in (rng.normal(0.5, 1, size=9), rng.integers(-3, 4, size=8).astype(float)):

        def mean(sample: Array, axis: int) -> Array:
            return np.mean(sample, axis=axis)

        expected = stats.permutation_test(
            (values,), mean, permutation_type="samples", n_resamples=np.inf, vectorized=True
        )
        assert st.sign_flip(values) == pytest.approx(expected.pvalue)


def test_the_sign_flip_counts_every_pattern(rng):
    values = rng.normal(0.3, 1, size=11)
    sums = [
        abs(sum(s * v for s, v in zip(signs, values, strict=True))) for signs in itertools.product((-1, 1), repeat=11)
    ]
    assert st.sign_flip(values) == pytest.approx(np.mean(np.array(sums) >= abs(values.sum()) - 1e-9))
    assert st.sign_flip(np.zeros(8)) == 1
    assert st.sign_flip(np.ones(30)) == pytest.approx(2.0**-29)


def test_the_sign_flip_is_shown_from_eight_blocks():
    assert st.sign_flip(np.ones(7)) is None
    assert st.sign_flip(np.ones(8)) == pytest.approx(1 / 128)
    assert [st.largest_family(s) for s in (5, 6, 7, 8, 9, 10)] == [0, 1, 3, 6, 12, 25], "the protocol's table"


def test_holm_on_hand_numbers():
    assert st.holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert st.holm([0.5, 0.6]).tolist() == [1, 1]
    assert st.headline({"a": 0.03, "b": 0.02}) == pytest.approx({"a": 0.04, "b": 0.04})
    assert st.headline({}) == {}
    with pytest.raises(ValueError, match="at most 6 comparisons, not 7"):
        st.headline({str(i): 0.5 for i in range(7)})


def test_laws_of_holm(rng):
    p = rng.uniform(size=(200, 6)) ** 3
    adjusted = st.holm(p)
    assert (adjusted >= p).all() and (adjusted <= np.minimum(1, 6 * p)).all(), "between no adjustment and Bonferroni"
    order = np.argsort(p, axis=1)
    assert (np.diff(np.take_along_axis(adjusted, order, axis=1)) >= 0).all(), "it keeps the order"
    turn = rng.permutation(6)
    np.testing.assert_array_equal(st.holm(p[:, turn]), adjusted[:, turn])
    smaller = p.copy()
    smaller[:, 2] /= 2
    assert (st.holm(smaller) <= adjusted).all(), "more evidence for one makes no other weaker"
    for row, found in zip(p, adjusted, strict=True):
        rejected = set()
        for step, index in enumerate(np.argsort(row)):
            if row[index] > 0.05 / (6 - step):
                break
            rejected.add(index)
        assert rejected == set(np.flatnonzero(found <= 0.05))


def test_looks_are_declared():
    assert [st.look_alpha(s) for s in (5, 8, 12, 16)] == [0.0167] * 4
    with pytest.raises(ValueError, match="6 units are no look: add units until 5, 8, 12, 16"):
        st.look_alpha(6)


def test_equivalence_is_two_one_sided_tests(rng):
    values = rng.normal(0.1, 0.4, size=8)
    found = st.equivalence(st.over_units(values), 0.5)
    above = stats.ttest_1samp(values, -0.5, alternative="greater").pvalue
    below = stats.ttest_1samp(values, 0.5, alternative="less").pvalue
    assert found.p == pytest.approx(max(above, below))
    assert (found.low, found.high) == pytest.approx(tuple(stats.ttest_1samp(values, 0).confidence_interval(0.9)))
    with pytest.raises(ValueError, match="above 0"):
        st.equivalence(st.over_units(values), 0)


def test_equivalent_means_that_the_90_percent_interval_lies_within_the_margin(rng):
    found = st.crossed(rng.normal(0.1, 1, size=(500, 5, 20)))
    for margin, alpha in itertools.product((0.2, 0.5, 1.0), (0.05, st.LOOK_ALPHA)):
        tested = st.equivalence(found, margin, alpha=alpha)
        assert np.array_equal(tested.holds, (tested.low > -margin) & (tested.high < margin))
    assert (st.equivalence(found, 1.0).p <= st.equivalence(found, 0.5).p).all()


# --- ranks ----------------------------------------------------------------------------------------------------------


def test_ranks_count_who_is_significantly_better():
    noise = np.array([0.1, -0.1, 0.05, 0.0, -0.05])
    found = st.ranks([10 + noise, 50 - noise, 50 + 3 * noise, 90 + noise])
    assert found.low.tolist() == [4, 2, 2, 1]
    assert found.high.tolist() == [4, 3, 3, 1]
    assert found.not_beaten.tolist() == [False, False, False, True]
    lower = st.ranks([10 + noise, 50 - noise, 50 + 3 * noise, 90 + noise], higher_is_better=False)
    assert lower.not_beaten.tolist() == [True, False, False, False]


def test_ranks_of_methods_that_nothing_separates_are_all_ranks():
    found = st.ranks([[1, 2, 3, 4, 5], [5, 4, 3, 2, 1], [2, 4, 1, 5, 3], [3, 1, 5, 2, 4]])
    assert found.low.tolist() == [1] * 4 and found.high.tolist() == [4] * 4 and found.not_beaten.all()
    assert st.ranks([[1.0, 2.0, 3.0]]).high.tolist() == [1]


def test_ranks_follow_the_methods_when_these_are_permuted(rng):
    scores = rng.normal(size=(6, 8)) + np.arange(6)[:, None]
    psi = scores[..., None] + rng.normal(size=(6, 8, 30))
    turn = rng.permutation(6)
    plain, turned = st.ranks(scores, psi), st.ranks(scores[turn], psi[turn])
    assert turned.low.tolist() == plain.low[turn].tolist() and turned.high.tolist() == plain.high[turn].tolist()


def test_ranks_use_item_variance_where_there_is_one(rng):
    scores = np.array([[1.0, 1.1, 0.9, 1.0, 1.05], [0.0, 0.1, 0.0, -0.1, 0.02]])
    assert st.ranks(scores).not_beaten.tolist() == [True, False]
    psi = scores[..., None] + 30 * rng.normal(size=(2, 1, 40))
    assert st.ranks(scores, psi).not_beaten.all()


# --- what a design can show -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("units", "alone", "of_five", "margin"),
    [(5, 1.68, 2.63, 1.6), (6, 1.43, 2.11, None), (8, 1.16, 1.60, 1.15), (10, 1.00, 1.33, 1.0), (16, 0.75, 0.96, 0.77)],
)
def test_detectable_differences_are_the_protocols_table(units, alone, of_five, margin):
    """In standard deviations of the paired difference between units."""
    design = (1 / math.sqrt(units), units - 1.0)
    assert st.detectable(*design) == pytest.approx(alone, abs=0.006)
    assert st.detectable(*design, family=5) == pytest.approx(of_five, abs=0.006)
    if margin is not None:
        assert st.reachable_margin(*design) == pytest.approx(margin, abs=0.05)


def test_power_is_the_noncentral_t(rng):
    for df, effect in ((2, 3.0), (4, 1.0), (15, 2.5), (200, 2.8)):
        limit = stats.t.ppf(0.975, df)
        expected = stats.nct.sf(limit, df, effect) + stats.nct.sf(limit, df, -effect)
        assert st.power(effect, 1.0, df) == pytest.approx(expected, abs=2e-5)
    assert st.power(0.0, 1.0, 4) == pytest.approx(0.05, abs=1e-5)
    assert st.detectable(0.0, 4) == 0


def test_plans_use_the_upper_limit_of_the_spread():
    for units, factor in ((5, 1.56), (8, 1.35)):
        found = st.Spread(unit_sd=2.0, item_error=0.3, units=units, items=100).planned()
        assert found.unit_sd == pytest.approx(2 * factor, abs=0.01) and found.item_error == 0.3


def test_the_spread_reproduces_the_interval_it_came_from(rng):
    psi = rng.normal(size=(5, 1)) + 8 * rng.normal(size=(1, 80)) + rng.normal(size=(5, 80))
    found, interval = st.spread(psi.mean(axis=1), psi), st.crossed(psi)
    error, df = found.error(5)
    assert error == pytest.approx(interval.standard_error)
    assert df == pytest.approx(interval.degrees_of_freedom, rel=0.02)
    alone, units = st.spread(psi.mean(axis=1)), st.over_units(psi.mean(axis=1))
    assert alone.error(5) == pytest.approx((units.standard_error, 4)) and alone.item_error == 0


def test_some_differences_no_number_of_seeds_can_settle():
    found = st.Spread(unit_sd=1.0, item_error=0.5, units=8, items=10_000)
    assert st.item_floor(found) == pytest.approx(2.8 * 0.5, abs=0.002)
    assert st.units_needed(found, 1.39) is None
    needed = st.units_needed(found, 1.6)
    assert needed is not None
    assert st.detectable(*found.error(needed)) <= 1.6 < st.detectable(*found.error(needed - 1))
    test_set = st.Spread(unit_sd=1.0, item_error=0.0, units=8, items=None)
    assert st.units_needed(test_set, 1.16) == 8, "the protocol's table read backwards"
    assert st.units_needed(test_set, 1.0) == 10
    assert st.units_needed(test_set, 50) == 3


# --- claims ---------------------------------------------------------------------------------------------------------


def effect(estimate: float, error: float) -> st.Interval:
    return st.t_interval(estimate, error, 7, units=8)


@pytest.mark.parametrize(
    ("estimate", "error", "answer"),
    [
        (2.0, 0.5, "supported"),
        (-2.0, 0.5, "contradicted"),
        (2.0, 1.5, "not resolved"),
        (0.1, 0.2, "equivalent"),
        (0.3, 0.05, "equivalent"),  # beyond 0, and too small to matter
        (0.9, 0.2, "not resolved"),  # beyond 0, below the smallest effect, not shown to be small
        (1.0, 0.2, "supported"),
    ],
)
def test_a_claim_has_one_of_four_answers(estimate, error, answer):
    found = st.claim(effect(estimate, error), 1.0)
    assert found.answer == answer
    opposite = {"supported": "contradicted", "contradicted": "supported"}
    assert st.claim(effect(-estimate, error), 1.0).answer == opposite.get(answer, answer), "swap ours and theirs"


def test_a_claim_holds_only_within_its_family_and_at_its_look():
    found = effect(2.0, 0.7)
    assert st.claim(found, 1.0).answer == "supported" and found.p == pytest.approx(0.0246, abs=1e-3)
    assert st.claim(found, 1.0, adjusted_p=0.07).answer == "not resolved"
    look = st.claim(found, 1.0, alpha=st.look_alpha(8))
    assert look.answer == "not resolved" and look.interval.level == pytest.approx(1 - 0.0167)
    assert look.interval.low < 0 < found.low


# --- curves and many tasks ------------------------------------------------------------------------------------------


def test_the_expected_best_is_the_mean_over_all_subsets(rng):
    values = rng.normal(size=6)
    for better, best in ((True, max), (False, min)):
        brute = [np.mean([best(part) for part in itertools.combinations(values, n)]) for n in range(1, 7)]
        np.testing.assert_allclose(st.expected_best(values, higher_is_better=better), brute)
    assert st.expected_best([3.0]).tolist() == [3]


def test_the_expected_best_grows_and_moves_with_the_scores(rng):
    values = rng.normal(size=(20, 16))
    curve = st.expected_best(values)
    assert (np.diff(curve) >= -1e-12).all()
    np.testing.assert_allclose(curve[:, 0], values.mean(axis=1))
    np.testing.assert_allclose(curve[:, -1], values.max(axis=1))
    np.testing.assert_allclose(st.expected_best(2 * values + 5), 2 * curve + 5)
    np.testing.assert_allclose(st.expected_best(-values, higher_is_better=False), -curve)


def test_a_band_needs_three_studies(rng):
    values = rng.normal(size=(3, 16))
    one = st.expected_curve(values[:1])
    assert one.low is None and one.high is None and one.studies == 1
    assert st.expected_curve(values[:2]).low is None
    three = st.expected_curve(values)
    assert three.low is not None and three.high is not None
    last = stats.ttest_1samp(values.max(axis=1), 0).confidence_interval(0.95)
    assert (three.low[-1], three.high[-1]) == pytest.approx(tuple(last))


def test_sums_over_tasks_need_five_of_them(rng):
    ours, theirs = rng.normal(0.5, 1, size=(5, 4)), rng.normal(size=(5, 6))
    expected = [stats.mannwhitneyu(a, b).statistic / 24 for a, b in zip(ours, theirs, strict=True)]
    assert st.probability_of_improvement(ours, theirs) == pytest.approx(np.mean(expected))
    assert st.probability_of_improvement(theirs, ours) == pytest.approx(1 - np.mean(expected))
    assert st.probability_of_improvement(ours, ours) == 0.5
    assert st.interquartile_mean(np.arange(20.0).reshape(5, 4)) == np.arange(5.0, 15.0).mean()
    with pytest.raises(ValueError, match="4 tasks are too few.*side by side"):
        st.interquartile_mean(ours[:4])
    with pytest.raises(ValueError, match="4 tasks are too few"):
        st.probability_of_improvement(ours[:4], theirs[:4])


# --- simulations ----------------------------------------------------------------------------------------------------

KINDS = ("normal", "t5", "skewed", "failing")
SHAPE = 0.5514
"""Of the lognormal with skew 2"""


def effects(kind: str, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Draw effects of mean 0; their standard deviation is 1, for "failing" that of the nine runs in ten that do not."""
    if kind == "t5":
        return rng.standard_t(5, size=shape) / math.sqrt(5 / 3)
    values = rng.standard_normal(shape)
    if kind == "skewed":
        grown = np.exp(SHAPE * values - SHAPE**2 / 2) - 1
        return grown / math.sqrt(math.expm1(SHAPE**2))
    if kind == "failing":
        return values - 4 * (rng.random(shape) < 0.1) + 0.4
    return values


def share(found: st.Interval, target: Array | float = 0.0) -> float:
    return float(((found.low <= target) & (target <= found.high)).mean())


@pytest.mark.simulation
@pytest.mark.parametrize("ratio", [0.2, 1, 4], ids="seeds {} of items".format)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("units", [5, 8])
def test_intervals_cover(units, kind, ratio, rng, record_property):
    """93 to 97 % for normal and t5 effects; at least 91 % for skewed ones and failing runs, a known limit."""
    b = ratio * effects(kind, rng, (REPEATS, units, 1))
    c = math.sqrt(ITEMS) * rng.standard_normal((REPEATS, 1, ITEMS))
    psi = b + c + math.sqrt(ITEMS) * rng.standard_normal((REPEATS, units, ITEMS))
    found = st.intervals(psi.mean(axis=-1), psi)
    assert found.new_inputs is not None
    new, this = share(found.new_inputs), share(found.test_set, c.mean(axis=(1, 2)))
    record_property("coverage", (new, this))
    print(f"coverage S={units} {kind} ratio={ratio}: new {100 * new:.1f} this {100 * this:.1f}")
    if kind in ("normal", "t5"):
        assert 0.93 <= new <= 0.97 and 0.93 <= this <= 0.97
    else:
        assert new >= 0.91 and this >= 0.91


@pytest.mark.simulation
@pytest.mark.parametrize("other", ["same", "normal", "none"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("units", [5, 8])
def test_paired_tests_err_seldom(units, kind, other, rng):
    """At most 7 % at α = 5 %, over units and crossed, with a reference that spreads likewise or normally.

    A known limit: beside a reference that does not spread at all, skewed or failing runs make it up to 9 %.
    """
    b = effects(kind, rng, (REPEATS, units))
    if other != "none":
        b -= effects(kind if other == "same" else "normal", rng, (REPEATS, units))
    item = math.sqrt(ITEMS) / 4
    psi = item * (rng.standard_normal((REPEATS, 1, ITEMS)) + rng.standard_normal((REPEATS, units, ITEMS)))
    wrong = [float((p < 0.05).mean()) for p in (st.over_units(b).p, st.crossed(b[..., None] + psi).p)]
    print(f"error S={units} {kind} beside {other}: units {100 * wrong[0]:.1f} crossed {100 * wrong[1]:.1f}")
    assert max(wrong) <= (0.09 if other == "none" and kind in ("skewed", "failing") else 0.07)


@pytest.mark.simulation
@pytest.mark.parametrize("kind", ["normal", "failing"])
def test_the_sign_flip_keeps_its_level(kind, rng):
    b = effects(kind, rng, (2000, 8)) - effects(kind, rng, (2000, 8))
    wrong = float(np.mean([p is not None and p <= 0.05 for p in map(st.sign_flip, b)]))
    print(f"sign flip {kind}: {100 * wrong:.1f}")
    assert wrong <= 0.06, "2,000 repeats: ± 1 point"


@pytest.mark.simulation
@pytest.mark.parametrize("methods", [2, 6])
@pytest.mark.parametrize("units", [5, 8])
def test_ranks_of_equal_methods_are_seldom_separated(units, methods, rng):
    scores = rng.standard_normal((REPEATS, 1, units)) + rng.standard_normal((REPEATS, methods, units))
    found = st.ranks(scores)
    wrong = float(found.beaten_by.any(axis=(1, 2)).mean())
    print(f"ranks S={units} M={methods}: {100 * wrong:.1f}")
    assert wrong <= 0.056


@pytest.mark.simulation
@pytest.mark.parametrize(("units", "not_beaten"), [(5, 5.3), (8, 4.3), (16, 2.6)])
def test_how_many_methods_are_not_beaten(units, not_beaten, rng):
    """The protocol's figures for six methods in steps of .5 standard deviations of a method's own seeds."""
    noise = rng.standard_normal((REPEATS, 6, units))
    found = st.ranks(noise + 0.5 * np.arange(6)[:, None])
    print(f"not beaten S={units}: {found.not_beaten.sum(axis=1).mean():.2f}")
    assert found.not_beaten.sum(axis=1).mean() == pytest.approx(not_beaten, abs=0.15)


@pytest.mark.simulation
def test_four_looks_together_err_at_most_five_in_a_hundred(rng):
    values = rng.standard_normal((REPEATS, max(st.LOOKS)))
    found = [st.over_units(values[:, :units]).p < st.look_alpha(units) for units in st.LOOKS]
    careless = [st.over_units(values[:, :units]).p < 0.05 for units in st.LOOKS]
    print(f"looks: {100 * np.any(found, axis=0).mean():.1f}, careless {100 * np.any(careless, axis=0).mean():.1f}")
    assert np.any(found, axis=0).mean() <= 0.054
    assert np.any(careless, axis=0).mean() > 0.11, "what looking at 5 % each would do"


@pytest.mark.simulation
def test_equivalence_is_seldom_found_at_the_margin_itself(rng):
    for units in (5, 8):
        wrong = st.equivalence(st.over_units(1 + 0.3 * rng.standard_normal((REPEATS, units))), 1.0).holds.mean()
        assert wrong == pytest.approx(0.05, abs=0.007)


@pytest.mark.simulation
@pytest.mark.parametrize("units", [5, 8])
def test_the_detectable_difference_is_found_in_80_percent(units, rng):
    difference = st.detectable(1 / math.sqrt(units), units - 1)
    found = (st.over_units(difference + rng.standard_normal((REPEATS, units))).p < 0.05).mean()
    assert found == pytest.approx(0.8, abs=0.015)


@pytest.mark.simulation
def test_a_band_over_three_studies_covers(rng):
    """16 scrambled Sobol points of a quadratic with a cliff, noise .3: 500 studies, three of them drawn each time.

    A known limit is n = 1, the mean of all points: one or two of them lie beyond the cliff, so three studies often agree
    by chance (74 %).
    """
    studies = np.empty((500, 16))
    for row in range(500):
        points = stats.qmc.Sobol(4, scramble=True, rng=rng).random(16)
        quality = 40 - 8 * ((points - 0.6) ** 2).sum(axis=1)
        studies[row] = np.where(points[:, 0] > 0.9, 5.0, quality) + 0.3 * rng.standard_normal(16)
    lines = st.expected_best(studies)
    drawn = lines[rng.integers(500, size=(REPEATS, 3))]
    found = st.over_units(np.moveaxis(drawn, 1, 2))
    covered = ((found.low <= lines.mean(axis=0)) & (lines.mean(axis=0) <= found.high)).mean(axis=0)
    print("band:", np.round(100 * covered, 1))
    assert covered[1:].min() >= 0.93
