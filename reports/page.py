"""Store -> the static page and everything beside it. The page loads nothing, from no network and from no file."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jinja2
import vl_convert
from markupsafe import Markup

from featherbench.harness.store import Store
from featherbench.reports import figures, markdown, sheets, tables
from featherbench.reports.aggregate import Board, boards, without_final
from featherbench.reports.provenance import Origin, provenance
from featherbench.reports.read import Contents, read
from featherbench.reports.samples import Sample, samples
from featherbench.reports.search import Search, searches
from featherbench.reports.text import visible

HERE = Path(__file__).parent
TITLE = "featherbench report"
HOW_TO_READ = (
    "Each table compares the rows of one backbone, task, evaluated subset and size of the training data. Every number "
    "comes from trials of the final phase, scored on the evaluated subset that the heading names.",
    "“Mean ± half width” is the mean over independent units with its 95 % t interval. The unit is the seed, or the "
    "draw where the training pairs are drawn anew; trials on one draw are averaged first. The interval says how far "
    "other seeds or draws could move the mean on these same items; it says nothing about other items.",
    "Every dot is one trial. A hollow dot is a trial that diverged: it counts, with its best weights. A failed trial "
    "has no score: it enters no mean and is listed with its cause under “Failed, diverged and unfinished trials”. The "
    "bar is the interval, without an end mark where it goes on beyond the strip; the tall line is the mean.",
    "Overlapping intervals do not show that two rows are equal, nor does a higher mean show that a row is better: this "
    "page ranks nothing and tests nothing. Rows with fewer than 3 seeds or draws are marked “not ranked”.",
    "Trained parameters are what the optimiser moves, stored ones what is kept after tuning, total ones those of the "
    "tuned model. Costs are means over the same trials as the scores. Times depend on the machine and on what else ran "
    "on it. 1 MB is 10⁶ bytes.",
    "“–” is a missing value; the reason stands beside it.",
)


@dataclass(frozen=True, kw_only=True)
class Section:
    """One board with everything shown about it."""

    anchor: str
    board: Board
    title: str
    origin: str
    leaderboard: tables.Table
    costs: tables.Table
    seen: tables.Table | None
    subsets: tables.Table | None
    losses: tables.Table | None
    samples: tuple[Sample, ...]
    size_figure: figures.Spec | None
    loss_figure: figures.Spec | None
    undrawn: tuple[str, ...]
    """Labels of rows that the figure leaves out"""


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that is written, before it is written."""

    contents: Contents
    sections: tuple[Section, ...]
    troubles: tables.Table | None
    unplaced: tables.Table | None
    searches: tuple[Search, ...]
    origin: Origin


def write_report(store: Store, out: Path) -> list[Path]:
    """Write the report of everything in the store into the folder `out`; return the files written.

    Figures of an earlier report in `out` are removed. The same store gives the same bytes.
    Raises: ValueError if the store holds no finished trial.
    """
    report = collect(store)
    out.mkdir(parents=True, exist_ok=True)
    _remove_figures(out)
    images = figures.write_figures([section.size_figure for section in report.sections], out)
    cells = sheets.cells_csv([section.board for section in report.sections], without_final(report.contents))
    texts = {
        "index.html": html_page(report, images),
        "report.md": markdown_page(report, images),
        "cells.csv": cells,
        "trials.csv": sheets.trials_csv(report.contents),
        "provenance.json": json.dumps(report.origin, indent=2, ensure_ascii=False, allow_nan=False) + "\n",
    }
    for name, text in texts.items():
        (out / name).write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
    drawn = [f"{image}.{ending}" for image in images if image for ending in ("svg", "png")]
    return [out / name for name in [*texts, *drawn]]


def collect(store: Store) -> Report:
    """Read the store and compute all that the report shows."""
    contents = read(store)
    searched = tuple(searches(store, contents))
    return Report(
        contents=contents,
        sections=tuple(_section(store, board, i) for i, board in enumerate(boards(contents), start=1)),
        troubles=tables.troubles_table(contents),
        unplaced=tables.unplaced_table(without_final(contents), searched),
        searches=searched,
        origin=provenance(store, contents),
    )


