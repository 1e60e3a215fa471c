"""index.html: every row of every board in one table, and what is not in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from featherbench.harness.records import Cell
from featherbench.reports.aggregate import without_final
from featherbench.reports.blocks import Block, Entry, Heading, Page, Table, Text, entries, how_to_read
from featherbench.reports.boards import ALL, Board, Summary
from featherbench.reports.charts.strip import strip
from featherbench.reports.comparisons import Difference, Headline
from featherbench.reports.interval import Estimate
from featherbench.reports.latency import overhead
from featherbench.reports.over_tasks import over_tasks
from featherbench.reports.pages.efficiency import has_score_and_size
from featherbench.reports.read import Contents, Run
from featherbench.reports.report import Report
from featherbench.reports.search import Search
from featherbench.reports.spending import spend_by_cell
from featherbench.reports.statistics import claim
from featherbench.reports.tables import (
    COST_COLUMNS,
    board_path,
    board_title,
    cost_entry,
    count_entry,
    estimate_entry,
    rank_entry,
    share_entry,
    size_text,
    test_set_entry,
    trial_entry,
)
from featherbench.reports.text import MISSING, counted, score_text, seconds_text, times_text

HOW_TO_READ = (
    "A board holds the rows of one backbone, task, evaluated subset and size of the training data: only rows of one "
    "board can be compared. Every number comes from trials of the final phase, scored on the evaluated subset. The "
    "score is the primary one of the task; the page of the board has the others.",
    "“Mean ± half width” is the mean over independent units with its 95 % t interval. The unit is the seed, or the "
    "draw where the training pairs are drawn anew; trials on one draw are averaged first. The interval is for new "
    "inputs: it counts how far other seeds and other inputs of this kind could move the mean. Beside it stands the one "
    "for this test set: other seeds, the same items, as papers print it. With few units it may be the wider one: "
    "it knows the error from these few alone, the other from the items, too. A score that is no sum over items has the "
    "latter only, and says so. Below 3 units there is no interval, below 5 it is marked.",
    "“Rank” is an interval, too: from 1 + the number of rows that are significantly better to the number of rows minus "
    "those that are significantly worse, over all pairs of the board at 5 % together (Holm). Rows that share a rank "
    "are not told apart; that does not show that they are equal. A row without a rank says why: too few seeds, or it "
    "was not treated as most rows were.",
    "Rows of a board stand in the order of their means. Columns in which no two rows differ are left out until asked for.",
    "Every dot is one trial and leads to its page; all dots of a board share one scale. A hollow dot is a trial that "
    "diverged: it counts, with its best weights. A failed trial has no score: it enters no mean and is listed with "
    "its cause under “Failed, diverged and unfinished trials”. The bar is the interval, without an end mark where it "
    "goes on beyond the strip; the tall line is the mean.",
    "A p stands only beside the comparisons that the plan named before its final phase (“Headline comparisons”), and "
    "only once all of their trials have a result: until then they wait, with their difference and its interval.",
    "Trained parameters are what the optimiser moves, stored ones what is kept after tuning, total ones those of the "
    "backbone. “Sized for” is the share of them for which the plan had a row's length or width chosen; which rows store at "
    "most a share, sized for it or not, “stored, %, at most” above the table tells. Costs are means over the same trials as "
    "the scores; spend is the sum over all trials of the row, its search included, of their whole time on a worker, with "
    "validation (the fairness page counts training and decoding alone). Times depend on the machine and on what else ran "
    "on it. 1 MB is 10⁶ bytes.",
    "“–” is a missing value; the reason stands beside it.",
)

Column = Callable[[Board, Summary], Entry]
"""What a row shows in a column"""


def page(report: Report) -> Page:
    """Return the first page."""
    rows = [(board, row) for board in report.boards for row in board.by_score()]
    plans = ", ".join(dict.fromkeys(plan.name for plan in report.contents.plans)) or "no plan recorded"
    blocks: list[Block] = [how_to_read(*HOW_TO_READ)]
    if rows:
        blocks += [leaderboard(report, rows)]
        for number, one in enumerate(report.headlines, start=1):
            blocks += headline_blocks(one, number)
        for table in over_tasks(report.boards):
            blocks += [Heading(level=2, text=table.title), table]
        blocks += [Heading(level=2, text="Boards"), boards_table(report.boards)]
    else:
        nothing = "No trial of a final phase is planned yet: there is no result to show."
        blocks.append(Text(text=nothing, caution=True))
    if unplaced := unplaced_table(without_final(report.contents), report.searches):
        blocks += [Heading(level=2, text=unplaced.title, anchor="unplaced"), unplaced]
    if troubles := troubles_table(report.contents):
        blocks += [Heading(level=2, text=troubles.title, anchor="troubles"), troubles]
    best = (
        " Which row is best within a budget stands under “Efficiency”."
        if any(has_score_and_size(board, row) for board, row in rows)
        else ""
    )
    lead = f"What each method scored, how surely, and what it cost.{best} Plans: {plans}."
    return Page(path="index.html", title="Leaderboard", lead=lead, blocks=tuple(blocks))


def leaderboard(report: Report, rows: Sequence[tuple[Board, Summary]]) -> Table:
    """Return one line per row of every board."""
    spend = spend_by_cell(report.contents)
    spent = (Entry(text="spend", note="all trials, search included"), lambda board, row: _spend(row, spend))
    columns = (*RESULT, spent, *DETAIL)
    return Table(
        name="leaderboard",
        title="Leaderboard",
        header=tuple(head for head, _ in columns),
        rows=tuple(tuple(field(board, row) for _, field in columns) for board, row in rows),
        facets=tuple(_facets(board, row) for board, row in rows),
        at_most="stored, % of total",
    )


def _row(board: Board, row: Summary) -> Entry:
    return Entry(text=row.label, note="; ".join(row.notes), link=board_path(board))


def _score(board: Board, row: Summary) -> Entry:
    if board.primary is None:
        return Entry(text=MISSING, note="no trial with scores")
    found = estimate_entry(row.scores[board.primary, ALL])
    note = "; ".join(part for part in (board.primary, found.note) if part)
    return replace(found, note=note, parts={"metric": board.primary, **found.parts})


def _test_set(board: Board, row: Summary) -> Entry:
    return test_set_entry(row.scores[board.primary, ALL]) if board.primary else Entry(text=MISSING)


def _latency(board: Board, row: Summary) -> Entry:
    return cost_entry(overhead(board, row), times_text)


def _strip(board: Board, row: Summary) -> Entry:
    drawn = strip(board, row, board.primary, ALL) if board.primary else None
    return Entry(text="" if drawn else MISSING, strip=drawn)


def _size(board: Board, row: Summary) -> Entry:
    size = board.key.size
    if size is None:
        return Entry(text="whole")
    validation = sorted({run.trial.validation.size or 0 for run in row.counted if run.trial.steps})
    more = f"+ {validation[-1]:,} validation" if validation and validation[0] == validation[-1] > 0 else ""
    return Entry(text=counted(size, board.key.size_unit), value=size, note=more)


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
RANK = "95 % interval, within the board"
FIRST_COSTS = ("stored_percent", "train_peak_bytes", "train_seconds")
"""What most readers ask for stands beside the score"""
RESULT: tuple[tuple[Entry, Column], ...] = (
    (Entry(text="row"), _row),
    (Entry(text="task"), lambda board, row: Entry(text=f"{board.key.task}.{board.key.evaluated}")),
    (Entry(text="size"), _size),
    (Entry(text="score", note="mean ± 95 % interval for new inputs"), _score),
    (Entry(text="this test set", note="± 95 % over seeds or draws"), _test_set),
    (Entry(text="rank", note=RANK), lambda board, row: rank_entry(row)),
    (Entry(text="every trial", note="on the scale of its board"), _strip),
    *((Entry(text=title), _cost(name, show)) for name, title, show in COST_COLUMNS if name in FIRST_COSTS),
)
"""Header and content of the columns before the spend"""
DETAIL: tuple[tuple[Entry, Column], ...] = (
    (Entry(text="sized for"), _budget),
    (Entry(text="backbone"), lambda board, row: Entry(text=board.key.backbone)),
    *((Entry(text=name), _count(number)) for number, name in enumerate(COUNTS)),
    *((Entry(text=title), _cost(name, show)) for name, title, show in COST_COLUMNS if name not in FIRST_COSTS),
    (Entry(text="decoding per output", note="× the bare backbone's; trials alone on one device"), _latency),
)
"""Header and content of the columns behind it"""


def _spend(row: Summary, spend: Mapping[str, tuple[int, float]]) -> Entry:
    if row.cell.id not in spend:
        return Entry(text=MISSING, note="no cost stored")
    trials, seconds = spend[row.cell.id]
    return Entry(text=seconds_text(seconds), value=seconds, note=counted(trials, "trial"))


def headline_blocks(headline: Headline, number: int) -> list[Block]:
    """Return the comparisons that a plan named before its final phase."""
    spec = headline.spec
    sizes = "the mean over its sizes within each draw" if spec.size is None else f"size {spec.size}"
    subset = {"all": "all items", "gap": "unseen minus seen items"}.get(spec.subset, f"{spec.subset} items")
    told = (
        f"Plan {headline.name} ({headline.plan}) claimed before its final phase that these rows are better than "
        f"{spec.reference}: {headline.task}, {subset}, {sizes}; p by Holm over {len(spec.rows)}; smallest effect of interest "
        f"{spec.smallest_effect:g}."
    )
    header = (
        *entries("ours − theirs"),
        Entry(text="difference", note="points of the primary score"),
        *entries("this test set", "units"),
        Entry(text="p", note="Holm over the list"),
        Entry(text="sign-flip p", note="not adjusted; with n units at least 2 / 2ⁿ"),
        *entries("answer"),
        Entry(text="detectable", note="points"),
    )
    table = Table(
        name=f"headline-{number}",
        title=f"Headline comparisons of {headline.name}, {headline.plan}",
        header=header,
        rows=tuple(_difference(one) for one in headline.differences),
    )
    lines = [Text(text=f"Not there yet: {text}.") for text in headline.missing]
    return [Heading(level=2, text="Headline comparisons"), Text(text=told), table, *lines]


def _difference(one: Difference) -> tuple[Entry, ...]:
    name = Entry(text=f"{one.ours} − {one.theirs}", note=one.note)
    shown = Estimate(units=len(one.units), mean=one.estimate, half_width=None)
    units = count_entry(len(one.units), f"{one.unit}s")
    if one.found is None or one.effect is None or one.smallest_effect is None:
        return (name, estimate_entry(shown), *entries(MISSING), units, *entries(MISSING, MISSING, _open(one), MISSING))
    best, over_units = one.found.primary, one.found.test_set
    half, over = (float(one.high - one.low) / 2 for one in (best, over_units))
    new_inputs = replace(shown, half_width=half, test_set=over, items=best.items)
    least = one.detectable
    detectable = Entry(text=MISSING) if least is None else Entry(text=score_text(least), value=least)
    told = (name, estimate_entry(new_inputs), test_set_entry(new_inputs), units)
    if one.adjusted_p is None:
        return (*told, *entries(MISSING, MISSING, _open(one)), detectable)
    found = claim(one.effect.primary, one.smallest_effect, adjusted_p=one.adjusted_p).answer
    said = f"not resolved: {one.treated_unlike}" if one.unlike else _answer(found, one.ours, one.theirs)
    flip = Entry(text=MISSING, note="below 8 blocks") if one.sign_flip is None else _p(one.sign_flip)
    return (*told, _p(one.adjusted_p), flip, Entry(text=said), detectable)


def _open(one: Difference) -> str:
    """Return why a comparison has no answer yet."""
    if one.looked:
        return f"{one.looked}, so a further look answers it: featherbench claim"
    return f"waits: {'; '.join(one.awaited)}" if one.awaited else "not resolved"


def _answer(answer: str, ours: str, theirs: str) -> str:
    better = {"supported": ours, "contradicted": theirs}
    return f"{answer}: {better[answer]} is better" if answer in better else answer


def _p(value: float) -> Entry:
    return Entry(text="< .001" if value < 0.001 else f"{value:.3f}".lstrip("0") or "0", value=value)


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
        "sized for": "no share" if row.cell.budget is None else budget_text(row.cell),
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
            Entry(text="\n".join(f"{caution.text}." for caution in board.cautions) or "none", long=True),
        )
        for board in boards
    )
    header = entries("board", "primary score", "rows", "trials", "failed", "cautions")
    return Table(name="boards", title="Boards", header=header, rows=rows)


def unplaced_table(cells: Sequence[Cell], searched: Sequence[Search]) -> Table | None:
    """Return the cells without a final trial; None if there is none."""
    if not cells:
        return None
    tried: Counter[str] = Counter()
    for search in searched:
        tried[search.cell.id] += len(search.tried)
    rows = tuple(entries(c.label, c.method, f"{tried[c.id]} configurations tried") for c in cells)
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
