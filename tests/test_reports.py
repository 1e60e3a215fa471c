"""The reports: what enters a number, what stays visible, what is escaped, and that nothing is loaded."""

import csv
import json
import math
import re

import polars as pl
import pytest
from scipy import stats

from featherbench.harness.records import (
    Cell,
    Cost,
    CurvePoint,
    DecodingSettings,
    Place,
    Prediction,
    Result,
    ScoreValue,
    Settings,
    Subset,
    Trial,
)
from featherbench.harness.store import Store
from featherbench.reports import text
from featherbench.reports.aggregate import boards, summarise
from featherbench.reports.charts import parameters, strip
from featherbench.reports.charts.parts import FAINT, PALETTE, method_colours, row_hue
from featherbench.reports.comparisons import difference
from featherbench.reports.interval import estimate
from featherbench.reports.pages import search as search_page
from featherbench.reports.pages.board import pairs_table
from featherbench.reports.read import read
from featherbench.reports.samples import choose, samples
from featherbench.reports.search import searches
from featherbench.reports.site import write_report

EVIL = '<script>alert(1)</script> | & "x"\n`*_[a](https://evil.example)'
TEST = Subset(name="test12", split="test", size=12, sha256="e" * 64)
VALIDATION = Subset(name="validation", split="validation", sha256="f" * 64)
SIZES = {"untuned": 0, "full_ft": 1_000_000, "prefix": 1_000, "infix": 1_010, "adapter": 12_000}


# --- an invented store --------------------------------------------------------------------------------------------


def cell_of(row, size=None, task="places"):
    return Cell(row=row, backbone="tiny", task=task, size=size, method=row, fixed={})


def trial_of(cell, seed, learning_rate=1e-3, draw=None, evaluate=TEST):
    return Trial(
        backbone=cell.backbone,
        backbone_sha256="b" * 64,
        method=cell.method,
        method_version=1,
        config={"length": 5},
        learning_rate=learning_rate,
        weight_decay=0.0,
        steps=0 if cell.method == "untuned" else 40,
        task=cell.task,
        task_version=1,
        train=Subset(name="train", split="train", size=cell.size, draw=draw, sha256="d" * 64),
        validation=VALIDATION,
        evaluate=evaluate,
        settings=Settings(),
        decoding=DecodingSettings(beams=5, max_new_tokens=48, length_penalty=1.0),
        words="",
        words_as="none",
        seed=seed,
        precision="float32",
    )


def cost_of(row, scale=1.0):
    tuned = row != "untuned"
    return Cost(
        trained_parameters=3 * SIZES[row],
        stored_parameters=SIZES[row],
        total_parameters=1_000_000,
        stored_bytes=4 * SIZES[row],
        steps=40 * tuned,
        train_tokens=8_000 * tuned,
        train_seconds=100.0 * scale * tuned,
        decode_seconds=10.0,
        seconds=111.0,
        tokens_per_second=80.0 * tuned,
        train_flops=1.5e12 * tuned,
        decode_flops=1e11,
        train_peak_bytes=2_500_000_000 * tuned,
        decode_peak_bytes=1_200_000_000,
        device="CPU",
    )


def scores_of(seen, unseen, signature="bleu|version:1|items:12"):
    values = {"all": (seen + unseen) / 2, "seen=seen": seen, "seen=unseen": unseen}
    bleu = [ScoreValue(metric="bleu", subset=s, value=v, signature=signature) for s, v in values.items()]
    chrf = ScoreValue(metric="chrf", subset="all", value=(seen + unseen) / 200, signature="chrf")
    return (*bleu, chrf, ScoreValue(metric="meteor", subset="all", value=None, signature="no Java found"))


def result_of(trial, seen, unseen, **more):
    losses = {0: 3.0, 20: 2.0 - seen / 100, 40: 2.1}
    content = {
        "status": "ok",
        "scores": scores_of(seen, unseen),
        "curve": tuple(CurvePoint(step=s, name="validation_loss", value=v) for s, v in losses.items()),
        "predictions": tuple(Prediction(item=i, text=f"{trial.method} says {i}", truncated=i == 3) for i in range(12)),
        "best_step": 20,
        "cost": cost_of(trial.method),
        "provenance": {"packages": {"torch": "2.11"}, "gpu": None, "git_commit": "abc123"},
    }
    return Result(trial_id=trial.id, **(content | more))


