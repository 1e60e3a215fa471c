"""The method contract: a method describes one slot by pure functions; the harness stacks slots and routes rows.

Three ways to touch a backbone suffice: virtual tokens, edits at points, unfrozen weights. A method never sees other
slots, optimisers, generation or DeepSpeed, and never imports the harness.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from optuna.distributions import BaseDistribution
from torch import Tensor

Tensors = Mapping[str, Tensor]
"""Named tensors of one slot. In `apply` the same names carry a leading slot axis S."""

SIZE = {"size": True}
"""Metadata of the one configuration field that a budget solves for."""


Stack = Literal["encoder", "decoder", "cross"]
PointKind = Literal["embeds", "attention", "residual", "linear"]


@dataclass(frozen=True, kw_only=True)
class Point:
    """A place where a backbone may be touched; `harness/anatomy.py` lists them per architecture."""

    kind: PointKind
    name: str
    """Role within the layer: "embeds", "attention", "block", "key", "value", "attention_output",
    "mlp_output"; "cross_attention" where a decoder looks at its encoder"""
    layer: int
    """0-based block, an encoder's blocks before its decoder's; -1 for embeds"""
    module: str
    """Qualified module name, meaningful to the harness only"""
    shape: tuple[int, ...]
    """embeds, residual: (d,); attention: (kv_heads, head_dim); linear: (in, out)"""
    columns: tuple[int, int] | None = None
    """Output columns of a fused linear layer that this point means, e.g. the keys inside GPT-2's c_attn"""
    stack: Stack = "decoder"
    """Which stack it is in; "cross" for the decoder's attention to the encoder. A causal model is a decoder."""
    place: int = 0
    """0-based block within the stack"""


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """What a method may know about a backbone; derived from its configuration alone, no weight is read."""

    family: str
    num_layers: int
    """Blocks of all stacks together"""
    width: int
    kv_heads: int
    head_dim: int
    vocab_size: int
    max_positions: int
    parameters: Mapping[str, tuple[int, ...]]
    """Name -> shape of every parameter of the backbone; tied ones once"""
    blocks: tuple[tuple[str, ...], ...]
    """Parameter names of each block"""
    final_norm: tuple[str, ...]
    token_table: tuple[str, ...]
    """The token embedding; also the language-model head where the two are tied"""
    points: tuple[Point, ...]
    """All points, lowest first"""
    encoder_layers: int = 0
    """The first so many blocks are an encoder; 0 for a causal model"""
    decoder_start: int | None = None
    """The id that a decoder starts from; None for a causal model"""

    @property
    def total_parameters(self) -> int:
        """Parameters of the untouched backbone, tied ones counted once."""
        return sum(torch.Size(shape).numel() for shape in self.parameters.values())

    def at(self, *names: str) -> tuple[Point, ...]:
        """Return the points with these names, lowest first."""
        return tuple(p for p in self.points if p.name in names)


class Rows(Protocol):
    """What the harness knows about the running batch. Rows stand sorted by slot, N rows each; beams are consecutive.

    In training the texts of a slot stand end to end in one row, so that no padding is computed, and behind the last
    attention only those positions are left that predict a target: what a method does at a position may depend on that
    position alone.
    """

    virtual: Tensor
    """[S, N, T] index of the virtual token standing there, else -1"""
    sizes: Tensor
    """[S] the size field of each slot's configuration; tensors are padded with zeros beyond it"""


class Probe(Protocol):
    """Read access to the frozen backbone while a slot is initialised."""

    def keys_values(self, length: int) -> tuple[Tensor, Tensor]:
        """Return K and V [L, layers, kv_heads, head_dim] of the task words, repeated or cut to `length` tokens."""

    def embeddings(self, length: int) -> Tensor:
        """Return the input embeddings [L, d] of the task words, repeated or cut to `length` tokens."""


Layout = Callable[[Any, Sequence[int], Callable[[int], list[int]]], list[int]]


def _prompt_is_the_source(config: Any, source: Sequence[int], virtual: Callable[[int], list[int]]) -> list[int]:
    return list(source)


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to tune a backbone. `version` is part of every trial id: raise it when a number may change."""

    name: str
    source: str
    """Paper and section the implementation follows"""
    version: int
    config: type
    """Frozen dataclass; at most one field carries the metadata SIZE"""
    learning_rate: float
    """Default peak learning rate; the search covers three decades around it"""
    learning_rate_source: str
    space: Callable[[Anatomy], Mapping[str, BaseDistribution]] = lambda anatomy: {}
    """The method's own search dimensions, in a fixed order"""
    refuses: Callable[[Anatomy, Any], str | None] = lambda anatomy, config: None
    """Why this configuration cannot run on this backbone, or None; a stored reason, not a crash"""
    points: Callable[[Anatomy, Any], tuple[Point, ...]] = lambda anatomy, config: ()
    layout: Layout = _prompt_is_the_source
    """(config, source ids, virtual) -> prompt ids; `virtual(L)` gives the ids of L virtual tokens. The separator and
    the target follow the prompt."""
    offset: Callable[[Any], int] = lambda config: 0
    """By how much the text's positions are shifted in a causal model; encoder-decoder models count from 0 as ever"""
    init: Callable[[Anatomy, Any, torch.Generator | None, Probe | None], Tensors] = lambda a, c, g, p: {}
    """Trained tensors of one slot. Under `torch.device("meta")`, without generator and probe, it gives the counts.
    A probe is given when the task words are to be taken as initialisation."""
    takes_words: bool = False
    """Whether `init` can take the task words; a method that cannot gets the same words in its text"""
    stored: Callable[[Any, Tensors], Tensors] = lambda config, trained: trained
    """Trained -> stored tensors: pure and differentiable. Training and decoding both run on the stored form."""
    apply: Callable[[Point, Any, Tensors, Rows, Tensor, Tensor], Any] | None = None
    """(point, config, stored [S, ...], rows, x, y) at a point, for all slots at once.
    embeds, residual: x [S, N, T, d] -> the new x (y is x). linear: x input, y output -> the new output.
    attention: -> keys, values [S, kv_heads, L, head_dim] and visible [S, L], put in front for every query."""
    unfrozen: Callable[[Anatomy, Any], tuple[str, ...]] = lambda anatomy, config: ()
    """Backbone weights trained in a private copy"""
    direct: Mapping[str, Any] = field(default_factory=dict)
    """Configuration values that leave its reparametrisation out; plans add that row as a baseline. Empty: none"""
    direct_learning_rate: float = 0.0
    """Default of that row, which needs a larger one"""
    answer: Callable[[str], str] | None = None
    """(source) -> output, for a baseline whose outputs no model writes"""

    @property
    def size_field(self) -> str | None:
        """Name of the configuration field that a budget solves for, if any."""
        return next((f.name for f in dataclasses.fields(self.config) if f.metadata.get("size")), None)


def size(default: int) -> Any:
    """A configuration field that a budget solves for."""
    return field(default=default, metadata=SIZE)


def normal(generator: torch.Generator | None, *shape: int, std: float = 1.0) -> Tensor:
    """Return N(0, std^2) values on the current default device."""
    return torch.empty(shape).normal_(0.0, std, generator=generator)


def linear(generator: torch.Generator | None, inputs: int, outputs: int) -> tuple[Tensor, Tensor]:
    """Return weight [out, in] and bias [out] as torch's Linear starts: both U(-1/sqrt(in), 1/sqrt(in))."""
    bound = inputs**-0.5
    return (
        torch.empty(outputs, inputs).uniform_(-bound, bound, generator=generator),
        torch.empty(outputs).uniform_(-bound, bound, generator=generator),
    )
