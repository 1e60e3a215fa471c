"""Infix-tuning: virtual tokens between source and target (Li & Liang 2021, arXiv:2101.00190, section 7.3).

A virtual token has a free input embedding and, in every layer, a free offset on its key and value, as in the official
code. Offsets are added to the outputs of the key and value projections, so before any rotary embedding, and within the
one forward pass; the official code adds them to the result of a first pass without them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution
from torch import Tensor

from featherbench.methods.base import Anatomy, Method, Point, Probe, Rows, Tensors, normal, size
from featherbench.methods.embedding_only import EMBEDDING_STD, place_embeddings
from featherbench.methods.reparametrisation import init_mlp, mlp


@dataclass(frozen=True, kw_only=True)
class InfixConfig:
    """Length of the infix and width of its reparametrisation."""

    length: int = size(10)
    """Number L of infix tokens"""
    hidden: int = 512
    """Hidden width of the MLP that gives the offsets"""


def refuses(anatomy: Anatomy, config: InfixConfig) -> str | None:
    """Refuse encoder-decoder models: between source and target they have no position that the target would attend to."""
    if not anatomy.encoder_layers:
        return None
    return "source and target stand in different stacks of an encoder-decoder model, so nothing stands between them"


def init(anatomy: Anatomy, config: InfixConfig, generator: torch.Generator | None, probe: Probe | None) -> Tensors:
    """Return embeddings [L, d] (the task words' with a probe) and, for the offsets, a table [L, d] and its MLP."""
    embeddings = normal(generator, config.length, anatomy.width, std=EMBEDDING_STD)
    shape = (anatomy.num_layers, 2, anatomy.kv_heads * anatomy.head_dim)
    return {
        "embeddings": embeddings if probe is None else probe.embeddings(config.length),
        **init_mlp(generator, config.length, anatomy.width, config.hidden, shape),
    }


def stored(config: InfixConfig, trained: Tensors) -> Tensors:
    """Collapse the MLP: return embeddings [L, d] and offsets [L, n, 2, kv_heads * head_dim]."""
    return {"embeddings": trained["embeddings"], "offsets": mlp(trained)}


def apply(point: Point, config: InfixConfig, stored: Tensors, rows: Rows, x: Tensor, y: Tensor) -> Tensor:
    """Return the embeddings, keys or values with the infix tokens' own in place."""
    if point.kind == "embeds":
        return place_embeddings(x, stored["embeddings"], rows)
    offsets = stored["offsets"][:, :, point.layer, ("key", "value").index(point.name)]
    return y + place_embeddings(torch.zeros_like(y), offsets, rows)


def layout(config: Any, source: Any, virtual: Any) -> list[int]:
    """Put the virtual tokens behind the source; the separator and the target follow."""
    return [*source, *virtual(config.length)]


def space(anatomy: Anatomy) -> Mapping[str, BaseDistribution]:
    """Search the lengths of the paper's ablation (table 5) and two longer ones."""
    return {"length": CategoricalDistribution([1, 5, 10, 20, 40])}


INFIX = Method(
    name="infix",
    source="Li & Liang 2021, arXiv:2101.00190, section 7.3",
    version=1,
    config=InfixConfig,
    learning_rate=1e-3,
    learning_rate_source="as prefix: the same reparametrisation",
    space=space,
    refuses=refuses,
    points=lambda anatomy, config: anatomy.at("embeds", "key", "value"),
    layout=layout,
    init=init,
    takes_words=True,
    stored=stored,
    apply=apply,
)
