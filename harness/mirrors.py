"""Copies of curves and scores for people who look at runs in TensorBoard or MLflow. The store stays the only truth."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from featherbench.harness.records import Result, Trial


class MirrorError(RuntimeError):
    """A mirror's library is not installed."""


class Mirror(Protocol):
    """Somewhere that finished trials are shown as well."""

    def add(self, trial: Trial, label: str, result: Result) -> None:
        """Show a finished trial, under its cell's label and its id."""


def values(trial: Trial) -> dict[str, Any]:
    """Return what a trial was given, one level deep."""
    own = {f"config.{key}": value for key, value in trial.config.items()}
    shared = ("backbone", "task", "method", "learning_rate", "weight_decay", "steps", "seed", "precision")
    return {**{key: getattr(trial, key) for key in shared}, "size": trial.train.size or "full", **own}


def scores(result: Result) -> dict[str, float]:
    """Return a result's scores by name, those over a part of the items as score/part."""
    found = {}
    for s in result.scores:
        if s.value is not None:
            found[s.metric if s.subset == "all" else f"{s.metric}/{s.subset.replace('=', '.')}"] = s.value
    return found


class TensorBoard:
    """Event files below `folder`, one folder a trial."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MirrorError(
                "--mirror tensorboard needs TensorBoard: pip install 'featherbench[mirrors]', or leave it out."
            ) from error
        self._folder, self._writer = folder, SummaryWriter

    def add(self, trial: Trial, label: str, result: Result) -> None:
        """Write a trial's curves, its scores at the best step, and what it was given."""
        where = self._folder / label.replace("/", "_") / trial.id
        with self._writer(str(where)) as writer:
            for point in result.curve:
                writer.add_scalar(point.name, point.value, point.step)
            for name, value in scores(result).items():
                writer.add_scalar(f"scores/{name}", value, result.best_step or 0)
            writer.add_text("trial", "\n".join(f"    {key}: {value}" for key, value in values(trial).items()))


class MLflow:
    """Runs of one experiment in a local file store below `folder`."""

    def __init__(self, folder: Path, experiment: str) -> None:
        try:
            from mlflow import MlflowClient
        except ImportError as error:
            raise MirrorError(
                "--mirror mlflow needs MLflow: pip install 'featherbench[mirrors]', or leave it out."
            ) from error
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # it prefers databases, and files need nothing
        folder.mkdir(parents=True, exist_ok=True)
        self._client = MlflowClient(tracking_uri=folder.absolute().as_uri())
        found = self._client.get_experiment_by_name(experiment)
        self._experiment = found.experiment_id if found else self._client.create_experiment(experiment)

    def add(self, trial: Trial, label: str, result: Result) -> None:
        """Write a trial as a run named by its id, tagged with its cell and status."""
        from mlflow.entities import Metric, Param

        run = self._client.create_run(
            self._experiment, run_name=trial.id, tags={"cell": label, "status": result.status}
        )
        metrics = [Metric(p.name, p.value, 0, p.step) for p in result.curve]
        metrics += [Metric(name, value, 0, result.best_step or 0) for name, value in scores(result).items()]
        params = [Param(key, str(value)) for key, value in values(trial).items()]
        for start in range(0, max(len(metrics), 1), 1000):  # as many as a call takes
            self._client.log_batch(run.info.run_id, metrics[start : start + 1000], params if start == 0 else [])
        self._client.set_terminated(run.info.run_id, "FAILED" if result.status == "failed" else "FINISHED")


KINDS = ("tensorboard", "mlflow")


def mirrors(kinds: Iterable[str], folder: Path, experiment: str) -> list[Mirror]:
    """Return the mirrors of these kinds, below a run's folder.

    Raises: MirrorError
    """
    made: dict[str, Any] = {
        "tensorboard": lambda: TensorBoard(folder / "tensorboard"),
        "mlflow": lambda: MLflow(folder / "mlflow", experiment),
    }
    return [made[kind]() for kind in kinds]
