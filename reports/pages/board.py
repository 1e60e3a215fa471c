"""boards/NAME.html: one board with everything known about its rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from featherbench.reports.blocks import (
    Block,
    Entry,
    Figure,
    Folded,
    Heading,
    Page,
    Samples,
    Table,
    Text,
    cautions,
    entries,
    how_to_read,
)
from featherbench.reports.boards import ALL, SEEN, UNSEEN, Board, Summary
from featherbench.reports.charts.loss_curves import loss_chart
from featherbench.reports.charts.parameters import drawable, parameters_chart
from featherbench.reports.charts.parts import FAINT_MARKS, NOT_DRAWN
from featherbench.reports.charts.strip import scale, strip
from featherbench.reports.comparisons import difference
from featherbench.reports.estimates import difference_entry
from featherbench.reports.licence import attribution, why_not_shown
from featherbench.reports.losses import row_losses
from featherbench.reports.pages.leaderboard import COUNTS, RANK, count_fields
from featherbench.reports.read import Run
from featherbench.reports.report import Report
from featherbench.reports.samples import samples
from featherbench.reports.spending import dimensions
from featherbench.reports.tables import (
    COST_COLUMNS,
    board_name,
    board_origin,
    board_path,
    board_title,
    configuration_text,
    cost_entry,
    count_entry,
    estimate_entry,
    rank_entry,
    trial_entry,
)
from featherbench.reports.text import MISSING, score_text

HOW_TO_READ = (
    "All rows of this page were scored on the same inputs after training on the same amount of data: they can be compared. "
    "Tables have the best row first. The leaderboard says under “How to read this page” what intervals, ranks and dots are.",
    "A corpus score such as BLEU is no mean over items: that of all items may lie outside those of their parts.",
    "“Every pair” has the paired difference of any two rows. Its intervals hold one at a time: among many pairs some miss "
    "the truth, so for “which rows are apart” read the ranks, which hold together. A p stands nowhere here: only the "
    "comparisons that a plan named beforehand have one.",
    "“Validation loss” is that of the pairs held out of training: it chooses the weights that are kept, and is no result. "
    "The configurations under “Trials” were chosen by the search on validation, or given by the plan.",
)
SIZE_CAPTION = (
    "Every trial is a dot, the mean a diamond with its 95 % interval; rows that store nothing are dashed lines. "
    "Trials stand left of their mean, and rows of nearly equal size side by side; tooltips have the exact values. "
    + NOT_DRAWN
)


def pages(report: Report) -> Iterator[Page]:
    """Yield the page of every board."""
    for board in report.boards:
        lead = f"{primary_text(board)} {board_origin(board).capitalize()}."
        blocks = tuple(_blocks(report, board))
        yield Page(path=board_path(board), title=board_title(board), lead=lead, blocks=blocks, listed=False)


def primary_text(board: Board) -> str:
    """Return how the primary score is defined, with its signatures."""
    if board.primary is None:
        return "No trial of this table has a score."
    stored = [run.score(board.primary, ALL) for row in board.rows for run in row.counted]
    signatures = sorted({score.signature for score in stored if score and score.value is not None})
    return f"Primary score: {board.primary} ({'; '.join(signatures) or 'no value'})."


def _blocks(report: Report, board: Board) -> Iterator[Block]:
    name = board_name(board)
    yield how_to_read(*HOW_TO_READ)
    if told := [caution.text for caution in board.cautions] + at_edge(report, board):
        yield cautions(told)
    yield Heading(level=2, text="Scores")
    yield scores_table(board)
    if pairs := pairs_table(board):
        yield Folded(title=f"Every pair of rows: differences in {board.primary}", blocks=(pairs,))
    if spec := parameters_chart(board):
        undrawn = ", ".join(row.label for row in board.rows if not drawable(board, row))
        missing = f" Not drawn, for want of a score or a size: {undrawn}." if undrawn else ""
        yield Heading(level=2, text="Score against stored parameters")
        title = f"{board.primary} against stored parameters"
        yield Figure(name=f"size-{name}", title=title, spec=spec, caption=SIZE_CAPTION + missing)
    if seen := seen_table(board):
        yield Heading(level=2, text="Seen and unseen")
        yield seen
    yield Heading(level=2, text="Costs")
    yield Text(text="Mean over the trials that enter the scores.")
    yield costs_table(board)
    if subsets := subsets_table(board):
        yield Folded(title="Other subsets", blocks=(subsets,))
    losses, curves = losses_table(board), loss_chart(board)
    if losses and curves:
        yield Heading(level=2, text="Validation loss")
        caption = f"One line per trial; the dot marks the step whose weights are kept. {FAINT_MARKS}"
        yield Figure(name=f"loss-{name}", title="validation loss of every trial", spec=curves, caption=caption)
        yield losses
    yield Heading(level=2, text="Trials")
    yield trials_table(board)
    yield from _samples(report, board)


def _samples(report: Report, board: Board) -> Iterator[Block]:
    runs = [run for row in board.rows for run in row.counted]
    if not runs:
        return
    refusal = why_not_shown(runs[0].trial)
    found = () if refusal else tuple(samples(report.store, board))
    if refusal or found:
        yield Heading(level=2, text="Samples")
    if refusal:
        yield Text(text=refusal)
    elif found:
        chosen = "Inputs spread evenly over the evaluated items, none chosen by hand; of each row the first trial with outputs."
        yield Text(text=f"{chosen} {attribution(runs[0].trial)}")
        yield Samples(samples=found)


def scores_table(board: Board) -> Table:
    """Return the scores over all items, the best row first: rank, mean, interval, every trial as a dot, and their fate."""
    header = [Entry(text="row"), Entry(text="rank", note=RANK)]
    for metric in board.metrics:
        ends = scale(board.rows, metric, ALL)
        primary = "primary; " if metric == board.primary and len(board.metrics) > 1 else ""
        header.append(Entry(text=metric, note=f"{primary}mean ± 95 % interval"))
        if ends:
            header.append(Entry(text="every trial", note=f"from {score_text(ends[0])} to {score_text(ends[1])}"))
    header += entries(*COUNTS)
    rows = tuple(tuple(_scores(board, row)) for row in board.by_score())
    return Table(
        name=f"scores-{board_name(board)}", title=f"Scores: {board_title(board)}", header=tuple(header), rows=rows
    )


def _scores(board: Board, row: Summary) -> Iterator[Entry]:
    yield Entry(text=row.label, note="; ".join(row.notes))
    yield rank_entry(row)
    for metric in board.metrics:
        yield estimate_entry(row.scores[metric, ALL])
        if scale(board.rows, metric, ALL):
            drawn = strip(board, row, metric, ALL)
            yield Entry(text="" if drawn else MISSING, strip=drawn)
    yield from count_fields(row)


def at_edge(report: Report, board: Board) -> list[str]:
    """Return which rows have their best value in the outer tenth of a searched range (protocol, section 2)."""
    cells = {row.cell.id: row.label for row in board.rows}
    found: dict[str, dict[str, None]] = {}
    key = board.key
    for search in report.searches:
        cell = search.cell  # its id is a hash: first what is quick to compare
        if (cell.backbone, cell.task, cell.size) != (key.backbone, key.task, key.size):
            continue
        if label := cells.get(cell.id):
            # the edge of the steps is the plan's cap, of which the cautions of the board speak
            names = {one.name: None for one in dimensions(search) if one.at_edge and one.name != "steps"}
            found[label] = found.get(label, {}) | names
    named = ", ".join(f"{label} ({', '.join(names)})" for label, names in found.items() if names)
    told = f"the search found its best value at the edge of the range, so better ones may lie beyond: {named}"
    return [told] if named else []


def pairs_table(board: Board) -> Table | None:
    """Return the paired difference of every two rows in the primary score; None if fewer than two rows have one."""
    metric = board.primary
    rows = [row for row in board.by_score() if metric and row.scores[metric, ALL].mean is not None]
    if len(rows) < 2:
        return None
    found: dict[tuple[str, str], Entry] = {}
    for i, one in enumerate(rows):
        for other in rows[i + 1 :]:
            apart = difference(board, one, other)
            found[one.label, other.label] = difference_entry(apart)
            back = replace(apart, values=tuple(-value for value in apart.values), found=apart.found and -apart.found)
            found[other.label, one.label] = difference_entry(back)
    better = "higher" if board.higher_is_better else "lower"
    return Table(
        name=f"pairs-{board_name(board)}",
        title=f"Every pair: {board_title(board)}",
        header=(Entry(text="row − column", note=f"{metric}, {better} is better"), *entries(*(r.label for r in rows))),
        rows=tuple(
            (Entry(text=one.label), *(found.get((one.label, other.label), Entry(text="")) for other in rows))
            for one in rows
        ),
    )


def costs_table(board: Board) -> Table:
    """Return the mean costs of a trial."""
    header = entries("row", *(title for _, title, _ in COST_COLUMNS))
    rows = tuple(
        (Entry(text=row.label), *(cost_entry(row.costs[name], show) for name, _, show in COST_COLUMNS))
        for row in board.by_score()
    )
    return Table(name=f"costs-{board_name(board)}", title=f"Costs: {board_title(board)}", header=header, rows=rows)


def seen_table(board: Board) -> Table | None:
    """Return seen, unseen and gap side by side for the rows that have both; None if no row has."""
    metrics = [m for m in board.metrics if any(row.gaps[m].mean is not None for row in board.rows)]
    rows = [row for row in board.by_score() if any(row.gaps[m].mean is not None for m in metrics)]
    if not rows:
        return None
    header = [Entry(text="row")]
    for metric in metrics:
        header += [Entry(text=f"{metric}, seen"), Entry(text=f"{metric}, unseen")]
        header += [Entry(text=f"{metric}, gap", note="unseen − seen, within each trial")]
    body = []
    for row in rows:
        fields = [Entry(text=row.label)]
        for metric in metrics:
            both = row.scores[metric, SEEN], row.scores[metric, UNSEEN], row.gaps[metric]
            fields += [estimate_entry(value) for value in both]
        body.append(tuple(fields))
    title = f"Seen and unseen: {board_title(board)}"
    return Table(name=f"seen-{board_name(board)}", title=title, header=tuple(header), rows=tuple(body))


def subsets_table(board: Board) -> Table | None:
    """Return the primary score on every other subset; None if there is none."""
    others = [subset for subset in board.subsets if subset not in (ALL, SEEN, UNSEEN)]
    metric = board.primary
    if not others or metric is None:
        return None
    rows = tuple(
        (Entry(text=row.label), *(estimate_entry(row.scores[metric, subset]) for subset in others))
        for row in board.by_score()
    )
    title = f"{metric} on other subsets: {board_title(board)}"
    return Table(name=f"subsets-{board_name(board)}", title=title, header=entries("row", *others), rows=rows)


def losses_table(board: Board) -> Table | None:
    """Return the validation loss before training and at the kept weights; None if no row has a curve."""
    found = row_losses(board)
    if not found:
        return None
    header = entries("row", "loss at step 0 (untuned)", "best loss", "best step of each trial", "last step")
    rows = tuple(
        (
            Entry(text=losses.label),
            estimate_entry(losses.start),
            estimate_entry(losses.best),
            Entry(text=", ".join(str(step) for step in losses.best_steps) or MISSING),
            Entry(text=MISSING) if losses.last_step is None else count_entry(losses.last_step),
        )
        for losses in found
    )
    title = f"Validation loss: {board_title(board)}"
    return Table(name=f"losses-{board_name(board)}", title=title, header=header, rows=rows)


def trials_table(board: Board) -> Table:
    """Return every place of the board with its trial's status and scores over all items."""
    runs = [(row.label, run) for row in board.rows for run in row.runs]
    header = entries("trial", "row", "status", *board.metrics, "configuration")
    rows = tuple(
        (
            trial_entry(run),
            Entry(text=label),
            Entry(text=run.status or "not finished", note=_repeated(run)),
            *(_score(run, metric) for metric in board.metrics),
            Entry(text=configuration_text(run.trial), long=True),
        )
        for label, run in runs
    )
    facets = tuple({"row": label, "status": run.status or "not finished"} for label, run in runs)
    title = f"Trials: {board_title(board)}"
    return Table(name=f"trials-{board_name(board)}", title=title, header=header, rows=rows, facets=facets)


def _repeated(run: Run) -> str:
    return "" if run.repeats is None else f"stands at place {run.repeats}, too; counted once"


def _score(run: Run, metric: str) -> Entry:
    score = run.score(metric, ALL)
    if score is None or score.value is None:
        return Entry(text=MISSING, note=score.signature if score else "")
    return Entry(text=score_text(score.value), value=score.value)
