"""Where each architecture may be touched: points, parameter names and sizes, from the configuration alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, PreTrainedConfig

from featherbench.methods.base import Anatomy, Point, PointKind, Stack

STACKS: tuple[Stack, ...] = ("encoder", "decoder")
"""Of an encoder-decoder model, the lower one first"""


def _gpt2_points(config: Any) -> list[Point]:
    d, head_dim = config.n_embd, config.n_embd // config.n_head
    inner = config.n_inner or 4 * d
    found = [Point(kind="embeds", name="embeds", layer=-1, module="transformer.wte", shape=(d,))]
    for i in range(config.n_layer):
        block = f"transformer.h.{i}"
        fused = f"{block}.attn.c_attn"  # one Conv1D gives queries, keys and values
        found += [
            Point(kind="linear", name="key", layer=i, place=i, module=fused, shape=(d, d), columns=(d, 2 * d)),
            Point(kind="linear", name="value", layer=i, place=i, module=fused, shape=(d, d), columns=(2 * d, 3 * d)),
            Point(
                kind="attention",
                name="attention",
                layer=i,
                place=i,
                module=f"{block}.attn",
                shape=(config.n_head, head_dim),
            ),
            Point(
                kind="linear", name="attention_output", layer=i, place=i, module=f"{block}.attn.c_proj", shape=(d, d)
            ),
            Point(kind="linear", name="mlp_output", layer=i, place=i, module=f"{block}.mlp.c_proj", shape=(inner, d)),
            Point(kind="residual", name="block", layer=i, place=i, module=block, shape=(d,)),
        ]
    return found


def _llama_points(config: Any) -> list[Point]:
    d = config.hidden_size
    head_dim = getattr(config, "head_dim", None) or d // config.num_attention_heads
    queries, keys = config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim
    found = [Point(kind="embeds", name="embeds", layer=-1, module="model.embed_tokens", shape=(d,))]
    for i in range(config.num_hidden_layers):
        block = f"model.layers.{i}"
        heads = (config.num_key_value_heads, head_dim)
        inner = config.intermediate_size
        found += [
            Point(kind="linear", name="key", layer=i, place=i, module=f"{block}.self_attn.k_proj", shape=(d, keys)),
            Point(kind="linear", name="value", layer=i, place=i, module=f"{block}.self_attn.v_proj", shape=(d, keys)),
            Point(kind="attention", name="attention", layer=i, place=i, module=f"{block}.self_attn", shape=heads),
            Point(
                kind="linear",
                name="attention_output",
                layer=i,
                place=i,
                module=f"{block}.self_attn.o_proj",
                shape=(queries, d),
            ),
            Point(
                kind="linear", name="mlp_output", layer=i, place=i, module=f"{block}.mlp.down_proj", shape=(inner, d)
            ),
            Point(kind="residual", name="block", layer=i, place=i, module=block, shape=(d,)),
        ]
    return found


def _blocks(
    stack: Stack, first: int, number: int, parts: Sequence[tuple[PointKind, str, str, tuple[int, ...]]]
) -> list[Point]:
    """Return the points of a stack's blocks; a part is (kind, name, module with {} for the block, shape)."""
    return [
        Point(
            kind=kind,
            name=name,
            layer=first + i,
            place=i,
            module=module.format(i),
            shape=shape,
            stack="cross" if name == "cross_attention" else stack,
        )
        for i in range(number)
        for kind, name, module, shape in parts
    ]


