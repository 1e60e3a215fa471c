"""Runs of the final phase -> boards of summaries: one board per comparable set of cells, one summary per cell."""

from __future__ import annotations

import json
import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from featherbench.harness.records import Cell, Cost
from featherbench.harness.store import Store
from featherbench.reports.boards import ALL, SEEN, UNSEEN, Board, Counts, Key, Quantity, Summary
from featherbench.reports.cautions import cautions
from featherbench.reports.interval import Estimate, estimate
from featherbench.reports.items import Items
from featherbench.reports.measured import GAP, MIXED, measured, mixed, unit_of, unit_value
from featherbench.reports.ranking import Ranking, ranking
from featherbench.reports.read import Contents, Run
from featherbench.reports.statistics import LEAST_UNITS


def boards(contents: Contents, store: Store | None = None) -> list[Board]:
    """Return the boards in the order of their first cells; rows are in the order of the plans.

    Without the store there are no item statistics, so intervals speak of this test set only.
    """
    grouped: dict[Key, dict[str, list[Run]]] = {}
    for run in contents.runs:
        if run.phase == "final":
            grouped.setdefault(_key(run), {}).setdefault(run.cell.id, []).append(run)
    return [_board(key, list(cells.values()), store) for key, cells in grouped.items()]


def without_final(contents: Contents) -> list[Cell]:
    """Return the cells that have no place in the final phase."""
    final = {run.cell.id for run in contents.runs if run.phase == "final"}
    return [cell for cell in contents.cells if cell.id not in final]


def _key(run: Run) -> Key:
    trial = run.trial
    return Key(
        backbone=trial.backbone,
        backbone_sha256=trial.backbone_sha256,
        task=trial.task,
        task_version=trial.task_version,
        evaluated=trial.evaluate.name,
        evaluated_sha256=trial.evaluate.sha256,
        size=run.cell.size,
        size_unit=run.cell.size_unit,
        protocol=trial.protocol,
    )


def _board(key: Key, cells: Sequence[Sequence[Run]], store: Store | None) -> Board:
    metrics = ordered_metrics(run for runs in cells for run in runs)
    subsets = _subsets(run for runs in cells for run in runs)
    items = Items(store, (run for runs in cells for run in runs)) if store else None
    rows = _distinct_labels([summarise(runs, metrics, subsets, items) for runs in cells])
    return Board(
        key=key,
        metrics=metrics,
        subsets=subsets,
        rows=tuple(_ranked(rows, metrics[0], items) if metrics else rows),
        cautions=tuple(cautions(rows, metrics[0] if metrics else None)),
        items=items,
    )


def ordered_metrics(runs: Iterable[Run]) -> tuple[str, ...]:
    """Return the metrics in stored order; first the one that stands first in most trials."""
    firsts: Counter[str] = Counter()
    found: dict[str, None] = {}
    for run in runs:
        if run.scores:
            firsts[run.scores[0].metric] += 1
            found.update(dict.fromkeys(score.metric for score in run.scores))
    return tuple(sorted(found, key=lambda metric: -firsts[metric]))


def _subsets(runs: Iterable[Run]) -> tuple[str, ...]:
    found = {score.subset for run in runs for score in run.scores}
    return tuple(sorted(found, key=lambda subset: (subset != ALL, subset)))


def _distinct_labels(rows: Sequence[Summary]) -> list[Summary]:
    """Add the cell's id to labels that occur twice on a board."""
    times = Counter(row.label for row in rows)
    return [replace(r, label=f"{r.label} ({r.cell.id})") if times[r.label] > 1 else r for r in rows]


