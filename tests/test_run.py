"""The driver's order: which trial may start when. No Ray here: the test plays the workers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml

from featherbench.harness import store as tables
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
            "untuned": False,
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
    while (job := sweep.next_job(beside)) is not None:
        jobs.append(job)
    sweep.keep(started=jobs)
    return jobs


def end(sweep: Sweep, jobs: list[Job], quality: Callable[[Trial], float] = lambda trial: 1.0) -> None:
    sweep.keep(ended=[(job, result_of(job.trial, quality(job.trial))) for job in jobs])


def row_and_seed(jobs: list[Job]) -> list[tuple[str, int]]:
    return [(job.trial.method, job.trial.seed) for job in jobs]


def quality(trial: Trial) -> float:
    return -abs(trial.learning_rate - 1e-3)


def test_rows_fill_evenly(planned: Planned, store: Store) -> None:
    sweep = Sweep(plan=planned(), store=store)
    assert row_and_seed(start_all(sweep)) == [("prefix", 1000), ("full_ft", 1000), ("prefix", 1001), ("full_ft", 1001)]


def test_only_company_is_seated_beside_a_trial(planned: Planned, store: Store) -> None:
    sweep = Sweep(plan=planned(sizes=[20, 30]), store=store)
    first = sweep.next_job()
    assert first is not None and first.company == company(first.trial) is not None
    assert row_and_seed(start_all(sweep, first.company)) == [("prefix", 1000), ("prefix", 1001), ("prefix", 1001)]
    rest = start_all(sweep)
    assert {job.trial.method for job in rest} == {"full_ft"} and {job.company for job in rest} == {None}


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
        while (job := sweep.next_job()) is not None:
            sweep.keep(started=[job])
            end(sweep, [job], quality)
            found.append(job.trial.id)
            if anew:
                sweep = Sweep(plan=plan, store=kept)
        return found

    assert trials(store, False) == trials(Store(f"sqlite:///{tmp_path}/other.sqlite"), True)


def test_a_failed_configuration_is_spent_and_not_chosen(planned: Planned, store: Store) -> None:
    sweep = Sweep(plan=planned(methods=["prefix"], search={"configurations": 3}), store=store)
    jobs = start_all(sweep)
    best = max(jobs, key=lambda job: quality(job.trial))
    sweep.keep(ended=[(best, result_of(best.trial, status="failed", scores=(), cause="a mistake"))])
    others = [job for job in jobs if job is not best]
    end(sweep, others, quality)
    second = max(others, key=lambda job: quality(job.trial))
    assert {job.trial.learning_rate for job in start_all(sweep)} == {second.trial.learning_rate}


def test_what_happened_is_kept_together_or_not_at_all(planned: Planned, store: Store) -> None:
    sweep = Sweep(plan=planned(), store=store)
    first, second = start_all(sweep)[:2]
    damaged = result_of(second.trial, provenance={"cannot be stored": object()})
    with pytest.raises(sa.exc.StatementError):
        sweep.keep(ended=[(first, result_of(first.trial)), (second, damaged)])
    assert store.finished() == {} and sweep.status == {}
