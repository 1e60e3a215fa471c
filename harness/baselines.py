"""The rows that every board has beside a plan's own: what nothing trained gives, and what a search and an MLP add."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from featherbench.harness.spec import PlanError, PlanSpec, RowSpec, SearchSpec, lookup
from featherbench.methods import COPY_SOURCE, METHODS, UNTUNED

BARE = {
    "untuned": RowSpec(method=UNTUNED.name, words="none"),
    "untuned+words": RowSpec(method=UNTUNED.name, row="untuned+words", words="text"),
    "copy": RowSpec(method=COPY_SOURCE.name, row="copy", words="none"),
}
"""Baseline -> its row, where nothing is trained"""

Row = tuple[RowSpec, SearchSpec | None]
"""A row with its search; None where nothing is searched whatever the plan says"""


def rows_of(spec: PlanSpec) -> list[Row]:
    """Return the rows of each board: bare baselines, then the plan's rows, each before the baselines made of it.

    Raises: PlanError for an unknown method, or two rows of one name.
    """
    for row in spec.methods:
        lookup("method", row.method, METHODS)
    rows: list[Row] = [(BARE[name], None) for name in spec.baselines if name in BARE]
    for row in _with_direct(spec):
        rows.append((row, spec.search))
        if "default" in spec.baselines and spec.search.configurations:
            rows.append((row.model_copy(update={"row": f"{name_of(row)}, default"}), None))
    names = [name_of(row) for row, _ in rows]
    for twice in {name for name in names if names.count(name) > 1}:
        raise PlanError(f"methods: two rows are named {twice!r}; give one a `row:` name of its own.")
    return rows


def name_of(row: RowSpec) -> str:
    """Return a row's label."""
    return row.row or row.method


def _with_direct(spec: PlanSpec) -> Iterator[RowSpec]:
    """Yield the plan's rows, each before itself without reparametrisation unless there is such a row already."""
    known = [_meaning(row, spec) for row in spec.methods]
    for row in spec.methods:
        yield row
        config = {**row.config, **METHODS[row.method].direct}
        direct = row.model_copy(update={"row": f"{name_of(row)}, direct", "config": config})
        if "direct" in spec.baselines and _meaning(direct, spec) not in known:
            known.append(_meaning(direct, spec))
            yield direct


def _meaning(row: RowSpec, spec: PlanSpec) -> dict[str, Any]:
    """Return all that a row fixes, defaults included; rows that agree in it have the same trials.

    In a search a value that is given differs from the same by default, which is searched.
    """
    method = METHODS[row.method]
    given = sorted(row.config) if spec.search.configurations else []
    return {
        **row.model_dump(exclude={"row", "config"}),
        "learning_rate": method.learning_rate,
        "steps": spec.training.steps,
        "weight_decay": spec.training.weight_decay,
        **dataclasses.asdict(method.config()),
        **row.config,
        "given": given,
    }
