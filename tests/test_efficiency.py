"""The efficiency page: fronts, budgets, storage and latency equal what is worked out from the invented costs by hand."""

import random
from dataclasses import replace

import altair as alt
import pytest
import site_store as invented

from featherbench.reports.blocks import Figure, Page, Table, Text
from featherbench.reports.boards import Board
from featherbench.reports.comparisons import difference
from featherbench.reports.html import html
from featherbench.reports.pages import efficiency, leaderboard
from featherbench.reports.pages.efficiency import dominators
from featherbench.reports.report import collect

ITEMS = invented.some_items(1, 2)
FEW = ("untuned", "full_ft", "prefix", "infix", "adapter")


def costs(method, seed):
    """Return costs with what makes a latency unknown: packs (infix), another device (adapter), one trial in a pack."""
    if method == "infix":
        return invented.cost_of(method, pack=4.0, train_peak_bytes=0, decode_peak_bytes=0)
    if method == "adapter":
        return invented.cost_of(method, device="CUDA")
    if method == "prefix":
        return invented.cost_of(method, decode_seconds=30.0 + seed, pack=2.0 if seed == 4 else 1.0)
    return invented.cost_of(method)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return collect(invented.full_store(tmp_path_factory.mktemp("full"), ITEMS, costs))


@pytest.fixture(scope="module")
def page(report):
    return efficiency.page(report)


def table(page: Page, beginning: str) -> Table:
    [found] = [b for b in page.all_blocks() if isinstance(b, Table) and b.name.startswith(beginning)]
    return found


def row(found: Table, label: str):
    return next(fields for fields in found.rows if fields[0].text == label)


def score(method: str) -> float:
    """Return the mean BLEU of a row, scored again."""
    seeds = [0] if method == "untuned" else range(invented.SEEDS)
    outputs = [invented.predictions(method, f"seed {seed}", ITEMS) for seed in seeds]
    return sum(invented.bleu(one, ITEMS, list(ITEMS)) for one in outputs) / len(outputs)


# --- the front --------------------------------------------------------------------------------------------------------


def test_the_front_of_hand_made_points():
    points = [(1, 10.0), (2, 10.0), (2, 12.0), (3, 11.0), (2, 12.0), (0, 3.0)]
    # the second costs more for the same score, the fourth more for less; equal points stand side by side on the front
    assert dominators(points) == [None, 2, None, 2, None, None]
    assert dominators([]) == [] and dominators([(5, 1.0)]) == [None]


@pytest.mark.parametrize("seed", range(20))
def test_laws_of_the_front(seed):
    source = random.Random(seed)
    points = [(source.randrange(6), float(source.randrange(6))) for _ in range(12)]
    ahead = dominators(points)
    front = [point for point, by in zip(points, ahead, strict=True) if by is None]
    for (cost, value), by in zip(points, ahead, strict=True):
        beaten = any(c <= cost and v >= value and (c < cost or v > value) for c, v in points)
        assert (by is not None) == beaten
        if by is not None:
            assert points[by] in front, "the one that is named is on the front itself"
    assert max(points, key=lambda point: (point[1], -point[0])) in front
    assert dominators(front) == [None] * len(front)


def test_the_page_names_the_rows_on_each_front(page):
    scores = {m: score(m) for m in ("untuned", "full_ft", "prefix", "infix", "adapter", "embedding_only")}
    found = table(page, "front-")
    for method, value in scores.items():
        assert row(found, method)[1].value == pytest.approx(value, rel=1e-9)
    ours = {m: (invented.STORED[m], value) for m, value in scores.items()}
    on = [m for m, (c, v) in ours.items() if not any(a <= c and b >= v and (a, b) != (c, v) for a, b in ours.values())]
    assert found.header[2].note == f"front: {', '.join(on)}"
    assert [m for m in ours if row(found, m)[2].parts["on the front"] == "yes"] == on
    assert row(found, "adapter")[2].note.startswith("behind ") and "untuned" in on
    assert row(found, "ft_top2")[2].note == "no cost stored"


