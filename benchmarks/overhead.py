"""What the harness adds to a trial: trials that do nothing, beside Ray Tune's with actors that are used again.

Ours: the whole way of a sweep (next trial, Ray actor, result, store) with a worker that answers at once; every result is
durable in the store before it counts. Ray Tune: the same number of trials of a class Trainable that is done at its first
step, reuse_actors=True, as many at a time. Trials of both differ in their seed and return a score, and no more; beside
that stand ours with what a real trial has: a fresh low-data draw for every second one, 32 outputs and a curve to keep.
What a sweep costs once (actors, imports, Ray's own processes) is left out on both sides: actors begin once all are there
and the processors are idle, and counted is from where the tenth trial begins at its worker, so that all work for the
others is inside, to the end of the last one. Sides run in turn, each time in a process of its own. Printed as well: the
seconds of a sweep of which everything is stored already.

  python benchmarks/overhead.py
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
import ray
from ray import tune

from featherbench.harness import cluster, schedule
from featherbench.harness.plan import expand
from featherbench.harness.records import CurvePoint, Prediction, Result, ScoreValue, Trial
from featherbench.harness.run import Sweep, run_plan
from featherbench.harness.store import Store
from featherbench.harness.worker import Engine

PLAN = """
protocol: 1
name: nothing
backbones: [feather-3m]
tasks: [places]
sizes: [50]
methods: [prefix]
baselines: []
test: 32
final: {{seeds: {seeds}, draws: {draws}}}
"""


CALM_PERCENT, CALM_SECONDS = 10, 20
"""Of all processors, at most so much is busy when trials begin, if that comes within so long"""


def gather(folder: str, workers: int) -> None:
    """Return once as many actors have come here and Ray's own processes have started: none of that is counted."""
    place = Path(folder) / "gathered"
    place.mkdir(parents=True, exist_ok=True)
    (place / str(os.getpid())).touch()
    while len(come := list(place.iterdir())) < workers:
        time.sleep(0.01)
    go, deadline = Path(folder) / "go", time.monotonic() + CALM_SECONDS
    if (place / str(os.getpid())) == min(come):
        while psutil.cpu_percent(0.5) > CALM_PERCENT and time.monotonic() < deadline:
            pass
        go.touch()
    while not go.exists():
        time.sleep(0.001)


SKIPPED = 10
"""Trials that begin before counting does"""


class Begun:
    """Keeps when the first trials of a worker began."""

    def __init__(self, folder: str) -> None:
        self.folder, self.count = Path(folder), 0

    def note(self) -> None:
        """A trial begins."""
        self.count += 1
        if self.count <= SKIPPED:
            (self.folder / f"began-{os.getpid()}-{self.count}").write_text(str(time.time()))


def per_trial(ends: list[float], folder: str) -> float:
    """Return milliseconds a trial."""
    began = sorted(float(file.read_text()) for file in Path(folder).glob("began-*"))
    return 1000 * (ends[-1] - began[SKIPPED - 1]) / (len(ends) - SKIPPED)


class Nothing:
    """A worker whose trials are done at once."""

    workers = 0
    """How many there are"""
    outputs = 0
    """Of each trial"""

    def __init__(self, engine: Engine, threads: int) -> None:
        self.begun = Begun(engine.scratch)
        gather(engine.scratch, self.workers)

    def run(self, texts: list[str], scored: bool) -> tuple[list[str], None]:
        """Return made-up results."""
        return [self.made_up(Trial.model_validate_json(text)) for text in texts], None

    def made_up(self, trial: Trial) -> str:
        """Return a result with a score; with outputs also these and a curve."""
        self.begun.note()
        return Result(
            trial_id=trial.id,
            status="ok",
            scores=(ScoreValue(metric="bleu", subset="all", value=1.0, signature="none"),),
            curve=tuple(CurvePoint(step=i, name="validation_loss", value=1.0) for i in range(5 * bool(self.outputs))),
            predictions=tuple(Prediction(item=i, text="nothing " * 20, truncated=False) for i in range(self.outputs)),
        ).model_dump_json()

    def forget(self, trial_ids: list[str]) -> None:
        """Do nothing."""

    def progress(self) -> dict[str, tuple[str, int, int]]:
        """Return that nothing runs."""
        return {}