def _bart_points(config: Any) -> list[Point]:
    d, first = config.d_model, 0
    embeds = "model.encoder.embed_tokens"
    found = [Point(kind="embeds", name="embeds", layer=-1, module=embeds, shape=(d,), stack="encoder")]
    for stack in STACKS:
        number, num_heads, inner = (getattr(config, f"{stack}_{n}") for n in ("layers", "attention_heads", "ffn_dim"))
        block, heads = f"model.{stack}.layers.{{}}", (num_heads, d // num_heads)
        parts: list[tuple[PointKind, str, str, tuple[int, ...]]] = [
            ("linear", "key", f"{block}.self_attn.k_proj", (d, d)),
            ("linear", "value", f"{block}.self_attn.v_proj", (d, d)),
            ("attention", "attention", f"{block}.self_attn", heads),
            ("linear", "attention_output", f"{block}.self_attn.out_proj", (d, d)),
            ("attention", "cross_attention", f"{block}.encoder_attn", heads),
            ("linear", "mlp_output", f"{block}.fc2", (inner, d)),
            ("residual", "block", block, (d,)),
        ]
        found += _blocks(
            stack, first, number, parts if stack == "decoder" else [p for p in parts if "cross" not in p[1]]
        )
        first += number
    return found


def _t5_points(config: Any) -> list[Point]:
    d, first, inner = config.d_model, 0, config.num_heads * config.d_kv
    heads = (config.num_heads, config.d_kv)
    found = [Point(kind="embeds", name="embeds", layer=-1, module="encoder.embed_tokens", shape=(d,), stack="encoder")]
    for stack, number in zip(STACKS, (config.num_layers, config.num_decoder_layers), strict=True):
        block, last = f"{stack}.block.{{}}", 1 if stack == "encoder" else 2
        own = f"{block}.layer.0.SelfAttention"
        parts: list[tuple[PointKind, str, str, tuple[int, ...]]] = [
            ("linear", "key", f"{own}.k", (d, inner)),
            ("linear", "value", f"{own}.v", (d, inner)),
            ("attention", "attention", own, heads),
            ("linear", "attention_output", f"{own}.o", (inner, d)),
            ("attention", "cross_attention", f"{block}.layer.1.EncDecAttention", heads),
            ("linear", "mlp_output", f"{block}.layer.{last}.DenseReluDense.wo", (config.d_ff, d)),
            ("residual", "block", block, (d,)),
        ]
        found += _blocks(
            stack, first, number, parts if stack == "decoder" else [p for p in parts if "cross" not in p[1]]
        )
        first += number
    return found


@dataclass(frozen=True, kw_only=True)
class Family:
    """What differs between architectures."""

    points: Callable[[Any], list[Point]]
    """Configuration -> points, lowest first"""
    final_norm: str | None
    """Beginning of the parameter names of the norm above the last block; None: BART's blocks end with their own"""
    token_table: str
    auto: Any
    """The transformers class that loads and makes such models"""
    block_norm: str | None = None
    """Of a causal model: in a block, the module through which the attention reads what enters the block"""
    positions: Callable[[Any], int] = lambda config: config.max_position_embeddings
    """How many positions the model has"""


UNLIMITED = 1 << 30
"""Positions of a model with relative ones"""

FAMILIES: dict[str, Family] = {
    "gpt2": Family(
        points=_gpt2_points,
        final_norm="transformer.ln_f.",
        token_table="transformer.wte.weight",
        block_norm="ln_1",
        auto=AutoModelForCausalLM,
    ),
    "llama": Family(
        points=_llama_points,
        final_norm="model.norm.",
        token_table="model.embed_tokens.weight",
        block_norm="input_layernorm",
        auto=AutoModelForCausalLM,
    ),
    "bart": Family(
        points=_bart_points,
        final_norm=None,
        token_table="model.shared.weight",
        auto=AutoModelForSeq2SeqLM,
    ),
    "t5": Family(
        points=_t5_points,
        final_norm="decoder.final_layer_norm.",
        token_table="shared.weight",
        auto=AutoModelForSeq2SeqLM,
        positions=lambda config: UNLIMITED,
    ),
}
"""transformers' model_type -> its family"""


class UnsupportedBackbone(ValueError):
    """The model is of a family that featherbench does not cover."""


def anatomy_of(config: PreTrainedConfig) -> Anatomy:
    """Return the anatomy of a model with this configuration.

    Raises: UnsupportedBackbone for families without an entry in FAMILIES.
    """
    if config.model_type not in FAMILIES:
        raise UnsupportedBackbone(
            f"backbone family {config.model_type!r} is not supported. Supported: {', '.join(FAMILIES)}."
        )
    family = FAMILIES[config.model_type]
    points = family.points(config)
    with torch.device("meta"):
        skeleton = family.auto.from_config(config)
    shapes = {name: tuple(p.shape) for name, p in skeleton.named_parameters()}
    blocks = [p for p in points if p.name == "block"]
    return Anatomy(
        family=config.model_type,
        num_layers=len(blocks),
        width=points[0].shape[0],
        kv_heads=next(p.shape[0] for p in points if p.kind == "attention"),
        head_dim=next(p.shape[1] for p in points if p.kind == "attention"),
        vocab_size=config.vocab_size,
        max_positions=family.positions(config),
        parameters=shapes,
        blocks=tuple(tuple(name for name in shapes if name.startswith(f"{block.module}.")) for block in blocks),
        final_norm=tuple(n for n in shapes if family.final_norm and n.startswith(family.final_norm)),
        token_table=(family.token_table,),
        points=tuple(points),
        encoder_layers=sum(block.stack == "encoder" for block in blocks),
        decoder_start=config.decoder_start_token_id if config.is_encoder_decoder else None,
    )
