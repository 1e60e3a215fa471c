"""What is known of a finished trial and can be published: a record that a rerun needs no store for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydantic import ValidationError

from featherbench.harness import tables
from featherbench.harness.records import Cost, Prediction, Record, ScoreValue, Status, Trial
from featherbench.harness.store import Store


class RecordedError(ValueError):
    """A file is no record of a trial."""


class Recorded(Record):
    """A trial and what came of it. A report writes it as trials/ID.json, an export as trial.json."""

    id: str
    trial: Trial
    status: Status | None
    """None: not finished"""
    cause: str | None = None
    """Of a failed or diverged trial: what happened"""
    scores: tuple[ScoreValue, ...] = ()
    validation_loss: dict[int, float | None] = {}
    """By optimiser step; None where it was not finite"""
    predictions: tuple[Prediction, ...] | None = None
    """None: not told, as in a report, where a licence may forbid it"""
    delta_sha256: str | None = None
    """None if the trial kept no delta"""
    cost: Cost | None = None
    provenance: dict[str, Any] = {}


def recorded(kept: Store, trial_id: str) -> Recorded:
    """Return what a store holds of a trial; a unique beginning of the id suffices.

    Raises: StoreError if none or several match.
    """
    row = kept.trial(trial_id)
    scores, curves = tables.scores.c, tables.curves.c
    score_columns = (scores.metric, scores.subset, scores.value, scores.signature)
    of_scores = sa.select(*score_columns).where(scores.trial == row["id"]).order_by(scores.position)
    of_curve = sa.select(curves.step, curves.value).where(
        (curves.trial == row["id"]) & (curves.name == "validation_loss")
    )
    return Recorded(
        id=row["id"],
        trial=Trial.model_validate(row["spec"]),
        status=row["status"],
        cause=row["cause"],
        scores=tuple(ScoreValue(**score) for score in kept.rows(of_scores)),
        validation_loss={step: value for step, value in kept.tuples(of_curve.order_by(curves.step))},
        predictions=kept_predictions(kept, row["id"]),
        delta_sha256=row["delta_sha256"],
        cost=row["cost"],
        provenance=row["provenance"] or {},
    )


def kept_predictions(kept: Store, trial_id: str) -> tuple[Prediction, ...]:
    """Return a trial's predictions in item order."""
    columns = tables.predictions.c
    wanted = sa.select(columns.item, columns.text, columns.truncated).where(columns.trial == trial_id)
    return tuple(Prediction(**row) for row in kept.rows(wanted.order_by(columns.item)))


def from_file(path: Path) -> Recorded:
    """Return what a file tells, be it of a report or of an export.

    Raises: RecordedError if it is no record of a trial, or its content is not what its id was made of; OSError.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = Recorded.model_validate({name: content[name] for name in Recorded.model_fields if name in content})
    except (ValueError, TypeError, AttributeError) as error:
        what = error.errors()[0]["msg"] if isinstance(error, ValidationError) else " ".join(str(error).split())
        raise RecordedError(
            f"{path} is no record of a trial ({what}). Give the .json beside a trial's page in a report, or the "
            "trial.json that `featherbench export` writes."
        ) from None
    if any(isinstance(file, str) for file in (found.trial.definition or {}).get("files", {}).values()):
        raise RecordedError(
            f"{path}: trial {found.id} was trained on files of its owner, which no report holds. Rerun it by its id from "
            "the run's store: featherbench rerun ID --out RUN."
        )
    if found.trial.id != found.id:
        raise RecordedError(
            f"{path} was changed: its trial is {found.trial.id}, but it says {found.id}. Take the file anew."
        )
    return found


def text_of(one: Recorded) -> str:
    """Return the file's text: JSON with a field a line, exact; places of data files are left out.

    Predictions are left out where they are not told.
    """
    content = one.model_dump(mode="json", exclude={"predictions"} if one.predictions is None else None)
    content["trial"] = one.trial.stated()
    fields = (f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in content.items())
    return "{\n" + ",\n".join(fields) + "\n}\n"
