"""Whether a plan's trials are spread over several workers by DeepSpeed ZeRO, and how; loads no DeepSpeed."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from featherbench.harness.cost import FILLED, training_bytes
from featherbench.harness.plan import CellPlan, Plan
from featherbench.harness.records import Precision, Zero
from featherbench.harness.spec import PlanError
from featherbench.harness.worker import config_of


def zero_for(plan: Plan) -> Zero | None:
    """Return what the plan's `engine` means on this machine; None: each trial trains on one worker.

    auto asks the GPUs of this machine; without any it means plain.
    Raises: PlanError if DeepSpeed cannot train the plan, or no way of it fits.
    """
    spec = plan.engine
    if spec.name == "plain":
        return None
    if spec.name == "auto":
        gpus = torch.cuda.device_count()
        each = min((torch.cuda.get_device_properties(i).total_memory for i in range(gpus)), default=0)
        zero = smallest(plan.cells, gpus, each) if gpus else None
    else:
        zero = Zero(stage=spec.stage, workers=spec.workers, offload=spec.offload)
    if zero is None:
        return None
    for precision in sorted({cell.base.precision for cell in plan.cells}):
        if reason := refused(zero, precision):
            raise PlanError(reason)
    return zero


def refused(zero: Zero, precision: Precision) -> str | None:
    """Return why DeepSpeed cannot train this way here, or None."""
    if precision == "float64":
        return "engine: DeepSpeed keeps float32 weights; say precision: float32, or engine: plain."
    return None


def smallest(cells: Sequence[CellPlan], gpus: int, gpu_bytes: int) -> Zero | None:
    """Return the way to spread a plan's trials that takes the fewest GPUs, then the lowest stage; None: one is enough.

    Raises: PlanError if all GPUs together do not hold a trial.
    """
    room = int(FILLED * gpu_bytes)

    def needed(zero: Zero | None) -> tuple[int, str]:
        """Return the bytes that the largest trial needs on each worker, and its cell."""
        found = [(training_bytes(c.method, config_of(c.base), c.anatomy, zero), c.cell.label) for c in cells]
        return max(found)

    if needed(None)[0] <= room:
        return None
    ways = [
        Zero.model_validate({"stage": stage, "workers": workers, "offload": offload, "above_bytes": room})
        for offload in (False, True)
        for workers in range(2, gpus + 1)
        for stage in (1, 2, 3)
    ]
    for zero in ways:
        if needed(zero)[0] <= room:
            return zero
    least, label = min((needed(zero) for zero in ways), default=needed(None))
    raise PlanError(
        f"engine: auto found no way to train {label}: it needs {least / 1e9:.1f} GB a GPU, {room / 1e9:.1f} GB of each of "
        f"the {gpus} here may be filled. Use more or larger GPUs, or a smaller backbone."
    )