def fill(store, cell, phase, number, trial, result=None):
    """Put a trial at a place and, given a result, finish it."""
    store.add_places([(Place(cell=cell.id, phase=phase, number=number), trial)])
    if result is not None:
        store.record([(result, store.begin_attempts([trial.id]).get(trial.id, 0))])


def run(store, row, seed, seen, unseen, number=None, **more):
    cell, trial = cell_of(row), trial_of(cell_of(row), seed)
    fill(store, cell, "final", seed if number is None else number, trial, result_of(trial, seen, unseen, **more))
    return trial


@pytest.fixture
def store(tmp_path):
    return invented_store(tmp_path)


def invented_store(folder):
    """Five rows: one deterministic, one with a diverged trial, one with a failed and one with an unfinished trial."""
    kept = Store(f"sqlite:///{folder}/store.sqlite")
    rows = [cell_of(row) for row in SIZES]
    kept.add_plan("p1", "invented", "name: invented # <b>bold</b>", rows)
    tags = [{"seen": "seen" if i < 6 else "unseen", "category": "Inn"} for i in range(12)]
    items = [{"item": i, "source": f"source {i}", "references": [f"reference {i}"], "tags": tags[i]} for i in range(12)]
    items[0]["source"] = EVIL
    kept.add_items("places", 1, "test12", items)
    kept.add_index_lists({"e" * 64: list(range(12))})
    run(kept, "untuned", 0, 20.0, 10.0)
    for seed, (seen, unseen) in enumerate([(60.0, 40.0), (62.0, 38.0), (64.0, 45.0)]):
        run(kept, "full_ft", seed, seen, unseen, **({"cost": cost_of("full_ft", 2.0)} if seed else {}))
    outputs = (Prediction(item=0, text=EVIL, truncated=False), Prediction(item=6, text=" ", truncated=True))
    run(kept, "prefix", 0, 50.0, 48.0, predictions=outputs)
    run(kept, "prefix", 1, 54.0, 50.0, status="diverged", cause="the loss became infinite at step 31")
    run(kept, "infix", 0, 51.0, 44.0)
    run(kept, "infix", 1, 49.0, 43.0)
    cell, trial = cell_of("infix"), trial_of(cell_of("infix"), 2)
    fill(kept, cell, "final", 2, trial, Result(trial_id=trial.id, status="failed", cause=f"out of memory {EVIL}"))
    run(kept, "adapter", 0, 55.0, 41.0)
    fill(kept, cell_of("adapter"), "final", 1, trial_of(cell_of("adapter"), 1))
    for number, rate in enumerate((1e-4, 1e-3, 1e-2)):
        trial = trial_of(cell_of("prefix"), 99, learning_rate=rate, evaluate=VALIDATION)
        kept.add_proposal(cell_of("prefix").id, number, {"learning_rate": rate}, "sobol")
        score = 70.0 + number if number < 2 else 0.0
        fill(kept, cell_of("prefix"), "search", number, trial, result_of(trial, score, score))
    return kept


def board_with(tmp_path, second, **changes):
    """Return the one board of two rows, full_ft and `second`, whose cell or trials differ by `changes`."""
    kept = Store(f"sqlite:///{tmp_path}/two.sqlite")
    for row in ("full_ft", second):
        fixed = changes.get("fixed", {}) if row == second else ALIKE
        cell = cell_of(row).model_copy(update={"fixed": fixed, **changes.get("cell", {})} if row == second else {})
        cell = cell if row == second else cell.model_copy(update={"fixed": fixed})
        trial = trial_of(cell, 0).model_copy(update=changes.get("trial", {}) if row == second else {})
        kept.add_plan(f"p {row}", row, "", [cell])
        fill(kept, cell, "final", 0, trial, result_of(trial, 50.0, 50.0))
    return board_of(kept)


@pytest.fixture
def written(store, tmp_path):
    write_report(store, tmp_path / "report")
    return tmp_path / "report"


def board_page(site):
    [page] = (site / "boards").iterdir()
    return page.read_text()


