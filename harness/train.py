"""The one training loop: AdamW, linear schedule, clipping, target-token loss, evaluation grid, checkpoints.

Everything random is a pure function of the seed and the step, so a resumed run is the run that was not interrupted.
"""

from __future__ import annotations

import json
import math
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from featherbench.harness.frozen import Batches, Cache
from featherbench.harness.records import CurvePoint, Precision, Settings
from featherbench.harness.text import EncodedPair
from featherbench.harness.tuned import Tuned


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
    """In training steps; evaluations are not counted"""
    earlier_seconds: float = 0.0
    """Wall time of earlier attempts, up to the checkpoint that this run went on from"""
    diverged: str | None = None
    frozen_work: str = ""
    """What was computed once for all steps, or why nothing was"""


@lru_cache(maxsize=4)
def _epoch_order(seed: int, epoch: int, num_pairs: int) -> list[int]:
    order = list(range(num_pairs))
    random.Random(f"featherbench order {seed} {epoch}").shuffle(order)
    return order


def batch_indices(step: int, batch_size: int, num_pairs: int, seed: int) -> list[int]:
    """Return the pairs of optimiser step `step` (from 0): a fresh seeded order every epoch, no pair twice within one."""
    wanted = range(step * batch_size, (step + 1) * batch_size)
    return [_epoch_order(seed, i // num_pairs, num_pairs)[i % num_pairs] for i in wanted]


def learning_rate_at(step: int, steps: int, peak: float, warmup: int) -> float:
    """Return the rate of optimiser step `step` (from 0): linear warm-up, then linear decay to 0 at `steps`."""
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * (steps - step) / max(1, steps - warmup)


def evaluation_steps(steps: int, evaluations: int) -> set[int]:
    """Return the steps after which the validation loss is taken: step 0, then `evaluations` evenly spread to the end."""
    return {0} | {math.ceil(steps * i / evaluations) for i in range(1, evaluations + 1)}


def parts_of(batch: Sequence[EncodedPair], micro_batch: int | None) -> list[Sequence[EncodedPair]]:
    """Split a batch into micro-batches of like lengths, so that little is padded; its loss is a sum, whatever the order."""
    if micro_batch is None:
        return [batch]
    ordered = sorted(batch, key=lambda pair: len(pair[0]) + len(pair[1]))
    return [ordered[start : start + micro_batch] for start in range(0, len(ordered), micro_batch)]


def train(
    tuned: Tuned,
    pairs: Sequence[EncodedPair],
    validation: Sequence[EncodedPair],
    *,
    learning_rate: float,
    weight_decay: float,
    steps: int,
    settings: Settings,
    seed: int,
    precision: Precision,
    pad: int,
    micro_batch: int | None = None,
    cache: Cache | None = None,
    checkpoint: Path | None = None,
    checkpoint_seconds: float = 60.0,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Training:
    """Train the one slot of `tuned` and leave it with the weights of the lowest validation loss.

    The loss of a step is the sum over target tokens divided by their number in the whole batch, however the batch is
    split into micro-batches. With `checkpoint` (a folder) the run continues from what lies there. With `cache`, work
    that no step changes is done once; what this run computes of it for its own steps counts in its seconds.
    """
    parameters = dict(tuned.slots.named_parameters())
    optimizer = (
        torch.optim.AdamW(parameters.values(), lr=learning_rate, weight_decay=weight_decay) if parameters else None
    )
    state = (_load(checkpoint, parameters, optimizer) if checkpoint and optimizer else None) or Training()
    grid = evaluation_steps(steps, settings.evaluations)
    began = saved = time.monotonic()
    device = next(tuned.backbone.parameters()).device
    batches = Batches(tuned, pad, precision, cache)
    state.frozen_work = str(batches.constant)
    batches.prepare(validation)
    started = time.monotonic()
    ahead = {i for step in range(state.step, steps) for i in batch_indices(step, settings.batch_size, len(pairs), seed)}
    batches.prepare([pairs[i] for i in sorted(ahead)])
    state.seconds += time.monotonic() - started

    def evaluate() -> None:
        loss = validation_loss(tuned, validation, pad, precision, settings.batch_size, batches)
        state.curve.append(CurvePoint(step=state.step, name="validation_loss", value=loss))
        if loss < state.best_loss:
            state.best_loss, state.best_step = loss, state.step
            state.best = {k: p.detach().clone() for k, p in parameters.items()}

    if state.step == 0 and not state.curve:
        evaluate()
    while optimizer and state.step < steps and not state.diverged and not _out_of_patience(state, settings):
        started = time.monotonic()
        rate = learning_rate_at(state.step, steps, learning_rate, settings.warmup_steps)
        chosen = [pairs[i] for i in batch_indices(state.step, settings.batch_size, len(pairs), seed)]
        targets = sum(len(target) for _, target in chosen)
        loss = 0.0
        for part in parts_of(chosen, micro_batch):
            with computing_in(precision, device.type):
                sums, _ = tuned(batches(part))
            (sums.sum() / targets).backward()
            loss += sums.sum().item() / targets
        norm = torch.nn.utils.clip_grad_norm_(parameters.values(), settings.clip).item()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            state.diverged = f"loss {loss} with gradient norm {norm} at step {state.step + 1}"
            break
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        state.step += 1
        state.seconds += time.monotonic() - started
        state.tokens += sum(len(prompt) + len(target) for prompt, target in chosen)
        state.curve += [
            CurvePoint(step=state.step, name="train_loss", value=loss),
            CurvePoint(step=state.step, name="gradient_norm", value=norm),
            CurvePoint(step=state.step, name="learning_rate", value=rate),
        ]
        if state.step in grid:
            evaluate()
        on_progress(state.step, steps)
        if checkpoint and time.monotonic() - saved >= checkpoint_seconds:
            _save(checkpoint, state, parameters, optimizer, state.earlier_seconds + time.monotonic() - began)
            saved = time.monotonic()
    with torch.no_grad():
        for name, best in state.best.items():
            parameters[name].copy_(best)
    state.best = {}  # decoding must not pay for them
    for parameter in parameters.values():
        parameter.grad = None
    return state


def _out_of_patience(state: Training, settings: Settings) -> bool:
    """Say whether the last `patience` evaluations brought no better validation loss."""
    if settings.patience is None:
        return False
    later = [p for p in state.curve if p.name == "validation_loss" and p.step > state.best_step]
    return len(later) >= settings.patience


def computing_in(precision: Precision, device: str) -> torch.autocast:
    """Return the context of a precision: bfloat16 means float32 weights under autocast, for every method. Decoding is float32."""
    return torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16")


@torch.no_grad()
def validation_loss(
    tuned: Tuned,
    pairs: Sequence[EncodedPair],
    pad: int,
    precision: Precision,
    batch_size: int,
    batches: Batches | None = None,
) -> float:
    """Return the mean loss per target token over all pairs, in nats; references of one prompt share its work."""
    device = next(tuned.backbone.parameters()).device
    batches = batches or Batches(tuned, pad, precision)
    references = len(pairs) > len({tuple(prompt) for prompt, _ in pairs})
    if references:
        ordered = sorted(pairs, key=lambda pair: (len(pair[0]), pair[0], len(pair[1])))
    else:
        ordered = sorted(pairs, key=lambda pair: len(pair[0]) + len(pair[1]))
    total, count = 0.0, 0
    for start in range(0, len(ordered), batch_size):
        batch = batches(ordered[start : start + batch_size], share_sources=True)
        with computing_in(precision, device.type):
            sums, counts = tuned(batch)
        total, count = total + sums.sum().item(), count + int(counts.sum())
    return total / count


def _save(
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


def _load(folder: Path, parameters: Mapping[str, Tensor], optimizer: torch.optim.Optimizer) -> Training | None:
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
