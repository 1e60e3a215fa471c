"""Ray places trials on persistent workers; Ray is a stateless executor, the store remembers.

A worker is an actor that keeps its backbone loaded. It has seats, for trials that keep each other company in a pack.
One that dies is replaced and its trials run again, from then on each by itself, at most MAX_ATTEMPTS times. Where trials
are spread over several processes, a worker is the first of a gang (harness/gang.py) and brings the others along.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import socket
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from featherbench.harness.deltas import ArtifactsError
from featherbench.harness.gang import Gang, at, leave, place
from featherbench.harness.records import Result, Trial

MAX_ATTEMPTS = 3
MOST_SLOTS = 32
"""Trials of a pack at most, where their number is found by trying"""
POLL_SECONDS = 0.5
KNOCK_SECONDS = 5.0
FORGET_SECONDS = 5.0
"""How long the end of a sweep waits for the last checkpoints to be removed"""

_LOCAL_RAY = {
    "RAY_AUTH_MODE": "disabled",  # a cluster that we start on loopback; never set for an address the user gives
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # on Linux, too: the node's address is 127.0.0.1, not the network's
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
    worker: Any = None
    """Where it ran last"""


@dataclass
class Seats:
    """A worker and what runs there."""

    worker: Any
    jobs: dict[Any, Job] = field(default_factory=dict)
    """Running reference -> job"""
    group: Any = None
    """The place of its gang, if it leads one"""


class Driver(Protocol):
    """Who decides what runs, and keeps what comes of it."""

    def turn(self) -> AbstractContextManager[None]:
        """What happens inside becomes durable together at the end, and then counts as done."""

    def next_job(self, beside: str | None = None) -> Job | None:
        """Begin and return a trial that may start now, of this company if one is given; None if there is none."""

    def restart(self, job: Job) -> bool:
        """Begin another attempt at a trial; False if another driver has it now."""

    def keep(self, ended: Sequence[tuple[Job, Result]]) -> list[Result]:
        """Record results, and return those that count."""

    def died(self, job: Job, why: str) -> None:
        """Record that an attempt ended without a result."""

    @property
    def over(self) -> bool:
        """Whether nothing is left to start, nor to wait for from other drivers."""


def _worker_class() -> Any:
    import ray

    class Worker:
        """Runs trials, each in a thread of its own; one more thread answers questions about their progress."""

        def __init__(self, engine: Any, threads: int, group: Any = None, options: Any = None) -> None:
            """`group` and `options`: the place of the gang that it leads, and what each of it takes there."""
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
            self._gang = None
            if group is not None:

                def another(place: Any) -> Any:
                    alike = _worker_class().options(**options, max_restarts=0, scheduling_strategy=place)
                    return alike.remote(engine, threads)

                self._gang = Gang(another, group, engine)
            self._at: dict[str, tuple[str, int, int]] = {}

        def run(self, text: str, scored: bool) -> str:
            import torch

            from featherbench.harness.trial_log import trial_log
            from featherbench.harness.worker import run_trial

            trial = Trial.model_validate_json(text)

            def note(stage: str, done: int, total: int) -> None:
                self._at[trial.id] = (stage, done, total)
                log.stage(stage, done, total)

            with trial_log(self._engine.scratch, trial.id) as log:
                try:
                    if self._gang:
                        result = self._gang.run(trial, note, scored)
                    else:
                        result = run_trial(trial, self._engine, note, scored)
                except torch.AcceleratorError as error:
                    log.say(f"the device is lost: {error}")
                    os._exit(1)  # after such an error every further call on the device fails
                log.say(f"{result.status} {result.cause or ''}".rstrip())
            self._at.pop(trial.id, None)
            return result.model_copy(update={"log": log.text}).model_dump_json()

        def join(self, *given: Any) -> None:
            from featherbench.harness.deepspeed_engine import join

            join(*given)

        def follow(self, text: str) -> None:
            """Do this worker's part of the trial that its gang trains."""
            import torch

            from featherbench.harness.worker import follow_trial

            try:
                follow_trial(Trial.model_validate_json(text), self._engine)
            except torch.AcceleratorError:
                os._exit(1)

        def forget(self, trial_id: str) -> None:
            """Remove what an interrupted trial would go on from: its result is kept."""
            from featherbench.harness.worker import checkpoint_folder

            shutil.rmtree(checkpoint_folder(self._engine, trial_id), ignore_errors=True)

        def progress(self) -> dict[str, tuple[str, int, int]]:
            return dict(self._at)

    return ray.remote(Worker)


