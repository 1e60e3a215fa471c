"""fairness.html: sums of what was given and spent, edges of search spaces, baselines, looks and unequal treatment."""

import pytest
from invented import (
    VALIDATION,
    cell_of,
    cost_of,
    empty_store,
    failed,
    figures,
    final_phase,
    lines,
    plan,
    put,
    result_of,
    search_phase,
    tables,
    texts,
    trial_of,
)

from featherbench.harness.records import ScoreValue
from featherbench.reports.pages.fairness import EXTEND, page
from featherbench.reports.report import collect
from featherbench.reports.spending import dimensions

SEARCH = {"configurations": 4, "draws": 1, "study": 2}
RATES = [1e-4, 3e-4, 1e-3, 3e-3]


@pytest.fixture
def store(tmp_path):
    return empty_store(tmp_path)


def table(store, name):
    return lines(tables(page(collect(store)))[name])


def ledger(store, row):
    [line] = [line for line in table(store, "ledger") if line["row"].text == row]
    return line


# --- given and spent --------------------------------------------------------------------------------------------------


def test_the_ledger_sums_each_trial_once_in_both_phases(store):
    cell = cell_of("prefix", size=100, budget=0.001, search=SEARCH, words="say:", words_as="text", steps=80)
    search_phase(store, cell, [10.0, (12.0, "diverged"), "failed", 25.0], rates=RATES)
    for seed, train in enumerate((50.0, 70.0)):
        trial = trial_of(cell, seed, learning_rate=3e-3)
        cost = cost_of(train=train, decode=20.0, flops=3e12, tokens=500)
        put(store, cell, "final", seed, trial, result_of(trial, {"bleu": 20.0}, cost=cost))
    put(store, cell, "final", 2, trial_of(cell, 0, learning_rate=3e-3))  # the trial of place 0 once more
    broken = trial_of(cell, 3, learning_rate=3e-3)
    put(store, cell, "final", 3, broken, failed(broken))
    put(store, cell, "final", 4, trial_of(cell, 4, learning_rate=3e-3))
    line = ledger(store, "prefix")
    assert (line["configurations"].value, line["search draws"].value, line["search trials"].value) == (4, 1, 4)
    assert (line["searched dimensions"].value, line["searched dimensions"].note) == (1, "learning_rate")
    assert (line["final trials"].value, line["final trials"].note) == (4, "1 not finished")
    assert (line["failed"].value, line["diverged"].value) == (2, 1)
    assert line["time, search"].value == pytest.approx(3 * 110.0)
    assert line["time, search"].note == "1 trials without a stored cost"
    assert line["time, final"].value == pytest.approx(50 + 20 + 70 + 20)
    assert line["FLOPs, search"].value == pytest.approx(3 * 1.65e12)
    assert line["FLOPs, final"].value == pytest.approx(2 * 3.3e12)
    assert line["training tokens"].value == 3 * 8_000 + 2 * 500
    assert (line["step cap"].value, line["budget"].value, line["size"].value) == (80, 0.001, 100)
    assert line["task words"].text == "'say:' as text" and line["device"].text == "CPU"


@pytest.mark.parametrize(
    ("rates", "search", "estimand", "given"),
    [
        ([1e-3, 1e-3, 1e-3], SEARCH, "configuration", "one search, study 2"),
        ([1e-3, 1e-3, 1e-3], {}, "configuration", "no search"),
        ([1e-3, 2e-3, 3e-3], SEARCH, "procedure", "a configuration of its own for every trial"),
        ([1e-3, 1e-3, 3e-3], SEARCH, "mixed", "2 configurations in 3 trials"),
    ],
    ids=["one search", "no search", "a search each", "neither"],
)
def test_the_estimand_is_named(store, rates, search, estimand, given):
    cell = cell_of("prefix", search=search)
    if search:
        search_phase(store, cell, [10.0, 20.0], rates=[1e-4, 2e-4])
    for seed, rate in enumerate(rates):
        trial = trial_of(cell, seed, learning_rate=rate)
        put(store, cell, "final", seed, trial, result_of(trial, {"bleu": 20.0}))
    found = ledger(store, "prefix")["estimand"]
    assert (found.text, found.note) == (estimand, given)


