"""Tables -> CSV, LaTeX, Markdown and Parquet; cells and runs -> cells.csv and trials.csv, with every digit."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from featherbench.harness.records import Cell
from featherbench.reports import markdown
from featherbench.reports.aggregate import COSTS, cost_value
from featherbench.reports.blocks import Entry, Table
from featherbench.reports.boards import Board, Summary
from featherbench.reports.files import write
from featherbench.reports.read import Contents, Run
from featherbench.reports.spending import Spend
from featherbench.reports.text import MISSING, latex

Line = Mapping[str, object]
Value = float | int | str | None
ENDINGS = ("csv", "md", "tex", "parquet")


# --- any table ------------------------------------------------------------------------------------------------------


def write_table(table: Table, folder: Path) -> None:
    """Write NAME.csv and NAME.parquet with exact values, NAME.md and NAME.tex with the numbers as shown."""
    columns = exact_columns(table)
    lines = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    texts = {"csv": _csv(lines, tuple(columns)), "md": "\n".join(markdown.table_lines(table)[1:]), "tex": tex(table)}
    for ending, text in texts.items():
        write(folder / f"{table.name}.{ending}", text)
    parquet = io.BytesIO()
    pl.DataFrame([_series(name, values) for name, values in columns.items()]).write_parquet(parquet)
    write(folder / f"{table.name}.parquet", parquet.getvalue())


def exact_columns(table: Table) -> dict[str, list[Value]]:
    """Return {column: exact values}: of every field its value, its parts and, where there are any, its notes."""
    columns: dict[str, list[Value]] = {}
    for i, head in enumerate(table.header):
        fields = [row[i] for row in table.rows]
        if any(field.strip for field in fields):
            continue  # the trials behind the dots stand in trials.csv
        name = _unused(head.text, columns)
        columns[name] = [_exact(field) for field in fields]
        for part in dict.fromkeys(key for field in fields for key in field.parts):
            columns[_unused(f"{name}, {part}", columns)] = [field.parts.get(part) for field in fields]
        if any(field.note for field in fields):
            columns[_unused(f"{name}, note", columns)] = [field.note or None for field in fields]
    return columns


def _exact(field: Entry) -> Value:
    if field.value is not None:
        return field.value
    return None if field.text == MISSING else field.text


def _unused(name: str, columns: Mapping[str, object]) -> str:
    found, number = name, 2
    while found in columns:
        found, number = f"{name} {number}", number + 1
    return found


def _series(name: str, values: Sequence[Value]) -> pl.Series:
    """Return whole numbers, numbers or, if there is a single text among them, texts."""
    kept = [value for value in values if value is not None]
    if kept and all(type(value) is int for value in kept):
        return pl.Series(name, values, dtype=pl.Int64)
    if kept and all(isinstance(value, int | float) for value in kept):
        return pl.Series(name, [None if value is None else float(value) for value in values], dtype=pl.Float64)
    texts = [None if value is None else str(value).encode("utf-8", "backslashreplace").decode() for value in values]
    return pl.Series(name, texts, dtype=pl.String)


def tex(table: Table) -> str:
    """Return a booktabs tabular with everything escaped; strips of dots are left out."""
    kept = [i for i in range(len(table.header)) if not any(row[i].strip for row in table.rows)]
    number = [all(isinstance(row[i].value, int | float) or row[i].text == MISSING for row in table.rows) for i in kept]
    lines = [
        f"% {table.name}: needs \\usepackage{{booktabs}}",
        f"\\begin{{tabular}}{{{''.join('r' if right else 'l' for right in number)}}}",
        "\\toprule",
        _tex_row([table.header[i] for i in kept]),
        "\\midrule",
        *(_tex_row([row[i] for i in kept]) for row in table.rows),
        "\\bottomrule",
        "\\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _tex_row(fields: Sequence[Entry]) -> str:
    return " & ".join(latex(field.text) for field in fields) + " \\\\"


# --- cells and trials -------------------------------------------------------------------------------------------------


def cells_csv(boards: Sequence[Board], unplaced: Sequence[Cell], spend: Spend) -> str:
    """Return one line per cell and evaluated subset; cells without a final trial have no scores."""
    lines = [{**_cell_line(board, row), **_spend(row.cell, spend)} for board in boards for row in board.rows]
    empty = [{**_cell(cell, cell.row), "notes": "no final trial", **_spend(cell, spend)} for cell in unplaced]
    return _csv([*lines, *empty])


def _spend(cell: Cell, spend: Spend) -> Line:
    trials, seconds = spend.get(cell.id, (0, None))
    return {"spend_trials": trials, "spend_seconds": seconds}


def trials_csv(contents: Contents) -> str:
    """Return one line per place of the design with the trial that fills it."""
    return _csv([_trial_line(run) for run in contents.runs])


def _cell(cell: Cell, label: str) -> dict[str, object]:
    names = ("backbone", "task", "size", "size_unit", "method", "budget")
    return {"cell": cell.id, "row": label, **{name: getattr(cell, name) for name in names}}


def _cell_line(board: Board, row: Summary) -> Line:
    line = _cell(row.cell, row.label)
    line |= {"task_version": board.key.task_version, "evaluated": board.key.evaluated}
    line |= {"index_list": board.key.evaluated_sha256, "backbone_sha256": board.key.backbone_sha256}
    counts = row.counts
    line |= {"places": counts.places, "trials": counts.counted, "failed": counts.failed, "diverged": counts.diverged}
    line |= {
        "unfinished": counts.unfinished,
        "repeated": counts.repeated,
        "unit": row.unit,
        "notes": "; ".join(row.notes),
    }
    for (metric, subset), value in row.scores.items():
        name = f"{metric}.{subset}"
        line |= {f"{name}.mean": value.mean, f"{name}.half_width": value.half_width, f"{name}.units": value.units}
    for metric, value in row.gaps.items():
        name = f"{metric}.gap"
        line |= {f"{name}.mean": value.mean, f"{name}.half_width": value.half_width, f"{name}.units": value.units}
    return line | {name: quantity.value for name, quantity in row.costs.items()}


def _trial_line(run: Run) -> Line:
    trial = run.trial
    line = {**_cell(run.cell, run.cell.row), "phase": run.phase, "number": run.number, "trial": run.trial_id}
    line |= {"status": run.status, "repeats_place": run.repeats, "in_final_mean": run.counts and run.phase == "final"}
    line |= {"seed": trial.seed, "draw": trial.train.draw, "evaluated": trial.evaluate.name}
    line |= {"learning_rate": trial.learning_rate, "weight_decay": trial.weight_decay, "steps_planned": trial.steps}
    line |= {"config": json.dumps(trial.config, sort_keys=True), "precision": trial.precision}
    line |= {"best_step": run.best_step, "cause": run.cause}
    line |= {f"{score.metric}.{score.subset}": score.value for score in run.scores}
    line |= {"outputs": run.outputs.kept, "truncated": run.outputs.truncated, "empty": run.outputs.empty}
    if run.cost is not None:
        line |= {name: cost_value(name, run.cost).value for name in COSTS} | {"device": run.cost.device}
    return line


def _csv(lines: Sequence[Line], columns: Sequence[str] = ()) -> str:
    """Return CSV with the union of all columns; a missing value is an empty field."""
    columns = columns or list(dict.fromkeys(name for line in lines for name in line))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([_field(name) for name in columns])
    writer.writerows([_field(line.get(name)) for name in columns] for line in lines)
    return text.getvalue()


def _field(value: object) -> object:
    """Return a field that no spreadsheet takes for a formula."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return "'" + value
    return value
