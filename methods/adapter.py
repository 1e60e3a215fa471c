"""Adapters: small bottlenecks between frozen layers.

Design 1 (Lin et al. 2020, arXiv:2004.03829; the adapter of Li & Liang 2021): h + Up(ReLU(Down(LayerNorm(h)))) once per
block, after the feed-forward residual. Design 2 (Houlsby et al. 2019, arXiv:1902.00751): h + Up(ReLU(Down(h))) on the
attention output and on the feed-forward output, each before the block's residual add. An encoder-decoder model has
them in every block of both stacks; a decoder's attention to its encoder has none, as Houlsby et al.'s encoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution
from torch import Tensor
from torch.nn import functional as F

from featherbench.methods.base import Anatomy, Method, Point, Probe, Rows, Tensors, normal, size

SUBLAYERS = ("attention_output", "mlp_output")


@dataclass(frozen=True, kw_only=True)
class AdapterConfig:
    """Shape of the bottlenecks."""

    bottleneck: int = size(64)
    """Width b of the bottleneck"""
    design: Literal[1, 2] = 1
    """1: one per block with its own LayerNorm; 2: two per block without"""


def points(anatomy: Anatomy, config: AdapterConfig) -> tuple[Point, ...]:
    """Return the residual stream after each block (design 1) or both sublayer outputs of each block (design 2)."""
    return anatomy.at("block") if config.design == 1 else anatomy.at(*SUBLAYERS)


def init(anatomy: Anatomy, config: AdapterConfig, generator: torch.Generator | None, probe: Probe | None) -> Tensors:
    """Return weights N(0, 0.02^2) and zero biases: near the identity, as GPT-2 initialises its own layers.

    Shapes, for P places, width d, bottleneck b: down [P, d, b], up [P, b, d]; design 1 also norm_weight, norm_bias [P, d].
    """
    places, d, b = len(points(anatomy, config)), anatomy.width, config.bottleneck
    tensors = {
        "down": normal(generator, places, d, b, std=0.02),
        "down_bias": torch.zeros(places, b),
        "up": normal(generator, places, b, d, std=0.02),
        "up_bias": torch.zeros(places, d),
    }
    if config.design == 1:
        tensors |= {"norm_weight": torch.ones(places, d), "norm_bias": torch.zeros(places, d)}
    return tensors


def apply(point: Point, config: AdapterConfig, stored: Tensors, rows: Rows, x: Tensor, y: Tensor) -> Tensor:
    """Return y with the bottleneck's update added; y [S, N, T, d]."""
    place = point.layer if config.design == 1 else 2 * point.layer + SUBLAYERS.index(point.name)

    def of(name: str) -> Tensor:
        """Return this place's tensor, ready to be used on [S, N, T, .]."""
        return stored[name][:, place].unsqueeze(1)

    h = y
    if config.design == 1:
        h = F.layer_norm(y, y.shape[-1:]) * of("norm_weight").unsqueeze(2) + of("norm_bias").unsqueeze(2)
    hidden = torch.relu(h @ of("down") + of("down_bias").unsqueeze(2))
    return y + hidden @ of("up") + of("up_bias").unsqueeze(2)


def space(anatomy: Anatomy) -> Mapping[str, BaseDistribution]:
    """Search the bottleneck over the published range, 0.1 % to 3 % of the backbone."""
    return {"bottleneck": CategoricalDistribution([8, 16, 32, 64, 128])}


ADAPTER = Method(
    name="adapter",
    source="Lin et al. 2020, arXiv:2004.03829; Houlsby et al. 2019, arXiv:1902.00751",
    version=1,
    config=AdapterConfig,
    learning_rate=1e-3,
    learning_rate_source="Houlsby et al. 2019, section 3.4: best between 3e-4 and 3e-3",
    space=space,
    points=points,
    init=init,
    apply=apply,
)
