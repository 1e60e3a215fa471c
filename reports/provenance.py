"""Store -> where every number comes from: plans, versions, scorers, machines, data and looks at the test split."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from featherbench.harness.records import Subset
from featherbench.harness.store import Store
from featherbench.reports import read
from featherbench.reports.read import Contents, Run

Origin = dict[str, Any]
"""JSON values only; the content of provenance.json"""


def provenance(store: Store, contents: Contents) -> Origin:
    """Return the origin of all finished trials, equal values grouped and counted over trials."""
    runs = list({run.trial_id: run for run in contents.runs}.values())
    finished = [run for run in runs if run.status]
    return {
        "plans": [{"name": p.name, "id": p.id, "created": p.created, "text": p.text} for p in contents.plans],
        "protocol": _values(runs, lambda run: run.trial.protocol),
        "backbones": _values(runs, lambda run: f"{run.trial.backbone} {run.trial.backbone_sha256}"),
        "tasks": _values(runs, lambda run: f"{run.trial.task} version {run.trial.task_version}"),
        "methods": _values(runs, lambda run: f"{run.trial.method} version {run.trial.method_version}"),
        "precision": _values(runs, lambda run: run.trial.precision),
        "decoding": _values(runs, lambda run: run.trial.decoding.model_dump(mode="json")),
        "settings": _values(runs, lambda run: run.trial.settings.model_dump(mode="json")),
        "scorers": _scorers(finished),
        "index_lists": _index_lists(store, runs),
        "looks": _looks(store, runs),
        "machines": _machines(finished),
        "lost_attempts": read.lost_attempts(store),
    }


def _values(runs: Sequence[Run], of: Callable[[Run], Any]) -> list[dict[str, Any]]:
    """Return [{value, trials, methods}] with the methods of these trials, the most frequent value first."""
    methods: dict[str, Counter[str]] = {}
    for run in runs:
        text = json.dumps(of(run), sort_keys=True, ensure_ascii=False)
        methods.setdefault(text, Counter())[run.trial.method] += 1
    counted = {text: found.total() for text, found in methods.items()}
    return [
        {"value": _strict(json.loads(text)), "trials": counted[text], "methods": sorted(methods[text])}
        for text in sorted(counted, key=lambda text: (-counted[text], text))
    ]


def _strict(value: Any) -> Any:
    """Return `value` as standard JSON, which has no NaN and no infinity."""
    if isinstance(value, list):
        return [_strict(inner) for inner in value]
    if isinstance(value, dict):
        return {key: _strict(inner) for key, inner in value.items()}
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _scorers(runs: Iterable[Run]) -> list[dict[str, Any]]:
    found = Counter(
        (run.trial.task, run.trial.evaluate.name, score.metric, score.subset, score.signature, score.value is None)
        for run in runs
        for score in run.scores
    )
    names = ("task", "evaluated", "metric", "subset", "signature", "missing")
    return [{**dict(zip(names, key, strict=True)), "trials": found[key]} for key in sorted(found)]


def _index_lists(store: Store, runs: Iterable[Run]) -> list[dict[str, Any]]:
    kept = read.index_lists(store)
    found: Counter[tuple[str, str, str, str]] = Counter()
    sizes: dict[tuple[str, str, str, str], Subset] = {}
    for run in runs:
        # a search trial is evaluated on its validation list: one trial, not two
        used: dict[tuple[str, str, str, str], Subset] = {
            (run.trial.task, subset.split, subset.name, subset.sha256): subset
            for subset in (run.trial.train, run.trial.validation, run.trial.evaluate)
        }
        found.update(used.keys())
        sizes |= used
    return [
        {
            "task": task,
            "split": split,
            "name": name,
            "sha256": sha256,
            "size": sizes[task, split, name, sha256].size,
            "unit": sizes[task, split, name, sha256].unit,
            "trials": found[task, split, name, sha256],
            "list_in_store": sha256 in kept,
        }
        for task, split, name, sha256 in sorted(found)
    ]


def _looks(store: Store, runs: Iterable[Run]) -> list[dict[str, Any]]:
    """Return how often each evaluated split was decoded or re-scored."""
    tasks = {run.trial_id: run.trial.task for run in runs}
    times: Counter[tuple[str, str, str]] = Counter()
    trials: dict[tuple[str, str, str], set[str]] = {}
    for look in read.looks(store):
        key = (tasks.get(look["trial"], "?"), look["split"], look["reason"])
        times[key] += 1
        trials.setdefault(key, set()).add(look["trial"])
    return [
        {"task": task, "split": split, "reason": reason, "looks": times[key], "trials": len(trials[key])}
        for key in sorted(times)
        for task, split, reason in [key]
    ]


def _machines(runs: Sequence[Run]) -> dict[str, list[dict[str, Any]]]:
    """Return {dotted key of the trials' provenance: its values}; a trial without any is counted as "not recorded"."""
    flat_of = {run.trial_id: dict(flat(run.provenance)) or {"provenance": "not recorded"} for run in runs}
    keys = sorted({key for one in flat_of.values() for key in one})

    def of(key: str) -> Callable[[Run], Any]:
        return lambda run: flat_of[run.trial_id].get(key, "not recorded")

    return {key: _values(runs, of(key)) for key in keys}


def flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the entries of a trial's provenance with dotted keys."""
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            yield from flat(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", inner
