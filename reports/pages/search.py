"""search.html: what was tried on validation, and what the final phase used of it."""

from __future__ import annotations

from collections.abc import Sequence

from featherbench.reports.blocks import Block, Entry, Folded, Page, Table, entries
from featherbench.reports.report import Report
from featherbench.reports.search import Search, Tried
from featherbench.reports.tables import configuration_text, count_entry, trial_path
from featherbench.reports.text import MISSING, score_text


def page(report: Report) -> Page | None:
    """Return the page; None if no cell was searched."""
    if not report.searches:
        return None
    blocks: list[Block] = [search_table(report.searches)]
    for search in report.searches:
        if search.tried:
            title = f"{search.cell.label}: {len(search.tried)} configurations tried"
            blocks.append(Folded(title=title, blocks=(tried_table(search),)))
    lead = "The validation score chose the configuration and is too good by that choice: it is never a result."
    return Page(path="search.html", title="Search", lead=lead, blocks=tuple(blocks))


def search_table(searched: Sequence[Search]) -> Table:
    """Return one line per searched cell. The validation score chose; it is no result."""
    header = entries(
        "cell", "proposed", "tried", "sampler", "best on validation (no result)", "used in the final phase"
    )
    rows = tuple(_search_row(search) for search in searched)
    facets = tuple({"task": s.cell.task, "backbone": s.cell.backbone, "method": s.cell.method} for s in searched)
    return Table(name="searches", title="Searches", header=header, rows=rows, facets=facets)


def _search_row(search: Search) -> tuple[Entry, ...]:
    best = search.best
    top = Entry(text=MISSING, note="no configuration has a score of all its trials")
    if best is not None and best.score is not None:
        top = Entry(
            text=f"{_numbers(best)}: {search.metric} {score_text(best.score)} on {search.evaluated}",
            note=configuration_text(best.trial),
            value=best.score,
        )
    return (
        Entry(text=search.cell.label),
        count_entry(search.proposed) if search.proposed else Entry(text=MISSING),
        count_entry(len(search.tried)),
        Entry(text=", ".join(search.samplers) or MISSING),
        top,
        _used(search),
    )


def _used(search: Search) -> Entry:
    if not search.final:
        return Entry(text=MISSING, note="no final trial")
    used = [tried for tried in search.tried if tried.used]
    foreign = f"{search.foreign} of {search.final} final trials use a configuration that was not tried here"
    text = "; ".join(_numbers(tried) for tried in used) or MISSING
    best = search.best
    same = "the best on validation" if best and used == [best] else ""
    return Entry(text=text, note="; ".join(part for part in (same, foreign if search.foreign else "") if part))


def _numbers(tried: Tried) -> str:
    return "number " + ", ".join(str(number) for number in tried.numbers)


def tried_table(search: Search) -> Table:
    """Return every configuration of a cell with its validation score."""
    header = entries("number", "configuration", f"validation {search.metric or 'score'}", "trials", "used")
    rows = tuple(
        (
            Entry(text=", ".join(str(number) for number in tried.numbers), link=trial_path(tried.trial.id)),
            Entry(text=configuration_text(tried.trial), long=True),
            Entry(text=MISSING if tried.score is None else score_text(tried.score), value=tried.score, note=tried.note),
            count_entry(tried.trials, "" if tried.scored == tried.trials else f"{tried.scored} with a score"),
            Entry(text="final phase" if tried.used else ""),
        )
        for tried in search.tried
    )
    title = f"Configurations tried: {search.cell.label} ({search.cell.id})"
    return Table(name=f"tried-{search.cell.id}", title=title, header=header, rows=rows)
