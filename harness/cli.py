"""featherbench: which lightweight tuning method should I use?

Exit codes: 0 all done, 1 some trials failed, 2 usage or plan error, 3 environment, 4 stopped by a
limit of time, 130 interrupted and resumable.
"""

from __future__ import annotations

import enum
import errno
import json
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featherbench.harness.secrets import without_secrets

if TYPE_CHECKING:
    from featherbench.harness.estimate import Estimate
    from featherbench.harness.plan import Plan
    from featherbench.harness.records import Result, Trial
    from featherbench.harness.status import Overview
    from featherbench.harness.store import Failure, Store

# libraries read these when they are imported
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# heavy imports (torch, transformers, ray) stand inside the commands: --help must answer at once


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"featherbench {version('featherbench')}")
        raise typer.Exit


app = typer.Typer(
    help="Which lightweight tuning method should I use, for this model, task, amount of data and parameter budget?\n\n"
    "Start with:  featherbench run quickstart   then open runs/quickstart/report/index.html",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, help="Print the version", callback=_print_version)
    ] = False,
) -> None:
    pass


FAILED, USAGE, ENVIRONMENT, STOPPED, INTERRUPTED = 1, 2, 3, 4, 130

Json = Annotated[bool, typer.Option("--json", help="Machine-readable output")]
StoreUrl = Annotated[
    str | None, typer.Option("--store", help="Database URL; default: store.sqlite in the run's folder")
]
Out = Annotated[Path | None, typer.Option("--out", help="Folder of the run; default: runs/NAME-OF-PLAN")]
PlanName = Annotated[str, typer.Argument(metavar="PLAN", help="A plan file, or the name of a packaged plan")]


def say(text: str, error: bool = False) -> None:
    """Print a line to people: stdout, or stderr for errors. Errors may quote URLs, so their passwords are hidden."""
    typer.echo(without_secrets(text) if error else text, err=error)


def show_json(content: Any) -> None:
    """Print one JSON document."""
    typer.echo(json.dumps(content, indent=2, ensure_ascii=False))


