"""Ray places trials on persistent workers; Ray is a stateless executor, the store remembers.

A worker is an actor that keeps its backbone loaded. It has seats, for trials that keep each other company in a pack.
One that dies is replaced and its trials run again, from then on each by itself, at most MAX_ATTEMPTS times.
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
MOST_SLOTS = 32
"""Trials of a pack at most, where their number is found by trying"""
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
    company: str | None
    """Trials of one company may share a worker; None: this one is alone"""
    deaths: int = 0
    """How often its worker died while it was alone there"""
    attempt: int = 0


@dataclass
class Seats:
    """A worker and what runs there."""

    worker: Any
    jobs: dict[Any, Job] = field(default_factory=dict)
    """Running reference -> job"""


@dataclass
class Hooks:
    """What the driver wants to hear."""

    next_trial: Callable[[Callable[[Trial], bool]], Trial | None]
    """The next trial of those that fit, or None if none is ready now"""
    company: Callable[[Trial], str | None]
    """Which trials may share a worker with this one; None: it must be alone"""
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
        """Runs trials, each in a thread of its own; one more thread answers questions about their progress."""

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
            self._engine = engine
            self._at: dict[str, tuple[str, int, int]] = {}

        def run(self, text: str) -> str:
            import torch

            from featherbench.harness.worker import run_trial

            trial = Trial.model_validate_json(text)

            def note(stage: str, done: int, total: int) -> None:
                self._at[trial.id] = (stage, done, total)

            try:
                result = run_trial(trial, self._engine, note)
            except torch.AcceleratorError:
                os._exit(1)  # after such an error every further call on the device fails
            self._at.pop(trial.id, None)
            return result.model_dump_json()

        def progress(self) -> dict[str, tuple[str, int, int]]:
            return dict(self._at)

    return ray.remote(Worker)


@dataclass
class Pool:
    """Worker actors of one Ray cluster. Use as a context manager."""

    engine: Any
    address: str | None = None
    num_workers: int | None = None
    """Default: one per GPU, or one on a machine without"""

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
        slots = self.engine.slots or (MOST_SLOTS if gpus else 1)
        self._seats = 1 if slots == 1 else 2 * slots  # the others load, decode and score while a pack trains
        self._threads, self._options, self._class = threads, options, _worker_class()
        self._workers = [Seats(self._new_worker()) for _ in range(count)]
        return self

    def __exit__(self, *_: Any) -> None:
        import ray

        ray.shutdown()

    def _new_worker(self) -> Any:
        return self._class.options(**self._options, max_concurrency=self._seats + 1, max_restarts=0).remote(
            self.engine, self._threads
        )

    def run(self, hooks: Hooks) -> None:
        """Run trials until none is ready and none is running."""
        import ray
        from ray.exceptions import RayTaskError

        again: list[Job] = []
        while True:
            self._seat(hooks, again)
            running = {reference: seats for seats in self._workers for reference in seats.jobs}
            if not running:
                return
            done, _ = ray.wait(list(running), timeout=POLL_SECONDS)
            for reference in done:
                seats = running[reference]
                if reference not in seats.jobs:
                    continue  # its worker died, which was told by another trial of it
                try:
                    result = Result.model_validate_json(ray.get(reference))
                except _deaths() as error:
                    again += self._bury(seats, error, hooks)
                    continue
                except RayTaskError as error:
                    cause = f"{type(error).__name__}: {error}"
                    result = Result(trial_id=seats.jobs[reference].trial.id, status="failed", cause=cause)
                hooks.finished(result, seats.jobs.pop(reference).attempt)
            hooks.progress(self._progress())

    def _seat(self, hooks: Hooks, again: list[Job]) -> None:
        """Start what can start now, first on the workers with the fewest trials."""
        waiting = list(self._workers)
        while waiting:
            seats = min(waiting, key=lambda seats: len(seats.jobs))
            job = self._job_for(seats, hooks, again)
            if job is None:
                waiting.remove(seats)
                continue
            job.attempt = hooks.started(job.trial)
            seats.jobs[seats.worker.run.remote(job.trial.model_dump_json())] = job

    def _job_for(self, seats: Seats, hooks: Hooks, again: list[Job]) -> Job | None:
        if not seats.jobs:
            if again:
                return again.pop()
            trial = hooks.next_trial(lambda trial: True)
        else:
            company = next(iter(seats.jobs.values())).company
            if company is None or len(seats.jobs) >= self._seats:
                return None
            trial = hooks.next_trial(lambda trial: hooks.company(trial) == company)
        return Job(trial, hooks.company(trial)) if trial else None

    def _bury(self, seats: Seats, error: Exception, hooks: Hooks) -> list[Job]:
        """Replace a dead worker and return its jobs that are to run again, each alone: one of them may be the cause."""
        import ray

        ray.kill(seats.worker)
        lost, seats.jobs = list(seats.jobs.values()), {}
        seats.worker = self._new_worker()
        again = []
        for job in lost:
            hooks.died(job.trial, job.attempt, "worker died")
            job.deaths += len(lost) == 1
            job.company = None
            if job.deaths < MAX_ATTEMPTS:
                again.append(job)
            else:
                cause = f"its worker died {job.deaths} times; given up. Last: {str(error).splitlines()[0]}"
                hooks.finished(Result(trial_id=job.trial.id, status="failed", cause=cause), job.attempt)
        return again

    def _progress(self) -> dict[str, tuple[str, int, int]]:
        """Return trial id -> (stage, done, total) of all that runs."""
        import ray

        busy = [seats for seats in self._workers if seats.jobs]
        asked = [seats.worker.progress.remote() for seats in busy]
        ready, _ = ray.wait(asked, num_returns=len(asked), timeout=POLL_SECONDS) if asked else ([], [])
        found: dict[str, tuple[str, int, int]] = {}
        for answer in ready:
            try:
                found |= ray.get(answer)
            except ray.exceptions.RayError:
                pass  # the worker is gone; run() finds out by its trials
        return found


def _deaths() -> tuple[type[Exception], ...]:
    from ray.exceptions import ActorDiedError, ActorUnavailableError, OutOfMemoryError, WorkerCrashedError

    return ActorDiedError, ActorUnavailableError, OutOfMemoryError, WorkerCrashedError


def _knock(address: str) -> None:
    """Raise OSError if nothing listens at HOST:PORT or ray://HOST:PORT; Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), KNOCK_SECONDS).close()


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()