def _section(store: Store, board: Board, number: int) -> Section:
    return Section(
        anchor=f"table-{number}",
        board=board,
        title=tables.board_title(board),
        origin=tables.board_origin(board),
        leaderboard=tables.leaderboard(board),
        costs=tables.costs_table(board),
        seen=tables.seen_table(board),
        subsets=tables.subsets_table(board),
        losses=tables.losses_table(board),
        samples=tuple(samples(store, board)),
        size_figure=figures.size_figure(board),
        loss_figure=figures.loss_figure(board),
        undrawn=tuple(row.label for row in board.rows if not figures.drawable(board, row)),
    )


def _remove_figures(out: Path) -> None:
    for path in out.iterdir():
        if re.fullmatch(r"figure(-\d+)?\.(svg|png)", path.name):
            path.unlink()


# --- HTML -------------------------------------------------------------------------------------------------------------


def html_page(report: Report, images: Sequence[str | None]) -> str:
    """Return index.html. Only texts of this package are trusted; everything from the store is escaped."""
    style = Markup((HERE / "style.css").read_text(encoding="utf-8"))
    scripts = [library(), _script((HERE / "charts.js").read_text(encoding="utf-8"))] if _has_charts(report) else []
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            title=TITLE,
            how_to_read=HOW_TO_READ,
            report=report,
            images=images,
            search_table=tables.search_table(report.searches) if report.searches else None,
            provenance_tables=tables.provenance_tables(report.origin),
            style=style,
            scripts=scripts,
            policy=_policy(scripts),
        )
    )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: visible(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "primary_text": tables.primary_text,
        "tried_table": tables.tried_table,
        "on_page": figures.on_page,
    }
    return environment


def _has_charts(report: Report) -> bool:
    return any(section.size_figure or section.loss_figure for section in report.sections)


@cache
def library() -> Markup:
    """Return the JavaScript of Vega, Vega-Lite and Vega-Embed for a script element (BSD-3-Clause)."""
    return _script(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))


def _script(text: str) -> Markup:
    """Mark JavaScript of ours as safe in a script element, which only `</script` can end."""
    return Markup(re.sub(r"</(?=script)", r"<\\/", text, flags=re.IGNORECASE))


def _policy(scripts: Sequence[str]) -> Markup:
    """Return a content security policy: the given scripts run, and nothing is loaded."""
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests) or "'none'"
    rules = f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    return Markup(rules)


# --- Markdown ---------------------------------------------------------------------------------------------------------


def markdown_page(report: Report, images: Sequence[str | None]) -> str:
    """Return report.md: the page without its interactive parts and without the plans' texts."""
    lines = [f"# {TITLE}", *markdown.heading(2, "How to read this page"), *markdown.bullets(HOW_TO_READ)]
    for section, image in zip(report.sections, images, strict=True):
        lines += _markdown_section(section, image)
    lines += _markdown_part("Cells without a final trial", report.unplaced)
    lines += _markdown_part("Failed, diverged and unfinished trials", report.troubles)
    if report.searches:
        lines += _markdown_part("Search", tables.search_table(report.searches))
    lines += markdown.heading(2, "Provenance")
    lines += markdown.bullets(f"plan {plan.name} ({plan.id})" for plan in report.contents.plans)
    for table in tables.provenance_tables(report.origin):
        lines += [*markdown.heading(3, table.title), *markdown.table_lines(table)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


def _markdown_section(section: Section, image: str | None) -> list[str]:
    lines = [*markdown.heading(2, section.title), markdown.markdown(f"{section.origin}."), ""]
    lines += [markdown.markdown(tables.primary_text(section.board)), ""]
    lines += [*markdown.bullets(f"Caution: {warning}." for warning in section.board.warnings)]
    parts = (
        ("Scores", section.leaderboard),
        ("Seen and unseen", section.seen),
        ("Costs", section.costs),
        ("Other subsets", section.subsets),
        ("Validation loss", section.losses),
    )
    for title, table in parts:
        lines += _markdown_part(title, table, level=3)
    if image:
        lines += [*markdown.heading(3, "Score against stored parameters"), f"![score against size]({image}.svg)"]
    if section.samples:
        lines += [*markdown.heading(3, "Samples"), *markdown.sample_lines(section.samples)]
    return lines


def _markdown_part(title: str, table: tables.Table | None, level: int = 2) -> list[str]:
    return [*markdown.heading(level, title), *markdown.table_lines(table)] if table else []
