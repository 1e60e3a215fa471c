"""Store -> runs: the one file of the reports that reads the results database."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from featherbench.harness import tables
from featherbench.harness.records import Cell, Cost, ScoreValue, Trial
from featherbench.harness.store import Store
from featherbench.reports.statistics import Array
from featherbench.tasks.metrics.additive import unpack


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """How many outputs of a run are kept, reached the length limit, and are blank."""

    kept: int
    truncated: int
    empty: int


@dataclass(frozen=True, kw_only=True)
class Run:
    """One place of the design and the trial that fills it."""

    cell: Cell
    phase: str
    number: int
    trial_id: str
    trial: Trial
    status: str | None
    """None: planned or running"""
    cause: str | None
    best_step: int | None
    cost: Cost | None
    scores: tuple[ScoreValue, ...]
    """In the order in which the task stored them; its first metric is the primary one"""
    losses: tuple[tuple[int, float], ...]
    """(optimiser step, validation loss), finite ones only"""
    outputs: Outputs
    provenance: Mapping[str, Any]
    repeats: int | None = None
    """Number of the earlier place of this cell and phase that the same trial fills"""

    @property
    def counts(self) -> bool:
        """True if the run enters means: it has scores and is no second place of the same trial."""
        return self.status in ("ok", "diverged") and self.repeats is None

    @property
    def name(self) -> str:
        """E.g. "place 0, seed 17, draw final0"."""
        draw = f", draw {self.trial.train.draw}" if self.trial.train.draw else ""
        return f"place {self.number}, seed {self.trial.seed}{draw}"

    def score(self, metric: str, subset: str) -> ScoreValue | None:
        """Return a stored score, or None where there is no row for it."""
        return next((s for s in self.scores if s.metric == metric and s.subset == subset), None)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A plan as it was recorded."""

    id: str
    name: str
    text: str
    created: str
    cells: tuple[str, ...] = ()
    """Ids, in the plan's order"""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a report is made of."""

    plans: tuple[Plan, ...]
    cells: tuple[Cell, ...]
    """In the order of the plans and of the positions in them"""
    runs: tuple[Run, ...]
    """By cell, phase and number"""


def read(store: Store) -> Contents:
    """Return plans, cells and runs.

    Raises: ValueError if there is no finished trial.
    """
    cells = _cells(store)
    runs = _runs(store, cells)
    if not any(run.status for run in runs):
        raise ValueError(
            f"the store holds no finished trial ({len(runs)} planned), so there is nothing to report. "
            "Run a plan first, e.g. `featherbench run quickstart`, and give its --store URL or --out folder."
        )
    return Contents(plans=_plans(store), cells=tuple(cells.values()), runs=tuple(runs))


def _plans(store: Store) -> tuple[Plan, ...]:
    members: dict[str, list[str]] = defaultdict(list)
    for row in store.rows(sa.select(tables.plan_cells).order_by("position")):
        members[row["plan"]].append(row["cell"])
    rows = store.rows(sa.select(tables.plans).order_by("created", "id"))
    return tuple(Plan(**row, cells=tuple(members[row["id"]])) for row in rows)


def _cells(store: Store) -> dict[str, Cell]:
    """Return {id: cell}: plans by age, cells by position; cells of no plan come last."""
    places = tables.plan_cells.join(tables.plans, tables.plans.c.id == tables.plan_cells.c.plan)
    ordered = (
        sa.select(tables.plan_cells.c.cell)
        .select_from(places)
        .order_by(tables.plans.c.created, tables.plans.c.id, tables.plan_cells.c.position)
    )
    specs = {row["id"]: row["spec"] for row in store.rows(sa.select(tables.cells).order_by("id"))}
    ids = dict.fromkeys([row["cell"] for row in store.rows(ordered)] + list(specs))
    return {cell: Cell(**specs[cell]) for cell in ids}


def _runs(store: Store, cells: Mapping[str, Cell]) -> list[Run]:
    places = store.rows(sa.select(tables.places))
    trials = {row["id"]: row for row in store.rows(sa.select(tables.trials))}
    scores, losses, outputs = _scores(store), _losses(store), _outputs(store)
    rank = {cell: i for i, cell in enumerate(cells)}
    first: dict[tuple[str, str, str], int] = {}
    runs = []
    for place in sorted(places, key=lambda p: (rank[p["cell"]], p["phase"], p["number"])):
        row = trials[place["trial"]]
        earlier = first.setdefault((place["cell"], place["phase"], row["id"]), place["number"])
        runs.append(
            Run(
                cell=cells[place["cell"]],
                phase=place["phase"],
                number=place["number"],
                trial_id=row["id"],
                trial=Trial(**row["spec"]),
                status=row["status"],
                cause=row["cause"],
                best_step=row["best_step"],
                cost=Cost(**row["cost"]) if row["cost"] else None,
                scores=tuple(scores[row["id"]]),
                losses=tuple(losses[row["id"]]),
                outputs=outputs.get(row["id"], Outputs(kept=0, truncated=0, empty=0)),
                provenance=row["provenance"] or {},
                repeats=None if earlier == place["number"] else earlier,
            )
        )
    return runs


def _scores(store: Store) -> dict[str, list[ScoreValue]]:
    """Return {trial: scores the primary one first}; a value that is not finite becomes missing."""
    found: dict[str, list[ScoreValue]] = defaultdict(list)
    for row in store.rows(sa.select(tables.scores).order_by(tables.scores.c.position)):
        value, signature = row["value"], row["signature"]
        if value is not None and not math.isfinite(value):
            value, signature = None, f"the stored value is {value}; {signature}"
        found[row["trial"]].append(
            ScoreValue(metric=row["metric"], subset=row["subset"], value=value, signature=signature)
        )
    return found


def _losses(store: Store) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = defaultdict(list)
    kept = tables.curves.c
    every = kept.trial.in_(sa.select(tables.trials.c.id))  # each trial is looked up, other curves are not read
    wanted = sa.select(kept.trial, kept.step, kept.value).where(kept.name == "validation_loss", every)
    for trial, step, value in store.tuples(wanted.order_by(kept.trial, kept.step)):
        if value is not None and math.isfinite(value):
            found[trial].append((step, value))
    return found


def _outputs(store: Store) -> dict[str, Outputs]:
    kept = tables.predictions.c
    counts = sa.select(
        kept.trial,
        sa.func.count().label("kept"),
        sa.func.sum(sa.case((kept.truncated, 1), else_=0)).label("truncated"),
        sa.func.sum(sa.case((sa.func.trim(kept.text, " \t\r\n") == "", 1), else_=0)).label("empty"),
    ).group_by(kept.trial)
    return {
        row["trial"]: Outputs(kept=row["kept"], truncated=row["truncated"], empty=row["empty"])
        for row in store.rows(counts)
    }


# --- read on demand -------------------------------------------------------------------------------------------------


def predicted_items(store: Store, trials: Iterable[str]) -> dict[str, set[int]]:
    """Return {trial: items that have an output}."""
    kept = tables.predictions.c
    found: dict[str, set[int]] = {trial: set() for trial in trials}
    for row in store.rows(sa.select(kept.trial, kept.item).where(kept.trial.in_(list(found)))):
        found[row["trial"]].add(row["item"])
    return found


def predictions(store: Store, trials: Sequence[str], items: Sequence[int]) -> dict[tuple[str, int], tuple[str, bool]]:
    """Return {(trial, item): (text, truncated)}."""
    kept = tables.predictions.c
    wanted = sa.select(tables.predictions).where(kept.trial.in_(list(trials)), kept.item.in_(list(items)))
    return {(row["trial"], row["item"]): (row["text"], bool(row["truncated"])) for row in store.rows(wanted)}


def item_tags(store: Store, trial: Trial) -> dict[int, Mapping[str, str]]:
    """Return {item: tags} of the split that `trial` is evaluated on."""
    columns = tables.items.c
    return {
        row["item"]: row["tags"] or {}
        for row in store.rows(sa.select(columns.item, columns.tags).where(*_split(trial)))
    }


def item_texts(store: Store, trial: Trial, items: Sequence[int]) -> dict[int, tuple[str, list[str]]]:
    """Return {item: (source, references)} of the split that `trial` is evaluated on."""
    wanted = sa.select(tables.items).where(*_split(trial), tables.items.c.item.in_(list(items)))
    return {row["item"]: (row["source"], list(row["references"] or [])) for row in store.rows(wanted)}


MOST_ASKED = 500
"""Trials that one query asks for"""


def item_statistics(store: Store, trials: Sequence[str]) -> dict[tuple[str, str], tuple[tuple[str, ...], Array]]:
    """Return {(trial, metric): (names, [items, names])} of what scores sum over items."""
    columns = tables.item_statistics.c
    found: dict[tuple[str, str], tuple[tuple[str, ...], Array]] = {}
    for start in range(0, len(trials), MOST_ASKED):
        wanted = sa.select(tables.item_statistics).where(columns.trial.in_(trials[start : start + MOST_ASKED]))
        for row in store.rows(wanted):
            names = tuple(row["names"])
            found[row["trial"], row["metric"]] = (names, unpack(row["packed"], len(names)))
    return found


def _split(trial: Trial) -> tuple[sa.ColumnElement[bool], ...]:
    columns = tables.items.c
    return (
        columns.task == trial.task,
        columns.task_version == trial.task_version,
        columns.split.in_([trial.evaluate.name, trial.evaluate.split]),  # items are numbered within the split in both
    )


def looks(store: Store) -> list[dict[str, Any]]:
    """Return every look at a split, oldest first: trial, split, reason, at."""
    return store.rows(sa.select(tables.looks).order_by("id"))


def claim_looks(store: Store) -> list[dict[str, Any]]:
    """Return every look at a claim, oldest first; columns as in harness/tables.py."""
    return store.rows(sa.select(tables.claims).order_by("id"))


def proposed(store: Store) -> dict[str, list[dict[str, Any]]]:
    """Return {cell id: its proposals by number}."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in store.rows(sa.select(tables.proposals).order_by("cell", "number")):
        found[row["cell"]].append(row)
    return found


def lost_attempts(store: Store) -> list[dict[str, Any]]:
    """Return the attempts that ended without a result: trial, number, started, outcome."""
    columns = tables.attempts.c
    ended = columns.outcome.is_not(None) & columns.outcome.not_in(["ok", "diverged", "failed"])
    return store.rows(sa.select(tables.attempts).where(ended).order_by("trial", "number"))


def index_lists(store: Store) -> set[str]:
    """Return the hashes of the index lists that the store keeps."""
    return {row["sha256"] for row in store.rows(sa.select(tables.index_lists.c.sha256))}
