"""Rows, ranks and paired differences of a store with known answers, against plain numpy, scipy and sacrebleu."""

import itertools
import warnings
from functools import lru_cache

import known_store
import numpy as np
import pytest
from scipy import optimize, stats

from featherbench.reports.comparisons import difference, mean_difference, unlike
from featherbench.reports.measured import MIXED
from featherbench.reports.report import collect
from featherbench.tasks.metrics.bleu import bleu

DRAWS, ITEMS = 8, range(16)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return collect(known_store.build(f"sqlite:///{tmp_path_factory.mktemp('known')}/store.sqlite"))


def board_of(report, size):
    [board] = [board for board in report.boards if (board.key.task, board.key.size) == ("places", size)]
    return board


def rows_of(report, size, *labels):
    board = board_of(report, size)
    return [board, *(next(row for row in board.rows if row.label == label) for label in labels)]


def compared(report, ours, theirs="full_ft", size=100, **more):
    return difference(*rows_of(report, size, ours, theirs), **more)


# --- the same by hand -------------------------------------------------------------------------------------------------


def corpus(texts, items):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sacrebleu's way with short outputs
        return bleu([texts[i] for i in items], [known_store.examples()[i].references for i in items])


@lru_cache
def by_hand(row, size, number, items=ITEMS):
    """Return (corpus BLEU, jackknife pseudo-values) of one trial."""
    texts, count = known_store.texts(row, size, number), len(items)
    whole = corpus(texts, items)
    without = np.array([corpus(texts, [j for j in items if j != i]) for i in items])
    return whole, count * whole - (count - 1) * without


def row_by_hand(row, size, numbers=range(DRAWS), items=ITEMS):
    """Return scores [units] and pseudo-values [units, items]."""
    found = [by_hand(row, size, number, items) for number in numbers]
    return np.array([whole for whole, _ in found]), np.array([psi for _, psi in found])


def squares(psi):
    units, items = psi.shape
    grand, rows, columns = psi.mean(), psi.mean(1), psi.mean(0)
    by_unit = items * ((rows - grand) ** 2).sum() / (units - 1)
    by_item = units * ((columns - grand) ** 2).sum() / (items - 1)
    rest = ((psi - rows[:, None] - columns[None, :] + grand) ** 2).sum() / ((units - 1) * (items - 1))
    return by_unit, by_item, rest


def crossed_by_hand(scores, psi):
    """Return (standard error, degrees of freedom, p) by the formulas of protocol 1.1."""
    units, items = psi.shape
    s, i, e = (square / (units * items) for square in squares(psi))
    variance = s + i - e
    df = max(variance**2 / (s**2 / (units - 1) + i**2 / (items - 1) + e**2 / ((units - 1) * (items - 1))), units - 1)
    assert variance > 0
    return variance**0.5, df, 2 * stats.t.sf(abs(scores.mean()) / variance**0.5, df)


def check_intervals(found, scores, psi):
    """Assert both intervals and p."""
    error, df, p = crossed_by_hand(scores, psi)
    assert found.new_inputs.estimate == pytest.approx(scores.mean(), rel=1e-9, abs=1e-9)
    half = stats.t.ppf(0.975, df) * error
    assert (found.new_inputs.low, found.new_inputs.high) == pytest.approx((scores.mean() - half, scores.mean() + half))
    assert found.new_inputs.p == pytest.approx(p, rel=1e-6)
    by_scipy = stats.ttest_1samp(scores, 0)
    assert (found.test_set.low, found.test_set.high) == pytest.approx(tuple(by_scipy.confidence_interval(0.95)))
    assert found.test_set.p == pytest.approx(by_scipy.pvalue, rel=1e-6)


# --- rows -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", ["full_ft", "tied", "better"])
def test_a_row_has_its_mean_and_both_intervals(report, row):
    _, found = rows_of(report, 100, row)
    scores, psi = row_by_hand(row, 100)
    one = found.scores["bleu", "all"]
    error, df, _ = crossed_by_hand(scores, psi)
    assert one.mean == pytest.approx(scores.mean(), rel=1e-12)
    assert one.half_width == pytest.approx(stats.t.ppf(0.975, df) * error, rel=1e-9)
    assert one.test_set == pytest.approx(stats.t.ppf(0.975, 7) * stats.sem(scores), rel=1e-9)
    assert (one.units, one.items) == (8, 16)


