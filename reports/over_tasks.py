"""Boards of five tasks or more -> interquartile mean and probability of improvement, never below (protocol 1.2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from featherbench.reports.blocks import Entry, Table, entries
from featherbench.reports.boards import ALL, Board, Summary
from featherbench.reports.estimates import reference
from featherbench.reports.measured import measured
from featherbench.reports.statistics import TASKS_FROM, Array, interquartile_mean, probability_of_improvement
from featherbench.reports.text import MISSING, score_text


def over_tasks(boards: Sequence[Board]) -> list[Table]:
    """Return one table for each backbone, size and primary score that at least five tasks share."""
    groups: dict[tuple[object, ...], dict[str, Board]] = {}
    for board in boards:
        if board.primary is not None:
            key = board.key
            alike = (key.backbone, key.backbone_sha256, key.size, key.size_unit, key.protocol, board.primary)
            groups.setdefault(alike, {}).setdefault(key.task, board)
    found = [list(tasks.values()) for tasks in groups.values() if len(tasks) >= TASKS_FROM]
    return [_table(boards, number) for number, boards in enumerate(found, start=1)]


def _table(boards: Sequence[Board], number: int) -> Table:
    labels = [row.label for row in boards[0].rows if all(_row(board, row.label) for board in boards)]
    values = {label: _values(boards, label) for label in labels}
    full = reference(boards[0])
    theirs = values.get(full.label) if full else None
    rows = []
    for label, ours in values.items():
        if ours is None:
            missing = Entry(text=MISSING, note="unequal numbers of trials over the tasks")
            rows.append((Entry(text=label), missing, missing))
            continue
        mean, better = interquartile_mean(ours), Entry(text=MISSING)
        if theirs is not None and full is not None and label != full.label:
            sign = 1 if boards[0].higher_is_better else -1
            share = probability_of_improvement(sign * ours, sign * theirs)
            better = Entry(text=f"{share:.2f}", value=share)
        rows.append((Entry(text=label), Entry(text=score_text(mean), value=mean), better))
    tasks = ", ".join(board.key.task for board in boards)
    against = f"P(better than {full.label})" if full else "P(better)"
    return Table(
        name=f"over-tasks-{number}",
        title=f"Over {len(boards)} tasks: {tasks}",
        header=entries("row", f"{boards[0].primary}, interquartile mean", against),
        rows=tuple(rows),
    )


def _row(board: Board, label: str) -> Summary | None:
    return next((row for row in board.rows if row.label == label and row.counted), None)


def _values(boards: Sequence[Board], label: str) -> Array | None:
    """Return [tasks, units]; None where the tasks have unequal numbers of units."""
    found = []
    for board in boards:
        row = _row(board, label)
        assert row is not None and board.primary is not None
        found.append(measured(row.counted, row.unit, board.primary, ALL, board.items).values)
    return np.stack(found) if len({len(one) for one in found}) == 1 and len(found[0]) else None
