"""search.html: what was tried on validation, what the final phase used of it, and what a smaller search would find."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from featherbench.harness.records import content_hash
from featherbench.reports.blocks import Block, Entry, Figure, Folded, Heading, Page, Table, Text, entries, how_to_read
from featherbench.reports.budget import Budget, budgets
from featherbench.reports.charts.series import Axis, Point, series_chart
from featherbench.reports.report import Report
from featherbench.reports.search import Search, Tried
from featherbench.reports.statistics import STUDIES_FROM
from featherbench.reports.tables import configuration_text, count_entry, size_text, trial_path
from featherbench.reports.text import MISSING, flops_text, number_text, score_text, seconds_text

NO_RESULT = (
    "The validation score chose the configuration and is too good by that choice: validation scores are never results."
)
HOW_TO_READ = (
    "A search proposes configurations of one row (learning rate, steps, length, …), trains each on data that the final "
    "phase does not use where data are drawn anew, and scores it on validation. The best one is trained again in the final "
    "phase, with other seeds or draws: only those trials are results.",
    "Validation scores compare configurations with each other, not with test scores: validation inputs have the references "
    "of their labelled pairs only, often one, while test inputs have all of theirs, and BLEU falls with fewer references.",
    "“Number” is the place of a configuration in the search: its values come from the sampler. "
    "“Proposed” counts configurations, “tried” those of them that have a score; a configuration proposed twice is one.",
)
CURVES = (
    "The expected best validation score of n configurations is the mean over every choice of n among those tried, so it "
    "answers what a smaller search would have found. Configurations are quasi-random points of the search space, before "
    "any adaptive phase. Each was spent: one that diverged counts with the score of its best weights, which are those "
    "of step 0 at the worst; one of which a trial failed counts with the worst score of its row. Costs are n times the "
    "row's mean cost of a configuration. The band is a 95 % t interval over independently scrambled studies, from three "
    "on; with fewer there are the line and the points, each a configuration at its place in the search, and no band."
)


def page(report: Report) -> Page | None:
    """Return the page; None if no cell was searched."""
    if not report.searches:
        return None
    blocks: list[Block] = [how_to_read(*HOW_TO_READ), Heading(level=2, text="Searches"), search_table(report.searches)]
    for search in report.searches:
        if search.tried:
            title = f"{search.label}: {len(search.tried)} configurations tried"
            blocks.append(Folded(title=title, blocks=(tried_table(search),)))
    if found := budgets(report.searches):
        blocks += [Heading(level=2, text="Expected validation score against budget"), Text(text=CURVES)]
        blocks += [block for rows in by_task(found) for block in _curves(rows)]
    return Page(path="search.html", title="Search", lead=NO_RESULT, blocks=tuple(blocks))


# --- expected validation score ----------------------------------------------------------------------------------------


def by_task(found: Sequence[Budget]) -> list[list[Budget]]:
    """Return the rows that were validated alike together: backbone, task, size, score and validation items."""
    groups: dict[tuple[object, ...], list[Budget]] = {}
    for one in found:
        cell = one.cell
        key = (cell.backbone, cell.task, cell.size, cell.size_unit, one.metric, one.evaluated)
        groups.setdefault(key, []).append(one)
    return list(groups.values())


def _curves(rows: Sequence[Budget]) -> Iterator[Block]:
    cell, metric = rows[0].cell, rows[0].metric
    where = f"{cell.backbone} · {cell.task} · {size_text(cell.size, cell.size_unit)}"
    name = content_hash([cell.id, metric, rows[0].evaluated])
    yield Heading(level=3, text=where)
    yield Text(text=f"Validation {metric} on {rows[0].evaluated}. {NO_RESULT}", caution=True)
    labelled = _labels(rows)
    for key, title in (("trials", "trials"), ("seconds", "seconds of training and decoding"), ("flops", "FLOPs")):
        lines = {label: points for label, one in labelled.items() if (points := _points(one, key))}
        if lines:
            dots = {label: _dots(one) for label, one in labelled.items() if one.curve.low is None}
            axis = Axis(title=title, kind="log")
            spec = series_chart(
                f"Expected best validation {metric} · {where}",
                axis,
                Axis(title=f"expected best validation {metric}"),
                lines=lines,
                dots=dots if key == "trials" else None,
                methods={label: one.cell.method for label, one in labelled.items()},
            )
            yield Figure(name=f"budget-{key}-{name}", title=f"{metric} against {title}: {where}", spec=spec)
    table = budget_table(rows, where, name)
    yield Folded(title=table.title, blocks=(table,))


def _labels(rows: Sequence[Budget]) -> dict[str, Budget]:
    """Return the rows by label, with the cell's id where a label occurs twice."""
    times = Counter(one.cell.row for one in rows)
    return {one.cell.row if times[one.cell.row] == 1 else f"{one.cell.row} ({one.cell.id})": one for one in rows}