def every_page(site):
    return {path.relative_to(site).as_posix(): path.read_text() for path in site.rglob("*.html")}


def board_of(store):
    [board] = boards(read(store))
    return board


def texts(board):
    return [caution.text for caution in board.cautions]


def row_of(store, label):
    [row] = [row for row in board_of(store).rows if row.label == label]
    return row


# --- what enters a number -------------------------------------------------------------------------------------------


def test_the_interval_is_the_t_formula_on_hand_numbers():
    found = estimate([1.0, 2.0, 3.0, 6.0])
    assert found.mean == 3.0
    # s = sqrt((4 + 1 + 0 + 9) / 3), t(0.975, 3) = 3.182446 from any table
    assert found.half_width == pytest.approx(3.182446 * math.sqrt(14 / 3) / 2, rel=1e-6)
    low, high = stats.t.interval(0.95, 3, loc=3.0, scale=stats.sem([1, 2, 3, 6]))
    assert found.bounds == pytest.approx((low, high), rel=1e-12)


def test_one_value_has_no_interval_and_none_has_no_mean():
    assert (estimate([5.0]).mean, estimate([5.0]).half_width) == (5.0, None)
    assert estimate([5.0]).note == "1 seed: no interval below 3"
    assert estimate([]).mean is None


ALIKE = {"trial": {"steps": 40}, "search": {"configurations": 0}}


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ({"fixed": ALIKE}, None),
        ({"fixed": ALIKE | {"trial": {"steps": 80}}}, "rows have different step caps"),
        ({"fixed": ALIKE | {"search": {"configurations": 16}}}, "rows spent unequal searches"),
        ({"fixed": ALIKE, "trial": {"words": "say:", "words_as": "text"}}, "some rows were given task words"),
        (
            {"fixed": ALIKE, "cell": {"method": "full_ft"}, "trial": {"method": "full_ft", "method_version": 2}},
            "full_ft stands here in several versions",
        ),
    ],
    ids=["alike", "steps", "search", "words", "versions"],
)
def test_rows_that_were_not_treated_alike_are_told(tmp_path, changes, warning):
    told = [caution.text for caution in board_with(tmp_path, "prefix", **changes).cautions if caution.unequal]
    assert [text for text in told if warning is not None and text.startswith(warning)] == list(told)
    assert bool(told) == (warning is not None)


@pytest.mark.parametrize(
    ("fixed", "cautioned"),
    [
        (ALIKE, False),
        (ALIKE | {"search": {"configurations": 16}}, True),
        (ALIKE | {"search": {"configurations": 16}, "final": {"estimand": "procedure"}}, False),
    ],
    ids=["no search", "one search", "a search for each draw"],
)
def test_a_board_says_where_its_intervals_leave_the_search_out(tmp_path, fixed, cautioned):
    board = board_with(tmp_path, "prefix", fixed=fixed)
    found = [caution for caution in board.cautions if caution.text.startswith("one search chose each row's")]
    assert bool(found) == cautioned and not any(caution.unequal for caution in found)


def test_inputs_that_a_row_was_trained_on_are_a_caution(store):
    assert not [text for text in texts(board_of(store)) if "also stand" in text]
    run(store, "adapter", 5, 55.0, 41.0, provenance={"also_trained_on": {"validation": 0, "test": 3}})
    [told] = [text for text in texts(board_of(store)) if "also stand" in text]
    assert told == "test inputs that also stand in the pairs that some trial was trained on: 3"


def test_rows_whose_outputs_are_cut_or_that_a_copy_reaches_are_a_caution(tmp_path):
    kept, cells = Store(f"sqlite:///{tmp_path}/store.sqlite"), [cell_of(row) for row in ("copy_source", "low", "high")]
    kept.add_plan("p", "p", "", cells)
    for cell, score in zip(cells, (20.0, 20.0, 21.0), strict=True):
        for seed in range(1 if cell.row == "copy_source" else 3):
            trial = trial_of(cell, seed).model_copy(update={"steps": 0} if cell.row == "copy_source" else {})
            outputs = tuple(Prediction(item=i, text="a", truncated=cell.row == "high" and i < 3) for i in range(20))
            fill(
                kept,
                cell,
                "final",
                seed,
                trial,
                Result(trial_id=trial.id, status="ok", scores=scores_of(score, score), predictions=outputs),
            )
    told = texts(board_of(kept))
    assert "scored no better than a copy of the source, by their means: low" in told
    assert "more than 10 % of the outputs were cut at the most new tokens: high" in told


