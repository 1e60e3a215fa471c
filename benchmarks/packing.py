"""Packed training beside the same trials alone, and a step of ours beside a step of peft's.

equality: K prefix runs of other lengths, rates, data and ends share a pack; some join later, one diverges, one fails.
Each is trained alone as well; printed is the largest relative gap of training and validation losses, and whether the
decoded texts are the same.
step: the training step of one prefix trial by this package and by peft's PrefixTuningConfig with torch's AdamW: one
backbone, one batch, MLP of one width, one thread count. Steps run in turn; printed are seconds and peft over ours.
pack: the same for K trials that share a step, each with a batch of its own: peft's step over ours divided by K; and which
share of the device's measured peak (a product of two large matrices in the same precision) the FLOPs of those steps are.

  python benchmarks/packing.py
  MALLOC_ARENA_MAX=1 python benchmarks/packing.py --slots 8 32 --repeats 0
  python benchmarks/packing.py --device cuda --slots 2 8 32
  python benchmarks/packing.py --device cuda --slots --backbone smollm2-135m --packs 8 32 --train-precision bfloat16

A tiny random Llama is enough for the equality, and 48 runs of it take some 3 GB:

  python -c "from pathlib import Path; from featherbench.contracts.tiny import write_backbone as w; w('llama', Path('DIR'))"
  MALLOC_ARENA_MAX=1 python benchmarks/packing.py --backbone DIR --slots 2 8 32 --repeats 0

On a CPU each thread that takes a turn for the pack keeps what glibc once gave it: with many slots that is many times the
memory of one step, unless there is one arena for all (3.1 instead of 6.2 GB after four steps of twelve runs in eight
slots, feather-3m in float64). A GPU has one allocator for all threads.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any

import torch
from peft import PrefixTuningConfig, TaskType, get_peft_model
from transformers import AutoModelForCausalLM

from featherbench.harness import backbones, data
from featherbench.harness.cost import keys_in_front, train_flops
from featherbench.harness.decode import decode
from featherbench.harness.records import DecodingSettings, Precision, Settings
from featherbench.harness.text import Encoder, training_batch
from featherbench.harness.train import Pack, Run, computing_in
from featherbench.harness.tuned import Tuned, new_slot
from featherbench.methods import METHODS
from featherbench.tasks.load import load

LENGTHS = (1, 5, 10, 20, 40)
DTYPES = {"float32": torch.float32, "float64": torch.float64}
DIVERGING = {"float32": 1e30, "float64": 1e150}
"""Learning rates after whose first step nothing is finite any more"""
PREFIX = METHODS["prefix"]
DECODING = DecodingSettings(beams=5, max_new_tokens=40, length_penalty=1.0)


class Trouble(Exception):
    """What the failing companion raises."""


def run_of(backbone: backbones.Backbone, number: int, slots: int, steps: int, precision: Any) -> Run:
    """Return run `number`: of five runs one diverges, one fails and one ends early; the other two are the witnesses."""

    def fail(done: int, total: int) -> None:
        if done == steps // 3:
            raise Trouble

    kind = number % 5
    config = PREFIX.config(length=LENGTHS[number % len(LENGTHS)])
    encoder = Encoder(backbone=backbone, method=PREFIX, config=config)

    def pairs(split: str, size: int) -> list[tuple[list[int], list[int]]]:
        texts = data.pairs("places", data.subset("places", split, size, f"final{number}"))
        return [(encoder.prompt(source), encoder.target(target)) for source, target in texts]

    return Run(
        slot=new_slot(PREFIX, config, backbone.anatomy, backbone.model, number),
        pairs=pairs("train", 50),
        validation=pairs("validation", 15),
        # rates at which training is no chaos: else rounding grows by itself, alone as in a pack
        learning_rate=DIVERGING[precision] if kind == 2 and slots > 2 else 1e-4 * (1 + kind),
        weight_decay=0.01,
        steps=steps // 2 if kind == 4 else steps,
        settings=Settings(batch_size=8, evaluations=4),
        seed=number,
        precision=precision,
        pad=backbone.end,
        on_progress=fail if kind == 3 else lambda done, total: None,
    )


def equality(backbone: backbones.Backbone, slots: int, steps: int, precision: Any) -> dict[str, Any]:
    """Train 3/2 as many runs as there are slots in one pack, and its witnesses alone."""
    runs = [run_of(backbone, n, slots, steps, precision) for n in range(slots + slots // 2)]
    pack = Pack(backbone.model, backbone.anatomy, slots=slots)

    def outcome(run: Run) -> str:
        try:
            state = pack.train(run)
        except Trouble:
            return "failed"
        return "diverged" if state.diverged else "ok"

    with ThreadPoolExecutor(len(runs)) as threads:
        outcomes = list(threads.map(outcome, runs))
    gap, same = 0.0, True
    witnesses = [n for n, how in enumerate(outcomes) if how == "ok"][:4]
    for n in witnesses:
        alone = run_of(backbone, n, slots, steps, precision)
        Pack(backbone.model, backbone.anatomy).train(alone)
        for a, b in zip(runs[n].state.curve, alone.state.curve, strict=True):
            if a.name.endswith("loss"):
                gap = max(gap, abs(a.value - b.value) / abs(b.value))
        texts = [text_of(backbone, run) for run in (runs[n], alone)]
        same = same and texts[0] == texts[1]
    return {
        "slots": slots,
        "outcomes": {how: outcomes.count(how) for how in sorted(set(outcomes))},
        "compared": len(witnesses),
        "largest_relative_loss_gap": gap,
        "same_text": same,
    }


def text_of(backbone: backbones.Backbone, run: Run) -> list[str]:
    """Return what a run's slot makes of four test inputs."""
    tuned = Tuned(backbone.model, backbone.anatomy, [run.slot])
    encoder = Encoder(backbone=backbone, method=PREFIX, config=run.slot.config)
    items = [(i, e.source) for i, e in enumerate(load("places", "test")[:4])]
    return [p.text for p in decode(tuned, encoder, items, DECODING)]


