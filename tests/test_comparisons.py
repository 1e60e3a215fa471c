"""Rows, ranks and paired differences of a store with known answers, against plain numpy, scipy and sacrebleu."""

import itertools
import warnings
from dataclasses import replace
from functools import lru_cache

import known_store
import numpy as np
import pytest
from scipy import optimize, stats

from featherbench.reports.claims import answer
from featherbench.reports.compare import compare, compared_json
from featherbench.reports.comparisons import UNVARIED, difference, mean_difference, unlike
from featherbench.reports.measured import MIXED
from featherbench.reports.pages.leaderboard import headline_blocks
from featherbench.reports.read import claim_looks
from featherbench.reports.report import collect
from featherbench.reports.terminal import headline_lines
from featherbench.tasks import TASKS
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


def test_the_list_of_a_plan_that_was_extended_stands_once(tmp_path):
    url = f"sqlite:///{tmp_path}/store.sqlite"
    kept = known_store.build(url)
    cells = [
        known_store.cell_of(row, size) for size in known_store.SIZES for row in ("full_ft", "tied", "better", "short")
    ]
    longer = known_store.PLAN.replace("methods: [", "methods: [{method: infix, row: new}, ")
    more = [*cells, *(known_store.cell_of("new", size) for size in known_store.SIZES)]
    kept.add_plan("longer", "known", longer, more)
    assert [one.plan for one in collect(kept).headlines] == ["known"], "the plan that fixed it first"
    kept.add_plan("other", "known", longer.replace("smallest_effect: 1.5", "smallest_effect: 2"), more)
    assert [one.plan for one in collect(kept).headlines] == ["known", "other"], "another margin is another list"


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
    assert found.note == UNVARIED and not unlike(*rows_of(report, 100, "full_ft", "untuned")[1:])
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


# --- differences of differences ----------------------------------------------------------------------------------------

FOUR = ("better", "tied", "short", "full_ft")


def interaction_by_hand(size, rows=FOUR, items=ITEMS):
    """Return (first - second) - (third - fourth): values [draws], pseudo-values [draws, items]."""
    a, b, c, d = (row_by_hand(row, size, items=items) for row in rows)
    return tuple((w - x) - (y - z) for w, x, y, z in zip(a, b, c, d, strict=True))


@pytest.mark.parametrize(("subset", "items"), [("all", ITEMS), ("seen", range(8)), ("unseen", range(8, 16))])
def test_a_difference_of_differences_is_paired_by_draw_and_by_item(report, subset, items):
    found = mean_difference([tuple(rows_of(report, 100, *FOUR))], subset=subset)
    values, psi = interaction_by_hand(100, items=items)
    assert (found.ours, found.theirs, len(found.cells)) == ("(better - tied)", "(short - full_ft)", 4)
    assert found.values == pytest.approx(values, rel=1e-9, abs=1e-9) and len(values) == DRAWS
    check_intervals(found.found, values, psi)
    assert not found.awaited and not found.unlike


def test_a_difference_of_differences_of_gaps(report):
    found = mean_difference([tuple(rows_of(report, 100, *FOUR))], subset="gap")
    (seen, psi_seen), (unseen, psi_unseen) = (interaction_by_hand(100, items=part) for part in (range(8), range(8, 16)))
    around = [2 * (psi - psi.mean(1, keepdims=True)) for psi in (psi_seen, psi_unseen)]
    centre = (psi_unseen.mean(1) - psi_seen.mean(1))[:, None]
    assert found.values == pytest.approx(unseen - seen)
    check_intervals(found.found, unseen - seen, np.concatenate([centre - around[0], centre + around[1]], axis=1))


def test_a_difference_of_differences_is_averaged_over_sizes_within_the_draw(report):
    found = mean_difference([tuple(rows_of(report, size, *FOUR)) for size in (50, 100)])
    parts = [interaction_by_hand(size) for size in (50, 100)]
    assert found.sizes == (50, 100) and len(found.units) == DRAWS
    check_intervals(found.found, *(np.mean(part, axis=0) for part in zip(*parts, strict=True)))


