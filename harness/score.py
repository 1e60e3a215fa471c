"""Predictions -> official scores, and what they sum over items. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featherbench.harness.data import references, tag_groups, task_of
from featherbench.harness.records import ItemStatistics, Prediction, Result, ScoreValue, Trial
from featherbench.tasks import TASKS
from featherbench.tasks.base import Example, Score, Unavailable
from featherbench.tasks.metrics.additive import pack


@dataclass(frozen=True, kw_only=True)
class Scores:
    """All scores of one set of predictions."""

    values: tuple[ScoreValue, ...]
    """The primary one first"""
    statistics: tuple[ItemStatistics, ...]
    """Of those that follow from sums over items"""


def scored(trial: Trial, result: Result) -> Result:
    """Return a trial's result with the scores of its predictions.

    Raises: DataError if the references here are not the planned ones.
    """
    task = task_of(trial).name
    found = score(task, result.predictions, references(task, trial.evaluate))
    return result.model_copy(update={"scores": found.values, "item_statistics": found.statistics})


def score(
    task: str, predictions: Sequence[Prediction], examples: Mapping[int, Example], names: Sequence[str] = ()
) -> Scores:
    """Return every official score of the task over all items and over seen and unseen ones.

    With `names` only the scores of these names. A scorer that fails gives a score without a value, with the reason; NaN
    never enters a score.
    Raises: ValueError if predictions and items are not the same set.
    """
    if [p.item for p in predictions] != list(examples):
        raise ValueError(f"{len(predictions)} predictions do not match the {len(examples)} items one to one.")
    outputs, golds = [p.text for p in predictions], list(examples.values())
    groups = tag_groups(golds)
    chosen = [s for s in TASKS[task].scores if not names or s.name in names]
    values: list[ScoreValue] = []
    statistics: list[ItemStatistics] = []
    for metric in sorted(chosen, key=lambda s: s.name != TASKS[task].primary):
        sums, reason = _statistics(metric, outputs, golds)
        if sums is not None and metric.additive is not None:
            statistics.append(ItemStatistics(metric=metric.name, names=metric.additive.names, packed=pack(sums)))
        for subset, members in groups.items():
            value, signature = (None, reason) if reason else _value(metric, outputs, golds, members, sums)
            values.append(ScoreValue(metric=metric.name, subset=subset, value=value, signature=signature))
    return Scores(values=tuple(values), statistics=tuple(statistics))


def _statistics(
    metric: Score, outputs: Sequence[str], golds: Sequence[Example]
) -> tuple[NDArray[np.float64] | None, str]:
    """Return what the score sums over items, [items, statistics], if anything; or why that cannot be had here."""
    if metric.additive is None:
        return None, ""
    try:
        return metric.additive.statistics(outputs, [gold.references for gold in golds]), ""
    except Unavailable as error:
        return None, f"unavailable: {error}"
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"


def _value(
    metric: Score,
    outputs: Sequence[str],
    golds: Sequence[Example],
    members: Sequence[int],
    sums: NDArray[np.float64] | None,
) -> tuple[float | None, str]:
    """Return the score of some items with its signature; from their sums, where these say it."""
    references = [golds[i].references for i in members]
    try:
        whole = len(members) == len(golds)
        if sums is not None and metric.additive is not None and (whole or not metric.additive.weighted):
            value = float(metric.additive.score(sums[members].sum(axis=0)))
        else:
            value = float(metric.corpus([outputs[i] for i in members], references))
        signature = metric.signature(references)
    except Unavailable as error:
        return None, f"unavailable: {error}"
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"
    return (value, signature) if math.isfinite(value) else (None, f"not finite; {signature}")