def _cost(one: Budget, key: str) -> float | None:
    return {"trials": one.trials, "seconds": one.seconds, "flops": one.flops}[key]


def _points(one: Budget, key: str) -> list[Point]:
    """Return the curve's points for one kind of cost; empty where it is not stored, or is nothing."""
    curve, cost = one.curve, _cost(one, key)
    if not cost:
        return []
    return [
        Point(
            x=(i + 1) * cost,
            y=float(mean),
            text=f"{score_text(float(mean))} expected of {i + 1} configurations",
            low=None if curve.low is None else float(curve.low[i]),
            high=None if curve.high is None else float(curve.high[i]),
        )
        for i, mean in enumerate(curve.mean)
    ]


def _dots(one: Budget) -> list[Point]:
    return [
        Point(x=(i + 1) * one.trials, y=float(value), text=f"{score_text(float(value))}, configuration {i}")
        for study in one.values
        for i, value in enumerate(study)
    ]


def budget_table(rows: Sequence[Budget], where: str, name: str) -> Table:
    """Return the curves as numbers: a line per row and number of configurations."""
    header = (
        *entries("row", "configurations", "trials", "time", "FLOPs"),
        Entry(text="expected best, validation (no result)", note="95 % interval over studies"),
        *entries("studies", "failed trials", "diverged trials"),
    )
    body = tuple(
        (
            Entry(text=label, note="; ".join(one.notes) if n == 1 else ""),
            count_entry(n),
            Entry(text=number_text(n * one.trials), value=n * one.trials),
            _spent(one.seconds, n, seconds_text),
            _spent(one.flops, n, flops_text),
            _expected(one, n),
            count_entry(one.curve.studies),
            count_entry(one.failed),
            count_entry(one.diverged),
        )
        for label, one in _labels(rows).items()
        for n in range(1, len(one.curve.mean) + 1)
    )
    facets = tuple({"row": label} for label, one in _labels(rows).items() for _ in one.curve.mean)
    title = f"Expected best validation {rows[0].metric}: {where}"
    return Table(name=f"budget-{name}", title=title, header=header, rows=body, facets=facets)


def _spent(each: float | None, n: int, show: Callable[[float], str]) -> Entry:
    if each is None:
        return Entry(text=MISSING, note="no cost stored")
    return Entry(text=show(n * each), value=n * each)


def _expected(one: Budget, n: int) -> Entry:
    curve, mean = one.curve, float(one.curve.mean[n - 1])
    if curve.low is None or curve.high is None:
        note = f"{curve.studies} {'study' if curve.studies == 1 else 'studies'}: no band below {STUDIES_FROM}"
        return Entry(text=score_text(mean), value=mean, note=note)
    low, high = float(curve.low[n - 1]), float(curve.high[n - 1])
    return Entry(
        text=score_text(mean),
        value=mean,
        note=f"{score_text(low)} to {score_text(high)}",
        parts={"low": low, "high": high},
    )


# --- what was tried ---------------------------------------------------------------------------------------------------


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
        Entry(text=search.label),
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
    title = f"Configurations tried: {search.label} ({search.cell.id})"
    study = f"-{search.study}" if search.of > 1 else ""
    return Table(name=f"tried-{search.cell.id}{study}", title=title, header=header, rows=rows)
