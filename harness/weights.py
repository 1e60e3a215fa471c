"""How a run's trained weights are held: whole by one process, or spread over several (deepspeed_engine.py).

The training loop is the same for both. What differs is here: whose rows a batch has, how gradients are taken, clipped
and used, and how weights and AdamW's state are copied out of training and into it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from featherbench.harness.checkpoint import Training, load_checkpoint, save_checkpoint
from featherbench.harness.frozen import Batches
from featherbench.harness.text import EncodedPair

Forward = Callable[[Mapping[str, Tensor]], tuple[Tensor, Tensor]]
"""A batch -> summed loss and number of target tokens of each slot, both [S]"""


class Weights(Protocol):
    """The trained weights of one run, their gradients and AdamW's state. All processes of a run call the same methods."""

    trains: bool
    """False if there is nothing to train"""
    own: tuple[Forward, Batches] | None
    """Its own way through the backbone, which no other run can share; None: the pack's"""

    def begin(self, checkpoint: Path | None) -> Training:
        """Get ready, and go on from the checkpoint in this folder if one is there; return how far training is."""

    def share(self, pairs: Sequence[EncodedPair]) -> Sequence[EncodedPair]:
        """Return this process' rows of a batch, equally many in each: rows without a target fill up."""

    def total(self, *values: float) -> list[float]:
        """Return each value summed over all processes, the same bits in each of them."""

    def agreed(self, yes: bool) -> bool:
        """Return what the first process says."""

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of the coming step."""

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a part of the step's loss."""

    def clip(self, limit: float) -> Tensor:
        """Clip the gradients to a global norm; return what it was before, not finite if that cannot be told."""

    def step(self) -> None:
        """Use the gradients."""

    def forget_gradients(self) -> None:
        """Drop all gradients."""

    def copy(self) -> dict[str, Tensor]:
        """Return the weights by name, whole, in the process that keeps them."""

    def end(self, best: Mapping[str, Tensor]) -> None:
        """Put the weights that `copy` returned in place: training is over."""

    def save(self, folder: Path, state: Training, seconds: float) -> None:
        """Write a checkpoint."""


class Whole:
    """Everything in this process, moved by torch's fused AdamW."""

    own: tuple[Forward, Batches] | None = None

    def __init__(self, parameters: Mapping[str, nn.Parameter], learning_rate: float, weight_decay: float) -> None:
        self._parameters = dict(parameters)
        self.trains = bool(parameters)
        self._optimizer = (
            torch.optim.AdamW(self._parameters.values(), lr=learning_rate, weight_decay=weight_decay, fused=True)
            if parameters
            else None
        )

    def begin(self, checkpoint: Path | None) -> Training:
        """Read weights and AdamW's state from the checkpoint, if there is one."""
        if not (checkpoint and self._optimizer):
            return Training()
        found, training = load_checkpoint(checkpoint)
        if found is None:
            return training
        self._put(found.parameters)
        for name, parameter in self._parameters.items():
            self._optimizer.state[parameter] = {
                key: tensor.to(parameter.device) for key, tensor in found.optimizer[name].items()
            }
        best = {name: tensor.to(self._parameters[name].device) for name, tensor in training.best.items()}
        return replace(training, best=best)

    def share(self, pairs: Sequence[EncodedPair]) -> Sequence[EncodedPair]:
        """Return all rows."""
        return pairs

    def total(self, *values: float) -> list[float]:
        """Return the values: this process is the only one."""
        return list(values)

    def agreed(self, yes: bool) -> bool:
        """Return what was said."""
        return yes

    def set_rate(self, rate: float) -> None:
        """Set AdamW's rate."""
        assert self._optimizer is not None
        for group in self._optimizer.param_groups:
            group["lr"] = rate

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss."""
        loss.backward()

    def clip(self, limit: float) -> Tensor:
        """Clip the gradients."""
        return torch.nn.utils.clip_grad_norm_(self._parameters.values(), limit)

    def step(self) -> None:
        """Take AdamW's step."""
        assert self._optimizer is not None
        self._optimizer.step()
        self.forget_gradients()

    def forget_gradients(self) -> None:
        """Drop all gradients."""
        for parameter in self._parameters.values():
            parameter.grad = None

    def copy(self) -> dict[str, Tensor]:
        """Return the weights, on their device."""
        return {k: p.detach().clone() for k, p in self._parameters.items()}

    def end(self, best: Mapping[str, Tensor]) -> None:
        """Put the weights in place."""
        self._put(best)
        self.forget_gradients()

    def save(self, folder: Path, state: Training, seconds: float) -> None:
        """Write a checkpoint."""
        assert self._optimizer is not None
        optimizer = {name: self._optimizer.state[p] for name, p in self._parameters.items()}
        save_checkpoint(folder, state, self._parameters, optimizer, seconds)

    @torch.no_grad()
    def _put(self, weights: Mapping[str, Tensor]) -> None:
        for name, tensor in weights.items():
            self._parameters[name].copy_(tensor)
