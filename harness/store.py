"""The results database: the only truth on disk. Drivers write it, workers only return results. Imports no torch."""

from __future__ import annotations

import datetime
import os
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import psutil
import sqlalchemy as sa
from sqlalchemy import event

from featherbench.harness.records import Cell, ItemStatistics, Phase, Place, Record, Result, ScoreValue, Trial
from featherbench.harness.tables import (
    SCHEMA,
    attempts,
    cells,
    choices,
    claims,
    curves,
    drivers,
    index_lists,
    item_statistics,
    items,
    leases,
    logs,
    looks,
    metadata,
    places,
    plan_cells,
    plans,
    predictions,
    proposals,
    schema,
    scores,
    trials,
    upgrade,
)

LEASE_SECONDS = 60.0
"""A driver that gave no sign of life for so long may be gone: others take its work over"""

WAIT_SECONDS = 30.0
"""How long a writer waits for another one"""

_NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "lustre", "gpfs", "beegfs", "fuse.sshfs"}
_NETWORK |= {"fuse.glusterfs", "fuse.ceph", "fuse.s3fs", "fuse.gcsfuse", "fuse.rclone"}
"""File systems that several machines mount: locks of SQLite do not hold there"""

_MENDS = {
    "full": "Free some space there.",
    "No space left": "Free some space there.",
    "locked": "Another process holds it: wait until it is done, or end it.",
    "readonly": "Give --store or --out a place on a local disk that you may write to.",
    "malformed": "The file is damaged; restore it from a copy, or give another --out and run again.",
}
"""Word of the database's message -> what to do"""

Failure = Literal["oom", "nan", "error"]


class StoreError(ValueError):
    """The store cannot be opened, read or written, or does not fit this version."""


class LeaseLost(StoreError):
    """This driver gave no sign of life for too long, and another one does its work now."""


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


@dataclass
class _Known:
    """What a store knows of a trial."""

    state: str = "free"
    """As `Store.states` tells it"""
    attempts: int = 0