def test_a_cell_without_a_final_trial_stands_in_the_ledger_without_a_board(store):
    search_phase(store, cell_of("prefix", search=SEARCH), [10.0, 20.0, 30.0, 40.0], rates=RATES)
    line = ledger(store, "prefix")
    assert (line["final trials"].value, line["row"].link) == (0, "")


# --- search spaces ----------------------------------------------------------------------------------------------------


def dimension(store, name):
    report = collect(store)
    [found] = [d for search in report.searches for d in dimensions(search) if d.name == name]
    return found


@pytest.mark.parametrize(
    ("best", "place", "at_edge"),
    [
        (1e-3, 0.5, False),
        (1e-3 * 10**1.25, 1 - 0.25 / 3, True),
        (1e-3 * 10**-1.25, 0.25 / 3, True),
        (1e-2, 2.5 / 3, False),
    ],
)
def test_the_best_learning_rate_is_placed_on_the_log_scale_of_three_decades(store, best, place, at_edge):
    rates = [5e-4, best, 7e-4]
    search_phase(store, cell_of("prefix", search=SEARCH), [10.0, 30.0, 20.0], rates=rates)
    found = dimension(store, "learning_rate")
    assert found.declared and (found.low, found.high) == pytest.approx((1e-3 / 10**1.5, 1e-3 * 10**1.5))
    assert found.place == pytest.approx(place) and found.at_edge is at_edge
    [line] = table(store, "search-spaces")
    assert line["place of the best in the range"].note.startswith("at the edge") is at_edge
    assert (EXTEND in texts(page(collect(store)))) is at_edge


def test_values_outside_of_the_declared_range_make_it_the_proposed_one(store):
    search_phase(store, cell_of("prefix", search=SEARCH), [10.0, 30.0, 20.0], rates=[1e-5, 1e-4, 1e-3])
    found = dimension(store, "learning_rate")
    assert (found.declared, found.low, found.high) == (False, 1e-5, 1e-3) and found.place == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("name", "values", "best", "place"),
    [
        ("length", [1, 5, 10, 20, 40], 40, 1.0),
        ("length", [1, 5, 10, 20, 40], 10, 9 / 39),
        ("steps", [10, 20, 40], 10, 0.0),
        ("weight_decay", [0.0, 0.01], 0.01, None),
        ("parametrisation", ["mlp", "direct"], "mlp", None),
        ("shift_positions", [True, False], True, None),
    ],
)
def test_other_dimensions_have_the_range_of_their_values(store, name, values, best, place):
    """Two values have no inside, and names have no range."""
    cell = cell_of("prefix", search=SEARCH, config={} if name in ("steps", "weight_decay") else {name: values[0]})
    for number, value in enumerate(values):
        plan(store, cell)
        store.add_proposal(cell.id, number, {name: value}, "sobol")
        change = {name: value} if name in ("steps", "weight_decay") else {"config": {name: value}}
        trial = trial_of(cell, 7, evaluate=VALIDATION, **change)
        put(store, cell, "search", number, trial, result_of(trial, {"bleu": 50.0 if value == best else 10.0 + number}))
    found = dimension(store, name)
    assert found.best == best and found.place == place and set(found.values) == set(values)


def test_the_figure_shows_every_configuration_by_its_learning_rate(store):
    for row in ("prefix", "infix"):
        search_phase(store, cell_of(row, search=SEARCH), [10.0, 30.0, "failed", 25.0], rates=RATES)
    [(name, layers)] = figures(page(collect(store))).items()
    assert name.startswith("learning-rate-")
    assert [mark for mark, _ in layers] == ["circle", "point"]
    shown = {(p["series"], p["x"], p["y"]) for p in layers[0][1]}
    scored = [(1e-4, 10.0), (3e-4, 30.0), (3e-3, 25.0)]
    assert shown == {(row, rate, score) for row in ("prefix", "infix") for rate, score in scored}
    assert {(p["series"], p["x"], p["y"]) for p in layers[1][1]} == {("prefix", 3e-4, 30.0), ("infix", 3e-4, 30.0)}


