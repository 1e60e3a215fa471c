"""The state of a training run and its checkpoints: written whole or not at all, read back whole or not at all."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
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


def save_checkpoint(
    folder: Path, state: Training, parameters: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, seconds: float
) -> None:
    """Write a checkpoint under its step's name, then point `latest` at it in one atomic step."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"parameter.{k}": p.detach() for k, p in parameters.items()}
    tensors |= {f"best.{k}": t for k, t in state.best.items()}
    for name, parameter in parameters.items():
        tensors |= {f"optimizer.{name}.{key}": t for key, t in optimizer.state[parameter].items()}
    numbers = {
        "step": state.step,
        "curve": [point.model_dump() for point in state.curve],
        "best_step": state.best_step,
        "best_loss": state.best_loss,
        "tokens": state.tokens,
        "seconds": state.seconds,
        "shared": state.shared,
        "earlier_seconds": seconds,
    }
    path = folder / f"step{state.step}.safetensors"
    save_file({k: t.cpu().contiguous() for k, t in tensors.items()}, path, {"state": json.dumps(numbers)})
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


def load_checkpoint(
    folder: Path, parameters: Mapping[str, Tensor], optimizer: torch.optim.Optimizer
) -> Training | None:
    """Return the state of the last checkpoint and put weights and optimiser where they were.

    None if there is none, or it cannot be read: then the trial starts afresh.
    """
    if not (folder / "latest").exists():
        return None
    path = folder / (folder / "latest").read_text()
    try:
        tensors = load_file(path)
        with safe_open(path, "pt") as file:
            numbers = json.loads(file.metadata()["state"])
    except (OSError, SafetensorError, ValueError):
        return None
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[f"parameter.{name}"])
            start = f"optimizer.{name}."
            optimizer.state[parameter] = {
                key.removeprefix(start): (t if key.endswith(".step") else t.to(parameter.device))
                for key, t in tensors.items()
                if key.startswith(start)
            }
    best = {
        k.removeprefix("best."): t.to(parameters[k.removeprefix("best.")].device)
        for k, t in tensors.items()
        if k.startswith("best.")
    }
    curve = [CurvePoint(**point) for point in numbers.pop("curve")]
    return Training(**numbers, curve=curve, best=best)
