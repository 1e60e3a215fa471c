"""Text to ids and ids to batches: the one linearisation that training, validation and decoding share.

The ids of a pair are pieces(" source"), virtual tokens where the method puts them, the end mark as separator,
pieces("target") and the end mark; joined as ids, never as a string, since tokenizers treat blanks beside special
tokens differently.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from featherbench.harness.backbones import Backbone
from featherbench.harness.tokenised import Lazily, content_of, tokenised, tokenizing
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
    folder: Path | None = None
    """Where the ids of many texts are kept for other trials; None: nowhere"""

    def prompt(self, source: str) -> list[int]:
        """Return what stands before the target: source, virtual tokens, separator."""
        return self._laid_out(self._source_ids([source])[0])

    def prompts(self, sources: Sequence[str]) -> Sequence[list[int]]:
        """Return the prompt of each source."""
        ids = self._kept(sources, self._source_ids, ["sources", self.words, self.max_source_tokens])
        return Lazily(len(ids), lambda i: self._laid_out(ids[i]))

    def target(self, text: str) -> list[int]:
        """Return the target's pieces and the end mark; for a decoder with what else its tokenizer puts around a text."""
        return self._target_ids([text])[0]

    def pairs(self, texts: Sequence[tuple[str, str]]) -> Sequence[EncodedPair]:
        """Return the prompt and the target of each (source, target)."""
        prompts = self.prompts([source for source, _ in texts])
        targets = self._kept([target for _, target in texts], self._target_ids, ["targets"])
        return Lazily(len(texts), lambda i: (prompts[i], targets[i]))

    def _kept(
        self, texts: Sequence[str], tokenise: Callable[[list[str]], list[list[int]]], about: list[Any]
    ) -> Sequence[list[int]]:
        content = content_of(self.backbone.tokenizer)
        about = [*about, content, self.backbone.start is None, self.backbone.end]
        return tokenised(texts, tokenise, about, self.folder if content else None)

    def _source_ids(self, sources: list[str]) -> list[list[int]]:
        texts = [f"{self.words} {source}" if self.words else source for source in sources]
        most = source_limit(self.max_source_tokens, self.words, self.ids)
        if self.backbone.start is not None:  # an encoder reads the text in the form that it was pretrained on
            return self._called(texts, truncation=most is not None, max_length=most)
        return [ids[:most] for ids in self._called([f" {text}" for text in texts], add_special_tokens=False)]

    def _target_ids(self, texts: list[str]) -> list[list[int]]:
        if self.backbone.start is not None:
            return self._called(text_target=texts)
        return [[*ids, self.backbone.end] for ids in self._called(texts, add_special_tokens=False)]

    def _laid_out(self, source: list[int]) -> list[int]:
        """Return the prompt of a source's ids."""
        vocabulary = self.backbone.anatomy.vocab_size

        def virtual(length: int) -> list[int]:
            return list(range(vocabulary, vocabulary + length))

        separator = [self.backbone.end] if self.backbone.start is None else []
        return [*self.method.layout(self.config, source, virtual), *separator]

    def text(self, ids: Sequence[int]) -> tuple[str, bool]:
        """Return the text of an output up to its first end mark, stripped, and whether it had none."""
        end = self.backbone.end
        kept = list(ids[: ids.index(end)] if end in ids else ids)
        return self.backbone.tokenizer.decode(
            kept, skip_special_tokens=self.backbone.start is not None
        ).strip(), end not in ids

    def ids(self, text: str) -> list[int]:
        """Return the pieces of a text, no special tokens."""
        return self._called(text, add_special_tokens=False)

    def _called(self, *given: Any, **options: Any) -> Any:
        with tokenizing:
            return self.backbone.tokenizer(*given, **options)["input_ids"]


EncodedPair = tuple[list[int], list[int]]
"""(prompt ids, target ids)"""


