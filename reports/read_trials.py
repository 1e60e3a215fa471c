"""Store -> what only the pages and files of trials show, for many trials at once: curves, a few outputs, attempts."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter

import sqlalchemy as sa

from featherbench.harness import tables
from featherbench.harness.store import Store
from featherbench.reports.charts.trial_curves import Points

OUTPUTS = 4
"""Outputs shown of a trial: of its first items"""
CURVES = ("train_loss", "validation_loss", "gradient_norm")
"""Curves shown of a trial; that of the learning rate says no more than the configuration, and is a third of the points"""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One try of a trial."""

    number: int
    started: str
    outcome: str | None
    """None: running, or its driver is gone"""


@dataclass(frozen=True, kw_only=True)
class Detail:
    """What the store holds of one trial beside its run."""

    curves: Mapping[str, Points] = field(default_factory=dict)
    """By name; finite values only"""
    not_finite: int = 0
    """Values of the curves that are not"""
    validation_loss: Mapping[int, float | None] = field(default_factory=dict)
    """By optimiser step; None where it was not finite"""
    delta_sha256: str | None = None
    outputs: tuple[tuple[int, str, bool], ...] = ()
    """(item, text, truncated) of the first items"""
    attempts: tuple[Attempt, ...] = ()


def details(store: Store, trials: Sequence[str]) -> dict[str, Detail]:
    """Return {trial: its detail} in four queries."""
    curves, not_finite, losses = _curves(store, trials)
    deltas = sa.select(tables.trials.c.id, tables.trials.c.delta_sha256).where(tables.trials.c.id.in_(list(trials)))
    hashes = {trial: sha256 for trial, sha256 in store.tuples(deltas)}
    outputs, attempts = _outputs(store, trials), _attempts(store, trials)
    return {
        trial: Detail(
            curves=curves[trial],
            not_finite=not_finite[trial],
            validation_loss=losses[trial],
            delta_sha256=hashes.get(trial),
            outputs=tuple(outputs[trial]),
            attempts=tuple(attempts[trial]),
        )
        for trial in trials
    }


def _curves(
    store: Store, trials: Sequence[str]
) -> tuple[dict[str, dict[str, list[tuple[int, float]]]], dict[str, int], dict[str, dict[int, float | None]]]:
    found: dict[str, dict[str, list[tuple[int, float]]]] = defaultdict(lambda: defaultdict(list))
    not_finite: dict[str, int] = defaultdict(int)
    losses: dict[str, dict[int, float | None]] = defaultdict(dict)
    kept = tables.curves.c
    shown = kept.trial.in_(list(trials)) & kept.name.in_(CURVES)
    columns = sa.select(kept.trial, kept.name, kept.step, kept.value).where(shown)
    rows = store.tuples(columns.order_by(kept.trial, kept.name, kept.step))
    for (trial, name), of_curve in groupby(rows, key=itemgetter(0, 1)):
        points = [(step, value) for _, _, step, value in of_curve]
        finite = [point for point in points if point[1] is not None and math.isfinite(point[1])]
        if finite:
            found[trial][name] = finite
        not_finite[trial] += len(points) - len(finite)
        if name == "validation_loss":
            known = dict(finite)
            losses[trial] = {step: known.get(step) for step, _ in points}
    return found, not_finite, losses


def _outputs(store: Store, trials: Sequence[str]) -> dict[str, list[tuple[int, str, bool]]]:
    kept = tables.predictions.c
    rank = sa.func.row_number().over(partition_by=kept.trial, order_by=kept.item).label("rank")
    ranked = sa.select(kept.trial, kept.item, rank).where(kept.trial.in_(list(trials))).subquery()
    same = (kept.trial == ranked.c.trial) & (kept.item == ranked.c.item)
    first = sa.select(tables.predictions).join(ranked, same).where(ranked.c.rank <= OUTPUTS)
    found: dict[str, list[tuple[int, str, bool]]] = defaultdict(list)
    for row in store.rows(first.order_by(kept.trial, kept.item)):
        found[row["trial"]].append((row["item"], row["text"], bool(row["truncated"])))
    return found


def _attempts(store: Store, trials: Sequence[str]) -> dict[str, list[Attempt]]:
    columns = tables.attempts.c
    wanted = sa.select(tables.attempts).where(columns.trial.in_(list(trials))).order_by(columns.trial, columns.number)
    found: dict[str, list[Attempt]] = defaultdict(list)
    for row in store.rows(wanted):
        found[row["trial"]].append(Attempt(number=row["number"], started=row["started"], outcome=row["outcome"]))
    return found
