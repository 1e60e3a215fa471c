"""Commands that plan and run: plan, run, retry."""

from __future__ import annotations

import enum
import shlex
import shutil
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featherbench.harness.commands.terminal import (
    FAILED,
    STOPPED,
    Json,
    Out,
    PlanName,
    Scale,
    StoreUrl,
    expanded_plan,
    folder_of,
    mended_errors,
    open_store,
    say,
    show_json,
)

if TYPE_CHECKING:
    from featherbench.harness.estimate import Estimate
    from featherbench.harness.plan import Plan
    from featherbench.harness.records import Result, Subset, Trial
    from featherbench.harness.store import Failure, Store
    from featherbench.reports.report import Report


def plan(
    name: PlanName,
    scale: Scale = None,
    store: StoreUrl = None,
    out: Out = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="Estimate the time by a very short trial of each method here")
    ] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Workers to estimate for; default: as `run`")] = None,
    as_json: Json = False,
) -> None:
    """Expand a plan: its cells, what is finished, where each value came from, and what is left to spend.

    The time is estimated from the store's finished trials of the same backbone, task and method, or by --probe.

    Examples:

      featherbench plan quickstart

      featherbench plan mine.yaml --probe --workers 8

      featherbench plan paper-e2e --scale smoke
    """
    with mended_errors():
        expanded = expanded_plan(name, scale)
        url_or_file = store or str(folder_of(expanded.name, out) / "store.sqlite")
        finished, kept = {}, None
        if store or Path(url_or_file).exists():
            from featherbench.harness.status import overview

            kept = open_store(store, folder_of(expanded.name, out), create=False)
            finished = {c.id: c.ok + c.diverged + c.failed for c in overview(kept).cells}
        cells: list[dict[str, Any]] = []
        for c in expanded.cells:
            values = {
                "learning_rate": c.base.learning_rate,
                "steps": c.base.steps,
                "weight_decay": c.base.weight_decay,
                **c.base.config,
            }
            cells.append(
                {
                    "cell": c.cell.label,
                    "id": c.cell.id,
                    "search_trials": c.num_search,
                    "final_trials": c.num_final,
                    "finished": finished.get(c.cell.id, 0),
                    "train": c.base.train.name,
                    "validation": c.base.validation.name,
                    "test": c.base.evaluate.name,
                    "test_items": _test_items(c.base.task, c.base.evaluate),
                    **c.spend,
                    "size": c.share or c.cell.size or "full",
                    "trained": c.counts.trained,
                    "stored": c.counts.stored,
                    "total": c.counts.total,
                    "values": {k: {"value": v, "from": c.origins.get(k, "method default")} for k, v in values.items()},
                }
            )
        warnings = _shared_inputs(dict.fromkeys(c.base.task for c in expanded.cells))
        expected = _estimated(expanded, kept, finished, probe, workers)
    if as_json:
        content = {"plan": expanded.name, "id": expanded.id, "warnings": warnings, "cells": cells}
        show_json({**content, "estimate": expected.as_dict()})
        return
    say(f"plan {expanded.name} ({expanded.id}), protocol 1: {len(cells)} cells")
    for warning in warnings:
        say(f"warning: {warning}")
    for cell in cells:
        new = cell["search_trials"] + cell["final_trials"] - cell["finished"]
        say(
            f"\n{cell['cell']}  [{cell['id']}]\n  {cell['search_trials']} search + {cell['final_trials']} final trials: "
            f"{cell['finished']} finished, {new} new\n"
            f"  train {cell['train']}, validation {cell['validation']}, scored on {cell['test']}: "
            f"{', '.join(f'{n:,} {part}' for part, n in cell['test_items'].items())}\n"
            f"  data: {cell['train_pairs']:,} training pairs ({cell['train_inputs']:,} inputs"
            f"{', ' + cell['size'] if str(cell['size']).endswith('%') else ''}) + {cell['validation_pairs']:,} validation "
            f"pairs ({cell['validation_inputs']:,} inputs) = {cell['train_pairs'] + cell['validation_pairs']:,} pairs\n"
            f"  parameters: trained {cell['trained']:,}, stored {cell['stored']:,} "
            f"({cell['stored'] / cell['total']:.3%} of {cell['total']:,})"
        )
        for key, entry in cell["values"].items():
            say(f"    {key:<16} {entry['value']!s:<12} {entry['from']}")
    _show_estimate(expected)


@cache  # many cells are scored on the same inputs
def _test_items(task: str, wanted: Subset) -> dict[str, int]:
    """Return how many inputs are scored: all, and seen and unseen where the task tells them apart."""
    from featherbench.harness import data

    groups = data.tag_groups(list(data.references(task, wanted).values()))
    return {("inputs" if name == "all" else name.removeprefix("seen=")): len(found) for name, found in groups.items()}