def summarise(
    runs: Sequence[Run], metrics: Sequence[str], subsets: Sequence[str], items: Items | None = None
) -> Summary:
    """Return the row of one cell from all its final runs."""
    counted = [run for run in runs if run.counts]
    unit = unit_of(counted)
    scores = {(m, s): score_estimate(counted, unit, m, s, items) for m in metrics for s in subsets}
    deterministic = not runs[0].trial.steps and _all_equal(counted)
    if deterministic:
        scores = {key: _without_interval(value) for key, value in scores.items()}
    gaps = {m: score_estimate(counted, unit, m, GAP, items) for m in metrics}
    if deterministic:
        gaps = {key: _without_interval(value) for key, value in gaps.items()}
    summary = Summary(
        cell=runs[0].cell,
        label=runs[0].cell.row,
        runs=tuple(runs),
        unit=unit,
        deterministic=deterministic,
        counts=count(runs),
        scores=scores,
        gaps=gaps,
        costs=costs(counted),
        notes=(),
    )
    return replace(summary, notes=tuple(_notes(summary)))


def count(runs: Sequence[Run]) -> Counts:
    """Return what became of the places; `places` equals counted + failed + unfinished + repeated."""
    fresh = [run for run in runs if run.repeats is None]
    return Counts(
        places=len(runs),
        counted=sum(run.counts for run in runs),
        diverged=sum(run.status == "diverged" for run in fresh),
        failed=sum(run.status == "failed" for run in fresh),
        unfinished=sum(run.status is None for run in fresh),
        repeated=len(runs) - len(fresh),
    )


# --- scores ---------------------------------------------------------------------------------------------------------


def score_estimate(runs: Sequence[Run], unit: str, metric: str, subset: str, items: Items | None = None) -> Estimate:
    """Return the mean score of `runs`; missing values and mixed scorers are said in the note.

    GAP stands for unseen minus seen, within each trial that has both.
    """
    parts = (SEEN, UNSEEN) if subset == GAP else (subset,)
    if any(mixed(run.score(metric, part) for run in runs) for part in parts):
        return Estimate(units=0, mean=None, half_width=None, note=MIXED)
    found = measured(runs, unit, metric, subset, items)
    result = estimate(found.values.tolist(), unit, found.psi)
    if subset == GAP:
        return result
    stored = [run.score(metric, subset) for run in runs]
    lacking = [score for score in stored if score is None or score.value is None]
    if not runs:
        return replace(result, note="no trial with scores")
    if lacking:
        reasons = sorted({score.signature if score else "no such score is stored" for score in lacking})
        share = f"{len(lacking)} of {len(runs)} trials without value: " if len(lacking) < len(runs) else ""
        missing = share + "; ".join(reasons)
        return replace(result, note="; ".join(part for part in (result.note, missing) if part and part != "no value"))
    return result


def _all_equal(runs: Sequence[Run]) -> bool:
    return len({tuple((s.metric, s.subset, s.value) for s in run.scores) for run in runs}) <= 1


def _without_interval(value: Estimate) -> Estimate:
    note = "deterministic" if value.mean is not None else value.note
    return replace(value, half_width=None, test_set=None, note=note)


# --- ranks ------------------------------------------------------------------------------------------------------------


def _ranked(rows: Sequence[Summary], metric: str, items: Items | None) -> list[Summary]:
    """Add rank intervals by the primary score over all items to the rows that may be compared."""
    found = ranking([_candidate(row, metric) for row in rows], metric, items)
    return [replace(row, rank=one.rank, unranked=one.reason) for row, one in zip(rows, found, strict=True)]


def _candidate(row: Summary, metric: str) -> Ranking:
    """Return what a ranking must know of a row."""
    reason = ""
    if row.deterministic:
        reason = "nothing is tuned"
    elif row.is_default:
        reason = "a default beside searched rows"
    elif row.scores[metric, ALL].mean is None:
        reason = row.scores[metric, ALL].note or "no score"
    elif row.counts.failed or row.counts.unfinished:
        reason = f"{row.counts.failed + row.counts.unfinished} of {row.counts.places} places without a result"
    elif row.scores[metric, ALL].units < LEAST_UNITS:
        reason = f"too few {row.unit}s"
    return Ranking(runs=row.counted, unit=row.unit, fixed=row.treatment, reason=reason)


# --- costs ----------------------------------------------------------------------------------------------------------