def test_rows_that_were_still_learning_are_a_caution(tmp_path):
    kept, cells = Store(f"sqlite:///{tmp_path}/store.sqlite"), [cell_of(row) for row in ("short", "done")]
    kept.add_plan("p", "p", "", cells)
    for cell in cells:
        for seed in range(4):
            trial = trial_of(cell, seed)
            last = trial.steps if cell.row == "short" and seed < 3 else 20
            scores = scores_of(20.0, 20.0)
            fill(
                kept, cell, "final", seed, trial, Result(trial_id=trial.id, status="ok", scores=scores, best_step=last)
            )
    [told] = [text for text in texts(board_of(kept)) if "last step" in text]
    assert told.endswith("so more steps may help: short")


def test_every_pair_is_the_paired_difference_both_ways(store):
    board = board_of(store)
    table = pairs_table(board)
    labels = [row.label for row in board.by_score()]
    assert [field.text for field in table.header[1:]] == labels == [row[0].text for row in table.rows]
    at = {(row[0].text, column): field for row in table.rows for column, field in zip(labels, row[1:], strict=True)}
    rows = {row.label: row for row in board.rows}
    for (one, other), field in at.items():
        if one == other:
            assert field.text == ""
            continue
        apart = difference(board, rows[one], rows[other])
        assert field.value == pytest.approx(apart.estimate) and field.value == -at[other, one].value
        assert field.parts["half width"] == at[other, one].parts["half width"]
        assert (field.parts["half width"] is None) == (apart.found is None)


def test_every_row_says_what_the_backbone_had_seen(store):
    saw = {"provenance": {"seen_in_pretraining": "its training part"}}
    run(store, "adapter", 5, 55.0, 41.0, **saw)
    assert "seen in pretraining: its training part" in row_of(store, "adapter").notes
    assert not [note for note in row_of(store, "prefix").notes if "pretraining" in note]


@pytest.mark.parametrize("values", [[1.0, 2.5, 2.0], [0.3, 0.1, 0.7], [61.2, 60.9, 63.3, 61.0, 62.4]])
def test_laws_of_the_interval(values):
    """Order does not matter; a shift moves the mean only; a factor scales both."""
    base, turned = estimate(values), estimate(values[::-1])
    assert turned.mean == base.mean and turned.half_width == pytest.approx(base.half_width, rel=1e-12)
    moved, scaled = estimate([v + 10 for v in values]), estimate([3 * v for v in values])
    assert (moved.mean, moved.half_width) == pytest.approx((base.mean + 10, base.half_width), rel=1e-9)
    assert (scaled.mean, scaled.half_width) == pytest.approx((3 * base.mean, 3 * base.half_width), rel=1e-9)


def test_laws_of_aggregation(store):
    """The order of the runs does not matter, a second place of a trial and a failed one change no estimate."""
    runs = [run for run in read(store).runs if run.phase == "final" and run.cell.row == "full_ft"]
    metrics, subsets = ("bleu",), ("all", "seen=seen", "seen=unseen")
    base = summarise(runs, metrics, subsets)
    assert summarise(runs[::-1], metrics, subsets).scores == base.scores
    gap = base.scores["bleu", "seen=unseen"].mean - base.scores["bleu", "seen=seen"].mean
    assert base.gaps["bleu"].mean == pytest.approx(gap, rel=1e-12)
    run(store, "full_ft", 0, 60.0, 40.0, number=7)
    cell, failing = cell_of("full_ft"), trial_of(cell_of("full_ft"), 8)
    fill(store, cell, "final", 8, failing, Result(trial_id=failing.id, status="failed", cause="broken"))
    again = row_of(store, "full_ft")
    assert {key: again.scores[key] for key in base.scores} == base.scores and again.costs == base.costs
    assert (again.counts.places, again.counts.counted, again.counts.failed, again.counts.repeated) == (5, 3, 1, 1)


