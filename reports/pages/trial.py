"""trials/ID.html: one trial, whole: configuration, curves, scores, outputs, cost, attempts, and how to run it again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from featherbench.harness.recorded import Recorded, text_of
from featherbench.harness.records import Trial
from featherbench.reports import read
from featherbench.reports.aggregate import COSTS, cost_value
from featherbench.reports.blocks import Block, Code, Entry, Folded, Heading, Page, Samples, Table, Text, entries
from featherbench.reports.boards import Board
from featherbench.reports.charts.trial_curves import lines
from featherbench.reports.licence import attribution, why_not_shown
from featherbench.reports.losses import best_loss
from featherbench.reports.provenance import flat
from featherbench.reports.read import Run
from featherbench.reports.read_trials import OUTPUTS, Detail, details
from featherbench.reports.report import Report
from featherbench.reports.samples import Output, Sample
from featherbench.reports.tables import (
    board_path,
    board_title,
    configuration_text,
    cost_entry,
    share_entry,
    trial_path,
)
from featherbench.reports.text import (
    MISSING,
    bytes_text,
    flops_text,
    number_text,
    percent_text,
    score_text,
    seconds_text,
)

AGAIN = (
    "The first command needs featherbench and this site alone: type it in the site's folder. The file lies beside this page "
    "(its name stands below, under “Data”) and holds everything that makes this trial what it is, its scores and its losses; "
    "backbone and data must be the recorded ones, by their hashes. The others need the run's folder. The trial is trained "
    "again, and what came out is set beside what is recorded: on one machine with the same versions every bit should be the "
    "same; elsewhere validation losses within 1e-5 and 98 % of the outputs (float32), unless its learning rate is so "
    "high that rounding errors grow."
)
OWN_DATA = (
    "featherbench and the run's folder are needed, and the data: files of their owner's, which this site does not hold. The "
    "trial is trained again, and what came out is set beside what is recorded."
)
BATCH = 250
"""Trials read at once"""
Texts = Mapping[int, tuple[str, list[str]]]
"""Item -> its source and references"""


def pages(report: Report) -> Iterator[Page]:
    """Yield the page of every trial, planned ones too, in the order of the report."""
    boards = {run.trial_id: board for board in report.boards for row in board.rows for run in row.runs}
    places: dict[str, list[Run]] = {}
    for run in report.contents.runs:
        if trial_path(run.trial_id):
            places.setdefault(run.trial_id, []).append(run)
    folder = run_folder([plan.name for plan in report.contents.plans])
    texts = _Texts(report)
    ids = list(places)
    for start in range(0, len(ids), BATCH):
        found = details(report.store, ids[start : start + BATCH])
        for trial_id, detail in found.items():
            runs = places[trial_id]
            blocks = tuple(_blocks(runs, detail, texts.of(runs[0].trial, detail), boards.get(trial_id), folder))
            yield Page(
                path=trial_path(trial_id),
                title=f"Trial {trial_id}",
                lead=_lead(runs),
                blocks=blocks,
                listed=False,
                record=text_of(_recorded(runs[0], detail)) if runs[0].status else "",
            )


class _Texts:
    """Sources and references of shown items; trials of one evaluated subset mostly show the same few."""

    def __init__(self, report: Report) -> None:
        self._store = report.store
        self._found: dict[tuple[str, tuple[int, ...]], Texts] = {}

    def of(self, trial: Trial, detail: Detail) -> Texts:
        items = tuple(item for item, _, _ in detail.outputs)
        if not items or why_not_shown(trial):
            return {}
        key = (f"{trial.task} {trial.task_version} {trial.evaluate.split} {trial.evaluate.name}", items)
        if key not in self._found:
            self._found[key] = read.item_texts(self._store, trial, items)
        return self._found[key]


def _lead(runs: Sequence[Run]) -> str:
    run = runs[0]
    status = {"ok": "finished", "diverged": "diverged; its best weights count", "failed": "failed"}
    return f"{run.cell.label}: {run.trial.method} on {run.trial.task}, {status.get(run.status or '', 'not finished')}."


def run_folder(plans: Sequence[str]) -> str:
    """Return the folder that a run of the plan uses by default; RUN where no plan's name can stand in a command."""
    names = list(dict.fromkeys(plans))
    return f"runs/{names[0]}" if len(names) == 1 and re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", names[0]) else "RUN"


def _blocks(runs: Sequence[Run], detail: Detail, texts: Texts, board: Board | None, folder: str) -> Iterator[Block]:
    run = runs[0]
    if run.cause:
        yield Heading(level=2, text="Cause")
        yield Code(text=run.cause.strip(), title=f"Why it {'failed' if run.status == 'failed' else 'diverged'}")
    yield _places_table(runs, board)
    yield Heading(level=2, text="Run it again")
    commands = [f"featherbench {what} {run.trial_id} --out {folder}" for what in ("rerun", "log")]
    own_data = run.trial.definition is not None
    yield Code(text="\n".join(commands if own_data else [f"featherbench rerun trials/{run.trial_id}.json", *commands]))
    where = "RUN is the folder of the run whose store holds the trial. " if folder == "RUN" else ""
    yield Text(text=where + (OWN_DATA if own_data else AGAIN))
    yield Heading(level=2, text="Configuration")
    yield Text(text=f"{configuration_text(run.trial)}; seed {run.trial.seed}, {run.trial.precision}")
    yield Folded(title="Everything that makes this trial what it is", blocks=(Code(text=content_text(run.trial)),))
    if run.provenance:
        origin = "\n".join(f"{key}: {value}" for key, value in flat(run.provenance))
        yield Folded(title="Code, versions and machine that it ran with", blocks=(Code(text=origin),))
    if detail.curves:
        yield Heading(level=2, text="Curves")
        yield from _curves(run, detail)
    if run.scores:
        yield Heading(level=2, text="Scores")
        yield _scores_table(run)
    yield from _outputs(run, detail, texts)
    if run.cost:
        yield Heading(level=2, text="Cost")
        yield _cost_table(run)
    if detail.attempts:
        yield Heading(level=2, text="Attempts")
        rows = tuple(entries(a.number, a.started, a.outcome or "no end recorded") for a in detail.attempts)
        yield Table(name="", title="Attempts", header=entries("attempt", "started", "outcome"), rows=rows)