COSTS: dict[str, Callable[[Cost], float]] = {
    "trained_parameters": lambda c: c.trained_parameters,
    "stored_parameters": lambda c: c.stored_parameters,
    "total_parameters": lambda c: c.total_parameters,
    "stored_bytes": lambda c: c.stored_bytes,
    "stored_percent": lambda c: 100 * c.stored_parameters / c.total_parameters if c.total_parameters else math.nan,
    "steps": lambda c: c.steps,
    "train_tokens": lambda c: c.train_tokens,
    "train_seconds": lambda c: c.train_seconds,
    "decode_seconds": lambda c: c.decode_seconds,
    "seconds": lambda c: c.seconds,
    "tokens_per_second": lambda c: c.tokens_per_second,
    "train_flops": lambda c: c.train_flops,
    "decode_flops": lambda c: c.decode_flops,
    "train_peak_bytes": lambda c: c.train_peak_bytes,
    "decode_peak_bytes": lambda c: c.decode_peak_bytes,
}


def costs(runs: Sequence[Run]) -> dict[str, Quantity]:
    """Return the mean of every cost over the runs that have one."""
    measured = [run.cost for run in runs if run.cost is not None]
    return {name: _mean_cost(name, measured, len(runs)) for name in COSTS}


def _mean_cost(name: str, measured: Sequence[Cost], runs: int) -> Quantity:
    if not measured:
        return Quantity(value=None, note="no cost stored")
    values = [cost_value(name, cost) for cost in measured]
    kept = [v.value for v in values if v.value is not None]
    if not kept:
        return Quantity(value=None, note=values[0].note)
    note = f"mean of {len(kept)} of {runs} trials" if len(kept) < runs else ""
    return Quantity(value=statistics.fmean(kept), note=note)


def cost_value(name: str, cost: Cost) -> Quantity:
    """Return one cost of one trial, or why it has no meaning."""
    if name in ("tokens_per_second", "train_peak_bytes") and cost.train_tokens == 0:
        return Quantity(value=None, note="no training")
    value = 0.0 if name == "train_seconds" and cost.train_tokens == 0 else COSTS[name](cost)
    if name.endswith("peak_bytes") and cost.pack > 1:
        return Quantity(value=None, note=f"trained in a pack of {cost.pack:.3g}")
    if not math.isfinite(value) or (name.endswith("peak_bytes") and value == 0):
        return Quantity(value=None, note="not measured")
    return Quantity(value=value)


# --- what a reader must know ------------------------------------------------------------------------------------------


def _notes(row: Summary) -> list[str]:
    counts, notes = row.counts, []
    units = len({unit_value(run, row.unit) for run in row.counted})
    if row.deterministic and counts.counted:
        notes.append("deterministic")
    elif units < LEAST_UNITS:
        notes.append(f"not ranked: too few {row.unit}s")
    seen = {run.provenance.get("seen_in_pretraining") for run in row.counted}
    for part in sorted(str(part) for part in seen if part):
        notes.append(f"seen in pretraining: {part}")
    if not row.runs[0].trial.steps and not row.deterministic:
        notes.append("differs between trials though nothing is tuned")
    if units < counts.counted and not row.deterministic:
        notes.append(f"{counts.counted} trials on {units} {row.unit}s: averaged within each {row.unit} first")
    if row.procedure:
        notes.append(f"procedure: each {row.unit} has a search of its own")
    if counts.failed:
        notes.append(f"{counts.failed} failed: the mean is over the others")
    if counts.unfinished:
        notes.append(f"{counts.unfinished} not finished")
    if counts.repeated:
        notes.append(f"{counts.repeated} places hold a trial that is counted once")
    configurations = {configuration(run) for run in row.counted}
    if len(configurations) > 1:
        notes.append(f"{len(configurations)} configurations")
    if len({run.cost.device for run in row.counted if run.cost}) > 1:
        notes.append("costs from different devices")
    return notes


def configuration(run: Run) -> str:
    """Return what a search chooses, exactly: equal texts are equal configurations."""
    trial = run.trial
    return json.dumps([trial.learning_rate, trial.weight_decay, trial.steps, trial.config], sort_keys=True)
