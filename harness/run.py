"""The driver: a plan's missing trials go to the workers, their results into the store.

Several drivers may share a store and a plan: a cell's search belongs to one of them, its final trials to whoever takes
each first.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

from featherbench.harness import data
from featherbench.harness.backbones import anatomy
from featherbench.harness.plan import Plan, place_of
from featherbench.harness.records import Phase, Place, Result, Trial, content_hash
from featherbench.harness.schedule import POLL_SECONDS, Job, Pool
from featherbench.harness.search import Search, chosen
from featherbench.harness.store import LEASE_SECONDS, LeaseLost, Store, StoreError
from featherbench.methods import METHODS
from featherbench.tasks import TASKS

LOOK_SECONDS = 2.0
"""How often a driver asks the store what others did, while it waits for them"""

_Ready = tuple[tuple[int, int, int], int, Phase, int, dict[str, Any]]
"""Order, position of the cell, phase, number of the place, configuration"""


@dataclass(kw_only=True)
class Sweep:
    """What remains to be done of a plan. All of its state comes from the store, so a killed driver loses nothing.

    Use as a context manager: at its end, what this driver still held is free for others.
    """

    plan: Plan
    store: Store
    lease: float = LEASE_SECONDS
    status: dict[str, str] = field(default_factory=dict)
    """Finished trial id -> status"""
    labels: dict[str, str] = field(default_factory=dict)
    """Trial id -> its cell, of all trials that started here"""
    _trials: dict[tuple[int, Phase, int], str] = field(default_factory=dict)
    """Position of a cell, phase, number of a place -> trial, as far as it is known"""
    _searches: dict[int, Search] = field(default_factory=dict)
    """Position of a cell -> its search, while it is ours"""
    _searched_elsewhere: set[int] = field(default_factory=set)
    """Positions of cells whose search is another driver's"""
    _choices: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Position of a cell -> what its search chose for the final phase, frozen in the store when it is over"""
    _ready: dict[str | None, list[_Ready]] = field(default_factory=dict)
    """Company -> heap of the places whose trials may start"""
    _running: dict[str, tuple[str | None, _Ready]] = field(default_factory=dict)
    """Trial that runs here, or ran -> where it stood in `_ready`"""
    _elsewhere: dict[str, tuple[str | None, _Ready]] = field(default_factory=dict)
    """Trial that another driver is at -> where it stood in `_ready`"""
    _awaited: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    """Search trial -> (position of the cell, configuration) of those that wait for its score"""
    _filled: list[tuple[Place, Trial]] = field(default_factory=list)
    """Places whose trial is known and not yet recorded"""
    _news: dict[str, str] = field(default_factory=dict)
    """Trials that finished in the current turn -> status"""
    _kept_lists: set[str] = field(default_factory=set)
    _looked: float = field(default_factory=time.monotonic)
    _signed: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.store.join(self.lease)
        self.store.add_plan(self.plan.id, self.plan.name, self.plan.text, [c.cell for c in self.plan.cells])
        self.status = self.store.finished()
        self._read_places(range(len(self.plan.cells)))
        with self.store.transaction():
            kept = set()
            for position, cell in enumerate(self.plan.cells):
                if (items := (cell.base.task, cell.base.evaluate)) not in kept:
                    kept.add(items)
                    self._keep_items(cell.base)
                self._begin(position)

    def _read_places(self, positions: Iterable[int]) -> None:
        """Read which trials fill the places of cells, so that those that finished are not even made again."""
        found = {self.plan.cells[position].cell.id: position for position in positions}
        for cell, phase, number, trial in self.store.filled(list(found)):
            self._trials[found[cell], phase, number] = trial

    def __enter__(self) -> Sweep:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        with suppress(StoreError) if kind else nullcontext():  # a store that just failed may fail again
            self.store.leave()

    def _keep_items(self, trial: Trial) -> None:
        """Keep the evaluated items in the store, so that reports need no data files."""
        kept = data.references(trial.task, trial.evaluate)
        rows = [
            {"item": i, "source": e.source, "references": list(e.references), "tags": dict(e.tags)}
            for i, e in kept.items()
        ]
        self.store.add_items(trial.task, trial.task_version, trial.evaluate.name, rows)

    # --- what may start -------------------------------------------------------------------------------------------

    def next_job(self, beside: str | None = None) -> Job | None:
        """Return a trial that can start now, with its company; None if none is ready. It is still to be begun.

        Search trials come first, then final ones by number, so that rows fill evenly. With `beside`, only a trial of
        this company.
        """
        while True:
            heaps = self._ready if beside is None else {beside: self._ready.get(beside)}
            waiting = {company: heap for company, heap in heaps.items() if heap}
            if not waiting:
                return None
            company = min(waiting, key=lambda company: waiting[company][0][0])
            ready = heapq.heappop(waiting[company])
            _, position, phase, number, configuration = ready
            cell = self.plan.cells[position]
            trial = cell.trial(phase, number, configuration)
            identity = self._trials[position, phase, number] = trial.id
            self._filled.append((place_of(cell, phase, number), trial))
            if identity in self.status or identity in self._running or identity in self._elsewhere:
                continue
            self._running[identity] = (company, ready)
            self.labels[identity] = cell.cell.label
            return Job(trial, company)

    def begin(self, jobs: Sequence[Job]) -> list[Job]:
        """Begin attempts at trials and return those begun: not where another driver is at it, or has finished it.

        To be called within a turn.
        """
        self._record_places()
        begun = self.store.begin_attempts([job.trial.id for job in jobs])
        for job in jobs:
            if job.trial.id in begun:
                job.attempt = begun[job.trial.id]
            else:
                self._leave_to_others(job.trial.id)
        return [job for job in jobs if job.trial.id in begun]

    def begin_next(self, beside: str | None = None) -> Job | None:
        """Begin and return the next trial that no other driver has."""
        while (job := self.next_job(beside)) is not None and not self.begin([job]):
            pass
        return job

    def _leave_to_others(self, trial: str) -> None:
        """Wait for a trial that another driver is at, or take note that it has finished it."""
        place = self._running.pop(trial)
        if (state := self.store.states([trial])[trial]) in ("free", "elsewhere"):
            self._elsewhere[trial] = place
        else:
            self._news[trial] = state

    def _begin(self, position: int) -> None:
        """Let start what can start of a cell; its search only if no other driver has it."""
        cell = self.plan.cells[position]
        chosen = self.store.choice(cell.cell.id) if cell.num_search else {}
        if chosen is not None:
            self._choose(position, chosen)
        elif self.store.take_search(cell.cell.id):
            self._searched_elsewhere.discard(position)
            search = self._searches[position] = Search(cell, self.store)
            for number in range(search.num_proposed):
                self._await(position, number)
            self._advance(position)
        else:
            self._searched_elsewhere.add(position)

    def _add(
        self, position: int, phase: Phase, number: int, configuration: dict[str, Any], company: str | None
    ) -> None:
        """Let a place's trial start, unless it has finished."""
        if self._trials.get((position, phase, number)) in self.status:
            return
        order = (0, position, number) if phase == "search" else (1, number, position)
        heapq.heappush(self._ready.setdefault(company, []), (order, position, phase, number, configuration))

    def _await(self, position: int, number: int) -> None:
        """Let the trials of a search's configuration start, and wait for their scores."""
        search, trials = self._searches[position], []
        for place, trial in search.trials_of(number):
            trials.append(trial.id)
            self._awaited.setdefault(trial.id, []).append((position, number))
            self._add(position, "search", place, search.configuration(number), company(trial))
        if all(trial in self.status for trial in trials):
            self._tell(position, number)

    def _tell(self, position: int, number: int) -> None:
        """Tell a search the score of a configuration if all of its trials have finished."""
        search = self._searches[position]
        task = TASKS[search.cell.cell.task]
        metric = next(s for s in task.scores if s.name == task.primary)
        sign = 1.0 if metric.higher_is_better else -1.0
        trials = [trial.id for _, trial in search.trials_of(number)]
        if all(trial in self.status for trial in trials):
            found = [self.store.score(trial, metric.name) for trial in trials]
            values = [value for value in found if value is not None]
            search.tell(number, sign * sum(values) / len(values) if len(values) == len(found) else None)

    def _advance(self, position: int) -> None:
        """Let start what the finished trials of a search allow: further configurations, or the final phase."""
        search, cell = self._searches[position], self.plan.cells[position]
        while (proposed := search.propose()) is not None:
            self._await(position, proposed[0])
        if search.complete and position not in self._choices:
            self._choose(position, self.store.freeze_choice(cell.cell.id, search.best()))

    def _choose(self, position: int, configuration: dict[str, Any]) -> None:
        """Let a cell's final phase start."""
        cell = self.plan.cells[position]
        self._choices[position] = configuration
        self._searched_elsewhere.discard(position)
        shared: dict[int, str | None] = {}
        for number in range(cell.num_final):
            study, own = cell.study_of(number), dict(chosen(cell, configuration, number))
            if study not in shared:
                shared[study] = company(cell.trial("final", number, own))
            self._add(position, "final", number, own, shared[study])

    # --- what happened --------------------------------------------------------------------------------------------

    @contextmanager
    def turn(self) -> Iterator[None]:
        """What happens inside becomes durable together at the end, and then counts as done."""
        with self.store.transaction():
            self._look_around()
            yield
            self._record_places()
        news, self._news = self._news, {}
        self.status |= news
        awaited = {place for trial in news for place in self._awaited.get(trial, [])}
        if awaited:
            with self.store.transaction():
                for position, number in sorted(awaited):
                    if position in self._searches:
                        self._as_searcher(position, number)

    def keep(self, ended: Sequence[tuple[Job, Result]]) -> list[Result]:
        """Record results and return those that count: not those of trials that another driver has taken over."""
        kept = self.store.record([(result, job.attempt) for job, result in ended])
        news = {result.trial_id: result.status for result in kept}
        self._news |= news
        for _, result in ended:
            if result.trial_id not in news:
                self._leave_to_others(result.trial_id)
        return kept

    def died(self, job: Job, why: str) -> None:
        """Record that an attempt ended without a result."""
        self.store.end_attempt(job.trial.id, job.attempt, why)

    def _as_searcher(self, position: int, number: int) -> None:
        try:
            self._tell(position, number)
            self._advance(position)
        except LeaseLost:
            self._lose(position)

    def _lose(self, position: int) -> None:
        """Another driver has this search now; our trials of it go on, and count if they are the first to end."""
        del self._searches[position]
        self._searched_elsewhere.add(position)

    def _record_places(self) -> None:
        if not self._filled:
            return
        used = {s.sha256: (t.task, s) for _, t in self._filled for s in (t.train, t.validation, t.evaluate)}
        fresh = {sha256: data.checked_indices(*used[sha256]) for sha256 in used.keys() - self._kept_lists}
        self.store.add_index_lists(fresh)
        self.store.add_places(self._filled)
        self._kept_lists |= fresh.keys()
        self._filled.clear()

    def _look_around(self) -> None:
        """Tell other drivers that we live, and hear what they did."""
        now = time.monotonic()
        if now - self._signed >= self.lease / 4:
            self._signed = now
            if not self.store.sign_of_life():
                for position in set(self._searches) - set(self._choices):
                    if not self.store.take_search(self.plan.cells[position].cell.id):
                        self._lose(position)
        if now - self._looked < LOOK_SECONDS or not (self._elsewhere or self._searched_elsewhere):
            return
        self._looked = now
        for trial, state in self.store.states(list(self._elsewhere)).items():
            if state == "free":
                company, ready = self._elsewhere.pop(trial)
                heapq.heappush(self._ready.setdefault(company, []), ready)
            elif state != "elsewhere":
                del self._elsewhere[trial]
                self._news[trial] = state
        theirs = sorted(self._searched_elsewhere)
        self._read_places(theirs)
        unknown = [trial for (at, *_), trial in self._trials.items() if at in theirs and trial not in self.status]
        for trial, state in self.store.states(unknown).items():
            if state not in ("free", "elsewhere"):
                self.status[trial] = state
        for position in theirs:
            self._begin(position)

    @property
    def over(self) -> bool:
        """Whether nothing is left to start, nor to wait for from other drivers."""
        return not (any(self._ready.values()) or self._elsewhere or self._searched_elsewhere or self._news)

    @property
    def total(self) -> int:
        """Trials of the plan."""
        return sum(c.num_search + c.num_final for c in self.plan.cells)

    def done(self) -> dict[str, int]:
        """Return how many of the plan's trials have each status; "new" are those without one."""
        counts: dict[str, int] = {}
        for trial in self._trials.values():
            state = self.status.get(trial, "new")
            counts[state] = counts.get(state, 0) + 1
        if unknown := self.total - len(self._trials):
            counts["new"] = counts.get("new", 0) + unknown
        return counts