def test_a_pack_has_no_peak_and_stands_on_no_front_of_memory(page):
    memory = row(table(page, "front-"), "infix")[3]
    assert memory.value is None and memory.note == "trained in a pack of 4"
    [figure] = [b for b in page.blocks if isinstance(b, Figure) and b.name.startswith("train-peak-bytes-")]
    assert "Not drawn, for want of a score or a cost: untuned, infix, ft_top2." in figure.caption
    points = {p["row"]: p["cost"] for rows in figure.spec["datasets"].values() for p in rows if "cost" in p}
    assert points == {
        m: 20_000_000 + 12 * invented.STORED[m] for m in ("full_ft", "prefix", "adapter", "embedding_only")
    }


def test_every_figure_marks_the_front_and_says_what_it_is(page):
    figures = [block for block in page.blocks if isinstance(block, Figure)]
    assert [f.name.split("-places")[0] for f in figures] == [
        "stored-parameters",
        "train-peak-bytes",
        "train-flops",
        "train-seconds",
    ]
    for figure, column in zip(figures, table(page, "front-").header[2:], strict=True):
        assert "front of means; ties are not resolved" in figure.caption
        data = figure.spec["datasets"]
        line = data[figure.spec["layer"][0]["data"]["name"]]
        named = {name for name in column.note.removeprefix("front: ").split(", ") if name != "untuned"}
        assert {point["row"] for point in line} == named
        assert [point["cost"] for point in line] == sorted(point["cost"] for point in line)
    free = figures[0].spec["datasets"][figures[0].spec["layer"][4]["data"]["name"]]
    assert [(p["row"], p["mean"]) for p in free] == [("untuned", pytest.approx(score("untuned")))]


def test_where_lower_is_better_the_front_turns_round(report, monkeypatch):
    [board] = report.boards
    assert efficiency.front(board, "stored_parameters")["embedding_only"] is None
    monkeypatch.setattr(Board, "higher_is_better_in", lambda board, metric: False)
    found = efficiency.front(board, "stored_parameters")
    assert [label for label, ahead in found.items() if ahead is None] == ["untuned"]
    assert found["embedding_only"].label == "untuned"


# --- budgets, storage, latency ----------------------------------------------------------------------------------------


def test_the_best_row_within_a_budget_is_told_with_those_that_may_be_as_good(page):
    found = {fields[0].text: [entry.text for entry in fields[1:]] for fields in table(page, "within-").rows}
    assert list(found) == ["0.01 %", "0.1 %", "0.3 %", "1 %", "3 %"]
    assert found["0.01 %"][0] == "embedding_only" and found["0.01 %"][4:] == ["no other ranked row fits", "1"]
    means = {method: score(method) for method in ("infix", "prefix", "adapter", "embedding_only")}
    best = max(means, key=means.__getitem__)
    assert (best, found["0.1 %"][0]) == ("infix", "infix") and found["0.1 %"][1].startswith(f"{means['infix']:.1f} ± ")
    assert found["0.1 %"][4:] == ["prefix", "3"], "0.105 % is within a tenth"
    assert found["3 %"][4:] == ["prefix", "4"], "the adapter of 1.2 % fits, and is worse"
    [ahead] = {fields[3].value for fields in table(page, "within-").rows if fields[1].text == "infix"}
    assert ahead == pytest.approx(means["infix"] - means["prefix"], rel=1e-9), "the next is the prefix"
    assert found["0.01 %"][2] == "–", "nothing to be better than"


def test_the_best_row_is_set_against_full_fine_tuning_with_an_interval(report, page):
    [board] = report.boards
    by_label = {row.label: row for row in board.rows}
    rows = {fields[0].text: fields for fields in table(page, "within-").rows}
    _, best, _, following, full, *_ = rows["3 %"]
    assert (best.text, following.note.split(";")[0]) == ("infix", "prefix")
    own = difference(board, by_label["infix"], by_label["full_ft"])
    assert full.value == pytest.approx(own.estimate) == pytest.approx(score("infix") - score("full_ft"))
    assert full.parts["half width"] == pytest.approx(float(own.found.primary.high - own.found.primary.low) / 2)


def test_a_row_without_a_rank_is_not_the_best_but_is_named_where_its_mean_is_better(report):
    [board] = report.boards
    rows = tuple(replace(row, rank=None, unranked="other") if row.label == "infix" else row for row in board.rows)
    rows = {fields[0].text: fields[1] for fields in efficiency.within_table(replace(board, rows=rows), "x").rows}
    assert rows["0.1 %"].text == "prefix"
    ahead = f"without a rank, but with a better mean: infix, {score('infix'):.1f} ± "
    assert rows["0.1 %"].note.startswith(f"stores 0.100 %; {ahead}")
    assert (
        rows["0.1 %"].note.split("paired difference ")[1].startswith(f"+{score('infix') - score('prefix'):.1f} ± ")
    ), "and by how much"
    assert "without a rank" not in rows["0.01 %"].note, "infix does not fit"


