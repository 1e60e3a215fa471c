"""Store -> where every number comes from: plans, versions, scorers, machines, data and looks at the test split."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
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
        "protocol": _values(run.trial.protocol for run in runs),
        "backbones": _values(f"{run.trial.backbone} {run.trial.backbone_sha256}" for run in runs),
        "tasks": _values(f"{run.trial.task} version {run.trial.task_version}" for run in runs),
        "methods": _values(f"{run.trial.method} version {run.trial.method_version}" for run in runs),
        "precision": _values(run.trial.precision for run in runs),
        "decoding": _values(run.trial.decoding.model_dump(mode="json") for run in runs),
        "settings": _values(run.trial.settings.model_dump(mode="json") for run in runs),
        "scorers": _scorers(finished),
        "index_lists": _index_lists(store, runs),
        "looks": _looks(store, runs),
        "machines": _machines(finished),
        "lost_attempts": read.lost_attempts(store),
    }


def _values(values: Iterable[Any]) -> list[dict[str, Any]]:
    """Return [{value, trials}], the most frequent first."""
    counted = Counter(json.dumps(value, sort_keys=True, ensure_ascii=False) for value in values)
    ordered = sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))
    return [{"value": _strict(json.loads(text)), "trials": number} for text, number in ordered]


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


def _machines(runs: Iterable[Run]) -> dict[str, list[dict[str, Any]]]:
    """Return {dotted key of the trials' provenance: its values}; a trial without any is counted as "not recorded"."""
    flat = [dict(_flat(run.provenance)) or {"provenance": "not recorded"} for run in runs]
    keys = sorted({key for one in flat for key in one})
    return {key: _values(one.get(key, "not recorded") for one in flat) for key in keys}


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _flat(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", inner
