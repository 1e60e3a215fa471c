"""The site's files: pages that hold together and load nothing, tables and figures for papers, data with a schema."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import altair as alt
import jsonschema
import polars as pl
import pytest
from test_reports import (
    EVIL,
    SIZES,
    board_of,
    board_page,
    cell_of,
    every_page,
    fill,
    result_of,
    run,
    spent_by,
    store,
    trial_of,
    written,
)

from featherbench.harness.records import CurvePoint, Prediction
from featherbench.harness.store import Store
from featherbench.reports import helpers, sheets, site
from featherbench.reports.blocks import Entry, Figure, Folded, Page, Table, Text, entries
from featherbench.reports.charts import images, trial_curves
from featherbench.reports.fields import filters
from featherbench.reports.html import html
from featherbench.reports.pages import board
from featherbench.reports.pages.trial import clipped_text, run_folder
from featherbench.reports.read import read
from featherbench.reports.report import collect
from featherbench.reports.site import write_report
from featherbench.tasks import TASKS

__all__ = ["store", "written"]  # fixtures
SCHEMA = Path(__file__).parents[1] / "docs" / "reference" / "leaderboard.schema.json"


# --- pages ------------------------------------------------------------------------------------------------------------


def test_the_leaderboard_comes_first_and_every_file_told_is_there(store, tmp_path):
    paths = write_report(store, tmp_path / "out")
    assert paths[0] == tmp_path / "out" / "index.html"
    assert set(paths) == {path for path in (tmp_path / "out").rglob("*") if path.is_file()}


def test_every_link_leads_to_a_file_of_the_site_or_an_anchor_of_the_page(written):
    for name, page in every_page(written).items():
        for target in re.findall(r"""<[^>]*\b(?:src|href)="([^"]*)\"""", page):
            if target.startswith("#"):
                assert f'id="{target[1:]}"' in page
            elif target != "data:,":
                assert ":" not in target, "no address of a network"
                assert (written / name).parent.joinpath(target).resolve().is_relative_to(written.resolve())
                assert (written / name).parent.joinpath(target).is_file(), f"{name} -> {target}"


def test_pages_let_nothing_but_the_site_in(written):
    for page in every_page(written).values():
        assert "default-src 'none'; script-src 'self' file:;" in page
        assert not re.findall(r"<(?:img|iframe|object|embed|base|source|video|audio|form)\b", page)
        assert not re.findall(r"<script(?![^>]*(?:\bsrc=|application/json))", page), "no script within a page"
        assert not re.findall(r"<[^>]+\son\w+=", page)
    style = (written / "site.css").read_text()
    assert "@import" not in style and "url(" not in style


def test_the_large_library_is_there_for_pages_with_charts_only(written, tmp_path):
    users = {name for name, page in every_page(written).items() if "vega.js" in page}
    assert users and users == {name for name, page in every_page(written).items() if "data-chart=" in page}
    assert not [name for name in users if name.startswith("trials/")]
    kept, cell = Store(f"sqlite:///{tmp_path}/search.sqlite"), cell_of("prefix")
    kept.add_plan("p", "nothing to draw", "", [cell])
    fill(kept, cell, "search", 0, trial_of(cell, 0), result_of(trial_of(cell, 0), 70.0, 70.0))
    write_report(kept, tmp_path / "bare")
    assert not (tmp_path / "bare" / "vega.js").exists()


def test_markup_is_balanced(written):
    for page in every_page(written).values():
        for tag in ("table", "tr", "td", "th", "div", "details", "article", "dl", "figure", "svg", "a", "p", "select"):
            assert len(re.findall(rf"<{tag}[ >]", page)) == page.count(f"</{tag}>"), tag


def test_two_writes_give_the_same_bytes_and_pages_of_forgotten_trials_go(written, store):
    before = {path: path.read_bytes() for path in written.rglob("*") if path.is_file()}
    for old in ("trials/0123456789ab.html", "figures/old-one.svg", "tables/old.parquet"):
        (written / old).write_text("old")
    (written / "trials" / "notes of mine.txt").write_text("mine")
    write_report(store, written)
    after = {path: path.read_bytes() for path in written.rglob("*") if path.is_file()}
    assert after.pop(written / "trials" / "notes of mine.txt") == b"mine"
    assert after == before


def test_a_site_written_again_leaves_equal_files_as_they_are(written, store):
    mended = written / "index.html"
    mended.write_bytes(b"x" * mended.stat().st_size)
    before = {path: path.stat().st_mtime_ns for path in written.rglob("*") if path.is_file()}
    write_report(store, written)
    assert mended.read_bytes()[:1] == b"<"
    assert {path: path.stat().st_mtime_ns for path in before if path != mended} == {
        path: time for path, time in before.items() if path != mended
    }


def test_every_dot_leads_to_its_trial(written, store):
    page = (written / "index.html").read_text()
    for row in board_of(store).rows:
        for one in row.counted:
            assert f'<a href="trials/{one.trial_id}.html" tabindex="-1"><circle' in page
    assert page.count("<circle") == 9, "trials with a score; five rows"


def test_no_two_tables_or_figures_share_a_name(store, tmp_path, monkeypatch):
    table = Table(name="leaderboard", title="t", header=entries("a"), rows=())
    twice = Page(path="twice.html", title="t", lead="", blocks=(Folded(title="f", blocks=(table,)),))
    monkeypatch.setattr(site, "PAGES", (*site.PAGES, lambda report: twice))
    with pytest.raises(AssertionError, match="two tables or figures are named leaderboard"):
        write_report(store, tmp_path / "out")


# --- tables ---------------------------------------------------------------------------------------------------------

MIXED = Table(
    name="mixed",
    title="mixed",
    header=(Entry(text="row"), Entry(text="score"), Entry(text="score"), Entry(text="n"), Entry(text="why")),
    rows=(
        (
            Entry(text="=1+1 & 50 % of_it \\x {y}"),
            Entry(text="1.2 ± 0.1", value=1.2345678901234567, parts={"half width": 0.125, "units": 3}),
            Entry(text="0.30", value=0.1 + 0.2, note="=why"),
            Entry(text="1,000", value=1000),
            Entry(text="~^<a|b>"),
        ),
        (Entry(text="b"), Entry(text="–"), Entry(text="–"), Entry(text="–"), Entry(text="two\nlines")),
    ),
)


def test_files_of_a_table_hold_the_exact_values(tmp_path):
    sheets.write_table(MIXED, tmp_path)
    found = pl.read_parquet(tmp_path / "mixed.parquet")
    assert found["score"].to_list() == [1.2345678901234567, None] and found["score 2"].to_list() == [0.1 + 0.2, None]
    assert found["score, half width"].to_list() == [0.125, None] and found["score, units"].to_list() == [3, None]
    assert found["n"].to_list() == [1000, None] and found["n"].dtype == pl.Int64
    assert found["row"].to_list()[0] == "=1+1 & 50 % of_it \\x {y}", "no spreadsheet opens Parquet"
    with (tmp_path / "mixed.csv").open(newline="") as file:
        head, first, second = csv.reader(file)
    assert head == found.columns
    line = dict(zip(head, first, strict=True))
    assert line["row"].startswith("'=1+1") and line["score 2, note"] == "'=why", "no spreadsheet takes it for a formula"
    assert float(line["score"]) == 1.2345678901234567 and float(line["score 2"]) == 0.1 + 0.2
    assert dict(zip(head, second, strict=True))["score"] == ""


def test_latex_tables_are_booktabs_with_everything_escaped(tmp_path):
    sheets.write_table(MIXED, tmp_path)
    lines = (tmp_path / "mixed.tex").read_text().splitlines()
    assert lines[1:3] == [r"\begin{tabular}{lrrrl}", r"\toprule"] and lines[-2:] == [r"\bottomrule", r"\end{tabular}"]
    assert lines[5] == (
        r"=1+1 \& 50 \% of\_it \textbackslash{}x \{y\} & 1.2 $\pm$ 0.1 & 0.30 & 1,000 & "
        r"\textasciitilde{}\textasciicircum{}\textless{}a\textbar{}b\textgreater{} \\"
    )
    assert lines[6].endswith(r"two lines \\")


def test_pdflatex_sets_every_table_of_the_site(written, tmp_path):
    if shutil.which("pdflatex") is None:
        pytest.skip("no LaTeX here; apt-get install texlive-latex-recommended")
    hostile = Entry(text='α ≤ θ ≥ √2 × 10⁶, \x00 \x1b É – “é” … & % $ # _ { } ~ ^ \\ < > | " ` ±1 −1')
    symbols = Table(name="symbols", title="symbols", header=(hostile,), rows=((hostile,),))
    sheets.write_table(symbols, tmp_path)
    tables = [tmp_path / "symbols.tex", *sorted((written / "tables").glob("*.tex"))]
    assert len(tables) > 10
    body = "\n\n".join(path.read_text() for path in tables)
    document = f"\\documentclass{{article}}\n\\usepackage{{booktabs}}\n\\begin{{document}}\n{body}\n\\end{{document}}\n"
    (tmp_path / "all.tex").write_text(document)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]


def test_the_leaderboard_as_files_equals_the_store(written, store):
    found = pl.read_parquet(written / "tables" / "leaderboard.parquet")
    rows = board_of(store).by_score()
    assert found["row"].to_list() == [row.label for row in rows]
    values = [row.scores["bleu", "all"] for row in rows]
    assert [value.mean for value in values] == sorted((value.mean for value in values), reverse=True)
    assert found["score"].to_list() == [value.mean for value in values]
    assert found["score, half width"].to_list() == [value.half_width for value in values]
    assert found["stored parameters"].to_list() == [SIZES[row.label] for row in rows]
    assert {path.name.split(".")[1] for path in (written / "tables").iterdir()} == set(sheets.ENDINGS)


def test_figures_are_files_for_papers(written):
    figures = sorted((written / "figures").glob("*.svg"))
    assert figures
    for svg in figures:
        assert ElementTree.parse(svg).getroot().tag.endswith("}svg")
        assert svg.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_charts_are_drawn_where_no_process_can_be_started(tmp_path):
    """Python reads from a pipe, so that a new process does not find the script that it should import."""
    script = f"""
