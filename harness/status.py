"""What a store holds, re-scoring of kept predictions, and export of single trials."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from featherbench.harness import data, tables
from featherbench.harness.deltas import delta_bytes
from featherbench.harness.recorded import kept_predictions, recorded, text_of
from featherbench.harness.records import Cell, ScoreValue, Trial
from featherbench.harness.score import score
from featherbench.harness.spec import FinalSpec
from featherbench.harness.store import Store, StoreError
from featherbench.harness.trial_log import log_file


@dataclass(frozen=True, kw_only=True)
class CellStatus:
    """How far a cell is, in trials."""

    cell: str
    id: str
    total: int
    ok: int
    diverged: int
    failed: int
    running: int
    seconds: float
    """What its finished trials took on their workers"""


@dataclass(frozen=True, kw_only=True)
class Overview:
    """How far a store's plans are."""

    cells: list[CellStatus]
    drivers: int
    """That are at work now"""
    seconds_left: float | None
    """If the trials to come take as long as those of their cell did, on as many workers as are busy now; None while
    nothing runs or nothing is known"""

    @property
    def spend(self) -> float:
        """Seconds that all finished trials took on their workers."""
        return sum(cell.seconds for cell in self.cells)


def overview(kept: Store) -> Overview:
    """Count a store's trials by cell; every cell's own count, so a trial that two cells share counts in both."""
    running = kept.running()
    places, trials = tables.places.c, tables.trials.c
    columns = (places.cell, trials.status, sa.func.count(), sa.func.sum(trials.cost["seconds"].as_float()))
    joined = tables.places.join(tables.trials, places.trial == trials.id)
    counts: dict[str, dict[str | None, int]] = {}
    seconds: dict[str, float] = {}
    for row in kept.rows(sa.select(*columns).select_from(joined).group_by(places.cell, trials.status)):
        cell, status, count, spent = row.values()
        counts.setdefault(cell, {})[status] = count
        seconds[cell] = seconds.get(cell, 0.0) + (spent or 0.0)
    busy: dict[str, int] = {}
    for row in kept.rows(sa.select(places.cell, places.trial).where(places.trial.in_(running))):
        busy[row["cell"]] = busy.get(row["cell"], 0) + 1
    cells = []
    for row in kept.rows(sa.select(tables.cells).join(tables.plan_cells).order_by(tables.plan_cells.c.position)):
        cell, found = Cell.model_validate(row["spec"]), counts.get(row["id"], {})
        cells.append(
            CellStatus(
                cell=cell.label,
                id=row["id"],
                total=num_trials(cell),
                **{status: found.get(status, 0) for status in ("ok", "diverged", "failed")},
                running=busy.get(row["id"], 0),
                seconds=seconds.get(row["id"], 0.0),
            )
        )
    cells = list({cell.id: cell for cell in cells}.values())  # plans may share cells
    return Overview(cells=cells, drivers=kept.num_drivers(), seconds_left=_seconds_left(cells, len(running)))


def num_trials(cell: Cell) -> int:
    """Return how many trials a cell has, search and final."""
    search, final = cell.fixed["search"], cell.fixed["final"]
    studies = FinalSpec(**final).studies(cell.size is not None)
    searched: int = studies * search.get("configurations", 0) * search.get("draws", 0)
    return searched + (final["seeds"] * final["draws"] if cell.fixed["trial"]["steps"] else 1)


def _seconds_left(cells: list[CellStatus], workers: int) -> float | None:
    done = sum(c.ok + c.diverged for c in cells)
    if not (workers and done):
        return None
    overall = sum(c.seconds for c in cells) / done
    left = 0.0
    for c in cells:
        own = c.seconds / (c.ok + c.diverged) if c.ok + c.diverged else overall
        left += own * max(0, c.total - c.ok - c.diverged - c.failed)
    return left / workers


def listed(kept: Store) -> list[dict[str, Any]]:
    """Return one row per place: cell, phase, number, trial, status and cause."""
    labels = {row["id"]: Cell.model_validate(row["spec"]).label for row in kept.rows(sa.select(tables.cells))}
    running = kept.running()
    columns = [*tables.places.c["cell", "phase", "number", "trial"], *tables.trials.c["status", "cause"]]
    joined = tables.places.join(tables.trials, tables.places.c.trial == tables.trials.c.id)
    rows = kept.rows(
        sa.select(*columns)
        .select_from(joined)
        .order_by(tables.places.c.cell, tables.places.c.phase, tables.places.c.number)
    )
    for row in rows:
        row["cell"] = labels[row["cell"]]
        row["status"] = row["status"] or ("running" if row["trial"] in running else "unfinished")
    return rows


def rescore(kept: Store, trial_id: str) -> tuple[ScoreValue, ...]:
    """Score a trial's kept predictions again and replace its scores; logged as a look at the split.

    Raises: StoreError if a score that is stored cannot be had here.
    """
    trial = Trial.model_validate(kept.trial(trial_id)["spec"])
    predictions = kept_predictions(kept, trial_id)
    if not predictions:
        raise StoreError(f"trial {trial_id} has no predictions to score; it failed or is unfinished.")
    data.check_content(trial)
    found = score(trial.task, predictions, data.references(trial.task, trial.evaluate))
    where = (tables.scores.c.trial == trial_id) & tables.scores.c.value.is_not(None)
    had = {(row["metric"], row["subset"]) for row in kept.rows(sa.select(tables.scores).where(where))}
    if missing := [s for s in found.values if s.value is None and (s.metric, s.subset) in had]:
        raise StoreError(f"{missing[0].metric} cannot be computed here, the stored scores stay: {missing[0].signature}")
    kept.replace_scores(trial_id, found.values, found.statistics)
    return found.values


def export_trial(kept: Store, trial_id: str, artifacts: str, destination: Path) -> list[Path]:
    """Write a trial's record, scores, predictions and delta into a folder; return the files."""
    row = kept.trial(trial_id)
    destination.mkdir(parents=True, exist_ok=True)
    record = destination / "trial.json"
    record.write_text(text_of(recorded(kept, row["id"])), encoding="utf-8")
    if not row["delta"]:
        return [record]
    delta = destination / "delta.safetensors"
    delta.write_bytes(delta_bytes(artifacts, row["delta"], row["delta_sha256"]))
    return [record, delta]


def log_of(kept: Store, trial_id: str, scratch: Path | None) -> list[str]:
    """Return the lines of a trial's log: its attempts, then what its worker said.

    The store has the log of the attempt that counted; of one that runs or died, the run's folder has it, where that
    attempt ran on this machine.
    """
    row = kept.trial(trial_id)
    tried = sa.select(tables.attempts).where(tables.attempts.c.trial == row["id"]).order_by(tables.attempts.c.number)
    lines = [f"{a['started']} attempt {a['number']}: {a['outcome'] or 'no end'}" for a in kept.rows(tried)]
    found = kept.rows(sa.select(tables.logs.c.text).where(tables.logs.c.trial == row["id"]))
    path = log_file(str(scratch), row["id"]) if scratch else None
    if path is not None and path.is_file():
        lines += path.read_text(encoding="utf-8").splitlines()
    elif found:
        lines += found[0]["text"].splitlines()
    return lines
