"""The store is the only truth on disk: whole results, written once, read back as they were."""

from __future__ import annotations

import dataclasses
import math
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from featherbench.harness import store as tables
from featherbench.harness.records import (
    Cell,
    Cost,
    CurvePoint,
    DecodingSettings,
    Place,
    Prediction,
    Result,
    ScoreValue,
    Settings,
    Subset,
    Trial,
    content_hash,
)
from featherbench.harness.score import score
from featherbench.harness.status import kept_predictions
from featherbench.harness.store import SCHEMA, Store, StoreError, sqlite_path
from featherbench.tasks import TASKS
from featherbench.tasks.base import Example
from featherbench.tasks.places import PLACES

CELL = Cell(row="prefix", backbone="bone", task="places", size=20, method="prefix", fixed={"a": [1, 2.5, None]})


def trial(seed: int = 0, split: str = "test") -> Trial:
    subset = Subset(name="train20.final0", split="train", size=20, draw="final0", sha256="ab")
    return Trial(
        backbone="bone",
        backbone_sha256="cd",
        method="prefix",
        method_version=1,
        config={"length": 10},
        learning_rate=1e-3,
        weight_decay=0.0,
        steps=100,
        task="places",
        task_version=1,
        train=subset,
        validation=subset.model_copy(update={"split": "validation", "name": "validation6.final0"}),
        evaluate=Subset(name=f"{split}2", split=split, size=2, sha256="ef"),
        settings=Settings(),
        decoding=DecodingSettings(beams=5, max_new_tokens=64, length_penalty=1.0),
        words="",
        words_as="none",
        seed=seed,
        precision="float32",
    )


COST = Cost(
    trained_parameters=3,
    stored_parameters=2,
    total_parameters=100,
    stored_bytes=8,
    steps=100,
    train_tokens=12,
    train_seconds=0.1,
    decode_seconds=0.2,
    seconds=0.4,
    tokens_per_second=120.0,
    train_flops=1e18,
    decode_flops=3.5,
    train_peak_bytes=2**40,
    decode_peak_bytes=1,
    device="CPU, 1 threads",
)


def result(of: Trial, **changes: Any) -> Result:
    content: dict[str, Any] = {
        "trial_id": of.id,
        "status": "ok",
        "scores": (
            ScoreValue(metric="bleu", subset="all", value=12.5, signature="bleu|items:2"),
            ScoreValue(metric="bleu", subset="seen=seen", value=None, signature="ValueError: no items"),
        ),
        "curve": (
            CurvePoint(step=0, name="validation_loss", value=0.1 + 0.2),
            CurvePoint(step=1, name="train_loss", value=1e-300),
            CurvePoint(step=1, name="gradient_norm", value=math.inf),
        ),
        "predictions": (
            Prediction(item=3, text="A café for £20, \U0001f980.", truncated=True),
            Prediction(item=11, text="", truncated=False),
        ),
        "best_step": 0,
        "cost": COST,
        "delta": "deltas/x.safetensors",
        "delta_sha256": "00",
        "provenance": {"packages": {"torch": "2"}, "git_dirty": None},
    }
    return Result(**content | changes)


def kept_scores(store: Store, of: Trial) -> tuple[ScoreValue, ...]:
    """The scores of a trial in the order of its task."""
    columns = tables.scores.c["metric", "subset", "value", "signature"]
    chosen = sa.select(*columns).where(tables.scores.c.trial == of.id).order_by(tables.scores.c.position)
    return tuple(ScoreValue(**row) for row in store.rows(chosen))


def contents(store: Store) -> dict[str, list[dict[str, Any]]]:
    """Everything in the store."""
    return {name: store.rows(sa.select(table)) for name, table in tables.metadata.tables.items()}


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.sqlite"


@pytest.fixture
def store(url: str) -> Store:
    return Store(url)


def planned(store: Store, *trials: Trial) -> None:
    store.add_plan("plan", "small", "text", [CELL])
    for number, one in enumerate(trials):
        store.add_place(Place(cell=CELL.id, phase="final", number=number), one)


# --- results -------------------------------------------------------------------------------------------------------


def test_a_result_comes_back_as_it_was(store: Store) -> None:
    one = trial()
    planned(store, one)
    wanted = result(one)
    store.record(wanted, store.begin_attempt(one.id))
    row = store.trial(one.id)
    assert Trial.model_validate(row["spec"]) == one
    assert (row["status"], row["cause"], row["best_step"]) == ("ok", None, 0)
    assert (row["delta"], row["delta_sha256"]) == (wanted.delta, wanted.delta_sha256)
    assert row["provenance"] == wanted.provenance
    assert Cost(**row["cost"]) == COST
    assert tuple(kept_predictions(store, one.id)) == wanted.predictions
    curve = store.rows(sa.select(tables.curves.c["step", "name", "value"]))
    assert {CurvePoint(**point) for point in curve} == set(wanted.curve)
    assert kept_scores(store, one) == wanted.scores