def _estimated(
    expanded: Plan, kept: Store | None, finished: Mapping[str, int], probe: bool, workers: int | None
) -> Estimate:
    import torch

    from featherbench.harness import estimate

    rates = estimate.from_history(kept) if kept else {}
    for cell in expanded.cells if probe else ():
        if (kind := estimate.kind_of(cell.base)) not in rates:
            say(f"probing {'/'.join(kind)}", error=True)
            rates[kind] = estimate.probe(cell)
    return estimate.estimate(expanded, finished, rates, workers or max(1, torch.cuda.device_count()))


def _show_estimate(found: Estimate) -> None:
    say(f"\nleft to run: {found.trials} trials, about {found.disk_bytes / 2**20:.0f} MiB of disk")
    if found.sources:
        sources = ", ".join(sorted(set(found.sources.values())))
        say(
            f"  about {found.worker_hours:.2f} worker-hours (of a GPU where there is one), {found.wall_hours:.2f} h in all, "
            f"from {sources}"
        )
    if found.unknown:
        say(f"  not estimated, since none has run yet: {', '.join(found.unknown)}; try --probe")


def _shared_inputs(tasks: Iterable[str]) -> list[str]:
    """Return a warning for every split whose inputs partly stand in the training split, too."""
    from featherbench.harness.data import also_trained_on

    return [
        f"{task}: {count} inputs of the {split} split also stand in the training split. They are kept; the report tells "
        "how many of them a trial was trained on."
        for task in tasks
        for split, count in also_trained_on(task).items()
        if count
    ]


class FailureKind(enum.StrEnum):
    """What `retry` can be told to run again."""

    oom = "oom"
    nan = "nan"
    error = "error"


class MirrorKind(enum.StrEnum):
    """Where finished trials can be shown as well."""

    tensorboard = "tensorboard"
    mlflow = "mlflow"


Address = Annotated[str | None, typer.Option("--address", help="A running Ray cluster; default: start one here")]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1, help="Worker processes; default: one per GPU; without, one, or one per core for backbones below 20 M"
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(min=1, help="Cores a worker computes with; default: all, shared evenly. Those left score outputs"),
]
MicroBatch = Annotated[int | None, typer.Option(min=1, help="Pairs per forward pass; changes memory, not results")]
Slots = Annotated[
    int | None,
    typer.Option(min=1, help="Trials that share training steps; default: one on a CPU, as many as pay on a GPU"),
]
Artifacts = Annotated[
    str | None, typer.Option(help="Folder or fsspec URL for deltas that all nodes reach; default: the run's folder")
]
MaxHours = Annotated[
    float | None, typer.Option(min=0, help="Stop after so long, with a report of what is there; exit code 4")
]
MaxGpuHours = Annotated[float | None, typer.Option(min=0, help="The same, counting each GPU that the workers hold")]
Mirrors = Annotated[
    list[MirrorKind] | None,
    typer.Option("--mirror", help="Also show finished trials in TensorBoard or MLflow, below the run's folder"),
]
Lease = Annotated[
    float,
    typer.Option(min=1, help="Seconds without a sign of life after which other drivers take this one's work over"),
]


def run(
    name: PlanName,
    scale: Scale = None,
    store: StoreUrl = None,
    out: Out = None,
    address: Address = None,
    workers: Workers = None,
    threads: Threads = None,
    micro_batch: MicroBatch = None,
    slots: Slots = None,
    artifacts: Artifacts = None,
    max_hours: MaxHours = None,
    max_gpu_hours: MaxGpuHours = None,
    mirror: Mirrors = None,
    lease: Lease = 60.0,
    as_json: Json = False,
) -> None:
    """Run every trial of a plan that has no stored result, then write the report; safe to repeat after a crash.

    The same command in another terminal, or on another machine with the same --store, shares the work.

    Examples:

      featherbench run quickstart

      featherbench run mine.yaml --out /data/mine --address auto --max-hours 8

      featherbench run paper-e2e --scale smollm2-135m
    """
    _run(
        name,
        scale,
        store,
        out,
        address,
        workers,
        threads,
        micro_batch,
        slots,
        artifacts,
        max_hours,
        max_gpu_hours,
        mirror,
        lease,
        as_json,
    )


def retry(
    name: PlanName,
    scale: Scale = None,
    failed: Annotated[
        list[FailureKind], typer.Option("--failed", help="Out of memory, diverged, or any other error; repeatable")
    ] = [FailureKind.oom, FailureKind.error],  # noqa: B006  # typer wants a list
    store: StoreUrl = None,
    out: Out = None,
    address: Address = None,
    workers: Workers = None,
    threads: Threads = None,
    micro_batch: MicroBatch = None,
    slots: Slots = None,
    artifacts: Artifacts = None,
    max_hours: MaxHours = None,
    max_gpu_hours: MaxGpuHours = None,
    mirror: Mirrors = None,
    lease: Lease = 60.0,
    as_json: Json = False,
) -> None:
    """Run a plan's failed trials again, and whatever else is missing; their earlier attempts stay on record.

    Examples:

      featherbench retry mine.yaml

      featherbench retry mine.yaml --failed oom --micro-batch 2
    """
    given = (address, workers, threads, micro_batch, slots, artifacts, max_hours, max_gpu_hours, mirror, lease, as_json)
    _run(name, scale, store, out, *given, again=[kind.value for kind in failed])