def test_a_row_without_randomness_stands_beside_every_draw_of_the_others(report):
    found = mean_difference([tuple(rows_of(report, 100, "better", "untuned", "short", "full_ft"))])
    whole, alone = by_hand("untuned", 100, 0)
    (a, psi_a), (c, psi_c), (d, psi_d) = (row_by_hand(row, 100) for row in ("better", "short", "full_ft"))
    check_intervals(found.found, (a - whole) - (c - d), (psi_a - alone) - (psi_c - psi_d))


def test_what_differs_in_the_same_way_within_both_sides_is_the_factor(report):
    longer, *usual = rows_of(report, 100, "longer", *FOUR)[1:]
    again = longer  # the step cap cancels where a row of it stands on both sides
    assert unlike(longer, usual[0], again, usual[1]) == [] == unlike(longer, again, usual[0], usual[1])
    assert unlike(longer, *usual[:3]) == ["step cap"] == unlike(usual[0], longer, again, usual[1])


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


def tables_of(headline):
    """Return the texts of the page's table by difference."""
    [table] = [block for block in headline_blocks(headline, 1) if hasattr(block, "rows")]
    names = [entry.text for entry in table.header]
    return {row[0].text: dict(zip(names, (entry.text for entry in row), strict=True)) for row in table.rows}


def test_the_page_answers_a_headline_comparison_whose_trials_are_all_there(report):
    shown = tables_of(report.headlines[0])["better − full_ft"]
    assert (shown["answer"], shown["p"], shown["units"]) == ("supported: better is better", "< .001", "8")


def small(tmp_path, outputs, cells=None, headline="{reference: full_ft, rows: [better, tied]}", **more):
    cells = cells or [known_store.cell_of(row, 100) for row in ("full_ft", "better", "tied")]
    return collect(known_store.small(f"sqlite:///{tmp_path}/small.sqlite", cells, headline, outputs, **more))


def all_of(rows, sizes=(100,), numbers=range(DRAWS)):
    return {(row, size, i): known_store.texts(row, size, i) for row in rows for size in sizes for i in numbers}


RETRY = "(1 failed: `featherbench retry PLAN --failed oom`)"


@pytest.mark.parametrize(
    ("lost", "failed", "told"),
    [
        ((5, 6, 7), (), "better: 3 of 8 places without a result"),
        ((), (2,), f"better: 1 of 8 places without a result {RETRY}"),
        ((7,), (2,), f"better: 2 of 8 places without a result {RETRY}"),
    ],
)
def test_a_headline_comparison_waits_for_its_trials_everywhere(tmp_path, lost, failed, told):
    outputs = all_of(["full_ft", "better", "tied"])
    outputs |= {("better", 100, i): None for i in failed}
    found = small(tmp_path, {key: texts for key, texts in outputs.items() if key[0] != "better" or key[2] not in lost})
    [headline] = found.headlines
    better, tied = headline.differences
    assert better.awaited == (told,) and better.adjusted_p is None and better.found is not None
    assert tied.adjusted_p == min(1.0, 2 * tied.found.primary.p), "the family stays the whole list"

    shown = tables_of(headline)
    waits, answered = shown["better − full_ft"], shown["tied − full_ft"]
    assert (waits["answer"], waits["p"], waits["sign-flip p"]) == (f"waits: {told}", "–", "–")
    assert waits["difference"].startswith(f"{better.estimate:.0f} ± ") and answered["p"] != "–"

    [one], _ = compare(found, "better", "full_ft", margin=5.0)
    assert one.listed and one.difference.adjusted_p is one.difference.sign_flip is one.difference.equivalence is None
    written = compared_json(one)["difference"]
    assert (written["awaited"], written["adjusted_p"], written["sign_flip_p"]) == ([told], None, None)

    first, second = headline_lines(found)
    low, high = better.found.primary.low, better.found.primary.high
    assert first == (
        f"  waits: better > full_ft on places with 100 of tiny  {better.estimate:+.3g} bleu, {low:+.3g} to {high:+.3g}; {told}"
    )
    assert "tied > full_ft" in second and "waits" not in second
    assert {look["claim"] for look in claim_looks(found.store)} == {"tied > full_ft on places with 100 of tiny"}


