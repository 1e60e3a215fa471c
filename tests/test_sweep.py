"""The whole way, plan -> Ray -> store -> report, on a tiny backbone; with workers and drivers that are killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa
import torch

from featherbench.harness import schedule, tables, worker
from featherbench.harness.decode import decode
from featherbench.harness.plan import expand
from featherbench.harness.run import Sweep, run_plan
from featherbench.harness.schedule import MAX_ATTEMPTS, ClusterError, Pool
from featherbench.harness.status import log_of
from featherbench.harness.store import Store
from featherbench.harness.worker import Engine, run_trial

torch.set_num_threads(1)

PLAN = """
protocol: 1
name: small
backbones: [{backbone}]
tasks: [places]
sizes: [20]
methods: [full_ft, prefix, {{method: adapter, config: {{learning_rate: 1.0e+30}}}}]
baselines: [untuned]
search: {{configurations: {configurations}}}
training: {{steps: {steps}, batch_size: 4, evaluations: 2}}
test: 6
decoding: {{beams: 2, max_new_tokens: 8}}
final: {{seeds: 2}}
precision: float32
"""


def plan_text(backbone: str, steps: int = 4, configurations: int = 0) -> str:
    return PLAN.format(backbone=backbone, steps=steps, configurations=configurations)


def contents(kept: Store) -> dict[str, Any]:
    """Everything in a store that must not depend on interruptions."""
    order = {
        "scores": ("trial", "metric", "subset"),
        "predictions": ("trial", "item"),
        "curves": ("trial", "name", "step"),
    }
    found: dict[str, Any] = {
        name: kept.rows(sa.select(table).order_by(*(table.c[k] for k in order[name])))
        for name, table in (("scores", tables.scores), ("predictions", tables.predictions), ("curves", tables.curves))
    }
    chosen = (tables.trials.c.id, tables.trials.c.status, tables.trials.c.best_step, tables.trials.c.delta_sha256)
    found["trials"] = kept.rows(sa.select(*chosen).order_by(tables.trials.c.id))
    places = tables.places.c
    found["places"] = kept.rows(sa.select(tables.places).order_by(places.cell, places.phase, places.number))
    return found


def attempts(kept: Store) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in kept.rows(sa.select(tables.attempts).order_by(tables.attempts.c.trial, tables.attempts.c.number)):
        found.setdefault(row["trial"], []).append(row["outcome"])
    return found


def command(plan: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "featherbench.harness.cli", "run", str(plan), "--out", str(out), "--json"]


@pytest.fixture(scope="module")
def calm(tiny_llama: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """An uninterrupted run with a search phase: its plan, its folder and what it printed."""
    folder = tmp_path_factory.mktemp("calm")
    plan = folder / "small.yaml"
    plan.write_text(plan_text(tiny_llama, steps=40, configurations=2))
    done = subprocess.run(command(plan, folder / "out"), capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    return plan, folder / "out", json.loads(done.stdout)


def test_one_command_gives_a_store_and_a_report(calm: tuple[Path, Path, dict[str, Any]]) -> None:
    _, out, printed = calm
    # adapter's learning rate of 1e30 is fixed, so all of its trials diverge; its step-0 weights still have scores
    assert printed["ran"] == printed["ok"] + printed["diverged"] == 1 + 3 * (2 + 2)
    assert printed["diverged"] == 4 and "failed" not in printed
    page = (out / "report" / "index.html").read_text()
    for row in ("untuned", "full_ft", "prefix", "adapter"):
        assert row in page
    kept = Store(f"sqlite:///{out / 'store.sqlite'}", create=False)
    assert len(kept.rows(sa.select(tables.predictions))) == 7 * 6 + 6 * 6, (
        "final: 6 test items; search: 6 of validation"
    )
    assert all(row["reason"] == "final" for row in kept.rows(sa.select(tables.looks)))
    assert len(kept.rows(sa.select(tables.looks))) == 7, "the test split is looked at in the final phase only"
    assert not list(out.glob("checkpoints/*")), "checkpoints of finished trials are removed"
    texts = [row["text"] for row in kept.rows(sa.select(tables.logs))]
    assert len(texts) == 13 and all("loading 0/1" in text and "decoding" in text for text in texts)
    trial = kept.rows(sa.select(tables.trials.c.id))[0]["id"]
    assert log_of(kept, trial, out)[0].endswith(("attempt 1: ok", "attempt 1: diverged"))
    assert log_of(kept, trial, out)[1:] == log_of(kept, trial, None)[1:], "the file and the store tell the same"


def test_running_a_finished_plan_again_trains_nothing(calm: tuple[Path, Path, dict[str, Any]]) -> None:
    plan, out, printed = calm
    before = contents(Store(f"sqlite:///{out / 'store.sqlite'}"))
    done = subprocess.run(command(plan, out), capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {**printed, "ran": 0}
    assert contents(Store(f"sqlite:///{out / 'store.sqlite'}")) == before


def test_a_killed_driver_loses_nothing(calm: tuple[Path, Path, dict[str, Any]], tmp_path: Path) -> None:
    """kill -9 in the middle, then the same command: no finished trial runs again, and the results are the calm run's."""
    plan, out, _ = calm
    driver = subprocess.Popen(command(plan, tmp_path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    database = tmp_path / "store.sqlite"
    deadline = time.monotonic() + 300
    while not (database.exists() and len(finished_in(database)) >= 4):
        assert driver.poll() is None and time.monotonic() < deadline, "the sweep ended before it could be killed"
        time.sleep(0.05)
    family = psutil.Process(driver.pid).children(recursive=True)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    early = finished_in(database)
    assert 4 <= len(early) < 13
    done = subprocess.run(command(plan, tmp_path), capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    kept, calm_store = Store(f"sqlite:///{database}"), Store(f"sqlite:///{out / 'store.sqlite'}")
    assert contents(kept) == contents(calm_store)
    tried = attempts(kept)
    assert all(len(tried[trial]) == 1 for trial in early), "a finished trial was started again"
    in_flight = os.cpu_count() or 1  # a worker a core, since the backbone is light
    assert sum(len(t) for t in tried.values()) <= 13 + in_flight, "at most the trials in flight are repeated"
    # Ray's agents see their raylet's end within seconds, then seek the dead GCS for up to a minute to report it
    _, alive = psutil.wait_procs(family, timeout=150)
    assert not alive, "processes of the killed driver live on"


def finished_in(database: Path) -> set[str]:
    try:
        return set(Store(f"sqlite:///{database}", create=False).finished())
    except Exception:  # the driver is just creating it
        return set()


def test_ctrl_c_says_how_to_go_on(calm: tuple[Path, Path, dict[str, Any]], tmp_path: Path) -> None:
    plan, _, _ = calm
    driver = subprocess.Popen(command(plan, tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not ((tmp_path / "store.sqlite").exists() and finished_in(tmp_path / "store.sqlite")):
        assert driver.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    driver.send_signal(signal.SIGINT)
    _, errors = driver.communicate(timeout=60)
    assert driver.returncode == 130
    assert "the same command goes on" in errors and "Traceback" not in errors


def test_a_dead_worker_is_replaced_and_its_trial_runs_again(tiny_llama: str, tmp_path: Path) -> None:
    """The worker is killed in its first trial: that trial runs again; killed each time, it is given up."""
    text = plan_text(tiny_llama).replace("final: {seeds: 2}", "final: {seeds: 1}").replace("[untuned]", "[]")
    plan = expand(text)
    victims = {plan.cells[0].base.id: MAX_ATTEMPTS, plan.cells[1].base.id: 1}
    kept = Store(f"sqlite:///{tmp_path / 'store.sqlite'}")
    sweep = Sweep(plan=plan, store=kept)

    def kill_victims(running: dict[str, tuple[str, int, int]]) -> None:
        for trial in running:
            if victims.get(trial, 0) > 0:
                for process in psutil.Process().children(recursive=True):
                    if process.is_running() and process.name().startswith("ray::Worker"):
                        victims[trial] -= 1
                        process.kill()

    # a long first trial, so that there is time to kill its worker
    run_plan(
        sweep,
        lambda: Pool(engine=Engine(artifacts=str(tmp_path), scratch=str(tmp_path)), num_workers=1),
        on_progress=kill_victims,
    )
    tried = attempts(kept)
    assert tried[plan.cells[0].base.id] == ["worker died"] * (MAX_ATTEMPTS - 1) + ["failed"]
    assert "died 3 times" in kept.trial(plan.cells[0].base.id)["cause"]
    assert tried[plan.cells[1].base.id] == ["worker died", "ok"]
    assert tried[plan.cells[2].base.id] == ["diverged"]


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (torch.OutOfMemoryError("12 GiB wanted"), "out of memory: 12 GiB wanted"),
        (KeyError("a mistake in a method"), "KeyError: 'a mistake in a method'"),
    ],
)
def test_a_failing_trial_is_a_result_with_its_cause(
    error: Exception, cause: str, tiny_llama: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise error

    monkeypatch.setattr(worker.Pack, "train", fail)
    trial = expand(plan_text(tiny_llama)).cells[1].base
    result = run_trial(trial, Engine(artifacts=str(tmp_path), scratch=str(tmp_path)))
    assert result.status == "failed" and result.cause is not None and result.cause.startswith(cause)
    assert result.scores == () and result.provenance["packages"]["torch"]


def test_a_delta_gives_the_predictions_back(tiny_llama: str, tmp_path: Path) -> None:
    """generate and export run on what was stored: the same text as the trial's own; a damaged file is refused."""
    trial = next(c.base for c in expand(plan_text(tiny_llama)).cells if c.cell.row == "prefix")
    engine = Engine(artifacts=str(tmp_path), scratch=str(tmp_path))
    result = run_trial(trial, engine)
    assert result.status == "ok" and result.delta and result.delta_sha256
    tuned, encoder = worker.tuned_from_delta(trial, str(tmp_path), result.delta, result.delta_sha256)
    again = decode(tuned, encoder, worker.sources_of(trial), trial.decoding)
    assert tuple(again) == result.predictions
    (tmp_path / result.delta).write_bytes(b"damaged")
    with pytest.raises(ValueError, match="expected sha256"):
        worker.tuned_from_delta(trial, str(tmp_path), result.delta, result.delta_sha256)


class NeverStarts:
    def __init__(self, *_: Any) -> None:
        raise OSError

    def run(self, *_: Any) -> str:
        raise AssertionError("it never started")

    progress = run


def test_workers_that_cannot_start_end_the_sweep_with_the_reason(
    tiny_llama: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    monkeypatch.setattr(schedule, "worker_class", lambda: ray.remote(NeverStarts))
    kept = Store(f"sqlite:///{tmp_path / 'store.sqlite'}")
    with pytest.raises(ClusterError, match="workers cannot start here.*NeverStarts"):
        run_plan(
            Sweep(plan=expand(plan_text(tiny_llama)), store=kept),
            lambda: Pool(engine=Engine(artifacts=str(tmp_path), scratch=str(tmp_path)), num_workers=1),
        )
    assert not kept.finished()


@pytest.mark.parametrize("address", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_a_cluster_that_does_not_answer_is_told_at_once(address: str, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound and not listening: nobody else takes it meanwhile
        where = address.format(free.getsockname()[1])
        engine = Engine(artifacts=str(tmp_path), scratch=str(tmp_path))
        with pytest.raises(ClusterError, match=f"Ray at {where}: .*refused. Give the HOST:PORT"):
            Pool(engine=engine, address=where).__enter__()


def test_a_trial_never_sees_what_an_earlier_one_tuned(tiny_llama: str, tmp_path: Path) -> None:
    """Full fine-tuning gives the backbone's own weights up for its copy; the next trial of the worker has them again."""
    trials = {c.cell.row: c.base for c in expand(plan_text(tiny_llama)).cells}
    engine = Engine(artifacts=str(tmp_path), scratch=str(tmp_path))
    alone = run_trial(trials["prefix"], engine)
    assert run_trial(trials["full_ft"], engine).status == "ok"
    after = run_trial(trials["prefix"], engine)
    assert (after.delta_sha256, after.predictions) == (alone.delta_sha256, alone.predictions)


PACKED = """
protocol: 1
name: packed
backbones: [{backbone}]
tasks: [places]
sizes: [20, 30]
methods: [prefix, adapter, ft_top2]
baselines: [untuned]
training: {{steps: {steps}, batch_size: 4, evaluations: 2}}
test: 6
decoding: {{beams: 2, max_new_tokens: 8}}
final: {{seeds: 3}}
precision: float64
"""


def run_packed(plan: Any, folder: Path, slots: int, num_threads: int | None = None, **hooks: Any) -> Store:
    folder.mkdir()
    kept = Store(f"sqlite:///{folder / 'store.sqlite'}")
    engine = Engine(artifacts=str(folder), scratch=str(folder), slots=slots)
    pool = Pool(engine=engine, num_workers=1, num_threads=num_threads)
    run_plan(Sweep(plan=plan, store=kept), lambda: pool, **hooks)
    assert (pool._score is None) == (num_threads is None)
    return kept


def test_a_packed_sweep_stores_what_a_plain_one_stores(tiny_llama: str, tmp_path: Path) -> None:
    """Over both sizes and all seeds, trials of a method keep each other company; texts and scores do not change.

    The packed sweep leaves cores free, so its outputs are scored there, in processes of their own.
    """
    if (os.cpu_count() or 1) < 2:
        pytest.skip("one core: none is left to score on")
    plan = expand(PACKED.format(backbone=tiny_llama, steps=6))
    plain, packed = run_packed(plan, tmp_path / "1", 1), run_packed(plan, tmp_path / "3", 3, num_threads=1)
    found, expected = contents(packed), contents(plain)
    for name in ("scores", "predictions", "places"):
        assert found[name] == expected[name], name
    for a, b in zip(found["curves"], expected["curves"], strict=True):
        assert (a["trial"], a["name"], a["step"]) == (b["trial"], b["name"], b["step"])
        assert a["value"] == pytest.approx(b["value"], rel=1e-9)
    shared = {row["id"]: row["cost"]["pack"] for row in packed.rows(sa.select(tables.trials))}
    methods = {c.trial("final", n, {}).id: c.base.method for c in plan.cells for n in range(c.num_final)}
    assert max(shared[t] for t in shared if methods[t] in ("prefix", "adapter")) > 1.5
    assert all(shared[t] == 1.0 for t in shared if methods[t] in ("ft_top2", "untuned"))


def test_a_trial_that_kills_its_worker_takes_no_companion_along(tiny_llama: str, tmp_path: Path) -> None:
    """After a death every trial of the worker runs alone: the culprit is given up, the others finish."""
    plan = expand(PACKED.format(backbone=tiny_llama, steps=40))
    cell = next(c for c in plan.cells if c.base.method == "prefix")
    poison = cell.trial("final", 0, {}).id

    def kill_where_poison_runs(running: dict[str, tuple[str, int, int]]) -> None:
        if poison in running:
            for process in psutil.Process().children(recursive=True):
                if process.is_running() and process.name().startswith("ray::Worker"):
                    process.kill()

    kept = run_packed(plan, tmp_path / "poisoned", 3, on_progress=kill_where_poison_runs)
    tried = attempts(kept)
    assert tried.pop(poison)[-1] == "failed" and f"died {MAX_ATTEMPTS} times" in kept.trial(poison)["cause"]
    causes = {trial: kept.trial(trial)["cause"] for trial in tried}
    assert {trial: cause for trial, cause in causes.items() if cause} == {}
    assert {outcomes[-1] for outcomes in tried.values()} == {"ok"}
    assert any(outcomes == ["worker died", "ok"] for outcomes in tried.values()), "nobody kept it company"
