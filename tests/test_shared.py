"""The workers of a node share one METEOR process, which is replaced when it dies."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
from tqdm import tqdm
from tqdm.contrib.concurrent import ensure_lock

from featherbench.harness import cluster, schedule, shared
from featherbench.harness.actors import keep_progress_lock
from featherbench.tasks.base import Unavailable
from featherbench.tasks.metrics import meteor, ptb

needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="no Java here")
OUTPUTS = ["a cheap pub", "the café is near the river", ""]
REFERENCES = [["a cheap pub", "it is cheap"], ["the café lies by the river"], ["a pub"]]


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ray on this machine, as a sweep starts it."""
    for key, value in cluster.LOCAL_RAY.items():
        monkeypatch.setenv(key, value)
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=150 * 2**20,
        _temp_dir=os.path.join(tempfile.gettempdir(), "featherbench-ray"),
    )
    yield
    ray.shutdown()


def workers(count: int) -> list[Any]:
    """Actors that score as the pool's workers do, without what trains."""

    class Scorer:
        def __init__(self) -> None:
            shared.share_meteor()

        def lines(self, outputs: list[str], references: list[list[str]]) -> Any:
            try:
                return meteor.meteor_lines(outputs, references)
            except Unavailable as error:
                return str(error)

    return [ray.remote(Scorer).options(num_cpus=1).remote() for _ in range(count)]


def running(mark: str) -> list[psutil.Process]:
    """Processes below this one that live and have `mark` in their command line."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if mark in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.NoSuchProcess:
            pass
    return found


@needs_java
def test_two_workers_score_by_one_meteor_and_get_another_when_it_is_killed(node: None) -> None:
    """Equal to the figures of a process of this one's own, which is ended before the workers' are counted."""
    expected = meteor.meteor_lines(OUTPUTS, REFERENCES)
    meteor._stop()
    scorers = workers(2)

    def scored() -> list[Any]:
        return ray.get([scorer.lines.remote(OUTPUTS, REFERENCES) for scorer in scorers])

    assert scored() == [expected] * 2
    (java,) = running("meteor-1.5.jar")
    assert scored() == [expected] * 2
    assert running("meteor-1.5.jar") == [java], "it stays warm"
    (actor,) = running("ray::Meteor")
    actor.kill()
    psutil.wait_procs([actor, java], timeout=30)
    assert scored() == [expected] * 2
    (other,) = running("meteor-1.5.jar")
    assert other != java
    ray.shutdown()
    psutil.wait_procs([other], timeout=30)
    assert not other.is_running(), "it ends with the sweep"


def test_a_reason_comes_back_from_the_shared_process_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    (tmp_path / "java").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "java").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    request.getfixturevalue("node")  # Ray takes the path over when it starts
    (reason,) = ray.get([scorer.lines.remote(["a"], [["a"]]) for scorer in workers(1)])
    assert reason.startswith("METEOR ended") and "\n" not in reason


def test_a_worker_shares_from_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(shared, "share_meteor", lambda: asked.append("shared"))
    monkeypatch.delattr(tqdm, "_lock", raising=False)
    schedule.worker_class().__ray_actor_class__(engine=None, threads=1)
    assert asked == ["shared"] and hasattr(tqdm, "_lock")


@needs_java
def test_a_worker_tokenises_the_references_of_all_its_trials_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    run = subprocess.run

    def counted(command: list[str], **options: Any) -> Any:
        asked.append(Path(command[-1]).read_text())
        return run(command, **options)

    monkeypatch.setattr(ptb.subprocess, "run", counted)
    ptb.ptb.cache_clear()
    for trial in ("first", "second"):
        ptb.ptb_corpus([f"the {trial} output"], [["A reference!", "Another."]])
    assert asked == ["A reference!\nAnother.", "the first output", "the second output"]


def test_the_progress_bars_of_all_threads_keep_their_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """`datasets` maps over threads within `ensure_lock`, while other threads may have bars of their own."""
    monkeypatch.delattr(tqdm, "_lock", raising=False)
    with ensure_lock(tqdm):
        pass
    assert not hasattr(tqdm, "_lock"), "the reason for what follows is gone"
    keep_progress_lock()
    with ensure_lock(tqdm):
        pass
    assert hasattr(tqdm, "_lock")