def _run(
    name: str,
    scale: str | None,
    store: str | None,
    out: Path | None,
    address: str | None,
    workers: int | None,
    threads: int | None,
    micro_batch: int | None,
    slots: int | None,
    artifacts: str | None,
    max_hours: float | None,
    max_gpu_hours: float | None,
    mirror: Sequence[str] | None,
    lease: float,
    as_json: bool,
    again: Sequence[Failure] = (),
) -> None:
    with mended_errors():
        from featherbench.harness.progress import Board

        expanded = expanded_plan(name, scale)
        folder = folder_of(expanded.name, out).absolute()
        kept = open_store(store, folder, create=not again)
        from featherbench.harness.cluster import LIGHT
        from featherbench.harness.mirrors import mirrors
        from featherbench.harness.run import Sweep, run_plan
        from featherbench.harness.schedule import Pool
        from featherbench.harness.worker import Engine
        from featherbench.harness.zero import zero_for

        for kind in again:
            say(f"{kept.forget(expanded.id, kind)} failed with {kind}", error=True)
        engine = Engine(
            artifacts=artifacts or str(folder),
            scratch=str(folder),
            micro_batch=micro_batch,
            slots=slots,
            zero=zero_for(expanded),
        )
        pool = Pool(
            engine=engine,
            address=address,
            num_workers=workers,
            num_threads=threads,
            light=max(cell.counts.total for cell in expanded.cells) < LIGHT,
            max_hours=max_hours,
            max_gpu_hours=max_gpu_hours,
        )
        shown = mirrors(mirror or (), folder, expanded.name)
        with Sweep(plan=expanded, store=kept, lease=lease) as sweep, Board(sweep, quiet=as_json) as board:
            pool.on_wait = board.say
            failed_before = sweep.done().get("failed", 0)

            def finished(trial: Trial, result: Result) -> None:
                board.finished(result)
                for each in shown:
                    each.add(trial, sweep.labels[trial.id], result)

            ran, stopped = run_plan(sweep, lambda: pool, on_finished=finished, on_progress=board.show)
        counts = sweep.done()
        from filelock import FileLock

        from featherbench.reports.report import collect
        from featherbench.reports.site import write_site

        if not kept.num_drivers():
            shutil.rmtree(folder / "frozen", ignore_errors=True)  # no trial is left that could share it
        with FileLock(folder / "report.lock"):  # drivers of one plan end together
            report = collect(kept) if set(counts) - {"new"} else None  # nothing has finished: nothing to report
            page = write_site(report, folder / "report")[0] if report else None
    summary = {
        "plan": expanded.name,
        "ran": ran,
        **counts,
        "report": str(page) if page else None,
        "store": kept.shown_url,
    }
    if as_json:
        show_json({**summary, "stopped": stopped} if stopped else summary)
    else:
        say(f"{ran} trials ran; of all {sweep.total}: " + ", ".join(f"{n} {s}" for s, n in sorted(counts.items())))
        if failed_before:
            say(f"{failed_before} had failed before and were not run again: `featherbench log TRIAL` says why, and")
            say(f"`featherbench retry {shlex.quote(name)}` runs them again. Ids: `featherbench status --trials`.")
        if report:
            _show_report(report, folder)
        say(f"report: {_short(page) if page else 'none, since nothing has finished'}")
        if stopped:
            say(f"{stopped}; the same command goes on from here.", error=True)
    if stopped:
        raise typer.Exit(STOPPED)
    if counts.get("failed") or counts.get("new"):
        raise typer.Exit(FAILED)


def _show_report(report: Report, folder: Path) -> None:
    """Print what was found, the answers to the plan's headline list or what they wait for, and what to type next."""
    from featherbench.reports.terminal import headline_lines, leaderboard_lines

    say("")
    for line in leaderboard_lines(report):
        say(line)
    if answers := list(headline_lines(report)):
        say("Headline comparisons of the plan (p by Holm; `featherbench claim` says more):")
        for line in answers:
            say(line)
        say("")
    rows = list(dict.fromkeys(row.cell.row for board in report.boards for row in board.rows if row.rank))
    where = f"--out {_short(folder)}"
    if len(rows) > 1:
        say(f"Next:  featherbench compare {shlex.quote(rows[0])} {shlex.quote(rows[1])} {where}")
        say(f"       featherbench export TRIAL {where}   (trials: in the report, or `featherbench status --trials`)")
        say("       featherbench cp quickstart mine.yaml   (a plan of your own)")


def _short(path: Path) -> Path:
    """Return the path as one would type it from here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
