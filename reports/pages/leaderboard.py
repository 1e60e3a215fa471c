"""index.html: every row of every board in one table, and what is not in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from featherbench.harness.records import Cell
from featherbench.reports.aggregate import ALL, Board, Summary, without_final
from featherbench.reports.blocks import Block, Entry, Folded, Heading, Page, Table, Text, entries
from featherbench.reports.read import Contents, Run
from featherbench.reports.report import Report
from featherbench.reports.search import Search
from featherbench.reports.strip import strip
from featherbench.reports.tables import (
    COST_COLUMNS,
    board_path,
    board_title,
    cost_entry,
    count_entry,
    estimate_entry,
    share_entry,
    size_text,
    trial_entry,
)
from featherbench.reports.text import MISSING

HOW_TO_READ = (
    "A board holds the rows of one backbone, task, evaluated subset and size of the training data: only rows of one "
    "board can be compared. Every number comes from trials of the final phase, scored on the evaluated subset. The "
    "score is the primary one of the task; the page of the board has the others.",
    "“Mean ± half width” is the mean over independent units with its 95 % t interval. The unit is the seed, or the "
    "draw where the training pairs are drawn anew; trials on one draw are averaged first. The interval says how far "
    "other seeds or draws could move the mean on these same items; it says nothing about other items.",
    "Every dot is one trial and leads to its page; all dots of a board share one scale. A hollow dot is a trial that "
    "diverged: it counts, with its best weights. A failed trial has no score: it enters no mean and is listed with "
    "its cause under “Failed, diverged and unfinished trials”. The bar is the interval, without an end mark where it "
    "goes on beyond the strip; the tall line is the mean.",
    "Overlapping intervals do not show that two rows are equal, nor does a higher mean show that a row is better: this "
    "page ranks nothing and tests nothing. Rows with fewer than 3 seeds or draws are marked “not ranked”.",
    "Trained parameters are what the optimiser moves, stored ones what is kept after tuning, total ones those of the "
    "tuned model. Costs are means over the same trials as the scores. Times depend on the machine and on what else ran "
    "on it. 1 MB is 10⁶ bytes.",
    "“–” is a missing value; the reason stands beside it.",
)

Column = Callable[[Board, Summary], Entry]
"""What a row shows in a column"""


def page(report: Report) -> Page:
    """Return the first page."""
    rows = [(board, row) for board in report.boards for row in board.rows]
    plans = ", ".join(dict.fromkeys(plan.name for plan in report.contents.plans)) or "no plan recorded"
    blocks: list[Block] = [Folded(title="How to read this page", blocks=tuple(Text(text=t) for t in HOW_TO_READ))]
    if rows:
        blocks += [leaderboard(rows), Heading(level=2, text="Boards"), boards_table(report.boards)]
    else:
        nothing = "No trial of a final phase is planned yet: there is no result to show."
        blocks.append(Text(text=nothing, caution=True))
    if unplaced := unplaced_table(without_final(report.contents), report.searches):
        blocks += [Heading(level=2, text=unplaced.title, anchor="unplaced"), unplaced]
    if troubles := troubles_table(report.contents):
        blocks += [Heading(level=2, text=troubles.title, anchor="troubles"), troubles]
    lead = f"What each method scored, how surely, and what it cost. Plans: {plans}."
    return Page(path="index.html", title="Leaderboard", lead=lead, blocks=tuple(blocks))


def leaderboard(rows: Sequence[tuple[Board, Summary]]) -> Table:
    """Return one line per row of every board."""
    return Table(
        name="leaderboard",
        title="Leaderboard",
        header=tuple(head for head, _ in COLUMNS),
        rows=tuple(tuple(field(board, row) for _, field in COLUMNS) for board, row in rows),
        facets=tuple(_facets(board, row) for board, row in rows),
    )


def _row(board: Board, row: Summary) -> Entry:
    return Entry(text=row.label, note="; ".join(row.notes), link=board_path(board))


def _score(board: Board, row: Summary) -> Entry:
    if board.primary is None:
        return Entry(text=MISSING, note="no trial with scores")
    found = estimate_entry(row.scores[board.primary, ALL])
    note = "; ".join(part for part in (board.primary, found.note) if part)
    return replace(found, note=note, parts={"metric": board.primary, **found.parts})


def _strip(board: Board, row: Summary) -> Entry:
    drawn = strip(board, row, board.primary, ALL) if board.primary else None
    return Entry(text="" if drawn else MISSING, strip=drawn)


def _size(board: Board, row: Summary) -> Entry:
    size = board.key.size
    if size is None:
        return Entry(text="whole")
    return count_entry(size, f"{board.key.size_unit}s")


def _budget(board: Board, row: Summary) -> Entry:
    return Entry(text=budget_text(row.cell), value=row.cell.budget)


def budget_text(cell: Cell) -> str:
    """Return e.g. "0.1 %" of the backbone, in stored parameters."""
    return MISSING if cell.budget is None else f"{100 * cell.budget:g} %"


def _cost(name: str, show: Callable[[float], str]) -> Column:
    return lambda board, row: cost_entry(row.costs[name], show)


def _count(number: int) -> Column:
    return lambda board, row: count_fields(row)[number]


COUNTS = ("trials", "failed", "diverged", "outputs truncated", "outputs empty")
COLUMNS: tuple[tuple[Entry, Column], ...] = (
    (Entry(text="row"), _row),
    (Entry(text="score", note="mean ± 95 % interval"), _score),
    (Entry(text="every trial", note="on the scale of its board"), _strip),
    (Entry(text="task"), lambda board, row: Entry(text=f"{board.key.task}.{board.key.evaluated}")),
    (Entry(text="size"), _size),
    (Entry(text="budget"), _budget),
    (Entry(text="backbone"), lambda board, row: Entry(text=board.key.backbone)),
    *((Entry(text=name), _count(number)) for number, name in enumerate(COUNTS)),
    *((Entry(text=title), _cost(name, show)) for name, title, show in COST_COLUMNS),
)
"""Header and content of every column"""


def count_fields(row: Summary) -> tuple[Entry, ...]:
    """Return trials, failed, diverged, truncated and empty outputs."""
    counts, kept = row.counts, sum(run.outputs.kept for run in row.counted)
    return (
        count_entry(counts.counted, f"of {counts.places} places" if counts.places != counts.counted else ""),
        count_entry(counts.failed),
        count_entry(counts.diverged),
        share_entry(sum(run.outputs.truncated for run in row.counted), kept),
        share_entry(sum(run.outputs.empty for run in row.counted), kept),
    )


def _facets(board: Board, row: Summary) -> dict[str, str]:
    key = board.key
    return {
        "task": key.task,
        "backbone": key.backbone,
        "size": size_text(key.size, key.size_unit),
        "budget": "none" if row.cell.budget is None else budget_text(row.cell),
        "evaluated": key.evaluated,
        "method": row.cell.method,
    }


def boards_table(boards: Sequence[Board]) -> Table:
    """Return one line per board with what makes its rows less comparable."""
    rows = tuple(
        (
            Entry(text=board_title(board), link=board_path(board)),
            Entry(text=board.primary or MISSING),
            count_entry(len(board.rows)),
            count_entry(sum(row.counts.counted for row in board.rows)),
            count_entry(sum(row.counts.failed for row in board.rows)),
            Entry(text="\n".join(f"{text}." for text in board.warnings) or "none", long=True),
        )
        for board in boards
    )
    header = entries("board", "primary score", "rows", "trials", "failed", "cautions")
    return Table(name="boards", title="Boards", header=header, rows=rows)


def unplaced_table(cells: Sequence[Cell], searched: Sequence[Search]) -> Table | None:
    """Return the cells without a final trial; None if there is none."""
    if not cells:
        return None
    tried = {search.cell.id: len(search.tried) for search in searched}
    rows = tuple(entries(c.label, c.method, f"{tried.get(c.id, 0)} configurations tried") for c in cells)
    header = entries("cell", "method", "search")
    return Table(name="without-final", title="Cells without a final trial", header=header, rows=rows)


def troubles_table(contents: Contents) -> Table | None:
    """Return every trial that failed, diverged or has not finished, with its cause; None if all went well."""
    runs = [run for run in contents.runs if run.status != "ok" and run.repeats is None]
    if not runs:
        return None
    header = entries("cell", "phase", "trial", "status", "enters the means", "cause")
    return Table(
        name="troubles",
        title="Failed, diverged and unfinished trials",
        header=header,
        rows=tuple(_trouble(run) for run in runs),
        facets=tuple({"status": _status(run), "phase": run.phase} for run in runs),
    )


def _status(run: Run) -> str:
    return run.status or "not finished"


def _trouble(run: Run) -> tuple[Entry, ...]:
    means = {"diverged": "yes, with its best weights", "failed": "no: it has no scores", None: "no: not finished"}
    cause = (run.cause or ("no cause recorded" if run.status else MISSING)).strip()
    return (
        Entry(text=run.cell.label),
        Entry(text=run.phase),
        trial_entry(run),
        Entry(text=_status(run)),
        Entry(text=means[run.status]),
        Entry(text=cause, long=True),
    )