def _score(trial: str, result: str) -> str:
    """Score a result's predictions in a process of its own."""
    from featherbench.harness.score import scored
    from featherbench.harness.shared import share_meteor

    share_meteor()
    return scored(Trial.model_validate_json(trial), Result.model_validate_json(result)).model_dump_json()


@dataclass
class Pool:
    """Worker actors of one Ray cluster. Use as a context manager."""

    engine: Any
    address: str | None = None
    num_workers: int | None = None
    """Default: one per GPU, or one on a machine without"""
    num_threads: int | None = None
    """Cores that a worker computes with; default: all, shared evenly. Cores that are left score predictions"""
    max_hours: float | None = None
    """Stop after this time, as Ctrl-C would"""
    max_gpu_hours: float | None = None
    """Stop after this time multiplied by the GPUs that the workers hold"""
    stopped: str = ""
    """Which of the two ended the run before all was done"""
    _own_cluster: ExitStack = field(default_factory=ExitStack)
    """Undoes what a cluster of ours needs in this process"""

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
                self._own_cluster.enter_context(_local_ray())
                ray.init(
                    "local",  # else RAY_ADDRESS would name a cluster of somebody's
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    object_store_memory=150 * 2**20,
                    _temp_dir=os.path.join(tempfile.gettempdir(), "featherbench-ray"),
                    runtime_env={"env_vars": environment},
                )
        except Exception as error:
            self._own_cluster.close()
            raise ClusterError(
                f"Ray at {self.address or 'this machine'}: {error}. "
                "Give the HOST:PORT that `ray start --head` printed, ray://HOST:10001, or auto."
                if self.address
                else f"Ray cannot start on this machine: {error}"
            ) from error
        resources = ray.cluster_resources()
        gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
        size = self.engine.zero.workers if self.engine.zero else 1  # processes a worker
        count = self.num_workers or max(1, gpus // size)
        threads = self.num_threads or max(1, cpus // (count * size))
        if gpus and size > 1 and count * size > gpus:
            self.__exit__()
            raise ClusterError(
                f"{count} x {size} GPUs were asked for, the cluster has {gpus}; give fewer engine.workers in the plan"
                f"{' or fewer --workers' if count > 1 else ''}."
            )
        if count * size * (1 if gpus else threads) > cpus:
            self.__exit__()
            each = f" of {size} processes" if size > 1 else ""
            each += f" of {threads} threads" if threads > 1 else ""
            raise ClusterError(
                f"{count} workers{each} were asked for, the cluster has {cpus} CPUs; give fewer with --workers or --threads."
            )
        per_gpu = math.ceil(count / gpus) if gpus else 0
        options = {"num_gpus": 1 / per_gpu, "num_cpus": 1} if gpus else {"num_cpus": threads}
        slots = 1 if size > 1 else self.engine.slots or (MOST_SLOTS if gpus else 1)
        self._seats = 1 if slots == 1 else 2 * slots  # the others load, decode and score while a pack trains
        self._threads, self._options, self._class = threads, options, _worker_class()
        # where the workers leave cores free, these score while the next trials train
        spare = cpus - count * size * options["num_cpus"]
        self._score = ray.remote(num_cpus=1, max_retries=MAX_ATTEMPTS - 1)(_score) if spare > 0 else None
        self._scoring: dict[Any, Job] = {}
        self._over: Exception | None = None  # what ends the sweep
        self._size = size
        self._workers = [self._new_seats() for _ in range(count)]
        self._gpus, self._began = count / per_gpu if gpus else 0.0, time.monotonic()
        if self.max_gpu_hours is not None and not gpus:
            self.__exit__()
            raise ClusterError("--max-gpu-hours counts GPUs, and there is none here; give --max-hours.")
        return self

    def __exit__(self, *_: Any) -> None:
        import ray

        ray.shutdown()
        self._own_cluster.close()

    def _new_seats(self) -> Seats:
        """Start a worker, with the place for its gang if it leads one."""
        options = {**self._options, "max_concurrency": self._seats + 1, "max_restarts": 0}
        if self._size == 1:
            return Seats(self._class.options(**options).remote(self.engine, self._threads))
        group = place(self._size, self._options)
        leader = self._class.options(**options, scheduling_strategy=at(group, 0))
        return Seats(leader.remote(self.engine, self._threads, group, self._options), group=group)

    def _renew(self, seats: Seats) -> list[Job]:
        """Put a new worker in the place of another one; return the jobs that it had."""
        import ray

        ray.kill(seats.worker)
        if seats.group is not None:
            leave(seats.group)
        lost, fresh = list(seats.jobs.values()), self._new_seats()
        seats.worker, seats.group, seats.jobs = fresh.worker, fresh.group, {}
        return lost

    def run(
        self,
        driver: Driver,
        first: Job,
        on_finished: Callable[[Trial, Result], None],
        on_progress: Callable[[dict[str, tuple[str, int, int]]], None],
    ) -> None:
        """Run trials, beginning with `first`, until none is ready, none is running and none is awaited from others.

        Workers are given their next trials before the results are written, so that they never wait for a disk.
        Raises: ArtifactsError where deltas cannot be written, once all that had been decoded is scored and kept.
        """
        import ray

        self._waiting = [first]
        """Begun, and not yet on a worker"""
        self._again: list[Job] = []
        ended: list[tuple[Job, Result]] = []
        forgotten: deque[Any] = deque(maxlen=len(self._workers) * self._seats)  # the last of every seat
        told = time.monotonic()
        while True:
            if not ended and (why := self._out_of_time()):
                self.stopped = why
                for job in [*self._scoring.values(), *(job for seats in self._workers for job in seats.jobs.values())]:
                    driver.died(job, why)
                return
            with driver.turn():
                if self._over is None:
                    self._seat(driver)
                kept = driver.keep(ended)
            trials = {job.trial.id: job.trial for job, _ in ended}
            for result in kept:
                on_finished(trials[result.trial_id], result)
            if self._over is not None and not self._scoring:
                raise self._over
            # a failed trial keeps its checkpoints: run again, it goes on from them
            done = {result.trial_id for result in kept if result.status != "failed"}
            forgotten.extend(job.worker.forget.remote(job.trial.id) for job, _ in ended if job.trial.id in done)
            if ended:  # their scores may let others start
                ended = []
                continue
            if not self._scoring and not any(seats.jobs for seats in self._workers):
                if not driver.over or self._again:
                    time.sleep(POLL_SECONDS)
                    continue
                if forgotten:
                    ray.wait(list(forgotten), num_returns=len(forgotten), timeout=FORGET_SECONDS)
                return
            ended = self._ended(driver)
            if time.monotonic() - told >= POLL_SECONDS:
                told = time.monotonic()
                on_progress(self._progress())

    def _out_of_time(self) -> str:
        """Return the limit that is reached, or nothing."""
        hours = (time.monotonic() - self._began) / 3600
        if self.max_hours is not None and hours >= self.max_hours:
            return f"stopped by --max-hours {self.max_hours:g}"
        if self.max_gpu_hours is not None and hours * self._gpus >= self.max_gpu_hours:
            return f"stopped by --max-gpu-hours {self.max_gpu_hours:g}"
        return ""

    def _ended(self, driver: Driver) -> list[tuple[Job, Result]]:
        """Wait a while for trials to end, send their predictions to be scored, and return what is ready to be kept."""
        import ray
        from ray.exceptions import RayError, RayTaskError

        running = {reference: seats for seats in self._workers for reference in seats.jobs}
        everything = [*running, *self._scoring]
        ray.wait(everything, timeout=POLL_SECONDS)
        done, _ = ray.wait(everything, num_returns=len(everything), timeout=0)
        ended = []
        for reference in done:
            if (job := self._scoring.pop(reference, None)) is not None:
                try:
                    ended.append((job, Result.model_validate_json(ray.get(reference))))
                except RayError as error:
                    ended.append((job, _failed(job, f"scoring: {type(error).__name__}: {error}")))
                continue
            seats = running[reference]
            if reference not in seats.jobs:
                continue  # its worker died, which was told by another trial of it
            try:
                result = Result.model_validate_json(ray.get(reference))
            except _deaths() as error:
                ended += self._bury(seats, error, driver)
                continue
            except RayTaskError as error:
                if isinstance(error.cause, ArtifactsError):  # what has ended is kept first
                    self._over = error.cause
                    driver.died(seats.jobs.pop(reference), "delta not written")
                    continue
                result = _failed(seats.jobs[reference], f"{type(error).__name__}: {error}")
            job = seats.jobs.pop(reference)
            if seats.group is not None and result.status == "failed":
                self._renew(seats)
            if self._score is not None and result.predictions:
                self._scoring[self._score.remote(job.trial.model_dump_json(), result.model_dump_json())] = job
            else:
                ended.append((job, result))
        return ended

    def _seat(self, driver: Driver) -> None:
        """Start what can start now, first on the workers with the fewest trials."""
        open_seats = list(self._workers)
        while open_seats:
            seats = min(open_seats, key=lambda seats: len(seats.jobs))
            job = self._job_for(seats, driver)
            if job is None:
                open_seats.remove(seats)
                continue
            job.worker = seats.worker
            seats.jobs[seats.worker.run.remote(job.trial.model_dump_json(), self._score is None)] = job

    def _job_for(self, seats: Seats, driver: Driver) -> Job | None:
        if seats.jobs:
            company = next(iter(seats.jobs.values())).company
            return None if company is None or len(seats.jobs) >= self._seats else driver.next_job(company)
        if self._waiting:
            return self._waiting.pop()
        while self._again:
            if driver.restart(job := self._again.pop()):
                return job
        return driver.next_job()

    def _bury(self, seats: Seats, error: Exception, driver: Driver) -> list[tuple[Job, Result]]:
        """Replace a dead worker. Its jobs run again, each alone: one of them may be the cause; return those given up.

        Raises: ClusterError if it could not even start: then no other one can.
        """
        if "creation task" in str(error):
            raise ClusterError(f"workers cannot start here. {error}") from error

        lost, given_up = self._renew(seats), []
        for job in lost:
            driver.died(job, "worker died")
            job.deaths += len(lost) == 1
            job.company = None
            if job.deaths < MAX_ATTEMPTS:
                self._again.append(job)
            else:
                cause = f"its worker died {job.deaths} times; given up. Last: {str(error).splitlines()[0]}"
                given_up.append((job, _failed(job, cause)))
        return given_up

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


@contextmanager
def _local_ray() -> Iterator[None]:
    """Set what a cluster of ours needs, where the user has set nothing, for as long as it runs."""
    from ray._private import ray_constants

    ours = {key: value for key, value in _LOCAL_RAY.items() if key not in os.environ}
    os.environ.update(ours)
    before = ray_constants.ENABLE_RAY_CLUSTER  # read when Ray was imported, which may have been before
    ray_constants.ENABLE_RAY_CLUSTER = os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "1"
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
        for key in ours:
            os.environ.pop(key, None)


def _failed(job: Job, cause: str) -> Result:
    return Result(trial_id=job.trial.id, status="failed", cause=cause)


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