def training_batch(
    pairs: Sequence[EncodedPair],
    pad: int,
    device: Any = "cpu",
    start: int | None = None,
    before: Sequence[int] | None = None,
) -> dict[str, Tensor]:
    """Return the batch of (prompt, target) pairs, padded on the right; the loss lies on the target and its end mark.

    input_ids, labels, attention_mask and position_ids [R, T]. With `start`, the first id of a decoder: input_ids and
    attention_mask [R, T] of the prompts, decoder_input_ids and labels [R, U] of the targets.
    Masks come from lengths, never from ids: pad and end may be one id. `before` says how many tokens stand in front of
    each row elsewhere, so where its positions begin.
    """
    if start is not None:
        prompts, mask = _padded([prompt for prompt, _ in pairs], pad)
        labels, _ = _padded([target or [IGNORED] for _, target in pairs], IGNORED)  # as wide as what predicts them
        shifted, _ = _padded([[start, *target[:-1]] for _, target in pairs], pad)
        batch = {"input_ids": prompts, "attention_mask": mask, "decoder_input_ids": shifted, "labels": labels}
        return {k: v.to(device) for k, v in batch.items()}
    labels, _ = _padded([[IGNORED] * len(prompt) + target for prompt, target in pairs], IGNORED)
    batch = text_batch([prompt + target for prompt, target in pairs], pad, device, before)
    return batch | {"labels": labels.to(device)}


def text_batch(
    texts: Sequence[Sequence[int]],
    pad: int,
    device: Any = "cpu",
    before: Sequence[int] | None = None,
    width: int | None = None,
) -> dict[str, Tensor]:
    """Return input_ids, attention_mask and position_ids [R, T] of texts without loss, padded on the right.

    T is `width` or the length of the longest.
    """
    ids, mask = _padded(texts, pad, width=width)
    positions = torch.tensor(before or [0] * len(texts))[:, None] + torch.arange(ids.shape[1])
    batch = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
    return {k: v.to(device) for k, v in batch.items()}


def shared_source_batch(
    pairs: Sequence[EncodedPair], pad: int, device: Any = "cpu", start: int | None = None, slots: int = 1
) -> dict[str, Tensor]:
    """Return the training batch of pairs in which the references of one prompt share one row of its work.

    Causal: source_input_ids, source_attention_mask, source_position_ids [P, T'] hold each prompt but its last token,
    which predicts the target's first; the rows continue them. Encoder-decoder: input_ids, attention_mask [P, T'].
    source_rows [R] says which prompt a row continues. Rows, and so the prompts, stand sorted by slot in equal numbers.
    Where fewer than half of the rows could be spared, two passes cost more than they save: the plain batch.
    """
    kept = 0 if start is not None else 1
    own = [list(dict.fromkeys(tuple(prompt) for prompt, _ in part)) for part in _parts(pairs, slots)]
    most = max(map(len, own))
    if 2 * slots * most > len(pairs) or min(len(prompt) for prompt, _ in pairs) <= kept:
        return training_batch(pairs, pad, device, start)
    own = [prompts + prompts[-1:] * (most - len(prompts)) for prompts in own]  # slots differ: some stand twice
    rows = [
        slot * most + prompts.index(tuple(prompt))
        for slot, (prompts, part) in enumerate(zip(own, _parts(pairs, slots), strict=True))
        for prompt, _ in part
    ]
    distinct = [prompt[: len(prompt) - kept] for prompts in own for prompt in prompts]
    source = text_batch(distinct, pad, device)
    if start is not None:
        batch = training_batch(pairs, pad, device, start) | {k: source[k] for k in ("input_ids", "attention_mask")}
    else:
        before = [len(prompt) - kept for prompt, _ in pairs]
        rest = [(prompt[-kept:], target) for prompt, target in pairs]
        batch = training_batch(rest, pad, device, before=before) | {f"source_{k}": v for k, v in source.items()}
    return batch | {"source_rows": torch.tensor(rows, device=device)}


def _parts(pairs: Sequence[EncodedPair], slots: int) -> list[Sequence[EncodedPair]]:
    """Split rows that stand sorted by slot, the same number for each."""
    size = len(pairs) // slots
    return [pairs[i * size : (i + 1) * size] for i in range(slots)]


def decoding_batch(
    prompts: Sequence[list[int]], pad: int, device: Any = "cpu", encoder: bool = False
) -> dict[str, Tensor]:
    """Return input_ids and attention_mask [R, T]: for an encoder padded on the right, as in training; else on the left,
    so that all rows end where the target begins."""
    ids, mask = _padded(prompts, pad, left=not encoder)
    return {"input_ids": ids.to(device), "attention_mask": mask.to(device)}


def _padded(
    rows: Sequence[Sequence[int]], pad: int, left: bool = False, width: int | None = None
) -> tuple[Tensor, Tensor]:
    """Return ids and mask [R, T]; T is `width` or the length of the longest."""
    longest = width or max(map(len, rows))
    ids = torch.full((len(rows), longest), pad)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        place = slice(longest - len(row), longest) if left else slice(0, len(row))
        ids[i, place] = torch.tensor(row, dtype=ids.dtype)
        mask[i, place] = 1
    return ids, mask
