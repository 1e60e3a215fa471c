"""What all commands share: their options, how they speak to people and scripts, and how mistakes are told."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featherbench.harness.commands.completion import complete_plans
from featherbench.harness.secrets import without_secrets

if TYPE_CHECKING:
    from featherbench.harness.plan import Plan
    from featherbench.harness.records import Trial
    from featherbench.harness.store import Store


VERBOSE = "FEATHERBENCH_VERBOSE"
"""Environment variable that `-v` sets, for this process and its workers"""

FAILED, USAGE, ENVIRONMENT, STOPPED, INTERRUPTED = 1, 2, 3, 4, 130

Json = Annotated[bool, typer.Option("--json", help="Machine-readable output")]
StoreUrl = Annotated[
    str | None, typer.Option("--store", help="Database URL; default: store.sqlite in the run's folder")
]
Out = Annotated[Path | None, typer.Option("--out", help="Folder of the run; default: runs/NAME-OF-PLAN")]
PlanName = Annotated[
    str,
    typer.Argument(metavar="PLAN", help="A plan file, or the name of a packaged plan", autocompletion=complete_plans),
]
Scale = Annotated[
    str | None, typer.Option("--scale", help="One of the plan's scales, such as smoke; default: as it stands")
]


def say(text: str, error: bool = False) -> None:
    """Print a line to people: stdout, or stderr for errors. Errors may quote URLs, so their passwords are hidden."""
    typer.echo(without_secrets(text) if error else text, err=error)


def show_json(content: Any) -> None:
    """Print one JSON document."""
    typer.echo(json.dumps(content, indent=2, ensure_ascii=False))


def show_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an error of ours as Python does, without the passwords of URLs."""
    say("".join(traceback.format_exception(kind, error, trace)).rstrip(), error=True)


NOTHING_LOST = "Nothing finished is lost; the same command goes on from here."


@contextmanager
def mended_errors() -> Iterator[None]:
    """Turn the errors that a user can mend into one line and an exit code."""

    from featherbench.harness.store import StoreError
    from featherbench.tasks.files import DataError

    usage = (
        "PlanError",
        "UnsupportedBackbone",
        "BudgetError",
        "OutputError",
        "ExportError",
        "ClaimError",
        "RecordedError",
    )
    environment = (
        "BackboneError",
        "ClusterError",
        "DeltaError",
        "ArtifactsError",
        "MirrorError",
        "PluginError",
        "RerunError",
    )

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


def silence_warnings() -> None:
    """Let libraries say errors only: what they warn of is mostly for their own developers. `-v` shows it."""
    import warnings

    if not sys.warnoptions:  # else somebody asked Python for them
        warnings.simplefilter("ignore")
    for name in ("TRANSFORMERS_VERBOSITY", "HF_HUB_VERBOSITY", "DATASETS_VERBOSITY"):
        os.environ.setdefault(name, "error")


def quiet_libraries() -> None:
    """Import transformers without its progress bars and, unless `-v` was given, without its warnings."""
    os.environ.setdefault("DS_ACCELERATOR", "cpu" if shutil.which("nvidia-smi") is None else "cuda")
    import logging

    import transformers

    transformers.logging.disable_progress_bar()
    if VERBOSE not in os.environ:
        transformers.logging.set_verbosity_error()
        logging.getLogger("DeepSpeed").setLevel(logging.ERROR)


def expanded_plan(name: str, scale: str | None) -> Plan:
    """Read and expand a plan, with its backbones prepared."""
    from featherbench.harness.catalogue import BACKBONES
    from featherbench.harness.spec import find_plan, read_spec, read_text

    path = find_plan(name)
    spec = read_spec(read_text(path), path.name, scale)  # typing mistakes are told before heavy libraries load
    quiet_libraries()
    from featherbench.harness import backbones
    from featherbench.harness.plan import read_plan

    for backbone in spec.backbones:
        if backbone in BACKBONES:
            backbones.prepare(backbone, lambda text: say(text, error=True))
    return read_plan(name, scale)


def folder_of(plan_name: str, out: Path | None) -> Path:
    """Return the folder of a plan's run."""
    return out or Path("runs") / plan_name


def open_store(url: str | None, folder: Path, *, create: bool) -> Store:
    """Open the store of this URL, or the one in a run's folder."""
    from featherbench.harness.store import Store, StoreError

    try:
        return Store(url or f"sqlite:///{folder / 'store.sqlite'}", create=create)
    except StoreError:
        raise
    except ValueError as error:  # a port that is no number
        raise StoreError(f"{url!r} is no database URL: {error}; give e.g. postgresql://USER@HOST:5432/NAME") from error


def store_to_read(url: str | None, out: Path | None) -> Store:
    """Return the store of --store, --out, or the only run below runs/."""
    if url or out:
        return open_store(url, out or Path(), create=False)
    found = sorted(Path("runs").glob("*/store.sqlite"))
    if len(found) != 1:
        from featherbench.harness.store import StoreError

        names = ", ".join(str(p.parent) for p in found) or "none"
        raise StoreError(f"which run? Give --out FOLDER or --store URL. Runs here: {names}.")
    return open_store(None, found[0].parent, create=False)


def trial_of(store: Store, trial_id: str) -> tuple[Trial, dict[str, Any]]:
    """Return a trial and its row."""
    from featherbench.harness.records import Trial

    row = store.trial(trial_id)
    return Trial.model_validate(row["spec"]), row
