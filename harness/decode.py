"""Tuned model and sources -> predictions: beam search by our own engine, or by transformers' `generate`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import psutil
import torch
from transformers import GenerationConfig

from featherbench.harness.backbones import Backbone
from featherbench.harness.beam import COVERED, ROOM, search
from featherbench.harness.halving import in_parts
from featherbench.harness.records import DecodingSettings, Prediction
from featherbench.harness.text import Encoder, decoding_batch
from featherbench.harness.tuned import Slot, Tuned
from featherbench.harness.turns import Turns

DecodingEngine = Literal["own", "generate"]
"""`generate` is the reference, and what decodes families that our engine does not cover"""
Items = Sequence[tuple[int, str]]
"""(item, source)"""
Progress = Callable[[int, int], None]
"""(done, total)"""

GENERATE_AT_ONCE = 16
"""Inputs that `generate` decodes together where nothing else is said"""
WHERE_TOLD = 4
"""A batch that is asked for may take as many times what it would be given: half of a host's memory. On a GPU a lack of
memory can be caught, on a host it ends the process."""


def decode(
    tuned: Tuned,
    encoder: Encoder,
    items: Items,
    settings: DecodingSettings,
    batch_size: int | None = None,
    on_progress: Progress = lambda done, total: None,
    engine: DecodingEngine = "own",
) -> list[Prediction]:
    """Decode each distinct source once; items of one source share its output.

    The output is cut at the first end mark and stripped; an empty one stays empty. Sources of similar length share a
    batch, of at most batch_size inputs or as many as memory allows; neither it nor the engine changes a result beyond
    rounding.
    """
    return decode_together(tuned, [encoder], [items], settings, batch_size, on_progress, engine)[0]


def decode_together(
    tuned: Tuned,
    encoders: Sequence[Encoder],
    items: Sequence[Items],
    settings: DecodingSettings,
    batch_size: int | None = None,
    on_progress: Progress = lambda done, total: None,
    engine: DecodingEngine = "own",
    on_batched: Callable[[int, int], None] = lambda at_once, halvings: None,
) -> list[list[Prediction]]:
    """Decode the items of each slot of `tuned`, any number, as `decode` does those of one; batch_size counts them all.

    on_batched hears how many inputs were to be decoded at once, and how often that was halved because memory ran out.
    Raises: ValueError if several slots are to be decoded by `generate`, which takes one.
    """
    backbone = encoders[0].backbone
    sources = [list(dict.fromkeys(source for _, source in each)) for each in items]
    prompts = [list(encoder.prompts(each)) for encoder, each in zip(encoders, sources, strict=True)]
    if engine == "own" and backbone.anatomy.family in COVERED:
        allowed = _as_memory_allows(tuned, prompts, settings)
        at_once = min(batch_size or allowed, WHERE_TOLD * allowed)
        outputs = search(
            tuned,
            prompts,
            settings,
            end=backbone.end,
            forbidden=backbone.forbidden,
            at_once=at_once,
            on_progress=on_progress,
            on_halved=lambda halvings: on_batched(at_once, halvings),
        )
    elif len(encoders) > 1:
        raise ValueError(f"`generate` decodes one slot at a time, here are {len(encoders)}. Decode them one by one.")
    else:
        at_once = batch_size or GENERATE_AT_ONCE

        def on_halved(halvings: int) -> None:
            on_batched(at_once, halvings)

        outputs = [generate(tuned, encoders[0], prompts[0], settings, at_once, on_progress, on_halved)]
    predictions = []
    for encoder, known, ids, each in zip(encoders, sources, outputs, items, strict=True):
        texts = dict(zip(known, map(encoder.text, ids), strict=True))
        predictions.append(
            [Prediction(item=item, text=texts[source][0], truncated=texts[source][1]) for item, source in each]
        )
    return predictions


@dataclass(kw_only=True, eq=False)
class Request:
    """One slot's items to decode."""

    slot: Slot
    encoder: Encoder
    items: Items
    settings: DecodingSettings
    on_progress: Progress = lambda done, total: None
    predictions: list[Prediction] = field(default_factory=list, init=False)
    seconds: float = field(default=0.0, init=False)
    """Of decoding; what was decoded together is divided by the number of slots"""
    at_once: int = field(default=0, init=False)
    """At most as many of its inputs were to be decoded together: a matrix product rounds a row by how many there are"""
    halvings: int = field(default=0, init=False)
    """How often that was halved because memory ran out"""
    error: Exception | None = field(default=None, init=False)
    over: bool = field(default=False, init=False)

    def joins(self, other: Request, engine: DecodingEngine) -> bool:
        """Say whether both can be decoded at once."""
        covered = engine == "own" and self.encoder.backbone.anatomy.family in COVERED and not self.slot.unfrozen
        return covered and self.slot.shape == other.slot.shape and self.settings == other.settings


