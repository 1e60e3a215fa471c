"""search.html: curves of the quasi-random search, their bands, and what failures and other samplers do to them."""

import itertools
import statistics

import pytest
from invented import (
    VALIDATION,
    cell_of,
    cost_of,
    empty_store,
    figures,
    lines,
    only,
    plan,
    put,
    result_of,
    search_phase,
    texts,
    trial_of,
)
from scipy import stats

from featherbench.reports.pages.search import NO_RESULT, page
from featherbench.reports.report import collect

RATES = [1e-4, 3e-4, 1e-3, 3e-3]
BEST = "expected best, validation (no result)"


@pytest.fixture
def store(tmp_path):
    return empty_store(tmp_path)


def searched(study=0, configurations=4, row="prefix", **search):
    return cell_of(
        row, search={"configurations": configurations, "study": study, "sampler": "sobol", "draws": 1, **search}
    )


def best_of(values, n, best=max):
    """The mean best of every n of the values, by listing them all."""
    return statistics.fmean(best(chosen) for chosen in itertools.combinations(values, n))


def curve(store, name="budget-"):
    return lines(only(page(collect(store)), name))


def test_one_study_has_a_line_and_its_points_but_no_band(store):
    values = [10.0, 30.0, 20.0, 25.0]
    search_phase(store, searched(), values, rates=RATES)
    found = curve(store)
    assert [line[BEST].value for line in found] == pytest.approx([best_of(values, n) for n in (1, 2, 3, 4)])
    assert [line[BEST].parts for line in found] == [{}] * 4
    assert {line[BEST].note for line in found} == {"1 study: no band below 3"}
    drawn = figures(page(collect(store)))
    assert [name.split("-")[1] for name in drawn] == ["trials", "seconds", "flops"]
    [(first, line), (second, dots)] = next(iter(drawn.values()))
    assert (first, second) == ("line", "circle"), "no band"
    assert [p["x"] for p in line] == [1, 2, 3, 4]
    assert [p["y"] for p in line] == pytest.approx([best_of(values, n) for n in (1, 2, 3, 4)])
    assert [(p["x"], p["y"]) for p in dots] == list(zip((1, 2, 3, 4), values, strict=True))


def test_three_studies_have_a_t_band_over_studies(store):
    studies = [[10.0, 30.0, 20.0, 25.0], [12.0, 18.0, 33.0, 9.0], [28.0, 22.0, 11.0, 26.0]]
    for i, values in enumerate(studies):
        search_phase(store, searched(study=i), values, rates=RATES, first_seed=i)
    found = curve(store)
    assert [line["studies"].value for line in found] == [3] * 4
    for n, line in enumerate(found, start=1):
        each = [best_of(values, n) for values in studies]
        low, high = stats.t.interval(0.95, 2, loc=statistics.fmean(each), scale=stats.sem(each))
        assert line[BEST].value == pytest.approx(statistics.fmean(each))
        assert (line[BEST].parts["low"], line[BEST].parts["high"]) == pytest.approx((low, high))
    [(first, band), (second, _)] = next(iter(figures(page(collect(store))).values()))
    assert (first, second) == ("area", "line"), "a band, and no single points"
    assert [p["low"] for p in band] == pytest.approx([line[BEST].parts["low"] for line in found])


def test_a_diverged_configuration_counts_with_its_score_and_a_failed_one_as_the_worst(store):
    search_phase(store, searched(), [10.0, (12.0, "diverged"), "failed", 25.0], rates=RATES)
    found = curve(store)
    counted = [10.0, 12.0, 10.0, 25.0]
    assert [line[BEST].value for line in found] == pytest.approx([best_of(counted, n) for n in (1, 2, 3, 4)])
    assert (found[0]["failed trials"].value, found[0]["diverged trials"].value) == (1, 1)
    assert found[0]["row"].note == "1 configurations without a stored cost are left out of the mean cost"
    assert any("failed counts with the worst score" in text for text in texts(page(collect(store))))


