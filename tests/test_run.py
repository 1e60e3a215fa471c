"""The driver's order: which trial may start when. No Ray here: the test plays the workers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml

from featherbench.harness import run, tables
from featherbench.harness.plan import Plan, expand
from featherbench.harness.records import Result, ScoreValue, Trial
from featherbench.harness.run import Sweep, company
from featherbench.harness.schedule import Job
from featherbench.harness.store import Store

Planned = Callable[..., Plan]


@pytest.fixture
def planned(tiny_llama: str) -> Planned:
    def of(**changes: Any) -> Plan:
        plan = {
            "protocol": 1,
            "name": "small",
            "backbones": [tiny_llama],
            "tasks": ["places"],
            "sizes": [20],
            "methods": ["prefix", "full_ft"],
            "baselines": [],
            "test": 8,
            "training": {"steps": 10},
            "search": {"configurations": 0},
            "final": {"seeds": 2},
        }
        return expand(yaml.safe_dump(plan | changes))

    return of


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path}/store.sqlite")


def result_of(trial: Trial, value: float = 1.0, **changes: Any) -> Result:
    score = ScoreValue(metric="bleu", subset="all", value=value, signature="")
    return Result(trial_id=trial.id, **({"status": "ok", "scores": (score,)} | changes))


def start_all(sweep: Sweep, beside: str | None = None) -> list[Job]:
    jobs = []
    with sweep.turn():
        while (job := sweep.begin_next(beside)) is not None:
            jobs.append(job)
    return jobs


def keep(sweep: Sweep, *ended: tuple[Job, Result]) -> list[Result]:
    with sweep.turn():
        return sweep.keep(ended)


def end(sweep: Sweep, jobs: list[Job], quality: Callable[[Trial], float] = lambda trial: 1.0) -> None:
    keep(sweep, *((job, result_of(job.trial, quality(job.trial))) for job in jobs))


def row_and_seed(jobs: list[Job]) -> list[tuple[str, int]]:
    return [(job.trial.method, job.trial.seed) for job in jobs]


def quality(trial: Trial) -> float:
    return -abs(trial.learning_rate - 1e-3)


def test_rows_fill_evenly(planned: Planned, store: Store) -> None:
    sweep = Sweep(plan=planned(), store=store)
    assert row_and_seed(start_all(sweep)) == [("prefix", 1000), ("full_ft", 1000), ("prefix", 1001), ("full_ft", 1001)]


def test_only_company_is_seated_beside_a_trial(planned: Planned, store: Store) -> None:
    sweep = Sweep(plan=planned(sizes=[20, 30]), store=store)
    with sweep.turn():
        first = sweep.begin_next()
    assert first is not None and first.company == company(first.trial) is not None
    assert row_and_seed(start_all(sweep, first.company)) == [("prefix", 1000), ("prefix", 1001), ("prefix", 1001)]
    rest = start_all(sweep)
    assert {job.trial.method for job in rest} == {"full_ft"} and {job.company for job in rest} == {None}


@pytest.mark.parametrize(("method", "field"), [("prefix", "length"), ("adapter", "bottleneck")])
def test_company_is_of_similar_size(planned: Planned, method: str, field: str) -> None:
    """A slot is filled up to the largest of its pack: to less than twice its own size."""
    sizes = [1, 2, 3, 4, 7, 8, 100]
    rows = [{"method": method, "row": f"of {size}", "config": {field: size}} for size in sizes]
    together: dict[str | None, list[int]] = {}
    for cell in planned(methods=rows).cells:
        together.setdefault(company(cell.base), []).append(cell.base.config[field])
    assert list(together.values()) == [[1], [2, 3], [4, 7], [8], [100]] and None not in together


def test_what_was_finished_is_not_started_again_but_gets_its_place(planned: Planned, store: Store) -> None:
    end(sweep := Sweep(plan=planned(), store=store), start_all(sweep)[:3])
    again = Sweep(plan=planned(), store=store)
    assert row_and_seed(start_all(again)) == [("full_ft", 1001)]
    assert again.done() == {"ok": 3, "new": 1}


def test_a_trial_that_two_cells_share_runs_once_and_fills_both(planned: Planned, store: Store) -> None:
    rows = ["prefix", {"method": "prefix", "row": "again"}]
    sweep = Sweep(plan=planned(methods=rows), store=store)
    jobs = start_all(sweep)
    assert row_and_seed(jobs) == [("prefix", 1000), ("prefix", 1001)]
    end(sweep, jobs)
    assert sweep.done() == {"ok": 4}
    places = store.rows(sa.select(tables.places.c["cell", "trial"]))
    assert len(places) == 4 and len({row["trial"] for row in places}) == 2


@pytest.mark.parametrize("sampler", ["sobol", "tpe"])
def test_the_final_phase_starts_with_the_best_of_a_whole_search(planned: Planned, store: Store, sampler: str) -> None:
    sweep = Sweep(plan=planned(methods=["prefix"], search={"configurations": 8, "sampler": sampler}), store=store)
    tried = []
    while jobs := start_all(sweep):
        if jobs[0].trial.evaluate.split == "test":
            break
        tried += [job.trial for job in jobs]
        for job in reversed(jobs):  # in whatever order they end
            end(sweep, [job], quality)
    assert len(tried) == 8
    best = max(tried, key=quality)
    assert [job.trial.seed for job in jobs] == [1000, 1001]
    assert {(job.trial.learning_rate, job.trial.steps) for job in jobs} == {(best.learning_rate, best.steps)}


@pytest.mark.parametrize("sampler", ["sobol", "tpe"])
def test_a_driver_that_starts_anew_proposes_the_same(
    planned: Planned, store: Store, tmp_path: Path, sampler: str
) -> None:
    plan = planned(methods=["prefix"], search={"configurations": 8, "sampler": sampler})

    def trials(kept: Store, anew: bool) -> list[str]:
        sweep, found = Sweep(plan=plan, store=kept), []
        while True:
            with sweep.turn():
                job = sweep.begin_next()
            if job is None:
                return found
            end(sweep, [job], quality)
            found.append(job.trial.id)
            if anew:
                sweep = Sweep(plan=plan, store=kept)

    assert trials(store, False) == trials(Store(f"sqlite:///{tmp_path}/other.sqlite"), True)


def test_a_failed_configuration_is_spent_and_not_chosen(planned: Planned, store: Store) -> None:
    sweep = Sweep(plan=planned(methods=["prefix"], search={"configurations": 3}), store=store)
    jobs = start_all(sweep)
    best = max(jobs, key=lambda job: quality(job.trial))
    keep(sweep, (best, result_of(best.trial, status="failed", scores=(), cause="a mistake")))
    others = [job for job in jobs if job is not best]
    end(sweep, others, quality)
    second = max(others, key=lambda job: quality(job.trial))
    assert {job.trial.learning_rate for job in start_all(sweep)} == {second.trial.learning_rate}


def test_what_happened_is_kept_together_or_not_at_all(planned: Planned, store: Store) -> None:
    sweep = Sweep(plan=planned(), store=store)
    first, second = start_all(sweep)[:2]
    damaged = result_of(second.trial, provenance={"cannot be stored": object()})
    with pytest.raises(sa.exc.StatementError):
        keep(sweep, (first, result_of(first.trial)), (second, damaged))
    assert store.finished() == {} and sweep.status == {}


# --- two drivers on one store --------------------------------------------------------------------------------------


@pytest.fixture
def pair(store: Store, monkeypatch: pytest.MonkeyPatch) -> Callable[[Plan], tuple[Sweep, Sweep]]:
    """Two drivers of a plan on one store, that look at each other's work in every turn."""
    monkeypatch.setattr(run, "LOOK_SECONDS", 0.0)
    return lambda plan: (Sweep(plan=plan, store=store), Sweep(plan=plan, store=Store(store.url)))


