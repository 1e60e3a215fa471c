"""A cluster of our own: reached from this machine only, and without a trace in this process when it is gone."""

from __future__ import annotations

import ipaddress
import os
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
import sqlalchemy as sa
from ray._private import ray_constants

from featherbench.harness import cluster, schedule, tables
from featherbench.harness.deltas import ArtifactsError
from featherbench.harness.plan import expand
from featherbench.harness.records import Prediction, Trial
from featherbench.harness.records import Result as TrialResult
from featherbench.harness.run import Sweep, run_plan
from featherbench.harness.schedule import ClusterError, Pool
from featherbench.harness.store import Store
from featherbench.harness.worker import Engine

OURS = ("RAY_AUTH_MODE", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """An engine for pools; no setting of Ray is the user's."""
    for name in (*OURS, "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    return Engine(artifacts=str(tmp_path), scratch=str(tmp_path))


def listening() -> set[tuple[str, str]]:
    """Process name and address of every TCP socket that this process and those below it listen on."""
    here = psutil.Process()
    return {
        (process.name(), connection.laddr.ip)
        for process in [here, *here.children(recursive=True)]
        for connection in process.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
    }


def on_loopback(address: str) -> bool:
    found = ipaddress.ip_address(address)
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


def idle_worker() -> Any:
    """Return a worker's class without its libraries, which take long to load."""

    class Worker:
        def __init__(self, engine: Any, threads: int) -> None:
            pass

        def progress(self) -> dict[str, tuple[str, int, int]]:
            return {}

    return ray.remote(Worker)


def test_every_socket_of_our_cluster_is_on_loopback(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "worker_class", idle_worker)
    monkeypatch.setenv("RAY_worker_niceness", "0")  # by default 15, which starves it on a busy machine
    before = listening()
    with Pool(engine=engine, num_workers=1, num_threads=1) as pool:
        [seats] = pool._workers
        while seats.worker is None:
            pool._move_in()
        assert ray.get(seats.worker.progress.remote(), timeout=240) == {}
        found = listening() - before
        nodes = {node["NodeManagerAddress"] for node in ray.nodes()}
        assert os.environ["RAY_AUTH_MODE"] == "disabled"
    assert {"gcs_server", "raylet"} <= {name for name, _ in found}, found
    assert [pair for pair in found if not on_loopback(pair[1])] == []
    assert nodes == {"127.0.0.1"}
    assert not any(name in os.environ for name in OURS)


class Stopped(RuntimeError):
    pass


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What Ray was asked for, instead of starting it."""
    seen: dict[str, Any] = {}

    def init(address: str | None = None, **options: Any) -> None:
        seen.update(address=address, options=options, ours={n: os.environ[n] for n in OURS if n in os.environ})
        raise Stopped("not here")

    monkeypatch.setattr(ray, "init", init)
    return seen


def test_a_cluster_of_our_own_has_no_dashboard_and_no_authentication(engine: Engine, asked: dict[str, Any]) -> None:
    before = ray_constants.ENABLE_RAY_CLUSTER
    with pytest.raises(ClusterError, match="not here"):
        Pool(engine=engine).__enter__()
    assert asked["address"] == "local" and asked["options"]["include_dashboard"] is False
    assert asked["ours"] == {"RAY_AUTH_MODE": "disabled", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    assert not any(name in os.environ for name in OURS) and before == ray_constants.ENABLE_RAY_CLUSTER


def test_what_the_user_set_is_kept(engine: Engine, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_ADDRESS", "192.0.2.1:6379")
    with pytest.raises(ClusterError):
        Pool(engine=engine).__enter__()
    assert asked["ours"]["RAY_AUTH_MODE"] == "token" and asked["address"] == "local"
    assert os.environ["RAY_AUTH_MODE"] == "token"


def test_the_authentication_of_somebody_elses_cluster_is_left_alone(engine: Engine, asked: dict[str, Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        where = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(ClusterError):
            Pool(engine=engine, address=where).__enter__()
    assert asked["address"] == where and asked["ours"] == {}


# --- places ------------------------------------------------------------------------------------------------------------


def divided(monkeypatch: pytest.MonkeyPatch, nodes: list[dict[str, float]], **given: Any) -> cluster.Shares:
    monkeypatch.setattr(cluster, "nodes_now", lambda: nodes)
    return cluster.shares(**{"count": None, "threads": None, "processes": 1, **given})


def test_what_workers_take_of_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    def of(nodes: list[dict[str, float]], **given: Any) -> tuple[int, int, float, int]:
        found = divided(monkeypatch, nodes, **given)
        return found.count, found.cpus, found.gpus, found.spare

    laptop, box = {"CPU": 4.0}, {"CPU": 32.0, "GPU": 8.0}
    assert of([laptop]) == (1, 4, 0, 0), "one worker with all cores"
    assert of([laptop], count=2, threads=1) == (2, 1, 0, 2)
    assert of([laptop, laptop], light=True) == (8, 1, 0, 0), "a worker a core where trials are light"
    assert of([laptop | {"memory": 2.5 * 2**30}], light=True) == (2, 1, 0, 2), "as many as the memory holds"
    assert of([laptop], light=True, threads=4) == (1, 4, 0, 0) and of([box], light=True) == of([box])
    assert of([{"memory": 9.0}, laptop, {"CPU": 2.0}]) == (2, 2, 0, 2), "a worker a node, the head without cores apart"
    assert of([box]) == (8, 1, 1.0, 24), "a worker a GPU"
    assert divided(monkeypatch, [box]).threads == 4, "which computes with its part of the cores"
    assert of([box, box], count=32) == (32, 1, 0.5, 32), "small trials share GPUs"
    assert of([box], processes=4) == (2, 1, 1.0, 24)


@pytest.mark.parametrize(
    ("nodes", "given", "words"),
    [
        ([{"CPU": 4.0}], {"count": 5}, "5 workers were asked for, each with 1 CPU; the cluster has 4 CPUs. Give fewer"),
        ([{"CPU": 4.0}] * 2, {"count": 1, "threads": 8}, "each with 8 CPU; the cluster has 8 CPUs on 2 nodes"),
        (
            [{"CPU": 8.0, "GPU": 2.0}],
            {"processes": 4},
            "1 workers of 4 processes were asked for, each process with 1 CPU, 1 GPU",
        ),
        ([{"memory": 1.0}], {}, "the cluster has 0 CPUs"),
    ],
)
def test_what_no_node_can_ever_hold_is_refused(
    nodes: list[dict[str, float]], given: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ClusterError, match=words):
        divided(monkeypatch, nodes, **given)


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "worker_class", idle_worker)


@pytest.mark.usefixtures("idle")
def test_a_long_wait_for_a_place_is_told(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "WAIT_SECONDS", 0.1)
    monkeypatch.setattr(schedule, "granted", lambda group: None)  # somebody else has it
    heard: list[str] = []
    with Pool(engine=engine, num_workers=1, num_threads=1, on_wait=heard.append) as pool:
        deadline = time.monotonic() + 60
        while not heard and time.monotonic() < deadline:
            pool._move_in()
        assert "1 of 1 workers have waited" in heard[0] and "a place with 1 CPU; free in the cluster:" in heard[0]
        monkeypatch.undo()
        monkeypatch.setattr(schedule, "worker_class", idle_worker)
        while pool._workers[0].worker is None and time.monotonic() < deadline:
            pool._move_in()
        assert cluster.is_alive(pool._workers[0].node)


@pytest.mark.usefixtures("idle")
def test_nodes_that_join_are_used(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setattr(schedule, "GROW_SECONDS", 0.1)
    small = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        first = small.add_node(num_cpus=1)
        with Pool(engine=engine, address=small.address) as pool:

            def living() -> list[str]:
                pool._move_in()
                return [seats.node for seats in pool._workers if seats.worker and cluster.is_alive(seats.node)]

            def wait_for(count: int) -> None:
                deadline = time.monotonic() + 90
                while len(living()) != count and time.monotonic() < deadline:
                    time.sleep(0.2)
                assert len(living()) == count

            wait_for(1)
            small.add_node(num_cpus=1)
            wait_for(2)
            small.remove_node(first, False)
            wait_for(1)
            assert len(set(living())) == 1
    finally:
        small.shutdown()


def worker_that_answers() -> Any:
    """Return a worker's class whose trials are done at once, with an output for each item."""

    class Worker:
        def __init__(self, engine: Any, threads: int) -> None:
            pass

        def run(self, texts: Sequence[str], scored: bool) -> tuple[list[str], None]:
            return [self.done(text, scored) for text in texts], None

        def done(self, text: str, scored: bool) -> str:
            from featherbench.harness.data import items

            trial = Trial.model_validate_json(text)
            outputs = [Prediction(item=i, text="a b c d", truncated=False) for i in items(trial.task, trial.evaluate)]
            assert not scored, "others have a core for that"
            return TrialResult(trial_id=trial.id, status="ok", predictions=tuple(outputs)).model_dump_json()

        def forget(self, trial_ids: Sequence[str]) -> None:
            pass

        def progress(self) -> dict[str, tuple[str, int, int]]:
            return {}

    return ray.remote(Worker)


def test_outputs_are_scored_also_when_the_node_with_free_cores_has_left(
    engine: Engine, tiny_llama: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setattr(schedule, "worker_class", worker_that_answers)
    plan = expand(PLAN.format(backbone=tiny_llama))
    small = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        nodes = {node.node_id: node for node in (small.add_node(num_cpus=1), small.add_node(num_cpus=1))}
        pool = Pool(engine=engine, address=small.address, num_workers=1, num_threads=1)
        sweep = Sweep(plan=plan, store=Store(f"sqlite:///{tmp_path}/store.sqlite"))
        with sweep.turn():
            first = sweep.begin_next()
        assert first is not None
        with pool:
            assert pool._shares.spare == 1
            while pool._workers[0].worker is None:
                pool._move_in()
            (other,) = set(nodes) - {pool._workers[0].node}
            small.remove_node(nodes[other], False)
            pool.run(sweep, first, lambda trial, result: None, lambda running: None)
        assert sweep.done() == {"ok": 3}
    finally:
        small.shutdown()


def worker_that_notes(folder: Path, seconds: float = 0.0, deadly: str = "") -> Any:
    """Return a worker's class whose trials end after so long; one ends the process. What it was given is noted."""

    class Worker:
        def __init__(self, engine: Any, threads: int) -> None:
            pass

        def run(self, texts: Sequence[str], scored: bool) -> tuple[list[str], None]:
            return [self.done(text) for text in texts], None

        def done(self, text: str) -> str:
            trial = Trial.model_validate_json(text)
            with (folder / trial.id).open("a") as notes:
                notes.write("given\n")
            if trial.id == deadly:
                os._exit(1)
            time.sleep(seconds)
            return TrialResult(trial_id=trial.id, status="ok").model_dump_json()

        def forget(self, trial_ids: Sequence[str]) -> None:
            pass

        def progress(self) -> dict[str, tuple[str, int, int]]:
            return {}

    return ray.remote(Worker)


@pytest.fixture
def swept(
    engine: Engine, tiny_llama: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Sweep, int]]:
    """Run a plan with a worker's class; return the sweep, and the most trials that the worker had at once."""

    def run(worker: Callable[[], Any], seeds: int) -> tuple[Sweep, int]:
        monkeypatch.setattr(schedule, "worker_class", worker)
        plan = expand(PLAN.format(backbone=tiny_llama).replace("seeds: 3", f"seeds: {seeds}"))
        sweep, most = Sweep(plan=plan, store=Store(f"sqlite:///{tmp_path}/store.sqlite")), 0
        pool = Pool(engine=engine, num_workers=1, num_threads=1)
        seat = pool._seat

        def counted(driver: Any) -> None:
            nonlocal most
            seat(driver)
            most = max(most, len(pool._workers[0].jobs))

        monkeypatch.setattr(pool, "_seat", counted)
        run_plan(sweep, lambda: pool)
        return sweep, most

    return run


def test_a_worker_is_given_several_very_short_trials_at_once(swept: Any, tmp_path: Path) -> None:
    sweep, most = swept(lambda: worker_that_notes(tmp_path), 40)
    assert sweep.done() == {"ok": 40} and 1 < most <= schedule.MOST_AHEAD
    attempts = sweep.store.rows(sa.select(tables.attempts.c["trial", "number"]))
    assert len(attempts) == 40 and all((tmp_path / row["trial"]).read_text() == "given\n" for row in attempts)


def test_a_worker_is_given_longer_trials_one_by_one(swept: Any, tmp_path: Path) -> None:
    sweep, most = swept(lambda: worker_that_notes(tmp_path, seconds=schedule.AHEAD_SECONDS), 5)
    assert sweep.done() == {"ok": 5} and most == 1


def test_trials_that_were_given_with_a_deadly_one_run_again(
    swept: Any, tiny_llama: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "AHEAD_SECONDS", 1e6)  # all are given, once the first has ended, however late
    (cell,) = expand(PLAN.format(backbone=tiny_llama)).cells
    deadly = cell.trial("final", 2, {}).id
    sweep, most = swept(lambda: worker_that_notes(tmp_path, deadly=deadly), 12)
    assert sweep.done() == {"ok": 11, "failed": 1} and sweep.status[deadly] == "failed"
    assert most == 11 and "its worker died 3 times" in sweep.store.trial(deadly)["cause"]


def worker_without_room(last: int) -> Any:
    """Return a worker's class that can write no delta any more after so many trials."""

    class Worker:
        def __init__(self, engine: Any, threads: int) -> None:
            self.left = last

        def run(self, texts: Sequence[str], scored: bool) -> tuple[list[str], Exception | None]:
            fits, self.left = texts[: self.left], max(0, self.left - len(texts))
            done = [TrialResult(trial_id=Trial.model_validate_json(text).id, status="ok") for text in fits]
            return [one.model_dump_json() for one in done], None if len(fits) == len(texts) else ArtifactsError("full")

        def forget(self, trial_ids: Sequence[str]) -> None:
            pass

        def progress(self) -> dict[str, tuple[str, int, int]]:
            return {}

    return ray.remote(Worker)


def test_trials_that_ended_before_one_without_room_for_its_delta_are_kept(
    swept: Any, tiny_llama: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "AHEAD_SECONDS", 1e6)  # all are given, once the first has ended, however late
    with pytest.raises(ArtifactsError, match="full"):
        swept(lambda: worker_without_room(4), 12)
    store = Store(f"sqlite:///{tmp_path}/store.sqlite")
    assert list(store.finished().values()) == ["ok"] * 4
    outcomes = [row["outcome"] for row in store.rows(sa.select(tables.attempts.c.outcome))]
    assert "delta not written" in outcomes and set(outcomes) <= {"ok", "delta not written", None}


PLAN = """
protocol: 1
name: small
backbones: [{backbone}]
tasks: [places]
sizes: [20]
methods: [prefix]
baselines: []
test: 4
final: {{seeds: 3}}
"""
