"""ablations.html: rows that differ in one thing - length, initialisation, position, depth, parametrisation, …"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from featherbench.harness.records import content_hash
from featherbench.reports.ablations import Ablation, Variant, ablations, has_score
from featherbench.reports.blocks import Block, Entry, Figure, Heading, Page, Table, Text, entries
from featherbench.reports.boards import ALL
from featherbench.reports.charts.series import Axis, Point, series_chart
from featherbench.reports.charts.strip import values
from featherbench.reports.comparisons import Difference
from featherbench.reports.interval import Estimate
from featherbench.reports.report import Report
from featherbench.reports.statistics import Interval
from featherbench.reports.tables import (
    board_name,
    board_path,
    board_title,
    configuration_text,
    cost_entry,
    count_entry,
    estimate_entry,
)
from featherbench.reports.text import MISSING, estimate_text, number_text, score_text

HOW_TO_READ = (
    "Rows of one board whose plan differs in exactly one field of their method's configuration, in their task words, or, for "
    "prefix, infix and embedding-only of one length or budget, in the position of the virtual tokens. Each searched row has "
    "the learning rate, steps and weight decay that its own search chose, so its effect is that of the choice with its own "
    "tuning; rows of one method with default settings share them. Differences are "
    "paired by seed or draw and by input, against the first such row of the plan. They have no p: only the comparisons "
    "that a plan named beforehand have one."
)


def page(report: Report) -> Page | None:
    """Return the page; None if no two rows differ in one thing alone."""
    found = ablations(report.boards, report.searches)
    if not found:
        return None
    blocks: list[Block] = [Text(text=HOW_TO_READ)]
    for key in dict.fromkeys(one.board.key for one in found):
        of_board = [one for one in found if one.board.key == key]
        blocks.append(Heading(level=2, text=board_title(of_board[0].board), anchor=board_name(of_board[0].board)))
        blocks += [block for one in of_board for block in _ablation(one)]
    return Page(
        path="ablations.html", title="Ablations", lead="What one choice within a method changes.", blocks=tuple(blocks)
    )


def _ablation(one: Ablation) -> Iterator[Block]:
    name = f"ablation-{content_hash([[variant.row.cell.id for variant in one.variants], one.factor])}"
    title = f"{one.method}: {_words(one.factor)}, against {one.reference.label}"
    yield Heading(level=3, text=title)
    if one.also:
        yield Text(text=f"These rows differ in {' and '.join(one.also)}, too: the effect is of both.", caution=True)
    if any(has_score(variant, _metric(one)) for variant in one.variants):
        caption = (
            "Diamonds: mean with its 95 % interval for new inputs, or for these inputs where it has none. Dots: trials."
        )
        yield Figure(
            name=f"{name}-figure", title=f"{title}, {board_title(one.board)}", spec=_spec(one, title), caption=caption
        )
    yield ablation_table(one, name, title)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _metric(one: Ablation) -> str:
    assert one.board.primary is not None, "only boards with a score have ablations"
    return one.board.primary


def _spec(one: Ablation, title: str) -> dict[str, object]:
    metric = _metric(one)
    drawn = [variant for variant in one.variants if has_score(variant, metric)]
    log = one.numeric and min(float(str(variant.value)) for variant in drawn) > 0
    axis = Axis(title=_words(one.factor), kind="log" if log else "linear" if one.numeric else "names")
    means: dict[str, list[Point]] = {}
    dots: dict[str, list[Point]] = {}
    for variant in drawn:
        series = variant.row.cell.method
        means.setdefault(series, []).append(_mean(one, variant, metric))
        dots.setdefault(series, []).extend(
            Point(x=_position(one, variant), y=value, text=f"{score_text(value)}, {name}")
            for name, value, _ in values(variant.row, metric, ALL)
        )
    return series_chart(f"{title} · {board_title(one.board)}", axis, Axis(title=metric), dots=dots, means=means)


def _position(one: Ablation, variant: Variant) -> float | str:
    return float(str(variant.value)) if one.numeric else str(variant.value)


def _mean(one: Ablation, variant: Variant, metric: str) -> Point:
    found = variant.row.scores[metric, ALL]
    assert found.mean is not None
    low, high = found.bounds or (None, None)
    text = f"{estimate_text(found)}, {variant.row.label}"
    return Point(x=_position(one, variant), y=found.mean, text=text, low=low, high=high)


# --- tables -----------------------------------------------------------------------------------------------------------


def ablation_table(one: Ablation, name: str, title: str) -> Table:
    """Return one line per value: the score with both intervals, and the paired difference to the reference."""
    metric = _metric(one)
    header = (
        *entries(_words(one.factor), "row"),
        Entry(text=metric, note="mean ± 95 % interval, new inputs"),
        Entry(text=f"{metric}, this test set", note="mean ± 95 % interval over seeds or draws"),
        Entry(text=f"difference to {one.reference.label}", note="paired, new inputs"),
        Entry(text="difference, this test set"),
        *entries("trials", "stored parameters", "configuration"),
    )
    return Table(
        name=name,
        title=f"{title}, {board_title(one.board)}",
        header=header,
        rows=tuple(_fields(one, variant, metric) for variant in one.variants),
    )


def _fields(one: Ablation, variant: Variant, metric: str) -> tuple[Entry, ...]:
    row = variant.row
    score = row.scores[metric, ALL]
    value = (
        variant.value if isinstance(variant.value, int | float | str) and not isinstance(variant.value, bool) else None
    )
    configurations = dict.fromkeys(configuration_text(run.trial) for run in row.counted)
    return (
        Entry(text=str(variant.value), value=value),
        Entry(text=row.label, link=board_path(one.board), note="; ".join(row.notes)),
        estimate_entry(score if score.items is not None else _without(score, "no item statistics: this test set only")),
        estimate_entry(replace(score, half_width=score.test_set)),
        *_differences(variant.against),
        count_entry(row.counts.counted),
        cost_entry(row.costs["stored_parameters"], number_text),
        Entry(text="\n".join(configurations), long=True),
    )


def _without(score: Estimate, reason: str) -> Estimate:
    """Return the mean without an interval, where the only one speaks of this test set."""
    if score.half_width is None:
        return score
    return replace(score, half_width=None, note="; ".join(part for part in (reason, score.note) if part))


def _differences(against: Difference | None) -> tuple[Entry, Entry]:
    """Return the difference for new inputs and for this test set."""
    if against is None:
        return Entry(text=MISSING, note="reference"), Entry(text=MISSING, note="reference")
    if against.estimate is None:
        return Entry(text=MISSING, note=against.note), Entry(text=MISSING)
    if against.found is None:
        alone = Entry(text=score_text(against.estimate), value=against.estimate, note=against.note)
        return alone, alone
    own = against.found.primary if against.found.primary.items is not None else None
    return _difference(against, own), _difference(against, against.found.test_set)


def _difference(against: Difference, interval: Interval | None) -> Entry:
    mean = against.estimate
    assert mean is not None
    if interval is None:
        reason = "no item statistics: this test set only"
        return Entry(text=score_text(mean), value=mean, note="; ".join(p for p in (reason, against.note) if p))
    half = float(interval.high - interval.low) / 2
    found = Estimate(units=len(against.units), mean=mean, half_width=half, note=against.note)
    return estimate_entry(found)
