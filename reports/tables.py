"""Summaries -> tables of text, which page.py shows as HTML and markdown.py as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from featherbench.harness.records import Cell, Trial
from featherbench.reports.aggregate import ALL, SEEN, UNSEEN, Board, Quantity, Summary
from featherbench.reports.interval import Estimate
from featherbench.reports.losses import row_losses
from featherbench.reports.provenance import Origin
from featherbench.reports.read import Contents, Run
from featherbench.reports.search import Search, Tried
from featherbench.reports.strip import Strip, scale, strip
from featherbench.reports.text import (
    MISSING,
    bytes_text,
    estimate_text,
    flops_text,
    number_text,
    score_text,
    seconds_text,
)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One field of a table; its texts are untrusted."""

    text: str
    note: str = ""
    """Small second line: the reason, the warning"""
    strip: Strip | None = None
    long: bool = False
    """True for running text, which wraps and keeps its line breaks"""


@dataclass(frozen=True, kw_only=True)
class Table:
    """The first field of every row is its header."""

    title: str
    """Unique on the page; names the scrolling region"""
    header: tuple[Entry, ...]
    rows: tuple[tuple[Entry, ...], ...]


def _entries(*texts: object) -> tuple[Entry, ...]:
    return tuple(Entry(text=str(text)) for text in texts)


# --- names ----------------------------------------------------------------------------------------------------------


def size_text(size: int | None, unit: str) -> str:
    """Return e.g. "100 training pairs"."""
    if size is None:
        return "whole training split"
    return f"{size:,} training pairs" if unit == "pair" else f"{size:,} training inputs with all their references"


def board_title(board: Board) -> str:
    """Return e.g. "smollm2-135m · places.test · whole training split"."""
    key = board.key
    return f"{key.backbone} · {key.task}.{key.evaluated} · {size_text(key.size, key.size_unit)}"


def board_origin(board: Board) -> str:
    """Return the versions and hashes that tell boards of one title apart."""
    key = board.key
    return (
        f"task version {key.task_version}, protocol {key.protocol}, backbone {key.backbone_sha256[:12]}, "
        f"index list {key.evaluated_sha256[:12]}"
    )


def primary_text(board: Board) -> str:
    """Return how the primary score is defined, with its signatures."""
    if board.primary is None:
        return "No trial of this table has a score."
    stored = [run.score(board.primary, ALL) for row in board.rows for run in row.counted]
    signatures = sorted({score.signature for score in stored if score and score.value is not None})
    return f"Primary score: {board.primary} ({'; '.join(signatures) or 'no value'})."


# --- boards ---------------------------------------------------------------------------------------------------------


def leaderboard(board: Board) -> Table:
    """Return the scores over all items: mean, interval, every trial as a dot, and what became of the trials."""
    header = [Entry(text="row")]
    for metric in board.metrics:
        ends = scale(board.rows, metric, ALL)
        primary = "primary; " if metric == board.primary and len(board.metrics) > 1 else ""
        header.append(Entry(text=metric, note=f"{primary}mean ± 95 % interval"))
        if ends:
            header.append(Entry(text="every trial", note=f"from {score_text(ends[0])} to {score_text(ends[1])}"))
    header += _entries("trials", "failed", "diverged", "outputs truncated", "outputs empty")
    rows = tuple(tuple(_leader_row(board, row)) for row in board.rows)
    return Table(title=f"Scores: {board_title(board)}", header=tuple(header), rows=rows)


def _leader_row(board: Board, row: Summary) -> list[Entry]:
    entries = [Entry(text=row.label, note="; ".join(row.notes))]
    for metric in board.metrics:
        entries.append(estimate_entry(row.scores[metric, ALL]))
        if scale(board.rows, metric, ALL):
            drawn = strip(board, row, metric, ALL)
            entries.append(Entry(text="" if drawn else MISSING, strip=drawn))
    counts = row.counts
    of = f"of {counts.places} places" if counts.places != counts.counted else ""
    entries += [Entry(text=str(counts.counted), note=of), *_entries(counts.failed, counts.diverged)]
    kept = sum(run.outputs.kept for run in row.counted)
    for number in (sum(r.outputs.truncated for r in row.counted), sum(r.outputs.empty for r in row.counted)):
        entries.append(
            Entry(text=f"{number_text(100 * number / kept)} %", note=f"{number} of {kept}") if kept else _no_outputs()
        )
    return entries


def _no_outputs() -> Entry:
    return Entry(text=MISSING, note="no outputs kept")


def estimate_entry(value: Estimate) -> Entry:
    """Return mean ± half width with the reason for what is missing."""
    return Entry(text=estimate_text(value), note=value.note)


