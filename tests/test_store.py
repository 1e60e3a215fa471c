"""The store is the only truth on disk: whole results, written once, read back as they were."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from featherbench.harness import store as store_module
from featherbench.harness import tables
from featherbench.harness.recorded import kept_predictions
from featherbench.harness.records import (
    Cell,
    Cost,
    CurvePoint,
    DecodingSettings,
    ItemStatistics,
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
from featherbench.harness.status import log_of
from featherbench.harness.store import LeaseLost, Store, StoreError, sqlite_path
from featherbench.harness.tables import SCHEMA
from featherbench.tasks import TASKS
from featherbench.tasks.base import Example
from featherbench.tasks.metrics.additive import pack
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
    device="CPU, 1 thread",
)


SUMS = pack(np.array([[6.0, 5.0], [0.0, 0.0]]))


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
        "item_statistics": (
            ItemStatistics(metric="bleu", names=("words", "matches"), packed=pack(np.array([[6.0, 5.0], [0.0, 0.0]]))),
        ),
        "best_step": 0,
        "cost": COST,
        "delta": "deltas/x.safetensors",
        "delta_sha256": "00",
        "provenance": {"packages": {"torch": "2"}, "git_dirty": None},
        "log": "training 0/100\nok",
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
def sqlite(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.sqlite"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """An empty database of each kind: what holds for one must hold for the other."""
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    kept = Store(url)
    yield kept
    kept.close()


def finish(store: Store, done: Result) -> bool:
    attempt = store.begin_attempts([done.trial_id])[done.trial_id]
    return bool(store.record([(done, attempt)]))


def spoil(store: Store, table: str) -> Callable[[], None]:
    """Let every insertion into a table fail; return what mends it."""
    name = store.shown_url.split(":")[0]
    with store.transaction() as db:
        if name == "sqlite":
            fail = "BEGIN SELECT RAISE(ABORT, 'full'); END"
            db.execute(sa.text(f"CREATE TRIGGER full BEFORE INSERT ON {table} {fail}"))
        else:
            db.execute(sa.text(f"ALTER TABLE {table} ADD CONSTRAINT full_ CHECK (false) NOT VALID"))
    undo = "DROP TRIGGER full" if name == "sqlite" else f"ALTER TABLE {table} DROP CONSTRAINT full_"

    def mend() -> None:
        with store.transaction() as db:
            db.execute(sa.text(undo))

    return mend


def planned(store: Store, *trials: Trial) -> None:
    store.add_plan("plan", "small", "text", [CELL])
    for number, one in enumerate(trials):
        store.add_places([(Place(cell=CELL.id, phase="final", number=number), one)])


# --- results -------------------------------------------------------------------------------------------------------


def test_a_result_comes_back_as_it_was(store: Store) -> None:
    one = trial()
    planned(store, one)
    wanted = result(one)
    assert finish(store, wanted)
    row = store.trial(one.id)
    assert Trial.model_validate(row["spec"]) == one
    assert (row["status"], row["cause"], row["best_step"]) == ("ok", None, 0)
    assert (row["delta"], row["delta_sha256"]) == (wanted.delta, wanted.delta_sha256)
    assert row["provenance"] == wanted.provenance
    assert Cost(**row["cost"]) == COST
    assert kept_predictions(store, one.id) == wanted.predictions
    curve = store.rows(sa.select(tables.curves.c["step", "name", "value"]))
    assert {CurvePoint(**point) for point in curve} == set(wanted.curve)
    assert kept_scores(store, one) == wanted.scores
    assert log_of(store, one.id, None)[1:] == wanted.log.splitlines()


def test_the_score_of_a_trial_is_the_one_over_all_items(store: Store) -> None:
    one = trial()
    planned(store, one)
    assert store.score(one.id, "bleu") is None
    finish(store, result(one))
    assert store.score(one.id, "bleu") == 12.5
    assert store.score(one.id, "rouge") is None


def test_a_second_record_of_a_trial_changes_nothing(store: Store) -> None:
    """Two drivers, or a worker that was believed dead: the first result stands."""
    one = trial()
    planned(store, one)
    assert finish(store, result(one))
    before = contents(store)
    late = result(one, status="failed", cause="late", scores=(), predictions=(), curve=(), cost=None)
    assert store.begin_attempts([one.id]) == {}
    assert not store.record([(late, 1)])
    assert contents(store) == before


@pytest.mark.parametrize("table", ["curves", "scores", "predictions", "looks"])
def test_a_result_is_stored_whole_or_not_at_all(store: Store, table: str) -> None:
    one = trial()
    planned(store, one)
    attempt = store.begin_attempts([one.id])[one.id]
    mend = spoil(store, table)
    before = contents(store)
    with pytest.raises(sa.exc.DBAPIError, match="full"):
        store.record([(result(one), attempt)])
    assert contents(store) == before
    assert store.finished() == {}
    mend()
    store.record([(result(one), attempt)])
    assert store.finished() == {one.id: "ok"}


def test_finished_holds_failed_and_diverged_trials_too_and_nothing_unfinished(store: Store) -> None:
    trials = [trial(seed) for seed in range(4)]
    planned(store, *trials)
    for one, status in zip(trials, ("ok", "diverged", "failed"), strict=False):
        finish(store, result(one, status=status))
    assert store.finished() == {trials[0].id: "ok", trials[1].id: "diverged", trials[2].id: "failed"}


def test_a_value_that_is_not_a_number_never_becomes_a_score(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    one = trial()
    planned(store, one)
    broken = [
        dataclasses.replace(
            PLACES.scores[0], name=name, corpus=lambda outputs, references, value=value: value, additive=None
        )
        for name, value in (("nan", math.nan), ("inf", math.inf), ("bleu", 1.0))
    ]
    monkeypatch.setitem(TASKS, "places", dataclasses.replace(PLACES, scores=tuple(broken)))
    found = score(
        "places", [Prediction(item=0, text="a", truncated=False)], {0: Example(source="s", references=("r",))}
    )
    finish(store, result(one, scores=found.values))
    kept = {row["metric"]: row["value"] for row in store.rows(sa.select(tables.scores))}
    assert kept == {"nan": None, "inf": None, "bleu": 1.0}


def test_of_results_that_are_given_together_those_that_count_are_kept(store: Store) -> None:
    done, late, good = (trial(seed) for seed in range(3))
    planned(store, done, late, good)
    finish(store, result(done))
    assert store.begin_attempts([done.id, late.id, good.id]) == {late.id: 1, good.id: 1}, "one is finished"
    store.end_attempt(late.id, 1, "worker died")
    assert store.begin_attempts([late.id]) == {late.id: 2}
    kept = store.record([(result(done, best_step=7), 1), (result(late), 1), (result(good), 1)])
    assert [one.trial_id for one in kept] == [good.id]
    assert store.finished() == {done.id: "ok", good.id: "ok"} and store.trial(done.id)["best_step"] == 0
    assert len(kept_predictions(store, good.id)) == 2 and not kept_predictions(store, late.id)
    assert [row["trial"] for row in store.rows(sa.select(tables.looks))] == [done.id, good.id]
    assert store.record([]) == [] and store.begin_attempts([]) == {}


# --- attempts ------------------------------------------------------------------------------------------------------


def test_attempts_are_numbered_from_one_and_keep_their_outcome(store: Store) -> None:
    first, second = trial(0), trial(1)
    planned(store, first, second)
    assert store.begin_attempts([first.id, second.id]) == {first.id: 1, second.id: 1}
    store.end_attempt(first.id, 1, "worker died")
    assert store.begin_attempts([first.id]) == {first.id: 2}
    store.end_attempt(first.id, 1, "told twice")
    store.record([(result(first), 2)])
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
        finish(store, result(one, status=status, **changes))
    store.forget("another plan")
    assert store.finished()[trials["failed"].id] == "failed", "another plan's failures are left alone"
    store.add_plan("mine", "mine", "text", [CELL])
    store.forget("mine")
    assert store.finished() == {trials["ok"].id: "ok", trials["diverged"].id: "diverged"}
    again = trials["failed"]
    assert store.trial(again.id)["cause"] is None
    assert store.begin_attempts([again.id]) == {again.id: 2}, "the first attempt stays on record"
    store.record([(result(again), 2)])
    assert store.finished()[again.id] == "ok"
    assert store.score(again.id, "bleu") == 12.5


# --- looks at the test split ---------------------------------------------------------------------------------------


def looks(store: Store) -> list[tuple[str, str, str]]:
    return [(r["trial"], r["split"], r["reason"]) for r in store.rows(sa.select(tables.looks))]


def test_every_look_at_the_test_split_is_logged(store: Store) -> None:
    final, search = trial(0), trial(1, split="validation")
    planned(store, final, search)
    finish(store, result(search))
    assert looks(store) == [], "validation items are looked at freely"
    finish(store, result(final))
    assert looks(store) == [(final.id, "test2", "final")]
    new = (ScoreValue(metric="bleu", subset="all", value=13.0, signature="bleu|items:2|version:3"),)
    sums = ItemStatistics(metric="bleu", names=("matches",), packed=pack(np.array([[1.0], [2.0]])))
    store.replace_scores(final.id, new, [sums])
    (kept,) = store.rows(sa.select(tables.item_statistics).where(tables.item_statistics.c.trial == final.id))
    assert kept == {"trial": final.id, "metric": "bleu", "names": ["matches"], "packed": sums.packed}
    assert looks(store) == [(final.id, "test2", "final"), (final.id, "test2", "re-score")]
    assert kept_scores(store, final) == new, "the old ones are gone"
    assert store.score(search.id, "bleu") == 12.5, "other trials keep their scores"


def test_a_failed_trial_is_no_look(store: Store) -> None:
    one = trial()
    planned(store, one)
    finish(store, result(one, status="failed", scores=(), predictions=()))
    assert looks(store) == []


# --- what is written twice stays once ------------------------------------------------------------------------------


def test_adding_again_changes_nothing(store: Store) -> None:
    one = trial()
    row = {"item": 3, "source": "s", "references": ["r", "é"], "tags": {"seen": "seen"}}

    def add_all(first: bool) -> None:
        planned(store, one)
        store.add_items("places", 1, "test2", [row])
        store.add_index_lists({"ef": [3, 11] if first else []})
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
    finish(other, result(one))
    assert store.finished() == {one.id: "ok"}
    other.close()


def test_a_commit_of_sqlite_is_durable_and_lets_others_read(sqlite: str) -> None:
    store = Store(sqlite)
    with store.transaction() as db:
        found = [db.scalar(sa.text(f"PRAGMA {name}")) for name in ("journal_mode", "synchronous", "foreign_keys")]
    assert found == ["wal", 2, 1]


def test_a_reader_is_not_kept_waiting_by_a_writer(store: Store, url: str) -> None:
    planned(store, trial())
    with store.transaction() as db:
        db.execute(sa.text("UPDATE trials SET status = 'ok'"))
        reader = Store(url, create=False)
        assert reader.finished() == {}
        reader.close()


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


def other_schema(url: str) -> None:
    with sa.create_engine(url).begin() as db:
        db.execute(sa.text("CREATE TABLE schema (version INTEGER PRIMARY KEY)"))
        db.execute(sa.text(f"INSERT INTO schema VALUES ({SCHEMA + 1})"))


def test_another_layout_needs_another_schema_number() -> None:
    """Else an older store is opened as if it fitted. Golden: to recompute after raising SCHEMA, print(layout)."""
    layout = content_hash(
        {name: {c.name: str(c.type) for c in t.columns} for name, t in tables.metadata.tables.items()}
    )
    assert (SCHEMA, layout) == (3, "3dd5b5772374")


def test_a_store_of_another_schema_is_refused(url: str) -> None:
    other_schema(url)
    with pytest.raises(StoreError, match=f"the store has schema {SCHEMA + 1}, this featherbench reads schema {SCHEMA}"):
        Store(url)


def test_a_refused_store_is_left_as_it_is(url: str) -> None:
    other_schema(url)
    for create in (True, False):
        with pytest.raises(StoreError):
            Store(url, create=create)
    with sa.create_engine(url).connect() as db:
        assert sa.inspect(db).get_table_names() == ["schema"]


# --- older stores --------------------------------------------------------------------------------------------------


def as_of_schema_1(url: str, *finished: Trial) -> None:
    """A store as the first version wrote it."""
    store = Store(url)
    planned(store, *finished)
    for one in finished:
        finish(store, result(one))
    with store.transaction() as db:
        for statement in (
            "DROP TABLE claims",
            "DROP TABLE item_statistics",
            "DROP TABLE logs",
            "DROP TABLE leases",
            "DROP TABLE drivers",
            "ALTER TABLE attempts DROP COLUMN driver",
            "UPDATE schema SET version = 1",
        ):
            db.execute(sa.text(statement))
    store.close()


def test_an_older_store_is_refused_by_readers_with_the_command_to_run(url: str) -> None:
    as_of_schema_1(url)
    with pytest.raises(StoreError, match="has schema 1, .* bring it up to date with `featherbench upgrade --store"):
        Store(url, create=False)


def test_an_older_store_is_brought_up_to_date_with_all_it_holds(url: str) -> None:
    one, new = trial(0), trial(1)
    as_of_schema_1(url, one)
    store = Store(url)
    assert store.finished() == {one.id: "ok"} and len(store.rows(sa.select(tables.predictions))) == 2
    planned(store, one, new)
    store.join()
    assert finish(store, result(new))
    fresh = sa.MetaData()
    with store.transaction() as db:
        fresh.reflect(db)
    assert {t.name: set(t.columns.keys()) for t in fresh.tables.values()} == {
        t.name: set(t.columns.keys()) for t in tables.metadata.tables.values()
    }
    store.close()


def test_a_copy_of_an_older_file_stays(sqlite: str) -> None:
    as_of_schema_1(sqlite, trial())
    Store(sqlite)
    path = sqlite_path(sqlite)
    assert path is not None
    with sa.create_engine(f"sqlite:///{path}.schema1").connect() as db:
        assert db.scalar(sa.text("SELECT version FROM schema")) == 1


# --- several drivers -----------------------------------------------------------------------------------------------


@pytest.fixture
def other(store: Store, url: str) -> Iterator[Store]:
    """A second driver on the store; both have joined."""
    kept = Store(url)
    store.join(lease=60)
    kept.join(lease=60)
    yield kept
    kept.close()


def stop(store: Store) -> None:
    """As if the driver had given no sign of life for two minutes."""
    with store.transaction() as db:
        mine = tables.drivers.c.id == store.driver
        db.execute(tables.drivers.update().where(mine).values(seen=tables.drivers.c.seen - 120))


def test_a_trial_belongs_to_the_driver_that_began_it(store: Store, other: Store) -> None:
    one = trial()
    planned(store, one)
    assert store.begin_attempts([one.id]) == {one.id: 1}
    assert other.begin_attempts([one.id]) == {}
    assert (store.states([one.id]), other.states([one.id])) == ({one.id: "free"}, {one.id: "elsewhere"})
    store.leave()
    assert other.states([one.id]) == {one.id: "free"}
    assert other.begin_attempts([one.id]) == {one.id: 2}


def test_a_driver_that_gave_no_sign_of_life_loses_its_trial_and_is_refused_later(store: Store, other: Store) -> None:
    one = trial()
    planned(store, one)
    mine = store.begin_attempts([one.id])[one.id]
    stop(store)
    theirs = other.begin_attempts([one.id])[one.id]
    assert (mine, theirs) == (1, 2)
    assert not store.sign_of_life(), "it learns that its leases had run out"
    assert store.sign_of_life()
    assert not store.record([(result(one, best_step=7), 1)])
    assert other.record([(result(one), 2)])
    assert store.trial(one.id)["best_step"] == 0


def test_a_stopped_driver_that_nobody_missed_goes_on(store: Store, other: Store) -> None:
    one = trial()
    planned(store, one)
    assert store.begin_attempts([one.id]) == {one.id: 1}
    stop(store)
    assert store.record([(result(one), 1)])


def test_a_search_belongs_to_one_driver_at_a_time(store: Store, other: Store) -> None:
    planned(store)
    assert store.take_search(CELL.id) and store.take_search(CELL.id)
    assert not other.take_search(CELL.id)
    stop(store)
    assert other.take_search(CELL.id)
    other.add_proposal(CELL.id, 0, {"learning_rate": 0.1}, "sobol")
    for late in (lambda: store.add_proposal(CELL.id, 1, {}, "sobol"), lambda: store.freeze_choice(CELL.id, {})):
        with pytest.raises(LeaseLost):
            late()
    assert store.proposed(CELL.id) == {0: {"learning_rate": 0.1}} and store.choice(CELL.id) is None


def test_a_driver_whose_process_has_ended_is_not_waited_for(store: Store, url: str) -> None:
    one = trial()
    planned(store, one)
    program = "import os, sys; from featherbench.harness.store import Store; s = Store(sys.argv[1]); s.join(); "
    program += "s.begin_attempts(sys.argv[2:]); os._exit(9)"
    subprocess.run([sys.executable, "-c", program, url, one.id], timeout=60)
    assert [row["outcome"] for row in store.rows(sa.select(tables.attempts))] == [None]
    assert store.num_drivers() == 0
    store.join()
    assert store.begin_attempts([one.id]) == {one.id: 2}


def test_drivers_that_write_at_once_take_turns(store: Store, url: str) -> None:
    """Forty trials, four drivers in threads: each trial is begun by one of them."""
    trials = [trial(seed) for seed in range(40)]
    planned(store, *trials)
    begun: list[list[str]] = [[], [], [], []]

    def work(mine: list[str]) -> None:
        driver = Store(url)
        driver.join()
        for one in trials:
            with driver.transaction():
                if driver.begin_attempts([one.id]):
                    mine.append(one.id)
        for one_id in mine:
            assert driver.record([(result(next(t for t in trials if t.id == one_id)), 1)])
        driver.close()

    with ThreadPoolExecutor(len(begun)) as threads:
        list(threads.map(work, begun))
    assert sorted(t for mine in begun for t in mine) == sorted(t.id for t in trials)
    assert set(store.finished().values()) == {"ok"} and len(store.finished()) == 40


# --- hard places ---------------------------------------------------------------------------------------------------


def test_any_text_comes_back(store: Store) -> None:
    """A byte-level model may write NUL, which PostgreSQL's text cannot hold."""
    hard = ["\x00", "\x10", "\x100", "\x10\x00\x100\x10\x10", "a\x00b\x10c", "\r\n\t\u2028\U0010ffff"]
    one = trial()
    planned(store, one)
    finish(store, result(one, predictions=[Prediction(item=i, text=t, truncated=False) for i, t in enumerate(hard)]))
    assert [p.text for p in kept_predictions(store, one.id)] == hard