def test_a_comparison_over_sizes_waits_for_the_places_of_all_sizes(tmp_path):
    cells = [known_store.cell_of(row, size) for size in (50, 100) for row in ("full_ft", "better")]
    outputs = all_of(["full_ft", "better"], (50, 100))
    del outputs["better", 50, 7], outputs["better", 100, 6], outputs["better", 100, 7]
    [headline] = small(tmp_path, outputs, cells, "{reference: full_ft, rows: [better]}").headlines
    [one] = headline.differences
    assert one.awaited == ("better: 3 of 16 places without a result",) and one.adjusted_p is None
    assert len(one.units) == 6


def test_nothing_is_awaited_of_a_row_without_randomness_or_of_a_trial_at_two_places(tmp_path):
    cells = [known_store.cell_of(row, 100) for row in ("untuned", "better")]
    outputs = all_of(["better"], numbers=range(7)) | all_of(["untuned"], numbers=[0])
    [headline] = small(tmp_path, outputs, cells, "{reference: untuned, rows: [better]}", again=(7,)).headlines
    [one] = headline.differences
    assert not one.awaited and len(one.units) == 7 and one.adjusted_p == one.found.primary.p


def test_units_that_only_one_row_has_are_awaited_of_the_other(report, tmp_path):
    cells = [known_store.cell_of(row, 100) for row in ("full_ft", "better")]
    cells[1] = cells[1].model_copy(update={"fixed": cells[1].fixed | {"final": {"seeds": 1, "draws": 5}}})
    outputs = all_of(["full_ft"]) | all_of(["better"], numbers=range(5))
    [headline] = small(tmp_path, outputs, cells, "{reference: full_ft, rows: [better]}").headlines
    assert headline.differences[0].awaited == ("full_ft: 5 of 8 draws compared",)
    assert headline.differences[0].adjusted_p is None


def test_the_page_turns_a_score_of_which_lower_is_better(tmp_path):
    cells = [known_store.cell_of(row, None, task="webnlg") for row in ("low", "high")]
    outputs = all_of(["low", "high"], [None], range(known_store.SEEDS))
    for number, (ours, theirs) in enumerate([("low", "high"), ("high", "low")]):
        folder = tmp_path / str(number)
        folder.mkdir()
        headline = f"{{reference: {theirs}, rows: [{ours}]}}"
        [found] = small(folder, outputs, cells, headline, scores=("ter",)).headlines
        [one] = found.differences
        assert (one.estimate < 0) == (one.gain > 0) == (one.effect.primary.low > 0) == (ours == "low")
        assert one.effect.primary.high == -one.found.primary.low and one.effect.primary.p == one.found.primary.p
        assert tables_of(found)[f"{ours} − {theirs}"]["answer"] == (
            "supported: low is better" if ours == "low" else "contradicted: low is better"
        )


def test_rows_that_were_not_treated_alike_have_no_answer_on_the_page(tmp_path):
    cells = [known_store.cell_of("full_ft", 100), known_store.cell_of("better", 100, steps=80)]
    [found] = small(tmp_path, all_of(["full_ft", "better"]), cells, "{reference: full_ft, rows: [better]}").headlines
    told = "not resolved: the rows were not treated alike: another step cap"
    assert tables_of(found)["better − full_ft"]["answer"] == told


def test_headlines_and_claims_take_a_task_of_files_by_the_name_that_its_plan_gives_it(tmp_path, monkeypatch):
    """The store has the name with the hash of the contents behind it."""
    stored = "shop@01234567"
    monkeypatch.setitem(TASKS, stored, replace(TASKS["places"], name=stored))
    cells = [known_store.cell_of(row, 100, task=stored) for row in ("full_ft", "better")]
    found = small(tmp_path, all_of(["full_ft", "better"]), cells, "{reference: full_ft, rows: [better]}")
    [headline] = found.headlines
    assert not headline.missing and headline.differences[0].adjusted_p < 0.001
    for task in ("shop", "shop.test16", stored, f"{stored}.test16"):
        said = answer(found, f"better > full_ft on {task} with 100")
        assert (said.answer, said.rule.alpha) == ("supported", 0.05)


def test_the_page_tells_both_intervals_of_a_headline_comparison(report):
    shown = headline_blocks(report.headlines[0], 1)[2]
    row = next(row for row in shown.rows if row[0].text == "better − full_ft")
    assert "no item statistics" not in row[2].note


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
