"""The extrapolation page: every number equals one that the official scorer and the written-out formulas give."""

import statistics
from dataclasses import replace
from functools import cache

import altair as alt
import pytest
import site_store as invented

from featherbench.reports import categories
from featherbench.reports.blocks import Figure, Page, Table, Text
from featherbench.reports.html import html
from featherbench.reports.items import scorer
from featherbench.reports.pages import extrapolation
from featherbench.reports.report import collect
from featherbench.tasks.base import Example

ITEMS = invented.some_items()
SEEN, UNSEEN = (tuple(i for i, e in ITEMS.items() if e.tags["seen"] == side) for side in ("seen", "unseen"))
SEEDS = range(invented.SEEDS)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return collect(invented.full_store(tmp_path_factory.mktemp("full"), ITEMS))


@pytest.fixture(scope="module")
def page(report):
    return extrapolation.page(report)


def table(page: Page, beginning: str) -> Table:
    [found] = [b for b in page.all_blocks() if isinstance(b, Table) and b.name.startswith(beginning)]
    return found


def row(found: Table, label: str):
    return next(fields for fields in found.rows if fields[0].text == label)


def outputs(method: str, seed: int, items=ITEMS):
    return invented.predictions(method, f"seed {seed}", items)


@cache
def values(method: str, side: str) -> list[float]:
    members = {"seen": SEEN, "unseen": UNSEEN, "all": list(ITEMS)}[side]
    return [invented.bleu(outputs(method, seed), ITEMS, members) for seed in SEEDS]


def gaps(method: str) -> list[float]:
    return [unseen - seen for unseen, seen in zip(values(method, "unseen"), values(method, "seen"), strict=True)]


def gap_psi(*parts: list[float]) -> list[float]:
    """Return influences of the gap from pseudo-values (unseen, seen), scaled to their common number."""
    number, means = sum(map(len, parts)), [statistics.fmean(part) for part in parts]
    sides = zip((1, -1), parts, means, strict=True)
    return [means[0] - means[1] + sign * number / len(p) * (x - m) for sign, p, m in sides for x in p]


def difference(ours, theirs):
    return [[a - b for a, b in zip(one, other, strict=True)] for one, other in zip(ours, theirs, strict=True)]


@cache
def by_category(method: str, members: tuple[int, ...]) -> list[list[float]]:
    """Return pseudo-values of whole categories by seed."""
    names = dict.fromkeys(ITEMS[i].tags["category"] for i in members)
    groups = [[i for i in members if ITEMS[i].tags["category"] == name] for name in names]
    return [invented.jackknife(outputs(method, seed), ITEMS, groups) for seed in SEEDS]


def test_seen_unseen_all_and_gap_are_the_scorer_s(page):
    for method in ("full_ft", "prefix", "adapter"):
        fields = row(table(page, "gaps-"), method)
        for entry, side in zip(fields[1:4], ("seen", "unseen", "all"), strict=True):
            assert entry.value == pytest.approx(statistics.fmean(values(method, side)), rel=1e-9)
            spread = invented.t_half_width(values(method, side))
            assert entry.parts["half width, this test set"] == pytest.approx(spread, rel=1e-9)
        assert fields[4].value == pytest.approx(statistics.fmean(gaps(method)), rel=1e-9)
        assert fields[4].parts["half width, this test set"] == pytest.approx(
            invented.t_half_width(gaps(method)), rel=1e-9
        )


def test_the_relative_gap_is_paired_by_seed_and_by_item(page):
    entry = row(table(page, "gaps-"), "prefix")[5]
    paired = [ours - theirs for ours, theirs in zip(gaps("prefix"), gaps("full_ft"), strict=True)]
    assert entry.value == pytest.approx(statistics.fmean(paired), rel=1e-9)
    assert entry.parts["half width, this test set"] == pytest.approx(invented.t_half_width(paired), rel=1e-9)
    assert entry.text.startswith("+") and entry.value > 0, "the prefix was written to lose less"


def test_the_interval_of_the_relative_gap_is_for_new_seeds_and_new_items(tmp_path):
    items = invented.some_items(1, 5)
    page = extrapolation.page(collect(invented.full_store(tmp_path, items, methods=("full_ft", "prefix"))))
    single = [[[i] for i, e in items.items() if e.tags["seen"] == side] for side in ("unseen", "seen")]

    def psi(method: str) -> list[list[float]]:
        written = [outputs(method, seed, items) for seed in SEEDS]
        return [gap_psi(*(invented.jackknife(one, items, groups) for groups in single)) for one in written]

    found = row(table(page, "gaps-"), "prefix")[5].parts["half width"]
    assert found == pytest.approx(invented.half_width(difference(psi("prefix"), psi("full_ft"))), rel=1e-6)


def test_with_fourteen_unseen_categories_the_category_is_the_unit(page):
    found = row(table(page, "units-"), "prefix")
    assert found[1].value == pytest.approx(statistics.fmean(values("prefix", "unseen")), rel=1e-9)
    assert found[1].parts["half width"] == pytest.approx(invented.half_width(by_category("prefix", UNSEEN)), rel=1e-6)
    ours, theirs = (
        [gap_psi(*both) for both in zip(by_category(method, UNSEEN), by_category(method, SEEN), strict=True)]
        for method in ("prefix", "full_ft")
    )
    assert found[2].parts["half width"] == pytest.approx(invented.half_width(ours), rel=1e-6)
    assert found[3].parts["half width"] == pytest.approx(invented.half_width(difference(ours, theirs)), rel=1e-6)
    assert found[3].value == row(table(page, "gaps-"), "prefix")[5].value
    told = [block.text for block in page.blocks if isinstance(block, Text)]
    assert any("With 14 unseen categories" in text and "stands in the place of the item" in text for text in told)


