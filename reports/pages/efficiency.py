"""efficiency.html: what a point of score costs: parameters, memory, operations, time, storage, latency."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from featherbench.reports.blocks import (
    Block,
    Entry,
    Figure,
    Heading,
    Page,
    Table,
    Text,
    cautions,
    entries,
    how_to_read,
)
from featherbench.reports.boards import ALL, Board, Quantity, Summary
from featherbench.reports.charts.front import AtCost, front_chart
from featherbench.reports.charts.parts import FAINT_MARKS, row_colours
from featherbench.reports.comparisons import difference
from featherbench.reports.estimates import HOW_TO_READ, difference_entry, interval_entry, missing, reference
from featherbench.reports.latency import Latency, bare, latency, overhead
from featherbench.reports.ranking import Ranking, ranking
from featherbench.reports.report import Report
from featherbench.reports.tables import board_name, board_path, board_title, cost_entry, count_entry
from featherbench.reports.text import bytes_text, flops_text, number_text, percent_text, seconds_text, times_text

LEAD = "The score of every row against what it costs, at equal budgets of stored parameters, for many tasks, and when it is used."
AXES: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("stored_parameters", "stored parameters", number_text),
    ("train_peak_bytes", "peak memory of training, bytes", bytes_text),
    ("train_flops", "training FLOPs", flops_text),
    ("train_seconds", "training seconds", seconds_text),
)
"""(cost, title of the axis, how one is written)"""
BUDGETS = (0.001, 0.003, 0.01, 0.03)
"""Shares of the backbone in stored parameters (protocol 2)"""
SMALLEST = 0.0001
"""A further share, where a row can be that small (protocol 2)"""
TOLERANCE = 0.10
"""A size that misses a budget by more than this share is not matched (protocol 2)"""
TASKS = (1, 10, 100, 1000)
BYTES = {"float64": 8}
"""Of a stored weight by precision, where it is not 4: bfloat16 computes under autocast on float32 weights"""
FRONT = (
    "On the Pareto front is a row that no other one beats in score at the same or a lower cost, nor in cost at the same or a "
    "higher score. The front is one of means: ties are not resolved, and rows whose intervals overlap may change places. "
    "The leaderboard's rank intervals say which rows are apart."
)
FIGURES = (
    "In the figures filled diamonds, joined by the line, are on the front and circles behind it. Bars are 95 % intervals, "
    "for new inputs where the score allows it. Dashed: rows that cost nothing there. " + FAINT_MARKS
)
AT_BUDGET = (
    "A row stands in the column of the budget that its stored parameters meet within a tenth. “Sized for it”: the plan asked "
    "for this budget, and the method's length or width was chosen to come closest. “Matched”: it comes so close by itself. "
    "Columns are the protocol's budgets and those of the plan; an empty one is met by no row."
)
WITHIN = (
    "Of the ranked rows that store at most this share of the backbone (a tenth more is allowed, as below), the one with the "
    "best mean. “Not told apart” are the others whose simultaneous 95 % rank interval, among these rows alone, reaches the "
    "first place: this design cannot say that they are worse. Differences are paired, each with an interval of its own; every "
    "pair of rows stands on the board's page. Rows without a rank on the leaderboard were treated differently, lack results, or "
    "nothing of them was tuned: one that fits and has a better mean is named with its difference to the best row. It may serve "
    "you, but it does not answer which method is better."
)
COSTS = (
    "Costs are means over the trials that enter the score. FLOPs are computed, bytes and seconds are measured: they depend "
    "on the device and on what else ran there; on a CPU peak memory is that of the whole process, libraries included, so that "
    "rows of a small model hardly differ by more than chance. A pack's peak memory is nobody's own, so trials trained in packs "
    "have none; their seconds are their share of the pack's. 1 MB is 10⁶ bytes."
)


def page(report: Report) -> Page | None:
    """Return the page; None if no board has a row with score and costs."""
    boards = [board for board in report.boards if any(has_score_and_size(board, row) for row in board.rows)]
    if not boards:
        return None
    how = how_to_read(FRONT, FIGURES, COSTS, HOW_TO_READ)
    blocks = (how, *(block for board in boards for block in _board(board)))
    return Page(path="efficiency.html", title="Efficiency", lead=LEAD, blocks=blocks)


def has_score_and_size(board: Board, row: Summary) -> bool:
    """Return whether the row has a place on this page."""
    return _score(board, row) is not None and row.costs["stored_parameters"].value is not None


def _score(board: Board, row: Summary) -> float | None:
    return row.scores[board.primary, ALL].mean if board.primary else None


def _shown_score(board: Board, row: Summary) -> str:
    return interval_entry(row.scores[board.primary or "", ALL]).text


def _board(board: Board) -> Iterator[Block]:
    name = board_name(board)
    yield Heading(level=2, text=board_title(board))
    if board.cautions:
        yield cautions(caution.text for caution in board.cautions)
    yield from _figures(board, name)
    yield front_table(board, f"front-{name}")
    yield Heading(level=3, text="Best within a budget")
    yield Text(text=WITHIN)
    yield within_table(board, f"within-{name}")
    yield Heading(level=3, text="At equal budgets")
    yield Text(text=AT_BUDGET)
    if table := budgets_table(board, f"budgets-{name}"):
        yield table
    else:
        named = ", ".join(f"{100 * budget:g}" for budget in (SMALLEST, *BUDGETS))
        yield Text(text=f"No row stores one of {named} % of the backbone.")
    yield Heading(level=3, text="Storage for many tasks")
    yield Text(
        text="One task needs the backbone and what tuning stored; N tasks need one backbone and N of these. A row that "
        "stores all parameters is its own model: N tasks need N copies and no backbone. Bytes of the backbone are its "
        "parameters at the precision in which the trials hold them."
    )
    yield storage_table(board, f"storage-{name}")
    yield Heading(level=3, text="Latency")
    yield Text(
        text="Seconds of decoding per output, set against the untuned backbone on the same inputs, device and decoding "
        "settings, in trials that trained alone. An output that is longer takes longer: the ratio has that in it."
    )
    yield latency_table(board, f"latency-{name}")


# --- the Pareto front -------------------------------------------------------------------------------------------------


def dominators(points: Sequence[tuple[float, float]]) -> list[int | None]:
    """Return for each (cost, score) the best-scored point that dominates it; None: it is on the front.

    One dominates another that costs no less and scores no more, unless both are equal. Higher scores are better.
    """
    found = []
    for cost, score in points:
        ahead = [i for i, (c, s) in enumerate(points) if c <= cost and s >= score and (c, s) != (cost, score)]
        found.append(max(ahead, key=lambda i: (points[i][1], -points[i][0])) if ahead else None)
    return found


def front(board: Board, cost: str) -> dict[str, Summary | None]:
    """Return, by label of every row with score and cost, the row that dominates it; None for those on the front."""
    assert board.primary is not None
    sign = 1 if board.higher_is_better_in(board.primary) else -1
    rows = [row for row in board.rows if _score(board, row) is not None and row.costs[cost].value is not None]
    points = [(row.costs[cost].value or 0.0, sign * (_score(board, row) or 0.0)) for row in rows]
    ahead = dominators(points)
    return {row.label: None if i is None else rows[i] for row, i in zip(rows, ahead, strict=True)}


def _figures(board: Board, name: str) -> Iterator[Figure]:
    assert board.primary is not None
    for cost, title, show in AXES:
        behind = front(board, cost)
        rows = [(row, row.costs[cost].value or 0.0) for row in board.rows if row.label in behind]
        points = [
            AtCost(
                label=row.label,
                cost=value,
                cost_text=show(value),
                score=row.scores[board.primary, ALL],
                front=behind[row.label] is None,
            )
            for row, value in rows
            if value > 0
        ]
        if not points:
            continue
        free = [(row.label, row.scores[board.primary, ALL]) for row, value in rows if value <= 0]
        left = ", ".join(row.label for row in board.rows if row.label not in behind)
        yield Figure(
            name=f"{cost.replace('_', '-')}-{name}",
            title=f"{board.primary} against {title}",
            spec=front_chart(points, free, board.primary, title, row_colours(board.rows)),
            caption="A front of means; ties are not resolved."
            + (f" Not drawn, for want of a score or a cost: {left}." if left else ""),
        )


def front_table(board: Board, name: str) -> Table:
    """Return score and costs of every row, and by which row it is dominated, if by any."""
    assert board.primary is not None
    fronts = {cost: front(board, cost) for cost, _, _ in AXES}
    header = [Entry(text="row"), Entry(text=board.primary, note="mean ± 95 % interval")]
    for cost, title, _ in AXES:
        named = [label for label, ahead in fronts[cost].items() if ahead is None]
        header.append(Entry(text=title, note=f"front: {', '.join(named) or 'none'}"))
    rows = tuple(
        (
            Entry(text=row.label, link=board_path(board)),
            interval_entry(row.scores[board.primary, ALL]),
            *(_place(row, cost, show, fronts[cost]) for cost, _, show in AXES),
        )
        for row in board.by_score()
    )
    return Table(name=name, title=f"Pareto fronts: {board_title(board)}", header=tuple(header), rows=rows)


def _place(row: Summary, cost: str, show: Callable[[float], str], ahead: dict[str, Summary | None]) -> Entry:
    value = row.costs[cost]
    if row.label not in ahead:
        return cost_entry(Quantity(value=value.value, note=value.note or "no score"), show)
    dominator = ahead[row.label]
    where = "on the front" if dominator is None else f"behind {dominator.label}"
    note = "; ".join(part for part in (where, value.note) if part)
    parts = {"on the front": "yes" if dominator is None else "no"}
    return Entry(text=show(value.value or 0.0), value=value.value, note=note, parts=parts)


# --- equal budgets ----------------------------------------------------------------------------------------------------


def budget_of(row: Summary, budget: float) -> str:
    """Return how a row comes to a budget: "sized for it", "matched", or empty if it does not."""
    percent = row.costs["stored_percent"].value
    if percent is None or abs(percent / 100 - budget) > TOLERANCE * budget * (1 + 1e-9):
        return ""
    sized = row.cell.budget is not None and math.isclose(row.cell.budget, budget, rel_tol=1e-9)
    return "sized for it" if sized else "matched"


def _budgets(board: Board) -> list[float]:
    """Return the shares that a board has columns for: the protocol's and its plan's own."""
    own = {row.cell.budget for row in board.rows if row.cell.budget is not None}
    own |= {SMALLEST for row in board.rows if budget_of(row, SMALLEST)}
    return sorted({*BUDGETS, *(b for b in own if not any(math.isclose(b, other) for other in BUDGETS))})


@dataclass(frozen=True, kw_only=True)
class Within:
    """The ranked rows of a board that store at most a share of the backbone."""

    fitting: tuple[Summary, ...]
    """The best mean first"""
    tied: tuple[Summary, ...]
    """Those that are not told apart from the first"""
    above: tuple[Summary, ...]
    """Rows without a rank that fit, too, and have a better mean than the first"""


def within(board: Board, budget: float) -> Within:
    """Return the ranked rows that fit a budget, ranked among themselves."""
    assert board.primary is not None
    fitting: list[Summary] = []
    above: list[Summary] = []
    for row in board.by_score():
        percent = row.costs["stored_percent"].value
        if percent is not None and percent / 100 <= budget * (1 + TOLERANCE) * (1 + 1e-9):
            if row.rank:
                fitting.append(row)
            elif not fitting and _score(board, row) is not None:
                above.append(row)
    again = [Ranking(runs=row.counted, unit=row.unit, fixed={}) for row in fitting]
    found = ranking(again, board.primary, board.items) if fitting else []
    tied = [row for row, one in zip(fitting[1:], found[1:], strict=True) if one.rank and one.rank[0] == 1]
    return Within(fitting=tuple(fitting), tied=tuple(tied), above=tuple(above))


def within_table(board: Board, name: str) -> Table:
    """Return for each budget the best row that fits, and which others may be as good."""
    stored = [row.costs["stored_percent"].value for row in board.rows if row.rank]
    least = min((percent for percent in stored if percent is not None), default=None)
    better = f"{board.primary}, {'higher' if board.higher_is_better else 'lower'} is better"
    rows = []
    for budget in _budgets(board):
        found = within(board, budget)
        share = Entry(text=f"{100 * budget:g} %", value=100 * budget)
        if found.fitting:
            rows.append((share, *_best(board, found), count_entry(len(found.fitting))))
        else:
            why = "no row has a rank" if least is None else f"the smallest ranked row stores {number_text(least)} %"
            rows.append((share, missing(why), *[missing("")] * 4, count_entry(0)))
    header = (
        *entries("at most", "best row", board.primary or ""),
        Entry(text="minus the next", note=better),
        Entry(text="minus full fine-tuning", note=better),
        *entries("not told apart from it", "ranked rows that fit"),
    )
    return Table(name=name, title=f"Best within a budget: {board_title(board)}", header=header, rows=tuple(rows))


def _best(board: Board, found: Within) -> tuple[Entry, ...]:
    """Return the best row, its score, its differences to the next and to full fine-tuning, and the rows tied with it."""
    best, *others = found.fitting
    stored = best.costs["stored_percent"].value
    notes = [f"stores {percent_text(stored)}"] if stored is not None else []
    if found.above:
        above = "; ".join(
            f"{row.label}, {_shown_score(board, row)} ({_unranked(board, row, best)})" for row in found.above
        )
        notes.append(f"without a rank, but with a better mean: {above}")
    full = reference(board)
    return (
        Entry(text=best.label, note="; ".join(notes), link=board_path(board)),
        interval_entry(best.scores[board.primary or "", ALL]),
        _minus(board, best, others[0] if others else None, "no other ranked row fits"),
        missing("it is full fine-tuning")
        if best is full
        else _minus(board, best, full, "no trial of full fine-tuning"),
        Entry(text="; ".join(row.label for row in found.tied) or ("none" if others else "no other ranked row fits")),
    )


def _minus(board: Board, row: Summary, other: Summary | None, why: str) -> Entry:
    """Return the paired difference of two rows with the name of the other one, and why there is none."""
    if other is None:
        return missing(why)
    if _score(board, other) is None:
        return missing(f"{other.label}: no score")
    found = difference_entry(difference(board, row, other))
    return replace(found, note="; ".join(part for part in (other.label, found.note) if part))


def _unranked(board: Board, row: Summary, best: Summary) -> str:
    """Return why a row has no rank, and its paired difference to the best ranked one."""
    found = difference_entry(difference(board, row, best))
    return "; ".join(part for part in (row.unranked, f"paired difference {found.text}", found.note) if part)


def budgets_table(board: Board, name: str) -> Table | None:
    """Return the score of each row at the budget that it meets; None if no row meets one."""
    assert board.primary is not None
    budgets = _budgets(board)
    rows = []
    for row in board.by_score():
        how = [budget_of(row, budget) for budget in budgets]
        if any(how):
            stored = row.costs["stored_percent"]
            exact = Entry(text=f"{number_text(stored.value or 0.0)} %", value=stored.value, note=stored.note)
            fields = [_at_budget(board, row, text) for text in how]
            rows.append((Entry(text=row.label), exact, *fields))
    if not rows:
        return None
    header = (
        Entry(text="row"),
        Entry(text="stored, % of total"),
        *(Entry(text=f"{100 * budget:g} %", note=board.primary) for budget in budgets),
    )
    return Table(name=name, title=f"At equal budgets: {board_title(board)}", header=header, rows=tuple(rows))


def _at_budget(board: Board, row: Summary, how: str) -> Entry:
    if not how:
        return Entry(text="")
    assert board.primary is not None
    found = interval_entry(row.scores[board.primary, ALL])
    note = "; ".join(part for part in (how, found.note) if part)
    return Entry(text=found.text, value=found.value, note=note, parts={"how": how, **found.parts})


# --- storage for N tasks ----------------------------------------------------------------------------------------------


def storage(row: Summary, tasks: int) -> Quantity:
    """Return the bytes that N tuned tasks take: one backbone and N deltas, or N copies of a whole model."""
    if row.costs["decode_flops"].value == 0:
        return Quantity(value=None, note="no model is needed")
    stored, total, each = (row.costs[name].value for name in ("stored_parameters", "total_parameters", "stored_bytes"))
    precisions = {run.trial.precision for run in row.counted}
    if stored is None or total is None or each is None or len(precisions) != 1:
        return Quantity(value=None, note="several precisions" if len(precisions) > 1 else "no size stored")
    if stored > 0 and each == 0:
        return Quantity(value=None, note="no delta is kept, so its size is not known")
    backbone = 0.0 if stored >= total else total * BYTES.get(precisions.pop(), 4)
    return Quantity(value=backbone + tasks * each)


def storage_table(board: Board, name: str) -> Table:
    """Return the storage of every row for 1, 10, 100 and 1000 tasks."""
    rows = []
    for row in board.by_score():
        fields = [cost_entry(storage(row, tasks), bytes_text) for tasks in TASKS]
        whole = (row.costs["stored_parameters"].value or 0) >= (row.costs["total_parameters"].value or math.inf)
        rows.append((Entry(text=row.label, note="one copy per task" if whole else ""), *fields))
    header = (Entry(text="row"), *(Entry(text=f"{n:,} task{'s' * (n > 1)}") for n in TASKS))
    return Table(name=name, title=f"Storage: {board_title(board)}", header=header, rows=tuple(rows))


# --- latency ----------------------------------------------------------------------------------------------------------


def latency_table(board: Board, name: str) -> Table:
    """Return seconds per output of every row and how many times the untuned backbone's that is."""
    rows = [
        (Entry(text=row.label), _per_output(latency(row.counted)), _overhead(board, row)) for row in board.by_score()
    ]
    base = bare(board)
    than = base.label if base else "the bare backbone"
    header = (*entries("row", "decoding per output"), Entry(text=f"times {than}", note="1 is no overhead"))
    return Table(name=name, title=f"Latency: {board_title(board)}", header=header, rows=tuple(rows))


def _per_output(found: Latency) -> Entry:
    if found.seconds is None:
        return missing(found.note)
    note = "; ".join(part for part in (found.device, found.note) if part)
    return Entry(text=seconds_text(found.seconds), value=found.seconds, note=note)


def _overhead(board: Board, row: Summary) -> Entry:
    return cost_entry(overhead(board, row), times_text)
