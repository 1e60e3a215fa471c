"""ablations.html: which rows make an ablation, and that its scores and paired differences are those of the formulas."""

import numpy as np
import pytest
from invented import (
    cell_of,
    cost_of,
    empty_store,
    figures,
    final_phase,
    lines,
    plan,
    put,
    result_of,
    tables,
    texts,
    trial_of,
)
from scipy import stats

from featherbench.reports.ablations import POSITION, WORDS, ablations
from featherbench.reports.pages.ablations import page
from featherbench.reports.report import collect
from featherbench.reports.statistics import intervals, pseudo_values


@pytest.fixture
def store(tmp_path):
    return empty_store(tmp_path)


def found(store):
    """Return {(method, factor): [(value, row)]}."""
    report = collect(store)
    return {
        (one.method, one.factor): [(variant.value, variant.row.label) for variant in one.variants]
        for one in ablations(report.boards, report.searches)
    }


def prefix(row, scores=(50.0, 51.0, 52.0), **more):
    return cell_of(row, "prefix", **more), list(scores)


def fill(store, *rows):
    plan(store, *(cell for cell, _ in rows))
    for cell, scores in rows:
        final_phase(store, cell, scores)


def config(length=10, parametrisation="mlp"):
    return {"length": length, "parametrisation": parametrisation}


# --- which rows -------------------------------------------------------------------------------------------------------


def test_rows_that_differ_in_one_field_are_an_ablation_in_rising_order(store):
    fill(store, *(prefix(f"p{n}", config=config(n)) for n in (20, 1, 5)))
    assert found(store) == {("prefix", "length"): [(1, "p1"), (5, "p5"), (20, "p20")]}
    [one] = ablations(collect(store).boards, ())
    assert one.reference.label == "p20", "the first of the plan"


def test_rows_that_differ_in_two_fields_are_none(store):
    fill(store, prefix("a", config=config(5, "mlp")), prefix("b", config=config(10, "direct")))
    assert found(store) == {} and page(collect(store)) is None


def test_two_fields_make_an_ablation_each_where_the_rows_are_there(store):
    fill(store, *(prefix(f"{n}{p}", config=config(n, p)) for n, p in ((5, "mlp"), (10, "mlp"), (5, "direct"))))
    assert found(store) == {
        ("prefix", "length"): [(5, "5mlp"), (10, "10mlp")],
        ("prefix", "parametrisation"): [("mlp", "5mlp"), ("direct", "5direct")],
    }


def test_task_words_are_a_factor_with_the_words_themselves(store):
    words = (("none", ""), ("init", "table-to-text:"), ("init", "banana"), ("text", "banana"))
    fill(store, *(prefix(f"{w}-{a}", config=config(), words=w, words_as=a) for a, w in words))
    values = [value for value, _ in found(store)["prefix", WORDS]]
    assert values == ["none", "init: table-to-text:", "init: banana", "text: banana"]


def test_positions_of_one_length_are_an_ablation_of_the_family(store):
    fill(
        store,
        prefix("prefix", config={"length": 10, "hidden": 512}),
        (cell_of("infix", config={"length": 10, "hidden": 256}), [40.0, 41.0, 42.0]),
        (cell_of("embedding_only", config={"length": 10}), [30.0, 31.0, 32.0]),
        (cell_of("embedding_only-20", "embedding_only", config={"length": 20}), [30.0, 31.0, 32.0]),
        (cell_of("adapter", config={"bottleneck": 10}), [30.0, 31.0, 32.0]),
    )
    got = found(store)
    assert [row for _, row in got["prefix, infix, embedding_only", POSITION]] == ["prefix", "infix", "embedding_only"]
    assert set(got) == {("prefix, infix, embedding_only", POSITION), ("embedding_only", "length")}


def test_positions_of_one_budget_are_compared_though_their_lengths_differ(store):
    fill(
        store,
        prefix("prefix", config={"length": 12}, budget=0.001),
        (cell_of("embedding_only", config={"length": 234}, budget=0.001), [30.0, 31.0, 32.0]),
        (cell_of("infix", config={"length": 12}), [30.0, 31.0, 32.0]),
    )
    assert {row for rows in found(store).values() for _, row in rows} == {"prefix", "embedding_only"}


def test_positions_are_not_compared_where_the_search_chose_other_lengths(store):
    cells = [
        cell_of(name, config={"length": 10}, search={"study": 0}) for name in ("prefix", "infix", "embedding_only")
    ]
    plan(store, *cells)
    for cell, length in zip(cells, (4, 4, 40), strict=True):
        store.add_proposal(cell.id, 0, {"length": length}, "sobol")
        for seed in range(3):
            trial = trial_of(cell, seed, config={"length": length})
            put(store, cell, "final", seed, trial, result_of(trial, {"bleu": 50.0 + seed}))
    assert found(store) == {("prefix, infix", POSITION): [("prefix", "prefix"), ("infix", "infix")]}