def _show_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an error of ours as Python does, without the passwords of URLs."""
    say("".join(traceback.format_exception(kind, error, trace)).rstrip(), error=True)


NOTHING_LOST = "Nothing finished is lost; the same command goes on from here."


@contextmanager
def mended_errors() -> Iterator[None]:
    """Turn the errors that a user can mend into one line and an exit code."""

    from featherbench.harness.store import StoreError
    from featherbench.tasks.files import DataError

    usage = ("PlanError", "UnsupportedBackbone", "BudgetError", "OutputError")
    environment = ("BackboneError", "ClusterError", "DeltaError", "ArtifactsError", "MirrorError", "PluginError")

    try:
        yield
    except KeyboardInterrupt:
        say(f"\nInterrupted. {NOTHING_LOST}", error=True)
        raise typer.Exit(INTERRUPTED) from None
    except (DataError, StoreError) as error:
        say(f"error: {error}", error=True)
        raise typer.Exit(ENVIRONMENT) from None
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        if error.filename is None and not full:
            raise
        where = f"{error.filename}: " if error.filename else ""
        mend = f"Free some space. {NOTHING_LOST}" if full else "Give a place that you may read and write."
        say(f"error: {where}{error.strerror}. {mend}", error=True)
        raise typer.Exit(ENVIRONMENT) from None
    except (ValueError, RuntimeError) as error:
        name = type(error).__name__
        if name not in (*usage, *environment):
            raise
        code = USAGE if name in usage else ENVIRONMENT
        say(f"error: {error}", error=True)
        raise typer.Exit(code) from None


def _quiet_libraries() -> None:
    os.environ.setdefault("DS_ACCELERATOR", "cpu" if shutil.which("nvidia-smi") is None else "cuda")
    import logging

    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)


def _expanded(name: str) -> Plan:
    from featherbench.harness.catalogue import BACKBONES
    from featherbench.harness.spec import find_plan, read_spec, read_text

    path = find_plan(name)
    spec = read_spec(read_text(path), path.name)  # typing mistakes are told before heavy libraries load
    _quiet_libraries()
    from featherbench.harness import backbones
    from featherbench.harness.plan import read_plan

    for backbone in spec.backbones:
        if backbone in BACKBONES:
            backbones.prepare(backbone, lambda text: say(text, error=True))
    return read_plan(name)


def _folder(plan_name: str, out: Path | None) -> Path:
    return out or Path("runs") / plan_name


def _open_store(url: str | None, folder: Path, *, create: bool) -> Store:
    from featherbench.harness.store import Store, StoreError

    try:
        return Store(url or f"sqlite:///{folder / 'store.sqlite'}", create=create)
    except StoreError:
        raise
    except ValueError as error:  # a port that is no number
        raise StoreError(f"{url!r} is no database URL: {error}; give e.g. postgresql://USER@HOST:5432/NAME") from error


def _store_to_read(url: str | None, out: Path | None) -> Store:
    """Return the store of --store, --out, or the only run below runs/."""
    if url or out:
        return _open_store(url, out or Path(), create=False)
    found = sorted(Path("runs").glob("*/store.sqlite"))
    if len(found) != 1:
        from featherbench.harness.store import StoreError

        names = ", ".join(str(p.parent) for p in found) or "none"
        raise StoreError(f"which run? Give --out FOLDER or --store URL. Runs here: {names}.")
    return _open_store(None, found[0].parent, create=False)


def _trial_of(store: Store, trial_id: str) -> tuple[Trial, dict[str, Any]]:
    from featherbench.harness.records import Trial

    row = store.trial(trial_id)
    return Trial.model_validate(row["spec"]), row


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help="methods, tasks, backbones or plans; default: all")] = "all",
    as_json: Json = False,
) -> None:
    """List methods, tasks, backbones and plans.

    Example:  featherbench list methods
    """
    kinds = ("methods", "tasks", "backbones", "plans")
    if what not in (*kinds, "all"):
        say(f"error: there is nothing called {what!r} to list. Known: {', '.join(kinds)}.", error=True)
        raise typer.Exit(USAGE)
    found: dict[str, dict[str, str]] = {}
    with mended_errors():
        if what in ("methods", "all"):
            from featherbench.methods import METHODS

            found["methods"] = {m.name: m.source for m in METHODS.values()}
        if what in ("tasks", "all"):
            from featherbench.tasks import TASKS

            found["tasks"] = {t.name: f"{t.source} ({t.licence})" for t in TASKS.values()}
        if what in ("backbones", "all"):
            from featherbench.harness.catalogue import BACKBONES

            found["backbones"] = {name: f"{b.about} ({b.licence})" for name, b in BACKBONES.items()}
            found["backbones"]["HUB-ID or FOLDER"] = (
                "any model of the GPT-2, Llama, BART and T5 families with safetensors"
            )
        if what in ("plans", "all"):
            from featherbench.harness.spec import PACKAGED_PLANS

            for path in sorted(PACKAGED_PLANS.glob("*.yaml")):
                lines = path.read_text().splitlines()
                found.setdefault("plans", {})[path.stem] = lines[0].lstrip("# ")
    if as_json:
        show_json(found)
        return
    for kind, entries in found.items():
        say(kind)
        for name, about in entries.items():
            say(f"  {name:<18} {about}")


@app.command()
def info(name: str, as_json: Json = False) -> None:
    """Show what is known about a method, task or backbone.

    Example:  featherbench info prefix
    """
    import dataclasses

    from featherbench.harness.catalogue import BACKBONES
    from featherbench.harness.spec import lookup
    from featherbench.methods import METHODS
    from featherbench.tasks import TASKS

    with mended_errors():
        lookup("name", name, {**METHODS, **TASKS, **BACKBONES})
        if name in METHODS:
            m = METHODS[name]
            fields = {f.name: f.default for f in dataclasses.fields(m.config)}
            content: dict[str, Any] = {
                "method": name,
                "version": m.version,
                "source": m.source,
                "config": fields,
                "sized by budget": m.size_field,
                "learning_rate": m.learning_rate,
                "learning_rate_source": m.learning_rate_source,
                "task words": "as initialisation" if m.takes_words else "in the text",
            }
        elif name in TASKS:
            t = TASKS[name]
            content = {
                "task": name,
                "version": t.version,
                "source": t.source,
                "licence": t.licence,
                "scores": [s.name for s in t.scores],
                "primary": t.primary,
                "words": t.words,
                "decoding": dataclasses.asdict(t.decoding),
                "files": {split: [dataclasses.asdict(f) for f in files] for split, files in t.files.items()},
            }
        else:
            from featherbench.harness import backbones

            content = {
                "backbone": name,
                **dataclasses.asdict(BACKBONES[name]),
                "prepared": backbones.is_prepared(name),
            }
            if content["prepared"]:
                shape = backbones.anatomy(name)
                content |= {"parameters": shape.total_parameters, "layers": shape.num_layers, "width": shape.width}
                content["seen in pretraining"] = backbones.pretraining(name).get("seen_tasks", "not told")
    content = json.loads(without_secrets(json.dumps(content)))  # files of a plug-in may have any URL
    if as_json:
        show_json(content)
    else:
        for key, value in content.items():
            say(f"{key:<22} {value}")


@app.command()
def doctor(
    out: Annotated[Path | None, typer.Option("--out", help="Folder of a run, to see what its parts take")] = None,
    as_json: Json = False,
) -> None:
    """Check this machine: Python, packages, memory, disk, accelerator, cache and data folders.

    Example:  featherbench doctor --out runs/quickstart
    """
    from featherbench.harness.doctor import examine

    findings = examine(out)
    if as_json:
        show_json([f.__dict__ for f in findings])
    else:
        for f in findings:
            say(f"{'ok  ' if f.ok else 'MEND'} {f.what:<16} {f.found}" + ("" if f.ok else f"\n     -> {f.mend}"))
    if not all(f.ok for f in findings):
        raise typer.Exit(ENVIRONMENT)


@app.command()
def prepare(
    names: Annotated[list[str], typer.Argument(metavar="NAME...|PLAN", help="Backbones, tasks or a plan")],
) -> None:
    """Fetch and convert what a backbone, a task or a whole plan needs, so that a run starts at once.

    Example:  featherbench prepare smollm2-135m e2e
    """
    _quiet_libraries()
    from featherbench.harness import backbones
    from featherbench.harness.catalogue import BACKBONES
    from featherbench.harness.plan import tasks_of
    from featherbench.harness.spec import find_plan, read_spec, read_text
    from featherbench.tasks import TASKS
    from featherbench.tasks.base import SPLITS
    from featherbench.tasks.load import load

    with mended_errors():
        for name in names:
            known = {**TASKS, **BACKBONES}
            spec, folder = None, Path()
            if name not in known and not Path(name).is_dir() and ("/" not in name or Path(name).is_file()):
                path = find_plan(name)
                spec, folder = read_spec(read_text(path), path.name), path.parent
            for backbone in spec.backbones if spec else [] if name in TASKS else [name]:
                backbones.prepare(backbone, say)
                say(f"{backbone}: ready, sha256 {backbones.fingerprint(backbone)[:12]}")
            for task in [t.name for t in tasks_of(spec, folder)] if spec else [name] if name in TASKS else []:
                sizes = ", ".join(f"{split} {len(load(task, split))}" for split in SPLITS)
                say(f"{task}: ready, items: {sizes}")


@app.command()
def plan(
    name: PlanName,
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
    """
    with mended_errors():
        expanded = _expanded(name)
        url_or_file = store or str(_folder(expanded.name, out) / "store.sqlite")
        finished, kept = {}, None
        if store or Path(url_or_file).exists():
            from featherbench.harness.status import overview

            kept = _open_store(store, _folder(expanded.name, out), create=False)
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
            f"  train {cell['train']}, validation {cell['validation']}, scored on {cell['test']}\n"
            f"  data: {cell['train_pairs']:,} training pairs ({cell['train_inputs']:,} inputs"
            f"{', ' + cell['size'] if str(cell['size']).endswith('%') else ''}) + {cell['validation_pairs']:,} validation "
            f"pairs ({cell['validation_inputs']:,} inputs) = {cell['train_pairs'] + cell['validation_pairs']:,} pairs\n"
            f"  parameters: trained {cell['trained']:,}, stored {cell['stored']:,} "
            f"({cell['stored'] / cell['total']:.3%} of {cell['total']:,})"
        )
        for key, entry in cell["values"].items():
            say(f"    {key:<16} {entry['value']!s:<12} {entry['from']}")
    _show_estimate(expected)


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
Workers = Annotated[int | None, typer.Option(min=1, help="Worker processes; default: one per GPU, one on a CPU")]
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