def test_a_store_on_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounted = [SimpleNamespace(mountpoint="/", fstype="ext4"), SimpleNamespace(mountpoint=str(tmp_path), fstype="nfs4")]
    monkeypatch.setattr(store_module.psutil, "disk_partitions", lambda all: mounted)
    with pytest.raises(StoreError, match="network file system .nfs4., .*--store sqlite:////A/LOCAL.*postgresql://"):
        Store(f"sqlite:///{tmp_path}/runs/store.sqlite")
    mounted.append(SimpleNamespace(mountpoint=str(tmp_path / "local"), fstype="ext4"))
    Store(f"sqlite:///{tmp_path}/local/store.sqlite").close()


def test_a_locked_store_is_told_in_one_line(sqlite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "WAIT_SECONDS", 0.2)
    store, other = Store(sqlite), Store(sqlite)
    with (
        other.transaction(),
        pytest.raises(StoreError, match="database is locked. Another process.*the same command goes on"),
    ):
        store.join()


def test_a_database_that_is_gone_is_told_in_one_line(postgresql: str) -> None:
    store = Store(postgresql)
    with sa.create_engine(postgresql.rsplit("/", 1)[0] + "/postgres", isolation_level="AUTOCOMMIT").connect() as db:
        db.execute(sa.text(f"DROP DATABASE {postgresql.rsplit('/', 1)[1]} WITH (FORCE)"))
    with pytest.raises(StoreError, match="does not exist.*the same command goes on"):
        store.finished()