def ours(trials: int, workers: int) -> dict[str, float]:
    """Return milliseconds a trial, seconds of the sweep, and of the same one again, with Ray running already."""
    draws = trials // 2 if Nothing.outputs else 1
    plan = expand(PLAN.format(draws=draws, seeds=trials // draws))
    ends: list[float] = []
    with tempfile.TemporaryDirectory() as folder:

        def sweep() -> float:
            began = time.perf_counter()
            kept = Sweep(plan=plan, store=Store(f"sqlite:///{folder}/store.sqlite"))
            engine = Engine(artifacts=folder, scratch=folder)
            run_plan(
                kept,
                lambda: schedule.Pool(engine=engine, num_workers=workers, num_threads=1),
                on_finished=lambda *_: ends.append(time.time()),
            )
            assert kept.done() == {"ok": trials}
            return time.perf_counter() - began

        return {"whole_seconds": sweep(), "ms": per_trial(ends, folder), "again_seconds": sweep()}


class Done(tune.Trainable):
    """Ray Tune's trial that does nothing."""

    def setup(self, config: dict[str, Any], folder: str, workers: int) -> None:
        """Begin when all have begun."""
        self.begun = Begun(folder)
        gather(folder, workers)

    def step(self) -> dict[str, Any]:
        """Be done."""
        self.begun.note()
        return {"score": 1.0, "done": True}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Do nothing."""

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take another trial."""
        return True


class Ends(tune.Callback):
    """Notes when trials end."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Note it."""
        self.at.append(time.time())


def theirs(trials: int, workers: int) -> dict[str, float]:
    """Return the same of Tuner.fit."""
    ends = Ends()
    ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(Done, folder=folder, workers=workers), {"cpu": 1}),
            param_space={"seed": tune.grid_search(list(range(trials)))},
            tune_config=tune.TuneConfig(reuse_actors=True, max_concurrent_trials=workers),
            run_config=tune.RunConfig(
                storage_path=folder,
                verbose=0,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                callbacks=[ends],
            ),
        )
        began = time.perf_counter()
        found = tuner.fit()
        assert len(found) == len(ends.at) == trials and not found.errors
        took, ms = time.perf_counter() - began, per_trial(ends.at, folder)
    ray.shutdown()
    return {"whole_seconds": took, "ms": ms}


def spread(values: list[float]) -> dict[str, Any]:
    """Return median and range."""
    return {"median": round(statistics.median(values), 3), "range": [round(min(values), 3), round(max(values), 3)]}


SIDES = ("ours", "ours_with_outputs", "ray_tune")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--trials", type=int, default=200, help="Trials of the long sweep (default: 200)")
    parser.add_argument("--workers", type=int, default=2, help="Trials at a time (default: 2)")
    parser.add_argument("--repeats", type=int, default=5, help="Rounds (default: 5)")
    parser.add_argument("--side", choices=SIDES, help="Run only this, once")
    options = parser.parse_args()
    if options.side:
        os.environ |= {k: v for k, v in cluster.LOCAL_RAY.items() if k not in os.environ}
        os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
        Nothing.workers, Nothing.outputs = options.workers, 32 if options.side == "ours_with_outputs" else 0
        schedule.worker_class = lambda: ray.remote(Nothing)
        print(json.dumps((theirs if options.side == "ray_tune" else ours)(options.trials, options.workers)))
        return
    rounds: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for _ in range(options.repeats):
        for name, rows in rounds.items():
            command = [sys.executable, __file__, "--side", name]
            command += ["--trials", str(options.trials), "--workers", str(options.workers)]
            # a process for each: a second sweep of Ray Tune in one was slower than the first
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            print(name, rows[-1], file=sys.stderr)
    result = {
        "trials": options.trials,
        "workers": options.workers,
        **{name: {key: spread([row[key] for row in rows]) for key in rows[0]} for name, rows in rounds.items()},
        **{
            f"ray_tune_over_{side}": spread(
                [b["ms"] / a["ms"] for a, b in zip(rounds[side], rounds["ray_tune"], strict=True)]
            )
            for side in SIDES[:2]
        },
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "disk": Path(tempfile.gettempdir()).anchor,
            "load": round(os.getloadavg()[0], 1),
            "python": platform.python_version(),
        },
        "versions": {name: version(name) for name in ("featherbench", "ray", "sqlalchemy")},
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