def test_what_a_search_chose_is_no_factor_but_searched_against_fixed_is(store):
    """Both searched cells end with other lengths; that is no ablation."""
    searched = [
        cell_of(f"s{i}", "prefix", config=config(10, p), search={"study": 0}) for i, p in enumerate(("mlp", "direct"))
    ]
    plan(store, *searched, cell_of("fixed", "prefix", config=config(7), search={"study": 0}))
    for i, cell in enumerate(searched):
        store.add_proposal(cell.id, 0, {"length": 3 + i}, "sobol")
        for seed in range(3):
            trial = trial_of(cell, seed, config={**cell.fixed["trial"]["config"], "length": 3 + i})
            put(store, cell, "final", seed, trial, result_of(trial, {"bleu": 50.0 + seed}))
    final_phase(store, cell_of("fixed", "prefix", config=config(7), search={"study": 0}), [50.0, 51.0, 52.0])
    assert found(store) == {
        ("prefix", "parametrisation"): [("mlp", "s0"), ("direct", "s1")],
        ("prefix", "length"): [("searched", "s0"), (7, "fixed")],
    }


def test_a_row_with_a_search_and_one_without_are_none(store):
    """As a row and its baseline without a search: they differ in all that was searched."""
    fill(store, prefix("tuned", config=config(5), search={"study": 0}), prefix("default", config=config(10)))
    assert found(store) == {}


def test_what_trains_nothing_is_no_variant(store):
    rows = [
        (cell_of(f"{m}{w}", m, words=w, words_as="text"), [5.0, 5.0, 5.0])
        for m in ("untuned", "copy_source")
        for w in "ab"
    ]
    fill(store, *rows)
    assert found(store) == {}


def test_other_boards_and_rows_without_a_result_take_no_part(store):
    fill(store, prefix("p5", config=config(5)), prefix("p10", config=config(10), size=100))
    put(
        store,
        cell_of("p20", "prefix", config=config(20)),
        "final",
        0,
        trial_of(cell_of("p20", "prefix", config=config(20)), 0),
    )
    assert found(store) == {}


def test_a_learning_rate_that_the_plan_gives_by_row_is_told(store):
    given = [{"length": 5}, {"length": 10, "learning_rate": 3e-3}]
    fill(store, *(prefix(f"p{g['length']}", config=config(g["length"]), given=g) for g in given))
    [told] = [text for text in texts(page(collect(store))) if "differ in learning rate" in text]
    assert "learning rate (default, 0.003)" in told


# --- numbers ----------------------------------------------------------------------------------------------------------


def test_scores_and_paired_differences_are_those_of_the_t_formula(store):
    first, second = [50.0, 51.0, 53.0], [54.0, 56.5, 55.0]
    fill(store, prefix("p5", first, config=config(5)), prefix("p10", second, config=config(10)))
    [table] = tables(page(collect(store))).values()
    five, ten = lines(table)
    assert five["difference to p5"].note == "reference" and five["difference to p5"].value is None
    differences = np.subtract(second, first)
    low, high = stats.t.interval(0.95, 2, loc=differences.mean(), scale=stats.sem(differences))
    assert ten["difference, this test set"].value == pytest.approx(differences.mean())
    assert ten["difference, this test set"].parts["half width"] == pytest.approx((high - low) / 2)
    low, high = stats.t.interval(0.95, 2, loc=np.mean(second), scale=stats.sem(second))
    assert ten["bleu, this test set"].value == pytest.approx(np.mean(second))
    assert ten["bleu, this test set"].parts["half width"] == pytest.approx((high - low) / 2)
    assert ten["bleu"].parts["half width"] is None and "no item statistics" in ten["bleu"].note
    assert "no item statistics" in ten["difference to p5"].note and ten["difference to p5"].value == pytest.approx(
        differences.mean()
    )
    assert (ten["trials"].value, ten["stored parameters"].value) == (3, 1_000)