def test_few_categories_are_given_and_not_inferred(tmp_path):
    few = invented.some_items(2, 5)
    store = invented.full_store(tmp_path, few, methods=("full_ft", "prefix"))
    page = extrapolation.page(collect(store))
    [text] = [block for block in page.blocks if isinstance(block, Text)]
    assert "given these 5 unseen categories" in text.text and "new categories cannot be inferred from few" in text.text
    assert text.caution and not [b for b in page.all_blocks() if isinstance(b, Table) and b.name.startswith("units-")]


def in_category(method: str, members) -> list[float]:
    return [invented.bleu(outputs(method, seed), ITEMS, members) for seed in SEEDS]


def test_a_category_s_score_and_sign_come_from_its_own_items(page):
    found = table(page, "categories-")
    columns = [entry.text for entry in found.header]
    assert len(found.rows) == 28 and [fields[0].note for fields in found.rows[:2]] == ["unseen, 2 items"] * 2
    signs = {"seen": 0, "unseen": 0}
    for fields in found.rows:
        members = [i for i, e in ITEMS.items() if e.tags["category"] == fields[0].text]
        ours, theirs = (statistics.fmean(in_category(method, members)) for method in ("adapter", "full_ft"))
        entry = fields[columns.index("adapter")]
        assert entry.value == pytest.approx(ours, rel=1e-9)
        assert entry.parts["difference"] == pytest.approx(ours - theirs, rel=1e-9)
        assert fields[columns.index("full_ft")].value == pytest.approx(theirs, rel=1e-9)
        signs[ITEMS[members[0]].tags["seen"]] += ours > theirs
    shown = row(table(page, "signs-"), "adapter")
    assert [entry.value for entry in shown[1:]] == [signs["unseen"], signs["seen"]]
    assert shown[1].text == f"{signs['unseen']} of 14" and shown[1].parts["worse"] == 14 - signs["unseen"]
    assert row(table(page, "signs-"), "prefix")[1].value == 14, "written to be better on every unseen category"


def test_a_category_s_score_is_that_of_the_item_statistics(report):
    [board] = report.boards
    prefix = next(one for one in board.rows if one.label == "prefix")
    found = categories.category_scores(board, prefix, "bleu", "category")
    for category, measured in zip(categories.categories(board, "category"), found, strict=True):
        stored = [board.items.score(run, "bleu", f"category={category.name}") for run in prefix.counted]
        assert sorted(measured.values) == pytest.approx(sorted(stored), rel=1e-12)


def test_a_score_that_weighs_by_all_references_has_no_categories(report, monkeypatch):
    def weighted(trial, metric):
        found = scorer(trial, metric)
        return replace(found, additive=replace(found.additive, weighted=True))

    monkeypatch.setattr(categories, "scorer", weighted)
    page = extrapolation.page(report)
    assert not [b for b in page.all_blocks() if isinstance(b, Table) and b.name.startswith(("signs-", "categories-"))]
    assert any("it weighs by all references" in b.text for b in page.blocks if isinstance(b, Text))


def test_what_is_missing_has_its_reason(page, tmp_path):
    found = table(page, "gaps-")
    assert [entry.note for entry in row(found, "ft_top2")[1:]] == ["no trial with scores"] * 5
    assert row(found, "full_ft")[5].note == "the reference"
    assert row(found, "untuned")[4].note == "deterministic" and row(found, "untuned")[4].parts["half width"] is None
    assert row(table(page, "signs-"), "ft_top2")[1].note == "nothing to compare"
    store = invented.full_store(tmp_path, invented.some_items(1, 2), methods=("prefix", "infix"))
    lonely = extrapolation.page(collect(store))
    assert row(table(lonely, "gaps-"), "prefix")[5].note == "no trial of full fine-tuning here"


def test_the_figure_shows_both_sides_of_every_scored_row(page):
    [figure] = [block for block in page.blocks if isinstance(block, Figure)]
    points = figure.spec["datasets"][figure.spec["layer"][2]["data"]["name"]]
    drawn = {(point["row"], point["items"]): point["mean"] for point in points}
    assert len(drawn) == 12
    assert drawn["adapter", "unseen"] == pytest.approx(statistics.fmean(values("adapter", "unseen")), rel=1e-9)


def test_without_seen_items_there_is_no_page(tmp_path):
    plain = {i: Example(source=e.source, references=e.references) for i, e in invented.some_items(1, 2).items()}
    store = invented.full_store(tmp_path, plain, methods=("untuned",))
    assert extrapolation.page(collect(store)) is None


def test_the_page_can_be_written_and_its_figures_are_valid(page):
    assert "By category" in html(page, [])
    for figure in (block for block in page.all_blocks() if isinstance(block, Figure)):
        alt.LayerChart.from_dict(figure.spec, validate=True)
