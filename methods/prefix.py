"""Prefix-tuning: trained keys and values in front of every attention (Li & Liang 2021, arXiv:2101.00190, section 4).

The MLP form trains `reparametrisation.py`'s table and MLP and stores their output; the direct form trains the keys
and values themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution
from torch import Tensor

from featherbench.methods.base import Anatomy, Method, Point, Probe, Rows, Tensors, normal, size
from featherbench.methods.reparametrisation import fit_mlp, init_mlp, mlp


@dataclass(frozen=True, kw_only=True)
class PrefixConfig:
    """Length and parametrisation of the prefix."""

    length: int = size(10)
    """Number L of prefix tokens"""
    parametrisation: Literal["mlp", "direct"] = "mlp"
    """"mlp" trains a table and an MLP; "direct" trains the keys and values themselves"""
    hidden: int = 512
    """Hidden width of the MLP"""
    shift_positions: bool = True
    """The text's positions start at L, as in the official code; else at 0"""


def init(anatomy: Anatomy, config: PrefixConfig, generator: torch.Generator | None, probe: Probe | None) -> Tensors:
    """Return the trained tensors; with a probe the prefix starts as the activations of the task words.

    direct: prefix [L, n, 2, kv_heads, head_dim] ~ N(0, 1), or the words' keys and values.
    mlp: the MLP's tensors; with words its layers are fitted to their keys and values.
    """
    shape = (anatomy.num_layers, 2, anatomy.kv_heads, anatomy.head_dim)
    words = None if probe is None else torch.stack(probe.keys_values(config.length), dim=2)
    if config.parametrisation == "direct":
        return {"prefix": normal(generator, config.length, *shape) if words is None else words}
    trained = init_mlp(generator, config.length, anatomy.width, config.hidden, shape)
    return trained if words is None else fit_mlp(trained, words)


def stored(config: PrefixConfig, trained: Tensors) -> Tensors:
    """Collapse the MLP: return prefix [L, n, 2, kv_heads, head_dim]."""
    return trained if config.parametrisation == "direct" else {"prefix": mlp(trained)}


def apply(
    point: Point, config: PrefixConfig, stored: Tensors, rows: Rows, x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return this layer's keys and values [S, kv_heads, L, head_dim] and which of them exist [S, L]."""
    keys, values = stored["prefix"][:, :, point.layer].transpose(1, 3).unbind(2)
    visible = torch.arange(keys.shape[2], device=keys.device) < rows.sizes[:, None]
    return keys, values, visible


def space(anatomy: Anatomy) -> Mapping[str, BaseDistribution]:
    """Search the lengths that the paper searched for table-to-text (appendix A.2)."""
    return {"length": CategoricalDistribution([1, 5, 10, 20, 40])}


PREFIX = Method(
    name="prefix",
    source="Li & Liang 2021, arXiv:2101.00190, section 4",
    version=1,
    config=PrefixConfig,
    learning_rate=1e-3,
    learning_rate_source="middle of the 5e-5 (MLP, Li & Liang 2021) to 3e-2 (direct, Liu et al. 2022) in use",
    space=space,
    points=lambda anatomy, config: anatomy.at("attention"),
    offset=lambda config: config.length if config.shift_positions else 0,
    init=init,
    takes_words=True,
    stored=stored,
    apply=apply,
)