def test_final_trials_only_are_averaged(store):
    row = row_of(store, "prefix")
    assert row.scores["bleu", "all"].mean == pytest.approx((49.0 + 52.0) / 2)
    assert row.counts.counted == 2, "the diverged trial counts, the three search trials do not"


def test_a_failed_trial_is_visible_and_not_averaged(store, written):
    row = row_of(store, "infix")
    assert row.scores["bleu", "all"].mean == pytest.approx((47.5 + 46.0) / 2)
    assert (row.counts.places, row.counts.counted, row.counts.failed) == (3, 2, 1)
    assert any("1 failed" in note for note in row.notes)
    for name in ("index.html", "report.md", "trials.csv"):
        assert "out of memory" in (written / name).read_text() and "at step 31" in (written / name).read_text()


def test_an_unfinished_trial_is_visible(store, written):
    assert any("1 not finished" in note for note in row_of(store, "adapter").notes)
    assert "not finished" in (written / "index.html").read_text()


def test_the_gap_is_taken_within_each_trial(store):
    gap = row_of(store, "full_ft").gaps["bleu"]
    assert gap == estimate([40.0 - 60.0, 38.0 - 62.0, 45.0 - 64.0])


def test_seeds_on_one_draw_are_averaged_before_the_interval(tmp_path):
    store, cell = Store(f"sqlite:///{tmp_path}/draws.sqlite"), cell_of("prefix", size=50)
    store.add_plan("p", "draws", "", [cell])
    for number, value in enumerate([10.0, 12.0, 20.0, 22.0, 30.0, 32.0]):
        trial = trial_of(cell, number, draw=f"final{number // 2}")
        fill(store, cell, "final", number, trial, result_of(trial, value, value))
    [row] = board_of(store).rows
    assert row.unit == "draw" and row.scores["bleu", "all"] == estimate([11.0, 21.0, 31.0], "draw")
    assert "6 trials on 3 draws: averaged within each draw first" in row.notes


def test_scores_of_different_scorers_are_not_averaged(store):
    run(store, "adapter", 5, 55.0, 41.0, scores=scores_of(50.0, 40.0, "bleu|version:2|items:12"))
    value = row_of(store, "adapter").scores["bleu", "all"]
    assert value.mean is None and "different scorers" in value.note
    assert row_of(store, "adapter").gaps["bleu"].mean is None
    assert any("bleu (all) comes from different scorers" in warning for warning in texts(board_of(store)))


def test_a_score_without_value_says_why(store):
    value = row_of(store, "full_ft").scores["meteor", "all"]
    assert value.mean is None and "no Java found" in value.note


def test_costs_are_means_and_say_what_was_not_measured(store):
    row, bare = row_of(store, "full_ft"), row_of(store, "untuned")
    assert row.costs["train_seconds"].value == pytest.approx((100 + 200 + 200) / 3)
    assert row.costs["stored_percent"].value == 100.0
    assert bare.costs["tokens_per_second"].value is None and bare.costs["tokens_per_second"].note == "no training"


def test_rows_follow_the_plan_and_few_seeds_are_marked(store):
    rows = board_of(store).rows
    assert [row.label for row in rows] == list(SIZES)
    marked = [row.label for row in rows if any("not ranked: too few seeds" in note for note in row.notes)]
    assert marked == ["prefix", "infix", "adapter"]
    assert rows[0].deterministic and rows[0].scores["bleu", "all"].note == "deterministic"
    assert board_of(store).primary == "bleu"


def test_another_evaluated_subset_or_version_is_another_table(store):
    cell = cell_of("prefix")
    other = trial_of(cell, 0, evaluate=Subset(name="test", split="test", sha256="a" * 64))
    fill(store, cell, "final", 10, other, result_of(other, 90.0, 90.0))
    assert [board.key.evaluated for board in boards(read(store))] == ["test12", "test"]
    assert row_of_first(store, "prefix").counts.counted == 2


def row_of_first(store, label):
    return next(row for row in boards(read(store))[0].rows if row.label == label)


