"""The search phase of one cell, one search or several in turn: Optuna is asked and told; the store holds all state."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from featherbench.harness.plan import CellPlan
from featherbench.harness.records import PROTOCOL, Trial
from featherbench.harness.store import Store

DIMENSIONS = 16
"""Sobol points are always drawn in this many dimensions, so that dimension k is the same for every method"""
DECADES = 3
WEIGHT_DECAYS = [0.0, 0.01]
STUDIES = "studies"
"""Key of a choice that holds one configuration for each search of a cell"""


def dimensions_of(cell: CellPlan) -> dict[str, BaseDistribution]:
    """Return all dimensions in their fixed order: learning rate, steps, weight decay, the method's own."""
    centre, cap = cell.method.learning_rate, cell.base.steps
    reach = 10 ** (DECADES / 2)
    return {
        "learning_rate": FloatDistribution(centre / reach, centre * reach, log=True),
        "steps": CategoricalDistribution(sorted({max(1, cap // 4), max(1, cap // 2), cap})),
        "weight_decay": CategoricalDistribution(WEIGHT_DECAYS),
        **cell.method.space(cell.anatomy),
    }


def space(cell: CellPlan) -> dict[str, BaseDistribution]:
    """Return the dimensions that are searched: not what the plan fixes, nor the size of a budgeted cell."""
    given = set(cell.cell.fixed["given"]) | ({cell.method.size_field} if cell.cell.budget is not None else set())
    return {name: d for name, d in dimensions_of(cell).items() if name not in given}


def sobol_configuration(dimensions: Mapping[str, BaseDistribution], study: int, number: int) -> dict[str, Any]:
    """Return configuration `number` (from 0): a pure function of protocol, study, dimensions and number.

    All cells share the points of the unit cube: what is fixed is dropped afterwards, so that a dimension keeps its
    coordinate. Source: PROTOCOL.md, section 1.5.
    """
    from scipy.stats import qmc  # a third of a second, which plans without a search need not wait for

    points = qmc.Sobol(DIMENSIONS, scramble=True, rng=PROTOCOL * 1_000_003 + study)
    if number:
        points.fast_forward(number)
    point = points.random(1)[0]
    return {name: _at(d, float(u)) for (name, d), u in zip(dimensions.items(), point, strict=False)}


def _at(distribution: BaseDistribution, u: float) -> Any:
    """Return the value at quantile u in [0, 1)."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(u * len(distribution.choices))]
    if isinstance(distribution, FloatDistribution | IntDistribution):
        low, high = distribution.low, distribution.high
        if isinstance(distribution, IntDistribution):
            high = high + 1
        value = (
            math.exp(math.log(low) + u * (math.log(high) - math.log(low)))
            if distribution.log
            else low + u * (high - low)
        )
        return int(value) if isinstance(distribution, IntDistribution) else value
    raise TypeError(f"no rule for {distribution}")


class Search:
    """Proposes the configurations of one cell and remembers their validation scores; rebuilt from the store."""

    def __init__(self, cell: CellPlan, store: Store) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.cell, self._store = cell, store
        self.dimensions = space(cell)
        self._proposed = store.proposed(cell.cell.id)
        self._scores: dict[int, float | None] = {}
        self._study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
        self._asked: dict[int, optuna.trial.Trial] = {}
        for number in sorted(self._proposed):
            self._ask(number, self._proposed[number])

    def propose(self) -> tuple[int, dict[str, Any]] | None:
        """Return the next configuration, stored before it runs; None if all are proposed or the next one must wait.

        An adaptive proposal waits for the scores of all before it, so that it is the same however many workers run.
        """
        number = len(self._asked)
        adaptive = self.cell.search.sampler == "tpe" and number >= self._num_startup
        if number >= self._total or (adaptive and len(self._scores) < number):
            return None
        fixed = None
        if not adaptive:
            study, of_study = divmod(number, self.cell.search.configurations)
            point = sobol_configuration(dimensions_of(self.cell), self.cell.search.study + study, of_study)
            fixed = {name: point[name] for name in self.dimensions}
        configuration = self._ask(number, fixed)
        self._store.add_proposal(self.cell.cell.id, number, configuration, "tpe" if adaptive else "sobol")
        return number, configuration

    @property
    def _total(self) -> int:
        return self.cell.studies * self.cell.search.configurations

    @property
    def _num_startup(self) -> int:
        return max(2, self.cell.search.configurations // 4)

    def _ask(self, number: int, fixed: Mapping[str, Any] | None) -> dict[str, Any]:
        if fixed is not None:
            self._study.enqueue_trial(dict(fixed))
        else:  # a sampler of its own for every proposal, so that a rebuilt search goes on as the uninterrupted one
            seed = self.cell.search.study * 1009 + number
            self._study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=self._num_startup)
        self._asked[number] = self._study.ask(self.dimensions)
        return dict(self._asked[number].params)

    @property
    def num_proposed(self) -> int:
        """Configurations so far; they are numbered from 0."""
        return len(self._asked)

    def configuration(self, number: int) -> dict[str, Any]:
        """Return a proposed configuration."""
        return dict(self._asked[number].params)

    def trials_of(self, number: int) -> list[tuple[int, Trial]]:
        """Return (place number, trial) of each search draw of a configuration."""
        draws = self.cell.search.draws
        places = range(number * draws, (number + 1) * draws)
        return [(place, self.cell.trial("search", place, self.configuration(number))) for place in places]

    def tell(self, number: int, score: float | None) -> None:
        """Report a configuration's validation score, higher is better; None if a trial of it failed. Both count as spent."""
        if number in self._scores:
            return
        self._scores[number] = score
        state = optuna.trial.TrialState.COMPLETE if score is not None else optuna.trial.TrialState.FAIL
        self._study.tell(self._asked[number], score, state=state)

    @property
    def complete(self) -> bool:
        """Whether every configuration has been told."""
        return len(self._scores) == self._total

    def best(self) -> dict[str, Any]:
        """Return the configuration with the highest mean validation score; the earlier one of equals.

        If every configuration failed, the defaults go to the final phase, where the failure shows again. Of several
        searches {STUDIES: the best of each}.
        """
        each = self.cell.search.configurations
        found = [self._best(range(study * each, (study + 1) * each)) for study in range(self.cell.studies)]
        return found[0] if len(found) == 1 else {STUDIES: found}

    def _best(self, numbers: Iterable[int]) -> dict[str, Any]:
        scored = {n: s for n in numbers if (s := self._scores.get(n)) is not None}
        return self.configuration(max(scored, key=lambda n: (scored[n], -n))) if scored else {}


def chosen(cell: CellPlan, choice: Mapping[str, Any], number: int) -> Mapping[str, Any]:
    """Return the configuration of a place of the final phase from what the search chose."""
    found: Mapping[str, Any] = choice[STUDIES][cell.study_of(number)] if STUDIES in choice else choice
    return found
