"""Text to ids and ids to batches: the one linearisation that training, validation and decoding share.

The ids of a pair are pieces(" source"), virtual tokens where the method puts them, the end mark as separator,
pieces("target") and the end mark; joined as ids, never as a string, since tokenizers treat blanks beside special
tokens differently.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from featherbench.harness.backbones import Backbone
from featherbench.methods.base import Method

IGNORED = -100
"""Label of positions without loss"""


def source_limit(most: int | None, words: str, ids: Callable[[str], list[int]]) -> int | None:
    """Return after how many tokens words and source are cut together; None: never."""
    return most if most is None or not words else most + len(ids(f" {words}"))


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """Turns sources and targets into ids for one method on one backbone."""

    backbone: Backbone
    method: Method
    config: Any
    words: str = ""
    """Task words that stand in the text; empty for methods that take them as initialisation"""
    max_source_tokens: int | None = None
    """Sources are cut after this many tokens; words do not count"""

    def prompt(self, source: str) -> list[int]:
        """Return what stands before the target: source, virtual tokens, separator."""
        text = f" {self.words} {source}" if self.words else f" {source}"
        vocabulary = self.backbone.anatomy.vocab_size
        most = source_limit(self.max_source_tokens, self.words, self.ids)
        ids = self.method.layout(
            self.config, self.ids(text)[:most], lambda length: list(range(vocabulary, vocabulary + length))
        )
        return [*ids, self.backbone.end]

    def target(self, text: str) -> list[int]:
        """Return the target's pieces and the end mark."""
        return [*self.ids(text), self.backbone.end]

    def ids(self, text: str) -> list[int]:
        """Return the pieces of a text, no special tokens."""
        return self.backbone.tokenizer(text, add_special_tokens=False)["input_ids"]


def training_batch(pairs: Sequence[tuple[list[int], list[int]]], pad: int, device: Any = "cpu") -> dict[str, Tensor]:
    """Return input_ids, labels, attention_mask, position_ids [R, T] of (prompt, target) pairs, padded on the right.

    The loss lies on the target and its end mark. Masks come from lengths, never from ids: pad and end are one id.
    """
    longest = max(len(prompt) + len(target) for prompt, target in pairs)
    ids = torch.full((len(pairs), longest), pad)
    labels = torch.full_like(ids, IGNORED)
    mask = torch.zeros_like(ids)
    for row, (prompt, target) in enumerate(pairs):
        end = len(prompt) + len(target)
        ids[row, :end] = torch.tensor(prompt + target)
        labels[row, len(prompt) : end] = torch.tensor(target)
        mask[row, :end] = 1
    positions = torch.arange(longest).expand_as(ids)
    batch = {"input_ids": ids, "labels": labels, "attention_mask": mask, "position_ids": positions}
    return {k: v.to(device) for k, v in batch.items()}


def decoding_batch(prompts: Sequence[list[int]], pad: int, device: Any = "cpu") -> dict[str, Tensor]:
    """Return input_ids and attention_mask [R, T], padded on the left so that all rows end where the target begins."""
    longest = max(map(len, prompts))
    ids = torch.full((len(prompts), longest), pad)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, longest - len(prompt) :] = 1
    return {"input_ids": ids.to(device), "attention_mask": mask.to(device)}
