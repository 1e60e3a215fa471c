"""The state of a training run and its checkpoints: written whole or not at all, read back whole or not at all.

A checkpoint's name holds its step and the beginning of its sha256, so that no pointer can be lost or lie. The last two
are kept: a damaged one costs the work since the one before.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from featherbench.harness.records import CurvePoint


@dataclass(kw_only=True)
class Training:
    """State of a training run; `best` are the weights with the lowest validation loss so far, step 0 included."""

    step: int = 0
    curve: list[CurvePoint] = field(default_factory=list)
    best_step: int = 0
    best_loss: float = math.inf
    best: dict[str, Tensor] = field(default_factory=dict)
    tokens: int = 0
    """Non-padding tokens that went through training steps"""
    seconds: float = 0.0
    """In training steps, each divided by the number of runs that shared it; evaluations are not counted"""
    shared: int = 0
    """Sum over steps of the runs that shared it"""
    earlier_seconds: float = 0.0
    """Wall time of earlier attempts, up to the checkpoint that this run went on from"""
    diverged: str | None = None
    frozen_work: str = ""
    """What was computed once for all steps, or why nothing was"""
    halvings: int = 0
    """How often the micro-batch was halved for lack of memory"""
    evaluation_halvings: int = 0
    """The same of the pairs that a pass of the validation loss takes"""
    notes: dict[str, str] = field(default_factory=dict)
    """What else went wrong and cost no number: checkpoints that could not be written or read"""

    def to_json(self) -> str:
        """Return what a run that goes on needs, its tensors apart."""
        kept = {name: getattr(self, name) for name in _KEPT}
        return json.dumps({**kept, "curve": [point.model_dump() for point in self.curve]})

    @staticmethod
    def from_json(text: str) -> Training:
        """Read what `to_json` wrote."""
        numbers = json.loads(text)
        return Training(**{**numbers, "curve": [CurvePoint(**point) for point in numbers["curve"]]})


_KEPT = ("step", "best_step", "best_loss", "tokens", "seconds", "shared", "earlier_seconds") + (
    "halvings",
    "evaluation_halvings",
    "notes",
)

KEPT = 2
"""Checkpoints of a run"""


Optimizer = Mapping[str, Mapping[str, Tensor]]
"""AdamW's state by the name of the parameter: exp_avg, exp_avg_sq, step"""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """What a checkpoint holds, on the CPU."""

    training: Training
    parameters: Mapping[str, Tensor]
    optimizer: Optimizer


def save_checkpoint(
    folder: Path, state: Training, parameters: Mapping[str, Tensor], optimizer: Optimizer, seconds: float
) -> None:
    """Put a checkpoint into its place in one step, and remove all but the last KEPT.

    Raises: OSError or SafetensorError if it cannot be written; then the earlier ones stay, and no part of this one.
    """
    tensors = {f"parameter.{k}": p.detach() for k, p in parameters.items()}
    tensors |= {f"best.{k}": t for k, t in state.best.items()}
    for name, moments in optimizer.items():
        tensors |= {f"optimizer.{name}.{key}": t for key, t in moments.items()}
    about = replace(state, earlier_seconds=seconds).to_json()
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / "writing.tmp"
    try:
        save_file({k: t.cpu().contiguous() for k, t in tensors.items()}, fresh, {"state": about})
        _sync(fresh)
        os.replace(fresh, folder / f"step{state.step:08}-{_digest(fresh)}.safetensors")
        _sync(folder)
    finally:
        fresh.unlink(missing_ok=True)
    for old in _newest_first(folder)[KEPT:]:
        old.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Wait until a file or a folder's list of names is on the disk, so that a power cut cannot take it back."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step*-*.safetensors"), reverse=True)


def load_checkpoint(folder: Path) -> tuple[Checkpoint | None, Training]:
    """Return the last whole checkpoint of a folder, and the state to go on from: a new one if there is no checkpoint.

    Damaged ones are removed, and named in the notes of the state.
    """
    damaged: list[str] = []
    found = None
    for path in _newest_first(folder):
        if (found := _read(path)) is not None:
            break
        damaged.append(path.name)
        with contextlib.suppress(OSError):
            path.unlink()
    training = found.training if found else Training()
    if damaged:
        training.notes["damaged checkpoints"] = f"{', '.join(damaged)}; went on from step {training.step}"
    return found, training


def _read(path: Path) -> Checkpoint | None:
    """Return what a file holds, or None if it is not what was written."""
    try:
        if not path.stem.endswith(f"-{_digest(path)}"):
            return None
        with safe_open(path, "pt") as file:
            training = Training.from_json(file.metadata()["state"])
        tensors = load_file(path)
    except (OSError, SafetensorError, ValueError):
        return None
    parts: dict[str, dict[str, Tensor]] = {"parameter": {}, "best": {}, "optimizer": {}}
    for key, tensor in tensors.items():
        part, name = key.split(".", 1)
        parts[part][name] = tensor
    optimizer: dict[str, dict[str, Tensor]] = {name: {} for name in parts["parameter"]}
    for key, tensor in parts["optimizer"].items():
        name, moment = key.rsplit(".", 1)
        optimizer[name][moment] = tensor
    return Checkpoint(
        training=replace(training, best=parts["best"]), parameters=parts["parameter"], optimizer=optimizer
    )
