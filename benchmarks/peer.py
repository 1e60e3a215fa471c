"""One prefix trial by peft and transformers in a process of its own: what grid.py sets featherbench beside.

Written as a careful user would who runs one script a trial: tokens are made once, nothing is evaluated, logged or kept
but the outputs, and all test items are decoded in batches of like length. GRID is the file of settings, training pairs
and test items that grid.py writes; featherbench itself is not imported.

  python benchmarks/peer.py GRID --size 50 --draw 0 --seed 1000 --out trial.json
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PrefixTuningConfig, TaskType, get_peft_model
from sacrebleu.metrics.bleu import BLEU
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    Trainer,
    TrainingArguments,
    logging,
    set_seed,
)

IGNORED = -100


def collate(rows: Sequence[dict[str, list[int]]], pad: int) -> dict[str, torch.Tensor]:
    """Return input_ids, attention_mask and labels [R, T], padded on the right."""
    longest = max(len(row["input_ids"]) for row in rows)

    def padded(name: str, fill: int) -> torch.Tensor:
        return torch.tensor([row[name] + [fill] * (longest - len(row[name])) for row in rows])

    mask = torch.tensor([[1] * len(row["input_ids"]) + [0] * (longest - len(row["input_ids"])) for row in rows])
    return {"input_ids": padded("input_ids", pad), "attention_mask": mask, "labels": padded("labels", IGNORED)}


def train(model: Any, rows: list[dict[str, list[int]]], grid: dict[str, Any], options: argparse.Namespace) -> float:
    """Train the prefix and return the mean loss of all steps."""
    given = TrainingArguments(
        output_dir=str(options.out.with_suffix("")),
        max_steps=grid["steps"],
        per_device_train_batch_size=grid["batch_size"],
        learning_rate=grid["learning_rate"],
        weight_decay=grid["weight_decay"],
        lr_scheduler_type="linear",
        max_grad_norm=grid["clip"],
        seed=options.seed,
        bf16=options.device == "cuda",
        use_cpu=options.device == "cpu",
        dataloader_pin_memory=options.device == "cuda",
        remove_unused_columns=False,
        eval_strategy="no",
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    trainer = Trainer(
        model=model, args=given, train_dataset=rows, data_collator=lambda batch: collate(batch, grid["end"])
    )
    return float(trainer.train().training_loss)


def decode(model: Any, prompts: list[list[int]], grid: dict[str, Any], batch_size: int) -> list[list[int]]:
    """Return each prompt's output ids, cut at the first end mark."""
    config = GenerationConfig(
        num_beams=grid["decoding"]["beams"],
        max_new_tokens=grid["decoding"]["max_new_tokens"],
        length_penalty=grid["decoding"]["length_penalty"],
        do_sample=False,
        early_stopping=False,
        eos_token_id=grid["end"],
        pad_token_id=grid["end"],
        suppress_tokens=grid["forbidden"] or None,
    )
    found: dict[int, list[int]] = {}
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        longest = max(len(prompts[i]) for i in chosen)
        ids = torch.tensor([[grid["end"]] * (longest - len(prompts[i])) + prompts[i] for i in chosen])
        mask = torch.tensor([[0] * (longest - len(prompts[i])) + [1] * len(prompts[i]) for i in chosen])
        outputs = model.generate(
            input_ids=ids.to(model.device), attention_mask=mask.to(model.device), generation_config=config
        )
        for i, output in zip(chosen, outputs[:, longest:].tolist(), strict=True):
            found[i] = output[: output.index(grid["end"])] if grid["end"] in output else output
    return [found[i] for i in range(len(prompts))]


def bleu(outputs: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Return lower-cased corpus BLEU over all references."""
    streams: Any = [
        [refs[i] if i < len(refs) else None for refs in references] for i in range(max(map(len, references)))
    ]
    return float(BLEU(tokenize="13a", lowercase=True, force=True).corpus_score(list(outputs), streams).score)


def main() -> None:
    """Run one trial and write its outputs, score and seconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("grid", type=Path, metavar="GRID")
    parser.add_argument("--size", required=True, help="Training pairs, a key of GRID's pairs")
    parser.add_argument("--draw", required=True, help="Number of the draw")
    parser.add_argument("--seed", required=True, type=int)
    parser.add_argument("--out", required=True, type=Path, help="File to write")
    parser.add_argument(
        "--batch-size", type=int, default=32, help="Inputs that `generate` decodes at once (default: 32)"
    )
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    options = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    times = [time.perf_counter()]

    grid = json.loads(options.grid.read_text(encoding="utf-8"))
    tokenizer = AutoTokenizer.from_pretrained(grid["backbone"])
    bare = AutoModelForCausalLM.from_pretrained(grid["backbone"], dtype=torch.float32)
    set_seed(options.seed)
    config = PrefixTuningConfig(
        task_type=TaskType.CAUSAL_LM,
        num_virtual_tokens=grid["length"],
        prefix_projection=True,
        encoder_hidden_size=grid["hidden"],
    )
    model = get_peft_model(bare, config).to(options.device)

    def ids(texts: Sequence[str]) -> list[list[int]]:
        return list(tokenizer(list(texts), add_special_tokens=False)["input_ids"])

    def prompts(sources: Sequence[str]) -> list[list[int]]:
        return [[*source, grid["end"]] for source in ids([f" {source}" for source in sources])]

    sources, targets = zip(*grid["pairs"][options.size][options.draw], strict=True)
    rows = [
        {"input_ids": prompt + target, "labels": [IGNORED] * len(prompt) + target}
        for prompt, target in zip(prompts(sources), ([*t, grid["end"]] for t in ids(targets)), strict=True)
    ]
    times.append(time.perf_counter())
    loss = train(model, rows, grid, options)
    times.append(time.perf_counter())
    test = grid["test"]
    outputs = decode(model.eval(), prompts([item["source"] for item in test]), grid, options.batch_size)
    texts = [text.strip() for text in tokenizer.batch_decode(outputs)]
    times.append(time.perf_counter())
    score = bleu(texts, [item["references"] for item in test])
    times.append(time.perf_counter())

    names = ("load", "train", "decode", "score")
    result = {
        "size": options.size,
        "draw": options.draw,
        "seed": options.seed,
        "bleu": score,
        "train_loss": loss,
        "trained_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "seconds": {name: after - before for name, before, after in zip(names, times, times[1:], strict=False)},
        "outputs": texts,
    }
    options.out.write_text(json.dumps(result, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main()
