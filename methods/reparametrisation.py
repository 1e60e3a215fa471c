"""The MLP behind prefixes and virtual tokens: table [L, d] -> Linear(d, mid), tanh, Linear(mid, out).

Li & Liang 2021, arXiv:2101.00190, section 4.3, in the form of the official code (the paper's text swaps the two
widths). Only the output is stored.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from featherbench.methods.base import Tensors, linear, normal

MLP_TENSORS = ("table", "up_weight", "up_bias", "out_weight", "out_bias")

FIT_STEPS = 500
FIT_LEARNING_RATE = 1e-4


def init_mlp(
    generator: torch.Generator | None, length: int, width: int, hidden: int, out: tuple[int, ...]
) -> dict[str, Tensor]:
    """Return table [L, d] ~ N(0, 1) and both layers as torch's Linear starts; out_bias carries the shape `out`."""
    table = normal(generator, length, width)
    up_weight, up_bias = linear(generator, width, hidden)
    out_weight, out_bias = linear(generator, hidden, torch.Size(out).numel())
    return {
        "table": table,
        "up_weight": up_weight,
        "up_bias": up_bias,
        "out_weight": out_weight,
        "out_bias": out_bias.reshape(out),
    }


def mlp(trained: Tensors) -> Tensor:
    """Return the output [L, *out]."""
    hidden = torch.tanh(F.linear(trained["table"], trained["up_weight"], trained["up_bias"]))
    flat = F.linear(hidden, trained["out_weight"], trained["out_bias"].flatten())
    return flat.unflatten(1, trained["out_bias"].shape)


def fit_mlp(trained: Tensors, target: Tensor) -> dict[str, Tensor]:
    """Return `trained` with its layers, not its table, fitted to give `target` [L, *out]: 500 Adam steps, MSE, lr 1e-4.

    Source: the low-data initialisation of the official code.
    """
    layers = {name: tensor.clone().requires_grad_() for name, tensor in trained.items() if name != "table"}
    optimizer = torch.optim.Adam(layers.values(), lr=FIT_LEARNING_RATE)
    with torch.enable_grad():
        for _ in range(FIT_STEPS):
            optimizer.zero_grad()
            F.mse_loss(mlp({**trained, **layers}), target).backward()
            optimizer.step()
    return {**trained, **{name: tensor.detach() for name, tensor in layers.items()}}
