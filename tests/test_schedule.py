"""A cluster of our own: reached from this machine only, and without a trace in this process when it is gone."""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
from ray._private import ray_constants

from featherbench.harness import schedule
from featherbench.harness.schedule import ClusterError, Pool
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
    monkeypatch.setattr(schedule, "_worker_class", idle_worker)
    monkeypatch.setenv("RAY_worker_niceness", "0")  # by default 15, which starves it on a busy machine
    before = listening()
    with Pool(engine=engine, num_workers=1, num_threads=1) as pool:
        [seats] = pool._workers
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
