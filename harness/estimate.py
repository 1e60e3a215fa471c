"""What a plan will take: from trials that the store holds, or from a short probe of each method on this machine."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from featherbench.harness import data, tables
from featherbench.harness.plan import CellPlan, Plan
from featherbench.harness.records import Cost, Trial
from featherbench.harness.store import Store
from featherbench.tasks import TASKS

PROBE_STEPS, PROBE_PAIRS, PROBE_ITEMS = 3, 8, 4
BYTES_AN_OUTPUT = 400
"""Of the store, for a prediction with its part of scores and curves"""

Kind = tuple[str, str, str]
"""Backbone, task, method"""


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What the parts of a trial take, in seconds."""

    step: float
    """One optimiser step"""
    item: float
    """Decoding one item"""
    rest: float
    """Everything else: loading, validation losses, scoring"""
    source: str
    """Where the figures come from"""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What is left of a plan."""

    trials: int
    worker_hours: float
    """Of the device that the figures come from"""
    wall_hours: float
    disk_bytes: int
    """Deltas and store; checkpoints come and go"""
    sources: dict[str, str]
    """Backbone/task/method -> where its figures come from"""
    unknown: list[str]
    """Backbone/task/method without figures; their trials are counted, their time is not"""

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)


def estimate(plan: Plan, finished: Mapping[str, int], rates: Mapping[Kind, Rates], workers: int) -> Estimate:
    """Estimate what is left of a plan, if each trial takes all the steps that it may.

    finished: cell id -> trials that need not run any more.
    """
    trials, seconds, disk = 0, 0.0, 0
    sources: dict[str, str] = {}
    unknown: dict[str, None] = {}
    for cell in plan.cells:
        left = max(0, cell.num_search + cell.num_final - finished.get(cell.cell.id, 0))
        outputs = len(data.items(cell.base.task, cell.base.evaluate))
        trials += left
        disk += left * outputs * BYTES_AN_OUTPUT + min(left, cell.num_final) * 4 * cell.counts.stored
        name = "/".join(kind_of(cell.base))
        if (known := rates.get(kind_of(cell.base))) is None:
            unknown[name] = None
            continue
        sources[name] = known.source
        seconds += left * (known.rest + cell.base.steps * known.step + outputs * known.item)
    return Estimate(
        trials=trials,
        worker_hours=seconds / 3600,
        wall_hours=seconds / 3600 / workers,
        disk_bytes=disk,
        sources=sources,
        unknown=list(unknown),
    )


def kind_of(trial: Trial) -> Kind:
    """Return what trials that take about the same have in common."""
    return trial.backbone, trial.task, trial.method


def from_history(store: Store) -> dict[Kind, Rates]:
    """Return what the store's finished trials took, median by kind."""
    found: dict[Kind, list[Rates]] = {}
    columns = (tables.trials.c.spec, tables.trials.c.cost)
    for row in store.rows(sa.select(*columns).where(tables.trials.c.status == "ok").limit(2000)):
        if row["cost"]:
            trial, cost = Trial.model_validate(row["spec"]), Cost.model_validate(row["cost"])
            if trial.task not in TASKS:  # the plan's files were other ones then
                continue
            outputs = len(data.items(trial.task, trial.evaluate))
            found.setdefault(kind_of(trial), []).append(_rates(cost, outputs, "history"))
    return {kind: _median(several) for kind, several in found.items()}


def _median(several: Sequence[Rates]) -> Rates:
    step, item, rest = (statistics.median(getattr(r, name) for r in several) for name in ("step", "item", "rest"))
    return Rates(step=step, item=item, rest=rest, source=f"{len(several)} finished trials")


def _rates(cost: Cost, outputs: int, source: str) -> Rates:
    return Rates(
        step=cost.train_seconds / cost.steps if cost.steps else 0.0,
        item=cost.decode_seconds / outputs,
        rest=max(0.0, cost.seconds - cost.train_seconds - cost.decode_seconds),
        source=source,
    )


def probe(cell: CellPlan) -> Rates:
    """Run a very short trial of a cell here, and return what its parts took."""
    from featherbench.harness.worker import Engine, run_trial  # loads torch's engine only where it is asked for

    base = cell.base
    task, size = base.task, min(PROBE_PAIRS, base.train.size or PROBE_PAIRS)
    short = base.model_copy(
        update={
            "steps": PROBE_STEPS if base.steps else 0,
            "train": data.subset(task, "train", size, base.train.draw or "final0", base.train.unit),
            "validation": data.subset(task, "validation", 1, base.validation.draw or "final0", base.validation.unit),
            "evaluate": data.subset(task, "test", PROBE_ITEMS),
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        result = run_trial(short, Engine(artifacts=folder, scratch=folder), with_scores=False)
    if result.cost is None:
        raise RuntimeError(f"the probe of {cell.cell.label} failed: {(result.cause or '').splitlines()[0]}")
    rates = _rates(result.cost, PROBE_ITEMS, "a probe")
    pairs = len(data.checked_indices(task, base.validation)) * (base.settings.evaluations + 1)
    forward = rates.step / base.settings.batch_size / 3  # a loss without its gradient takes about a third of a step
    return Rates(step=rates.step, item=rates.item, rest=rates.rest + pairs * forward, source=rates.source)