def test_where_nothing_fits_a_budget_the_smallest_size_is_told(tmp_path):
    stored = {"prefix": 40_000, "infix": 20_000}
    store = invented.full_store(
        tmp_path, ITEMS, lambda m, _: invented.cost_of(m, stored_parameters=stored[m]), ["prefix", "infix"]
    )
    rows = {fields[0].text: fields[1:] for fields in table(efficiency.page(collect(store)), "within-").rows}
    assert (rows["0.1 %"][0].text, rows["0.1 %"][0].note) == ("–", "the smallest ranked row stores 2 %")
    assert rows["1 %"][0].text == "–" and rows["3 %"][0].text == "infix"


def test_rows_stand_at_the_budget_that_they_meet(page):
    found = table(page, "budgets-")
    assert [entry.text for entry in found.header[2:]] == ["0.01 %", "0.1 %", "0.3 %", "1 %", "3 %"]
    assert [fields[0].text for fields in found.rows] == ["infix", "prefix", "embedding_only"]
    how = {fields[0].text: [entry.parts.get("how") for entry in fields[2:]] for fields in found.rows}
    assert how["prefix"] == [None, "sized for it", None, None, None]
    assert how["infix"] == [None, "matched", None, None, None]
    assert how["embedding_only"] == ["matched", None, None, None, None]
    assert row(found, "infix")[3].value == pytest.approx(score("infix"), rel=1e-9)
    assert row(found, "infix")[1].value == pytest.approx(0.105)


def test_a_budget_of_the_plan_has_a_column_of_its_own_and_the_smallest_one_where_it_is_met(tmp_path, monkeypatch):
    monkeypatch.setitem(invented.BUDGETS, "prefix", 0.0025)
    store = invented.full_store(
        tmp_path, ITEMS, lambda m, _: invented.cost_of(m, stored_parameters=2_550), ["prefix", "full_ft"]
    )
    found = table(efficiency.page(collect(store)), "budgets-")
    assert [entry.text for entry in found.header[2:]] == ["0.1 %", "0.25 %", "0.3 %", "1 %", "3 %"]
    how = {fields[0].text: [entry.parts.get("how") for entry in fields[2:]] for fields in found.rows}
    assert how == dict.fromkeys(how, [None, "matched", None, None, None]) | {
        "prefix": [None, "sized for it", None, None, None]
    }


@pytest.mark.parametrize(("stored", "matched"), [(9_000, True), (11_000, True), (8_999, False), (11_001, False)])
def test_a_size_off_by_more_than_a_tenth_is_not_matched(tmp_path, stored, matched):
    store = invented.full_store(
        tmp_path, ITEMS, lambda m, _: invented.cost_of(m, stored_parameters=stored), ["adapter"]
    )
    page = efficiency.page(collect(store))
    tables = [b.name for b in page.blocks if isinstance(b, Table) and b.name.startswith("budgets-")]
    assert bool(tables) == matched
    assert any("No row stores" in b.text for b in page.blocks if isinstance(b, Text)) != matched


def test_storage_of_n_tasks_is_a_backbone_and_n_deltas_or_n_copies(page):
    found = table(page, "storage-")
    # float32: 4 MB for a million parameters; a prefix stores 4 · 1,000 + 120 bytes a task, a copy 4,000,120
    assert [entry.value for entry in row(found, "prefix")[1:]] == [4_004_120, 4_041_200, 4_412_000, 8_120_000]
    assert [entry.value for entry in row(found, "full_ft")[1:]] == [4_000_120, 40_001_200, 400_012_000, 4_000_120_000]
    assert [entry.value for entry in row(found, "untuned")[1:]] == [4_000_000] * 4
    assert row(found, "full_ft")[0].note == "one copy per task" and row(found, "prefix")[0].note == ""
    assert [entry.note for entry in row(found, "ft_top2")[1:]] == ["no size stored"] * 4