def test_an_infinite_value_never_becomes_a_number(store):
    run(store, "adapter", 6, 1.0, 1.0, cost=cost_of("adapter").model_copy(update={"train_flops": math.inf}))
    quantity = row_of(store, "adapter").costs["train_flops"]
    assert math.isfinite(quantity.value) and quantity.note == "mean of 1 of 2 trials"


# --- the files ------------------------------------------------------------------------------------------------------


def test_an_empty_store_is_refused_with_the_mend(tmp_path):
    store = Store(f"sqlite:///{tmp_path}/empty.sqlite")
    with pytest.raises(ValueError, match="no finished trial.*featherbench run"):
        write_report(store, tmp_path / "report")
    fill_plan(store)
    with pytest.raises(ValueError, match=r"no finished trial \(1 planned\)"):
        write_report(store, tmp_path / "report")
    assert not (tmp_path / "report").exists()


def fill_plan(store):
    cell = cell_of("prefix")
    store.add_plan("p", "planned", "", [cell])
    fill(store, cell, "final", 0, trial_of(cell, 0))


def test_a_store_with_a_search_only_shows_no_result(tmp_path):
    store, cell = Store(f"sqlite:///{tmp_path}/search.sqlite"), cell_of("prefix")
    store.add_plan("p", "search", "", [cell])
    trial = trial_of(cell, 0, evaluate=VALIDATION)
    fill(store, cell, "search", 0, trial, result_of(trial, 70.0, 70.0))
    write_report(store, tmp_path / "report")
    assert not list((tmp_path / "report" / "figures").iterdir())
    page = (tmp_path / "report" / "index.html").read_text()
    assert "there is no result to show" in page and "Cells without a final trial" in page
    [line] = pl.read_csv(tmp_path / "report" / "cells.csv").iter_rows(named=True)
    [run] = read(store).runs
    assert (line["spend_trials"], line["spend_seconds"]) == (1, run.cost.seconds), (
        "searched for nothing, but not for free"
    )


def spent_by(store, cell):
    """Return the seconds of each trial of a cell that has a stored cost."""
    return list({r.trial_id: r.cost.seconds for r in read(store).runs if r.cell.id == cell and r.cost}.values())


def test_the_csv_numbers_equal_the_store(store, written):
    cells, trials = pl.read_csv(written / "cells.csv"), pl.read_csv(written / "trials.csv")
    assert cells["row"].to_list() == list(SIZES)
    for row in board_of(store).rows:
        line = cells.row(by_predicate=pl.col("row") == row.label, named=True)
        value = row.scores["bleu", "all"]
        assert (line["bleu.all.mean"], line["bleu.all.half_width"]) == (value.mean, value.half_width)
        assert line["trials"] == row.counts.counted and line["stored_parameters"] == SIZES[row.label]
        spent = spent_by(store, row.cell.id)
        assert (line["spend_trials"], line["spend_seconds"]) == (len(spent), pytest.approx(sum(spent), rel=1e-12))
    assert len(spent_by(store, cell_of("prefix").id)) > 3, "the search is a part of it"
    runs = read(store).runs
    assert trials.height == len(runs) == 14
    for line, one in zip(trials.iter_rows(named=True), runs, strict=True):
        assert (line["trial"], line["phase"], line["number"]) == (one.trial_id, one.phase, one.number)
        assert line["learning_rate"] == one.trial.learning_rate
        stored = one.score("bleu", "seen=unseen")
        assert line["bleu.seen=unseen"] == (stored.value if stored else None)


def test_no_spreadsheet_takes_a_field_for_a_formula(store, tmp_path):
    trial = trial_of(cell_of("infix"), 3)
    fill(store, cell_of("infix"), "final", 3, trial, Result(trial_id=trial.id, status="failed", cause="=1+1"))
    write_report(store, tmp_path / "out")
    assert "'=1+1" in pl.read_csv(tmp_path / "out" / "trials.csv")["cause"].to_list()


