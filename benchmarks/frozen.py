"""Training with frozen work done once beside the same training that computes it every step.

The backbone is SmolLM2-135M; `--backbone shape` takes random weights of its shape and the pieces of feather-3m, where the
model cannot be had. The texts are E2E pairs. As in a trial on all data, which is what papers give five epochs of ten
pairs a step, a source stands there with all of its references (42,061 pairs of 4,862 sources). `--references one` draws
pairs that share no source, as in a trial on little data, so that only epochs and trials repeat work.

Three trials run `train` whole, building the cache and two validation losses included, and must find the same losses: one
without a cache, one that builds it, one that finds it built. Each has a process of its own and they take turns step by
step, since a machine's speed wanders. Prints JSON. Where other programs use
the processors as well, the processor seconds of one thread (OMP_NUM_THREADS=1) say more than the seconds.

  FEATHERBENCH_DATA=... python benchmarks/frozen.py
  FEATHERBENCH_DATA=... python benchmarks/frozen.py --references one
  FEATHERBENCH_DATA=... python benchmarks/frozen.py --device cuda --precision bfloat16 --pairs 400
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from multiprocessing.connection import Connection
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
"""Of SmolLM2-135M"""
EPOCHS = 5
TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2}
"""By how much the losses of both sides may differ, in nats a token"""


def backbone_on(device: str, name: str) -> backbones.Backbone:
    """Return a backbone by its name; `shape` is a random model of SmolLM2-135M's shape with the tokenizer of feather-3m."""
    if name != "shape":
        return backbones.load(name, device=device)
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
        taken = 1 if options.references == "one" else None
        pairs: list[EncodedPair] = []
        for i in random.Random(0).sample(range(len(examples)), options.pairs * 5 // 4):  # enough, one each
            prompt = encoder.prompt(examples[i].source)
            pairs += [(prompt, encoder.target(text)) for text in examples[i].references[:taken]]
        self.pairs = pairs[: options.pairs]
        self.validation = pairs[options.pairs : options.pairs * 5 // 4]

    def trial(self, cache: Cache | None, pause: Callable[[], None]) -> list[float]:
        """Train to the end, with a pause after each step, and return the losses."""
        backbone = self.backbone
        slot = new_slot(self.method, self.config, backbone.anatomy, backbone.model, 0)
        tuned = Tuned(backbone.model, backbone.anatomy, [slot])
        state = train(
            tuned,
            self.pairs,
            self.validation,
            learning_rate=1e-5,  # at 1e-4 infix multiplies rounding by ten every ten steps, on either side
            weight_decay=0.0,
            steps=EPOCHS * len(self.pairs) // self.options.batch_size,
            settings=Settings(batch_size=self.options.batch_size, evaluations=1),
            seed=0,
            precision=self.options.precision,
            pad=backbone.end,
            cache=cache,
            on_progress=lambda done, total: pause(),
        )
        return [p.value for p in state.curve if p.name.endswith("loss")]

    def texts(self) -> dict[str, Any]:
        """Return the mean numbers of tokens, and how many distinct prompts there are."""
        prompts, targets = ([len(pair[i]) for pair in self.pairs] for i in (0, 1))
        means = {"prompt": round(statistics.mean(prompts), 1), "target": round(statistics.mean(targets), 1)}
        return {"mean_tokens": means, "sources": len({tuple(prompt) for prompt, _ in self.pairs})}


class Clock:
    """Seconds of the wall and of this process' processors, while it runs."""

    def __init__(self) -> None:
        self.seconds = self.processor_seconds = 0.0

    def start(self) -> None:
        """Go on."""
        self._began = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        """Count what is done, on a GPU as well."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.seconds += time.perf_counter() - self._began[0]
        self.processor_seconds += time.process_time() - self._began[1]


def trials(connection: Connection, name: str, cached: bool, options: argparse.Namespace) -> None:
    """Run a trial for each folder that arrives; nothing goes on but between a message that arrives and one that is sent.

    Sends None when all is loaded and for a pause, and at the end of a trial its seconds, its processor seconds, its losses
    and what the texts are.
    """
    side = Side(backbone_on(options.device, options.backbone), name, options)
    connection.send(None)
    while (folder := connection.recv()) is not None:
        cache = Cache(
            backbone_sha256=options.backbone, memory_bytes=1 << 30, folder=Path(folder), disk_bytes=options.disk_bytes
        )
        clock = Clock()

        def pause(clock: Clock = clock) -> None:
            clock.stop()
            connection.send(None)
            connection.recv()
            clock.start()

        clock.start()
        losses = side.trial(cache if cached else None, pause)
        clock.stop()
        connection.send((clock.seconds, clock.processor_seconds, losses, side.texts()))


def in_turn(sides: Mapping[str, Connection], folder: str) -> dict[str, Any]:
    """Let each side run a trial, each up to its next pause in turn; return what each sent at its end."""
    ends: dict[str, Any] = {}
    message: str | None = folder
    while len(ends) < len(sides):
        for name, connection in sides.items():
            if name not in ends:
                connection.send(message)
                if (end := connection.recv()) is not None:
                    ends[name] = end
        message = None
    return ends


def row(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Time a trial without cache, one that builds a fresh one and one that finds it built, in turn."""
    times: dict[str, dict[str, list[float]]] = {
        clock: {"plain": [], "building": [], "sharing": []} for clock in ("seconds", "processor_seconds")
    }
    gap = 0.0
    spawn = multiprocessing.get_context("spawn")
    sides: dict[str, Connection] = {}
    for side in times["seconds"]:
        sides[side], there = spawn.Pipe()
        spawn.Process(target=trials, args=(there, name, side != "plain", options), daemon=True).start()
        there.close()  # so that the end of that process is heard here
    for connection in sides.values():
        connection.recv()  # it has loaded what it needs
    for repeat in range(options.repeats):
        with tempfile.TemporaryDirectory() as folder:
            found = in_turn(sides, folder)
        for side, (seconds, processor_seconds, losses, _) in found.items():
            times["seconds"][side].append(seconds)
            times["processor_seconds"][side].append(processor_seconds)
            gap = max(gap, *(abs(a - b) for a, b in zip(losses, found["plain"][2], strict=True)))
            print(
                f"{name} {repeat + 1}/{options.repeats} {side}: {seconds:.1f} s, {processor_seconds:.1f} s of processors",
                file=sys.stderr,
            )
    for connection in sides.values():
        connection.send(None)
    assert gap <= TOLERANCE[options.precision], f"{name}: the losses differ by {gap}"
    return {
        **found["plain"][3],
        "largest_gap_of_losses": gap,
        **{
            clock: {
                **{side: spread(values) for side, values in by_side.items()},
                "plain_over_cached": {number: spread(values) for number, values in ratios(**by_side).items()},
            }
            for clock, by_side in times.items()
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
    parser.add_argument("--pairs", type=int, default=80, help="Training pairs (default: 80)")
    parser.add_argument("--backbone", default="smollm2-135m", help="A backbone, or `shape` (default: smollm2-135m)")
    parser.add_argument(
        "--references", default="all", choices=["all", "one"], help="Of a source that is drawn (default: all)"
    )
    parser.add_argument("--batch-size", type=int, default=10, help="Pairs a step (default: 10)")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--disk-bytes", type=int, default=4 << 30, help="Bound of the cache's files (default: 4 GiB)")
    parser.add_argument("--rows", nargs="+", default=["ft_top2", "infix"], choices=["ft_top2", "infix"])
    options = parser.parse_args()
    result = {
        "epochs": EPOCHS,
        **{
            name: getattr(options, name)
            for name in ("backbone", "pairs", "references", "batch_size", "repeats", "device", "precision")
        },
        "ten_trials": "computed as ten times plain over building + nine times sharing, each repeat by itself",
        "rows": {name: row(name, options) for name in options.rows},
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