def test_the_score_of_a_trial_is_the_one_over_all_items(store: Store) -> None:
    one = trial()
    planned(store, one)
    assert store.score(one.id, "bleu") is None
    store.record(result(one), 1)
    assert store.score(one.id, "bleu") == 12.5
    assert store.score(one.id, "rouge") is None


def test_a_second_record_of_a_trial_changes_nothing(store: Store) -> None:
    """Two drivers, or a worker that was believed dead: the first result stands."""
    one = trial()
    planned(store, one)
    store.record(result(one), store.begin_attempt(one.id))
    late = store.begin_attempt(one.id)
    before = contents(store)
    store.record(result(one, status="failed", cause="late", scores=(), predictions=(), curve=(), cost=None), late)
    assert contents(store) == before


@pytest.mark.parametrize("table", ["curves", "scores", "predictions", "looks"])
def test_a_result_is_stored_whole_or_not_at_all(store: Store, url: str, table: str) -> None:
    one = trial()
    planned(store, one)
    attempt = store.begin_attempt(one.id)
    with sqlite3.connect(sqlite_path(url) or "") as db:
        db.execute(f"CREATE TRIGGER full BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    before = contents(store)
    with pytest.raises(sa.exc.DBAPIError, match="disk full"):
        store.record(result(one), attempt)
    assert contents(store) == before
    assert store.finished() == {}
    with sqlite3.connect(sqlite_path(url) or "") as db:
        db.execute("DROP TRIGGER full")
    store.record(result(one), attempt)
    assert store.finished() == {one.id: "ok"}


def test_finished_holds_failed_and_diverged_trials_too_and_nothing_unfinished(store: Store) -> None:
    trials = [trial(seed) for seed in range(4)]
    planned(store, *trials)
    for one, status in zip(trials, ("ok", "diverged", "failed"), strict=False):
        store.record(result(one, status=status), 1)
    assert store.finished() == {trials[0].id: "ok", trials[1].id: "diverged", trials[2].id: "failed"}


def test_a_value_that_is_not_a_number_never_becomes_a_score(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    one = trial()
    planned(store, one)
    broken = [
        dataclasses.replace(PLACES.scores[0], name=name, corpus=lambda outputs, references, value=value: value)
        for name, value in (("nan", math.nan), ("inf", math.inf), ("bleu", 1.0))
    ]
    monkeypatch.setitem(TASKS, "places", dataclasses.replace(PLACES, scores=tuple(broken)))
    found = score(
        "places", [Prediction(item=0, text="a", truncated=False)], {0: Example(source="s", references=("r",))}
    )
    store.record(result(one, scores=tuple(found)), 1)
    kept = {row["metric"]: row["value"] for row in store.rows(sa.select(tables.scores))}
    assert kept == {"nan": None, "inf": None, "bleu": 1.0}


# --- attempts ------------------------------------------------------------------------------------------------------


def test_attempts_are_numbered_from_one_and_keep_their_outcome(store: Store) -> None:
    first, second = trial(0), trial(1)
    planned(store, first, second)
    assert [store.begin_attempt(first.id), store.begin_attempt(second.id), store.begin_attempt(first.id)] == [1, 1, 2]
    store.end_attempt(first.id, 1, "worker died")
    store.record(result(first), 2)
    kept = store.rows(sa.select(tables.attempts).order_by(tables.attempts.c.number))
    assert {(r["trial"], r["number"]): r["outcome"] for r in kept} == {
        (first.id, 1): "worker died",
        (first.id, 2): "ok",
        (second.id, 1): None,
    }


def test_forgetting_failures_lets_failed_trials_alone_run_again(store: Store) -> None:
    trials = {status: trial(seed) for seed, status in enumerate(("ok", "diverged", "failed"))}
    planned(store, *trials.values())
    for status, one in trials.items():
        changes = {"cause": "out of memory", "scores": (), "predictions": (), "curve": ()} if status == "failed" else {}
        store.record(result(one, status=status, **changes), store.begin_attempt(one.id))
    store.forget_failed("another plan")
    assert store.finished()[trials["failed"].id] == "failed", "another plan's failures are left alone"
    store.add_plan("mine", "mine", "text", [CELL])
    store.forget_failed("mine")
    assert store.finished() == {trials["ok"].id: "ok", trials["diverged"].id: "diverged"}
    again = trials["failed"]
    assert store.trial(again.id)["cause"] is None
    assert store.begin_attempt(again.id) == 2, "the first attempt stays on record"
    store.record(result(again), 2)
    assert store.finished()[again.id] == "ok"
    assert store.score(again.id, "bleu") == 12.5


# --- looks at the test split ---------------------------------------------------------------------------------------


def looks(store: Store) -> list[tuple[str, str, str]]:
    return [(r["trial"], r["split"], r["reason"]) for r in store.rows(sa.select(tables.looks))]


def test_every_look_at_the_test_split_is_logged(store: Store) -> None:
    final, search = trial(0), trial(1, split="validation")
    planned(store, final, search)
    store.record(result(search), 1)
    assert looks(store) == [], "validation items are looked at freely"
    store.record(result(final), 1)
    assert looks(store) == [(final.id, "test2", "final")]
    new = (ScoreValue(metric="bleu", subset="all", value=13.0, signature="bleu|items:2|version:3"),)
    store.replace_scores(final.id, new)
    assert looks(store) == [(final.id, "test2", "final"), (final.id, "test2", "re-score")]
    assert kept_scores(store, final) == new, "the old ones are gone"
    assert store.score(search.id, "bleu") == 12.5, "other trials keep their scores"


def test_a_failed_trial_is_no_look(store: Store) -> None:
    one = trial()
    planned(store, one)
    store.record(result(one, status="failed", scores=(), predictions=()), 1)
    assert looks(store) == []


# --- what is written twice stays once ------------------------------------------------------------------------------


def test_adding_again_changes_nothing(store: Store) -> None:
    one = trial()
    row = {"item": 3, "source": "s", "references": ["r", "é"], "tags": {"seen": "seen"}}

    def add_all(first: bool) -> None:
        planned(store, one)
        store.add_items("places", 1, "test2", [row])
        store.add_index_list("ef", [3, 11] if first else [])
        store.add_proposal(CELL.id, 0, {"learning_rate": 0.1 if first else 0.2}, "sobol")

    add_all(True)
    before = contents(store)
    add_all(False)
    assert contents(store) == before
    assert store.proposed(CELL.id) == {0: {"learning_rate": 0.1}}
    assert Cell.model_validate(before["cells"][0]["spec"]) == CELL
    assert before["items"][0]["references"] == ["r", "é"]


def test_a_trial_is_found_by_a_unique_beginning_of_its_id(store: Store) -> None:
    first, second = trial(0), trial(1)
    planned(store, first, second)
    assert store.trial(first.id[:6])["id"] == first.id
    for beginning, count in (("", 2), ("%", 0), ("zz", 0)):
        with pytest.raises(StoreError, match=f"{count} trials of .* begin with '{beginning}'"):
            store.trial(beginning)


# --- opening -------------------------------------------------------------------------------------------------------


def test_two_stores_on_one_file_see_each_others_writes(store: Store, url: str) -> None:
    other, one = Store(url), trial()
    planned(store, one)
    assert other.trial(one.id)["status"] is None
    other.record(result(one), 1)
    assert store.finished() == {one.id: "ok"}
    with sqlite3.connect(sqlite_path(url) or "") as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_reader_is_not_kept_waiting_by_a_writer(store: Store, url: str) -> None:
    planned(store, trial())
    with sqlite3.connect(sqlite_path(url) or "", isolation_level=None) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE trials SET status = 'ok'")
        assert Store(url, create=False).finished() == {}
        writer.execute("ROLLBACK")


def test_opening_creates_the_folder_only_if_it_may(tmp_path: Path) -> None:
    Store(f"sqlite:///{tmp_path}/a/b/store.sqlite")
    assert (tmp_path / "a/b/store.sqlite").exists()
    with pytest.raises(StoreError, match="there is no store at .*c/store.sqlite. Give --store URL or the --out folder"):
        Store(f"sqlite:///{tmp_path}/c/store.sqlite", create=False)
    assert not (tmp_path / "c").exists()


def test_a_place_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot create the store's folder .*/file"):
        Store(f"sqlite:///{tmp_path}/file/store.sqlite")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match="cannot be opened for writing: unable to open database file.*local disk"):
        Store(f"sqlite:///{tmp_path}/folder")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no database " * 1000)
    with pytest.raises(StoreError, match="file is not a database"):
        Store(f"sqlite:///{tmp_path}/notes.txt")
    assert (tmp_path / "notes.txt").read_text() == "no database " * 1000


@pytest.mark.parametrize("text", ["runs/mine", "", "no url at all"])
def test_a_text_that_is_no_url_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(StoreError, match="is no database URL; give e.g. sqlite:///"):
        Store(text)


@pytest.mark.parametrize("text", ["nosuch://host/name", "postgresql+nosuch://host/name"])
def test_a_database_without_a_driver_is_refused(text: str) -> None:
    with pytest.raises(StoreError):
        Store(text)


def other_schema(url: str) -> Path:
    path = sqlite_path(url)
    assert path
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE schema (version INTEGER PRIMARY KEY)")
        db.execute(f"INSERT INTO schema VALUES ({SCHEMA + 1})")
    return path


def test_another_layout_needs_another_schema_number() -> None:
    """Else an older store is opened as if it fitted. Golden: to recompute after raising SCHEMA, print(layout)."""
    layout = content_hash(
        {name: {c.name: str(c.type) for c in t.columns} for name, t in tables.metadata.tables.items()}
    )
    assert (SCHEMA, layout) == (1, "0f66b60a15db")


def test_a_store_of_another_schema_is_refused(url: str) -> None:
    other_schema(url)
    with pytest.raises(StoreError, match=f"the store has schema {SCHEMA + 1}, this featherbench reads schema {SCHEMA}"):
        Store(url)


def test_a_refused_store_is_left_as_it_is(url: str) -> None:
    path = other_schema(url)
    with pytest.raises(StoreError):
        Store(url, create=False)
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall() == [("schema",)]
