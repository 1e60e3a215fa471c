"""Trials an hour of a low-data grid: `featherbench run` beside one process of peft and transformers a trial (peer.py).

The grid: prefix-tuning of feather-3m on `places`, 4 sizes x 5 draws x 2 seeds; a trial has quickstart's steps and
batch, 24 test items and greedy decoding of 48 tokens. The peer validates nothing; ours cannot do without, so it has one
pair, before and after training. `--validation 0` gives it what a plan has by default, 30 % of a size. The longer a trial
trains and decodes, the less a process of its own costs: `--steps 60 --batch 8 --items 32 --beams 5` shows it.
Ours is the command itself in a fresh process, from its start to the second in which the store says that the last
score came. The peer gets the same pairs, steps, rates, prefix and decoding from a file and evaluates nothing. First,
untimed, it tries batch sizes of `generate`; then it runs a sample of the grid, spread over the sizes, one process at
a time with all threads and several at a time that share the cores: the better way counts. Both sides run in turn.
Every process finds its byte code, and what it reads of the disk, as an earlier one left them. Prints JSON. For an
idle machine: beside other work Ray's workers, which are nice, get less of it than the peer does, unless
RAY_worker_niceness=0.

  python benchmarks/grid.py                         on two cores: --workers 2 of one thread each, --micro-batch 4
  python benchmarks/grid.py --steps 60 --batch 8 --items 32 --beams 5
  python benchmarks/grid.py --validation 0
  python benchmarks/grid.py --trials 40             the peer runs the whole grid, too
  python benchmarks/grid.py --device cuda --at-once 1 4 8
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import torch

from featherbench.harness import backbones, data
from featherbench.harness.plan import Plan, read_plan
from featherbench.harness.store import Store
from featherbench.harness.tables import curves, scores, trials

SIZES, DRAWS, SEEDS = (50, 100, 200, 500), 5, 2
PLAN = """\
protocol: 1
name: grid
backbones: [feather-3m]
tasks: [places]
sizes: [{sizes}]
methods: [{{method: prefix, config: {{learning_rate: 3.0e-3}}}}]
baselines: []
final: {{draws: {draws}, seeds: {seeds}}}
training: {{batch_size: {batch}, steps: {steps}, evaluations: 1}}
{validation}test: {items}
decoding: {{beams: {beams}, max_new_tokens: 48}}
"""
PEER = Path(__file__).with_name("peer.py")


def write_plan(
    file: Path, options: argparse.Namespace, sizes: Sequence[int] = SIZES, draws: int = DRAWS, steps: int | None = None
) -> Plan:
    """Write a grid's plan and return it expanded."""
    text = PLAN.format(
        sizes=", ".join(map(str, sizes)),
        draws=draws,
        seeds=SEEDS,
        steps=steps or options.steps,
        batch=options.batch,
        beams=options.beams,
        items=options.items,
        validation=f"validation: {options.validation}\n" if options.validation else "",
    )
    file.write_text(text, encoding="utf-8")
    return read_plan(str(file))


