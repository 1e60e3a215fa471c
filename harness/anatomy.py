"""Where each architecture may be touched: points, parameter names and sizes, from the configuration alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig

from featherbench.methods.base import Anatomy, Point


def _gpt2_points(config: Any) -> list[Point]:
    d, head_dim = config.n_embd, config.n_embd // config.n_head
    inner = config.n_inner or 4 * d
    found = [Point(kind="embeds", name="embeds", layer=-1, module="transformer.wte", shape=(d,))]
    for i in range(config.n_layer):
        block = f"transformer.h.{i}"
        fused = f"{block}.attn.c_attn"  # one Conv1D gives queries, keys and values
        found += [
            Point(kind="linear", name="key", layer=i, module=fused, shape=(d, d), columns=(d, 2 * d)),
            Point(kind="linear", name="value", layer=i, module=fused, shape=(d, d), columns=(2 * d, 3 * d)),
            Point(kind="attention", name="attention", layer=i, module=f"{block}.attn", shape=(config.n_head, head_dim)),
            Point(kind="linear", name="attention_output", layer=i, module=f"{block}.attn.c_proj", shape=(d, d)),
            Point(kind="linear", name="mlp_output", layer=i, module=f"{block}.mlp.c_proj", shape=(inner, d)),
            Point(kind="residual", name="block", layer=i, module=block, shape=(d,)),
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
            Point(kind="linear", name="key", layer=i, module=f"{block}.self_attn.k_proj", shape=(d, keys)),
            Point(kind="linear", name="value", layer=i, module=f"{block}.self_attn.v_proj", shape=(d, keys)),
            Point(kind="attention", name="attention", layer=i, module=f"{block}.self_attn", shape=heads),
            Point(
                kind="linear", name="attention_output", layer=i, module=f"{block}.self_attn.o_proj", shape=(queries, d)
            ),
            Point(kind="linear", name="mlp_output", layer=i, module=f"{block}.mlp.down_proj", shape=(inner, d)),
            Point(kind="residual", name="block", layer=i, module=block, shape=(d,)),
        ]
    return found


FAMILIES: dict[str, Callable[[Any], list[Point]]] = {"gpt2": _gpt2_points, "llama": _llama_points}
"""transformers' model_type -> its points"""


class UnsupportedBackbone(ValueError):
    """The model is of a family that featherbench does not cover."""


def anatomy_of(config: PreTrainedConfig) -> Anatomy:
    """Return the anatomy of a model with this configuration.

    Raises: UnsupportedBackbone for families without an entry in FAMILIES.
    """
    if config.model_type not in FAMILIES:
        raise UnsupportedBackbone(
            f"backbone family {config.model_type!r} is not supported. Supported: {', '.join(FAMILIES)} (causal)."
        )
    points = FAMILIES[config.model_type](config)
    with torch.device("meta"):
        skeleton = AutoModelForCausalLM.from_config(config)
    shapes = {name: tuple(p.shape) for name, p in skeleton.named_parameters()}
    blocks = [p.module for p in points if p.name == "block"]
    head_dim = next(p.shape[1] for p in points if p.kind == "attention")
    return Anatomy(
        family=config.model_type,
        num_layers=len(blocks),
        width=points[0].shape[0],
        kv_heads=next(p.shape[0] for p in points if p.kind == "attention"),
        head_dim=head_dim,
        vocab_size=config.vocab_size,
        max_positions=config.max_position_embeddings,
        parameters=shapes,
        blocks=tuple(tuple(name for name in shapes if name.startswith(f"{block}.")) for block in blocks),
        final_norm=tuple(n for n in shapes if n.startswith(("transformer.ln_f.", "model.norm."))),
        token_table=(f"{points[0].module}.weight",),
        points=tuple(points),
    )
