"""Joining stores: everything of the second comes to the first, whose own results stay."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from test_store import CELL, contents, finish, planned, result, trial

from featherbench.harness import tables
from featherbench.harness.merge import merge
from featherbench.harness.records import ScoreValue
from featherbench.harness.store import Store, StoreError


@pytest.fixture(params=["sqlite", "postgresql"])
def into(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    given = request.param
    kept = Store(f"sqlite:///{tmp_path}/into.sqlite" if given == "sqlite" else request.getfixturevalue(given))
    yield kept
    kept.close()


@pytest.fixture
def source(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path}/source.sqlite")


ITEM = {"item": 3, "source": "s", "references": ["r"], "tags": {}}


def test_an_empty_store_becomes_the_other_one(into: Store, source: Store) -> None:
    one, unfinished = trial(0), trial(1)
    planned(source, one, unfinished)
    source.add_items("places", 1, "test2", [ITEM])
    source.add_index_lists({"ef": [3, 11]})
    source.add_proposal(CELL.id, 0, {"learning_rate": 0.1}, "sobol")
    source.freeze_choice(CELL.id, {"learning_rate": 0.1})
    source.add_claim_look(
        {"claim": "prefix > full_ft on places", "cells": [CELL.id], "units": 5, "answer": "supported"}
    )
    finish(source, result(one))
    source.begin_attempts([unfinished.id])
    assert merge(into, source).added == [one.id]
    by_text = lambda found: {name: sorted(map(str, rows)) for name, rows in found.items()}  # noqa: E731
    assert by_text(contents(into)) == by_text(contents(source))
    before = contents(into)
    again = merge(into, source)
    assert (again.added, again.both, again.differ) == ([], 1, [])
    assert contents(into) == before, "joining twice changes nothing"


def test_what_is_finished_here_stays_and_what_is_not_is_taken(into: Store, source: Store) -> None:
    both, missing, failed_here = trial(0), trial(1), trial(2)
    for store in (into, source):
        planned(store, both, missing, failed_here)
    into.begin_attempts([missing.id])
    finish(into, result(both))
    finish(into, result(failed_here, status="failed", cause="its own", scores=(), predictions=(), curve=()))
    other = (ScoreValue(metric="bleu", subset="all", value=99.0, signature="another machine"),)
    finish(source, result(both, scores=other))
    finish(source, result(missing))
    finish(source, result(failed_here))
    found = merge(into, source)
    assert (found.added, found.both, set(found.differ)) == ([missing.id], 2, {both.id, failed_here.id})
    assert into.score(both.id, "bleu") == 12.5
    assert into.finished() == {both.id: "ok", missing.id: "ok", failed_here.id: "failed"}
    numbers = sa.select(tables.attempts.c.number, tables.attempts.c.outcome).where(
        tables.attempts.c.trial == missing.id
    )
    assert [tuple(row.values()) for row in into.rows(numbers.order_by("number"))] == [(1, None), (2, "ok")]


@pytest.mark.parametrize("what", ["proposal", "choice", "items"])
def test_what_contradicts_is_refused_and_changes_nothing(into: Store, source: Store, what: str) -> None:
    def fill(store: Store, rate: float, text: str) -> None:
        planned(store, trial(0))
        given: dict[str, Any] = {"learning_rate": rate}
        if what == "proposal":
            store.add_proposal(CELL.id, 0, given, "tpe")
        elif what == "choice":
            store.freeze_choice(CELL.id, given)
        else:
            store.add_items("places", 1, "test2", [{**ITEM, "source": text}])

    fill(into, 0.1, "one")
    fill(source, 0.2, "another")
    finish(source, result(trial(0)))
    before = contents(into)
    with pytest.raises(StoreError, match="holds other data" if what == "items" else "both stores searched bone/places"):
        merge(into, source)
    assert contents(into) == before
