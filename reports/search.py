"""Runs of the search phase -> per search: what was tried, what did best on validation, what the final phase used."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from featherbench.harness.records import Cell, Trial
from featherbench.harness.spec import FinalSpec
from featherbench.harness.store import Store
from featherbench.reports import read
from featherbench.reports.aggregate import configuration, ordered_metrics
from featherbench.reports.boards import ALL
from featherbench.reports.measured import MIXED
from featherbench.reports.read import Contents, Run


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One configuration and its validation score."""

    numbers: tuple[int, ...]
    """Places of the search phase"""
    trial: Trial
    """One of its trials: learning rate, weight decay, steps and the method's own configuration"""
    score: float | None
    """Mean over its trials with a score (several, if the search uses several draws)"""
    scored: int
    trials: int
    note: str
    """Failures, and why a score is missing"""
    used: bool
    """True if a final trial has this configuration"""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One configuration in the order of the search: what it was worth and what it took."""

    number: int
    """Place in its search, from 0"""
    sampler: str
    """ "sobol": quasi-random, a fixed point of the search space; others depend on the scores before"""
    score: float | None
    """Mean validation score over its trials, diverged ones with that of their best weights; None if one has none"""
    failed: int
    diverged: int
    unfinished: int
    trials: int
    seconds: float | None
    """Training and decoding, of all its trials; None if a trial has no cost"""
    flops: float | None


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search of a cell: the only one, or that of one replicate of the final phase."""

    cell: Cell
    study: int
    """Number of its scramble"""
    of: int
    """Searches of the cell"""
    metric: str | None
    """Primary score, on validation items"""
    evaluated: str
    """Name of the validation subset"""
    proposed: int
    samplers: tuple[str, ...]
    tried: tuple[Tried, ...]
    """By number"""
    attempts: tuple[Attempt, ...]
    """By number, equal configurations apart: each was spent"""
    space: Mapping[str, tuple[object, ...]]
    """Every searched dimension with the values proposed, each once"""
    final: int
    """Trials in the final phase"""
    foreign: int
    """Final trials whose configuration is none of the tried ones"""

    @property
    def label(self) -> str:
        """The cell's, with the study where the cell has several."""
        return self.cell.label if self.of == 1 else f"{self.cell.label}, study {self.study}"

    @property
    def best(self) -> Tried | None:
        """The highest validation score; configurations that lack a trial's score are not considered."""
        complete = [t for t in self.tried if t.score is not None and t.scored == t.trials]
        return max(complete, key=lambda t: (t.score, -t.numbers[0]), default=None)


def searches(store: Store, contents: Contents) -> list[Search]:
    """Return the searches of all cells, in report order."""
    proposals = read.proposed(store)
    by_cell: dict[str, list[Run]] = defaultdict(list)
    for run in contents.runs:
        by_cell[run.cell.id].append(run)
    found: list[Search] = []
    for cell in contents.cells:
        runs = [run for run in by_cell[cell.id] if run.phase == "search"]
        if runs or proposals.get(cell.id):
            final = [run for run in by_cell[cell.id] if run.phase == "final"]
            found += _searches(cell, runs, final, proposals.get(cell.id, []))
    return found


