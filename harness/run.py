"""The driver: a plan's missing trials go to the workers, their results into the store."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from featherbench.harness import data
from featherbench.harness.backbones import anatomy
from featherbench.harness.plan import Plan, place_of
from featherbench.harness.records import Phase, Place, Result, Trial, content_hash
from featherbench.harness.schedule import Hooks, Job, Pool
from featherbench.harness.search import Search
from featherbench.harness.store import Store
from featherbench.methods import METHODS
from featherbench.tasks import TASKS

_Ready = tuple[tuple[int, int, int], int, Phase, int, dict[str, Any]]
"""Order, position of the cell, phase, number of the place, configuration"""


@dataclass(kw_only=True)
class Sweep:
    """What remains to be done of a plan. All of its state comes from the store, so a killed driver loses nothing."""

    plan: Plan
    store: Store
    status: dict[str, str] = field(default_factory=dict)
    """Finished trial id -> status"""
    labels: dict[str, str] = field(default_factory=dict)
    """Trial id -> its cell, of all trials that started here"""
    _searches: dict[int, Search] = field(default_factory=dict)
    """Position of a cell -> its search"""
    _choices: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Position of a cell -> the configuration of its final phase, frozen in the store when the search is over"""
    _ready: dict[str | None, list[_Ready]] = field(default_factory=dict)
    """Company -> heap of the places whose trials may start"""
    _awaited: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    """Search trial -> (position of the cell, configuration) of those that wait for its score"""
    _filled: list[tuple[Place, Trial]] = field(default_factory=list)
    """Places whose trial is known and not yet recorded"""
    _kept_lists: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.store.add_plan(self.plan.id, self.plan.name, self.plan.text, [c.cell for c in self.plan.cells])
        self.status = self.store.finished()
        with self.store.transaction():
            for position, cell in enumerate(self.plan.cells):
                self._keep_items(cell.base)
                if cell.num_search:
                    search = self._searches[position] = Search(cell, self.store)
                    for number in range(search.num_proposed):
                        self._await(position, number)
                self._advance(position)

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
        """Return a trial that can start now, with its company; None if none is ready.

        Search trials come first, then final ones by number, so that rows fill evenly. With `beside`, only a trial of
        this company.
        """
        while True:
            heaps = self._ready if beside is None else {beside: self._ready.get(beside)}
            waiting = {company: heap for company, heap in heaps.items() if heap}
            if not waiting:
                return None
            company = min(waiting, key=lambda company: waiting[company][0][0])
            _, position, phase, number, configuration = heapq.heappop(waiting[company])
            cell = self.plan.cells[position]
            trial = cell.trial(phase, number, configuration)
            self._filled.append((place_of(cell, phase, number), trial))
            identity = trial.id
            if identity not in self.status and identity not in self.labels:
                self.labels[identity] = cell.cell.label
                return Job(trial, company)

    def _add(
        self, position: int, phase: Phase, number: int, configuration: dict[str, Any], company: str | None
    ) -> None:
        """Let a place's trial start."""
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
        """Let start what a cell's finished trials allow: further configurations, or its final phase."""
        cell, search = self.plan.cells[position], self._searches.get(position)
        if position in self._choices:
            return
        while search is not None and (proposed := search.propose()) is not None:
            self._await(position, proposed[0])
        if search is None:
            self._choices[position] = {}
        elif search.complete:
            self._choices[position] = self.store.freeze_choice(cell.cell.id, search.best())
        else:
            return
        configuration = self._choices[position]
        shared = company(cell.trial("final", 0, configuration))
        for number in range(cell.num_final):
            self._add(position, "final", number, configuration, shared)

    # --- what happened --------------------------------------------------------------------------------------------

    def keep(self, started: Sequence[Job] = (), ended: Sequence[tuple[Job, Result]] = ()) -> None:
        """Make what happened durable in one transaction, then count it as done and let start what it allows."""
        if not (self._filled or started or ended):
            return
        with self.store.transaction():
            for place, trial in self._filled:
                for subset in (trial.train, trial.validation, trial.evaluate):
                    if subset.sha256 not in self._kept_lists:
                        self._kept_lists.add(subset.sha256)
                        self.store.add_index_list(subset.sha256, data.checked_indices(trial.task, subset))
                self.store.add_place(place, trial)
            for job in started:
                job.attempt = self.store.begin_attempt(job.trial.id)
            for job, result in ended:
                self.store.record(result, job.attempt)
        self._filled.clear()
        self.status |= {result.trial_id: result.status for _, result in ended}
        with self.store.transaction():
            for _, result in ended:
                for position, number in self._awaited.get(result.trial_id, []):
                    self._tell(position, number)
                    self._advance(position)

    @property
    def total(self) -> int:
        """Trials of the plan."""
        return sum(c.num_search + c.num_final for c in self.plan.cells)

    def done(self) -> dict[str, int]:
        """Return how many of the plan's known trials have each status."""
        counts: dict[str, int] = {}
        for position, cell in enumerate(self.plan.cells):
            for phase, number in cell.places():
                configuration = self._configuration(position, phase, number)
                known = None if configuration is None else cell.trial(phase, number, configuration).id
                state = self.status.get(known, "new") if known else "new"
                counts[state] = counts.get(state, 0) + 1
        return counts

    def _configuration(self, position: int, phase: Phase, number: int) -> dict[str, Any] | None:
        """Return the configuration of a place if it is known already."""
        if phase == "final":
            return self._choices.get(position)
        search, proposed = self._searches[position], number // self.plan.cells[position].search.draws
        return search.configuration(proposed) if proposed < search.num_proposed else None


def company(trial: Trial) -> str | None:
    """Return what trials that may share a pack have in common: all but size, rates, seed, steps and which pairs.

    None for a method that trains weights of the backbone.
    """
    method = METHODS.get(trial.method)
    if method is None or method.unfrozen(anatomy(trial.backbone), method.config(**trial.config)):
        return None
    config = {k: v for k, v in trial.config.items() if k != method.size_field}
    batch = trial.settings.batch_size
    return content_hash([trial.backbone_sha256, trial.precision, trial.task, trial.method, config, batch])


def run_plan(
    sweep: Sweep,
    pool: Callable[[], Pool],
    on_finished: Callable[[Result], None] = lambda result: None,
    on_progress: Callable[[dict[str, tuple[str, int, int]]], None] = lambda running: None,
) -> int:
    """Run every trial of the plan that the store does not hold yet; return how many ran.

    The pool is only started if there is something to run.
    """
    first = sweep.next_job()
    if first is None:
        sweep.keep()
        return 0
    waiting = [first]
    ran = 0

    def keep(started: Sequence[Job], ended: Sequence[tuple[Job, Result]]) -> None:
        nonlocal ran
        sweep.keep(started, ended)
        ran += len(ended)
        for _, result in ended:
            on_finished(result)

    with pool() as workers:
        workers.run(
            Hooks(
                next_job=lambda beside: waiting.pop() if waiting else sweep.next_job(beside),
                keep=keep,
                died=lambda job, why: sweep.store.end_attempt(job.trial.id, job.attempt, why),
                progress=on_progress,
            )
        )
    return ran
