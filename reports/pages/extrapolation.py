"""extrapolation.html: how much a row loses on inputs of categories that training never showed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from featherbench.reports.blocks import (
    Block,
    Entry,
    Figure,
    Folded,
    Heading,
    Page,
    Table,
    Text,
    cautions,
    entries,
    how_to_read,
)
from featherbench.reports.boards import ALL, SEEN, UNSEEN, Board, Summary
from featherbench.reports.categories import (
    LEAST_CATEGORIES,
    Category,
    categories,
    category_scores,
    category_tags,
    over_categories,
)
from featherbench.reports.charts.seen_unseen import seen_unseen_chart
from featherbench.reports.comparisons import combined, difference
from featherbench.reports.estimates import (
    HOW_TO_READ,
    difference_entry,
    interval_entry,
    missing,
    reference,
)
from featherbench.reports.interval import Estimate, estimate
from featherbench.reports.measured import GAP, Measured
from featherbench.reports.report import Report
from featherbench.reports.tables import board_name, board_path, board_title
from featherbench.reports.text import MISSING, score_text

LEAD = (
    "Scores on items of categories that training showed (seen) and of others (unseen), and what is lost between the two: "
    "the gap, and the gap relative to full fine-tuning."
)
GAPS = (
    "The gap is unseen − seen within each trial. The relative gap is a row's gap minus that of full fine-tuning, within "
    "each seed or draw: where higher scores are better, above 0 means that the row loses less on unseen items. “Unseen” "
    "speaks of tuning: what a backbone met in pretraining, tuning does not know."
)


def page(report: Report) -> Page | None:
    """Return the page; None if no board has seen and unseen items."""
    boards = [board for board in report.boards if _metrics(board)]
    if not boards:
        return None
    blocks = [how_to_read(GAPS, HOW_TO_READ), *(block for board in boards for block in _board(board))]
    return Page(path="extrapolation.html", title="Extrapolation", lead=LEAD, blocks=tuple(blocks))


def _metrics(board: Board) -> list[str]:
    return [m for m in board.metrics if any(row.gaps[m].mean is not None for row in board.rows)]


def _board(board: Board) -> Iterator[Block]:
    metrics, name = _metrics(board), board_name(board)
    yield Heading(level=2, text=board_title(board))
    if board.cautions:
        yield cautions(caution.text for caution in board.cautions)
    first = metrics[0]
    yield gaps_table(board, first, f"gaps-{name}")
    both = [(row.label, row.scores[first, SEEN], row.scores[first, UNSEEN]) for row in board.rows]
    drawn = [one for one in both if one[1].mean is not None and one[2].mean is not None]
    if drawn:
        caption = (
            "Circle: seen, diamond: unseen; thin lines are 95 % intervals, for new inputs where the score allows it."
        )
        spec = seen_unseen_chart(drawn, first)
        yield Figure(name=f"sides-{name}", title=f"{first} on seen and unseen items", spec=spec, caption=caption)
    for i, tag in enumerate(category_tags(board)):
        yield from _categories(board, first, tag, f"{name}-{i}")
    if others := metrics[1:]:
        tables = tuple(gaps_table(board, metric, f"gaps-{name}-{i}") for i, metric in enumerate(others, 1))
        yield Folded(title=f"Other scores: {', '.join(others)}", blocks=tables)


def gaps_table(board: Board, metric: str, name: str) -> Table:
    """Return seen, unseen, all, gap and relative gap of every row."""
    against = reference(board)
    relative = f"gap − gap of {against.label}" if against else "relative gap"
    better = "higher is better" if board.higher_is_better_in(metric) else "lower is better"
    header = (
        Entry(text="row", note=f"{metric}, {better}"),
        *entries("seen", "unseen", "all"),
        Entry(text="gap", note="unseen − seen, within each trial"),
        Entry(text=relative, note="paired"),
    )
    rows = tuple(
        (
            Entry(text=row.label, link=board_path(board)),
            *(interval_entry(row.scores[metric, subset]) for subset in (SEEN, UNSEEN, ALL)),
            interval_entry(row.gaps[metric], signed=True) if row.counted else missing("no trial with scores"),
            _relative(board, row, against, metric),
        )
        for row in board.rows
    )
    return Table(name=name, title=f"Gaps in {metric}: {board_title(board)}", header=header, rows=rows)


def _relative(board: Board, row: Summary, against: Summary | None, metric: str) -> Entry:
    if reason := _not_compared(row, against, row.gaps[metric]):
        return missing(reason)
    assert against is not None
    if against.gaps[metric].mean is None:
        return missing(f"{against.label} has no gap")
    return difference_entry(difference(board, row, against, metric=metric, subset=GAP))


def _not_compared(row: Summary, against: Summary | None, value: Estimate) -> str:
    """Return why a row has no difference to full fine-tuning; empty if it has."""
    if value.mean is None:
        return value.note if row.counted else "no trial with scores"
    if against is None:
        return "no trial of full fine-tuning here"
    return "the reference" if row is against else ""


# --- categories -------------------------------------------------------------------------------------------------------


def _categories(board: Board, metric: str, tag: str, name: str) -> Iterator[Block]:
    found = categories(board, tag)
    unseen = [category for category in found if category.seen == "unseen"]
    yield Heading(level=3, text=f"By {tag}")
    if 0 < len(unseen) < LEAST_CATEGORIES:
        yield Text(text=given_text(len(unseen), tag), caution=True)
    elif unseen:
        yield from _over_categories(board, metric, tag, len(unseen), name)
    scores = {row.label: category_scores(board, row, metric, tag) for row in board.rows if _scored(row, metric)}
    if not any(scores.values()):
        reason = "it weighs by all references of the set, or the trials keep no item statistics"
        yield Text(text=f"No {metric} of each {tag}: {reason}.")
        return
    yield signs_table(board, metric, tag, found, scores, f"signs-{name}")
    yield Folded(
        title=f"Every {tag}", blocks=(categories_table(board, metric, tag, found, scores, f"categories-{name}"),)
    )


def given_text(number: int, tag: str) -> str:
    """Return what intervals over few categories do not say (protocol 1.1)."""
    return (
        f"All intervals are given these {number} unseen categories (tag “{tag}”); new categories cannot be inferred from "
        f"few. From {LEAST_CATEGORIES} unseen ones on, the category would be the unit."
    )


def _scored(row: Summary, metric: str) -> bool:
    return row.scores[metric, ALL].mean is not None


def _over_categories(board: Board, metric: str, tag: str, number: int, name: str) -> Iterator[Block]:
    yield Text(
        text=f"With {number} unseen categories (tag “{tag}”) the category can be the unit: here it stands in the place of "
        "the item, so the intervals are for new seeds (or draws) and new categories. Items of a category share their words, "
        "so that intervals over items alone promise too much of new categories; means are those of the table above."
    )
    against = reference(board)
    relative = f"gap − gap of {against.label}" if against else "relative gap"
    rows = []
    for row in board.rows:
        if row.gaps[metric].mean is None:
            rows.append(
                (Entry(text=row.label), *(missing(_not_compared(row, against, row.gaps[metric])) for _ in range(3)))
            )
            continue
        fields = [Entry(text=row.label)]
        for subset in (UNSEEN, GAP):
            value = _estimated(row, over_categories(board, row, metric, subset, tag))
            fields.append(interval_entry(value, signed=subset == GAP))
        rows.append((*fields, _relative_over_categories(board, row, against, metric, tag)))
    header = (
        Entry(text="row", note=f"{metric}; new {tag} values"),
        *entries("unseen", "gap"),
        Entry(text=relative, note="paired"),
    )
    title = f"Intervals for a new {tag}: {board_title(board)}"
    yield Table(name=f"units-{name}", title=title, header=header, rows=tuple(rows))


def _estimated(row: Summary, found: Measured) -> Estimate:
    if row.deterministic:  # without seeds there is no interval
        return Estimate(units=1, mean=float(found.values[0]), half_width=None, note="deterministic")
    return estimate(found.values.tolist(), row.unit, found.psi)


def _relative_over_categories(board: Board, row: Summary, against: Summary | None, metric: str, tag: str) -> Entry:
    if reason := _not_compared(row, against, row.gaps[metric]):
        return missing(reason)
    assert against is not None
    ours, theirs = (over_categories(board, one, metric, GAP, tag) for one in (row, against))
    found = combined([row, against], [ours, theirs])
    unit = against.unit if row.deterministic else row.unit
    return interval_entry(estimate(found.values.tolist(), unit, found.psi), signed=True)


def _differences(board: Board, row: Summary, scores: dict[str, list[Measured] | None]) -> list[float] | None:
    """Return the paired mean difference to full fine-tuning in each category; None where there is none."""
    against = reference(board)
    ours, theirs = scores.get(row.label), scores.get(against.label) if against else None
    if against is None or row is against or not ours or not theirs:
        return None
    pairs = [combined([row, against], list(two)).values for two in zip(ours, theirs, strict=True)]
    return [float(np.mean(values)) for values in pairs] if len(pairs[0]) else None


def signs_table(
    board: Board,
    metric: str,
    tag: str,
    found: Sequence[Category],
    scores: dict[str, list[Measured] | None],
    name: str,
) -> Table:
    """Return in how many categories each row is better than full fine-tuning, by the sign of the paired difference."""
    sides = [side for side in ("unseen", "seen", "both", "") if any(category.seen == side for category in found)]
    sign = 1 if board.higher_is_better_in(metric) else -1
    rows = []
    for row in board.rows:
        differences = _differences(board, row, scores)
        if differences is None:
            reason = "the reference" if row is reference(board) else "nothing to compare"
            rows.append((Entry(text=row.label), *(missing(reason) for _ in sides)))
            continue
        fields = [Entry(text=row.label)]
        for side in sides:
            signs = [
                int(np.sign(value)) * sign
                for value, category in zip(differences, found, strict=True)
                if category.seen == side
            ]
            better, worse = signs.count(1), signs.count(-1)
            note = f"worse in {worse}, equal in {len(signs) - better - worse}"
            fields.append(Entry(text=f"{better} of {len(signs)}", value=better, note=note, parts={"worse": worse}))
        rows.append(tuple(fields))
    against = reference(board)
    than = against.label if against else "full fine-tuning"
    header = (
        Entry(text="row"),
        *(Entry(text=f"better than {than}", note=f"{side or 'all'} categories") for side in sides),
    )
    title = f"Signs by {tag}: {board_title(board)}"
    return Table(name=name, title=title, header=header, rows=tuple(rows))


def categories_table(
    board: Board,
    metric: str,
    tag: str,
    found: Sequence[Category],
    scores: dict[str, list[Measured] | None],
    name: str,
) -> Table:
    """Return each category's score of every row, with the paired difference to full fine-tuning below it."""
    shown = [row for row in board.rows if scores.get(row.label)]
    differences = {row.label: _differences(board, row, scores) for row in shown}
    order = sorted(range(len(found)), key=lambda i: (found[i].seen != "unseen", found[i].seen, found[i].name))
    rows = tuple(
        (
            Entry(text=found[i].name or MISSING, note=_described(found[i])),
            *(_score(scores[row.label], differences[row.label], i) for row in shown),
        )
        for i in order
    )
    header = (
        Entry(text=tag, note=f"{metric}; below it the difference to full fine-tuning"),
        *entries(*(r.label for r in shown)),
    )
    title = f"{metric} by {tag}: {board_title(board)}"
    facets = tuple({"items": found[i].seen or MISSING} for i in order)
    return Table(name=name, title=title, header=header, rows=rows, facets=facets)


def _described(category: Category) -> str:
    items = f"{category.items} item{'s' * (category.items > 1)}"
    return f"{category.seen}, {items}" if category.seen else items


def _score(scores: list[Measured] | None, differences: list[float] | None, i: int) -> Entry:
    assert scores is not None
    mean = float(np.mean(scores[i].values))
    if differences is None:
        return Entry(text=score_text(mean), value=mean)
    sign = "+" if differences[i] > 0 else ""
    note, parts = f"{sign}{score_text(differences[i])}", {"difference": differences[i]}
    return Entry(text=score_text(mean), value=mean, note=note, parts=parts)