def stop(sweep: Sweep) -> None:
    """As if the driver had been stopped for longer than its lease."""
    with sweep.store.transaction() as db:
        mine = tables.drivers.c.id == sweep.store.driver
        db.execute(tables.drivers.update().where(mine).values(seen=tables.drivers.c.seen - 120))
    sweep._signed -= 120


def outcomes(store: Store) -> dict[str, list[str | None]]:
    found: dict[str, list[str | None]] = {}
    for row in store.rows(sa.select(tables.attempts).order_by(tables.attempts.c.trial, tables.attempts.c.number)):
        found.setdefault(row["trial"], []).append(row["outcome"])
    return found


def start_one(sweep: Sweep) -> Job:
    with sweep.turn():
        job = sweep.begin_next()
    assert job is not None
    return job


def test_two_drivers_share_the_final_trials(planned: Planned, pair: Any, store: Store) -> None:
    one, other = pair(planned())
    jobs = [start_one(one), start_one(other), start_one(one), start_one(other)]
    assert row_and_seed(jobs) == [("prefix", 1000), ("full_ft", 1000), ("prefix", 1001), ("full_ft", 1001)]
    assert start_all(one) == [] and start_all(other) == []
    assert not one.over, "it waits for the other's trials, which it may have to take over"
    end(one, jobs[::2])
    end(other, jobs[1::2])
    assert start_all(one) == start_all(other) == [] and one.over and other.over
    assert one.done() == other.done() == {"ok": 4}
    assert list(outcomes(store).values()) == [["ok"]] * 4


