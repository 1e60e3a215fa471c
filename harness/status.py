"""What a store holds, re-scoring of kept predictions, and export of single trials."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from featherbench.harness import data, store
from featherbench.harness.deltas import delta_bytes
from featherbench.harness.records import Cell, Prediction, ScoreValue, Trial
from featherbench.harness.score import score
from featherbench.harness.store import Store


def overview(kept: Store) -> list[dict[str, Any]]:
    """Return one row per place: cell, phase, number, trial, status and cause."""
    joined = store.places.join(store.trials, store.places.c.trial == store.trials.c.id).join(
        store.cells, store.cells.c.id == store.places.c.cell
    )
    columns = (
        store.cells.c.spec,
        store.places.c.phase,
        store.places.c.number,
        store.places.c.trial,
        store.trials.c.status,
        store.trials.c.cause,
    )
    rows = kept.rows(
        sa.select(*columns)
        .select_from(joined)
        .order_by(store.places.c.cell, store.places.c.phase, store.places.c.number)
    )
    return [
        {
            "cell": Cell.model_validate(row["spec"]).label,
            **{key: row[key] for key in ("phase", "number", "trial", "cause")},
            "status": row["status"] or "unfinished",
        }
        for row in rows
    ]


def kept_predictions(kept: Store, trial_id: str) -> list[Prediction]:
    """Return a trial's predictions in item order."""
    where = store.predictions.c.trial == trial_id
    columns = (store.predictions.c.item, store.predictions.c.text, store.predictions.c.truncated)
    return [Prediction(**row) for row in kept.rows(sa.select(*columns).where(where).order_by(store.predictions.c.item))]


def rescore(kept: Store, trial_id: str) -> list[ScoreValue]:
    """Score a trial's kept predictions again and replace its scores; logged as a look at the split.

    Raises: StoreError if a score that is stored cannot be had here.
    """
    trial = Trial.model_validate(kept.trial(trial_id)["spec"])
    predictions = kept_predictions(kept, trial_id)
    if not predictions:
        raise store.StoreError(f"trial {trial_id} has no predictions to score; it failed or is unfinished.")
    data.check_content(trial)
    found = score(trial.task, predictions, data.references(trial.task, trial.evaluate))
    where = (store.scores.c.trial == trial_id) & store.scores.c.value.is_not(None)
    had = {(row["metric"], row["subset"]) for row in kept.rows(sa.select(store.scores).where(where))}
    if missing := [s for s in found if s.value is None and (s.metric, s.subset) in had]:
        raise store.StoreError(
            f"{missing[0].metric} cannot be computed here, the stored scores stay: {missing[0].signature}"
        )
    kept.replace_scores(trial_id, found)
    return found


def export_trial(kept: Store, trial_id: str, artifacts: str, destination: Path) -> list[Path]:
    """Write a trial's record, scores, predictions and delta into a folder; return the files."""
    row = kept.trial(trial_id)
    destination.mkdir(parents=True, exist_ok=True)
    where = store.scores.c.trial == row["id"]
    content = {
        "id": row["id"],
        "trial": row["spec"],
        "status": row["status"],
        "cause": row["cause"],
        "cost": row["cost"],
        "provenance": row["provenance"],
        "scores": kept.rows(sa.select(store.scores).where(where)),
        "predictions": [p.model_dump() for p in kept_predictions(kept, row["id"])],
    }
    record = destination / "trial.json"
    record.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")
    if not row["delta"]:
        return [record]
    delta = destination / "delta.safetensors"
    delta.write_bytes(delta_bytes(artifacts, row["delta"], row["delta_sha256"]))
    return [record, delta]
