"""Summaries and runs -> cells.csv and trials.csv, with every digit."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence

from featherbench.harness.records import Cell
from featherbench.reports.aggregate import COSTS, Board, Summary, cost_value
from featherbench.reports.read import Contents, Run

Line = Mapping[str, object]


def cells_csv(boards: Sequence[Board], unplaced: Sequence[Cell]) -> str:
    """Return one line per cell and evaluated subset; cells without a final trial have no scores."""
    lines = [_cell_line(board, row) for board in boards for row in board.rows]
    empty = [{**_cell(cell, cell.row), "notes": "no final trial"} for cell in unplaced]
    return _csv([*lines, *empty])


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


def _csv(lines: Sequence[Line]) -> str:
    """Return CSV with the union of all columns; a missing value is an empty field."""
    columns = list(dict.fromkeys(name for line in lines for name in line))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_field(line.get(name)) for name in columns] for line in lines)
    return text.getvalue()


def _field(value: object) -> object:
    """Return a field that no spreadsheet takes for a formula."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return "'" + value
    return value
