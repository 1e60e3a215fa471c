"""paper.html: what the Prefix-Tuning paper printed beside what was measured here, and how the protocols differ."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from featherbench.reports.blocks import Block, Bullets, Entry, Heading, Page, Table, Text, entries, how_to_read
from featherbench.reports.boards import Board, Summary
from featherbench.reports.interval import Estimate
from featherbench.reports.published import (
    Published,
    model_beside,
    own_model,
    paper,
    published,
)
from featherbench.reports.read import Run
from featherbench.reports.report import Report
from featherbench.reports.spending import BARE
from featherbench.reports.tables import board_name, board_path, board_title, estimate_entry, size_text
from featherbench.reports.text import MISSING, number_text

OTHER = "other backbone: not comparable, for orientation"
HOW_TO_READ = (
    "A difference is ours − published, given only where backbone, training split, test items, method and stored size "
    "are the paper's. Its interval is that of our mean over seeds or draws on this test set: the paper prints one "
    "number without a spread, which is taken as exact, so the true uncertainty is larger.",
    "Figures that the paper prints from 0 to 1 are points of 100 here; their rounding alone is ± 0.5 points. BLEU of "
    "DART is that of lower-case split text (bleu_lower_split), the form of the published figures; NIST of E2E is nist_py.",
    "A size matches if the stored share rounds to the printed one or is within 10 % of it. “(code)” marks what only the "
    "authors' code says.",
)
Beside = tuple[Summary, list[Published]]


def page(report: Report) -> Page | None:
    """Return the page; None if no board has a task of the paper."""
    boards = [board for board in report.boards if model_beside(board) is not None]
    if not boards:
        return None
    lead = f"{paper()['paper']}, in its versions {' and '.join(paper()['versions'].values())}, beside our measurements."
    blocks: list[Block] = [how_to_read(*HOW_TO_READ)]
    blocks += [block for board in boards for block in _board(board)]
    blocks.append(Text(text=paper()["origin"]))
    return Page(path="paper.html", title="Against the paper", lead=lead, blocks=tuple(blocks))


def obstacles(board: Board) -> list[str]:
    """Return why a board's cells are not the paper's: then there is no difference."""
    found = [] if own_model(board.key.backbone) == model_beside(board) else [OTHER]
    if board.key.size is not None:
        found.append(f"{size_text(board.key.size, board.key.size_unit)} instead of the whole split")
    if sizes := {run.trial.evaluate.size for row in board.rows for run in row.counted} - {None}:
        found.append(f"{', '.join(map(str, sorted(sizes, key=str)))} test items instead of the whole split")
    return found


def _board(board: Board) -> Iterator[Block]:
    yield Heading(level=2, text=board_title(board), anchor=board_name(board))
    beside = [(row, figures) for row in board.rows if (figures := published(board, row))]
    without = [row.label for row in board.rows if row.cell.method not in BARE and not published(board, row)]
    if reasons := obstacles(board):
        yield Text(
            text=f"Published for {model_beside(board)}. No difference is given: {'; '.join(reasons)}.", caution=True
        )
    if without:
        yield Bullets(items=(f"The paper has no row of this method and stored size: {', '.join(without)}.",))
    if beside:
        yield figures_table(board, beside, comparable=not reasons)
        yield training_table(board, beside)
        yield protocol_table(board, beside)


def figures_table(board: Board, beside: Sequence[Beside], *, comparable: bool) -> Table:
    """Return every figure that both have."""
    versions = paper()["versions"]
    header = [*entries("row", "score"), *(Entry(text=f"published, {name}") for name in versions.values())]
    header.append(Entry(text="ours", note="mean ± 95 % interval over seeds or draws, this test set"))
    if comparable:
        header += [Entry(text=f"ours − {name}") for name in versions.values()]
    rows = tuple(tuple(_figure_fields(board, row, one, comparable)) for row, figures in beside for one in figures)
    facets = tuple({"row": row.label, "score": one.metric} for row, figures in beside for one in figures)
    title = f"Published and measured: {board_title(board)}"
    return Table(name=f"paper-{board_name(board)}", title=title, header=tuple(header), rows=rows, facets=facets)


def _figure_fields(board: Board, row: Summary, one: Published, comparable: bool) -> Iterator[Entry]:
    ours = row.scores.get((one.metric, one.subset), Estimate(units=0, mean=None, half_width=None, note="no such score"))
    ours = replace(ours, half_width=ours.test_set)
    yield Entry(text=row.label, note=f"{one.method}, {one.model}", link=board_path(board))
    subset = "" if one.subset == "all" else f", {one.subset.partition('=')[2]}"
    yield Entry(text=f"{one.metric}{subset}", note="lower is better" if one.score == "TER" else "")
    for version in paper()["versions"]:
        printed = f"printed as {one.printed[version]}" if one.factor != 1 else ""
        notes = (one.tables[version], printed, one.note)
        value = one.value(version)
        text = str(one.printed[version]) if one.factor == 1 else f"{value:g}"
        yield Entry(text=text, value=value, note="; ".join(note for note in notes if note))
    yield estimate_entry(ours)
    for version in paper()["versions"] if comparable else ():
        mean = None if ours.mean is None else ours.mean - one.value(version)
        yield estimate_entry(replace(ours, mean=mean))


# --- protocol ---------------------------------------------------------------------------------------------------------


def training_table(board: Board, beside: Sequence[Beside]) -> Table:
    """Return what the paper's table of hyper-parameters says of each row, and what our trials had."""
    header = entries("row", *(f"{what}, {whose}" for what in TRAINING for whose in ("paper", "ours")))
    rows = tuple(tuple(_training_fields(board, row, figures[0])) for row, figures in beside)
    title = f"Training: {board_title(board)}"
    return Table(name=f"paper-training-{board_name(board)}", title=title, header=header, rows=rows)