COST_COLUMNS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("trained_parameters", "trained parameters", number_text),
    ("stored_parameters", "stored parameters", number_text),
    ("total_parameters", "total parameters", number_text),
    ("stored_percent", "stored, % of total", lambda value: f"{number_text(value)} %"),
    ("stored_bytes", "stored bytes", bytes_text),
    ("train_peak_bytes", "peak memory, training", bytes_text),
    ("decode_peak_bytes", "peak memory, decoding", bytes_text),
    ("tokens_per_second", "training tokens per second", number_text),
    ("train_seconds", "training time", seconds_text),
    ("decode_seconds", "decoding time", seconds_text),
    ("train_flops", "training FLOPs", flops_text),
)


def costs_table(board: Board) -> Table:
    """Return the mean costs of a trial."""
    header = _entries("row", *(title for _, title, _ in COST_COLUMNS))
    rows = tuple(
        (Entry(text=row.label), *(cost_entry(row.costs[name], show) for name, _, show in COST_COLUMNS))
        for row in board.rows
    )
    return Table(title=f"Costs: {board_title(board)}", header=header, rows=rows)


def cost_entry(value: Quantity, show: Callable[[float], str]) -> Entry:
    """Return a cost with the reason if it is missing."""
    return Entry(text=MISSING if value.value is None else show(value.value), note=value.note)


def seen_table(board: Board) -> Table | None:
    """Return seen, unseen and gap side by side for the rows that have both; None if no row has."""
    metrics = [m for m in board.metrics if any(row.gaps[m].mean is not None for row in board.rows)]
    rows = [row for row in board.rows if any(row.gaps[m].mean is not None for m in metrics)]
    if not rows:
        return None
    header = [Entry(text="row")]
    for metric in metrics:
        header += [Entry(text=f"{metric}, seen"), Entry(text=f"{metric}, unseen")]
        header += [Entry(text=f"{metric}, gap", note="unseen − seen, within each trial")]
    body = []
    for row in rows:
        entries = [Entry(text=row.label)]
        for metric in metrics:
            both = row.scores[metric, SEEN], row.scores[metric, UNSEEN], row.gaps[metric]
            entries += [estimate_entry(value) for value in both]
        body.append(tuple(entries))
    return Table(title=f"Seen and unseen: {board_title(board)}", header=tuple(header), rows=tuple(body))


def subsets_table(board: Board) -> Table | None:
    """Return the primary score on every other subset; None if there is none."""
    others = [subset for subset in board.subsets if subset not in (ALL, SEEN, UNSEEN)]
    metric = board.primary
    if not others or metric is None:
        return None
    rows = tuple(
        (Entry(text=row.label), *(estimate_entry(row.scores[metric, subset]) for subset in others))
        for row in board.rows
    )
    return Table(title=f"{metric} on other subsets: {board_title(board)}", header=_entries("row", *others), rows=rows)


def losses_table(board: Board) -> Table | None:
    """Return the validation loss before training and at the kept weights; None if no row has a curve."""
    found = row_losses(board)
    if not found:
        return None
    header = _entries("row", "loss at step 0 (untuned)", "best loss", "best step of each trial", "last step")
    rows = tuple(
        (
            Entry(text=losses.label),
            estimate_entry(losses.start),
            estimate_entry(losses.best),
            Entry(text=", ".join(str(step) for step in losses.best_steps) or MISSING),
            Entry(text=MISSING if losses.last_step is None else str(losses.last_step)),
        )
        for losses in found
    )
    return Table(title=f"Validation loss: {board_title(board)}", header=header, rows=rows)


# --- the whole store --------------------------------------------------------------------------------------------------


def troubles_table(contents: Contents) -> Table | None:
    """Return every trial that failed, diverged or has not finished, with its cause; None if all went well."""
    runs = [run for run in contents.runs if run.status != "ok" and run.repeats is None]
    if not runs:
        return None
    header = _entries("cell", "phase", "trial", "status", "enters the means", "cause")
    return Table(
        title="Failed, diverged and unfinished trials",
        header=header,
        rows=tuple(_trouble(run) for run in runs),
    )


def _trouble(run: Run) -> tuple[Entry, ...]:
    means = {"diverged": "yes, with its best weights", "failed": "no: it has no scores", None: "no: not finished"}
    return (
        Entry(text=run.cell.label),
        Entry(text=run.phase),
        Entry(text=run.name, note=run.trial_id),
        Entry(text=run.status or "not finished"),
        Entry(text=means[run.status]),
        Entry(text=(run.cause or ("no cause recorded" if run.status else MISSING)).strip(), long=True),
    )


