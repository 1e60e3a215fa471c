"""The README.md of an exported folder: what it holds, and the lines to type."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import groupby
from typing import Any

import jinja2

from featherbench.harness.catalogue import BACKBONES
from featherbench.harness.peft_form import SOURCE, laid_out
from featherbench.harness.records import Trial
from featherbench.harness.text import Encoder, source_limit


def readme(about: Mapping[str, Any], trial: Trial, encoder: Encoder) -> str:
    """Return the README.md of a folder whose `featherbench.json` is `about`."""
    loader = jinja2.PackageLoader("featherbench.harness", "")
    pages = jinja2.Environment(  # Markdown, so nothing is escaped
        loader=loader, trim_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined
    )
    pages.filters["string_of"] = lambda text: json.dumps(text, ensure_ascii=False)  # as Python writes it, too
    causal = encoder.backbone.start is None
    return pages.get_template("exported.md.j2").render(
        about=about,
        trial=trial,
        peft=about["format"] == "peft",
        known=trial.backbone in BACKBONES,
        causal=causal,
        auto="AutoModelForCausalLM" if causal else "AutoModelForSeq2SeqLM",
        dtype="float64" if trial.precision == "float64" else "float32",
        before=_before(encoder),
        most=source_limit(encoder.max_source_tokens, encoder.words, encoder.ids),
    )


def input_of(encoder: Encoder) -> str:
    """Say what stands before an output: the input's pieces, virtual tokens, the end mark as separator."""
    text, most = f'"{_before(encoder)}" + input', encoder.max_source_tokens
    if encoder.backbone.start is None:
        text, separator = f"the pieces of {text}", [f"the end mark {encoder.backbone.tokenizer.eos_token}"]
    else:
        text, separator = f"{text} as the tokenizer encodes it", []
    cut = f", the input cut after {most} tokens" if most else ""
    parts = []
    for is_source, ids in groupby(laid_out(encoder.method, encoder.config), lambda i: i == SOURCE):
        parts.append(text + cut if is_source else f"{len(list(ids))} virtual tokens")
    return ", then ".join([*parts, *separator])


def _before(encoder: Encoder) -> str:
    """Return what an input's text begins with: a blank in a causal model, and task words that stand in the text."""
    return (" " if encoder.backbone.start is None else "") + (f"{encoder.words} " if encoder.words else "")
