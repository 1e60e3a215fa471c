"""Pretrain feather-3m: corpus -> tokenizer -> weights, with the loss curve and the held-out perplexity of every kind.

    FEATHERBENCH_DATA=../shared/data python -m featherbench.backbones.feather_3m.pretrain [--out FOLDER] [--seed N]

About an hour on two CPU cores. It can be stopped and goes on from its last checkpoint. The training loop is the one
that trials use: full fine-tuning of a backbone that starts at random.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import math
import os
import platform
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import altair as alt
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from featherbench.backbones.feather_3m.corpus import END, SEED, SQUAD, Corpus, Document, corpus
from featherbench.harness.anatomy import anatomy_of
from featherbench.harness.records import Settings
from featherbench.harness.text import EncodedPair
from featherbench.harness.train import train, validation_loss
from featherbench.harness.tuned import ATTENTION, Tuned, new_slot
from featherbench.methods import METHODS
from featherbench.tasks import TASKS

PIECES = 2048
"""Few, so that each is met often and unknown names are spelled from pieces that are well known"""
CONTEXT = 256
"""Tokens a row of training text holds"""
POSITIONS = 1024
"""What the configuration allows; rotary positions beyond CONTEXT were never trained"""
BATCH = 16
LEARNING_RATE = 2.5e-3
WEIGHT_DECAY = 0.05
WARMUP = 100
EVALUATIONS = 20


def tokenizer_of(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE of PIECES pieces; digits stand alone, so that numbers are copied digit by digit."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    raw.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    raw.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=PIECES, special_tokens=[END], initial_alphabet=alphabet, show_progress=False),
    )
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token=END, eos_token=END)


def model_of(tok: PreTrainedTokenizerFast) -> Any:
    """Return the untrained model."""
    end = tok.vocab[END]
    config = LlamaConfig(
        vocab_size=PIECES,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=6,
        num_attention_heads=6,
        num_key_value_heads=6,
        max_position_embeddings=POSITIONS,
        tie_word_embeddings=True,
        rms_norm_eps=1e-5,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        initializer_range=0.02,
    )
    return AutoModelForCausalLM.from_config(config, attn_implementation=ATTENTION)


def rows_of(documents: Sequence[Document], tok: PreTrainedTokenizerFast, end: int) -> list[EncodedPair]:
    """Join the documents by end marks and cut them into rows; of a row, all but the first token are predicted."""
    ids = [i for encoded in tok([d.text for d in documents])["input_ids"] for i in (end, *encoded)] + [end]
    cuts = range(0, len(ids) - 1, CONTEXT)
    return [([ids[i]], ids[i + 1 : i + 1 + CONTEXT]) for i in cuts]


def held_out_losses(tuned: Tuned, texts: Corpus, tok: PreTrainedTokenizerFast, end: int) -> dict[str, dict[str, float]]:
    """Return kind -> tokens, loss in nats a token, perplexity and bits a byte of the held-out documents."""
    found = {}
    for kind in ("all", *texts.dropped):
        chosen = [d for d in texts.held_out if kind in ("all", d.kind)]
        if not chosen:
            continue
        rows = rows_of(chosen, tok, end)
        tokens = sum(len(target) for _, target in rows)
        loss = validation_loss(tuned, rows, end, "float32", BATCH)
        size = sum(len(d.text.encode()) + 1 for d in chosen)  # the end mark counts as a byte
        found[kind] = {
            "documents": len(chosen),
            "tokens": tokens,
            "loss": round(loss, 4),
            "perplexity": round(math.exp(loss), 3),
            "bits_per_byte": round(loss * tokens / size / math.log(2), 4),
        }
    return found


def pretrain(data: Path, out: Path, seed: int, steps: int | None = None) -> dict[str, Any]:
    """Write tokenizer, weights and pretraining.json to `out`; return what pretraining.json holds."""
    began = time.monotonic()
    print("reading and checking the text", flush=True)
    texts = corpus(data)
    tok = tokenizer_of([d.text for d in texts.train])
    end = tok.vocab[END]
    # documents in random order, so that a row holds several kinds
    order = torch.randperm(len(texts.train), generator=torch.Generator().manual_seed(SEED)).tolist()
    rows = rows_of([texts.train[i] for i in order], tok, end)
    watched = rows_of(texts.held_out[:: max(1, len(texts.held_out) // 600)], tok, end)
    torch.manual_seed(seed)
    model = model_of(tok)
    anatomy = anatomy_of(model.config)
    full = METHODS["full_ft"]
    tuned = Tuned(model, anatomy, [new_slot(full, full.config(), anatomy, model, seed)])
    steps = steps or len(rows) // BATCH
    print(f"{anatomy.total_parameters:,} parameters; {len(rows):,} rows of {CONTEXT} tokens; {steps} steps", flush=True)

    def show(done: int, total: int) -> None:
        if done % 20 == 0:
            left = (time.monotonic() - began) / done * (total - done) / 60
            print(f"step {done}/{total}, about {left:.0f} min left", flush=True)

    training = train(
        tuned,
        rows,
        watched,
        learning_rate=LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
        steps=steps,
        settings=Settings(batch_size=BATCH, warmup_steps=WARMUP, evaluations=EVALUATIONS),
        seed=seed,
        precision="float32",
        pad=end,
        checkpoint=out / "checkpoint",
        checkpoint_seconds=300,
        on_progress=show,
    )
    if training.diverged:
        raise SystemExit(f"diverged: {training.diverged}")
    # the weights that travel: half precision, as loaded again
    weights = {name: w.detach().half().float() for name, w in tuned.slots[0].weights().items()}
    with torch.no_grad():
        for name, parameter in tuned.slots[0].weights().items():
            parameter.copy_(weights[name])
        for name, parameter in model.named_parameters():
            parameter.copy_(weights[name])
    record = {
        "seed": seed,
        "data": {SQUAD: _sha256(data, SQUAD)} | {f.path: f.sha256 for f in TASKS["e2e"].files["train"]},
        "corpus": {"sha256": texts.sha256, "dropped": texts.dropped, "kinds": _sizes(texts)},
        "seen_tasks": {"e2e": "its training part", "e2e.paper": "the training part of e2e"},
        "parameters": anatomy.total_parameters,
        "tokens": training.tokens,
        "steps": training.step,
        "best_step": training.best_step,
        "held_out": held_out_losses(tuned, texts, tok, end),
        "curve": [
            [p.step, p.name, round(p.value, 4)]
            for p in training.curve
            if p.name == "validation_loss" or (p.name == "train_loss" and p.step % 10 == 0)
        ],
        "seconds": round(training.seconds + training.earlier_seconds),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "versions": {n: version(n) for n in ("torch", "transformers", "tokenizers")}
        | {"python": platform.python_version()},
    }
    model.half().save_pretrained(out)
    tok.save_pretrained(out)
    (out / "pretraining.json").write_text(json.dumps(record) + "\n")
    draw_curve(record, out / "loss.svg")
    return record


def draw_curve(record: dict[str, Any], path: Path) -> None:
    """Write the figure of training and held-out loss against steps."""
    names = {"train_loss": "training batch", "validation_loss": "held-out documents"}
    rows = [{"step": step, "loss": value, "of": names[name]} for step, name, value in record["curve"]]
    chart = alt.Chart(alt.Data(values=rows)).mark_line().properties(width=520, height=260)
    axes = {"x": alt.X("step:Q", title="optimiser step"), "y": alt.Y("loss:Q", title="loss, nats a token")}
    chart.encode(**axes, color=alt.Color("of:N", title=None)).save(str(path))


def _sha256(data: Path, name: str) -> str:
    return hashlib.sha256(gzip.decompress((data / name).read_bytes())).hexdigest()


def _sizes(texts: Corpus) -> dict[str, dict[str, int]]:
    return {
        kind: {
            "documents": sum(d.kind == kind for d in texts.train),
            "characters": sum(len(d.text) for d in texts.train if d.kind == kind),
        }
        for kind in texts.dropped
    }


def main() -> None:
    """Entry point of `python -m featherbench.backbones.feather_3m.pretrain`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/feather-3m"), help="folder to write to")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and of the order of the rows")
    parser.add_argument("--steps", type=int, help="optimiser steps; default: every row once")
    given = parser.parse_args()
    data = os.environ.get("FEATHERBENCH_DATA")
    if not data:
        sys.exit("set FEATHERBENCH_DATA to the folder that holds e2e/, squad/ and the other data sets")
    record = pretrain(Path(data), given.out, given.seed, given.steps)
    print(json.dumps(record["held_out"], indent=1))


if __name__ == "__main__":
    main()