def _places_table(runs: Sequence[Run], board: Board | None) -> Table:
    rows = tuple(
        (
            Entry(text=run.cell.label),
            Entry(text=run.phase),
            Entry(text=run.name),
            Entry(text=board_title(board), link=board_path(board))
            if board and run.phase == "final"
            else Entry(text=MISSING, note="validation only"),
        )
        for run in runs
    )
    return Table(name="", title="Where it stands", header=entries("cell", "phase", "place", "board"), rows=rows)


def _recorded(run: Run, detail: Detail) -> Recorded:
    """Return what can be published of a trial under any licence: all but its outputs."""
    return Recorded(
        id=run.trial_id,
        trial=run.trial,
        status=run.status,
        cause=run.cause,
        scores=run.scores,
        validation_loss=dict(detail.validation_loss),
        delta_sha256=detail.delta_sha256,
        cost=run.cost,
        provenance=dict(run.provenance),
    )


def content_text(trial: Trial) -> str:
    """Return the trial as JSON with a field a line, exact."""
    fields = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in trial.stated().items()]
    return "{\n" + ",\n".join(fields) + "\n}"


# --- curves -----------------------------------------------------------------------------------------------------------


def _curves(run: Run, detail: Detail) -> Iterator[Block]:
    loss = [("training", detail.curves.get("train_loss", ())), ("validation", detail.curves.get("validation_loss", ()))]
    best = best_loss(run)
    kept = (
        None
        if best is None or run.best_step is None
        else (run.best_step, best, f"weights of step {run.best_step} kept")
    )
    norms = detail.curves.get("gradient_norm", ())
    clip = run.trial.settings.clip
    drawn = (
        lines("Loss", loss, mark=kept),
        lines("Gradient norm", [("gradient norm", norms)], rule=(clip, f"clipped above {clip:g}")),
    )
    yield from (chart for chart in drawn if chart)
    if norms:
        yield Text(text=clipped_text([value for _, value in norms], clip))
    if detail.not_finite:
        yield Text(text=f"{detail.not_finite} values of the curves are not finite and not drawn.", caution=True)


def clipped_text(norms: Sequence[float], clip: float) -> str:
    """Return how many gradients were clipped: those whose norm, measured before, is above the plan's bound."""
    clipped = sum(norm > clip for norm in norms)
    share = number_text(100 * clipped / len(norms))
    return f"Clipped: {clipped} of {len(norms)} gradients ({share} %) had a norm above {clip:g}, the plan's bound."


# --- scores, outputs, cost ----------------------------------------------------------------------------------------------


def _scores_table(run: Run) -> Table:
    rows = tuple(
        (
            Entry(text=score.metric),
            Entry(text=score.subset),
            Entry(text=MISSING if score.value is None else score_text(score.value), value=score.value),
            Entry(text=MISSING if score.value is None else repr(score.value)),
            Entry(text=score.signature, long=True),
        )
        for score in run.scores
    )
    header = entries("score", "items", "value", "exact", "signature, or why there is no value")
    return Table(name="", title=f"Scores on {run.trial.evaluate.name}", header=header, rows=rows)


def _outputs(run: Run, detail: Detail, texts: Texts) -> Iterator[Block]:
    kept = run.outputs.kept
    if not kept:
        return
    yield Heading(level=2, text="Outputs")
    row = (Entry(text=f"{kept:,}"), share_entry(run.outputs.truncated, kept), share_entry(run.outputs.empty, kept))
    yield Table(name="", title="Outputs", header=entries("outputs kept", "truncated", "empty"), rows=(row,))
    refusal = why_not_shown(run.trial)
    if refusal:
        yield Text(text=refusal)
        return
    every = f"`featherbench export {run.trial_id} -o FOLDER` writes all. " if kept > OUTPUTS else ""
    yield Text(text=f"The first {min(kept, OUTPUTS)} items of {kept:,}. {every}{attribution(run.trial)}")
    yield Samples(samples=tuple(_sample(run, texts, *output) for output in detail.outputs))


def _sample(run: Run, texts: Texts, item: int, text: str, truncated: bool) -> Sample:
    source, references = texts.get(item, ("(the store does not hold this input)", []))
    output = Output(label="output", trial="", text=text, truncated=truncated, empty=not text.strip())
    return Sample(
        item=item,
        tags="",
        source=source,
        reference=references[0] if references else None,
        references=len(references),
        outputs=(output,),
    )


def _shown(name: str, value: float) -> str:
    endings = {"percent": percent_text, "bytes": bytes_text, "flops": flops_text, "seconds": seconds_text}
    return next((show for ending, show in endings.items() if name.endswith(ending)), number_text)(value)


def _cost_table(run: Run) -> Table:
    cost = run.cost
    assert cost is not None
    values = {name: cost_value(name, cost) for name in COSTS}
    rows = tuple(
        (
            Entry(text=name.replace("_", " ")),
            cost_entry(value, partial(_shown, name)),
            Entry(text=MISSING if value.value is None else repr(value.value)),
        )
        for name, value in values.items()
    )
    device = entries("device", cost.device, MISSING)
    return Table(name="", title="Cost", header=entries("cost", "value", "exact"), rows=(*rows, device))