def test_studies_of_one_row_are_one_series(store):
    for study in range(2):
        search_phase(
            store, cell_of("prefix", search={**SEARCH, "study": study}), [10.0, 30.0], rates=RATES[:2], first_seed=study
        )
    [layers] = figures(page(collect(store))).values()
    assert [(p["series"], p["x"], p["y"]) for p in layers[0][1]] == 2 * [("prefix", 1e-4, 10.0), ("prefix", 3e-4, 30.0)]
    assert [p["y"] for p in layers[1][1]] == [30.0, 30.0], "the best of each"


# --- baselines, warnings, looks ---------------------------------------------------------------------------------------


def test_baselines_are_found_by_what_they_are(store):
    final_phase(store, cell_of("bare", "untuned"), [5.0])
    final_phase(store, cell_of("bare-words", "untuned", words="say:", words_as="text"), [6.0])
    final_phase(store, cell_of("copy", "copy_source"), [4.0])
    final_phase(store, cell_of("given", "full_ft", given={"learning_rate": 1e-3}), [7.0])
    final_phase(
        store,
        cell_of("direct", "prefix", config={"parametrisation": "direct"}, given={"parametrisation": "direct"}),
        [8.0],
    )
    [line] = table(store, "baselines")
    found = {name: field.text for name, field in line.items() if name != "board"}
    assert found == {
        "untuned": "bare",
        "untuned with task words": "bare-words",
        "copy of the source": "copy",
        "default configuration": "direct",
        "prefix without MLP": "direct",
    }
    final_phase(store, cell_of("defaults", "adapter", given={"bottleneck": 8}), [9.0])
    assert table(store, "baselines")[0]["default configuration"].text == "direct, defaults"


def test_unequal_treatment_of_all_boards_stands_in_one_table(store):
    final_phase(store, cell_of("prefix"), [50.0, 51.0])
    final_phase(store, cell_of("infix", steps=80), [50.0, 51.0])
    final_phase(store, cell_of("full_ft", task="e2e"), [50.0, 51.0, 52.0])
    final_phase(store, cell_of("adapter", task="e2e"), [50.0])
    found = {
        (line["board"].text.split(" · ")[1], line["what differs"].text) for line in table(store, "unequal-treatment")
    }
    assert ("places.test", "rows have different step caps") in found
    assert ("e2e.test", "rows have unequal numbers of trials") in found
    assert found == {
        (f"{board.key.task}.test", caution.text)
        for board in collect(store).boards
        for caution in board.cautions
        if caution.unequal
    }
    assert "2 of 2 boards have rows that are not fully comparable." in texts(page(collect(store)))


def test_rows_that_were_treated_alike_have_no_table_of_unequal_treatment(store):
    for row in ("prefix", "infix"):
        final_phase(store, cell_of(row), [50.0, 51.0])
    assert "unequal-treatment" not in tables(page(collect(store)))


def test_every_look_at_test_items_is_counted_and_search_trials_are_none(store):
    cell = cell_of("prefix", search=SEARCH)
    search_phase(store, cell, [10.0, 20.0, 30.0, 40.0], rates=RATES)
    final_phase(store, cell, [50.0, 51.0])
    again = trial_of(cell, 0).id
    store.replace_scores(again, [ScoreValue(metric="bleu", subset="all", value=50.5, signature="s")])
    store.replace_scores(again, [ScoreValue(metric="bleu", subset="all", value=50.6, signature="s")])
    found = {
        line["reason"].text: (line["split"].text, line["looks"].value, line["trials"].value)
        for line in table(store, "looks-at-test")
    }
    assert found == {"final": ("test", 2, 2), "re-score": ("test", 2, 1)}


def test_a_store_of_searches_alone_has_had_no_look(store):
    search_phase(store, cell_of("prefix", search=SEARCH), [10.0, 20.0], rates=RATES[:2])
    assert "No look at test items is stored." in texts(page(collect(store)))
