"""The README.md of an exported folder: what it holds, and the lines to type."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from featherbench.harness.catalogue import BACKBONES
from featherbench.harness.peft_form import SOURCE, laid_out
from featherbench.harness.records import Trial
from featherbench.harness.text import Encoder, source_limit


def readme(about: Mapping[str, Any], trial: Trial, encoder: Encoder) -> str:
    """Return the README.md of a folder whose `featherbench.json` is `about`."""
    licences, cite = about["licences"], about["cite"]
    scores = [s for s in about["scores"] if s["value"] is not None]
    return "\n".join(
        [
            f"# {trial.method} on {trial.backbone} for {trial.task}",
            "",
            f"Tuned by featherbench {about['featherbench']}, trial `{trial.id}`; `featherbench.json` holds the whole record.",
            "",
            f"* Backbone: {trial.backbone}, sha256 `{trial.backbone_sha256}`. Only this one will do.",
            f"* Method: {trial.method} version {trial.method_version}, {_listed(trial.config)}.",
            f"* Data: {trial.task} version {trial.task_version}, {trial.train.name}; scored on {trial.evaluate.name}.",
            f"* Input: {_input(encoder)}.",
            "",
            "## Use it",
            "",
            *_use(about["format"], trial, encoder),
            "",
            "## Scores",
            "",
            "| score | items | value | signature |",
            "| --- | --- | --- | --- |",
            *(
                f"| {s['metric']} | {s['subset']} | {s['value']:.4f} | {s['signature']} |".replace("||", "")
                for s in scores
            ),
            "",
            f"One trial with seed {trial.seed}. `featherbench rerun {trial.id} --out RUN` reproduces it.",
            "",
            "## Licences and citation",
            "",
            f"Backbone: {licences['backbone']}. Data: {licences['data']}. Both may bind what was tuned with them.",
            "",
            f"Method: {cite['method']}. Task: {cite['task']}. Measured with {cite['harness']}, trial {trial.id}.",
            "",
        ]
    )


def _listed(config: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in config.items()) or "nothing to configure"


def _input(encoder: Encoder) -> str:
    """Say which ids stand before an output."""
    parts = []
    for is_source, ids in groupby(laid_out(encoder.method, encoder.config), lambda i: i == SOURCE):
        parts.append("the input's pieces" if is_source else f"{len(list(ids))} virtual tokens")
    words = f"`{encoder.words}` and a blank in front of the input" if encoder.words else ""
    most = f"cut after {encoder.max_source_tokens} tokens" if encoder.max_source_tokens else ""
    text = "a blank in front of all, no special tokens" if encoder.backbone.start is None else "as its tokenizer has it"
    end = f"the end mark `{encoder.backbone.tokenizer.eos_token}`" if encoder.backbone.start is None else ""
    return f"{', then '.join([*parts, *([end] if end else [])])} ({', '.join(filter(None, [words, text, most]))})"


def _use(kind: str, trial: Trial, encoder: Encoder) -> list[str]:
    if kind == "safetensors":
        return [
            "With featherbench, in this folder; an input is a line as `featherbench inputs` prints it:",
            "",
            "```sh",
            f"featherbench inputs {trial.task} | head -1",
            'featherbench generate . "THAT LINE"',
            "```",
            "",
            "`delta.safetensors` holds the stored tensors, `trial.json` costs, curves' best step and predictions.",
        ]
    return [
        f"With transformers{' and peft' if kind == 'peft' else ''} alone, in this folder: inputs on stdin, one a line, as",
        f"`featherbench inputs {trial.task}` prints them; outputs on stdout. One input at a time, since padding in front",
        "would stand between what was tuned and the text.",
        "",
        "```python",
        *_snippet(kind, trial, encoder),
        "```",
        "",
        "`generation_config.json` decodes as the trial did.",
    ]


def _snippet(kind: str, trial: Trial, encoder: Encoder) -> list[str]:
    auto = "AutoModelForCausalLM" if encoder.backbone.start is None else "AutoModelForSeq2SeqLM"
    dtype = "float64" if trial.precision == "float64" else "float32"
    words = f"{encoder.words} " if encoder.words else ""
    most = source_limit(encoder.max_source_tokens, encoder.words, encoder.ids)
    peft = kind == "peft"
    known = trial.backbone in BACKBONES
    imports = ["import sys", "", "import torch"]
    imports += ["from featherbench.harness.backbones import prepare"] if peft and known else []
    imports += ["from peft import PeftModel"] if peft else []
    imports += [f"from transformers import {auto}, AutoTokenizer, GenerationConfig", ""]
    if peft:
        place = f"prepare({trial.backbone!r})  # a folder with the backbone" if known else repr(trial.backbone)
        model = [
            *(
                [f"torch.set_default_dtype(torch.{dtype})  # peft keeps prompts in the default type"]
                * (dtype == "float64")
            ),
            f"backbone = {place}",
            f'model = {auto}.from_pretrained(backbone, dtype="{dtype}")',
            'model = PeftModel.from_pretrained(model, ".").eval()',
        ]
    else:
        model = ['backbone = "."', f'model = {auto}.from_pretrained(backbone, dtype="{dtype}").eval()']
    if encoder.backbone.start is None:
        cut = f"[:{most}]" if most else ""
        text = f"{' ' + words!r} + source"
        ids = f'tokenizer({text}, add_special_tokens=False)["input_ids"]{cut} + [tokenizer.eos_token_id]'
        output = "tokenizer.decode(output[0, len(ids) :]).split(tokenizer.eos_token)[0]"
    else:
        cut = f", truncation=True, max_length={most}" if most else ""
        text = f"{words!r} + source" if words else "source"
        ids = f'tokenizer({text}{cut})["input_ids"]'
        output = "tokenizer.decode(output[0], skip_special_tokens=True)"
    return [
        *imports,
        *model,
        "tokenizer = AutoTokenizer.from_pretrained(backbone)",
        'settings = GenerationConfig.from_pretrained(".")',
        "for source in sys.stdin.read().splitlines():",
        f"    ids = {ids}",
        "    given = torch.tensor([ids])",
        "    output = model.generate(input_ids=given, attention_mask=torch.ones_like(given), generation_config=settings)",
        f"    print({output}.strip())",
    ]