def test_provenance_says_what_was_used(written):
    origin = json.loads((written / "provenance.json").read_text())
    assert origin["looks"] == [{"task": "places", "split": "test12", "reason": "final", "looks": 9, "trials": 9}]
    torch = {row["value"]: (row["trials"], row["methods"]) for row in origin["machines"]["packages.torch"]}
    every = sorted({method for _, methods in torch.values() for method in methods})
    assert torch["2.11"][0] == 12 and torch["not recorded"][0] == 1 and len(torch["not recorded"][1]) == 1 < len(every)
    assert origin["plans"][0]["text"] == "name: invented # <b>bold</b>"
    assert "name: invented # &lt;b&gt;bold" in (written / "provenance.html").read_text()
    assert any(row["signature"] == "bleu|version:1|items:12" for row in origin["scorers"])
    values = {row["key"]: row["value"] for row in csv.DictReader((written / "tables" / "machines.csv").open())}
    assert values["gpu"] in ("none", "not recorded"), "nothing is not all"
    sizes = {row["name"]: row["size"] for row in csv.DictReader((written / "tables" / "index-lists.csv").open())}
    assert sizes["validation"] == "all" and sizes["test12"] == "12"


# --- untrusted text -------------------------------------------------------------------------------------------------


def test_model_text_is_escaped_on_every_page(written):
    pages = every_page(written)
    folders = [name.split("/")[0] for name in pages if "/" in name]
    assert (folders.count("boards"), folders.count("trials")) == (1, 14)
    assert not [name for name, page in pages.items() if "<script>alert" in page.lower()]
    escaped = "&lt;script&gt;alert(1)&lt;/script&gt; | &amp; &#34;x&#34;"
    assert pages["index.html"].count(escaped) == 1, "cause"
    assert board_page(written).count(escaped) == 2, "source and output"
    failed = [page for name, page in pages.items() if name.startswith("trials/") and "out of memory" in page]
    assert len(failed) == 1 and escaped in failed[0]


def test_model_text_is_escaped_in_markdown(written):
    page = (written / "report.md").read_text()
    assert "<script" not in page and "](https" not in page and "https://evil" not in page
    assert page.count("&#60;script&#62;alert(1)&#60;/script&#62; &#124; &#38; &#34;x&#34; ⏎ ") == 3
    for block in re.findall(r"(?:^\|.*\n)+", page, flags=re.MULTILINE):
        assert len({line.count("|") for line in block.splitlines()}) == 1, "every row has the columns of its header"


def test_a_label_cannot_leave_the_embedded_chart(tmp_path):
    store, name = Store(f"sqlite:///{tmp_path}/label.sqlite"), "</script><script>alert(2)</script>"
    cell = Cell(row=name, backbone="tiny", task="places", size=None, method="prefix", fixed={})
    store.add_plan("p", name, name, [cell])
    trial = trial_of(cell, 0)
    fill(store, cell, "final", 0, trial, result_of(trial, 1.0, 2.0))
    write_report(store, tmp_path / "report")
    assert not [page for page in every_page(tmp_path / "report").values() if "<script>alert" in page]
    [spec, _] = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', board_page(tmp_path / "report"))
    assert name in json.dumps(json.loads(spec))


def test_control_characters_become_visible():
    assert text.visible("a\x00b\x1b[0m\r\nc\td") == "a␀b␛[0m\nc\td"
    assert text.markdown("a|b\nc") == "a&#124;b ⏎ c"


# --- parts ----------------------------------------------------------------------------------------------------------


def test_the_search_names_the_best_on_validation_and_what_was_used(store):
    [search] = searches(store, read(store))
    assert (search.proposed, len(search.tried), search.foreign) == (3, 3, 0)
    assert search.best.numbers == (1,) and [tried.used for tried in search.tried] == [False, True, False]
    [row] = search_page.search_table([search]).rows
    assert "number 1: bleu 71.00 on validation" in row[4].text and row[5].note == "the best on validation"


def test_samples_are_spread_evenly_over_the_groups():
    group = {i: "seen" if i < 90 else "unseen" for i in range(100)}
    assert choose(set(range(100)), group, 8) == [0, 22, 45, 67, 90, 92, 95, 97]
    assert choose({1, 2, 95}, group, 8) == [1, 2, 95]
    assert choose(set(), {}, 8) == []


def test_samples_show_every_row_and_mark_truncated_and_empty_ones(store):
    shown = samples(store, board_of(store))
    assert [sample.item for sample in shown] == [0, 6], "the inputs that every row decoded"
    assert all([output.label for output in sample.outputs] == list(SIZES) for sample in shown)
    blank = next(output for output in shown[1].outputs if output.label == "prefix")
    assert blank.truncated and blank.empty


