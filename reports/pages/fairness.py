"""fairness.html: what every row was given and what it spent, where its search ended, and how often test items were seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from featherbench.harness.records import content_hash
from featherbench.reports.blocks import Block, Entry, Figure, Heading, Page, Table, Text, entries, how_to_read
from featherbench.reports.boards import COPY, UNTUNED, Board
from featherbench.reports.budget import studies
from featherbench.reports.charts.series import Axis, Point, series_chart
from featherbench.reports.claims import looks_table
from featherbench.reports.report import Report
from featherbench.reports.search import Search, Tried
from featherbench.reports.spending import BARE, Dimension, Ledger, Spent, dimensions, ledger
from featherbench.reports.tables import board_path, board_title, count_entry, size_text
from featherbench.reports.text import MISSING, flops_text, number_text, score_text, seconds_text

EQUAL = (
    "Equal spend means the same number of trials and the same step cap. Time, FLOPs and tokens are what that took: they "
    "are reported, not matched. Times are of the device, training and decoding; of trials that shared their steps each has "
    "its share, which depends on its neighbours, so FLOPs compare methods better. Failed and diverged trials were spent."
)
ESTIMAND = (
    "The estimand says what a row's mean and interval speak of. “Configuration”: one configuration, found by one search or "
    "given by the plan, under fresh seeds or draws; another search could find another one, which the interval leaves out. "
    "“Procedure”: every replicate has its own search, so the interval holds for the method as it is tuned."
)
WORDS = (
    "The step cap is the largest number of optimiser steps that a trial of the row may take. The budget is the share of the "
    "backbone's parameters that a row was sized for, in what it stores. Task words are a text that stands before the input. "
    "A look is one scoring of test items: a trial of the final phase takes one, and one more whenever it is run again from "
    "its store."
)
EXTEND = (
    "Some best values stand in the outer tenth of their range, so better ones may lie beyond: extend their range, and give "
    "all methods the same number of further trials."
)
SPACES = (
    "The range of the learning rate is the protocol's: three decades around the method's default, on a log scale. Other "
    "ranges are those of the values proposed; a dimension with fewer than three values has no inside, so it has no edge."
)
CLAIMS = (
    "A look keeps the effect as it stood then. Trials that were added or run again since move the effect that the other pages "
    "show; they do not move this record."
)
SENSITIVITY = (
    "Dots are configurations, diamonds the best one of a search. Other dimensions vary, too; these are no results."
)


def page(report: Report) -> Page:
    """Return the page."""
    rows = ledger(report.contents, report.searches)
    blocks: list[Block] = [how_to_read(EQUAL, ESTIMAND, WORDS), ledger_table(report, rows)]
    blocks += [Heading(level=2, text="Unequal treatment"), *_warnings(report.boards)]
    if report.boards:
        blocks += [Heading(level=2, text="Baselines"), baselines_table(report.boards)]
    searched = [search for search in report.searches if search.space]
    if searched:
        blocks += [Heading(level=2, text="Search spaces"), *_spaces(searched)]
        blocks += _sensitivity(searched)
    blocks += [Heading(level=2, text="Looks at test items"), *_looks(report)]
    if claims := looks_table(report.store):
        blocks += [Heading(level=2, text="Looks at claims"), Text(text=CLAIMS), claims]
    lead = "What each row was given and what it spent; versions and machines stand under provenance."
    return Page(path="fairness.html", title="Fairness", lead=lead, blocks=tuple(blocks))


# --- given and spent --------------------------------------------------------------------------------------------------


def ledger_table(report: Report, rows: Sequence[Ledger]) -> Table:
    """Return one line per cell."""
    header = (
        *entries(
            "row", "task", "backbone", "size", "estimand", "configurations", "search draws", "searched dimensions"
        ),
        *entries("search trials", "final trials", "step cap", "budget", "task words", "failed", "diverged"),
        Entry(text="time, search"),
        Entry(text="time, final"),
        *entries("FLOPs, search", "FLOPs, final", "training tokens", "device"),
    )
    paths = {row.cell.id: board_path(board) for board in report.boards for row in board.rows}
    return Table(
        name="ledger",
        title="Given and spent",
        header=header,
        rows=tuple(_ledger_fields(row, paths.get(row.cell.id, "")) for row in rows),
        facets=tuple(_facets(row) for row in rows),
    )


def _facets(row: Ledger) -> dict[str, str]:
    cell = row.cell
    size = size_text(cell.size, cell.size_unit)
    return {"task": cell.task, "backbone": cell.backbone, "size": size, "method": cell.method}


def _ledger_fields(row: Ledger, path: str) -> tuple[Entry, ...]:
    cell, both = row.cell, (row.search, row.final)
    size = Entry(text="whole" if cell.size is None else f"{cell.size:,}", value=cell.size)
    return (
        Entry(text=cell.row, link=path),
        Entry(text=cell.task),
        Entry(text=cell.backbone),
        Entry(text=size.text, value=size.value, note="" if cell.size is None else f"{cell.size_unit}s"),
        Entry(text=row.estimand, note=row.given),
        count_entry(row.configurations),
        Entry(text=MISSING) if row.draws is None else count_entry(row.draws),
        count_entry(len(row.dimensions), ", ".join(row.dimensions)),
        _trials(row.search),
        _trials(row.final),
        Entry(text=MISSING, note="not recorded") if row.step_cap is None else count_entry(row.step_cap),
        Entry(text=MISSING if cell.budget is None else f"{100 * cell.budget:g} %", value=cell.budget),
        Entry(text=row.words),
        count_entry(sum(part.failed for part in both)),
        count_entry(sum(part.diverged for part in both)),
        *(Entry(text=seconds_text(part.seconds), value=part.seconds, note=_costless(part)) for part in both),
        *(Entry(text=flops_text(part.flops), value=part.flops) for part in both),
        count_entry(sum(part.tokens for part in both)),
        Entry(text=", ".join(row.devices) or MISSING),
    )


def _trials(part: Spent) -> Entry:
    return count_entry(part.trials, f"{part.unfinished} not finished" if part.unfinished else "")


def _costless(part: Spent) -> str:
    return f"{part.costless} trials without a stored cost" if part.costless else ""


def _warnings(boards: Sequence[Board]) -> Iterator[Block]:
    rows = tuple(
        (Entry(text=board_title(board), link=board_path(board)), Entry(text=caution.text, long=True))
        for board in boards
        for caution in board.cautions
        if caution.unequal
    )
    if not rows:
        yield Text(
            text="No board has ranked rows that were treated unequally, as far as its records tell. Rows without a rank say on "
            "the leaderboard why they have none."
        )
        return
    unequal = len({fields[0].link for fields in rows})
    yield Text(text=f"{unequal} of {len(boards)} boards have rows that are not fully comparable.", caution=True)
    yield Table(name="unequal-treatment", title="Unequal treatment", header=entries("board", "what differs"), rows=rows)


def baselines_table(boards: Sequence[Board]) -> Table:
    """Return which of the rows that every board should have are there."""
    names = tuple(_baselines(boards[0]))
    rows = tuple(
        (
            Entry(text=board_title(board), link=board_path(board)),
            *(
                Entry(text=", ".join(found) or MISSING, note="" if found else "none")
                for found in _baselines(board).values()
            ),
        )
        for board in boards
    )
    return Table(name="baselines", title="Baselines", header=entries("board", *names), rows=rows)


def _baselines(board: Board) -> dict[str, list[str]]:
    """Return {baseline: labels of the rows that are it}."""
    counted = [(row, row.counted[0].trial) for row in board.rows if row.counted]
    bare = [(row, trial) for row, trial in counted if trial.method == UNTUNED]
    tuned = [(row, trial) for row, trial in counted if trial.method not in BARE]
    return {
        "untuned": [row.label for row, trial in bare if trial.words_as == "none"],
        "untuned with task words": [row.label for row, trial in bare if trial.words_as != "none"],
        "copy of the source": [row.label for row, trial in counted if trial.method == COPY],
        "default configuration": [
            row.label
            for row, _ in tuned
            if not row.cell.fixed.get("search", {}).get("configurations")
            and not {"learning_rate", "steps", "weight_decay"} & set(row.cell.fixed.get("given", {}))
        ],
        "prefix without MLP": [
            row.label
            for row, trial in tuned
            if trial.method == "prefix" and trial.config.get("parametrisation") == "direct"
        ],
    }


# --- search spaces ----------------------------------------------------------------------------------------------------


def _spaces(searches: Sequence[Search]) -> Iterator[Block]:
    found = [dimension for search in searches for dimension in dimensions(search)]
    yield Text(text=SPACES)
    if any(dimension.at_edge for dimension in found):
        yield Text(text=EXTEND, caution=True)
    yield spaces_table(found)


def spaces_table(found: Sequence[Dimension]) -> Table:
    """Return every searched dimension of every row, and where the best value stands."""
    header = entries(
        "cell", "dimension", "range", "values proposed", "best on validation", "place of the best in the range"
    )
    rows = tuple(
        (
            Entry(text=one.label),
            Entry(text=one.name),
            Entry(
                text=MISSING if one.low is None or one.high is None else f"{one.low:.3g} to {one.high:.3g}",
                note="" if one.low is None else "declared" if one.declared else "proposed",
                parts={"low": one.low, "high": one.high},
            ),
            count_entry(len(one.values), ", ".join(map(_short, one.values)) if len(one.values) <= 6 else ""),
            Entry(text=MISSING if one.best is None else _short(one.best)),
            Entry(
                text=MISSING if one.place is None else f"{number_text(round(100 * one.place, 1))} %",
                value=one.place,
                note="at the edge: extend the range, with as many further trials for all methods"
                if one.at_edge
                else "",
            ),
        )
        for one in found
    )
    facets = tuple({"dimension": one.name, "at the edge": "yes" if one.at_edge else "no"} for one in found)
    return Table(name="search-spaces", title="Search spaces", header=header, rows=rows, facets=facets)


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _sensitivity(searches: Sequence[Search]) -> Iterator[Block]:
    groups: dict[tuple[object, ...], list[Search]] = {}
    for search in searches:
        cell = search.cell
        if "learning_rate" in search.space and search.metric and any(tried.score is not None for tried in search.tried):
            key = (cell.backbone, cell.task, cell.size, cell.size_unit, search.metric, search.evaluated)
            groups.setdefault(key, []).append(search)
    if groups:
        yield Heading(level=2, text="Sensitivity to the learning rate")
        yield Text(text=SENSITIVITY)
    for group in groups.values():
        yield sensitivity_figure(group)


def sensitivity_figure(searches: Sequence[Search]) -> Figure:
    """Return the validation score of every configuration by its learning rate."""
    cell, metric, evaluated = searches[0].cell, searches[0].metric, searches[0].evaluated
    where = f"{cell.backbone} · {cell.task} · {size_text(cell.size, cell.size_unit)}"
    rows = studies(searches)
    labels = [group[0].cell.row for group in rows]
    series = {
        label if labels.count(label) == 1 else f"{label} ({group[0].cell.id})": group
        for label, group in zip(labels, rows, strict=True)
    }
    dots = {
        label: [_point(tried) for s in group for tried in s.tried if tried.score is not None]
        for label, group in series.items()
    }
    best = {label: [_point(s.best) for s in group if s.best is not None] for label, group in series.items()}
    axes = Axis(title="learning rate", kind="log"), Axis(title=f"validation {metric}")
    methods = {label: group[0].cell.method for label, group in series.items()}
    return Figure(
        name=f"learning-rate-{content_hash([cell.id, metric, evaluated])}",
        title=f"Validation {metric} by learning rate: {where}",
        spec=series_chart(
            f"Validation {metric} by learning rate · {where}", *axes, dots=dots, means=best, methods=methods
        ),
        caption=f"On {evaluated}. {SENSITIVITY}",
    )


def _point(tried: Tried) -> Point:
    assert tried.score is not None, "only configurations with a score are drawn"
    rate = tried.trial.learning_rate
    return Point(x=rate, y=tried.score, text=f"{score_text(tried.score)} at {rate:.3g}")


# --- looks ------------------------------------------------------------------------------------------------------------


def _looks(report: Report) -> Iterator[Block]:
    looks = report.origin["looks"]  # the store logs looks at test items only
    if not looks:
        yield Text(text="No look at test items is stored.")
        return
    keys = ("task", "split", "reason")
    rows = tuple(
        (*entries(*(look[key] for key in keys)), count_entry(look["looks"]), count_entry(look["trials"]))
        for look in looks
    )
    yield Text(
        text="A trial of the final phase decodes and scores the test items once. Whenever it is run again from its store, or "
        "the same outputs are scored again, that is a look, too; a rerun from a report's file is recorded nowhere. Task “?”: the "
        "trial is in no plan any more."
    )
    yield Table(name="looks-at-test", title="Looks at test items", header=entries(*keys, "looks", "trials"), rows=rows)
