"""Ray places trials on persistent workers; Ray is a stateless executor, the store remembers.

A worker is an actor that keeps its backbone loaded. It has seats, for trials that keep each other company in a pack.
One that dies is replaced and its trials run again, from then on each by itself, at most MAX_ATTEMPTS times. Where trials
are spread over several processes, a worker is the first of a gang (harness/gang.py) and brings the others along.
"""

from __future__ import annotations

import gc
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from featherbench.harness.actors import score_there, worker_class
from featherbench.harness.cluster import (
    ClusterError,
    at,
    connected,
    free,
    granted,
    is_alive,
    leave,
    place,
    shares,
    shown,
)
from featherbench.harness.records import Result, Trial

MAX_ATTEMPTS = 3
MOST_SLOTS = 32
"""Trials of a pack at most, where their number is found by trying"""
AHEAD_SECONDS = 0.1
"""Trials that are over in less are given to a worker several at once, about so much work, so that it need not wait"""
MOST_AHEAD = 64
"""Of these at most so many"""
POLL_SECONDS = 0.5
GROW_SECONDS = 10.0
"""How often is looked for nodes that have joined"""
WAIT_SECONDS = 30.0
"""After so long, and so often, people are told that a worker waits for its place"""
FORGET_SECONDS = 5.0
"""How long the end of a sweep waits for the last checkpoints to be removed"""


@dataclass(eq=False)
class Job:
    """A trial on its way through the workers."""

    trial: Trial
    company: str | None
    """Trials of one company may share a worker; None: this one is alone"""
    deaths: int = 0
    """How often its worker died while it was alone there"""
    attempt: int = 0
    """0: still to be begun"""
    worker: Any = None
    """Where it ran last"""
    call: Any = None
    """Ray's reference to what its worker returns: of this trial, or of several very short ones"""


@dataclass(eq=False)
class Seats:
    """A place in the cluster, the worker there once it is granted, and what runs there."""

    group: Any
    asked: float
    """When, by time.monotonic"""
    node: str = ""
    worker: Any = None
    jobs: list[Job] = field(default_factory=list)
    since: float = 0.0
    """When a trial last ended here, or the first one began, by time.monotonic"""
    ahead: int = 0
    """How many trials it ends within AHEAD_SECONDS, lately"""


class Driver(Protocol):
    """Who decides what runs, and keeps what comes of it."""

    def turn(self) -> AbstractContextManager[None]:
        """What happens inside becomes durable together at the end, and then counts as done."""

    def next_job(self, beside: str | None = None) -> Job | None:
        """Return a trial that may start now, of this company if one is given; None if there is none."""

    def begin(self, jobs: Sequence[Job]) -> list[Job]:
        """Begin attempts at trials; return those that no other driver has."""

    def keep(self, ended: Sequence[tuple[Job, Result]]) -> list[Result]:
        """Record results, and return those that count."""

    def died(self, job: Job, why: str) -> None:
        """Record that an attempt ended without a result."""

    @property
    def over(self) -> bool:
        """Whether nothing is left to start, nor to wait for from other drivers."""