from concurrent.futures import ProcessPoolExecutor, wait
from pathlib import Path
from featherbench.reports import helpers
from featherbench.reports.charts import images
started = []
def start(*given, **named):
    started.append(ProcessPoolExecutor(*given, **named))
    return started[-1]
helpers.MANY, helpers._cores, helpers.ProcessPoolExecutor = 2, lambda: 2, start
with helpers.helpers() as others:
    for name in "abcdefgh":
        others.do(images.write_images, name, {{"mark": "point", "data": {{"values": []}}}}, Path({str(tmp_path)!r}))
        wait([future for future, _ in others._given])
assert len(started) == 1, "what could not be started is not tried again"
"""
    done = subprocess.run([sys.executable], input=script, text=True, capture_output=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{name}.{end}" for name in "abcdefgh" for end in images.ENDINGS
    }


def test_every_figure_has_files_and_keeps_the_schema_of_vega_lite(written, store):
    report = collect(store)
    pages = [*(made for make in site.PAGES if (made := make(report))), *board.pages(report)]
    charts = {block.name: block.spec for page in pages for block in page.all_blocks() if isinstance(block, Figure)}
    assert {name.split("-")[0] for name in charts} >= {"size", "loss", "stored", "train"}
    for spec in charts.values():
        alt.LayerChart.from_dict(spec, validate=True)
    assert {path.name for path in (written / "figures").iterdir()} == {
        f"{name}.{ending}" for name in charts for ending in images.ENDINGS
    }


def test_several_processes_write_the_same_bytes_as_one(written, store, tmp_path, monkeypatch):
    monkeypatch.setattr(helpers, "MANY", 1)
    monkeypatch.setattr(helpers, "_cores", lambda: 3)
    write_report(store, tmp_path / "out")
    whole = [
        {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
        for out in (written, tmp_path / "out")
    ]
    assert whole[0] == whole[1]


def test_work_is_shared_with_processes_that_have_little_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(helpers, "MANY", 1)
    monkeypatch.setattr(helpers, "_cores", lambda: 2)
    monkeypatch.setattr(helpers, "AHEAD", 2)
    gate = tmp_path / "gate"
    with helpers.helpers() as others:
        others.do(_told_by, tmp_path / "first", gate)
        others.share(_told_by, tmp_path / "second", gate)  # one is at work and one waits: that is enough
        others.share(_told_by, tmp_path / "third", None)
        assert (tmp_path / "third").read_text() == str(os.getpid())
        gate.touch()
    theirs = {(tmp_path / name).read_text() for name in ("first", "second")}
    assert len(theirs) == 1 and str(os.getpid()) not in theirs


def _told_by(told: Path, gate: Path | None) -> None:
    """Write down which process this is, once the gate is there."""
    until = time.monotonic() + 60
    while gate and not gate.exists():
        assert time.monotonic() < until, "nobody opened the gate"
        time.sleep(0.01)
    told.write_text(str(os.getpid()))


def test_a_chart_that_another_process_cannot_draw_is_an_error_here(tmp_path, monkeypatch):
    monkeypatch.setattr(helpers, "MANY", 1)
    monkeypatch.setattr(helpers, "_cores", lambda: 2)
    with pytest.raises(ValueError, match="conversion failed"), helpers.helpers() as others:
        others.do(images.write_images, "bad", {"mark": "none such"}, tmp_path)


def test_filters_offer_what_rows_differ_in():
    facets = ({"task": "a", "size": "1"}, {"task": "b", "size": "1"}, {"task": "a", "size": "1"})
    rows = tuple((Entry(text=str(i)),) for i in range(3))
    [found] = filters(Table(name="t", title="t", header=entries("n"), rows=rows, facets=facets))
    assert (found.name, found.options, found.chosen) == ("task", ("a", "b"), (0, 1, 0))


# --- leaderboard.json -------------------------------------------------------------------------------------------------


def test_the_json_keeps_its_schema_and_equals_the_store(written, store):
    found = json.loads((written / "leaderboard.json").read_text())
    jsonschema.validate(found, json.loads(SCHEMA.read_text()))
    [board] = found["boards"]
    assert (written / board["page"]).is_file() and board["primary"] == "bleu"
    for told, row in zip(board["rows"], board_of(store).rows, strict=True):
        value = next(s for s in told["scores"] if (s["metric"], s["subset"]) == ("bleu", "all"))
        expected = row.scores["bleu", "all"]
        assert (value["mean"], value["half_width"], value["units"]) == (
            expected.mean,
            expected.half_width,
            expected.units,
        )
        assert [trial["id"] for trial in told["trials"]] == [one.trial_id for one in row.runs]
        assert told["counts"]["failed"] == row.counts.failed
        spent = spent_by(store, row.cell.id)
        assert told["spend"] == {"trials": len(spent), "seconds": pytest.approx(sum(spent), rel=1e-12)} and spent


def test_the_schema_refuses_another_file():
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"schema": 1, "plans": [], "boards": [{}]}, json.loads(SCHEMA.read_text()))


# --- trials -----------------------------------------------------------------------------------------------------------


def test_every_trial_has_a_page_also_those_that_failed_or_wait(written, store):
    runs = {one.trial_id: one for one in read(store).runs}
    assert {path.stem for path in (written / "trials").iterdir()} == set(runs)
    for trial_id, one in runs.items():
        page = (written / "trials" / f"{trial_id}.html").read_text()
        assert f"featherbench rerun {trial_id} --out runs/invented" in page
        assert f"featherbench log {trial_id} --out runs/invented" in page
        assert f"&#34;learning_rate&#34;: {one.trial.learning_rate}" in page
        for score in one.scores:
            assert score.value is None or repr(score.value) in page


def test_a_trial_page_shows_curves_clipping_outputs_and_attempts(store, tmp_path):
    norms = [3.0, 1.0, 0.5, 2.0, 1.5]
    curve = [CurvePoint(step=i, name="gradient_norm", value=norm) for i, norm in enumerate(norms, start=1)]
    curve += [CurvePoint(step=i, name="train_loss", value=2.0 / i) for i in range(1, 6)]
    outputs = tuple(Prediction(item=i, text=f"text {i}", truncated=i == 0) for i in range(12))
    trial = run(store, "adapter", 7, 55.0, 41.0, curve=tuple(curve), predictions=outputs)
    write_report(store, tmp_path / "out")
    page = (tmp_path / "out" / "trials" / f"{trial.id}.html").read_text()
    assert "Clipped: 3 of 5 gradients (60 %) had a norm above 1, the plan&#39;s bound." in page
    assert page.count('<polyline class="line') == 2 and "clipped above 1" in page
    assert "text 3" in page and "text 4" not in page and "The first 4 items of 12." in page
    assert "8.33 %" in page and "1 of 12" in page and "<mark>truncated</mark>" in page
    assert "licence: CC0-1.0" in page, "whose texts are shown is named"


def test_a_gradient_at_the_bound_is_not_clipped():
    assert clipped_text([1.0, 1.0 + 1e-12], 1.0).startswith("Clipped: 1 of 2 gradients (50 %)")


@pytest.mark.parametrize(
    ("plans", "folder"),
    [(["mine"], "runs/mine"), (["a", "b"], "RUN"), (["x; rm -rf ."], "RUN"), (["-rf"], "RUN"), ([], "RUN")],
)
def test_a_command_to_copy_holds_no_foreign_text(plans, folder):
    assert run_folder(plans) == folder


def test_texts_whose_licence_forbids_it_are_nowhere_on_the_site(tmp_path):
    kept, name = Store(f"sqlite:///{tmp_path}/store.sqlite"), "xsum"
    assert not TASKS[name].samples_allowed
    cell = cell_of("prefix", task=name)
    kept.add_plan("p", "news", "", [cell])
    items = [{"item": i, "source": "SECRET SOURCE", "references": ["SECRET REFERENCE"], "tags": {}} for i in range(12)]
    kept.add_items(name, 1, "test12", items)
    outputs = tuple(Prediction(item=i, text="SECRET OUTPUT", truncated=False) for i in range(12))
    trial = trial_of(cell, 0)
    fill(kept, cell, "final", 0, trial, result_of(trial, 1.0, 2.0, predictions=outputs))
    write_report(kept, tmp_path / "out")
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file() and b"SECRET" in path.read_bytes()]
    assert "No samples: the licence of xsum does not allow it" in board_page(tmp_path / "out")
    assert "No samples" in (tmp_path / "out" / "trials" / f"{trial.id}.html").read_text()


@pytest.mark.parametrize(("task", "allowed"), [("e2e", True), ("webnlg", True), ("dart", True), ("xsum", False)])
def test_tasks_say_whether_their_texts_may_be_shown(task, allowed):
    assert TASKS[task].samples_allowed is allowed


# --- line charts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 100, [0, 50, 100]),
        (1, 60, [20, 40, 60]),
        (0.0, 0.001, [0, 0.0005, 0.001]),
        (3, 3, [3]),
        (2.1, 3.4, [2.5, 3]),
    ],
)
def test_axes_have_round_numbers(low, high, ticks):
    assert trial_curves.round_numbers(low, high) == pytest.approx(ticks)


@pytest.mark.parametrize(("low", "high"), [(0, 7), (1, 1000), (-3.5, 12.25), (1e-6, 2e-6)])
def test_axes_have_two_to_six_numbers_within_the_values(low, high):
    found = trial_curves.round_numbers(low, high)
    assert 2 <= len(found) <= 6 and all(low - 1e-9 <= value <= high + 1e-9 for value in found)


@pytest.mark.parametrize(("low", "high"), [(0.01, 100), (3, 70), (1e-12, 1e12), (2.5, 55)])
def test_logarithmic_axes_have_two_to_seven_numbers(low, high):
    found = trial_curves.powers(low, high)
    assert 2 <= len(found) <= 7 and all(low <= value <= high for value in found)


def test_a_long_curve_keeps_its_peaks():
    points = [(i, 1.0) for i in range(10_000)]
    points[4321] = (4321, 99.0)
    points[17] = (17, -5.0)
    kept = trial_curves.thinned(points)
    assert len(kept) <= trial_curves.MOST and {points[4321], points[17]} <= set(kept)
    assert [step for step, _ in kept] == sorted(step for step, _ in kept)


def test_a_line_stands_where_its_values_are():
    chart = trial_curves.lines(
        "t", [("a", [(0, 1.0), (5, 2.0), (10, 3.0)])], rule=(2.0, "bound"), mark=(10, 3.0, "kept")
    )
    top, bottom = trial_curves.TOP, trial_curves.HEIGHT - trial_curves.BOTTOM
    left, right = trial_curves.LEFT, trial_curves.WIDTH - trial_curves.RIGHT
    middle = f"{(left + right) / 2},{(top + bottom) / 2}"
    assert chart.lines[0].points == f"{left:.1f},{bottom:.1f} {middle} {right:.1f},{top:.1f}"
    assert chart.rule.at == (top + bottom) / 2 and chart.mark[:2] == (right, top)
    assert trial_curves.lines("t", [("a", [])]) is None
    assert trial_curves.lines("t", [("a", [(0, 1.0)])], rule=(9.0, "beyond")).rule is None


def test_a_block_of_text_is_escaped():
    page = html(Page(path="a/b.html", title=EVIL, lead=EVIL, blocks=(Text(text=EVIL),)), [])
    assert "<script>alert" not in page and page.count("&lt;script&gt;alert(1)") == 4
    assert 'href="../site.css"' in page
