"""Rows of a board -> what a reader must know before comparing them: unlike treatment, and what all results share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain

from featherbench.harness.catalogue import BACKBONES
from featherbench.reports.boards import ALL, COPY, Caution, Summary
from featherbench.reports.items import higher_is_better
from featherbench.reports.latency import disturbed
from featherbench.reports.measured import mixed

MOST_TRUNCATED = 0.1
"""Share of a row's outputs beyond which the board says so"""
MOST_AT_END = 0.5
"""Share of a row's trials with their best weights at the last step beyond which the board says so"""


def cautions(rows: Sequence[Summary], metric: str | None) -> Iterator[Caution]:
    """Yield the cautions of a board; `metric` is its primary score."""
    shared = chain(_shared(rows), _weak(rows, metric) if metric is not None else ())
    yield from (Caution(text=text, unequal=True) for text in _unlike(rows))
    yield from (Caution(text=text, unequal=False) for text in shared)


def _unlike(rows: Sequence[Summary]) -> list[str]:
    """Return what makes the rows of a board not fully comparable."""
    tuned = _tuned(rows)
    trials = [run.trial for row in rows for run in row.counted]
    found = []
    for metric, subset in dict.fromkeys(key for row in rows for key in row.scores):
        if mixed(run.score(metric, subset) for row in rows for run in row.counted):
            found.append(f"{metric} ({subset}) comes from different scorers, see the signatures below")
    if len({row.counts.counted for row in tuned}) > 1:
        found.append("rows have unequal numbers of trials")
    if len({tuple(sorted(run.trial.seed for run in row.counted)) for row in tuned}) > 1:
        found.append("rows have different seeds, so their trials are not paired")
    if len({run.trial.settings for row in tuned for run in row.counted}) > 1:
        found.append("rows were trained with different settings (batch size, evaluations, clipping, …)")
    if len({row.planned("trial", "steps") for row in tuned}) > 1:
        found.append("rows have different step caps")
    if len({row.planned("search") for row in tuned if not row.is_default}) > 1:
        found.append("rows spent unequal searches: trials, draws or sampler differ")
    if len({bool(run.trial.words) for row in tuned for run in row.counted}) > 1:
        found.append("some rows were given task words and some were not")
    versions = {(trial.method, trial.method_version) for trial in trials}
    for method in sorted(m for m, n in Counter(name for name, _ in versions).items() if n > 1):
        found.append(f"{method} stands here in several versions of its code")
    for name, values in (
        ("decoding", {trial.decoding for trial in trials}),
        ("precision", {trial.precision for trial in trials}),
    ):
        if len(values) > 1:
            found.append(f"rows differ in {name}")
    return found


def _shared(rows: Sequence[Summary]) -> Iterator[str]:
    """Yield what limits every row alike."""
    tuned, backbone = _tuned(rows), rows[0].cell.backbone
    if tuned and backbone in BACKBONES and (caveat := BACKBONES[backbone].caveat):
        yield f"{backbone} has {caveat}; comparisons with full fine-tuning hold for these weights"
    draws = {run.trial.train.draw for row in tuned for run in row.counted}
    if len(draws) == 1 and None not in draws and any(row.counts.counted > 1 for row in tuned):
        yield f"all trials use one draw of the training pairs ({min(map(str, draws))}): intervals hold for it only"
    if any(row.searched and not row.procedure for row in tuned):
        yield (
            "one search chose each row's configuration: intervals and ranks leave out that another search, on other draws, "
            "could have chosen another one"
        )
    if slowed := [row.label for row in rows if any(run.cost and disturbed(run.cost) for run in row.counted)]:
        yield f"other programs used the processors meanwhile, so seconds are too long: {'; '.join(slowed)}"
    for split in ("validation", "test"):
        counts = {run.provenance.get("also_trained_on", {}).get(split, 0) for row in tuned for run in row.counted}
        if most := max(counts, default=0):
            which = "the pairs that were trained on" if len(counts) == 1 else "the pairs that some trial was trained on"
            yield f"{split} inputs that also stand in {which}: {most}"


def _tuned(rows: Sequence[Summary]) -> list[Summary]:
    return [row for row in rows if row.counted and row.runs[0].trial.steps]


def _weak(rows: Sequence[Summary], metric: str) -> Iterator[str]:
    """Yield what a reader should know of rows that may be far from what their method can do."""
    cut = [row.label for row in rows if not row.deterministic and _truncated(row) > MOST_TRUNCATED]
    if cut:
        yield f"more than {100 * MOST_TRUNCATED:g} % of the outputs were cut at the most new tokens: {'; '.join(cut)}"
    if short := [row.label for row in rows if _at_end(row) > MOST_AT_END]:
        yield f"most trials have their lowest validation loss at the last step, so more steps may help: {'; '.join(short)}"
    copy = next((row for row in rows if row.cell.method == COPY), None)
    copied = copy.scores[metric, ALL].mean if copy else None
    if copied is None:
        return
    sign = 1 if higher_is_better(rows[0].runs[0].trial, metric) else -1
    tuned = [(row.label, row.scores[metric, ALL].mean) for row in rows if not row.deterministic]
    if weak := [label for label, mean in tuned if mean is not None and sign * mean <= sign * copied]:
        yield f"scored no better than a copy of the source, by their means: {'; '.join(weak)}"


def _truncated(row: Summary) -> float:
    kept = sum(run.outputs.kept for run in row.counted)
    return sum(run.outputs.truncated for run in row.counted) / kept if kept else 0.0


def _at_end(row: Summary) -> float:
    """Return the share of a row's trials whose kept weights are those of the last planned step."""
    trained = [run for run in row.counted if run.trial.steps and run.best_step is not None]
    return sum(run.best_step == run.trial.steps for run in trained) / len(trained) if trained else 0.0
