"""RMS norms as transformers computes them, in the model's own precision, with a gradient in few passes over memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class RMSNorm(nn.Module):
    """x [..., d] -> weight * x / sqrt(mean of squares + eps), of Llama and T5 (Zhang & Sennrich 2019, arXiv:1910.07467).

    Never in less than the weight's precision: transformers rounds to float32 on the way, so that two float64 runs which
    agree to 1e-16 come apart by 1e-9 wherever a value lies on the border of two float32 numbers.
    """

    def __init__(self, weight: nn.Parameter, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = weight, eps

    def forward(self, x: Tensor) -> Tensor:
        """Return the norm of x; in float32 the same bits as transformers' own module."""
        found: Tensor = _Norm.apply(x.to(self.weight.dtype), self.weight, self.eps)
        return found


def replace_norms(model: nn.Module) -> None:
    """Put ours in the place of a model's RMS norms, around the same weights; not where those are of half precision."""
    for name, module in list(model.named_modules()):
        if hasattr(module, "variance_epsilon") and module.weight.dtype in (torch.float32, torch.float64):
            model.set_submodule(name, RMSNorm(module.weight, module.variance_epsilon))


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        scale = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)
        ctx.save_for_backward(x, weight, scale)
        return (x * scale).mul_(weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """With s the scale and h = weight * gradient: s * h - x * s^3 * mean(h * x)."""
        x, weight, scale = ctx.saved_tensors
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            of_x = gradients[0] * weight
            mean = (of_x * x).mean(-1, keepdim=True)
            of_x = of_x.mul_(scale).addcmul_(x, mean * scale**3, value=-1)
        if ctx.needs_input_grad[1]:
            of_weight = (gradients[0] * x).mul_(scale).flatten(0, -2).sum(0)
        return of_x, of_weight, None
