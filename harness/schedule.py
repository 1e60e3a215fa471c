"""Ray places trials on persistent workers; Ray is a stateless executor, the store remembers.

A worker is an actor that keeps its backbone loaded. One that dies is replaced and its trial runs again, at most
MAX_ATTEMPTS times.
"""

from __future__ import annotations

import logging
import math
import os
import socket
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from featherbench.harness.records import Result, Trial

MAX_ATTEMPTS = 3
POLL_SECONDS = 0.5
KNOCK_SECONDS = 5.0

_LOCAL_RAY = {
    "RAY_AUTH_MODE": "disabled",  # a cluster that we start on loopback; never set for an address the user gives
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
}


class ClusterError(RuntimeError):
    """Ray cannot be started or reached."""


@dataclass
class Job:
    """A trial on its way through the workers."""

    trial: Trial
    deaths: int = 0
    attempt: int = 0


@dataclass
class Hooks:
    """What the driver wants to hear."""

    next_trial: Callable[[], Trial | None]
    """The next trial to run, or None if none is ready now"""
    started: Callable[[Trial], int]
    """A trial starts; returns its attempt number"""
    died: Callable[[Trial, int, str], None]
    """An attempt ended without a result"""
    finished: Callable[[Result, int], None]
    progress: Callable[[dict[str, tuple[str, int, int]]], None]
    """Trial id -> (stage, done, total) of everything that runs"""


def _worker_class() -> Any:
    import ray

    class Worker:
        """Runs one trial at a time; a second thread answers questions about its progress."""

        def __init__(self, engine: Any, threads: int) -> None:
            import logging

            import torch
            import transformers

            from featherbench.harness.shared import share_meteor

            torch.set_num_threads(threads)
            transformers.logging.set_verbosity_error()
            transformers.logging.disable_progress_bar()
            logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
            share_meteor()
            self._engine, self._at = engine, ("starting", 0, 1)

        def run(self, trial: str) -> str:
            import torch

            from featherbench.harness.worker import run_trial

            try:
                result = run_trial(Trial.model_validate_json(trial), self._engine, self._note)
            except torch.AcceleratorError:
                os._exit(1)  # after such an error every further call on the device fails
            return result.model_dump_json()

        def _note(self, stage: str, done: int, total: int) -> None:
            self._at = (stage, done, total)

        def progress(self) -> tuple[str, int, int]:
            return self._at

    return ray.remote(Worker)


@dataclass
class Pool:
    """Worker actors of one Ray cluster. Use as a context manager."""

    engine: Any
    address: str | None = None
    num_workers: int | None = None
    """Default: one per GPU, or one on a machine without"""
    _actors: dict[Any, Job] = field(default_factory=dict)
    """Running reference -> job"""

    def __enter__(self) -> Pool:
        import ray

        environment = {
            "HF_HUB_OFFLINE": os.environ.get("HF_HUB_OFFLINE", "0"),
            "TOKENIZERS_PARALLELISM": "false",
            "TQDM_DISABLE": "1",
            "DS_ACCELERATOR": os.environ.get("DS_ACCELERATOR", "cuda" if _has_cuda() else "cpu"),
            **{k: v for k, v in os.environ.items() if k.startswith("FEATHERBENCH_")},
        }
        try:
            if self.address:
                _knock(self.address)
                ray.init(
                    self.address,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    runtime_env={"env_vars": environment},
                )
            else:
                for key, value in _LOCAL_RAY.items():
                    os.environ.setdefault(key, value)
                ray.init(
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    object_store_memory=150 * 2**20,
                    _temp_dir=os.path.join(tempfile.gettempdir(), "featherbench-ray"),
                    runtime_env={"env_vars": environment},
                )
        except Exception as error:
            raise ClusterError(
                f"Ray at {self.address or 'this machine'}: {error}. "
                "Give the HOST:PORT that `ray start --head` printed, ray://HOST:10001, or auto."
                if self.address
                else f"Ray cannot start on this machine: {error}"
            ) from error
        resources = ray.cluster_resources()
        gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
        count = self.num_workers or max(1, gpus)
        if count > cpus:
            ray.shutdown()
            raise ClusterError(
                f"{count} workers were asked for, the cluster has {cpus} CPUs; give --workers {cpus} or fewer."
            )
        threads = max(1, cpus // count)
        per_gpu = math.ceil(count / gpus) if gpus else 0
        options = {"num_gpus": 1 / per_gpu, "num_cpus": 1} if gpus else {"num_cpus": threads}
        self._threads, self._options, self._class = threads, options, _worker_class()
        self._idle = [self._new_worker() for _ in range(count)]
        return self

    def __exit__(self, *_: Any) -> None:
        import ray

        ray.shutdown()

    def _new_worker(self) -> Any:
        return self._class.options(**self._options, max_concurrency=2, max_restarts=0).remote(
            self.engine, self._threads
        )

    def run(self, hooks: Hooks) -> None:
        """Run trials until none is ready and none is running."""
        import ray
        from ray.exceptions import (
            ActorDiedError,
            ActorUnavailableError,
            OutOfMemoryError,
            RayTaskError,
            WorkerCrashedError,
        )

        deaths = (ActorDiedError, ActorUnavailableError, OutOfMemoryError, WorkerCrashedError)

        again: list[Job] = []
        workers: dict[Any, Any] = {}
        while True:
            while self._idle:
                trial = None if again else hooks.next_trial()
                job = again.pop() if again else Job(trial) if trial else None
                if job is None:
                    break
                job.attempt = hooks.started(job.trial)
                worker = self._idle.pop()
                reference = worker.run.remote(job.trial.model_dump_json())
                self._actors[reference], workers[reference] = job, worker
            if not self._actors:
                return
            done, _ = ray.wait(list(self._actors), timeout=POLL_SECONDS)
            for reference in done:
                job, worker = self._actors.pop(reference), workers.pop(reference)
                try:
                    result = Result.model_validate_json(ray.get(reference))
                except deaths as error:
                    job.deaths += 1
                    ray.kill(worker)
                    self._idle.append(self._new_worker())
                    hooks.died(job.trial, job.attempt, "worker died")
                    if job.deaths < MAX_ATTEMPTS:
                        again.append(job)
                    else:
                        cause = f"its worker died {job.deaths} times; given up. Last: {str(error).splitlines()[0]}"
                        hooks.finished(Result(trial_id=job.trial.id, status="failed", cause=cause), job.attempt)
                    continue
                except RayTaskError as error:
                    result = Result(trial_id=job.trial.id, status="failed", cause=f"{type(error).__name__}: {error}")
                self._idle.append(worker)
                hooks.finished(result, job.attempt)
            hooks.progress(self._progress(workers))

    def _progress(self, workers: dict[Any, Any]) -> dict[str, tuple[str, int, int]]:
        import ray

        asked = {reference: worker.progress.remote() for reference, worker in workers.items()}
        ready, _ = ray.wait(list(asked.values()), num_returns=len(asked), timeout=POLL_SECONDS) if asked else ([], [])
        found = {}
        for reference, answer in asked.items():
            if answer in ready:
                try:
                    found[self._actors[reference].trial.id] = ray.get(answer)
                except ray.exceptions.RayError:
                    pass  # the worker is gone; run() finds out by its trial
        return found


def _knock(address: str) -> None:
    """Raise OSError if nothing listens at HOST:PORT or ray://HOST:PORT; Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), KNOCK_SECONDS).close()


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()
