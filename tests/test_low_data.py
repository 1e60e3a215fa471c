"""The low-data page: every number equals one that the official scorer and the written-out formulas give."""

import statistics
from functools import cache

import altair as alt
import pytest
import site_store as invented

from featherbench.reports.blocks import Figure, Page, Samples, Table, Text
from featherbench.reports.html import html
from featherbench.reports.pages import low_data
from featherbench.reports.report import collect
from featherbench.reports.tables import configuration_text

ITEMS = invented.some_items(1, 6)
DRAWS = [f"final{number}" for number in range(invented.DRAWS)]
SIZES = invented.SIZES


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return collect(invented.sizes_store(tmp_path_factory.mktemp("sizes")))


@pytest.fixture(scope="module")
def page(report):
    return low_data.page(report)


def table(page: Page, beginning: str) -> Table:
    [found] = [b for b in page.all_blocks() if isinstance(b, Table) and b.name.startswith(beginning)]
    return found


def row(found: Table, label: str):
    return next(fields for fields in found.rows if fields[0].text == label)


@cache
def value(method: str, draw: str, size: int) -> float:
    return invented.bleu(invented.outputs_at(method, draw, size, ITEMS), ITEMS, list(ITEMS))


@cache
def psi(method: str, draw: str, size: int) -> list[float]:
    return invented.jackknife(invented.outputs_at(method, draw, size, ITEMS), ITEMS, [[item] for item in ITEMS])


def difference(draw: str, size: int) -> float:
    return value("prefix", draw, size) - value("full_ft", draw, size)


def difference_psi(draw: str, size: int) -> list[float]:
    return [a - b for a, b in zip(psi("prefix", draw, size), psi("full_ft", draw, size), strict=True)]


def test_a_size_means_its_pairs_and_the_validation_pairs(page):
    found = table(page, "labelled-")
    assert [[entry.value for entry in fields[:5]] for fields in found.rows] == [
        [50, 50, 15, 65, 4],
        [100, 100, 30, 130, 4],
        [200, 200, 60, 260, 4],
    ]
    assert found.rows[0][5].note == "no search"


def test_passes_over_the_training_data_are_pairs_seen_by_pairs(page, report):
    entries = {fields[0].value: fields[-1] for fields in table(page, "labelled-").rows}
    [steps] = {run.trial.steps for run in report.contents.runs if run.trial.steps}
    [batch] = {run.trial.settings.batch_size for run in report.contents.runs}
    assert {size: entry.value for size, entry in entries.items()} == {size: steps * batch / size for size in SIZES}


def test_what_the_search_had_labelled_is_told_beside_it(tmp_path):
    store, cell = invented.sizes_store(tmp_path), invented.cell_of("prefix", 50)
    subset = low_data.series(collect(store).boards)[0].boards[0].rows[0].runs[0].trial.evaluate
    for number in range(4):
        trial = invented.trial_of(cell, 99 + number, f"search{number % 2}", subset)
        outputs = invented.predictions("prefix", f"search {number}", ITEMS)
        invented.finish(store, cell, number, trial, invented.result_of(trial, outputs, ITEMS), "search")
    page = low_data.page(collect(store))
    first, second, _ = table(page, "labelled-").rows
    assert (first[5].value, first[5].note) == (65, "a draw; 2 draws") and second[5].note == "no search"
    assert row(table(page, "scores-"), "prefix")[1].value == pytest.approx(
        statistics.fmean(value("prefix", draw, 50) for draw in DRAWS)
    ), "search trials enter no score"


def test_scores_are_means_over_draws(page):
    for method in ("full_ft", "prefix", "infix"):
        for entry, size in zip(row(table(page, "scores-"), method)[1:], SIZES, strict=True):
            values = [value(method, draw, size) for draw in DRAWS]
            assert entry.value == pytest.approx(statistics.fmean(values), rel=1e-9)
            spread = invented.t_half_width(values)
            assert entry.parts["half width, this test set"] == pytest.approx(spread, rel=1e-9)
            assert entry.parts["units"] == invented.DRAWS and "few draws: 4 of at least 5" in entry.note
    assert row(table(page, "scores-"), "untuned")[1].note == "deterministic"


def test_the_difference_at_a_size_is_paired_by_draw(page):
    fields = row(table(page, "differences-"), "prefix")
    for entry, size in zip(fields[1:4], SIZES, strict=True):
        values = [difference(draw, size) for draw in DRAWS]
        assert entry.value == pytest.approx(statistics.fmean(values), rel=1e-9)
        assert entry.parts["half width, this test set"] == pytest.approx(invented.t_half_width(values), rel=1e-9)
    expected = invented.half_width([difference_psi(draw, 50) for draw in DRAWS])
    assert fields[1].parts["half width"] == pytest.approx(expected, rel=1e-6)
    assert [entry.note for entry in row(table(page, "differences-"), "full_ft")[1:]] == ["the reference"] * 4