def write_grid(file: Path, plan: Plan) -> list[tuple[int, int, int]]:
    """Write what the peer needs to know; return its trials (size, draw, seed), the sizes in turn."""
    base, backbone = plan.cells[0].base, backbones.load("feather-3m")
    grid = {
        "backbone": backbones.prepare("feather-3m"),
        "end": backbone.end,
        "forbidden": backbone.forbidden,
        "steps": base.steps,
        "learning_rate": base.learning_rate,
        "weight_decay": base.weight_decay,
        "batch_size": base.settings.batch_size,
        "clip": base.settings.clip,
        "length": base.config["length"],
        "hidden": base.config["hidden"],
        "decoding": base.decoding.model_dump(),
        "pairs": {
            str(cell.cell.size): {
                str(draw): data.pairs("places", cell.trial("final", draw * SEEDS, {}).train) for draw in range(DRAWS)
            }
            for cell in plan.cells
        },
        "test": [
            {"source": e.source, "references": e.references} for e in data.references("places", base.evaluate).values()
        ],
    }
    file.write_text(json.dumps(grid, ensure_ascii=False), encoding="utf-8")
    return [(size, n // SEEDS, base.seed + n) for n, size in product(range(DRAWS * SEEDS), SIZES)]


def environment(**changes: str) -> dict[str, str]:
    """Return this process' environment with changes; byte code is kept, nothing is looked up in a network."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", **changes}


def run(command: Sequence[str], **changes: str) -> float:
    """Run a command to its end and return its seconds.

    Raises: RuntimeError with what it said if it failed.
    """
    began = time.time()
    done = subprocess.run(command, env=environment(**changes), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"[-4000:])
    return time.time() - began


def ours(plan: Path, out: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run a plan by the command line; return its seconds and what the store holds."""
    command = [str(Path(sys.executable).with_name("featherbench")), "run", str(plan), "--out", str(out), "--json"]
    for name in ("workers", "micro_batch", "slots"):
        if (value := getattr(options, name)) is not None:
            command += [f"--{name.replace('_', '-')}", str(value)]
    began = time.time()
    whole = run(command)
    store = Store(f"sqlite:///{out / 'store.sqlite'}", create=False)
    rows = store.rows(sa.select(trials.c.finished, trials.c.cost))
    last = max(datetime.datetime.fromisoformat(row["finished"]).timestamp() for row in rows)
    # stamps are whole seconds: the one that was begun counts in full
    seconds = min(last + 1 - began, whole)
    bleu = store.rows(sa.select(scores.c.value).where((scores.c.metric == "bleu") & (scores.c.subset == "all")))
    losses = store.rows(sa.select(curves.c.value).where(curves.c.name == "train_loss"))
    return {
        "trials": len(rows),
        "seconds": seconds,
        "seconds_to_the_end_of_the_process": whole,
        "trials_per_hour": 3600 * len(rows) / seconds,
        "bleu": statistics.mean(row["value"] for row in bleu),
        "train_loss": statistics.mean(row["value"] for row in losses),
        "seconds_of_a_trial": {
            name: statistics.mean(row["cost"][f"{name}_seconds"] for row in rows) for name in ("train", "decode")
        }
        | {"all": statistics.mean(row["cost"]["seconds"] for row in rows)},
    }


class Peer:
    """Runs trials by peer.py, a process each."""

    def __init__(self, grid: Path, folder: Path, options: argparse.Namespace) -> None:
        self.grid, self.folder, self.options = grid, folder, options
        self.batch_size = 0

    def trial(self, number: int, trial: tuple[int, int, int], threads: int, batch_size: int) -> dict[str, Any]:
        """Run one trial and return what it wrote, with the seconds of the process."""
        size, draw, seed = map(str, trial)
        out = self.folder / f"{number}.json"
        command = [self.options.peer_python, str(PEER), str(self.grid), "--size", size, "--draw", draw, "--seed", seed]
        command += ["--batch-size", str(batch_size), "--device", self.options.device, "--out", str(out)]
        seconds = run(command, OMP_NUM_THREADS=str(threads))
        found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        found["seconds"]["all"] = seconds
        return found

    def choose_batch_size(self, trial: tuple[int, int, int]) -> dict[int, float]:
        """Keep the batch size of `generate` that decodes fastest; return all that were tried with their seconds."""
        sizes, cores = self.options.batch_sizes, os.cpu_count() or 1
        self.trial(0, trial, cores, sizes[0])  # byte code, disk
        tried = {size: self.trial(0, trial, cores, size)["seconds"]["decode"] for size in sizes}
        self.batch_size = min(tried, key=lambda size: tried[size])
        return tried

    def run(self, sample: Sequence[tuple[int, int, int]], at_once: int) -> dict[str, Any]:
        """Run trials, so many processes at a time."""
        threads = max(1, (os.cpu_count() or 1) // at_once)
        began = time.time()
        with ThreadPoolExecutor(at_once) as starters:
            found = list(
                starters.map(
                    lambda numbered: self.trial(numbered[0], numbered[1], threads, self.batch_size), enumerate(sample)
                )
            )
        seconds = time.time() - began
        each = {name: [one["seconds"][name] for one in found] for name in ("load", "train", "decode", "score", "all")}
        inside = [sum(one["seconds"][name] for name in each if name != "all") for one in found]
        each["start_imports_and_end"] = [whole - part for whole, part in zip(each["all"], inside, strict=True)]
        return {
            "trials": len(sample),
            "processes_at_once": at_once,
            "threads_a_process": threads,
            "seconds": seconds,
            "trials_per_hour": 3600 * len(sample) / seconds,
            "bleu": statistics.mean(one["bleu"] for one in found),
            "train_loss": statistics.mean(one["train_loss"] for one in found),
            "trained_parameters": found[0]["trained_parameters"],
            "seconds_of_a_trial": {name: statistics.mean(values) for name, values in each.items()},
        }


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Return median and range."""
    return {
        "median": round(statistics.median(values), 2),
        "range": [round(min(values), 2), round(max(values), 2)],
    }


def rounded(content: Any) -> Any:
    """Return content with its floats rounded to two places."""
    if isinstance(content, dict):
        return {key: rounded(value) for key, value in content.items()}
    return round(content, 2) if isinstance(content, float) else content


def compare(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Run both sides in turn."""
    plan = write_plan(folder / "grid.yaml", options)
    sample = write_grid(folder / "grid.json", plan)[: options.trials]
    write_plan(folder / "first.yaml", options, SIZES[:1], draws=1, steps=1)
    ours(folder / "first.yaml", folder / "first", options)  # byte code, disk
    peer = Peer(folder / "grid.json", folder, options)
    tried = peer.choose_batch_size(sample[0])
    own: list[dict[str, Any]] = []
    ways: dict[int, list[dict[str, Any]]] = {n: [] for n in options.at_once}
    for repeat in range(options.repeats):
        own.append(ours(folder / "grid.yaml", folder / f"run{repeat}", options))
        print("ours", json.dumps(rounded(own[-1])), file=sys.stderr)
        for n, found in ways.items():
            found.append(peer.run(sample, n))
            print("peer", json.dumps(rounded(found[-1])), file=sys.stderr)

    def rates(found: Sequence[dict[str, Any]]) -> list[float]:
        return [one["trials_per_hour"] for one in found]

    def ratios(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return spread([a / b for a, b in zip(rates(own), rates(found), strict=True)])

    best = max(ways, key=lambda n: statistics.median(rates(ways[n])))
    return {
        "trials_of_the_grid": own[0]["trials"],
        "peer_trials": f"{len(sample)} of the grid's, the sizes in turn; trials an hour are extrapolated from them"
        if len(sample) < own[0]["trials"]
        else "the whole grid",
        "trials_per_hour": {"ours": spread(rates(own)), "peer": spread(rates(ways[best]))},
        "ours_over_peer": ratios(ways[best]),
        "peer_processes_at_once": best,
        "ours_over_peer_by_processes_at_once": {n: ratios(found) for n, found in ways.items()},
        "bleu": {side: round(statistics.mean(r["bleu"] for r in f), 2) for side, f in both(own, ways[best])},
        "train_loss": {
            side: round(statistics.mean(r["train_loss"] for r in f), 3) for side, f in both(own, ways[best])
        },
        "generate_batch_sizes_tried": rounded(tried),
        "generate_batch_size": peer.batch_size,
        "repeats": {"ours": rounded_all(own), "peer": [one for found in ways.values() for one in rounded_all(found)]},
    }


def both(own: list[dict[str, Any]], peer: list[dict[str, Any]]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return the sides' repeats by name."""
    return [("ours", own), ("peer", peer)]


def rounded_all(found: Sequence[dict[str, Any]]) -> list[Any]:
    """Return the repeats of a side, rounded."""
    return [rounded(one) for one in found]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    cores = os.cpu_count() or 1
    parser.add_argument("--steps", type=int, default=12, help="Steps of every trial (default: quickstart's 12)")
    parser.add_argument("--batch", type=int, default=4, help="Pairs of a step (default: quickstart's 4)")
    parser.add_argument("--items", type=int, default=24, help="Test items (default: 24)")
    parser.add_argument("--beams", type=int, default=1, help="Of decoding (default: 1)")
    parser.add_argument("--validation", type=int, default=1, help="Pairs of ours (default: 1; 0: 30 %% of a size)")
    parser.add_argument("--trials", type=int, default=8, help="Trials of the peer, at most the grid's 40 (default: 8)")
    parser.add_argument("--repeats", type=int, default=2, help="Repeats of each side, in turn (default: 2)")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="Ours takes a GPU if there is one")
    parser.add_argument("--workers", type=int, help="Of ours (default: one a core on a CPU, one a GPU)")
    parser.add_argument("--micro-batch", type=int, help="Of ours (default: 4 on a CPU, else all)")
    parser.add_argument("--slots", type=int, help="Of ours, as in `featherbench run`")
    parser.add_argument(
        "--at-once", type=int, nargs="+", default=[1, 2], help="Peer processes at a time (default: 1 2)"
    )
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[8, 16, 32], help="Of `generate`, to be tried")
    parser.add_argument("--peer-python", default=sys.executable, help="Interpreter of the peer (default: this one)")
    options = parser.parse_args()
    if options.device == "cpu":
        options.workers, options.micro_batch = options.workers or cores, options.micro_batch or 4
    if (options.device == "cuda") != torch.cuda.is_available():
        parser.error(f"--device {options.device}: ours would run on the other kind of device here.")
    with tempfile.TemporaryDirectory() as folder:
        found = compare(Path(folder), options)
    result = {
        "grid": {"sizes": SIZES, "draws": DRAWS, "seeds": SEEDS}
        | {name: getattr(options, name) for name in ("steps", "batch", "items", "beams", "validation")},
        "options": {name: getattr(options, name) for name in ("workers", "micro_batch", "slots", "trials")},
        **found,
        "machine": {
            "device": torch.cuda.get_device_name() if options.device == "cuda" else "CPU",
            "processor": platform.machine(),
            "cores": cores,
            "threads_a_worker": max(1, cores // options.workers) if options.workers else None,
            "load": round(os.getloadavg()[0], 1),
            "python": platform.python_version(),
        },
        "versions": {n: version(n) for n in ("featherbench", "torch", "transformers", "peft", "accelerate", "ray")},
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