def _searches(
    cell: Cell, runs: Sequence[Run], final: Sequence[Run], proposals: Sequence[Mapping[str, Any]]
) -> Iterator[Search]:
    """Yield the searches of a cell; they share its proposals and places one after the other."""
    design, spec = FinalSpec(**cell.fixed.get("final", {})), cell.fixed.get("search", {})
    each, draws, sized = int(spec.get("configurations", 0)), int(spec.get("draws", 1)), cell.size is not None
    studies = design.studies(sized) if each else 1
    for study in range(studies):
        alone = studies == 1
        yield _search(
            cell,
            int(spec.get("study", 0)) + study,
            studies,
            [run for run in runs if alone or run.number // (each * draws) == study],
            [run for run in final if alone or design.replicate_of(run.number, sized) == study],
            [row for row in proposals if alone or row["number"] // each == study],
        )


def _search(
    cell: Cell,
    study: int,
    studies: int,
    runs: Sequence[Run],
    final: Sequence[Run],
    proposals: Sequence[Mapping[str, Any]],
) -> Search:
    metrics = ordered_metrics(runs)
    metric = metrics[0] if metrics else None
    used = {configuration(run) for run in final}
    grouped: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        grouped[configuration(run)].append(run)
    return Search(
        cell=cell,
        study=study,
        of=studies,
        metric=metric,
        evaluated=", ".join(sorted({run.trial.evaluate.name for run in runs})),
        proposed=len(proposals),
        samplers=tuple(sorted({str(row["sampler"]) for row in proposals})),
        tried=tuple(_tried(group, metric, key in used) for key, group in grouped.items()),
        attempts=tuple(_attempts(cell, runs, proposals, metric)),
        space=_space(proposals),
        final=len(final),
        foreign=sum(configuration(run) not in grouped for run in final),
    )


def _tried(runs: Sequence[Run], metric: str | None, used: bool) -> Tried:
    fresh = [run for run in runs if run.repeats is None]
    stored = [run.score(metric, ALL) for run in fresh if run.counts] if metric else []
    values = [score.value for score in stored if score and score.value is not None]
    mixed = _mixed(fresh, metric)
    notes = [f"{sum(r.status == status for r in fresh)} {status}" for status in ("diverged", "failed")]
    notes = [note for note in notes if not note.startswith("0 ")]
    unfinished = sum(run.status is None for run in fresh)
    notes += [f"{unfinished} not finished"] if unfinished else []
    notes += sorted({score.signature for score in stored if score and score.value is None})
    return Tried(
        numbers=tuple(run.number for run in runs),
        trial=runs[0].trial,
        score=statistics.fmean(values) if values and not mixed else None,
        scored=len(values),
        trials=len(fresh),
        note="; ".join(notes + ([MIXED] if mixed else [])),
        used=used,
    )


def _space(proposals: Sequence[Mapping[str, Any]]) -> dict[str, tuple[object, ...]]:
    found: dict[str, dict[object, None]] = {}
    for row in proposals:
        for name, value in row["config"].items():
            found.setdefault(name, {})[value] = None
    return {name: tuple(values) for name, values in found.items()}


def _attempts(
    cell: Cell, runs: Sequence[Run], proposals: Sequence[Mapping[str, Any]], metric: str | None
) -> Iterator[Attempt]:
    """Yield the proposals whose trials have places; a configuration has as many as the search has draws."""
    draws = max(1, int(cell.fixed.get("search", {}).get("draws", 1)))
    of_number: dict[int, list[Run]] = defaultdict(list)
    for run in runs:
        of_number[run.number // draws].append(run)
    mixed = _mixed(runs, metric)
    first = min((row["number"] for row in proposals), default=0)
    for row in proposals:
        if own := of_number.get(row["number"]):
            stored = [run.score(metric, ALL) if metric and run.status in ("ok", "diverged") else None for run in own]
            values = [score.value for score in stored if score and score.value is not None]
            costs = [run.cost for run in own if run.cost is not None]
            whole = len(costs) == len(own)
            yield Attempt(
                number=row["number"] - first,
                sampler=str(row["sampler"]),
                score=statistics.fmean(values) if len(values) == len(own) and not mixed else None,
                failed=sum(run.status == "failed" for run in own),
                diverged=sum(run.status == "diverged" for run in own),
                unfinished=sum(run.status is None for run in own),
                trials=len(own),
                seconds=sum(c.train_seconds + c.decode_seconds for c in costs) if whole else None,
                flops=sum(c.train_flops + c.decode_flops for c in costs) if whole else None,
            )


def _mixed(runs: Sequence[Run], metric: str | None) -> bool:
    """True if the same items were scored by different scorers; other draws may have other reference counts."""
    signatures: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        score = run.score(metric, ALL) if metric and run.counts else None
        if score and score.value is not None:
            signatures[run.trial.evaluate.sha256].add(score.signature)
    return any(len(found) > 1 for found in signatures.values())