def _training_fields(board: Board, row: Summary, one: Published) -> Iterator[Entry]:
    yield Entry(text=row.label)
    for key, ours in TRAINING.values():
        value = one.training.get(key)
        yield Entry(text=MISSING, note="not printed") if value is None else Entry(text=f"{value:g}", value=value)
        yield Entry(text=_distinct(ours(run, board.key.size) for run in row.counted))


def _epochs(run: Run, pairs: int | None) -> str:
    """Return the steps, and the epochs where the number of pairs is known."""
    trial = run.trial
    steps = f"{trial.steps:,} steps"
    if pairs is None or trial.train.unit != "pair":
        return steps
    return f"{steps}, {number_text(trial.steps * trial.settings.batch_size / pairs)} epochs"


TRAINING: Mapping[str, tuple[str, Callable[[Run, int | None], str]]] = {
    "learning rate": ("learning_rate", lambda run, pairs: f"{run.trial.learning_rate:.3g}"),
    "epochs": ("epochs", _epochs),
    "batch": ("batch", lambda run, pairs: str(run.trial.settings.batch_size)),
    "prefix length": ("prefix_length", lambda run, pairs: str(run.trial.config.get("length", MISSING))),
}
"""Title -> key in the paper's table of hyper-parameters, and what a trial of ours had given the pairs of the split"""


def protocol_table(board: Board, beside: Sequence[Beside]) -> Table:
    """Return the differences of the protocols; ours come from the trials' records and from protocol 1."""
    of_both = [row for row, _ in beside]
    family = "bart" if (model_beside(board) or "").startswith("bart") else "gpt2"
    rows = tuple(
        (
            Entry(text=line["aspect"]),
            Entry(text=line[family], long=True),
            Entry(text=OURS[line["aspect"]](board, of_both), long=True),
        )
        for line in paper()["protocol"]
        if family in line
    )
    title = f"Protocols: {board_title(board)}"
    return Table(
        name=f"paper-protocol-{board_name(board)}", title=title, header=entries("", "paper", "ours"), rows=rows
    )


def _distinct(values: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(values)) or MISSING


def _runs(rows: Sequence[Summary]) -> list[Run]:
    return [run for row in rows for run in row.counted]


def _test_items(board: Board, rows: Sequence[Summary]) -> str:
    whole = "the whole test split"
    return _distinct(
        whole if r.trial.evaluate.size is None else f"{r.trial.evaluate.size} test items" for r in _runs(rows)
    )


def _chosen(board: Board, rows: Sequence[Summary]) -> str:
    searched = (row.cell.fixed.get("search", {}).get("configurations", 0) for row in rows)
    return _distinct(
        f"best validation score of {number} configurations" if number else "no search: defaults or the plan's values"
        for number in searched
    )


def _words(run: Run) -> str:
    return "none" if run.trial.words_as == "none" else f"{run.trial.words!r} as {run.trial.words_as}"


def _decoding(run: Run) -> str:
    found = run.trial.decoding
    least = f", at least {found.min_new_tokens}" if found.min_new_tokens else ""
    tokens = f"at most {found.max_new_tokens}{least} new tokens"
    return f"beams {found.beams}, {tokens}, length penalty {found.length_penalty:g}"


def _seeds(board: Board, rows: Sequence[Summary]) -> str:
    return _distinct(f"{len(row.counted)} trials a row, by {row.unit}" for row in rows)


OURS: Mapping[str, Callable[[Board, Sequence[Summary]], str]] = {
    "backbone": lambda board, rows: f"{board.key.backbone}, weights {board.key.backbone_sha256[:12]}",
    "training pairs": lambda board, rows: size_text(board.key.size, board.key.size_unit),
    "test items": _test_items,
    "choice of the configuration": _chosen,
    "choice of the checkpoint": lambda board, rows: _distinct(
        f"lowest validation loss at step 0 and {run.trial.settings.evaluations} later steps" for run in _runs(rows)
    ),
    "weight decay": lambda board, rows: _distinct(f"{run.trial.weight_decay:g}" for run in _runs(rows)),
    "largest gradient norm": lambda board, rows: _distinct(f"{run.trial.settings.clip:g}" for run in _runs(rows)),
    "warm-up steps": lambda board, rows: _distinct(f"{run.trial.settings.warmup_steps}" for run in _runs(rows)),
    "dropout of the backbone": lambda board, rows: "off for all methods (protocol 1)",
    "loss": lambda board, rows: "mean over the target tokens of the batch, for all methods (protocol 1)",
    "task words": lambda board, rows: _distinct(_words(run) for run in _runs(rows)),
    "decoding": lambda board, rows: _distinct(_decoding(run) for run in _runs(rows)),
    "empty outputs": lambda board, rows: "scored as they are (protocol 1)",
    "seeds": _seeds,
}
"""Aspect -> what holds for our trials"""
