"""Item statistics -> what each item contributes to a corpus score, so that intervals can speak of new inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from featherbench.harness.records import Trial
from featherbench.harness.store import Store
from featherbench.reports import read
from featherbench.reports.read import Run
from featherbench.reports.statistics import Array, pseudo_values
from featherbench.tasks import TASKS
from featherbench.tasks.base import Score
from featherbench.tasks.load import register
from featherbench.tasks.metrics.additive import left_out

ALL = "all"


def scorer(trial: Trial, metric: str) -> Score | None:
    """Return the scorer of a trial's task; None where the task is not installed here or has no such score any more."""
    if trial.definition is not None:
        register(trial.definition)
    task = TASKS.get(trial.task)
    return next((score for score in task.scores if score.name == metric), None) if task else None


def higher_is_better(trial: Trial, metric: str) -> bool:
    """Return the direction of a score; of one that is not installed here, that of most."""
    found = scorer(trial, metric)
    return found.higher_is_better if found else True


class Items:
    """The item statistics of some runs; rows are the evaluated items in their order."""

    def __init__(self, store: Store, runs: Iterable[Run]) -> None:
        kept = {run.trial_id: run for run in runs if run.counts}
        self._statistics = read.item_statistics(store, list(kept))
        self._tags: dict[str, Sequence[Mapping[str, str]]] = {}
        for run in kept.values():
            evaluated = run.trial.evaluate.sha256
            if evaluated not in self._tags and any(trial == run.trial_id for trial, _ in self._statistics):
                tags = read.item_tags(store, run.trial)
                items = sorted(read.predicted_items(store, [run.trial_id])[run.trial_id])
                self._tags[evaluated] = [tags.get(item, {}) for item in items]
        self._found: dict[tuple[str, str, str], Array | None] = {}

    def tags(self, run: Run) -> Sequence[Mapping[str, str]]:
        """Return the tags of each evaluated item; empty where no item statistics are kept."""
        return self._tags.get(run.trial.evaluate.sha256, ())

    def statistics(self, run: Run, metric: str, subset: str) -> Array | None:
        """Return what the score sums over the items of "all" or of a tag such as "seen=unseen", [items, statistics].

        None if there is nothing kept that the scorer of today could read.
        """
        names, sums = self._statistics.get((run.trial_id, metric), ((), None))
        found = scorer(run.trial, metric)
        if sums is None or found is None or found.additive is None or found.additive.names != names:
            return None
        if subset == ALL:
            return sums
        tag, _, value = subset.partition("=")
        members = [i for i, tags in enumerate(self.tags(run)) if tags.get(tag) == value]
        return sums[members] if len(self.tags(run)) == len(sums) else None

    def score(self, run: Run, metric: str, subset: str) -> float | None:
        """Return the stored score, or that of the sums over a tag's items that no score is stored for."""
        if stored := run.score(metric, subset):
            return stored.value
        sums, found = self.statistics(run, metric, subset), scorer(run.trial, metric)
        if sums is None or not len(sums) or found is None or found.additive is None or found.additive.weighted:
            return None
        return float(found.additive.score(sums.sum(axis=0)))

    def psi(self, run: Run, metric: str, subset: str) -> Array | None:
        """Return the jackknife's pseudo-values of one trial's score, [items]; None if there are no two items of it.

        Weights that come from the references stay those of all items (protocol 1.1).
        """
        key = (run.trial_id, metric, subset)
        if key not in self._found:
            self._found[key] = self._pseudo(run, metric, subset)
        return self._found[key]

    def _pseudo(self, run: Run, metric: str, subset: str) -> Array | None:
        sums, found = self.statistics(run, metric, subset), scorer(run.trial, metric)
        if sums is None or len(sums) < 2 or found is None or found.additive is None:
            return None
        without = left_out(found.additive.score, sums)
        whole = float(found.additive.score(sums.sum(axis=0)))
        if not (np.isfinite(without).all() and np.isfinite(whole)):
            return None
        return pseudo_values([whole], without[None])[0]
