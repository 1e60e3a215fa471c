"""Tuned model and sources -> predictions: batched beam search with transformers' generate."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from transformers import GenerationConfig

from featherbench.harness.records import DecodingSettings, Prediction
from featherbench.harness.text import Encoder, decoding_batch
from featherbench.harness.tuned import Tuned


@torch.no_grad()
def decode(
    tuned: Tuned,
    encoder: Encoder,
    items: Sequence[tuple[int, str]],
    settings: DecodingSettings,
    batch_size: int = 16,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Prediction]:
    """Decode each distinct source once; items are (item, source), and items of one source share its output.

    The output is cut at the first end mark and stripped; an empty one stays empty. Sources of similar length share a
    batch, which changes no result beyond rounding.
    """
    backbone = encoder.backbone
    first: dict[str, int] = {}
    for item, source in items:
        first.setdefault(source, item)
    prompts = {item: encoder.prompt(source) for source, item in first.items()}
    order = sorted(prompts, key=lambda item: len(prompts[item]))
    config = GenerationConfig(
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
    found: dict[int, Prediction] = {}
    with tuned.attached():
        for start in range(0, len(order), batch_size):
            chunk = order[start : start + batch_size]
            batch = decoding_batch(
                [prompts[item] for item in chunk], backbone.end, backbone.model.device, backbone.start is not None
            )
            output = backbone.model.generate(**batch, generation_config=config)
            given = batch["input_ids"].shape[1] if backbone.start is None else 1  # what was given comes back first
            for item, row in zip(chunk, output[:, given:].tolist(), strict=True):
                text, truncated = encoder.text(row)
                found[item] = Prediction(item=item, text=text, truncated=truncated)
            on_progress(len(found), len(order))
    return [found[first[source]].model_copy(update={"item": item}) for item, source in items]