@app.command()
def run(
    name: PlanName,
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
    """
    _run(
        name,
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


@app.command()
def retry(
    name: PlanName,
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
    _run(name, store, out, *given, again=[kind.value for kind in failed])


def _run(
    name: str,
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

        expanded = _expanded(name)
        folder = _folder(expanded.name, out).absolute()
        kept = _open_store(store, folder, create=not again)
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
            max_hours=max_hours,
            max_gpu_hours=max_gpu_hours,
        )
        shown = mirrors(mirror or (), folder, expanded.name)
        with Sweep(plan=expanded, store=kept, lease=lease) as sweep, Board(sweep, quiet=as_json) as board:
            pool.on_wait = board.say

            def finished(trial: Trial, result: Result) -> None:
                board.finished(result)
                for each in shown:
                    each.add(trial, sweep.labels[trial.id], result)

            ran, stopped = run_plan(sweep, lambda: pool, on_finished=finished, on_progress=board.show)
        counts = sweep.done()
        from filelock import FileLock

        from featherbench.reports.page import write_report

        if not kept.num_drivers():
            shutil.rmtree(folder / "frozen", ignore_errors=True)  # no trial is left that could share it
        with FileLock(folder / "report.lock"):  # drivers of one plan end together
            pages = write_report(kept, folder / "report") if set(counts) - {"new"} else []
    page = str(pages[0]) if pages else None  # nothing has finished, so there is nothing to report
    summary = {"plan": expanded.name, "ran": ran, **counts, "report": page, "store": kept.shown_url}
    if as_json:
        show_json({**summary, "stopped": stopped} if stopped else summary)
    else:
        say(f"{ran} trials ran; of all {sweep.total}: " + ", ".join(f"{n} {s}" for s, n in sorted(counts.items())))
        say(f"report: {page or 'none, since nothing has finished'}")
        if stopped:
            say(f"{stopped}; the same command goes on from here.", error=True)
    if stopped:
        raise typer.Exit(STOPPED)
    if counts.get("failed") or counts.get("new"):
        raise typer.Exit(FAILED)


@app.command()
def status(
    store: StoreUrl = None,
    out: Out = None,
    trials: Annotated[bool, typer.Option("--trials", help="A line for each trial, with its id and cause")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="Again every two seconds, until no driver is left")] = False,
    as_json: Json = False,
) -> None:
    """Show how far a sweep is: trials by cell and status, what they took, and when it will be done.

    Also from another terminal while it runs.

    Examples:

      featherbench status --out runs/quickstart

      featherbench status --out runs/quickstart --follow
    """
    from dataclasses import asdict

    from featherbench.harness.status import listed, overview

    with mended_errors():
        kept = _store_to_read(store, out)
        if trials:
            rows = listed(kept)
            for row in [] if as_json else rows:
                cause = f"  {row['cause'].splitlines()[0]}" if row["cause"] else ""
                say(f"{row['trial']}  {row['phase']:<6} {row['number']:>3}  {row['status']:<10} {row['cell']}{cause}")
            if as_json:
                show_json(rows)
            return
        while True:
            found = overview(kept)
            if as_json:
                show_json({**asdict(found), "spend": found.spend})
            else:
                _show_overview(found)
            if not (follow and found.drivers):
                return
            time.sleep(2)


def _show_overview(found: Overview) -> None:
    say(f"{'cell':<48} {'done':>11} {'running':>8} {'failed':>7} {'diverged':>9} {'hours':>8}")
    for c in found.cells:
        done = f"{c.ok + c.diverged + c.failed}/{c.total}"
        say(f"{c.cell:<48} {done:>11} {c.running:>8} {c.failed:>7} {c.diverged:>9} {c.seconds / 3600:>8.2f}")
    left = "" if found.seconds_left is None else f", about {found.seconds_left / 3600:.1f} h left"
    say(f"{found.drivers} drivers at work, {found.spend / 3600:.2f} worker-hours spent{left}")


@app.command()
def log(
    trial: Annotated[str, typer.Argument(help="Trial id, or its beginning")],
    store: StoreUrl = None,
    out: Out = None,
) -> None:
    """Show what the worker of a trial said: stages, warnings and errors, and how each attempt ended.

    Example:  featherbench log 3f2a --out runs/quickstart
    """
    from featherbench.harness.status import log_of
    from featherbench.harness.store import sqlite_path

    with mended_errors():
        kept = _store_to_read(store, out)
        path = sqlite_path(kept.url)
        for line in log_of(kept, trial, out or (path.parent if path else None)):
            say(line)


@app.command()
def upgrade(store: StoreUrl = None, out: Out = None) -> None:
    """Bring an older store up to date; of a file, a copy of the old one stays beside it.

    Example:  featherbench upgrade --out runs/quickstart
    """
    with mended_errors():
        from featherbench.harness.store import StoreError

        if not (store or out):
            raise StoreError("which store? Give --out FOLDER or --store URL.")
        if out and not store and not (out / "store.sqlite").exists():
            raise StoreError(f"there is no store at {out / 'store.sqlite'}. Give the --out folder of a run.")
        say(f"{_open_store(store, out or Path(), create=True).shown_url} is up to date")


@app.command()
def merge(
    into: Annotated[str, typer.Argument(metavar="A", help="Run folder or database URL that gets all the results")],
    sources: Annotated[list[str], typer.Argument(metavar="B...", help="Run folders or database URLs to add")],
    as_json: Json = False,
) -> None:
    """Join stores: A gets every plan, search and trial of B. What A has already stays as it is.

    Deltas are copied as well where both are run folders.

    Example:  featherbench merge runs/all runs/monday runs/tuesday
    """
    from featherbench.harness.merge import copy_deltas
    from featherbench.harness.merge import merge as joined

    report: list[dict[str, Any]] = []
    with mended_errors():
        target = _open_store(into if "://" in into else None, Path(into), create=True)
        for name in sources:
            source = _open_store(name if "://" in name else None, Path(name), create=False)
            found = joined(target, source)
            copied = 0 if "://" in into + name else copy_deltas(target, Path(name), Path(into), found.added)
            report.append(
                {
                    "from": source.shown_url,
                    "added": len(found.added),
                    "both": found.both,
                    "differ": found.differ,
                    "deltas": copied,
                }
            )
    if as_json:
        show_json(report)
    for row in [] if as_json else report:
        say(
            f"{row['from']}: {row['added']} results added with {row['deltas']} deltas; {row['both']} were there already"
        )
        if row["differ"]:
            say(
                f"  of them {len(row['differ'])} with other scores, those of {into} stay: {', '.join(row['differ'][:5])}"
            )


@app.command()
def inputs(
    task: Annotated[str, typer.Argument(help="A task's name")],
    split: Annotated[str, typer.Option(help="train, validation or test")] = "test",
) -> None:
    """Print the inputs of a split, one a line, in the order in which `score TASK FILE` expects the outputs.

    Example:  featherbench inputs e2e --split validation
    """
    with mended_errors():
        from featherbench.harness import outputs

        for source in outputs.inputs(task, split):
            say(source)


@app.command()
def score(
    what: Annotated[
        str, typer.Argument(metavar="TRIAL|TASK", help="Trial id, or its beginning; `all`; or a task's name with FILE")
    ] = "all",
    file: Annotated[
        Path | None, typer.Argument(help="Outputs of any system, one line for each line of `featherbench inputs TASK`")
    ] = None,
    split: Annotated[str, typer.Option(help="Split that FILE answers")] = "test",
    verify: Annotated[
        bool, typer.Option("--verify", help="Score the golden cases again, beside the official figures")
    ] = False,
    names: Annotated[
        list[str] | None,
        typer.Option("--score", metavar="NAME", help="Only this score of FILE or --verify; repeatable"),
    ] = None,
    store: StoreUrl = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Score an output file, check the scorers, or score a run's kept predictions again.

    A file gets every official score of the task, also for seen and unseen items apart. A score that cannot be had here
    says why; if it was asked for by --score, the exit code is 3. Re-scoring replaces the scores in the store and is
    logged as a look at the split.

    Examples:

      featherbench score e2e outputs.txt

      featherbench score e2e outputs.txt --score meteor --score bleu

      featherbench score --verify

      featherbench score all --out runs/quickstart
    """
    if verify:
        _verify_scores(names or [], as_json)
    elif file is not None:
        _score_file(what, file, split, names or [], as_json)
    elif names:
        say("error: --score goes with FILE or --verify; a run's predictions get all scores again.", error=True)
        raise typer.Exit(USAGE)
    else:
        _score_again(what, store, out, as_json)


def _verify_scores(names: list[str], as_json: bool) -> None:
    from featherbench.harness.spec import lookup
    from featherbench.tasks.golden import NAMES, checks

    with mended_errors():
        for name in names:
            lookup("golden score", name, dict.fromkeys(NAMES))
    found = []
    for check in checks(names):
        found.append(check.row)
        if not as_json:
            ours = "-" if check.ours is None else f"{check.ours:.6f}"
            say(f"{check.case:<11} {check.score:<16} official {check.official:<10.6f} ours {ours:<10} {check.verdict}")
    if as_json:
        show_json(found)
    if any(row["verdict"] == "differs" for row in found):
        raise typer.Exit(FAILED)
    _refuse_absent({row["score"]: row["verdict"] for row in found if names and row["ours"] is None})


def _score_file(task: str, file: Path, split: str, names: list[str], as_json: bool) -> None:
    from featherbench.harness.outputs import score_file

    with mended_errors():
        found = score_file(task, file, split, names)
    if as_json:
        show_json({"task": task, "split": split, "file": str(file), "scores": found})
    for row in [] if as_json else found:
        value = "none" if row["value"] is None else f"{row['value']:.4f}"
        say(f"{row['metric']:<12} {row['subset']:<12} {value:>9}  {row['unit']}  [{row['signature']}]")
    _refuse_absent({row["metric"]: row["signature"] for row in found if names and row["value"] is None})


def _refuse_absent(reasons: dict[str, str]) -> None:
    """Exit with an error if a score that was asked for by name has no value; `reasons` by score."""
    for name, reason in reasons.items():
        say(f"error: {name}: {reason}", error=True)
    if reasons:
        raise typer.Exit(ENVIRONMENT)


def _score_again(trial: str, store: str | None, out: Path | None, as_json: bool) -> None:
    from featherbench.harness.status import rescore
    from featherbench.tasks import TASKS

    if trial in TASKS:
        say(f"error: which file? Say `featherbench score {trial} FILE`.", error=True)
        raise typer.Exit(USAGE)
    with mended_errors():
        kept = _store_to_read(store, out)
        wanted = (
            [t for t, s in kept.finished().items() if s != "failed"] if trial == "all" else [kept.trial(trial)["id"]]
        )
        found = {trial_id: rescore(kept, trial_id) for trial_id in wanted}
    if as_json:
        show_json({t: [s.model_dump() for s in values] for t, values in found.items()})
        return
    for trial_id, values in found.items():
        for s in values:
            value = s.value if s.value is None else format(s.value, ".2f")
            say(f"{trial_id}  {s.metric:<8} {s.subset:<12} {value}  {s.signature}")


@app.command()
def generate(
    trial: Annotated[str, typer.Argument(help="Trial id, or its beginning")],
    source: Annotated[str, typer.Argument(help='A linearised source, e.g. "name : Aromi | Type : pub"')],
    store: StoreUrl = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Decode one source with the model that a trial left behind.

    Example:  featherbench generate 3f2a "name : Harrow Quay | category : lighthouse" --out runs/quickstart
    """
    with mended_errors():
        _quiet_libraries()
        from featherbench.harness.decode import decode
        from featherbench.harness.store import sqlite_path
        from featherbench.harness.worker import tuned_from_delta

        kept = _store_to_read(store, out)
        spec, row = _trial_of(kept, trial)
        artifacts = str(out or (sqlite_path(kept.url) or Path("store")).parent)
        tuned, encoder = tuned_from_delta(spec, artifacts, row["delta"], row["delta_sha256"])
        text = decode(tuned, encoder, [(0, source)], spec.decoding)[0].text
    show_json({"trial": spec.id, "source": source, "output": text}) if as_json else say(text)


@app.command()
def report(
    store: StoreUrl = None,
    run_folder: Annotated[Path | None, typer.Option("--out", help="Folder of the run to report on")] = None,
    destination: Annotated[Path | None, typer.Option("-o", help="Folder to write to; default: RUN/report")] = None,
) -> None:
    """Write the report of a store: page, Markdown, CSV and figures.

    Example:  featherbench report --out runs/quickstart -o report
    """
    with mended_errors():
        from featherbench.harness.store import sqlite_path
        from featherbench.reports.page import write_report

        kept = _store_to_read(store, run_folder)
        folder = run_folder or (sqlite_path(kept.url) or Path("runs/x")).parent
        try:
            for path in write_report(kept, destination or folder / "report"):
                say(str(path))
        except ValueError as error:
            say(f"error: {error}", error=True)
            raise typer.Exit(ENVIRONMENT) from None


@app.command()
def export(
    trial: Annotated[str, typer.Argument(help="Trial id, or its beginning")],
    destination: Annotated[Path, typer.Option("-o", help="Folder to write to")],
    store: StoreUrl = None,
    out: Out = None,
) -> None:
    """Copy a trial out: its delta (safetensors), its record, scores and predictions (JSON).

    Example:  featherbench export 3f2a -o my-prefix --out runs/quickstart
    """
    with mended_errors():
        from featherbench.harness.status import export_trial
        from featherbench.harness.store import sqlite_path

        kept = _store_to_read(store, out)
        artifacts = str(out or (sqlite_path(kept.url) or Path("store")).parent)
        for path in export_trial(kept, trial, artifacts, destination):
            say(str(path))


@app.command()
def gc(
    store: StoreUrl = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder of a run; without it: only the cache folder")
    ] = None,
    older_than: Annotated[
        float, typer.Option("--older-than", min=0, metavar="DAYS", help="Remove token ids not used for so long")
    ] = 30.0,
    downloads: Annotated[
        bool, typer.Option("--downloads", help="Remove downloaded data not used for so long, too")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be removed")] = False,
    as_json: Json = False,
) -> None:
    """Remove what no trial needs any more: checkpoints of kept results, frozen work, unknown deltas, old token ids.

    Results, reports, named deltas and backbones stay. Refuses while a run works in the folder.

    Example:  featherbench gc --out runs/quickstart --dry-run
    """
    with mended_errors():
        from featherbench.harness import retention
        from featherbench.harness.store import StoreError, sqlite_path
        from featherbench.tasks.files import cache_folder

        cache = cache_folder().absolute()
        path = sqlite_path(store) if store else None
        folder = out or (path.parent if path else None)
        if store and folder is None:
            raise StoreError("which folder? Give --out FOLDER of the run beside --store.")
        found = retention.leftovers_of_cache(cache, older_than, downloads)
        if folder is not None:
            folder = folder.absolute()
            kept = _open_store(store, folder, create=False)
            if kept.num_drivers():
                raise StoreError(f"a run works on {kept.shown_url}; wait for its end, then say it again.")
            found += retention.leftovers_of_run(folder, kept)
        if not dry_run:
            retention.remove(found)
    total = sum(leftover.bytes for leftover in found)
    if as_json:
        rows = [{"path": str(leftover.path), "bytes": leftover.bytes, "why": leftover.why} for leftover in found]
        show_json({"dry_run": dry_run, "bytes": total, "removed": rows})
        return
    for leftover in found:
        say(f"{retention.shown(leftover.bytes):>10}  {leftover.path}  {leftover.why}")
    verb = "would be removed" if dry_run else "removed"
    say(f"{len(found)} {verb}, {total:,} bytes ({retention.shown(total)})")


@app.command()
def cp(
    name: Annotated[str, typer.Argument(metavar="PLAN", help="A packaged plan")],
    destination: Annotated[Path | None, typer.Argument(help="File to write; default: ./PLAN.yaml")] = None,
) -> None:
    """Copy a packaged plan, to change it.

    Example:  featherbench cp quickstart mine.yaml
    """
    with mended_errors():
        from featherbench.harness.spec import find_plan

        source = find_plan(name)
        target = destination or Path(f"{source.stem}.yaml")
        if not target.parent.is_dir():
            say(f"error: there is no folder {target.parent}.", error=True)
            raise typer.Exit(USAGE)
        if target.exists():
            say(f"error: {target} exists already; give another name.", error=True)
            raise typer.Exit(USAGE)
        shutil.copyfile(source, target)
        say(str(target))


@app.command()
def test(
    kind: Annotated[str, typer.Argument(help="method or task")],
    name: Annotated[str, typer.Argument(help="Its name; plug-ins count once they are installed")],
) -> None:
    """Run the contract tests on one method or task, also a plug-in's.

    Example:  featherbench test method prefix
    """
    if kind not in ("method", "task"):
        say(f"error: {kind!r} has no contract; say `test method NAME` or `test task NAME`.", error=True)
        raise typer.Exit(USAGE)
    with mended_errors():
        import pytest

        import featherbench.contracts
        from featherbench.harness.spec import lookup
        from featherbench.methods import METHODS
        from featherbench.tasks import TASKS

        lookup(kind, name, METHODS if kind == "method" else TASKS)
        os.environ["FEATHERBENCH_CONTRACT"] = name
        folder = Path(featherbench.contracts.__path__[0])
        code = pytest.main(
            [
                str(folder / f"test_{kind}_contract.py"),
                "-v",
                "-rs",
                "-o",
                "addopts=",
                "-p",
                "no:cacheprovider",
                f"--rootdir={folder}",
            ]
        )
    raise typer.Exit(int(code))


def main() -> None:
    """Entry point; an interrupt before a command starts is one as well."""
    command: Callable[[], None] = app
    sys.excepthook = _show_traceback
    try:
        command()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
