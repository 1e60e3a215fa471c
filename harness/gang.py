"""A gang: the worker processes that train one trial together under DeepSpeed, placed together and replaced together.

The first one is a worker of the pool like any other. It leads: the others are its own actors, so they end with it; and it
ends where one of them dies, so that the pool sees one death of the one trial.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from typing import Any

from featherbench.harness.cluster import at
from featherbench.harness.records import Result, Trial

JOIN_SECONDS = 300.0
VERDICT_SECONDS = 10.0
"""How long a leader that failed waits to hear whether another one is the cause"""


class Gang:
    """The leader's side: runs a trial here and in the other workers. Lives in the leading worker."""

    def __init__(self, new_worker: Callable[[Any], Any], group: Any, engine: Any) -> None:
        """`new_worker` starts one of the others, given Ray's scheduling strategy for it."""
        self._engine, self._joined = engine, False
        self._others = [new_worker(at(group, number)) for number in range(1, engine.zero.workers)]

    def run(self, trial: Trial, on_progress: Callable[[str, int, int], None], with_scores: bool) -> Result:
        """Run a trial. A gang whose trial failed is of no further use: some of it may wait for ever."""
        import ray

        from featherbench.harness.worker import run_trial, spread_of

        if spread_of(trial, self._engine) is None:
            return run_trial(trial, self._engine, on_progress, with_scores)
        if not self._joined:
            self._join()
        parts = [other.follow.remote(trial.model_dump_json()) for other in self._others]
        causes: list[str] = []
        watch = threading.Thread(target=self._watch, args=(parts, causes), daemon=True)
        watch.start()
        result = run_trial(trial, self._engine, on_progress, with_scores)
        if result.status == "failed":
            watch.join(VERDICT_SECONDS)
            for other in self._others:
                ray.kill(other)
            if causes:
                result = result.model_copy(
                    update={"cause": "\n".join([*causes, f"the leading worker: {result.cause}"])}
                )
        return result

    def _join(self) -> None:
        """Make all workers one world of DeepSpeed."""
        import ray

        from featherbench.harness.deepspeed_engine import join

        workers = self._engine.zero.workers
        host = ray.util.get_node_ip_address()
        with socket.socket() as free:
            free.bind((host, 0))
            address = f"{host}:{free.getsockname()[1]}"
        joined: list[Any] = [
            other.join.remote(number, workers, address) for number, other in enumerate(self._others, 1)
        ]
        threading.Thread(target=self._watch, args=(list(joined), []), daemon=True).start()
        join(0, workers, address)
        ray.get(joined, timeout=JOIN_SECONDS)
        self._joined = True

    def _watch(self, parts: list[Any], causes: list[str]) -> None:
        """Wait for the others. If one dies, so does this process; if one fails, the rest is ended, so that nobody waits."""
        import ray
        from ray.exceptions import RayTaskError

        while parts:
            (done,), parts = ray.wait(parts, num_returns=1)
            try:
                ray.get(done)
            except RayTaskError as error:
                causes.append(f"another worker: {error.cause}")
                for other in self._others:
                    ray.kill(other)
                return
            except Exception:  # it died, and this trial's training with it
                os._exit(1)
