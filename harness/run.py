"""The driver: a plan's missing trials go to the workers, their results into the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from featherbench.harness import data
from featherbench.harness.backbones import anatomy
from featherbench.harness.plan import CellPlan, Plan, place_of
from featherbench.harness.records import Phase, Result, Trial, content_hash
from featherbench.harness.schedule import Hooks, Pool
from featherbench.harness.search import Search
from featherbench.harness.store import Store
from featherbench.methods import METHODS
from featherbench.tasks import TASKS


@dataclass(kw_only=True)
class Sweep:
    """What remains to be done of a plan. All of its state comes from the store, so a killed driver loses nothing."""

    plan: Plan
    store: Store
    status: dict[str, str] = field(default_factory=dict)
    """Finished trial id -> status"""
    _searches: dict[str, Search] = field(default_factory=dict)
    _choices: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Cell -> the configuration of its final phase, frozen in the store when the search is over"""
    _started: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.store.add_plan(self.plan.id, self.plan.name, self.plan.text, [c.cell for c in self.plan.cells])
        self.status = self.store.finished()
        for cell in self.plan.cells:
            self._keep_items(cell.base)
            if cell.num_search:
                self._searches[cell.cell.id] = Search(cell, self.store)
                if (choice := self.store.choice(cell.cell.id)) is not None:
                    self._choices[cell.cell.id] = choice

    def _keep_items(self, trial: Trial) -> None:
        """Keep the evaluated items in the store, so that reports need no data files."""
        kept = data.references(trial.task, trial.evaluate)
        rows = [
            {"item": i, "source": e.source, "references": list(e.references), "tags": dict(e.tags)}
            for i, e in kept.items()
        ]
        self.store.add_items(trial.task, trial.task_version, trial.evaluate.name, rows)

    def next_trial(self, fits: Callable[[Trial], bool] = lambda trial: True) -> Trial | None:
        """Return a trial of those that fit which can start now, its place recorded; None if none is ready."""
        for cell, phase, number, trial in self._ready():
            if trial.id in self.status or trial.id in self._started:
                self.store.add_place(place_of(cell, phase, number), trial)
                continue
            if not fits(trial):
                continue
            for subset in (trial.train, trial.validation, trial.evaluate):
                self.store.add_index_list(subset.sha256, data.checked_indices(trial.task, subset))
            self.store.add_place(place_of(cell, phase, number), trial)
            self._started.add(trial.id)
            return trial
        return None

    def _ready(self) -> Iterator[tuple[CellPlan, Phase, int, Trial]]:
        """Yield what may run now: search trials first, then final ones by number, so that rows fill evenly."""
        for cell in self.plan.cells:
            search = self._searches.get(cell.cell.id)
            if search is None or search.complete:
                continue
            self._tell(search)
            numbers = range(search.cell.search.configurations)
            for number in numbers:
                if number >= len(search._asked) and (self._must_wait(search) or search.propose() is None):
                    break
                for place, trial in search.trials_of(number):
                    yield cell, "search", place, trial
                self._tell(search)
        for number in range(max(c.num_final for c in self.plan.cells)):
            for cell in self.plan.cells:
                if number < cell.num_final and (configuration := self.chosen(cell)) is not None:
                    yield cell, "final", number, cell.trial("final", number, configuration)

    def _must_wait(self, search: Search) -> bool:
        """An adaptive proposal waits for the scores of all before it, so that it is the same however many workers run."""
        return search.cell.search.sampler == "tpe" and len(search._scores) < len(search._asked)

    def _tell(self, search: Search) -> None:
        """Tell a search every configuration whose trials have all finished."""
        task = TASKS[search.cell.cell.task]
        metric = next(s for s in task.scores if s.name == task.primary)
        sign = 1.0 if metric.higher_is_better else -1.0
        for number in range(len(search._asked)):
            trials = [trial.id for _, trial in search.trials_of(number)]
            if all(trial in self.status for trial in trials):
                found = [self.store.score(trial, metric.name) for trial in trials]
                values = [value for value in found if value is not None]
                search.tell(number, sign * sum(values) / len(values) if len(values) == len(found) else None)

    def chosen(self, cell: CellPlan) -> dict[str, Any] | None:
        """Return the configuration of the final phase: the search's best, or the defaults; None while searching."""
        search = self._searches.get(cell.cell.id)
        if search is None:
            return {}
        if cell.cell.id not in self._choices:
            self._tell(search)
            if not search.complete:
                return None
            self._choices[cell.cell.id] = self.store.freeze_choice(cell.cell.id, search.best())
        return self._choices[cell.cell.id]

    def finish(self, result: Result, attempt: int) -> None:
        """Make a result durable, then count it as done."""
        self.store.record(result, attempt)
        self.status[result.trial_id] = result.status

    @property
    def total(self) -> int:
        """Trials of the plan."""
        return sum(c.num_search + c.num_final for c in self.plan.cells)

    def done(self) -> dict[str, int]:
        """Return how many of the plan's known trials have each status."""
        counts: dict[str, int] = {}
        for cell, phase, number in self.plan.places():
            trial = self.known_trial(cell, phase, number)
            state = self.status.get(trial.id, "new") if trial else "new"
            counts[state] = counts.get(state, 0) + 1
        return counts

    def known_trial(self, cell: CellPlan, phase: Phase, number: int) -> Trial | None:
        """Return the trial of a place if its configuration is known already."""
        if phase == "final":
            configuration = self.chosen(cell)
            return None if configuration is None else cell.trial("final", number, configuration)
        search = self._searches[cell.cell.id]
        configuration_number, _ = divmod(number, cell.search.draws)
        if configuration_number >= len(search._asked):
            return None
        return cell.trial("search", number, search.configuration(configuration_number))


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
    first = sweep.next_trial()
    if first is None:
        return 0
    waiting = [first]
    ran = 0

    def finished(result: Result, attempt: int) -> None:
        nonlocal ran
        sweep.finish(result, attempt)
        ran += 1
        on_finished(result)

    with pool() as workers:
        workers.run(
            Hooks(
                next_trial=lambda fits: waiting.pop() if waiting else sweep.next_trial(fits),
                company=company,
                started=lambda trial: sweep.store.begin_attempt(trial.id),
                died=lambda trial, attempt, why: sweep.store.end_attempt(trial.id, attempt, why),
                finished=finished,
                progress=on_progress,
            )
        )
    return ran
