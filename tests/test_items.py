"""What each item contributes to a corpus score, against leaving items out and scoring again with sacrebleu."""

import time
import warnings

import known_store
import numpy as np
import pytest

from featherbench.harness.records import Place, Prediction, Result
from featherbench.harness.score import score
from featherbench.harness.store import Store
from featherbench.reports.items import ALL, Items
from featherbench.reports.measured import SEEN, UNSEEN, measured
from featherbench.reports.read import read
from featherbench.tasks.metrics.bleu import bleu

HALVES = {ALL: range(16), SEEN: range(8), UNSEEN: range(8, 16)}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return known_store.build(f"sqlite:///{tmp_path_factory.mktemp('known')}/store.sqlite")


def run_of(store, row, size, number):
    [found] = [r for r in read(store).runs if (r.cell.row, r.cell.size, r.number) == (row, size, number)]
    return found


def corpus(row, size, number, items):
    """Return the BLEU of some items as sacrebleu counts it, without sums of ours."""
    texts, examples = known_store.texts(row, size, number), known_store.examples()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bleu([texts[i] for i in items], [examples[i].references for i in items])


@pytest.mark.parametrize("subset", HALVES)
def test_pseudo_values_are_those_of_leaving_each_item_out(store, subset):
    run = run_of(store, "full_ft", 100, 0)
    items = Items(store, [run])
    members = list(HALVES[subset])
    whole = corpus("full_ft", 100, 0, members)
    without = np.array([corpus("full_ft", 100, 0, [j for j in members if j != i]) for i in members])
    expected = len(members) * whole - (len(members) - 1) * without
    np.testing.assert_allclose(items.psi(run, "bleu", subset), expected, rtol=1e-9)
    assert items.score(run, "bleu", subset) == pytest.approx(whole, rel=1e-12)


def test_a_tag_without_a_stored_score_is_scored_from_its_items(store):
    run = run_of(store, "full_ft", 100, 0)
    assert run.score("bleu", "category=c1") is None
    found = Items(store, [run]).score(run, "bleu", "category=c1")
    assert found == pytest.approx(corpus("full_ft", 100, 0, range(1, 16, 4)), rel=1e-12)


def test_tags_stand_in_the_order_of_the_items(store):
    run = run_of(store, "full_ft", 100, 0)
    assert [tags["category"] for tags in Items(store, [run]).tags(run)] == [f"c{i % 4}" for i in range(16)]


def test_a_failed_trial_an_unknown_score_and_an_empty_tag_have_no_statistics(store):
    failed, fine = run_of(store, "out_of_memory", 100, 3), run_of(store, "out_of_memory", 100, 0)
    items = Items(store, [failed, fine])
    assert items.statistics(failed, "bleu", ALL) is None and items.tags(failed)
    assert items.psi(fine, "meteor", ALL) is None
    assert items.psi(fine, "bleu", "category=none") is None and items.score(fine, "bleu", "category=none") is None


def test_a_score_whose_sums_had_other_names_is_not_read(store, monkeypatch):
    run = run_of(store, "full_ft", 100, 0)
    items = Items(store, [run])
    names, sums = items._statistics[run.trial_id, "bleu"]
    items._statistics[run.trial_id, "bleu"] = (("other", *names[1:]), sums)
    assert items.psi(run, "bleu", ALL) is None
    assert items.score(run, "bleu", ALL) == run.score("bleu", ALL).value, "the stored score stays"


def test_a_thousand_trials_of_64_items_are_quick(tmp_path):
    """Reading the sums, 1,000 jackknifes and the mean over units: under four seconds, one on an idle core."""
    store = Store(f"sqlite:///{tmp_path}/many.sqlite")
    rng = np.random.default_rng(1)
    examples = {i: known_store.examples()[i % 16] for i in range(64)}
    cell = known_store.cell_of("full_ft", None)
    texts = [[" ".join(rng.permutation(e.references[0].split())) for e in examples.values()] for _ in range(10)]
    scored = [
        (
            kept := tuple(Prediction(item=i, text=text, truncated=False) for i, text in enumerate(one)),
            score("places", kept, examples),
        )
        for one in texts
    ]
    store.add_items(
        "places", 1, "test16", [{"item": i, "source": str(i), "references": ["x"], "tags": {}} for i in range(64)]
    )
    store.add_plan("many", "many", "", [cell])
    with store.transaction():
        for number in range(1000):
            trial = known_store.trial_of(cell, number)
            predictions, found = scored[number % 10]
            store.add_places([(Place(cell=cell.id, phase="final", number=number), trial)])
            result = Result(
                trial_id=trial.id,
                status="ok",
                scores=found.values,
                item_statistics=found.statistics,
                predictions=predictions if number == 0 else (),
            )
            store.record([(result, store.begin_attempts([trial.id]).get(trial.id, 0))])
    runs = read(store).runs
    before = time.perf_counter()
    one = measured(runs, "seed", "bleu", ALL, Items(store, runs))
    assert time.perf_counter() - before < 4
    assert one.psi.shape == (1000, 64) and one.values.shape == (1000,)
    assert np.unique(one.values.round(9)).size <= 10