def steps_beside_peft(
    name: str, device: str, repeats: int, length: int, slots: int = 1, precision: Precision = "float32"
) -> dict[str, Any]:
    """Time optimiser steps of both sides in turn: ours of `slots` trials at once, peft's of the first one's batch."""
    backbone = backbones.load(name, torch.float32, device)
    config = PREFIX.config(length=length)
    encoder = Encoder(backbone=backbone, method=PREFIX, config=config)

    def batch_of(number: int) -> list[tuple[list[int], list[int]]]:
        texts = data.pairs("places", data.subset("places", "train", 50, f"final{number}"))[:8]
        return [(encoder.prompt(source), encoder.target(target)) for source, target in texts]

    batches = [batch_of(number) for number in range(slots)]
    pack = Pack(backbone.model, backbone.anatomy, slots=slots)
    pack._waiting += [
        Run(
            slot=new_slot(PREFIX, config, backbone.anatomy, backbone.model, number),
            pairs=pairs,
            validation=pairs[:1],
            learning_rate=1e-3,
            weight_decay=0.0,
            steps=10**6,
            settings=Settings(batch_size=8, evaluations=1),
            seed=number,
            precision=precision,
            pad=backbone.end,
        )
        for number, pairs in enumerate(batches)
    ]
    bare = AutoModelForCausalLM.from_pretrained(backbones.prepare(name), dtype=torch.float32).to(device)
    peft_config = PrefixTuningConfig(
        task_type=TaskType.CAUSAL_LM,
        num_virtual_tokens=length,
        prefix_projection=True,
        encoder_hidden_size=config.hidden,
    )
    theirs = get_peft_model(bare, peft_config).train()
    trained = [p for p in theirs.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, fused=True)
    batch = {k: v for k, v in training_batch(batches[0], backbone.end, device).items() if k != "position_ids"}

    def peft_step() -> None:
        with computing_in(precision, device):
            loss = theirs(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    seconds: dict[str, list[float]] = {"ours": [], "peft": []}
    for repeat in range(repeats + 3):  # three of each to warm up
        took = {"ours": timed(pack._turn, device), "peft": timed(peft_step, device)}
        if repeat >= 3:
            for side, value in took.items():
                seconds[side].append(value)
    ratio = [slots * b / a for a, b in zip(seconds["ours"], seconds["peft"], strict=True)]
    half = 1.96 * statistics.stdev(ratio) / len(ratio) ** 0.5
    lengths = [(len(prompt), len(target)) for pairs in batches for prompt, target in pairs]
    keys = keys_in_front(PREFIX, config, backbone.anatomy)
    flops = train_flops(backbone.anatomy, PREFIX, config, lengths, keys)
    peak = peak_flops(device, precision)
    return {
        "backbone": name,
        "precision": precision,
        "prefix_length": length,
        "trials_at_once": slots,
        "tokens": sum(map(sum, lengths)),
        "seconds": {side: spread(values) for side, values in seconds.items()},
        "peft_over_ours_a_trial": spread(ratio)
        | {
            "mean": round(statistics.mean(ratio), 3),
            "interval95": [round(statistics.mean(ratio) + s * half, 3) for s in (-1, 1)],
        },
        "peak_tflops": round(peak / 1e12, 3),
        "share_of_peak": round(flops * repeats / sum(seconds["ours"]) / peak, 3),
    }


def timed(step: Callable[[], Any], device: str) -> float:
    """Return the seconds of a step."""
    began = time.perf_counter()
    step()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def peak_flops(device: str, precision: Precision) -> float:
    """Return the most FLOPs a second of products of two large square matrices, of ten."""
    size = 8192 if device == "cuda" else 1024
    a, b = (torch.randn(size, size, device=device) for _ in range(2))
    with computing_in(precision, device):
        return 2 * size**3 / min(timed(lambda: a @ b, device) for _ in range(10))


def spread(values: list[float]) -> dict[str, Any]:
    """Return median and range."""
    return {"median": round(statistics.median(values), 4), "range": [round(min(values), 4), round(max(values), 4)]}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--backbone", default="feather-3m", help="(default: feather-3m)")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--slots", type=int, nargs="*", default=[2, 8], help="Numbers of slots (default: 2 8)")
    parser.add_argument("--steps", type=int, default=100, help="Steps of a run (default: 100)")
    parser.add_argument("--precisions", nargs="*", default=["float64", "float32"], choices=DTYPES)
    parser.add_argument("--repeats", type=int, default=30, help="Timed steps a side (default: 30); 0: none")
    parser.add_argument("--packs", type=int, nargs="*", default=[], help="Trials of timed packs (default: none)")
    parser.add_argument("--train-precision", default="float32", choices=["float32", "bfloat16"], help="Of timed packs")
    options = parser.parse_args()
    rows = []
    for precision in options.precisions:
        backbone = backbones.load(options.backbone, DTYPES[precision], options.device)
        for slots in options.slots:
            rows.append({"precision": precision, **equality(backbone, slots, options.steps, precision)})
            print(json.dumps(rows[-1]), file=sys.stderr)
    result = {
        "equality": rows,
        "step": [steps_beside_peft(options.backbone, options.device, options.repeats, n) for n in (5, 10)]
        if options.repeats
        else "not timed",
        "pack": [
            steps_beside_peft(
                options.backbone, options.device, options.repeats, 10, slots=many, precision=options.train_precision
            )
            for many in options.packs
        ],
        "steps": options.steps,
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name() if options.device == "cuda" else None,
            "load": round(os.getloadavg()[0], 1),
            "python": platform.python_version(),
        },
        "versions": {name: version(name) for name in ("featherbench", "torch", "transformers", "peft")},
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
