"""The state of a training run and its checkpoints: written whole or not at all, read back whole or not at all."""

from __future__ import annotations

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

    def to_json(self) -> str:
        """Return what a run that goes on needs, its tensors apart."""
        kept = {name: getattr(self, name) for name in _KEPT}
        return json.dumps({**kept, "curve": [point.model_dump() for point in self.curve]})

    @staticmethod
    def from_json(text: str) -> Training:
        """Read what `to_json` wrote."""
        numbers = json.loads(text)
        return Training(**{**numbers, "curve": [CurvePoint(**point) for point in numbers["curve"]]})


_KEPT = ("step", "best_step", "best_loss", "tokens", "seconds", "shared", "earlier_seconds")


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
    """Write a checkpoint under its step's name, then point `latest` at it in one atomic step."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"parameter.{k}": p.detach() for k, p in parameters.items()}
    tensors |= {f"best.{k}": t for k, t in state.best.items()}
    for name, moments in optimizer.items():
        tensors |= {f"optimizer.{name}.{key}": t for key, t in moments.items()}
    path = folder / f"step{state.step}.safetensors"
    about = replace(state, earlier_seconds=seconds).to_json()
    save_file({k: t.cpu().contiguous() for k, t in tensors.items()}, path, {"state": about})
    _sync(path)
    pointer = folder / "latest.tmp"
    pointer.write_text(path.name)
    _sync(pointer)
    os.replace(pointer, folder / "latest")
    for old in folder.glob("step*.safetensors"):
        if old != path:
            old.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Wait until a file is on the disk, so that a power cut cannot leave a pointer to half a checkpoint."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """Return the last checkpoint of a folder. None if there is none, or it cannot be read: then the trial starts afresh."""
    if not (folder / "latest").exists():
        return None
    path = folder / (folder / "latest").read_text()
    try:
        tensors = load_file(path)
        with safe_open(path, "pt") as file:
            training = Training.from_json(file.metadata()["state"])
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