def test_over_sizes_each_draw_is_averaged_before_the_interval(page):
    entry = row(table(page, "differences-"), "prefix")[4]
    values = [statistics.fmean(difference(draw, size) for size in SIZES) for draw in DRAWS]
    assert entry.value == pytest.approx(statistics.fmean(values), rel=1e-9)
    assert entry.parts["half width, this test set"] == pytest.approx(invented.t_half_width(values), rel=1e-9)
    over = [
        [statistics.fmean(column) for column in zip(*(difference_psi(d, s) for s in SIZES), strict=True)] for d in DRAWS
    ]
    assert entry.parts["half width"] == pytest.approx(invented.half_width(over), rel=1e-6)
    assert entry.parts["units"] == 4, "four draws, not twelve"


def test_a_line_that_joins_configurations_says_so(page, report):
    found = table(page, "configurations-")
    for fields in found.rows:
        used = [
            {configuration_text(run.trial) for run in one.counted}
            for board in report.boards
            for one in board.rows
            if one.label == fields[0].text
        ]
        assert [set(entry.text.split("\n")) for entry in fields[1:]] == used
        others = len({frozenset(texts) for texts in used})
        assert fields[0].note == (f"{others} configurations" if others > 1 else "")


def test_the_curves_are_the_table(page):
    [figure] = [block for block in page.blocks if isinstance(block, Figure)]
    points = figure.spec["datasets"][figure.spec["layer"][1]["data"]["name"]]
    assert len(points) == 12 and "Means over draws" in figure.caption
    for point in points:
        entry = row(table(page, "scores-"), point["row"])[1 + SIZES.index(point["size"])]
        assert point["mean"] == entry.value
        half = entry.parts["half width"]
        bounds = (None, None) if half is None else (point["mean"] - half, point["mean"] + half)
        assert (point["low"], point["high"]) == pytest.approx(bounds)


def test_a_missing_cell_is_a_gap_and_the_mean_says_its_sizes(tmp_path):
    page = low_data.page(collect(invented.sizes_store(tmp_path, missing=[("infix", 50), ("full_ft", 200)])))
    scores, differences = (row(table(page, name), "infix") for name in ("scores-", "differences-"))
    assert scores[1].note == differences[1].note == "not in the plan"
    assert differences[3].note == "no trial of full fine-tuning here"
    assert differences[4].note == "fewer than two sizes"
    prefix = row(table(page, "differences-"), "prefix")[4]
    values = [statistics.fmean(difference(draw, size) for size in (50, 100)) for draw in DRAWS]
    assert prefix.note.startswith("over 50, 100 only") or "; over 50, 100 only" in prefix.note
    assert prefix.value == pytest.approx(statistics.fmean(values), rel=1e-9)


def test_the_same_inputs_are_shown_at_each_size(page):
    [shown] = [block for block in page.blocks if isinstance(block, Samples)]
    assert len(shown.samples) == low_data.INPUTS
    labels = ["untuned"] + [f"{m}, {size} pairs" for m in ("full_ft", "prefix", "infix") for size in SIZES]
    for sample in shown.samples:
        assert (sample.source, sample.reference) == (ITEMS[sample.item].source, ITEMS[sample.item].references[0])
        assert [output.label for output in sample.outputs] == labels
        for output in sample.outputs[1:]:
            method, size = output.label.removesuffix(" pairs").split(", ")
            expected = {p.item: p.text for p in invented.outputs_at(method, "final0", int(size), ITEMS)}
            assert output.text == expected[sample.item]


def test_texts_are_left_out_where_the_licence_asks_for_it(report, monkeypatch):
    monkeypatch.setattr(low_data, "why_not_shown", lambda trial: "No samples: the licence does not allow it.")
    page = low_data.page(report)
    assert not [block for block in page.blocks if isinstance(block, Samples)]
    assert "No samples: the licence does not allow it." in [b.text for b in page.blocks if isinstance(b, Text)]


def test_one_size_or_none_has_no_page(tmp_path):
    assert low_data.page(collect(invented.full_store(tmp_path, ITEMS, methods=["untuned"]))) is None
    one = [(m, size) for m in ("untuned", "full_ft", "prefix", "infix") for size in (100, 200)]
    assert low_data.page(collect(invented.sizes_store(tmp_path, missing=one))) is None


def test_the_page_can_be_written_and_its_figures_are_valid(page):
    assert "The same inputs at each size" in html(page, [])
    for figure in (block for block in page.all_blocks() if isinstance(block, Figure)):
        alt.LayerChart.from_dict(figure.spec, validate=True)