@pytest.mark.parametrize("sampler", ["sobol", "tpe"])
def test_a_search_is_one_drivers_and_its_final_phase_everybodys(planned: Planned, pair: Any, sampler: str) -> None:
    one, other = pair(planned(methods=["prefix"], search={"configurations": 4, "sampler": sampler}))
    while (jobs := start_all(one))[0].trial.evaluate.split != "test":
        assert start_all(other) == [] and not other.over
        end(one, jobs, quality)
        if theirs := start_all(other):
            break
    assert {job.trial.evaluate.split for job in theirs} == {"test"}, "the choice is the other's to use at once"
    end(other, theirs)
    assert start_all(one) == [] and one.over and other.over
    assert one.done() == other.done() == {"ok": 6}


@pytest.mark.parametrize("sampler", ["sobol", "tpe"])
def test_a_search_is_taken_over_from_a_driver_that_is_gone(
    planned: Planned, pair: Any, store: Store, tmp_path: Path, sampler: str
) -> None:
    plan = planned(methods=["prefix"], search={"configurations": 4, "sampler": sampler})
    calm = Sweep(plan=plan, store=Store(f"sqlite:///{tmp_path}/calm.sqlite"))
    while jobs := start_all(calm):
        end(calm, jobs, quality)
    one, other = pair(plan)
    first = start_one(one)
    end(one, [first], quality)
    late = start_all(one)
    stop(one)
    while jobs := start_all(other):
        end(other, jobs, quality)
    assert other.over and other.done() == {"ok": 6}
    with one.turn():  # woken up, with results of trials that the other has recorded
        assert one.begin_next() is None
        assert one.keep([(job, result_of(job.trial, 0.5)) for job in late]) == []
    start_all(one)
    assert one.over and one.done() == {"ok": 6}
    assert store.choice(plan.cells[0].cell.id) == calm.store.choice(plan.cells[0].cell.id)
    assert set(store.finished()) == set(calm.store.finished())
    assert all(tried.count("ok") == 1 for tried in outcomes(store).values())
    assert outcomes(store)[first.trial.id] == ["ok"], "what was finished did not start again"


def test_trials_of_a_driver_that_is_gone_run_again_elsewhere(planned: Planned, pair: Any, store: Store) -> None:
    one, other = pair(planned())
    lost = start_one(one)
    end(other, start_all(other))
    assert not other.over
    one.store.leave()  # Ctrl-C
    again = start_all(other)
    assert [job.trial.id for job in again] == [lost.trial.id] and again[0].attempt == 2
    end(other, again)
    assert other.over and other.done() == {"ok": 4}


def test_a_trial_whose_worker_died_is_left_to_a_driver_that_took_it_over(planned: Planned, pair: Any) -> None:
    one, other = pair(planned())
    jobs = start_all(one)
    stop(one)
    theirs = start_all(other)
    assert len(theirs) == len(jobs) == 4
    one.died(jobs[0], "worker died")
    with one.turn():
        assert one.begin([jobs[0]]) == []
    assert not one.over
    end(other, theirs)
    assert keep(one, *((job, result_of(job.trial, 0.5)) for job in jobs[1:])) == []
    assert start_all(one) == [] and one.over and one.done() == {"ok": 4}