def test_the_figure_holds_every_trial_and_dodges_equal_sizes(store):
    spec = json.dumps(parameters.parameters_chart(board_of(store)))
    for value in (50.0, 54.5, 49.0, 52.0, 47.5, 46.0, 48.0):
        assert f'"score": {value}' in spec
    half = parameters.SHIFT // 2
    for shift in (-half + parameters.MEAN, half + parameters.MEAN, 0 + parameters.MEAN):
        assert f'"xOffset": {shift}' in spec
    assert '"strokeDash"' in spec, "untuned is a rule"


def test_the_strip_keeps_dots_inside_and_cuts_wide_intervals(store):
    board = board_of(store)
    drawn = strip.strip(board, row_of(store, "prefix"), "bleu", "all")
    assert len(drawn.dots) == 2 and [dot.diverged for dot in drawn.dots] == [False, True]
    assert all(0 < dot.x < strip.WIDTH for dot in drawn.dots)
    assert drawn.low is None and not drawn.cut_low, "two seeds have no interval"


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([68.0, 68.5, 69.0], "68.5 ± 1.2"),
        ([0.5, 0.6], "0.5500"),
        ([0.5, 0.6, 0.55], "0.55 ± 0.12"),
        ([3.0], "3.000"),
        ([2.0, 2.0, 2.0], "2.000 ± 0.000"),
    ],
)
def test_scores_show_the_digits_that_the_interval_allows(values, shown):
    assert text.estimate_text(estimate(values)) == shown


@pytest.mark.parametrize(
    ("shown", "wanted"),
    [
        (text.number_text(1234567), "1,234,567"),
        (text.number_text(0.09876), "0.0988"),
        (text.number_text(12345.678), "12,346"),
        (text.bytes_text(2_500_000_000), "2.50 GB"),
        (text.bytes_text(512), "512 B"),
        (text.seconds_text(12.34), "12.3 s"),
        (text.seconds_text(3599.7), "60 min 0 s"),
        (text.seconds_text(7500), "2 h 5 min"),
        (text.flops_text(1.5e15), "1.50e15"),
    ],
)
def test_quantities_are_readable(shown, wanted):
    assert shown == wanted


def test_rows_on_quantised_weights_carry_the_label(tmp_path):
    kept = Store(f"sqlite:///{tmp_path}/store.sqlite")
    cell = cell_of("full_ft").model_copy(update={"backbone": "smollm2-135m"})
    kept.add_plan("p", "p", "", [cell])
    two = trial_of(cell, 1)
    fill(kept, cell, "final", 1, two, Result(trial_id=two.id, status="ok"))
    [board] = boards(read(kept))
    assert [text for text in texts(board) if "Q4_1 weights" in text and "full fine-tuning" in text]


# --- colours ----------------------------------------------------------------------------------------------------------


def test_a_colour_stands_for_a_method_and_its_shades_for_its_rows():
    alone = {"full_ft": "full_ft", "prefix": "prefix"}
    assert list(method_colours(alone).values()) == list(PALETTE[:2])
    rows = {"full_ft": "full_ft", **{f"prefix {i}": "prefix" for i in range(6)}, "infix": "infix"}
    found = method_colours(rows)
    assert list(found) == list(rows) and len(set(found.values())) == len(rows)
    assert (found["full_ft"], found["infix"]) == (PALETTE[0], PALETTE[2])
    light = [sum(int(found[f"prefix {i}"][j : j + 2], 16) for j in (1, 3, 5)) for i in range(6)]
    assert light == sorted(light) and min(light) > 0 and max(light) < 3 * 235, "readable on black and on white"


def test_a_legend_leaves_out_default_configurations_but_keeps_their_colour():
    legend = row_hue(["a", "b"], {"a": PALETTE[0], "b": FAINT})
    assert legend["legend"]["values"] == ["a"] and legend["scale"]["range"] == [PALETTE[0], FAINT]
    assert legend["legend"]["symbolLimit"] == 0, "every row has its entry, however many there are"
    assert "values" not in row_hue(["a"], {"a": PALETTE[0]})["legend"]
