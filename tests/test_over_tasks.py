"""Summing up over tasks: from five on, by formulas of Agarwal et al. 2021; below never."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from test_reports import cell_of, fill, result_of, trial_of

from featherbench.harness.store import Store
from featherbench.reports.aggregate import boards
from featherbench.reports.over_tasks import over_tasks
from featherbench.reports.read import read

SCORES = {
    (row, task): [base + 7 * task + seed for seed in range(3)]
    for row, base in (("full_ft", 50.0), ("prefix", 49.5))
    for task in range(5)
}


def filled(folder: Path, tasks: int) -> Store:
    kept = Store(f"sqlite:///{folder}/store.sqlite")
    for (row, task), values in SCORES.items():
        if task < tasks:
            cell = cell_of(row, task=f"task{task}")
            kept.add_plan(f"p{row}{task}", row, "", [cell])
            for seed, value in enumerate(values):
                trial = trial_of(cell, seed)
                fill(kept, cell, "final", seed, trial, result_of(trial, value, value))
    return kept


def test_below_five_tasks_nothing_is_summed_up(tmp_path: Path) -> None:
    assert over_tasks(boards(read(filled(tmp_path, 4)))) == []


def test_five_tasks_are_summed_up(tmp_path: Path) -> None:
    store = filled(tmp_path, 5)
    found = boards(read(store))
    (table,) = over_tasks(found)
    assert table.title == "Over 5 tasks: task0, task1, task2, task3, task4"
    rows = {row[0].text: row for row in table.rows}
    # what is stored over all items, whatever the invented seen and unseen scores make of it
    score = {
        (row.label, board.key.task): [run.score("bleu", "all").value for run in row.counted]
        for board in found
        for row in board.rows
    }
    ours, theirs = (np.array([score[row, f"task{task}"] for task in range(5)]) for row in ("prefix", "full_ft"))
    assert rows["prefix"][1].value == pytest.approx(stats.trim_mean(ours.ravel(), 0.25))
    better = np.mean([(a > b) + (a == b) / 2 for t in range(5) for a in ours[t] for b in theirs[t]])
    assert rows["prefix"][2].value == pytest.approx(better) and 0 < better < 0.5
    assert rows["full_ft"][2].value is None, "not against itself"
