"""Workers, nodes and drivers are killed at random while a sweep runs on a cluster: the store is a calm run's.

FEATHERBENCH_CHAOS=N kills each kind N times (`make chaos`); by default twice. FEATHERBENCH_CHAOS_SEED chooses when and whom.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from test_sweep import attempts, command, contents

from featherbench.harness.store import Store

KILLS = int(os.environ.get("FEATHERBENCH_CHAOS", "2"))
SEED = int(os.environ.get("FEATHERBENCH_CHAOS_SEED", "0"))
NODES = 3
TRIALS_A_KILL = 8

PLAN = """
protocol: 1
name: chaos
backbones: [{backbone}]
tasks: [places]
sizes: [20, 30]
methods: [full_ft, prefix, adapter, embedding_only]
baselines: []
search: {{configurations: 2}}
training: {{steps: 8, batch_size: 4, evaluations: 2}}
test: 6
decoding: {{beams: 2, max_new_tokens: 8}}
final: {{seeds: {seeds}}}
precision: float32
"""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head without cores and three nodes of one core each, on this machine."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(NODES):
        found.add_node(num_cpus=1)
    yield found
    found.shutdown()


def workers() -> list[psutil.Process]:
    """The worker processes of the cluster: below its raylets, which are children of this process."""
    family = psutil.Process().children(recursive=True)
    return [process for process in family if process.is_running() and process.name().startswith("ray::Worker")]


@pytest.mark.timeout(300 + 300 * KILLS)
def test_nothing_is_lost_nor_done_twice_whatever_is_killed(tiny_llama: str, cluster: Any, tmp_path: Path) -> None:
    seeds = -(-3 * KILLS * TRIALS_A_KILL // 8)
    plan = tmp_path / "chaos.yaml"
    plan.write_text(PLAN.format(backbone=tiny_llama, seeds=seeds))
    total = 8 * (2 + seeds)
    database = tmp_path / "out" / "store.sqlite"
    rng = random.Random(SEED)
    left, log = Counter(worker=KILLS, node=KILLS, driver=KILLS), (tmp_path / "log").open("a")

    def start() -> subprocess.Popen[bytes]:
        given = ["--address", cluster.address, "--workers", str(NODES), "--threads", "1"]
        return subprocess.Popen([*command(plan, tmp_path / "out"), *given], stdout=log, stderr=log)

    def kill(what: str) -> None:
        if what == "driver":
            driver.kill()
        elif what == "node":
            cluster.remove_node(rng.choice(sorted(cluster.worker_nodes, key=lambda n: n.unique_id)), False)
            cluster.add_node(num_cpus=1)
        else:
            rng.choice(workers()).kill()

    def finished() -> int:
        try:
            return len(Store(f"sqlite:///{database}", create=False).finished())
        except Exception:  # the driver is just creating it
            return 0

    driver, seen = start(), 0
    while True:
        time.sleep(0.2)
        if driver.poll() is not None:
            if driver.returncode == 0:
                break
            driver = start()  # the same command again
        elif left.total() and finished() >= seen + 3 and workers():  # it works: time for the next blow
            time.sleep(rng.random())
            what = rng.choice(sorted(left.elements()))
            left[what] -= 1
            kill(what)
            seen = finished()
    assert left.total() == 0, f"the sweep ended before all kills: {left}"
    kept = Store(f"sqlite:///{database}", create=False)
    assert kept.finished() and set(kept.finished().values()) == {"ok"} and len(kept.finished()) == total
    tried = attempts(kept)
    assert all(outcomes.count("ok") == 1 and outcomes[-1] == "ok" for outcomes in tried.values())
    repeated = sum(len(outcomes) for outcomes in tried.values()) - total
    assert repeated <= 3 * KILLS * NODES, "no more than what was running was repeated"
    calmly = [*command(plan, tmp_path / "calm"), "--threads", "1"]  # as many as above: sums depend on it
    calm = subprocess.run(calmly, capture_output=True, text=True, timeout=600)
    assert calm.returncode == 0, calm.stderr
    assert contents(kept) == contents(Store(f"sqlite:///{tmp_path / 'calm' / 'store.sqlite'}"))
    print(f"{total} trials, {KILLS} kills of each kind, {repeated} attempts repeated", file=sys.stderr)
