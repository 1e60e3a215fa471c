"""The rows that every board has beside a plan's own: what nothing trained gives, and what a search and an MLP add."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from featherbench.harness.spec import PlanError, PlanSpec, RowSpec, SearchSpec, lookup
from featherbench.methods import COPY_SOURCE, METHODS, UNTUNED

BARE = {
    "untuned": RowSpec(method=UNTUNED.name, words="none"),
    "untuned+words": RowSpec(method=UNTUNED.name, row="untuned+words", words="text"),
    "copy": RowSpec(method=COPY_SOURCE.name, row="copy", words="none"),
}
"""Baseline -> its row, where nothing is trained"""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of each board: one of the plan's, or a baseline."""

    given: RowSpec
    search: SearchSpec | None = None
    """None: nothing is searched, whatever the plan says"""
    added: frozenset[str] = frozenset()
    """Keys of its configuration that the baseline gives, not the plan"""


def rows_of(spec: PlanSpec) -> list[Row]:
    """Return the rows of each board: bare baselines, then the plan's rows, each before the baselines made of it.

    Raises: PlanError for an unknown method, or two rows of one name.
    """
    for row in spec.methods:
        lookup("method", row.method, METHODS)
    rows = [Row(given=BARE[name]) for name in spec.baselines if name in BARE]
    searched = spec.search.configurations > 0
    for row, direct, rate in _with_direct(spec):
        added = frozenset({*direct, *rate})
        if searched:
            rows.append(Row(given=row, search=spec.search, added=frozenset(direct)))
            if "default" in spec.baselines:
                rows.append(Row(given=_changed(row, rate, ", default"), added=added))
        else:
            rows.append(Row(given=_changed(row, rate), search=spec.search, added=added))
    names = [name_of(row.given) for row in rows]
    for twice in {name for name in names if names.count(name) > 1}:
        raise PlanError(f"methods: two rows are named {twice!r}; give one a `row:` name of its own.")
    return rows


def name_of(row: RowSpec) -> str:
    """Return a row's label."""
    return row.row or row.method


def _changed(row: RowSpec, config: Mapping[str, Any], name: str = "") -> RowSpec:
    return row.model_copy(update={"row": f"{name_of(row)}{name}", "config": {**row.config, **config}})


def _with_direct(spec: PlanSpec) -> Iterator[tuple[RowSpec, Mapping[str, Any], Mapping[str, float]]]:
    """Yield the plan's rows, each before itself without reparametrisation, unless the plan has such a row already.

    With each stands what makes it direct, and the learning rate that it then wants where none is searched and the plan
    gives none.
    """
    known = [_meaning(row, spec) for row in spec.methods]
    for row in spec.methods:
        yield row, {}, {}
        method = METHODS[row.method]
        direct = _changed(row, method.direct, ", direct")
        if "direct" in spec.baselines and _meaning(direct, spec) not in known:
            known.append(_meaning(direct, spec))
            rate = {} if "learning_rate" in row.config else {"learning_rate": method.direct_learning_rate}
            yield direct, method.direct, rate


def _meaning(row: RowSpec, spec: PlanSpec) -> dict[str, Any]:
    """Return what a row is, however long and fast it is trained: its method's whole configuration, size and words.

    In a search a value that is given differs from the same by default, which is searched.
    """
    own = dataclasses.asdict(METHODS[row.method].config())
    given = {name: value for name, value in row.config.items() if name in own}
    return {
        **row.model_dump(exclude={"row", "config"}),
        **own,
        **given,
        "given": sorted(given) if spec.search.configurations else [],
    }