def unplaced_table(cells: Sequence[Cell], searched: Sequence[Search]) -> Table | None:
    """Return the cells without a final trial; None if there is none."""
    if not cells:
        return None
    tried = {search.cell.id: len(search.tried) for search in searched}
    rows = tuple(_entries(c.label, c.method, f"{tried.get(c.id, 0)} configurations tried") for c in cells)
    return Table(title="Cells without a final trial", header=_entries("cell", "method", "search"), rows=rows)


def search_table(searched: Sequence[Search]) -> Table:
    """Return one line per searched cell. The validation score chose; it is no result."""
    header = _entries(
        "cell", "proposed", "tried", "sampler", "best on validation (no result)", "used in the final phase"
    )
    return Table(title="Searches", header=header, rows=tuple(_search_row(search) for search in searched))


def _search_row(search: Search) -> tuple[Entry, ...]:
    best = search.best
    top = Entry(text=MISSING, note="no configuration has a score of all its trials")
    if best is not None and best.score is not None:
        top = Entry(
            text=f"{_numbers(best)}: {search.metric} {score_text(best.score)} on {search.evaluated}",
            note=configuration_text(best.trial),
        )
    return (
        Entry(text=search.cell.label),
        *_entries(search.proposed or MISSING, len(search.tried), ", ".join(search.samplers) or MISSING),
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
    header = _entries("number", "configuration", f"validation {search.metric or 'score'}", "trials", "used")
    rows = tuple(
        (
            Entry(text=", ".join(str(number) for number in tried.numbers)),
            Entry(text=configuration_text(tried.trial), long=True),
            Entry(text=MISSING if tried.score is None else score_text(tried.score), note=tried.note),
            Entry(text=str(tried.trials), note="" if tried.scored == tried.trials else f"{tried.scored} with a score"),
            Entry(text="final phase" if tried.used else ""),
        )
        for tried in search.tried
    )
    return Table(title=f"Configurations tried: {search.cell.label} ({search.cell.id})", header=header, rows=rows)


def configuration_text(trial: Trial) -> str:
    """Return what a search chooses, readable and rounded; trials.csv has the exact values."""
    shared = f"learning rate {trial.learning_rate:.4g}, weight decay {trial.weight_decay:.4g}, {trial.steps} steps"
    own = [f"{name} {_short(trial.config[name])}" for name in sorted(trial.config)]
    return ", ".join([shared, *own])


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


# --- provenance -------------------------------------------------------------------------------------------------------

LOOKS = "How often each evaluated split was looked at"


def provenance_tables(origin: Origin) -> list[Table]:
    """Return the origin of the numbers; the plans' texts are shown apart."""
    shared = ("protocol", "backbones", "tasks", "methods", "precision", "decoding", "settings")
    versions = [(key, row) for key in shared for row in origin[key]]
    machines = [(key, row) for key, rows in origin["machines"].items() for row in rows]
    tables = [
        _listing(LOOKS, ("split", "task", "reason", "looks", "trials"), origin["looks"]),
        _grouped("Versions and settings", versions),
        _listing("Scorers", ("metric", "subset", "task", "evaluated", "signature", "trials"), origin["scorers"]),
        _listing(
            "Index lists", ("name", "task", "split", "size", "sha256", "trials", "list_in_store"), origin["index_lists"]
        ),
        _grouped("Machines and packages", machines),
        _listing("Attempts without a result", ("trial", "number", "started", "outcome"), origin["lost_attempts"]),
    ]
    return [table for table in tables if table.rows]


def _listing(title: str, names: Sequence[str], rows: Sequence[dict[str, object]]) -> Table:
    body = tuple(tuple(_value_entry(row[name]) for name in names) for row in rows)
    return Table(title=title, header=_entries(*(name.replace("_", " ") for name in names)), rows=body)


def _grouped(title: str, rows: Sequence[tuple[str, dict[str, object]]]) -> Table:
    body = tuple((Entry(text=key), _value_entry(row["value"]), Entry(text=str(row["trials"]))) for key, row in rows)
    return Table(title=title, header=_entries("key", "value", "trials"), rows=body)


def _value_entry(value: object) -> Entry:
    if value is None:
        return Entry(text="all", note="")
    if isinstance(value, bool):
        return Entry(text="yes" if value else "no")
    if isinstance(value, dict):
        return Entry(text=", ".join(f"{key} {inner}" for key, inner in value.items()), long=True)
    return Entry(text=str(value), long=isinstance(value, str) and len(value) > 40)