def test_with_item_statistics_the_first_interval_speaks_of_new_inputs(store):
    """ROUGE-L of xsum's kind: a mean over items, whose pseudo-values are the items' own scores."""
    rng = np.random.default_rng(3)
    lines_of = {n: rng.uniform(20, 60, (3, 6)) for n in (5, 10)}
    cells = {n: cell_of(f"p{n}", "prefix", task="xsum", config=config(n)) for n in (5, 10)}
    plan(store, *cells.values())
    names = ("line", "items")
    for n, cell in cells.items():
        for seed in range(3):
            trial, values = trial_of(cell, seed), lines_of[n][seed]
            sums = {"rougeL": (names, np.column_stack([values / 100, np.ones(6)]))}
            put(store, cell, "final", seed, trial, result_of(trial, {"rougeL": values.mean()}, sums=sums))
    rows = [{"item": i, "source": f"s{i}", "references": ["r"], "tags": {}} for i in range(6)]
    store.add_items("xsum", 1, "test", rows)
    [table] = tables(page(collect(store))).values()
    five, ten = lines(table)
    assert pseudo_values([2.0], [[1.5, 2.5]])[0] == pytest.approx([2.5, 1.5]), "items' own scores, of a mean"
    psi = lines_of[10] - lines_of[5]
    expected = intervals(psi.mean(axis=1), psi)
    half = {
        key: float(part.high - part.low) / 2 for key, part in (("new", expected.primary), ("same", expected.test_set))
    }
    assert ten["difference to p5"].value == pytest.approx(psi.mean())
    assert ten["difference to p5"].parts["half width"] == pytest.approx(half["new"])
    assert ten["difference, this test set"].parts["half width"] == pytest.approx(half["same"])
    alone = intervals(lines_of[5].mean(axis=1), lines_of[5])
    assert five["rougeL"].parts["half width"] == pytest.approx(float(alone.primary.high - alone.primary.low) / 2)
    assert five["rougeL, this test set"].parts["half width"] == pytest.approx(
        float(alone.test_set.high - alone.test_set.low) / 2
    )


def test_two_seeds_have_a_difference_without_an_interval(store):
    fill(store, prefix("p5", [50.0, 51.0], config=config(5)), prefix("p10", [54.0, 56.0], config=config(10)))
    [table] = tables(page(collect(store))).values()
    field = lines(table)[1]["difference to p5"]
    assert field.value == pytest.approx(4.5) and "no interval below 3" in field.note


def test_the_figure_is_logarithmic_for_numbers_and_by_name_for_others(store):
    fill(
        store,
        *(prefix(f"p{n}", [40.0 + n, 41.0 + n, 42.0 + n], config=config(n)) for n in (5, 20)),
        prefix("direct", [30.0, 31.0, 32.0], config=config(5, "direct")),
    )
    report = collect(store)
    scales = {}
    for block in page(report).all_blocks():
        if type(block).__name__ == "Figure":
            x = block.spec["layer"][0]["encoding"]["x"]
            scales[x["title"]] = (x["type"], x.get("scale", {}).get("type"))
    assert scales == {"length (log axis)": ("quantitative", "log"), "parametrisation": ("nominal", None)}
    by_length = next(
        layers for name, layers in figures(page(report)).items() if any(p["x"] == 20 for p in layers[0][1])
    )
    [(circle, dots), (rule, ends), (point, means)] = by_length
    assert (circle, rule, point) == ("circle", "rule", "point")
    assert sorted((p["x"], p["y"]) for p in dots) == [(n, 40.0 + n + i) for n in (5, 20) for i in range(3)]
    assert [(p["x"], p["y"]) for p in means] == [(5, 46.0), (20, 61.0)]
    half = stats.t.ppf(0.975, 2) / np.sqrt(3)
    assert [p["low"] for p in ends] == pytest.approx([46 - half, 61 - half])
    assert [p["high"] for p in ends] == pytest.approx([46 + half, 61 + half])


def test_stored_parameters_stand_beside_each_value(store):
    cells = [cell_of(f"p{n}", "prefix", config=config(n)) for n in (5, 10)]
    plan(store, *cells)
    for cell, stored in zip(cells, (700, 1_400), strict=True):
        final_phase(store, cell, [50.0, 51.0, 52.0], cost=cost_of(stored=stored))
    [table] = tables(page(collect(store))).values()
    assert [line["stored parameters"].value for line in lines(table)] == [700, 1_400]


def test_every_table_and_figure_has_a_name_and_a_title_of_its_own(store):
    fill(store, *(prefix(f"{n}{p}", config=config(n, p)) for n in (5, 10) for p in ("mlp", "direct")))
    blocks = [block for block in page(collect(store)).all_blocks() if hasattr(block, "name")]
    assert len(blocks) == 8, "two ablations of each field: a table and a figure"
    assert (
        len({block.name for block in blocks}) == 8
        and len({block.title for block in blocks if hasattr(block, "rows")}) == 4
    )