def test_where_lower_is_better_the_lowest_is_expected(store):
    """TER of webnlg: the task says that lower is better."""
    cell = cell_of("prefix", task="webnlg", search={"configurations": 4, "study": 0})
    values = [50.0, 40.0, 45.0, 60.0]
    search_phase(store, cell, values, rates=RATES, metric="ter")
    assert [line[BEST].value for line in curve(store)] == pytest.approx([best_of(values, n, min) for n in (1, 2, 3, 4)])


def test_costs_are_n_times_the_mean_cost_of_a_configuration(store):
    cell = searched(draws=2, configurations=2)
    plan(store, cell)
    trains = iter([100.0, 140.0, 50.0, 30.0])
    for number, rate in enumerate((1e-3, 1e-2)):
        store.add_proposal(cell.id, number, {"learning_rate": rate}, "sobol")
        for draw in range(2):
            trial = trial_of(cell, 1, evaluate=VALIDATION, draw=f"search{draw}", learning_rate=rate)
            cost = cost_of(train=next(trains), decode=10.0, flops=2e12 * (number + 1))
            put(
                store,
                cell,
                "search",
                2 * number + draw,
                trial,
                result_of(trial, {"bleu": 10.0 * number + draw}, cost=cost),
            )
    found = curve(store)
    assert [line["trials"].value for line in found] == [2, 4]
    assert [line["time"].value for line in found] == pytest.approx([180.0, 360.0]), (
        "(100 + 140 + 50 + 30 + 4 x 10) / 2 a configuration"
    )
    each = (2 * 2.2e12 + 2 * 4.4e12) / 2
    assert [line["FLOPs"].value for line in found] == pytest.approx([each, 2 * each])
    assert [line[BEST].value for line in found] == pytest.approx([best_of([0.5, 10.5], 1), 10.5]), "means over draws"


def test_adaptive_and_unfinished_configurations_are_left_out_of_the_curve(store):
    cell = searched(configurations=6)
    search_phase(store, cell, [10.0, 30.0, 20.0], rates=RATES[:3])
    store.add_proposal(cell.id, 3, {"learning_rate": 5e-3}, "sobol")
    put(store, cell, "search", 3, trial_of(cell, 7, evaluate=VALIDATION, learning_rate=5e-3))
    store.add_proposal(cell.id, 4, {"learning_rate": 6e-3}, "tpe")
    late = trial_of(cell, 7, evaluate=VALIDATION, learning_rate=6e-3)
    put(store, cell, "search", 4, late, result_of(late, {"bleu": 99.0}))
    found = curve(store)
    assert [line[BEST].value for line in found] == pytest.approx([best_of([10.0, 30.0, 20.0], n) for n in (1, 2, 3)])
    assert found[0]["row"].note == "the first 3 of 6 configurations"


def test_a_configuration_that_was_proposed_twice_is_spent_twice(store):
    cell = searched(configurations=3)
    search_phase(store, cell, [10.0, 30.0, 30.0], rates=[1e-3, 2e-3, 2e-3])
    assert [line[BEST].value for line in curve(store)] == pytest.approx(
        [best_of([10.0, 30.0, 30.0], n) for n in (1, 2, 3)]
    )


def test_rows_that_differ_in_more_than_the_study_are_no_studies_of_each_other(store):
    for row in ("prefix", "infix"):
        search_phase(store, searched(row=row), [10.0, 30.0, 20.0, 25.0], rates=RATES)
    found = curve(store)
    assert {(line["row"].text, line["studies"].value) for line in found} == {("prefix", 1), ("infix", 1)}


def test_validation_scores_are_never_called_results(store):
    search_phase(store, searched(), [10.0, 30.0, 20.0, 25.0], rates=RATES)
    made = page(collect(store))
    assert made.lead == NO_RESULT and any(NO_RESULT in text for text in texts(made))


def test_a_search_without_any_score_has_a_page_and_no_curve(store):
    cell = searched()
    search_phase(store, cell, ["failed"] * 4, rates=RATES)
    made = page(collect(store))
    assert figures(made) == {}
    assert [line["best on validation (no result)"].text for line in lines(only(made, "searches"))] == ["–"]
