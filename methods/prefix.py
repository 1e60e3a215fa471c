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

from featherbench.methods.base import Anatomy, Method, Point, Probe, Rows, Stack, Tensors, normal, size
from featherbench.methods.reparametrisation import MLP_TENSORS, fit_mlp, init_mlp, mlp


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


STACKS: tuple[Stack, ...] = ("encoder", "decoder", "cross")


def stack_name(stack: Stack, name: str) -> str:
    """Return the name of a stack's tensor; a causal model has one stack, whose tensors have plain names."""
    return name if stack == "decoder" else f"{stack}_{name}"


def init(anatomy: Anatomy, config: PrefixConfig, generator: torch.Generator | None, probe: Probe | None) -> Tensors:
    """Return the trained tensors; with a probe the prefix starts as the activations of the task words.

    direct: prefix [L, n, 2, kv_heads, head_dim] ~ N(0, 1), or the words' keys and values.
    mlp: the MLP's tensors; with words its layers are fitted to their keys and values.
    An encoder-decoder model has three independent prefixes: in front of the keys and values of the encoder, of the
    decoder and of the decoder's attention to the encoder (official seq2seq code).
    """
    tensors: dict[str, Tensor] = {}
    words = None if probe is None else torch.stack(probe.keys_values(config.length), dim=2)
    for stack in STACKS:
        if num_points := sum(p.stack == stack for p in attentions(anatomy)):
            shape = (num_points, 2, anatomy.kv_heads, anatomy.head_dim)
            if config.parametrisation == "direct":
                own = {"prefix": normal(generator, config.length, *shape) if words is None else words}
            else:
                own = init_mlp(generator, config.length, anatomy.width, config.hidden, shape)
                own = own if words is None else fit_mlp(own, words)
            tensors |= {stack_name(stack, name): tensor for name, tensor in own.items()}
    return tensors


def attentions(anatomy: Anatomy) -> tuple[Point, ...]:
    """Return all attention points, a decoder's attention to its encoder among them."""
    return anatomy.at("attention", "cross_attention")


def stored(config: PrefixConfig, trained: Tensors) -> Tensors:
    """Collapse the MLPs: return prefix [L, n, 2, kv_heads, head_dim] of every stack."""
    if config.parametrisation == "direct":
        return trained
    return {
        stack_name(stack, "prefix"): mlp({name: trained[stack_name(stack, name)] for name in MLP_TENSORS})
        for stack in STACKS
        if stack_name(stack, "table") in trained
    }


def apply(
    point: Point, config: PrefixConfig, stored: Tensors, rows: Rows, x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return this layer's keys and values [S, kv_heads, L, head_dim] and which of them exist [S, L]."""
    prefix = stored[stack_name(point.stack, "prefix")]
    keys, values = prefix[:, :, point.place].transpose(1, 3).unbind(2)
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
    points=lambda anatomy, config: attentions(anatomy),
    offset=lambda config: config.length if config.shift_positions else 0,
    init=init,
    takes_words=True,
    stored=stored,
    apply=apply,
    direct={"parametrisation": "direct"},
    direct_learning_rate=3e-2,  # Liu et al. 2022, as above
)
