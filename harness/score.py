"""Predictions -> official scores. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from featherbench.harness.data import references, tag_groups, task_of
from featherbench.harness.records import Prediction, Result, ScoreValue, Trial
from featherbench.tasks import TASKS
from featherbench.tasks.base import Example, Unavailable


def scored(trial: Trial, result: Result) -> Result:
    """Return a trial's result with the scores of its predictions.

    Raises: DataError if the references here are not the planned ones.
    """
    task = task_of(trial).name
    return result.model_copy(
        update={"scores": tuple(score(task, result.predictions, references(task, trial.evaluate)))}
    )


def score(
    task: str, predictions: Sequence[Prediction], examples: Mapping[int, Example], names: Sequence[str] = ()
) -> list[ScoreValue]:
    """Return every official score of the task, the primary one first, over all items and over seen and unseen ones.

    With `names` only the scores of these names. A scorer that fails gives a score without a value, with the reason; NaN
    never enters a score.
    Raises: ValueError if predictions and items are not the same set.
    """
    if [p.item for p in predictions] != list(examples):
        raise ValueError(f"{len(predictions)} predictions do not match the {len(examples)} items one to one.")
    golds = list(examples.values())
    found = []
    chosen = [s for s in TASKS[task].scores if not names or s.name in names]
    for metric in sorted(chosen, key=lambda s: s.name != TASKS[task].primary):
        for subset, members in tag_groups(golds).items():
            outputs, references = [predictions[i].text for i in members], [golds[i].references for i in members]
            value: float | None
            try:
                value, signature = metric.corpus(outputs, references), metric.signature(references)
                if not math.isfinite(value):
                    value, signature = None, f"not finite; {signature}"
            except Unavailable as error:
                value, signature = None, f"unavailable: {error}"
            except Exception as error:
                value, signature = None, f"{type(error).__name__}: {error}"
            found.append(ScoreValue(metric=metric.name, subset=subset, value=value, signature=signature))
    return found
