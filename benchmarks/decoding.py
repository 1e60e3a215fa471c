"""Our beam search beside transformers' `generate` at its best batch size, on the same E2E test inputs.

A method is first tuned for a few steps, so that outputs end as those of a trial do. Then `generate` decodes once with
each of a few batch sizes, and both sides run in turn. CPU seconds are printed beside the wall's: on a busy machine they
are what can be compared. Prints JSON.

  FEATHERBENCH_DATA=... python benchmarks/decoding.py                                   feather-3m, 64 inputs
  FEATHERBENCH_DATA=... python benchmarks/decoding.py --backbone smollm2-135m --steps 20
  FEATHERBENCH_DATA=... python benchmarks/decoding.py --backbone smollm2-135m --items 630 --batch-sizes 64 210 630
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import torch
import transformers

from featherbench.harness import backbones, data
from featherbench.harness.decode import DecodingEngine, decode
from featherbench.harness.records import DecodingSettings, Prediction, Settings
from featherbench.harness.text import Encoder
from featherbench.harness.train import train
from featherbench.harness.tuned import Tuned, new_slot
from featherbench.methods import METHODS
from featherbench.tasks import TASKS
from featherbench.tasks.load import load

Decoder = Callable[[DecodingEngine, int | None], list[Prediction]]


def tuned_model(name: str, method_name: str, steps: int, device: str) -> tuple[Tuned, Encoder]:
    """Return a backbone tuned on E2E by a method's defaults for some steps of 8 pairs."""
    backbone, method = backbones.load(name, device=device), METHODS[method_name]
    config = method.config()
    encoder = Encoder(backbone=backbone, method=method, config=config)

    def pairs(split: str, size: int) -> list[tuple[list[int], list[int]]]:
        texts = data.pairs("e2e", data.subset("e2e", split, size, "final0"))
        return [(encoder.prompt(source), encoder.target(target)) for source, target in texts]

    slot = new_slot(method, config, backbone.anatomy, backbone.model, 0)
    tuned = Tuned(backbone.model, backbone.anatomy, [slot]).to(device)
    if steps:
        train(
            tuned,
            pairs("train", 500),
            pairs("validation", 8),
            learning_rate=method.learning_rate,
            weight_decay=0.0,
            steps=steps,
            settings=Settings(batch_size=8, evaluations=1),
            seed=0,
            precision="float32",
            pad=backbone.end,
        )
    return tuned, encoder


def timed(run: Callable[[], list[Prediction]]) -> tuple[float, float, list[Prediction]]:
    """Return wall seconds, CPU seconds and the outputs."""
    began, cpu = time.perf_counter(), time.process_time()
    found = run()
    return time.perf_counter() - began, time.process_time() - cpu, found


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Return median and range."""
    rounded = [round(value, 2) for value in (min(values), max(values))]
    return {"median": round(statistics.median(values), 2), "range": rounded}


def beside(run: Decoder, batch_sizes: Sequence[int], repeats: int) -> dict[str, Any]:
    """Choose the batch size of `generate`, then run both sides in turn; the choosing warms both up."""
    tried = {size: timed(lambda size=size: run("generate", size))[:2] for size in batch_sizes}  # type: ignore[misc]
    by_cpu = not torch.cuda.is_available()
    best = min(tried, key=lambda size: tried[size][by_cpu])
    run("own", None)
    sides: dict[str, list[tuple[float, float, list[Prediction]]]] = {"own": [], "generate": []}
    for _ in range(repeats):
        sides["own"].append(timed(lambda: run("own", None)))
        sides["generate"].append(timed(lambda: run("generate", best)))
    ours, theirs = (sides[name][0][2] for name in ("own", "generate"))
    return {
        "generate_batch_sizes_tried": {size: [round(t, 2) for t in times] for size, times in tried.items()},
        "generate_batch_size": best,
        **{
            unit: {
                **{name: summary([run[place] for run in runs]) for name, runs in sides.items()},
                "generate_over_own": summary(
                    [theirs[place] / ours[place] for ours, theirs in zip(sides["own"], sides["generate"], strict=True)]
                ),
            }
            for place, unit in enumerate(("wall_seconds", "cpu_seconds"))
        },
        "equal_outputs": sum(a == b for a, b in zip(ours, theirs, strict=True)),
        "truncated_outputs": sum(p.truncated for p in ours),
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--backbone", default="feather-3m", help="(default: feather-3m)")
    parser.add_argument("--method", default="adapter", choices=METHODS, help="(default: adapter)")
    parser.add_argument("--steps", type=int, default=200, help="Steps of tuning before (default: 200)")
    parser.add_argument("--items", type=int, default=64, help="Inputs of E2E's test split, of 630 (default: 64)")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[8, 16, 64], help="To try (default: 8 16 64)")
    parser.add_argument("--repeats", type=int, default=3, help="Timed repeats a side (default: 3)")
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()

    device = "cuda" if torch.cuda.is_available() else "cpu"
    tuned, encoder = tuned_model(options.backbone, options.method, options.steps, device)
    examples = load("e2e", "test")
    chosen = data.subset("e2e", "test", options.items if options.items < len(examples) else None)
    items = [(item, examples[item].source) for item in data.items("e2e", chosen)]
    settings = DecodingSettings(**vars(TASKS["e2e"].decoding))
    result = {
        **vars(options),
        "items_sha256": chosen.sha256,
        "decoding": settings.model_dump(),
        **beside(
            lambda engine, size: decode(tuned, encoder, items, settings, size, engine=engine),
            options.batch_sizes,
            options.repeats,
        ),
        "machine": {
            "device": torch.cuda.get_device_name() if device == "cuda" else "CPU",
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "load": round(os.getloadavg()[0], 1),
            "python": platform.python_version(),
        },
        "versions": {name: version(name) for name in ("featherbench", "torch", "transformers")},
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
