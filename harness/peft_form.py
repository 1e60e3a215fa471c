"""A tuned model in peft's words: soft prompts in front of the input, or keys and values in front of every attention.

What a method does is read from its points, layout and maps, never from its name, so plug-ins count as well. Needs no
peft: a folder of its kind is one tensor and one JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from featherbench.harness.tuned import BatchRows
from featherbench.methods.base import Anatomy, Method, Point, Tensors

SOURCE = -1
"""Stands for the source's ids in a layout"""


class NoPeftForm(ValueError):
    """None of peft's types computes what the method does; the message says why, to be continued after "since"."""


@dataclass(frozen=True, kw_only=True)
class PeftForm:
    """Content of a peft folder."""

    config: Mapping[str, Any]
    """Of adapter_config.json, without the backbone's name"""
    weight: Tensor
    """[L, columns], "prompt_embeddings" of adapter_model.safetensors: d columns of an embedding; or for each layer its
    keys and its values, kv_heads * head_dim columns each"""


def laid_out(method: Method, config: Any) -> list[int]:
    """Return a prompt of the method: SOURCE where the source stands, virtual tokens by their number from 0."""
    return method.layout(config, [SOURCE], lambda length: list(range(length)))


def peft_form(method: Method, config: Any, anatomy: Anatomy, stored: Tensors) -> PeftForm:
    """Return what peft loads to the same logits.

    Raises: NoPeftForm.
    """
    points = method.points(anatomy, config)
    if method.unfrozen(anatomy, config):
        raise NoPeftForm(
            "a peft folder holds what is added to a backbone, and this method trains the backbone's own weights"
        )
    tensors = {name: tensor.unsqueeze(0) for name, tensor in stored.items()}
    kinds = {point.kind for point in points}
    if kinds == {"embeds"}:
        return _soft_prompt(method, config, anatomy, tensors, points)
    if kinds == {"attention"}:
        return _prefix(method, config, anatomy, tensors, points)
    names = ", ".join(dict.fromkeys(point.name for point in points)) or "nothing"
    raise NoPeftForm(f"none of peft's types computes the same at the places that this method edits: {names}")


def _soft_prompt(method: Method, config: Any, anatomy: Anatomy, tensors: Tensors, points: Sequence[Point]) -> PeftForm:
    """Return the embeddings of the virtual tokens, which is all that such a method may change."""
    order = laid_out(method, config)
    length = len(order) - 1
    if length < 1 or order != [*range(length), SOURCE]:
        raise NoPeftForm("peft's soft prompts stand in front of the source, and this method's virtual tokens do not")
    if not anatomy.encoder_layers and method.offset(config):
        raise NoPeftForm("peft counts positions from the first soft prompt, and this method shifts them")
    assert method.apply is not None
    rows = BatchRows(sizes=_size(method, config), virtual=torch.tensor(order)[None, None])
    like = next(iter(tensors.values()))
    draw = torch.Generator().manual_seed(0)
    found = []
    for _ in range(2):
        given = torch.randn(1, 1, length + 1, anatomy.width, generator=draw).to(like.dtype)
        output = method.apply(points[0], config, tensors, rows, given, given)
        if not torch.equal(output[:, :, length:], given[:, :, length:]):
            raise NoPeftForm("peft leaves the source's own embeddings alone, and this method changes them")
        found.append(output[0, 0, :length])
    if not torch.equal(*found):
        raise NoPeftForm("peft's soft prompts are constant, and this method's depend on what stands in their place")
    return PeftForm(config=_config("PROMPT_TUNING", anatomy, length, anatomy.width), weight=found[0])


def _prefix(method: Method, config: Any, anatomy: Anatomy, tensors: Tensors, points: Sequence[Point]) -> PeftForm:
    """Return the keys and values that stand, as they are, in front of those of every layer."""
    if anatomy.encoder_layers:
        raise NoPeftForm(
            "peft's prefix stands in an encoder-decoder model's decoder alone, and this one also in other attentions"
        )
    if points != anatomy.at("attention"):
        raise NoPeftForm("peft's prefix stands in every layer, and this one does not")
    if laid_out(method, config) != [SOURCE]:
        raise NoPeftForm("peft's prefix has no virtual tokens in the text, and this method has")
    assert method.apply is not None
    rows, empty, layers = BatchRows(sizes=_size(method, config), virtual=torch.empty(0)), torch.empty(0), []
    for point in points:
        keys, values, visible = method.apply(point, config, tensors, rows, empty, empty)
        layers.append(torch.stack([keys[0][:, visible[0]], values[0][:, visible[0]]]))
    weight = torch.stack(layers).permute(3, 0, 1, 2, 4)  # [L, layers, 2, kv_heads, head_dim]
    length, shift = len(weight), method.offset(config)
    if shift != length:
        raise NoPeftForm(
            f"peft lets the text's positions start at the prefix's length, {length}, and here it is {shift}"
        )
    columns = anatomy.kv_heads * anatomy.head_dim
    return PeftForm(config=_config("PREFIX_TUNING", anatomy, length, columns), weight=weight.flatten(1))


def _size(method: Method, config: Any) -> Tensor:
    return torch.tensor([getattr(config, method.size_field) if method.size_field else 0])


def _config(kind: str, anatomy: Anatomy, length: int, columns: int) -> dict[str, Any]:
    return {
        "peft_type": kind,
        "task_type": "SEQ_2_SEQ_LM" if anatomy.encoder_layers else "CAUSAL_LM",
        "inference_mode": True,
        "num_virtual_tokens": length,
        "token_dim": columns,
        "num_attention_heads": anatomy.kv_heads,
        "num_layers": anatomy.num_layers,
        "num_transformer_submodules": 1,
    }