class Together:
    """Decodes for the trials of one backbone: who has the turn does so for all that wait and can be joined."""

    def __init__(self, turns: Turns, batch_size: int | None = None, engine: DecodingEngine = "own") -> None:
        self._turns, self._batch_size, self._engine = turns, batch_size, engine
        self._arriving = threading.Lock()
        self._waiting: list[Request] = []

    def decode(self, request: Request) -> None:
        """Fill in a request's predictions and seconds. Raises: what went wrong with this one."""
        with self._arriving:
            self._waiting.append(request)
        with self._turns:
            if not request.over:
                with self._arriving:
                    chosen = [r for r in self._waiting if r is request or r.joins(request, self._engine)]
                    self._waiting = [r for r in self._waiting if r not in chosen]
                self._serve(chosen)
        if request.error is not None:
            raise request.error

    def _serve(self, requests: list[Request]) -> None:
        began, backbone = time.monotonic(), requests[0].encoder.backbone

        def show(done: int, total: int) -> None:
            for request in requests:
                request.on_progress(done, total)

        def note(at_once: int, halvings: int) -> None:
            for request in requests:
                request.at_once, request.halvings = max(1, at_once // len(requests)), halvings

        try:
            tuned = Tuned(backbone.model, backbone.anatomy, [r.slot for r in requests]).to(backbone.model.device)
            found = decode_together(
                tuned,
                [r.encoder for r in requests],
                [r.items for r in requests],
                requests[0].settings,
                self._batch_size,
                show,
                self._engine,
                note,
            )
        except Exception as error:
            if len(requests) == 1 or isinstance(error, torch.AcceleratorError):  # else the device is lost to all
                for request in requests:
                    request.error, request.over = error, True
                return
            for request in requests:  # by itself, so that only a culprit fails
                self._serve([request])
            return
        for request, predictions in zip(requests, found, strict=True):
            request.predictions, request.over = predictions, True
            request.seconds = (time.monotonic() - began) / len(requests)


def generation_config(backbone: Backbone, settings: DecodingSettings) -> GenerationConfig:
    """Return what transformers' `generate` needs to decode as we do."""
    return GenerationConfig(
        num_beams=settings.beams,
        max_new_tokens=settings.max_new_tokens,
        min_new_tokens=settings.min_new_tokens or None,
        length_penalty=settings.length_penalty,
        do_sample=False,
        early_stopping=False,
        eos_token_id=backbone.end,
        pad_token_id=backbone.end,
        bos_token_id=backbone.end,
        decoder_start_token_id=backbone.start,
        suppress_tokens=list(backbone.forbidden) or None,
    )


@torch.no_grad()
def generate(
    tuned: Tuned,
    encoder: Encoder,
    prompts: Sequence[list[int]],
    settings: DecodingSettings,
    batch_size: int,
    on_progress: Progress = lambda done, total: None,
    on_halved: Callable[[int], None] = lambda halvings: None,
) -> list[list[int]]:
    """Return the output ids of every prompt by transformers' `generate`; on_halved as in `decode_together`."""
    backbone = encoder.backbone
    config = generation_config(backbone, settings)
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    found: dict[int, list[int]] = {}

    def take(start: int, stop: int) -> None:
        chunk = order[start:stop]
        batch = decoding_batch(
            [prompts[i] for i in chunk], backbone.end, backbone.model.device, backbone.start is not None
        )
        output = backbone.model.generate(**batch, generation_config=config)
        given = batch["input_ids"].shape[1] if backbone.start is None else 1  # what was given comes back first
        found.update(zip(chunk, output[:, given:].tolist(), strict=True))
        on_progress(len(found), len(order))

    with tuned.attached():
        on_halved(in_parts(len(order), batch_size, take))
    return [found[i] for i in range(len(prompts))]


def _as_memory_allows(tuned: Tuned, prompts: Sequence[Sequence[list[int]]], settings: DecodingSettings) -> int:
    """Return how many inputs fit into half of a GPU's free memory, or an eighth of a host's, where others run too."""
    head = tuned.backbone.get_output_embeddings().weight
    if head.device.type == "cuda":
        free = torch.cuda.mem_get_info(head.device)[0] // 2
    else:
        free = psutil.virtual_memory().available // 8
    anatomy, longest = tuned.anatomy, max((len(prompt) for each in prompts for prompt in each), default=0)
    # no beam shares a token with another, at worst
    columns = longest + settings.beams * (settings.max_new_tokens + ROOM)
    store = 2 * anatomy.num_layers * anatomy.kv_heads * anatomy.head_dim * columns * head.element_size()
    logits = 4 * settings.beams * anatomy.vocab_size * torch.float32.itemsize  # four copies at a time
    return max(1, free // (store + logits))