@dataclass
class Pool:
    """Worker actors of one Ray cluster. Use as a context manager."""

    engine: Any
    address: str | None = None
    num_workers: int | None = None
    """Default: one per GPU, or one on a machine without; see `light`"""
    num_threads: int | None = None
    """Cores that a worker computes with; default: all, shared evenly. Cores that are left score predictions"""
    light: bool = False
    """Trials of so small backbones that, without GPUs and unless told otherwise, each core gets a worker"""
    max_hours: float | None = None
    """Stop after this time, as Ctrl-C would"""
    max_gpu_hours: float | None = None
    """Stop after this time multiplied by the GPUs that the workers hold"""
    stopped: str = ""
    """Which of the two ended the run before all was done"""
    on_wait: Callable[[str], None] = lambda text: None
    """Hears what the run waits for"""
    _cluster: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Pool:
        import ray

        with self._cluster:
            self._cluster.enter_context(connected(self.address))
            processes = self.engine.zero.workers if self.engine.zero else 1
            self._shares = shares(self.num_workers, self.num_threads, processes, light=self.light)
            if self.max_gpu_hours is not None and not self._shares.gpus:
                raise ClusterError("--max-gpu-hours counts GPUs, and there is none here; give --max-hours.")
            slots = 1 if processes > 1 else self.engine.slots or (MOST_SLOTS if self._shares.gpus else 1)
            self._seats = 1 if slots == 1 else 2 * slots  # the others load, decode and score while a pack trains
            self._class = worker_class()
            # where the workers leave cores free, these score while the next trials train: as many at a time as there
            # are, but none asks Ray for a core, which may be gone with its node
            there = ray.remote(num_cpus=0, max_retries=MAX_ATTEMPTS - 1)(score_there)
            self._score = there if self._shares.spare else None
            self._scoring: dict[Any, Job] = {}
            self._unscored: deque[tuple[Job, Result]] = deque()
            self._over: Exception | None = None  # what ends the sweep
            self._began = self._grown = self._told = self._counted = time.monotonic()
            self._gpu_seconds = 0.0
            self._workers = [self._ask() for _ in range(self._shares.count)]
            gc.freeze()  # a million objects of libraries, which collections between trials would visit again and again
            self._cluster.callback(gc.unfreeze)
            self._cluster = self._cluster.pop_all()  # all went well: it stays
        return self

    def __exit__(self, *_: Any) -> None:
        self._cluster.close()

    # --- places and workers ---------------------------------------------------------------------------------------

    def _ask(self) -> Seats:
        return Seats(place(self._shares.processes, self._shares.bundle), time.monotonic())

    def _move_in(self) -> None:
        """Start workers where a place has been granted, ask for more where nodes have joined, and tell of long waits."""
        now = time.monotonic()
        if self.num_workers is None and now - self._grown >= GROW_SECONDS:
            self._grown = now
            with suppress(ClusterError):  # no node is left for the moment
                wanted = shares(None, self.num_threads, self._shares.processes, light=self.light).count
                self._workers += [self._ask() for _ in range(wanted - len(self._workers))]
        waiting = [seats for seats in self._workers if seats.worker is None]
        if len(waiting) == len(self._workers):
            waiting[0].group.wait(timeout_seconds=POLL_SECONDS)
        for seats in waiting:
            if node := granted(seats.group):
                seats.node, seats.worker = node, self._start(seats.group)
        longest = max((now - seats.asked for seats in waiting if seats.worker is None), default=0.0)
        if longest >= WAIT_SECONDS <= now - self._told:
            self._told = now
            many = sum(seats.worker is None for seats in waiting)
            self.on_wait(
                f"{many} of {len(self._workers)} workers have waited up to {longest:.0f} s for a place with "
                f"{shown(self._shares.bundle)}; free in the cluster: {free()}"
            )

    def _start(self, group: Any) -> Any:
        take = {"num_cpus": self._shares.cpus, "num_gpus": self._shares.gpus, "max_restarts": 0}
        leader = self._class.options(**take, max_concurrency=self._seats, scheduling_strategy=at(group, 0))
        gang = (group, take) if self._shares.processes > 1 else ()
        return leader.remote(self.engine, self._shares.threads, *gang)

    def _renew(self, seats: Seats) -> list[Job]:
        """Ask for a new worker in the place of another one; return the jobs that it had."""
        import ray

        ray.kill(seats.worker)
        leave(seats.group)
        lost, fresh = seats.jobs, self._ask()
        seats.group, seats.asked, seats.worker, seats.jobs = fresh.group, fresh.asked, None, []
        return lost

    # --- trials ---------------------------------------------------------------------------------------------------

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
        """Not yet on a worker"""
        self._again: list[Job] = []
        ended: list[tuple[Job, Result]] = []
        forgotten: deque[Any] = deque(maxlen=len(self._workers) * self._seats)  # the last of every seat
        told = time.monotonic()
        while True:
            if not ended and (why := self._out_of_time()):
                self.stopped = why
                running = [job for seats in self._workers for job in seats.jobs]
                for job in (*self._waiting, *self._scoring.values(), *(job for job, _ in self._unscored), *running):
                    driver.died(job, why)
                return
            self._move_in()
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
            for worker in {job.worker for job, _ in ended}:
                if theirs := [job.trial.id for job, _ in ended if job.worker == worker and job.trial.id in done]:
                    forgotten.append(worker.forget.remote(theirs))
            if ended:  # their scores may let others start
                ended = []
                continue
            if not self._scoring and not any(seats.jobs for seats in self._workers):
                if not driver.over or self._again or self._waiting:
                    time.sleep(POLL_SECONDS if any(seats.worker for seats in self._workers) else 0)
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
        now = time.monotonic()
        held = sum(seats.worker is not None for seats in self._workers) * self._shares.processes * self._shares.gpus
        self._gpu_seconds, self._counted = self._gpu_seconds + held * (now - self._counted), now
        if self.max_hours is not None and now - self._began >= self.max_hours * 3600:
            return f"stopped by --max-hours {self.max_hours:g}"
        if self.max_gpu_hours is not None and self._gpu_seconds >= self.max_gpu_hours * 3600:
            return f"stopped by --max-gpu-hours {self.max_gpu_hours:g}"
        return ""

    def _ended(self, driver: Driver) -> list[tuple[Job, Result]]:
        """Wait a while for trials to end, send their predictions to be scored, and return what is ready to be kept."""
        import ray
        from ray.exceptions import RayError, RayTaskError

        calls: dict[Any, tuple[Seats, list[Job]]] = {}
        for seats in self._workers:
            for job in seats.jobs:
                calls.setdefault(job.call, (seats, []))[1].append(job)
        everything = [*calls, *self._scoring]
        ray.wait(everything, timeout=POLL_SECONDS)
        done, _ = ray.wait(everything, num_returns=len(everything), timeout=0)
        ended, left = [], Counter[Seats]()
        for reference in done:
            if reference in self._scoring:
                job = self._scoring.pop(reference)
                try:
                    ended.append((job, Result.model_validate_json(ray.get(reference))))
                except RayError as error:
                    ended.append((job, _failed(job, f"scoring: {type(error).__name__}: {error}")))
                continue
            seats, jobs = calls[reference]
            if jobs[0] not in seats.jobs:
                continue  # its worker died, which was told by another call of it
            try:
                texts, unwritten = ray.get(reference)
                results = [Result.model_validate_json(text) for text in texts]
            except _deaths() as error:
                ended += self._bury(seats, error, driver)
                continue
            except RayTaskError as error:
                unwritten, results = None, [_failed(job, f"{type(error).__name__}: {error}") for job in jobs]
            seats.jobs = [job for job in seats.jobs if job not in jobs]
            left[seats] += len(results)
            if self._shares.processes > 1 and any(result.status == "failed" for result in results):
                self._renew(seats)  # some of its processes may wait for others for ever
            for job, result in zip(jobs, results, strict=False):
                if self._score is not None and result.predictions:
                    self._unscored.append((job, result))
                else:
                    ended.append((job, result))
            if unwritten is not None:  # what has ended is kept first
                self._over = unwritten
                for job in jobs[len(results) :]:
                    driver.died(job, "delta not written")
        now = time.monotonic()
        for seats, many in left.items():
            in_time = int(many * AHEAD_SECONDS / max(now - seats.since, 1e-6))
            seats.ahead = min(MOST_AHEAD, in_time) if self._shares.processes == 1 else 0
            seats.since = now
        while self._score is not None and self._unscored and len(self._scoring) < self._shares.spare:
            job, result = self._unscored.popleft()
            self._scoring[self._score.remote(job.trial.model_dump_json(), result.model_dump_json())] = job
        return ended

    def _seat(self, driver: Driver) -> None:
        """Start what can start now."""
        while chosen := self._choose(driver):
            fresh = [job for _, job in chosen if not job.attempt]
            refused = set(fresh) - set(driver.begin(fresh))
            now = time.monotonic()
            given: defaultdict[Seats, list[Job]] = defaultdict(list)
            for seats, job in chosen:
                if job in refused:
                    seats.jobs.remove(job)
                else:
                    given[seats].append(job)
            for seats, jobs in given.items():
                if seats.jobs[0] in jobs:
                    seats.since = now
                self._give(seats, jobs)
            if not refused:
                return

    def _give(self, seats: Seats, jobs: Sequence[Job]) -> None:
        """Send a worker its trials: very short ones several a call, so that each seat has a call at work and one next."""
        many = max(1, seats.ahead // (2 * self._seats))
        for start in range(0, len(jobs), many):
            part = jobs[start : start + many]
            call = seats.worker.run.remote([job.trial.model_dump_json() for job in part], self._score is None)
            for job in part:
                job.worker, job.call = seats.worker, call

    def _choose(self, driver: Driver) -> list[tuple[Seats, Job]]:
        """Seat trials that can start now, first at the workers with the fewest."""
        chosen = []
        open_seats = [seats for seats in self._workers if seats.worker is not None]
        while open_seats:
            seats = min(open_seats, key=lambda seats: len(seats.jobs))
            if (job := self._job_for(seats, driver)) is None:
                open_seats.remove(seats)
            else:
                seats.jobs.append(job)
                chosen.append((seats, job))
        return chosen

    def _job_for(self, seats: Seats, driver: Driver) -> Job | None:
        if seats.jobs:
            company = seats.jobs[0].company
            full = len(seats.jobs) >= max(self._seats, seats.ahead)
            return None if company is None or full else driver.next_job(company)
        if self._waiting:
            return self._waiting.pop()
        if self._again:
            return self._again.pop()
        return driver.next_job()

    def _bury(self, seats: Seats, error: Exception, driver: Driver) -> list[tuple[Job, Result]]:
        """Replace a dead worker. Its jobs run again, each alone: one of them may be the cause; return those given up.

        The death of a node is no trial's fault.
        Raises: ClusterError if it could not even start: then no other one can.
        """
        if "creation task" in str(error):
            raise ClusterError(f"workers cannot start here. {error}") from error

        node_died = not is_alive(seats.node)
        lost, given_up = self._renew(seats), []
        for job in lost:
            driver.died(job, "node died" if node_died else "worker died")
            if not node_died:
                job.deaths += len(lost) == 1
                job.company = None
            if job.deaths < MAX_ATTEMPTS:
                job.attempt = 0
                self._again.append(job)
            else:
                cause = f"its worker died {job.deaths} times; given up. Last: {str(error).splitlines()[0]}"
                given_up.append((job, _failed(job, cause)))
        return given_up

    def _progress(self) -> dict[str, tuple[str, int, int]]:
        """Return trial id -> (stage, done, total) of all that runs."""
        import ray

        asked = [seats.worker.progress.remote() for seats in self._workers if seats.jobs]
        ready, _ = ray.wait(asked, num_returns=len(asked), timeout=POLL_SECONDS) if asked else ([], [])
        found: dict[str, tuple[str, int, int]] = {}
        for answer in ready:
            try:
                found |= ray.get(answer)
            except ray.exceptions.RayError:
                pass  # the worker is gone; run() finds out by its trials
        return found


def _failed(job: Job, cause: str) -> Result:
    return Result(trial_id=job.trial.id, status="failed", cause=cause)


def _deaths() -> tuple[type[Exception], ...]:
    from ray.exceptions import ActorDiedError, ActorUnavailableError, OutOfMemoryError, WorkerCrashedError

    return ActorDiedError, ActorUnavailableError, OutOfMemoryError, WorkerCrashedError