def test_rank_intervals_are_holm_over_all_pairs_of_the_rows_that_were_treated_alike(report):
    names = ["full_ft", "tied", "better", "short"]
    pairs = list(itertools.combinations(names, 2))
    found = {}
    for ours, theirs in pairs:
        (a, psi_a), (b, psi_b) = row_by_hand(ours, 100), row_by_hand(theirs, 100)
        found[ours, theirs] = (a.mean() - b.mean(), crossed_by_hand(a - b, psi_a - psi_b)[2])
    worse = dict.fromkeys(names, 0)
    better = dict.fromkeys(names, 0)
    for place, (pair, (effect, p)) in enumerate(sorted(found.items(), key=lambda one: one[1][1])):
        if p * (len(pairs) - place) > 0.05:
            break
        winner, loser = pair if effect > 0 else pair[::-1]
        worse[winner] += 1
        better[loser] += 1
    expected = {name: (1 + better[name], 4 - worse[name]) for name in names}
    assert {row.label: row.rank for row in board_of(report, 100).rows if row.rank} == expected
    assert expected["better"] == (1, 1) and expected["full_ft"] == expected["tied"] == (2, 4), "one gap, and a tie"


def test_every_row_that_is_not_ranked_says_why(report):
    assert {row.label: row.unranked for row in board_of(report, 100).rows if row.unranked} == {
        "out_of_memory": "1 of 8 places without a result",
        "rescored": MIXED,
        "versions": "other method version than most rows",
        "untuned": "nothing is tuned",
        "longer": "other step cap than most rows",
    }


def test_a_row_with_an_out_of_memory_trial_is_shown_over_the_others(report):
    _, row = rows_of(report, 100, "out_of_memory")
    scores, _ = row_by_hand("out_of_memory", 100, (0, 1, 2, 4, 5, 6, 7))
    assert row.counts.failed == 1 and row.scores["bleu", "all"].mean == pytest.approx(scores.mean())


def test_where_lower_is_better_the_lower_row_ranks_first(report):
    [board] = [board for board in report.boards if board.key.task == "webnlg"]
    assert board.primary == "ter"
    assert {row.label: row.rank for row in board.rows} == {"low": (1, 1), "high": (2, 2)}


# --- paired differences -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ours", ["tied", "better"])
@pytest.mark.parametrize(("subset", "items"), [("all", ITEMS), ("seen", range(8)), ("unseen", range(8, 16))])
def test_a_difference_is_paired_by_draw_and_by_item(report, ours, subset, items):
    found = compared(report, ours, subset=subset)
    (a, psi_a), (b, psi_b) = (row_by_hand(row, 100, items=items) for row in (ours, "full_ft"))
    assert found.values == pytest.approx(a - b, rel=1e-9, abs=1e-9) and found.estimate == pytest.approx((a - b).mean())
    assert (found.unit, found.units) == ("draw", tuple(f"final{i}" for i in range(8)))
    check_intervals(found.found, a - b, psi_a - psi_b)


def test_the_gap_is_unseen_minus_seen_over_the_items_of_both(report):
    found = compared(report, "better", subset="gap")
    (seen, psi_seen), (unseen, psi_unseen) = (
        tuple(a - b for a, b in zip(*(row_by_hand(row, 100, items=part) for row in ("better", "full_ft")), strict=True))
        for part in (range(8), range(8, 16))
    )
    values = unseen - seen
    assert found.values == pytest.approx(values)
    # a half of the items each: an item's influence on the gap is twice its distance from its own half's mean
    around = [2 * (psi - psi.mean(1, keepdims=True)) for psi in (psi_seen, psi_unseen)]
    centre = (psi_unseen.mean(1) - psi_seen.mean(1))[:, None]
    check_intervals(found.found, values, np.concatenate([centre - around[0], centre + around[1]], axis=1))


def test_the_sign_flip_check_counts_all_changes_of_signs(report):
    found = compared(report, "tied")
    signs = np.array(list(itertools.product((-1, 1), repeat=DRAWS)))
    means = np.abs(signs @ np.array(found.values))
    assert found.sign_flip == pytest.approx((means >= abs(sum(found.values)) - 1e-9).mean())
    assert compared(report, "out_of_memory").sign_flip is None, "seven blocks are too few"


def test_what_the_design_can_find_follows_from_the_spread(report):
    found = compared(report, "tied")
    by_unit, by_item, rest = squares(row_by_hand("tied", 100)[1] - row_by_hand("full_ft", 100)[1])
    unit = (by_unit / 16) ** 0.5 * (7 / stats.chi2.ppf(0.2, 7)) ** 0.5
    item = (max(0.0, by_item - rest) / (8 * 16)) ** 0.5

    def smallest(units):
        variance = unit**2 / units + item**2
        df = max(variance**2 / (unit**4 / units**2 / (units - 1) + item**4 / 15), units - 1)
        limit = stats.t.ppf(0.975, df)

        def missed(shift):
            return stats.nct.sf(limit, df, shift) + stats.nct.cdf(-limit, df, shift) - 0.8

        return variance**0.5 * optimize.brentq(missed, 1, 5)  # far out, scipy's is NaN

    assert found.detectable == pytest.approx(smallest(8), rel=1e-4)
    assert found.floor == pytest.approx((stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) * item)
    assert found.floor > 0 and found.needed(found.floor * 0.99) is None
    for effect in (0.95 * found.detectable, (found.floor + found.detectable) / 2):
        enough = next(n for n in range(8, 300) if smallest(n) <= effect)
        assert enough > 8 and found.needed(effect) == enough


