"""A Ray cluster: reaching or starting one, what each worker takes of it, and the places that it grants. Imports no torch.

One that we start lives on loopback and ends with us; one that the user gives is used as it is.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

KNOCK_SECONDS = 5.0

LOCAL_RAY = {
    "RAY_AUTH_MODE": "disabled",  # a cluster that we start on loopback; never set for an address the user gives
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # on Linux, too: the node's address is 127.0.0.1, not the network's
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
}


class ClusterError(RuntimeError):
    """Ray cannot be started or reached."""


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Be connected to the cluster of this address, or to one of our own.

    Raises: ClusterError
    """
    import ray

    environment = {
        "HF_HUB_OFFLINE": os.environ.get("HF_HUB_OFFLINE", "0"),
        "TOKENIZERS_PARALLELISM": "false",
        "TQDM_DISABLE": "1",
        **{k: v for k, v in os.environ.items() if k.startswith("FEATHERBENCH_") or k == "DS_ACCELERATOR"},
    }
    if not address:  # other machines may have other devices
        environment.setdefault("DS_ACCELERATOR", "cpu" if shutil.which("nvidia-smi") is None else "cuda")
    shared: dict[str, Any] = {
        "log_to_driver": "FEATHERBENCH_VERBOSE" in os.environ,
        "logging_level": logging.ERROR,
        "runtime_env": {"env_vars": environment},
    }
    with ExitStack() as until_the_end:
        try:
            if address:
                _knock(address)
                ray.init(address, **shared)
            else:
                until_the_end.enter_context(_local_ray())
                ray.init(
                    "local",  # else RAY_ADDRESS would name a cluster of somebody's
                    include_dashboard=False,
                    object_store_memory=150 * 2**20,
                    _temp_dir=os.path.join(tempfile.gettempdir(), "featherbench-ray"),
                    **shared,
                )
        except Exception as error:
            raise ClusterError(
                f"Ray at {address or 'this machine'}: {error}. "
                "Give the HOST:PORT that `ray start --head` printed, ray://HOST:10001, or auto."
                if address
                else f"Ray cannot start on this machine: {error}"
            ) from error
        until_the_end.callback(ray.shutdown)
        yield


@contextmanager
def _local_ray() -> Iterator[None]:
    """Set what a cluster of ours needs, where the user has set nothing, for as long as it runs."""
    from ray._private import ray_constants

    ours = {key: value for key, value in LOCAL_RAY.items() if key not in os.environ}
    os.environ.update(ours)
    before = ray_constants.ENABLE_RAY_CLUSTER  # read when Ray was imported, which may have been before
    ray_constants.ENABLE_RAY_CLUSTER = os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] == "1"
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
        for key in ours:
            os.environ.pop(key, None)


def _knock(address: str) -> None:
    """Raise OSError if nothing listens at HOST:PORT or ray://HOST:PORT; Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), KNOCK_SECONDS).close()


# --- what the workers take --------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Shares:
    """How many workers a cluster gets, and what they take of it."""

    count: int
    processes: int
    """Of a worker: more than one where DeepSpeed spreads a trial"""
    cpus: int
    """Of a process"""
    threads: int
    """That a process computes with; on a machine without GPU its cores"""
    gpus: float
    """Of a process: 0, or a part of one"""
    spare: int
    """Cores that the workers leave free"""

    @property
    def bundle(self) -> dict[str, float]:
        """What a process takes, in Ray's words."""
        return {"CPU": self.cpus, **({"GPU": self.gpus} if self.gpus else {})}


LIGHT = 20_000_000
"""Parameters below which each core gets a trial of its own; a choice for small matrices, not a measured bound"""
LIGHT_BYTES = 2**30
"""Memory of a worker with such a backbone"""


def shares(count: int | None, threads: int | None, processes: int, *, light: bool = False) -> Shares:
    """Divide the cluster as it is now. By default there is a worker for each GPU, or for each node where there is none;
    with `light` trials, for each core that has the memory.

    Raises: ClusterError if no node can ever hold a process, or all of them together do not suffice.
    """
    nodes = [node for node in nodes_now() if node.get("CPU")]
    cpus, gpus = (int(sum(node.get(kind, 0) for node in nodes)) for kind in ("CPU", "GPU"))
    workers = count or max(1, (gpus or len(nodes)) // processes)
    if light and not (count or threads or gpus) and processes == 1:
        threads = 1
        workers = sum(max(1, int(min(node["CPU"], node.get("memory", math.inf) // LIGHT_BYTES))) for node in nodes) or 1
    smallest = min((int(node["CPU"]) for node in nodes), default=0)
    here = math.ceil(workers * processes / max(1, len(nodes)))  # processes on a node
    computing = threads or max(1, smallest // here)
    each = 1 if gpus else computing
    part = 1 / math.ceil(workers * processes / gpus) if gpus and processes == 1 else 1.0 if gpus else 0.0
    spare = cpus - workers * processes * each
    wanted = Shares(count=workers, processes=processes, cpus=each, threads=computing, gpus=part, spare=spare)
    fits = any(all(node.get(kind, 0) >= amount for kind, amount in wanted.bundle.items()) for node in nodes)
    if wanted.spare < 0 or workers * processes * part > gpus or not fits:
        of = f" of {processes} processes" if processes > 1 else ""
        has = f"{cpus} CPUs" + (f" and {gpus} GPUs" if gpus else "") + f" on {len(nodes)} nodes" * (len(nodes) > 1)
        raise ClusterError(
            f"{workers} workers{of} were asked for, each {'process ' * (processes > 1)}with {shown(wanted.bundle)}; the "
            f"cluster has {has}. Give fewer with --workers or --threads{' or engine.workers' * (processes > 1)}."
        )
    return wanted


def nodes_now() -> list[dict[str, float]]:
    """Return what each living node of the cluster has in all."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def free() -> str:
    """Return what nobody has taken yet, for people."""
    import ray

    found = ray.available_resources()
    return shown({kind: found.get(kind, 0) for kind in ("CPU", "GPU")})


def shown(bundle: dict[str, float]) -> str:
    """Return resources for people."""
    return ", ".join(f"{amount:g} {kind}" for kind, amount in bundle.items())


# --- places -----------------------------------------------------------------------------------------------------------


def place(processes: int, bundle: dict[str, float]) -> Any:
    """Ask for a place for all processes of a worker, near each other."""
    from ray.util.placement_group import placement_group

    return placement_group([dict(bundle) for _ in range(processes)], strategy="PACK")


def granted(group: Any) -> str | None:
    """Return the node of a place's first process, or None while the cluster has no room for it."""
    from ray.util.placement_group import placement_group_table

    found = placement_group_table(group)
    return found["bundles_to_node_id"][0] if found["state"] == "CREATED" else None


def at(group: Any, number: int) -> Any:
    """Return Ray's scheduling strategy for the process of this number."""
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    return PlacementGroupSchedulingStrategy(placement_group=group, placement_group_bundle_index=number)


def leave(group: Any) -> None:
    """Give a place up; whoever still runs there ends."""
    from ray.util.placement_group import remove_placement_group

    remove_placement_group(group)


def is_alive(node: str) -> bool:
    """Say whether a node is still part of the cluster."""
    import ray

    return any(n["NodeID"] == node and n["Alive"] for n in ray.nodes())
