"""Embedding-only tuning: trained input embeddings in front of the source (Li & Liang 2021, arXiv:2101.00190, section 7.2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution
from torch import Tensor, nn

from featherbench.methods.base import Anatomy, Method, Point, Probe, Rows, Tensors, normal, size
from featherbench.methods.reparametrisation import fit_mlp, init_mlp, mlp

EMBEDDING_STD = 0.02
"""Scale of the input embeddings of GPT-2 and Llama, so that random virtual tokens start where words live"""


@dataclass(frozen=True, kw_only=True)
class EmbeddingOnlyConfig:
    """Number and parametrisation of the virtual tokens."""

    length: int = size(10)
    """Number L of virtual tokens"""
    parametrisation: Literal["direct", "mlp"] = "direct"
    """"direct" trains the embeddings; "mlp" trains a table and Linear(d, mid), tanh, Linear(mid, d)"""
    hidden: int = 512
    """Hidden width of the MLP"""


def init(
    anatomy: Anatomy, config: EmbeddingOnlyConfig, generator: torch.Generator | None, probe: Probe | None
) -> Tensors:
    """Return embeddings [L, d] or the MLP's tensors; with a probe they start as the task words' embeddings."""
    words = None if probe is None else probe.embeddings(config.length)
    if config.parametrisation == "direct":
        return {
            "embeddings": normal(generator, config.length, anatomy.width, std=EMBEDDING_STD) if words is None else words
        }
    trained = init_mlp(generator, config.length, anatomy.width, config.hidden, (anatomy.width,))
    return trained if words is None else fit_mlp(trained, words)


def stored(config: EmbeddingOnlyConfig, trained: Tensors) -> Tensors:
    """Collapse the MLP: return embeddings [L, d]."""
    return trained if config.parametrisation == "direct" else {"embeddings": mlp(trained)}


def place_embeddings(x: Tensor, embeddings: Tensor, rows: Rows) -> Tensor:
    """Return x [S, N, T, d] with embeddings [S, L, d] where virtual tokens stand."""
    num_slots, length, _ = embeddings.shape
    first = torch.arange(num_slots, device=x.device)[:, None, None] * length
    # not by plain indexing: on a CPU its gradients are summed by threads in no fixed order
    chosen = nn.functional.embedding(first + rows.virtual.clamp(min=0), embeddings.flatten(0, 1))
    return torch.where((rows.virtual >= 0).unsqueeze(-1), chosen.to(x.dtype), x)


def apply(point: Point, config: EmbeddingOnlyConfig, stored: Tensors, rows: Rows, x: Tensor, y: Tensor) -> Tensor:
    """Return the input embeddings with the virtual tokens' in place."""
    return place_embeddings(x, stored["embeddings"], rows)


def layout(config: Any, source: Any, virtual: Any) -> list[int]:
    """Put the virtual tokens in front of the source."""
    return [*virtual(config.length), *source]


def space(anatomy: Anatomy) -> Mapping[str, BaseDistribution]:
    """Search the lengths of the paper's ablation and of Lester et al. 2021."""
    return {"length": CategoricalDistribution([1, 5, 10, 20, 40])}


EMBEDDING_ONLY = Method(
    name="embedding_only",
    source="Li & Liang 2021, arXiv:2101.00190, section 7.2",
    version=1,
    config=EmbeddingOnlyConfig,
    learning_rate=1e-2,
    learning_rate_source="between 1e-3 (MLP form) and 0.3 (Adafactor, Lester et al. 2021, arXiv:2104.08691)",
    space=space,
    points=lambda anatomy, config: anatomy.at("embeds"),
    layout=layout,
    init=init,
    takes_words=True,
    stored=stored,
    apply=apply,
)
