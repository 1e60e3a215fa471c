"""How far one driver reaches: trials a second on 1, 2 and 4 nodes, and a plan of 100,000 places.

throughput: sweeps on simulated nodes (raylets on this machine, one core each): trials that do nothing (the worker of
overhead.py), and trials of eight steps on a tiny random Llama. A machine has no more cores for more nodes: small trials
gain up to its number of cores, trials that do nothing show what the driver can serve. Sizes run in turn.
places: a plan of 100,000 places, 99,000 of them finished: seconds to expand it, to open the sweep, to begin the next
100 trials and to count the store's trials by cell; and the largest memory of this process.

  python benchmarks/scale.py
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # the cluster is ours and on loopback
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from overhead import SKIPPED, Begun, Nothing
from ray.cluster_utils import Cluster

from featherbench.contracts.tiny import write_backbone
from featherbench.harness import schedule, tables
from featherbench.harness.plan import Plan, expand, place_of
from featherbench.harness.run import Sweep, run_plan
from featherbench.harness.status import overview
from featherbench.harness.store import Store, add_rows
from featherbench.harness.worker import Engine

PLAN = """
protocol: 1
name: scale
backbones: [{backbone}]
tasks: [places]
sizes: {sizes}
methods: {methods}
baselines: []
training: {{steps: 8, batch_size: 4, evaluations: 1}}
test: 4
decoding: {{beams: 1, max_new_tokens: 4}}
precision: float32
final: {{seeds: {seeds}}}
"""
METHODS = ["full_ft", "ft_top2", "adapter", "prefix", "infix", "embedding_only"]


class Ready(Nothing):
    """The worker of overhead.py with outputs to keep; it waits for no other one."""

    outputs = 32

    def __init__(self, engine: Engine, threads: int) -> None:
        self.begun = Begun(engine.scratch)


def throughput(plan: Plan, nodes: int, worker: Any) -> float:
    """Return trials a second of a sweep on a cluster of so many nodes; ten and three a worker warm it up."""
    usual = schedule.worker_class
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(nodes):
        cluster.add_node(num_cpus=1)
    ends: list[float] = []
    try:
        if worker is not None:
            import ray

            schedule.worker_class = lambda: ray.remote(worker)
        with tempfile.TemporaryDirectory() as folder:
            engine = Engine(artifacts=folder, scratch=folder)
            pool = schedule.Pool(engine=engine, address=cluster.address, num_workers=nodes, num_threads=1)
            with Sweep(plan=plan, store=Store(f"sqlite:///{folder}/store.sqlite")) as sweep:
                run_plan(sweep, lambda: pool, on_finished=lambda *_: ends.append(time.perf_counter()))
                assert set(sweep.done()) == {"ok"}, sweep.done()
    finally:
        schedule.worker_class = usual
        cluster.shutdown()
    counted = ends[3 * nodes + SKIPPED :]
    return (len(counted) - 1) / (counted[-1] - counted[0])


def fill(plan: Plan, store: Store, finished: int) -> None:
    """Write the results of so many trials, as if they had run."""
    store.add_plan(plan.id, plan.name, plan.text, [c.cell for c in plan.cells])
    everything = ((cell, number) for cell in plan.cells for number in range(cell.num_final))
    cost = {"seconds": 1.0}
    while batch := list(islice(everything, min(5000, finished))):
        finished -= len(batch)
        trials = [(cell, number, cell.trial("final", number, {})) for cell, number in batch]
        with store.transaction() as db:
            done = {"status": "ok", "cost": cost}
            add_rows(db, tables.trials, [{"id": t.id, "spec": t.model_dump(mode="json"), **done} for _, _, t in trials])
            rows = [{**place_of(cell, "final", number).model_dump(), "trial": t.id} for cell, number, t in trials]
            add_rows(db, tables.places, rows)
            attempt = {"number": 1, "started": "", "outcome": "ok", "driver": None}
            add_rows(db, tables.attempts, [{"trial": t.id, **attempt} for _, _, t in trials])


def places(total: int, finished: int) -> dict[str, Any]:
    """Measure the driver alone on a plan of so many places."""
    sizes = list(range(20, 190, 10))
    seeds = -(-total // (len(METHODS) * len(sizes)))
    text = PLAN.format(backbone="feather-3m", sizes=sizes, methods=METHODS, seeds=seeds)
    seconds: dict[str, float] = {}
    began = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal began
        seconds[name], began = round(time.perf_counter() - began, 2), time.perf_counter()

    plan = expand(text)
    lap("expand")
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{folder}/store.sqlite")
        fill(plan, store, finished)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        lap("fill")
        with Sweep(plan=plan, store=store) as sweep:
            lap("open")
            with sweep.turn():
                jobs = sweep.begin([job for _ in range(100) if (job := sweep.next_job()) is not None])
            assert len(jobs) == 100
            lap("next_100")
            assert sweep.done() == {"ok": finished, "new": sweep.total - finished}
            lap("count")
            found = overview(store)
            assert sum(c.ok for c in found.cells) == finished and sum(c.running for c in found.cells) == 100
            lap("status")
    del seconds["fill"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "places": sum(c.num_final for c in plan.cells),
        "finished": finished,
        "seconds": seconds,
        "peak_mib": {"expanded": before // 1024, "whole": peak // 1024},
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--nodes", type=int, nargs="*", default=[1, 2, 4], help="(default: 1 2 4)")
    parser.add_argument("--repeats", type=int, default=3, help="Sweeps a size (default: 3)")
    parser.add_argument("--places", type=int, default=100_000, help="10000 at least (default: 100000)")
    options = parser.parse_args()
    driver = places(options.places, options.places * 99 // 100)
    print(json.dumps(driver), file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        tiny = str(write_backbone("llama", Path(folder)))
        kinds: dict[str, tuple[Plan, Any]] = {
            "nothing": (expand(PLAN.format(backbone=tiny, sizes=[20], methods=METHODS, seeds=50)), Ready),
            "small": (expand(PLAN.format(backbone=tiny, sizes=[20], methods=METHODS, seeds=10)), None),
        }
        found: dict[str, dict[int, list[float]]] = {kind: {n: [] for n in options.nodes} for kind in kinds}
        for _ in range(options.repeats):
            for kind, (plan, worker) in kinds.items():
                for nodes in options.nodes:
                    found[kind][nodes].append(throughput(plan, nodes, worker))
                    print(kind, nodes, round(found[kind][nodes][-1], 2), file=sys.stderr)
    result = {
        "places": driver,
        "trials_per_second": {
            kind: {
                str(n): {"median": round(statistics.median(v), 2), "range": [round(min(v), 2), round(max(v), 2)]}
                for n, v in sizes.items()
            }
            for kind, sizes in found.items()
        },
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "load": round(os.getloadavg()[0], 1),
            "python": platform.python_version(),
        },
        "versions": {name: version(name) for name in ("featherbench", "ray", "torch", "sqlalchemy")},
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
