"""Training with frozen work done once beside the same training that computes it every step.

The backbone has the shape of SmolLM2-135M and random weights; the texts are E2E pairs in the pieces of feather-3m, one
reference a source, so that nothing is gained by references that share one. Both sides run `train` whole, building the
cache and two validation losses included, and must find the same losses. Sides run in turn. Prints JSON. Where other
programs use the processors as well, the processor seconds of one thread (OMP_NUM_THREADS=1) say more than the seconds.

  FEATHERBENCH_DATA=... python benchmarks/frozen.py
  FEATHERBENCH_DATA=... python benchmarks/frozen.py --device cuda --precision bfloat16 --pairs 400
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from featherbench.harness import backbones
from featherbench.harness.anatomy import anatomy_of
from featherbench.harness.frozen import Cache
from featherbench.harness.records import Settings
from featherbench.harness.text import EncodedPair, Encoder
from featherbench.harness.train import train
from featherbench.harness.tuned import ATTENTION, Tuned, new_slot
from featherbench.methods import METHODS
from featherbench.tasks.load import load

SHAPE = LlamaConfig(
    vocab_size=49152,
    hidden_size=576,
    intermediate_size=1536,
    num_hidden_layers=30,
    num_attention_heads=9,
    num_key_value_heads=3,
    max_position_embeddings=2048,
    tie_word_embeddings=True,
)
EPOCHS = 5
TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2}
"""By how much the losses of both sides may differ, in nats a token"""


def backbone_on(device: str) -> backbones.Backbone:
    """Return a random model of SmolLM2-135M's shape with the tokenizer of feather-3m."""
    torch.manual_seed(0)
    model: Any = AutoModelForCausalLM.from_config(SHAPE, attn_implementation=ATTENTION)
    tokenizer = backbones.shared_tokenizer("feather-3m")
    return backbones.Backbone(
        name="smollm2-135m's shape",
        model=model.to(device).eval().requires_grad_(False),
        tokenizer=tokenizer,
        anatomy=anatomy_of(SHAPE),
        end=tokenizer.eos_token_id,
        forbidden=(),
    )


class Side:
    """Trials of one method on the same pairs, with or without a cache."""

    def __init__(self, backbone: backbones.Backbone, name: str, options: argparse.Namespace) -> None:
        self.backbone, self.method, self.options = backbone, METHODS[name], options
        self.config = self.method.config()
        encoder = Encoder(backbone=backbone, method=self.method, config=self.config)
        examples = load("e2e", "train")
        chosen = random.Random(0).sample(range(len(examples)), options.pairs * 5 // 4)
        pairs = [(encoder.prompt(examples[i].source), encoder.target(examples[i].references[0])) for i in chosen]
        self.pairs: list[EncodedPair] = pairs[: options.pairs]
        self.validation: list[EncodedPair] = pairs[options.pairs :]

    def trial(self, cache: Cache | None) -> tuple[float, float, list[float]]:
        """Return the wall seconds and the processor seconds of a whole training run, and its losses."""
        backbone, device = self.backbone, torch.device(self.options.device)
        slot = new_slot(self.method, self.config, backbone.anatomy, backbone.model, 0)
        tuned = Tuned(backbone.model, backbone.anatomy, [slot])
        began, used = time.perf_counter(), time.process_time()
        state = train(
            tuned,
            self.pairs,
            self.validation,
            learning_rate=1e-4,
            weight_decay=0.0,
            steps=EPOCHS * len(self.pairs) // self.options.batch_size,
            settings=Settings(batch_size=self.options.batch_size, evaluations=1),
            seed=0,
            precision=self.options.precision,
            pad=backbone.end,
            cache=cache,
        )
        if device.type == "cuda":
            torch.cuda.synchronize()
        took, used = time.perf_counter() - began, time.process_time() - used
        return took, used, [p.value for p in state.curve if p.name.endswith("loss")]

    def lengths(self) -> dict[str, float]:
        """Return the mean numbers of tokens."""
        prompts, targets = ([len(pair[i]) for pair in self.pairs] for i in (0, 1))
        return {"prompt": round(statistics.mean(prompts), 1), "target": round(statistics.mean(targets), 1)}


def row(side: Side, repeats: int) -> dict[str, Any]:
    """Time a trial without cache, one that builds a fresh one and one that finds it built, in turn."""
    times: dict[str, dict[str, list[float]]] = {
        clock: {"plain": [], "building": [], "sharing": []} for clock in ("seconds", "processor_seconds")
    }
    gap = 0.0
    for repeat in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            cache = Cache(
                backbone_sha256="random", memory_bytes=1 << 30, folder=Path(folder), disk_bytes=side.options.disk_bytes
            )
            found = {
                "plain": side.trial(None),
                "building": side.trial(cache),
                "sharing": side.trial(cache),
            }
        for name, (took, used, losses) in found.items():
            times["seconds"][name].append(took)
            times["processor_seconds"][name].append(used)
            gap = max(gap, *(abs(a - b) for a, b in zip(losses, found["plain"][2], strict=True)))
            print(
                f"{side.method.name} {repeat + 1}/{repeats} {name}: {took:.1f} s, {used:.1f} s of processors",
                file=sys.stderr,
            )
    assert gap <= TOLERANCE[side.options.precision], f"{side.method.name}: the losses differ by {gap}"
    return {
        "mean_tokens": side.lengths(),
        "largest_gap_of_losses": gap,
        **{
            clock: {
                **{name: spread(values) for name, values in sides.items()},
                "plain_over_cached": {name: spread(values) for name, values in ratios(**sides).items()},
            }
            for clock, sides in times.items()
        },
    }


def ratios(plain: list[float], building: list[float], sharing: list[float]) -> dict[str, list[float]]:
    """Return by how much caching is faster: one trial that builds, ten of which the first builds, one that builds nothing."""
    together = list(zip(plain, building, sharing, strict=True))
    return {
        "one_trial": [p / b for p, b, _ in together],
        "ten_trials": [10 * p / (b + 9 * s) for p, b, s in together],
        "a_later_trial": [p / s for p, _, s in together],
    }


def spread(values: list[float]) -> dict[str, Any]:
    """Return median and range."""
    return {
        "median": round(statistics.median(values), 2),
        "range": [round(min(values), 2), round(max(values), 2)],
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=3, help="Timed repeats a side (default: 3)")
    parser.add_argument("--pairs", type=int, default=100, help="Training pairs (default: 100)")
    parser.add_argument("--batch-size", type=int, default=10, help="Pairs a step (default: 10)")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--disk-bytes", type=int, default=4 << 30, help="Bound of the cache's files (default: 4 GiB)")
    parser.add_argument("--rows", nargs="+", default=["ft_top2", "infix"], choices=["ft_top2", "infix"])
    options = parser.parse_args()
    backbone = backbone_on(options.device)
    result = {
        "epochs": EPOCHS,
        **{name: getattr(options, name) for name in ("pairs", "batch_size", "repeats", "device", "precision")},
        "ten_trials": "computed as ten times plain over building + nine times sharing, each repeat by itself",
        "rows": {name: row(Side(backbone, name, options), options.repeats) for name in options.rows},
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name() if options.device == "cuda" else None,
            "load": round(os.getloadavg()[0], 1),
            "python": platform.python_version(),
        },
        "versions": {name: version(name) for name in ("featherbench", "torch", "transformers")},
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