def test_storage_without_a_kept_delta_is_not_known(tmp_path):
    store = invented.full_store(tmp_path, ITEMS, lambda m, _: invented.cost_of(m, stored_bytes=0), ["prefix"])
    found = row(table(efficiency.page(collect(store)), "storage-"), "prefix")
    assert [entry.note for entry in found[1:]] == ["no delta is kept, so its size is not known"] * 4


def test_a_row_without_a_model_has_neither_storage_nor_latency(tmp_path):
    """The copy of the source: nothing is loaded, trained or decoded."""
    spent = {"decode_flops": 0.0, "decode_seconds": 0.0, "device": "none", "stored_parameters": 0, "stored_bytes": 0}
    both = invented.full_store(
        tmp_path, ITEMS, lambda m, _: invented.cost_of(m, **(spent if m == "infix" else {})), ["untuned", "infix"]
    )
    page = efficiency.page(collect(both))
    assert [entry.note for entry in row(table(page, "storage-"), "infix")[1:]] == ["no model is needed"] * 4
    assert row(table(page, "latency-"), "infix")[1].note == "not measured: no model decodes"
    assert row(table(page, "latency-"), "infix")[2].value is None


def test_latency_is_per_output_and_against_the_bare_backbone(page):
    found, outputs = table(page, "latency-"), len(ITEMS)
    bare = row(found, "untuned")[1].value
    assert bare == pytest.approx(11.2 / outputs)
    # four of five trials were alone: 30, 31, 32 and 33 seconds
    prefix = row(found, "prefix")
    assert prefix[1].value == pytest.approx(31.5 / outputs) and "mean of 4 of 5 trials" in prefix[1].note
    assert prefix[2].value == pytest.approx(31.5 / 11.2)
    assert row(found, "full_ft")[2].value == pytest.approx(12.2 / 11.2)


def test_latency_that_was_not_measured_says_why(page, tmp_path):
    found = table(page, "latency-")
    assert row(found, "infix")[1].note == "not measured: trained in packs"
    assert row(found, "infix")[2].value is None
    assert row(found, "adapter")[2].note == "not measured: CUDA here, CPU for untuned"
    assert row(found, "ft_top2")[1].note == "not measured: no cost or no output is kept"
    halved = invented.full_store(tmp_path, ITEMS, lambda m, _: invented.cost_of(m, decode_halvings=1), ["prefix"])
    lonely = row(table(efficiency.page(collect(halved)), "latency-"), "prefix")
    assert lonely[1].note == "not measured: no trial decoded alone in whole batches"
    assert lonely[2].note == "not measured: no untuned row here"


def test_seconds_beside_other_programs_are_no_latency_and_cautioned_of(tmp_path):
    def cost(method, seed):
        return invented.cost_of(method, processor_wait={"prefix": 0.3, "adapter": 0.05}.get(method))

    report = collect(invented.full_store(tmp_path, ITEMS, cost, ["untuned", "full_ft", "prefix", "adapter"]))
    found = table(efficiency.page(report), "latency-")
    assert row(found, "prefix")[1].note == "not measured: other programs used the processors meanwhile"
    assert row(found, "prefix")[2].value is None
    assert row(found, "adapter")[2].value is not None and row(found, "full_ft")[2].value is not None
    said = [c.text for c in report.boards[0].cautions if "processors" in c.text]
    assert said == ["other programs used the processors meanwhile, so seconds are too long: prefix"]


def test_the_leaderboard_shows_the_same_overhead(report, page):
    ours = {fields[0].text: fields[2] for fields in table(page, "latency-").rows}
    [found] = [b for b in leaderboard.page(report).all_blocks() if isinstance(b, Table) and b.name == "leaderboard"]
    [column] = [i for i, head in enumerate(found.header) if head.text == "decoding per output"]
    assert {fields[0].text: fields[column] for fields in found.rows} == ours
    assert ours["prefix"].text == "2.81 ×" and ours["adapter"].value is None


def test_the_page_can_be_written_and_its_figures_are_valid(page):
    assert "Storage for many tasks" in html(page, [])
    for figure in (block for block in page.all_blocks() if isinstance(block, Figure)):
        alt.LayerChart.from_dict(figure.spec, validate=True)


def test_without_a_cost_there_is_no_page(tmp_path):
    store = invented.full_store(tmp_path, ITEMS, lambda m, _: None, ["prefix"])
    assert efficiency.page(collect(store)) is None
