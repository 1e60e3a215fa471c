"""A methods paragraph filled from a store, and the citation of featherbench: both to be copied."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.metadata import version

from featherbench.harness.records import Trial
from featherbench.reports.read import Run, claim_looks
from featherbench.reports.report import Report
from featherbench.reports.statistics import LOOK_ALPHA, LOOKS
from featherbench.reports.text import counted

REPOSITORY_TITLE = "featherbench: a benchmark harness for lightweight tuning methods"


def citation() -> str:
    """Return the BibTeX entry of the featherbench that is installed here."""
    number = version("featherbench")
    return "\n".join(
        (
            "@software{featherbench,",
            f"  title   = {{{REPOSITORY_TITLE}}},",
            "  author  = {{The featherbench contributors}},",
            f"  version = {{{number}}},",
            "}",
        )
    )


def methods_paragraph(report: Report) -> str:
    """Return one paragraph on what was run and how it was tested, every number counted in the store."""
    runs = list({run.trial_id: run for run in report.contents.runs if run.status}.values())
    places = [run for run in report.contents.runs if run.status]
    trials = [run.trial for run in runs]
    sentences = [
        f"We compared {_list(_named(trials, 'method'))} on {_list(_tasks(trials))} with {_list(_named(trials, 'backbone'))}"
        f" in featherbench {version('featherbench')} (protocol {_list(sorted({str(t.protocol) for t in trials}))}).",
        _trials(runs),
        _search(report),
        _final(places),
        f"Test outputs were decoded {_decoded(places)}.",
        _scores(report),
        "Intervals are 95 % t intervals for new inputs from crossed variance over seeds or draws and items, with jackknifed"
        " corpus scores and Satterthwaite's degrees of freedom, where a score is a function of sums over items; else over"
        " seeds or draws alone, for this test set. Ranks are simultaneous intervals by Holm over all pairs of rows.",
        _tests(report),
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _trials(runs: Sequence[Run]) -> str:
    failed, diverged = (sum(run.status == status for run in runs) for status in ("failed", "diverged"))
    return (
        f"The store holds {counted(len(runs), 'finished trial')}, of which {failed} failed and {diverged} diverged; a"
        " diverged trial counts with its best checkpoint."
    )


def _search(report: Report) -> str:
    """Return how configurations were chosen, over all cells that were searched."""
    tried = sorted({len(found.tried) for found in report.searches if found.tried})
    if not tried:
        return "No configuration was searched for: every method had the one that its plan gives."
    samplers = sorted({name for found in report.searches for name in found.samplers})
    configurations = (
        counted(tried[0], "configuration") if len(tried) == 1 else f"{tried[0]} to {tried[-1]} configurations"
    )
    own = " and each of its draws or seeds" if any(found.of > 1 for found in report.searches) else ""
    return (
        f"For each of {counted(len({f.cell.id for f in report.searches if f.tried}), 'searched cell')}{own} {configurations}"
        f" ({_list(samplers)}) were trained and the best by validation score was kept; checkpoints were chosen by"
        " validation loss."
    )


def _final(places: Sequence[Run]) -> str:
    final = [run for run in places if run.phase == "final" and run.counts and run.trial.steps]
    if not final:
        return "No trial of the final phase is finished."
    whole, drawn = ([run for run in final if (run.trial.train.draw is not None) == low] for low in (False, True))
    parts = []
    if whole:
        parts.append(f"with {counted(len({run.trial.seed for run in whole}), 'fresh seed')} on all training pairs")
    if drawn:
        draws = counted(len({run.trial.train.draw for run in drawn}), "draw")
        sizes = _list(map(str, sorted({run.cell.size for run in drawn if run.cell.size is not None})))
        of_draw: dict[tuple[str, str | None], set[int]] = {}
        for run in drawn:
            of_draw.setdefault((run.cell.id, run.trial.train.draw), set()).add(run.trial.seed)
        each = counted(max(map(len, of_draw.values())), "fresh seed")
        parts.append(f"on {draws} of {sizes} training {drawn[0].cell.size_unit}s, nested over sizes, each with {each}")
    return f"The chosen configurations were trained again {_list(parts)}, paired between methods."


def _decoded(places: Sequence[Run]) -> str:
    found = {run.trial.decoding for run in places if run.phase == "final"}
    words = {
        f"{'greedily' if d.beams == 1 else f'with {d.beams} beams'} up to {d.max_new_tokens} new tokens" for d in found
    }
    return _list(sorted(words)) or "by no trial yet"


def _scores(report: Report) -> str:
    primary = sorted({f"{board.primary} ({board.key.task})" for board in report.boards if board.primary})
    return f"The primary score is {_list(primary)}." if primary else ""


def _tests(report: Report) -> str:
    looks = len(claim_looks(report.store))
    points = ", ".join(map(str, LOOKS))
    rule = (
        f" {counted(looks, 'look')} at claims {'is' if looks == 1 else 'are'} on record; outside a headline list claims were"
        f" answered at {points} seeds or draws only, at {LOOK_ALPHA} each."
        if looks
        else ""
    )
    if not report.headlines:
        return f"No headline list was fixed, so no p value is given.{rule}"
    lists = _list(f"{counted(len(one.spec.rows), 'comparison')} with {one.spec.reference}" for one in report.headlines)
    return (
        "p values are of t tests of paired differences with the same standard error and degrees of freedom, adjusted by"
        " Holm within the headline list fixed before the final phase:"
        f" {lists}.{rule}"
    )


def _named(trials: Iterable[Trial], name: str) -> list[str]:
    return sorted({str(getattr(trial, name)) for trial in trials})


def _tasks(trials: Iterable[Trial]) -> list[str]:
    return sorted({f"{trial.task} (version {trial.task_version})" for trial in trials})


def _list(words: Iterable[str]) -> str:
    found = list(words)
    return " and ".join([", ".join(found[:-1]), found[-1]]) if len(found) > 1 else "".join(found)