class Store:
    """Results keyed by trial id. Every write is one transaction; what is announced as stored is on disk. One thread."""

    def __init__(self, url: str, *, create: bool = True) -> None:
        """With `create`, an empty database gets its tables and an older one is brought up to date."""
        self.url = url
        self.driver: str | None = None
        """Who writes here, once it joined"""
        self._open: sa.Connection | None = None
        path = sqlite_path(url)
        self.shown_url = sa.make_url(url).render_as_string(hide_password=True)
        """For people and logs: without the password"""
        if path is not None:
            _refuse_network(path)
            if not create and not path.exists():
                raise StoreError(f"there is no store at {path}. Give --store URL or the --out folder of a run.")
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(f"cannot create the store's folder {path.parent}: {error.strerror}.") from error
        try:
            self._engine = _engine(url)
        except (sa.exc.NoSuchModuleError, ImportError) as error:
            raise StoreError(
                f"{self.shown_url}: {error}. Install the database's driver (for PostgreSQL: pip install "
                "'featherbench[postgres]'), or use sqlite:///FILE."
            ) from error
        try:
            found = self._found_schema()
            if found is None and not create:
                raise StoreError(f"{self.shown_url} holds no featherbench results; give the --out folder of a run.")
            if found is not None and found > SCHEMA:
                raise StoreError(
                    f"the store has schema {found}, this featherbench reads schema {SCHEMA}; install a newer featherbench."
                )
            if found is not None and found < SCHEMA and not create:
                raise StoreError(
                    f"the store has schema {found}, this featherbench reads schema {SCHEMA}; bring it up to date with "
                    f"`featherbench upgrade --store {self.shown_url}`."
                )
            if create:
                self._bring_up_to_date(path, found)
        except sa.exc.DBAPIError as error:
            raise StoreError(
                f"the store {self.shown_url} cannot be opened for writing: {_reason(error)}. {_MENDS['readonly']}"
            ) from error

    def _found_schema(self) -> int | None:
        """Return the store's schema version, or None for a database without our tables."""
        with self._engine.connect() as db:
            if not sa.inspect(db).has_table(schema.name):
                return None
            return db.scalar(sa.select(schema.c.version))

    def _bring_up_to_date(self, path: Path | None, found: int | None) -> None:
        """Make the tables, or those that are missing; a copy of an older file stays beside it."""
        if path is not None and found is not None and found < SCHEMA:
            self._engine.dispose()
            shutil.copyfile(path, path.with_name(f"{path.name}.schema{found}"))
        with (
            self.transaction() as db
        ):  # asks for a write lock, so that an unwritable store is found before any training
            if not sa.inspect(db).has_table(schema.name):
                metadata.create_all(db)
                add_rows(db, schema, [{"version": SCHEMA}])
            elif (now := db.scalar(sa.select(schema.c.version))) is not None and now < SCHEMA:
                upgrade(db, now)
            else:
                db.execute(schema.update().values(version=SCHEMA))

    def close(self) -> None:
        """Leave, and close the connections."""
        self.leave()
        self._engine.dispose()

    # --- who writes -----------------------------------------------------------------------------------------------

    def join(self, lease: float = LEASE_SECONDS) -> None:
        """Become a driver: what it works on is left to it until `lease` seconds after its last sign of life."""
        if self.driver is None:
            with self.transaction() as db:
                gone = {row.id for row in db.execute(sa.select(drivers.c.id))} - self._living(db)
                db.execute(drivers.delete().where(drivers.c.id.in_(gone)))
                self.driver = uuid.uuid4().hex[:12]
                me = {"id": self.driver, **_process(os.getpid()), "lease": lease, "seen": _clock(db)}
                db.execute(drivers.insert().values(**me))

    def leave(self) -> None:
        """Give back what this driver still held."""
        if self.driver is not None:
            with self.transaction() as db:
                db.execute(leases.delete().where(leases.c.driver == self.driver))
                db.execute(drivers.delete().where(drivers.c.id == self.driver))
            self.driver = None

    def sign_of_life(self) -> bool:
        """Renew this driver's leases; False if they had run out, so that others may hold them now."""
        assert self.driver is not None, "join first"
        with self.transaction() as db:
            in_time = self.driver in self._living(db)
            db.execute(drivers.update().where(drivers.c.id == self.driver).values(seen=_clock(db)))
            return in_time

    def num_drivers(self) -> int:
        """Return how many drivers work on this store."""
        with self._reading() as db:
            return len(self._living(db))

    def running(self) -> set[str]:
        """Return the trials that living drivers are at."""
        with self._reading() as db:
            columns = (attempts.c.trial, attempts.c.driver)
            at = db.execute(sa.select(*columns).where(attempts.c.outcome.is_(None) & attempts.c.driver.is_not(None)))
            living = self._living(db)
            return {trial for trial, driver in at if driver in living}

    def take_search(self, cell: str) -> bool:
        """Take the lease of a cell's search; False while another living driver has it."""
        with self.transaction() as db:
            if self._has_other_searcher(db, cell):
                return False
            db.execute(leases.delete().where(leases.c.cell == cell))
            db.execute(leases.insert().values(cell=cell, driver=self.driver))
            return True

    def _has_other_searcher(self, db: sa.Connection, cell: str) -> bool:
        holder = db.scalar(sa.select(leases.c.driver).where(leases.c.cell == cell))
        return holder not in (None, self.driver) and holder in self._living(db)

    def _refuse_late(self, db: sa.Connection, cell: str) -> None:
        """Refuse to write for a search that another driver took over."""
        holder = db.scalar(sa.select(leases.c.driver).where(leases.c.cell == cell))
        if holder not in (None, self.driver):
            raise LeaseLost(f"another driver searches cell {cell} now.")

    def _living(self, db: sa.Connection) -> set[str]:
        """Return the drivers that gave a sign of life within their lease; one whose process is gone here has none."""
        now = _clock(db)
        return {row.id for row in db.execute(sa.select(drivers)) if row.seen + row.lease >= now and not _is_gone(row)}

    # --- what drivers write ---------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """Everything written inside is one transaction: all or nothing, one wait for the disk. They may be nested.

        One writer at a time on every database, so what is read inside holds until the end.
        """
        if self._open is not None:
            yield self._open
            return
        with self._readable(), self._engine.connect().execution_options(writes=True) as db, db.begin():
            if db.dialect.name == "postgresql":
                # a writer that was stopped in the middle must not keep the others waiting for ever
                db.execute(sa.text(f"SET LOCAL idle_in_transaction_session_timeout = '{LEASE_SECONDS:.0f}s'"))
                db.execute(sa.select(sa.func.pg_advisory_xact_lock(_WRITERS)))
            self._open = db
            try:
                yield db
            finally:
                self._open = None

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Say in one line what the database has to complain about."""
        try:
            yield
        except (sa.exc.OperationalError, sa.exc.InternalError, sa.exc.DatabaseError) as error:
            if isinstance(error, sa.exc.IntegrityError | sa.exc.ProgrammingError | sa.exc.DataError):
                raise  # a mistake of ours
            reason = _reason(error)
            mend = next((mend for word, mend in _MENDS.items() if word in reason), "Mend that first.")
            raise StoreError(
                f"the store {self.shown_url}: {reason}. {mend} Nothing finished is lost; the same command goes on from here."
            ) from error

    def add_plan(self, plan_id: str, name: str, text: str, plan_cells_in_order: Sequence[Cell]) -> None:
        """Record a plan and its cells."""
        with self.transaction() as db:
            add_rows(db, plans, [{"id": plan_id, "name": name, "text": text, "created": _now()}])
            add_rows(db, cells, [{"id": c.id, "spec": c.content} for c in plan_cells_in_order])
            add_rows(
                db,
                plan_cells,
                [{"plan": plan_id, "cell": c.id, "position": i} for i, c in enumerate(plan_cells_in_order)],
            )

    def add_places(self, filled: Sequence[tuple[Place, Trial]]) -> None:
        """Record which trials fill which places."""
        with self.transaction() as db:
            add_rows(db, trials, [{"id": trial.id, "spec": trial.content} for _, trial in filled])
            add_rows(db, places, [{**vars(place), "trial": trial.id} for place, trial in filled])

    def add_items(self, task: str, version: int, split: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Record evaluated items: dicts with item, source, references, tags.

        Raises: StoreError if the store holds other items under these names: scores would be compared across data.
        """
        fixed = {"task": task, "task_version": version, "split": split}
        given = {row["item"]: row for row in rows}
        with self.transaction() as db:
            add_rows(db, items, [{**fixed, **row} for row in given.values()])
            columns = (items.c.item, items.c.source, items.c.references)
            where = [items.c[name] == value for name, value in fixed.items()]
            for item, source, references in db.execute(sa.select(*columns).where(*where)):
                if item not in given or (source, references) != (given[item]["source"], given[item]["references"]):
                    raise StoreError(
                        f"the store holds other data of {task} version {version}, {split} (item {item} differs); "
                        "give another --out or --store for these data."
                    )

    def add_index_lists(self, lists: Mapping[str, Any]) -> None:
        """Record index lists by their hashes."""
        with self.transaction() as db:
            add_rows(db, index_lists, [{"sha256": sha256, "indices": found} for sha256, found in lists.items()])

    def add_proposal(self, cell: str, number: int, config: Mapping[str, Any], sampler: str) -> None:
        """Record the configuration number `number` of a cell, before it runs.

        Raises: LeaseLost
        """
        with self.transaction() as db:
            self._refuse_late(db, cell)
            add_rows(db, proposals, [{"cell": cell, "number": number, "config": dict(config), "sampler": sampler}])

    def freeze_choice(self, cell: str, config: Mapping[str, Any]) -> dict[str, Any]:
        """Record the configuration of a cell's final phase, once and for all; return the one that holds.

        Raises: LeaseLost
        """
        with self.transaction() as db:
            self._refuse_late(db, cell)
            add_rows(db, choices, [{"cell": cell, "config": dict(config)}])
            return dict(db.scalars(sa.select(choices.c.config).where(choices.c.cell == cell)).one())

    def choice(self, cell: str) -> dict[str, Any] | None:
        """Return the frozen configuration of a cell's final phase, or None before it began."""
        found = self.rows(sa.select(choices.c.config).where(choices.c.cell == cell))
        return dict(found[0]["config"]) if found else None

    def begin_attempts(self, trial_ids: Sequence[str]) -> dict[str, int]:
        """Record that trials start and return trial -> the attempt's number, from 1.

        Left out are trials that are finished, and those that another living driver is at.
        """
        with self.transaction() as db:
            known = self._known(db, trial_ids)
            begun = {trial: one.attempts + 1 for trial, one in known.items() if one.state == "free"}
            alike = {"started": _now(), "driver": self.driver}
            if begun:
                db.execute(attempts.insert(), [{"trial": t, "number": n, **alike} for t, n in begun.items()])
        return begun

    def states(self, trial_ids: Sequence[str]) -> dict[str, str]:
        """Return for each trial its status if it is finished, "elsewhere" if another driver is at it, else "free"."""
        with self._reading() as db:
            return {trial: one.state for trial, one in self._known(db, trial_ids).items()}

    def _known(self, db: sa.Connection, trial_ids: Sequence[str]) -> dict[str, _Known]:
        """Return of each trial its state as in `states`, and how many attempts there were."""
        found = {trial: _Known() for trial in trial_ids}
        columns = (trials.c.id, trials.c.status, attempts.c.number, attempts.c.outcome, attempts.c.driver)
        with_attempts = trials.outerjoin(attempts, attempts.c.trial == trials.c.id)
        statement = sa.select(*columns).select_from(with_attempts).where(trials.c.id.in_(trial_ids))
        others: set[str] | None = None
        for trial, status, number, outcome, driver in db.execute(statement):
            one = found[trial]
            one.attempts = max(one.attempts, number or 0)
            if status is not None:
                one.state = status
            elif outcome is None and driver not in (None, self.driver):
                others = self._living(db) if others is None else others
                one.state = "elsewhere" if driver in others else one.state
        return found

    def end_attempt(self, trial_id: str, number: int, outcome: str) -> None:
        """Record how an attempt ended that brought no result, e.g. "worker died"."""
        with self.transaction() as db:
            where = (attempts.c.trial == trial_id) & (attempts.c.number == number) & attempts.c.outcome.is_(None)
            db.execute(attempts.update().where(where).values(outcome=outcome))

    def record(self, ended: Sequence[tuple[Result, int]]) -> list[Result]:
        """Store finished trials and their attempts' numbers, all or nothing, and return those that were stored.

        Refused: a trial that is finished already, and an attempt after which another one began.
        """
        if not ended:
            return []
        with self.transaction() as db:
            known = self._known(db, [result.trial_id for result, _ in ended])
            last = {trial: one.attempts for trial, one in known.items() if one.state in ("free", "elsewhere")}
            stored = {r.trial_id: r for r, number in ended if number == last.get(r.trial_id)}
            if not stored:
                return []
            of = attempts.c.trial == sa.bindparam("of"), attempts.c.number == sa.bindparam("last")
            outcomes = [{"of": t, "last": last[t], "outcome": r.status} for t, r in stored.items()]
            db.execute(attempts.update().where(*of), outcomes)
            columns = [{"of": t, **_ended(r)} for t, r in stored.items()]
            db.execute(trials.update().where(trials.c.id == sa.bindparam("of")), columns)
            add_rows(db, curves, _rows(stored, lambda result: result.curve))
            add_rows(db, predictions, _rows(stored, lambda result: result.predictions))
            add_rows(db, scores, [row for t, r in stored.items() for row in _score_rows(t, r.scores)])
            add_rows(db, item_statistics, _rows(stored, lambda result: result.item_statistics))
            add_rows(db, logs, [{"trial": trial, "text": r.log} for trial, r in stored.items() if r.log])
            self._log_looks(db, [trial for trial, result in stored.items() if result.predictions], "final")
            return list(stored.values())

    def forget(self, plan_id: str, kind: Failure | None = None) -> int:
        """Let a plan's failed trials run again, or those of one kind; return how many. Their attempts stay on record.

        Those of a cell's search whose final phase has begun stay as they are: its configuration is chosen.
        """
        of_plan = sa.select(plan_cells.c.cell).where(plan_cells.c.plan == plan_id)
        chosen = (places.c.phase == "search") & places.c.cell.in_(sa.select(choices.c.cell))
        again = sa.select(places.c.trial).where(places.c.cell.in_(of_plan) & ~chosen)
        oom = trials.c.cause.startswith("out of memory")
        kinds = {
            None: trials.c.status == "failed",
            "nan": trials.c.status == "diverged",
            "oom": (trials.c.status == "failed") & oom,
            "error": (trials.c.status == "failed") & ~oom,
        }
        with self.transaction() as db:
            found = db.scalars(sa.select(trials.c.id).where(kinds[kind] & trials.c.id.in_(again))).all()
            for table in (curves, predictions, scores, item_statistics, logs):
                db.execute(table.delete().where(table.c.trial.in_(found)))
            nothing = {"status": None, "cause": None, "finished": None}
            db.execute(trials.update().where(trials.c.id.in_(found)).values(**nothing))
        return len(found)

    def replace_scores(
        self, trial_id: str, found: Sequence[ScoreValue], statistics: Sequence[ItemStatistics] = ()
    ) -> None:
        """Store the scores of a re-scoring of kept predictions, and log the look at the split."""
        with self.transaction() as db:
            for table in (scores, item_statistics):
                db.execute(table.delete().where(table.c.trial == trial_id))
            add_rows(db, scores, _score_rows(trial_id, found))
            add_rows(db, item_statistics, _statistics_rows(trial_id, statistics))
            self.log_look(trial_id, "re-score")

    def log_look(self, trial_id: str, reason: str) -> None:
        """Log why a trial's test items are decoded or scored; for one that is evaluated elsewhere, nothing."""
        with self.transaction() as db:
            self._log_looks(db, [trial_id], reason)

    def _log_looks(self, db: sa.Connection, trial_ids: Sequence[str], reason: str) -> None:
        evaluate = trials.c.spec["evaluate"]
        seen = sa.select(trials.c.id, evaluate["name"].as_string(), sa.literal(reason), sa.literal(_now())).where(
            trials.c.id.in_(trial_ids), evaluate["split"].as_string() == "test"
        )
        db.execute(looks.insert().from_select(["trial", "split", "reason", "at"], seen))

    def add_claim_look(self, look: Mapping[str, Any]) -> None:
        """Record that a claim was looked at, with what it was answered; nothing is ever taken away (protocol 1.2)."""
        with self.transaction() as db:
            db.execute(claims.insert().values(**look, at=_now()))

    # --- what everybody reads -------------------------------------------------------------------------------------

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        if self._open is not None:
            yield self._open
            return
        with self._readable(), self._engine.connect() as db:
            yield db

    def rows(self, statement: sa.Select[Any]) -> list[dict[str, Any]]:
        """Return the rows of a select over the tables (harness/tables.py) as dicts."""
        with self._reading() as db:
            return [dict(row) for row in db.execute(statement).mappings()]

    def tuples(self, statement: sa.Select[Any]) -> Sequence[Sequence[Any]]:
        """Return the rows of a select as tuples: much quicker, for millions of them."""
        with self._reading() as db:
            return db.execute(statement).all()

    def finished(self) -> dict[str, str]:
        """Return trial id -> status of every finished trial."""
        found = self.rows(sa.select(trials.c.id, trials.c.status).where(trials.c.status.is_not(None)))
        return {row["id"]: row["status"] for row in found}

    def filled(self, cell_ids: Sequence[str]) -> list[tuple[str, Phase, int, str]]:
        """Return (cell, phase, number, trial id) of the places of cells whose trial is known."""
        columns = (places.c.cell, places.c.phase, places.c.number, places.c.trial)
        with self._reading() as db:
            found = db.execute(sa.select(*columns).where(places.c.cell.in_(cell_ids)))
            return [(cell, phase, number, trial) for cell, phase, number, trial in found]

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


_WRITERS = 7_366_837
"""Number of the lock that PostgreSQL's writers take in turn"""


def _engine(url: str) -> sa.Engine:
    parsed = sa.make_url(url)
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    engine = sa.create_engine(parsed, pool_pre_ping=True)
    if parsed.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _configure_sqlite(connection: Any, _: Any) -> None:
    """WAL lets readers work beside the writer; FULL makes a commit durable before it returns."""
    connection.isolation_level = None  # transactions begin where we say so, below
    for pragma in (
        f"busy_timeout={WAIT_SECONDS * 1000:.0f}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(db: sa.Connection) -> None:
    """A writer takes the lock at once: one that first reads could find the data changed when it wants to write."""
    db.exec_driver_sql("BEGIN IMMEDIATE" if db.get_execution_options().get("writes") else "BEGIN")


def _refuse_network(path: Path) -> None:
    """Raise StoreError for a file on a network file system: several machines could damage it there."""
    place = path.absolute().parent
    mounted = [p for p in psutil.disk_partitions(all=True) if place.is_relative_to(p.mountpoint)]
    kind = max(mounted, key=lambda p: len(p.mountpoint)).fstype if mounted else ""
    if kind in _NETWORK:
        raise StoreError(
            f"{path} lies on a network file system ({kind}), where SQLite's locks do not hold. Give --store "
            "sqlite:////A/LOCAL/DISK/store.sqlite, or for several machines --store postgresql://USER@HOST/DATABASE."
        )


def _clock(db: sa.Connection) -> float:
    """Return the database's time, which all of its drivers share, in seconds since 1970."""
    if db.dialect.name == "postgresql":
        return float(db.scalars(sa.select(sa.extract("epoch", sa.func.clock_timestamp()))).one())
    return time.time()  # one machine


def _process(number: int) -> dict[str, Any]:
    """Return what tells a process from all others, on all machines and after its number was given again."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    machine = (
        f"{boot.read_text().strip()}/{os.readlink('/proc/self/ns/pid')}" if boot.exists() else socket.gethostname()
    )
    return {"machine": machine, "process": number, "born": psutil.Process(number).create_time()}


def _is_gone(driver: Any) -> bool:
    """Say whether a driver ran on this machine and has ended: then nobody needs to wait for its lease to run out."""
    if driver.machine != _process(os.getpid())["machine"]:
        return False
    try:
        return _process(driver.process)["born"] != driver.born
    except psutil.NoSuchProcess:
        return True


def _reason(error: sa.exc.DBAPIError) -> str:
    return " ".join(str(error.orig).split()).rstrip(".")


def _score_rows(trial_id: str, found: Sequence[ScoreValue]) -> list[dict[str, Any]]:
    return [{"trial": trial_id, "position": i, **score.model_dump()} for i, score in enumerate(found)]


def _statistics_rows(trial_id: str, found: Sequence[ItemStatistics]) -> list[dict[str, Any]]:
    return [{"trial": trial_id, **one.model_dump()} for one in found]


def _rows(of: Mapping[str, Result], part: Callable[[Result], Iterable[Record]]) -> list[dict[str, Any]]:
    """Return the rows of a part of results by trial."""
    return [{"trial": trial, **vars(row)} for trial, result in of.items() for row in part(result)]


def _ended(result: Result) -> dict[str, Any]:
    """Return the columns of a finished trial."""
    return {
        "status": result.status,
        "cause": result.cause,
        "best_step": result.best_step,
        "cost": result.cost.model_dump() if result.cost else None,
        "delta": result.delta,
        "delta_sha256": result.delta_sha256,
        "provenance": result.provenance,
        "finished": _now(),
    }


def add_rows(db: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows of the same columns; one whose key is there already is left as it is."""
    if not rows:
        return
    statement, writers = _insertion(table, tuple(rows[0]), db.dialect)
    columns = [[row[name] if write is None else write(row[name]) for row in rows] for name, write in writers]
    values: list[Any] = list(zip(*columns, strict=True))
    if not db.dialect.positional:
        names = [name for name, _ in writers]
        values = [dict(zip(names, each, strict=True)) for each in values]
    db.exec_driver_sql(statement, values)


@lru_cache(maxsize=128)
def _insertion(
    table: sa.Table, columns: tuple[str, ...], dialect: sa.Dialect
) -> tuple[str, list[tuple[str, Callable[[Any], Any] | None]]]:
    """Compile an insertion once; return it and, in its order, the columns and what makes their values fit the database.

    SQLAlchemy's own way looks at every row anew, which took half of the time of a result with its outputs.
    """
    if dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]
    compiled: Any = insert(table).on_conflict_do_nothing().compile(dialect=dialect, column_keys=columns)
    names = compiled.positiontup if compiled.positional else columns
    return str(compiled), [(name, table.c[name].type.dialect_impl(dialect).bind_processor(dialect)) for name in names]