def company(trial: Trial) -> str | None:
    """Return what trials that may share a pack have in common: all but rates, seed, steps and which pairs.

    Of the size its power of two: slots are filled up to the largest of their pack, so none gets twice its own size.
    None for a method that trains weights of the backbone.
    """
    method = METHODS.get(trial.method)
    if method is None or method.unfrozen(anatomy(trial.backbone), config := method.config(**trial.config)):
        return None
    alike = dict(trial.config)
    if method.size_field:
        alike[method.size_field] = getattr(config, method.size_field).bit_length()
    batch = trial.settings.batch_size
    return content_hash([trial.backbone_sha256, trial.precision, trial.task, trial.method, alike, batch])


def run_plan(
    sweep: Sweep,
    pool: Callable[[], Pool],
    on_finished: Callable[[Trial, Result], None] = lambda trial, result: None,
    on_progress: Callable[[dict[str, tuple[str, int, int]]], None] = lambda running: None,
) -> tuple[int, str]:
    """Run every trial of the plan that the store does not hold yet.

    Return how many ran here, and which limit ended the run early, if any. The pool is only started if there is
    something to run.
    """
    while True:
        with sweep.turn():
            first = sweep.begin_next()
        if first is not None:
            break
        if sweep.over:
            return 0, ""
        time.sleep(POLL_SECONDS)  # other drivers are at work
    ran = 0

    def count(trial: Trial, result: Result) -> None:
        nonlocal ran
        ran += 1
        on_finished(trial, result)

    with pool() as workers:
        workers.run(sweep, first, count, on_progress)
    return ran, workers.stopped
