"""The results database: the only truth on disk. Drivers write it, workers only return results. Imports no torch."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from featherbench.harness.records import Cell, Place, Result, ScoreValue, Trial

SCHEMA = 1

metadata = sa.MetaData()
_schema = sa.Table("schema", metadata, sa.Column("version", sa.Integer, primary_key=True))
plans = sa.Table(
    "plans",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("name", sa.String),
    sa.Column("text", sa.Text),
    sa.Column("created", sa.String),
)
cells = sa.Table(
    "cells",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("spec", sa.JSON),
)
plan_cells = sa.Table(
    "plan_cells",
    metadata,
    sa.Column("plan", sa.String, sa.ForeignKey("plans.id"), primary_key=True),
    sa.Column("cell", sa.String, sa.ForeignKey("cells.id"), primary_key=True),
    sa.Column("position", sa.Integer),
)
places = sa.Table(
    "places",
    metadata,
    sa.Column("cell", sa.String, sa.ForeignKey("cells.id"), primary_key=True),
    sa.Column("phase", sa.String, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("trial", sa.String, index=True),
)
trials = sa.Table(
    "trials",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("spec", sa.JSON),
    sa.Column("status", sa.String, nullable=True),  # null: planned or running
    sa.Column("cause", sa.Text, nullable=True),
    sa.Column("best_step", sa.Integer, nullable=True),
    sa.Column("cost", sa.JSON, nullable=True),
    sa.Column("delta", sa.String, nullable=True),
    sa.Column("delta_sha256", sa.String, nullable=True),
    sa.Column("provenance", sa.JSON, nullable=True),
    sa.Column("finished", sa.String, nullable=True),
)
attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("trial", sa.String, sa.ForeignKey("trials.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("started", sa.String),
    sa.Column("outcome", sa.String, nullable=True),
)
curves = sa.Table(
    "curves",
    metadata,
    sa.Column("trial", sa.String, sa.ForeignKey("trials.id"), primary_key=True),
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("step", sa.Integer, primary_key=True),
    sa.Column("value", sa.Float),
)
scores = sa.Table(
    "scores",
    metadata,
    sa.Column("trial", sa.String, sa.ForeignKey("trials.id"), primary_key=True),
    sa.Column("metric", sa.String, primary_key=True),
    sa.Column("subset", sa.String, primary_key=True),
    sa.Column("value", sa.Float, nullable=True),
    sa.Column("signature", sa.String),
    sa.Column("position", sa.Integer),  # order of the task's scores, the primary one first
)
predictions = sa.Table(
    "predictions",
    metadata,
    sa.Column("trial", sa.String, sa.ForeignKey("trials.id"), primary_key=True),
    sa.Column("item", sa.Integer, primary_key=True),
    sa.Column("text", sa.Text),
    sa.Column("truncated", sa.Boolean),
)
items = sa.Table(
    "items",
    metadata,
    sa.Column("task", sa.String, primary_key=True),
    sa.Column("task_version", sa.Integer, primary_key=True),
    sa.Column("split", sa.String, primary_key=True),
    sa.Column("item", sa.Integer, primary_key=True),
    sa.Column("source", sa.Text),
    sa.Column("references", sa.JSON),
    sa.Column("tags", sa.JSON),
)
index_lists = sa.Table(
    "index_lists",
    metadata,
    sa.Column("sha256", sa.String, primary_key=True),
    sa.Column("indices", sa.JSON),
)
proposals = sa.Table(
    "proposals",
    metadata,
    sa.Column("cell", sa.String, sa.ForeignKey("cells.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("config", sa.JSON),
    sa.Column("sampler", sa.String),
)
choices = sa.Table(
    "choices",
    metadata,
    sa.Column("cell", sa.String, sa.ForeignKey("cells.id"), primary_key=True),
    sa.Column("config", sa.JSON),
)
looks = sa.Table(
    "looks",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("trial", sa.String),
    sa.Column("split", sa.String),
    sa.Column("reason", sa.String),  # "final" or "re-score"
    sa.Column("at", sa.String),
)


class StoreError(ValueError):
    """The store cannot be opened or does not fit this version."""


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


class Store:
    """Results keyed by trial id. Every write is one transaction; what is announced as stored is on disk. One thread."""

    def __init__(self, url: str, *, create: bool = True) -> None:
        self.url = url
        self._open: sa.Connection | None = None
        path = sqlite_path(url)
        self.shown_url = sa.make_url(url).render_as_string(hide_password=True)
        """For people and logs: without the password"""
        if path is not None:
            if not create and not path.exists():
                raise StoreError(f"there is no store at {path}. Give --store URL or the --out folder of a run.")
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(f"cannot create the store's folder {path.parent}: {error.strerror}.") from error
        try:
            self._engine = sa.create_engine(url)
        except (sa.exc.NoSuchModuleError, ImportError) as error:
            raise StoreError(
                f"{self.shown_url}: {error}. Install the database's driver, or use sqlite:///FILE."
            ) from error
        if path is not None:
            event.listen(self._engine, "connect", _configure_sqlite)
        try:
            found = self._found_schema()
            if found not in (None, SCHEMA):
                raise StoreError(
                    f"the store has schema {found}, this featherbench reads schema {SCHEMA}; use the matching version."
                )
            if found is None and not create:
                raise StoreError(f"{self.shown_url} holds no featherbench results; give the --out folder of a run.")
            with self._engine.begin() as db:
                if found is None:
                    metadata.create_all(db)
                    _add(db, _schema, [{"version": SCHEMA}])
                if create:  # asks for a write lock, so that an unwritable store is found before any training
                    db.execute(sa.update(_schema).values(version=_schema.c.version))
        except sa.exc.DBAPIError as error:
            raise StoreError(
                f"the store {self.shown_url} cannot be opened for writing: {error.orig}. "
                "Give --store or --out a place on a local disk that you may write to."
            ) from error

    def _found_schema(self) -> int | None:
        """Return the store's schema version, or None for a database without our tables."""
        with self._engine.connect() as db:
            if not sa.inspect(db).has_table(_schema.name):
                return None
            return db.scalar(sa.select(_schema.c.version))

    # --- what drivers write ---------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """Everything written inside is one transaction: all or nothing, one wait for the disk. They may be nested."""
        if self._open is not None:
            yield self._open
            return
        with self._engine.begin() as db:
            self._open = db
            try:
                yield db
            finally:
                self._open = None

    def add_plan(self, plan_id: str, name: str, text: str, plan_cells_in_order: Sequence[Cell]) -> None:
        """Record a plan and its cells."""
        with self.transaction() as db:
            _add(db, plans, [{"id": plan_id, "name": name, "text": text, "created": _now()}])
            _add(db, cells, [{"id": c.id, "spec": c.model_dump(mode="json")} for c in plan_cells_in_order])
            _add(
                db,
                plan_cells,
                [{"plan": plan_id, "cell": c.id, "position": i} for i, c in enumerate(plan_cells_in_order)],
            )

    def add_place(self, place: Place, trial: Trial) -> None:
        """Record that `trial` fills `place`."""
        with self.transaction() as db:
            _add(db, trials, [{"id": trial.id, "spec": trial.model_dump(mode="json")}])
            _add(db, places, [{**place.model_dump(), "trial": trial.id}])

    def add_items(self, task: str, version: int, split: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Record evaluated items: dicts with item, source, references, tags.

        Raises: StoreError if the store holds other items under these names: scores would be compared across data.
        """
        fixed = {"task": task, "task_version": version, "split": split}
        given = {row["item"]: row for row in rows}
        with self.transaction() as db:
            _add(db, items, [{**fixed, **row} for row in given.values()])
            columns = (items.c.item, items.c.source, items.c.references)
            where = [items.c[name] == value for name, value in fixed.items()]
            for item, source, references in db.execute(sa.select(*columns).where(*where)):
                if item not in given or (source, references) != (given[item]["source"], given[item]["references"]):
                    raise StoreError(
                        f"the store holds other data of {task} version {version}, {split} (item {item} differs); "
                        "give another --out or --store for these data."
                    )

    def add_index_list(self, sha256: str, indices: Any) -> None:
        """Record an index list by its hash."""
        with self.transaction() as db:
            _add(db, index_lists, [{"sha256": sha256, "indices": indices}])

    def add_proposal(self, cell: str, number: int, config: Mapping[str, Any], sampler: str) -> None:
        """Record the configuration number `number` of a cell, before it runs."""
        with self.transaction() as db:
            _add(db, proposals, [{"cell": cell, "number": number, "config": dict(config), "sampler": sampler}])

    def freeze_choice(self, cell: str, config: Mapping[str, Any]) -> dict[str, Any]:
        """Record the configuration of a cell's final phase, once and for all; return the one that holds."""
        with self.transaction() as db:
            _add(db, choices, [{"cell": cell, "config": dict(config)}])
            return dict(db.scalars(sa.select(choices.c.config).where(choices.c.cell == cell)).one())

    def choice(self, cell: str) -> dict[str, Any] | None:
        """Return the frozen configuration of a cell's final phase, or None before it began."""
        found = self.rows(sa.select(choices.c.config).where(choices.c.cell == cell))
        return dict(found[0]["config"]) if found else None

    def begin_attempt(self, trial_id: str) -> int:
        """Record that a trial starts and return the attempt's number, from 1."""
        with self.transaction() as db:
            last = db.scalar(sa.select(sa.func.max(attempts.c.number)).where(attempts.c.trial == trial_id)) or 0
            db.execute(attempts.insert().values(trial=trial_id, number=last + 1, started=_now()))
        return last + 1

    def end_attempt(self, trial_id: str, number: int, outcome: str) -> None:
        """Record how an attempt ended that brought no result, e.g. "worker died"."""
        with self.transaction() as db:
            where = (attempts.c.trial == trial_id) & (attempts.c.number == number)
            db.execute(attempts.update().where(where).values(outcome=outcome))

    def record(self, result: Result, attempt: int) -> None:
        """Store a finished trial, whole or not at all. A trial that is finished already is left as it is."""
        with self.transaction() as db:
            unfinished = (trials.c.id == result.trial_id) & trials.c.status.is_(None)
            values = {
                "status": result.status,
                "cause": result.cause,
                "best_step": result.best_step,
                "cost": result.cost.model_dump() if result.cost else None,
                "delta": result.delta,
                "delta_sha256": result.delta_sha256,
                "provenance": result.provenance,
                "finished": _now(),
            }
            if db.execute(trials.update().where(unfinished).values(**values)).rowcount == 0:
                return
            where = (attempts.c.trial == result.trial_id) & (attempts.c.number == attempt)
            db.execute(attempts.update().where(where).values(outcome=result.status))
            for table, rows in ((curves, result.curve), (predictions, result.predictions)):
                _add(db, table, [{"trial": result.trial_id, **row.model_dump()} for row in rows])
            _add(db, scores, _score_rows(result.trial_id, result.scores))
            spec = db.scalars(sa.select(trials.c.spec).where(trials.c.id == result.trial_id)).one()
            if result.predictions and spec["evaluate"]["split"] == "test":
                db.execute(
                    looks.insert().values(
                        trial=result.trial_id, split=spec["evaluate"]["name"], reason="final", at=_now()
                    )
                )

    def forget_failed(self, plan_id: str) -> None:
        """Let a plan's failed trials run again; their attempts stay on record.

        Failed search trials of a cell whose final phase has begun stay as they are: its configuration is chosen.
        """
        of_plan = sa.select(plan_cells.c.cell).where(plan_cells.c.plan == plan_id)
        chosen = (places.c.phase == "search") & places.c.cell.in_(sa.select(choices.c.cell))
        again = sa.select(places.c.trial).where(places.c.cell.in_(of_plan) & ~chosen)
        with self.transaction() as db:
            where = (trials.c.status == "failed") & trials.c.id.in_(again)
            db.execute(trials.update().where(where).values(status=None, cause=None, finished=None))

    def replace_scores(self, trial_id: str, found: Sequence[ScoreValue]) -> None:
        """Store the scores of a re-scoring of kept predictions, and log the look at the split."""
        with self.transaction() as db:
            db.execute(scores.delete().where(scores.c.trial == trial_id))
            _add(db, scores, _score_rows(trial_id, found))
            spec = db.scalars(sa.select(trials.c.spec).where(trials.c.id == trial_id)).one()
            if spec["evaluate"]["split"] == "test":
                look = {"trial": trial_id, "split": spec["evaluate"]["name"], "reason": "re-score", "at": _now()}
                db.execute(looks.insert().values(**look))

    # --- what everybody reads -------------------------------------------------------------------------------------

    def rows(self, statement: sa.Select[Any]) -> list[dict[str, Any]]:
        """Return the rows of a select over this module's tables as dicts."""
        with nullcontext(self._open) if self._open is not None else self._engine.connect() as db:
            return [dict(row) for row in db.execute(statement).mappings()]

    def finished(self) -> dict[str, str]:
        """Return trial id -> status of every finished trial."""
        found = self.rows(sa.select(trials.c.id, trials.c.status).where(trials.c.status.is_not(None)))
        return {row["id"]: row["status"] for row in found}

    def trial(self, trial_id: str) -> dict[str, Any]:
        """Return the row of one trial; a unique beginning of the id suffices.

        Raises: StoreError if none or several match.
        """
        found = self.rows(sa.select(trials).where(trials.c.id.startswith(trial_id, autoescape=True)))
        if len(found) != 1:
            raise StoreError(
                f"{len(found)} trials of {self.shown_url} begin with {trial_id!r}; see `featherbench status`."
            )
        return found[0]

    def score(self, trial_id: str, metric: str) -> float | None:
        """Return a trial's score over all its items."""
        where = (scores.c.trial == trial_id) & (scores.c.metric == metric) & (scores.c.subset == "all")
        found = self.rows(sa.select(scores.c.value).where(where))
        return found[0]["value"] if found else None

    def proposed(self, cell: str) -> dict[int, dict[str, Any]]:
        """Return the stored configurations of a cell by number."""
        found = self.rows(sa.select(proposals).where(proposals.c.cell == cell))
        return {row["number"]: row["config"] for row in found}


def sqlite_path(url: str) -> Path | None:
    """Return the file of an SQLite URL, or None for another database."""
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise StoreError(f"{url!r} is no database URL; give e.g. sqlite:///runs/mine/store.sqlite") from None
    if parsed.get_backend_name() != "sqlite":
        return None
    return Path(parsed.database or "")


def _configure_sqlite(connection: Any, _: Any) -> None:
    """WAL lets readers work beside the writer; FULL makes a commit durable before it returns."""
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _score_rows(trial_id: str, found: Sequence[ScoreValue]) -> list[dict[str, Any]]:
    return [{"trial": trial_id, "position": i, **score.model_dump()} for i, score in enumerate(found)]


def _add(db: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows; one whose key is there already is left as it is."""
    if not rows:
        return
    if db.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]
    db.execute(insert(table).on_conflict_do_nothing(), list(rows))
