"""The loss of each target token, in nats, without a second tensor as large as the logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return -log softmax(logits) [M] at the targets [M]. logits [M, vocabulary] must not be read again.

    They are the largest tensor of a step, so their place is taken by their gradient, and that may be asked for once.
    """
    if not logits.requires_grad:
        return nn.functional.cross_entropy(logits, targets, reduction="none")
    losses: Tensor = _InPlace.apply(logits, targets)
    return losses


class _InPlace(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        held, chosen = logits.detach(), targets[:, None]
        at_target = held.gather(1, chosen)
        highest = held.amax(1, keepdim=True)
        total = held.sub_(highest).exp_().sum(1, keepdim=True)
        ctx.unscaled, ctx.total, ctx.chosen = held, total, chosen
        return (total.log() + (highest - at_target)).squeeze(1)  # the large ones first: what is small stays

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.unscaled is None:
            raise RuntimeError("the gradient of these losses was computed before and is gone")
        outer = gradients[0][:, None]
        gradient = ctx.unscaled.mul_(outer / ctx.total).scatter_add_(1, ctx.chosen, -outer)
        ctx.unscaled = None
        return gradient, None
