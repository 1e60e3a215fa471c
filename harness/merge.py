"""Joins two results databases: what was run apart can be reported, and gone on with, together. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from featherbench.harness import tables
from featherbench.harness.deltas import delta_bytes, keep_delta
from featherbench.harness.records import Cell
from featherbench.harness.store import Store, StoreError, add_rows


@dataclass(kw_only=True)
class Merged:
    """What a merge did."""

    added: list[str]
    """Trials whose result was not there before"""
    both: int
    """Finished in both stores; the first one's result stays"""
    differ: list[str]
    """Those of them with other scores: the same trial on other hardware, or with other versions"""


def merge(into: Store, source: Store) -> Merged:
    """Add all that `source` holds to `into`, in one transaction.

    Raises: StoreError if a cell was searched in both with another outcome, or they hold other data under one name.
    """
    with into.transaction() as db:
        for table in (tables.plans, tables.cells, tables.plan_cells, tables.index_lists):
            add_rows(db, table, source.rows(sa.select(table)))
        _add_items(into, source)
        for table, what in ((tables.proposals, "configurations"), (tables.choices, "choice")):
            _refuse_other(into, source, table, what)
            add_rows(db, table, source.rows(sa.select(table)))
        _add_claims(db, into, source)
        found = _add_trials(db, into, source)
        add_rows(db, tables.places, source.rows(sa.select(tables.places)))
    return found


def _add_items(into: Store, source: Store) -> None:
    named: dict[tuple[str, int, str], list[dict[str, Any]]] = {}
    for row in source.rows(sa.select(tables.items)):
        named.setdefault((row["task"], row["task_version"], row["split"]), []).append(row)
    for (task, version, split), rows in named.items():
        into.add_items(task, version, split, rows)


def _add_claims(db: sa.Connection, into: Store, source: Store) -> None:
    """Looks at claims are all kept, each once: whoever looked more often may claim less."""

    def of(kept: Store) -> list[dict[str, Any]]:
        return [{k: v for k, v in row.items() if k != "id"} for row in kept.rows(sa.select(tables.claims))]

    there = of(into)
    if new := [row for row in of(source) if row not in there]:
        db.execute(tables.claims.insert(), new)


def _refuse_other(into: Store, source: Store, table: sa.Table, what: str) -> None:
    """Raise StoreError where both hold another configuration: the trials of one search must not mix with another's."""
    keys = [c.name for c in table.primary_key]
    ours = {tuple(row[k] for k in keys): row["config"] for row in into.rows(sa.select(table))}
    for row in source.rows(sa.select(table)):
        if ours.get(tuple(row[k] for k in keys), row["config"]) != row["config"]:
            spec = into.rows(sa.select(tables.cells.c.spec).where(tables.cells.c.id == row["cell"]))[0]["spec"]
            raise StoreError(
                f"both stores searched {Cell.model_validate(spec).label} (cell {row['cell']}), with another {what}: one "
                "cell has one search. Report on them apart, or run one of them again with another search.study."
            )


def _add_trials(db: sa.Connection, into: Store, source: Store) -> Merged:
    ours = {row["id"]: row["status"] for row in into.rows(sa.select(tables.trials.c.id, tables.trials.c.status))}
    theirs = source.rows(sa.select(tables.trials))
    add_rows(db, tables.trials, [row for row in theirs if row["id"] not in ours])
    mended = [row for row in theirs if row["id"] in ours and ours[row["id"]] is None and row["status"] is not None]
    for row in mended:
        db.execute(tables.trials.update().where(tables.trials.c.id == row["id"]).values(**row))
    both = [row["id"] for row in theirs if row["status"] is not None and ours.get(row["id"]) is not None]
    taken = {row["id"] for row in theirs if row["id"] not in ours} | {row["id"] for row in mended}
    _add_attempts(db, source, taken)
    for table in (tables.curves, tables.predictions, tables.scores, tables.item_statistics, tables.logs):
        add_rows(db, table, _of(source, table, taken))
    looks = [{k: v for k, v in row.items() if k != "id"} for row in _of(source, tables.looks, taken)]
    if looks:
        db.execute(tables.looks.insert(), looks)
    finished = {row["id"] for row in theirs if row["status"] is not None}
    return Merged(added=sorted(taken & finished), both=len(both), differ=_differ(into, source, both))


def _add_attempts(db: sa.Connection, source: Store, taken: set[str]) -> None:
    """Attempts keep their order, after those that are there already; nobody is at them here."""
    last = dict(
        db.execute(
            sa.select(tables.attempts.c.trial, sa.func.max(tables.attempts.c.number)).group_by(tables.attempts.c.trial)
        )
        .tuples()
        .all()
    )
    rows = _of(source, tables.attempts, taken)
    moved = [{**row, "number": row["number"] + last.get(row["trial"], 0), "driver": None} for row in rows]
    add_rows(db, tables.attempts, moved)


def _of(source: Store, table: sa.Table, trials: set[str]) -> list[dict[str, Any]]:
    return [row for row in source.rows(sa.select(table)) if row["trial"] in trials]


def _differ(into: Store, source: Store, trials: Sequence[str]) -> list[str]:
    """Return the trials with other scores in the two stores."""

    def of(kept: Store) -> dict[str, dict[tuple[str, str], float | None]]:
        found: dict[str, dict[tuple[str, str], float | None]] = {}
        for row in kept.rows(sa.select(tables.scores)):
            found.setdefault(row["trial"], {})[row["metric"], row["subset"]] = row["value"]
        return found

    ours, theirs = of(into), of(source)
    return sorted(trial for trial in trials if ours.get(trial) != theirs.get(trial))


def copy_deltas(kept: Store, source: Path, target: Path, trials: Sequence[str]) -> int:
    """Copy what the trials left behind from one run folder to another; return how many files there were."""
    copied = 0
    columns = (tables.trials.c.id, tables.trials.c.delta, tables.trials.c.delta_sha256)
    for row in kept.rows(sa.select(*columns)):
        if row["id"] in trials and row["delta"] and (source / row["delta"]).is_file():
            keep_delta(str(target), row["id"], delta_bytes(str(source), row["delta"], row["delta_sha256"]))
            copied += 1
    return copied
