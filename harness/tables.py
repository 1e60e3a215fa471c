"""The tables of the results database, and how an older one becomes one of today. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    from alembic.operations import Operations

SCHEMA = 3


class Text(sa.TypeDecorator[str]):
    """Text that may hold any character: PostgreSQL refuses NUL, which a model may well write."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        """Write NUL as two characters that begin with DLE, and DLE twice."""
        if value is None or dialect.name != "postgresql":
            return value
        return value.replace("\x10", "\x10\x10").replace("\x00", "\x100")

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> str | None:
        """Return the text as it was given."""
        if value is None or dialect.name != "postgresql" or "\x10" not in value:
            return value
        return "\x10".join(part.replace("\x100", "\x00") for part in value.split("\x10\x10"))


metadata = sa.MetaData()
schema = sa.Table("schema", metadata, sa.Column("version", sa.Integer, primary_key=True))
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
    sa.Column("cause", Text, nullable=True),
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
    sa.Column("outcome", sa.String, nullable=True),  # null: running, or its driver is gone
    sa.Column("driver", sa.String, nullable=True),
)
drivers = sa.Table(
    "drivers",
    metadata,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("machine", sa.String),
    sa.Column("process", sa.Integer),
    sa.Column("born", sa.Float),  # start of the process, so that a number that is given again is another process
    sa.Column("lease", sa.Float),  # seconds without a sign of life after which others may take over
    sa.Column("seen", sa.Float),  # last sign of life, seconds since 1970 by the database's clock
)
leases = sa.Table(
    "leases",
    metadata,
    sa.Column("cell", sa.String, sa.ForeignKey("cells.id"), primary_key=True),
    sa.Column("driver", sa.String),  # the one that searches the cell
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
item_statistics = sa.Table(
    "item_statistics",
    metadata,
    sa.Column("trial", sa.String, sa.ForeignKey("trials.id"), primary_key=True),
    sa.Column("metric", sa.String, primary_key=True),
    sa.Column("names", sa.JSON),
    sa.Column("packed", sa.LargeBinary),  # [items, names] in the order of the items (records.ItemStatistics)
)
predictions = sa.Table(
    "predictions",
    metadata,
    sa.Column("trial", sa.String, sa.ForeignKey("trials.id"), primary_key=True),
    sa.Column("item", sa.Integer, primary_key=True),
    sa.Column("text", Text),
    sa.Column("truncated", sa.Boolean),
)
logs = sa.Table(
    "logs",
    metadata,
    sa.Column("trial", sa.String, sa.ForeignKey("trials.id"), primary_key=True),
    sa.Column("text", Text),
)
items = sa.Table(
    "items",
    metadata,
    sa.Column("task", sa.String, primary_key=True),
    sa.Column("task_version", sa.Integer, primary_key=True),
    sa.Column("split", sa.String, primary_key=True),
    sa.Column("item", sa.Integer, primary_key=True),
    sa.Column("source", Text),
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
    sa.Column("reason", sa.String),  # "final", "re-score" or "rerun"
    sa.Column("at", sa.String),
)
claims = sa.Table(
    "claims",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("claim", sa.String),  # in its canonical words
    sa.Column("cells", sa.JSON),  # whose trials answered
    sa.Column("units", sa.Integer),  # seeds or draws at this look
    sa.Column("alpha", sa.Float),
    sa.Column("smallest_effect", sa.Float),
    sa.Column("answer", sa.String),
    sa.Column("estimate", sa.Float),
    sa.Column("low", sa.Float, nullable=True),
    sa.Column("high", sa.Float, nullable=True),
    sa.Column("p", sa.Float, nullable=True),
    sa.Column("at", sa.String),
)


def _to_2(op: Operations) -> None:
    """Several drivers on one store: who they are, and what each of them works on; logs of trials."""
    op.add_column("attempts", sa.Column("driver", sa.String, nullable=True))
    for table in (drivers, leases, logs):
        table.create(op.get_bind())


def _to_3(op: Operations) -> None:
    """What scores sum over items, which `featherbench score all` fills for trials of before; and looks at claims."""
    for table in (item_statistics, claims):
        table.create(op.get_bind())


_UPGRADES: dict[int, Callable[[Operations], None]] = {1: _to_2, 2: _to_3}
"""Schema -> the step to the next one"""


def upgrade(db: sa.Connection, found: int) -> None:
    """Bring the tables of an older schema up to today's, inside the connection's transaction."""
    from alembic.migration import MigrationContext  # slow to import, and rarely needed
    from alembic.operations import Operations

    for version in range(found, SCHEMA):
        _UPGRADES[version](Operations(MigrationContext.configure(db)))
    db.execute(schema.update().values(version=SCHEMA))