def test_a_row_without_randomness_stands_beside_every_draw(report):
    found = compared(report, "full_ft", "untuned")
    scores, psi = row_by_hand("full_ft", 100)
    whole, alone = by_hand("untuned", 100, 0)
    check_intervals(found.found, scores - whole, psi - alone)
    assert found.note == "" and not unlike(*rows_of(report, 100, "full_ft", "untuned")[1:])
    assert compared(report, "untuned", "full_ft").estimate == pytest.approx(-found.estimate)


def test_only_common_draws_are_compared_and_the_lost_one_is_told(report):
    found = compared(report, "out_of_memory")
    kept = (0, 1, 2, 4, 5, 6, 7)
    (a, psi_a), (b, psi_b) = (row_by_hand(row, 100, kept) for row in ("out_of_memory", "full_ft"))
    check_intervals(found.found, a - b, psi_a - psi_b)
    assert found.awaited == (found.note,)
    assert (
        found.note == "out_of_memory: 1 of 8 places without a result (1 failed: `featherbench retry PLAN --failed oom`)"
    )


def test_scores_of_two_scorers_are_not_subtracted(report):
    found = compared(report, "rescored")
    assert (found.values, found.estimate, found.found, found.note) == ((), None, None, MIXED)


def test_rows_that_were_not_treated_alike_are_told(report):
    assert compared(report, "longer").note == "the rows were given another step cap"
    assert compared(report, "versions").note == "the rows were given another method version"
    assert compared(report, "longer", "longer").note == "", "each other's equals, though not most rows'"


def test_nested_sizes_are_averaged_within_the_draw(report):
    pairs = [rows_of(report, size, "better", "full_ft") for size in known_store.SIZES]
    found = mean_difference([tuple(pair) for pair in pairs])
    parts = [[row_by_hand(row, size) for row in ("better", "full_ft")] for size in known_store.SIZES]
    scores = np.mean([a - b for (a, _), (b, _) in parts], axis=0)
    psi = np.mean([a - b for (_, a), (_, b) in parts], axis=0)
    assert len(found.units) == 8, "the draw is the unit, not draw and size"
    check_intervals(found.found, scores, psi)


def test_tables_of_other_tasks_are_not_averaged(report):
    [other] = [board for board in report.boards if board.key.task == "webnlg"]
    with pytest.raises(ValueError, match="nothing but the size"):
        mean_difference([tuple(rows_of(report, 100, "better", "full_ft")), (other, *other.rows)])


# --- the headline list ------------------------------------------------------------------------------------------------


def test_holm_counts_the_comparison_that_cannot_be_made_yet(report):
    [found] = report.headlines
    p = {}
    for row in ("tied", "better"):
        parts = [[row_by_hand(name, size) for name in (row, "full_ft")] for size in known_store.SIZES]
        scores = np.mean([a - b for (a, _), (b, _) in parts], axis=0)
        p[row] = crossed_by_hand(scores, np.mean([a - b for (_, a), (_, b) in parts], axis=0))[2]
    assert p["better"] < p["tied"]
    expected = {"better": 3 * p["better"], "tied": min(1.0, 2 * p["tied"])}
    assert {d.ours: d.adjusted_p for d in found.differences} == pytest.approx(expected)
    assert found.missing == ("short - full_ft: 2 of 4 sizes have trials of both",)
    tied = next(d for d in found.differences if d.ours == "tied")
    assert tied.smallest_effect == 1.5
    one = tied.found.new_inputs
    tails = [
        stats.t.sf((one.estimate + 1.5) / one.standard_error, one.degrees_of_freedom),
        stats.t.cdf((one.estimate - 1.5) / one.standard_error, one.degrees_of_freedom),
    ]
    assert tied.equivalence.p == pytest.approx(max(tails)) and not tied.equivalence.holds


def test_a_headline_list_is_about_its_own_plans_trials(report, tmp_path):
    """Another plan's row of the same name, on the same table, is another row."""
    store = known_store.build(f"sqlite:///{tmp_path}/store.sqlite")
    cell = known_store.cell_of("better", 100, steps=80)
    store.add_plan("a", "before all others by its id", "of another protocol", [cell])
    with store.transaction():
        for number in range(8):
            known_store.finish(store, cell, number, known_store.texts("untuned", 100, number))
    again = collect(store)
    assert len([row for row in board_of(again, 100).rows if row.cell.row == "better"]) == 2
    before, after = ({d.cells: d.adjusted_p for d in one.headlines[0].differences} for one in (report, again))
    assert before == after
