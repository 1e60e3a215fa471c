"""DeepSpeed ZeRO under the training loop: one run's weights, gradients and AdamW state spread over several processes.

Every process runs the same loop on its rows of each batch. What decides something (losses, norms, whether a checkpoint is
due) is the same bits in all of them, so they stay in step. The first process, the one that leads, keeps the best weights
and writes checkpoints; these are the plain loop's own, so a trial may go on from them in either way.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from featherbench.harness.checkpoint import Training, load_checkpoint, save_checkpoint
from featherbench.harness.frozen import Batches
from featherbench.harness.records import Precision, Settings, Zero
from featherbench.harness.text import EncodedPair
from featherbench.harness.train import computing_in
from featherbench.harness.tuned import Slot, Tuned, weights_in_place
from featherbench.harness.weights import Forward
from featherbench.harness.zero import refused
from featherbench.methods.base import Anatomy

MOMENTS = ("exp_avg", "exp_avg_sq")
MOST_BUCKET = 200_000_000
"""Gradients that are exchanged at once"""


def join(rank: int, workers: int, address: str) -> None:
    """Make this process one of the world of `workers`, which the first one opens at HOST:PORT. Once a process."""
    host, _, port = address.rpartition(":")
    os.environ |= {
        "MASTER_ADDR": host,
        "MASTER_PORT": port,
        "RANK": str(rank),
        "WORLD_SIZE": str(workers),
        "LOCAL_RANK": "0",  # Ray shows each worker its own GPU only
    }
    import deepspeed
    from deepspeed import ops

    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    # else DeepSpeed compiles a C++ exchange for CPUs: minutes, and for ever where an earlier compiler was killed
    ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(dist_backend="nccl" if torch.cuda.is_available() else "gloo", verbose=False)


class _Collapsed(nn.Module):
    """Computes a slot's stored tensors; ZeRO 3 makes the trained ones whole while this module is called."""

    def __init__(self, slot: Slot) -> None:
        super().__init__()
        self._names = list(slot.trained)
        for i, name in enumerate(self._names):
            self.register_parameter(f"trained{i}", slot.trained[name])
        self._stored = lambda trained: slot.method.stored(slot.config, trained)
        self.stored_names: list[str] = []

    def forward(self) -> tuple[Tensor, ...]:
        found = self._stored({name: getattr(self, f"trained{i}") for i, name in enumerate(self._names)})
        self.stored_names = list(found)
        return tuple(tensor.clone() for tensor in found.values())  # a trained tensor itself is emptied after the call


class _SpreadSlot(Slot):
    """A slot whose weights others hold: private ones stand in the backbone, trained ones in a module of their own."""

    def __init__(self, slot: Slot) -> None:
        super().__init__(slot.method, slot.config, {}, {})
        self.collapsed = _Collapsed(slot) if len(slot.trained) else None

    def stored(self) -> dict[str, Tensor]:
        if self.collapsed is None:
            return super().stored()
        tensors = self.collapsed()
        return dict(zip(self.collapsed.stored_names, tensors, strict=True))


class _Model(nn.Module):
    """What DeepSpeed sees: the slot and the backbone, whose weights it may take apart."""

    def __init__(self, tuned: Tuned, precision: Precision) -> None:
        super().__init__()
        self.tuned, self.backbone, self._precision = tuned, tuned.backbone, precision

    def forward(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        # DeepSpeed ends an autocast that begins outside
        with computing_in(self._precision, self.tuned.sizes.device.type):
            return self.tuned(batch)


class Spread:
    """A run's weights under ZeRO: `Weights` of harness/weights.py. The backbone is spent by it.

    DeepSpeed averages gradients over processes, so each loss counts as often as there are processes: what is left is the
    plain loop's sum over target tokens divided by their number in the whole batch.
    """

    trains = True
    own: tuple[Forward, Batches] | None = None

    def __init__(
        self,
        zero: Zero,
        backbone: Any,
        anatomy: Anatomy,
        slot: Slot,
        *,
        pad: int,
        learning_rate: float,
        weight_decay: float,
        settings: Settings,
        micro_batch: int | None,
        precision: Precision,
    ) -> None:
        """Raises: ValueError for what `refused` tells."""
        if reason := refused(zero, precision):
            raise ValueError(reason)
        self._zero, self._clip = zero, settings.clip
        self._rank, self._size = dist.get_rank(), dist.get_world_size()
        self._parameters: dict[str, Any] = dict(slot.named_parameters())  # ZeRO 3 gives them more attributes
        self._slot = slot
        self._inside = ExitStack()
        tuned = Tuned(backbone, anatomy, [_SpreadSlot(slot)])
        self._inside.enter_context(weights_in_place(backbone, slot.weights()))
        for parameter in self._parameters.values():
            parameter.requires_grad_(True)
        self._tuned, self._pad, self._precision = tuned, pad, precision
        self._optimizer: torch.optim.AdamW | None
        self._optimizer = torch.optim.AdamW(self._parameters.values(), lr=learning_rate, weight_decay=weight_decay)
        share = -(-settings.batch_size // self._size)
        self._rows = min(micro_batch or share, share)
        self._parts = -(-share // self._rows)
        self._engine: Any = None
        self._best: Mapping[str, Tensor] = {}
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    @property
    def leads(self) -> bool:
        """True in the first process."""
        return self._rank == 0

    # --- the loop's side ------------------------------------------------------------------------------------------

    def begin(self, checkpoint: Path | None) -> Training:
        """Hand the weights to DeepSpeed, as the leading process reads them from a checkpoint or as they are."""
        import deepspeed

        found, fresh = load_checkpoint(checkpoint) if checkpoint and self.leads else (None, Training())
        if found is not None:
            with torch.no_grad():
                for name, tensor in found.parameters.items():
                    self._parameters[name].copy_(tensor)
        model, config = _Model(self._tuned, self._precision), self._config()
        if self._zero.stage == 3:  # first of all, so that no GPU ever holds the whole
            deepspeed.zero.Init(module=model, config_dict_or_path=config)
            for module in model.modules():
                for name, buffer in module.named_buffers(recurse=False):
                    module._buffers[name] = buffer.to(self._device)
        # every process takes the leading one's weights
        self._engine, *_ = deepspeed.initialize(model=model, optimizer=self._optimizer, config=config)
        self.own = self._engine, Batches(self._tuned, self._pad, self._precision, in_step=True)
        training = self._told(found.training.to_json() if found else "")
        if not training:
            return fresh
        self._put_optimizer(found.optimizer if found else {}, Training.from_json(training).step)
        return found.training if found else Training.from_json(training)

    def share(self, pairs: Sequence[EncodedPair]) -> Sequence[EncodedPair]:
        """Return every so-manieth row, from this process' own number on."""
        mine = list(pairs[self._rank :: self._size])
        return mine + [(pairs[0][0], [])] * (-(-len(pairs) // self._size) - len(mine))

    def total(self, *values: float) -> list[float]:
        """Return each value summed over the processes, added in their order."""
        mine = torch.tensor(values, dtype=torch.float64, device=self._device)
        everyone = [torch.empty_like(mine) for _ in range(self._size)]
        dist.all_gather(everyone, mine)
        return torch.stack(everyone).sum(0).tolist()

    def agreed(self, yes: bool) -> bool:
        """Return what the leading process says."""
        return bool(self._told("yes" if yes else ""))

    def set_rate(self, rate: float) -> None:
        """Set AdamW's rate."""
        for group in self._engine.optimizer.param_groups:
            group["lr"] = rate

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a part; with the last one DeepSpeed exchanges, clips and uses them."""
        self._engine.backward(loss * self._size, scale_wrt_gas=False)
        self._engine.step()

    def clip(self, limit: float) -> Tensor:
        """Return the norm before clipping. DeepSpeed has clipped and moved already, or has not moved if it is not finite."""
        assert limit == self._clip
        return torch.tensor(float(self._engine.get_global_grad_norm()))

    def step(self) -> None:
        """Do nothing: DeepSpeed has moved."""

    def forget_gradients(self) -> None:
        """Drop all gradients."""
        if self._engine is not None:
            self._engine.optimizer.zero_grad()

    def copy(self) -> dict[str, Tensor]:
        """Return the whole weights, on the CPU of the leading process; nothing elsewhere."""
        from deepspeed.utils import safe_get_full_fp32_param

        return self._collected(lambda p: safe_get_full_fp32_param(p) if self._zero.stage == 3 else p.detach())

    def end(self, best: Mapping[str, Tensor]) -> None:
        """Keep the best weights for `slot`, and give up what DeepSpeed holds."""
        from deepspeed.runtime.zero import parameter_offload

        # a checkpoint of the plain loop's end has the best weights in place and no others
        self._best = best if self.agreed(bool(best)) else self.copy()
        self.own = None
        self._engine.destroy()
        self._engine = self._optimizer = None
        parameter_offload.FWD_MODULE_STACK.clear()  # it would keep every model of this process
        self._inside.close()

    def save(self, folder: Path, state: Training, seconds: float) -> None:
        """Write a checkpoint of the plain loop's form; every process has to give its part. None is written after the end."""
        if self._engine is None:
            return
        from deepspeed.utils import safe_get_full_optimizer_state as moment_of

        parameters = self.copy()
        moments = {key: self._collected(partial(moment_of, optim_state_key=key)) for key in MOMENTS}
        if self.leads:
            step = torch.tensor(float(state.step))
            optimizer = {name: {"step": step.clone(), **{k: moments[k][name] for k in MOMENTS}} for name in parameters}
            save_checkpoint(folder, state, parameters, optimizer, seconds)

    def slot(self) -> Slot:
        """Return the slot with the best weights after the end; in the leading process."""
        kinds: dict[str, dict[str, Tensor]] = {"trained": {}, "unfrozen": {}}
        for name, tensor in self._best.items():
            kind, _, rest = name.partition(".")
            kinds[kind][rest] = tensor
        unfrozen = {name.replace("/", "."): tensor for name, tensor in kinds["unfrozen"].items()}
        return Slot(self._slot.method, self._slot.config, kinds["trained"], unfrozen)

    # --- DeepSpeed's side -----------------------------------------------------------------------------------------

    def _config(self) -> dict[str, Any]:
        trained = sum(parameter.numel() for parameter in self._parameters.values())
        bucket = min(trained + trained % 2, MOST_BUCKET)
        zero: dict[str, Any] = {
            "stage": self._zero.stage,
            "reduce_bucket_size": bucket,
            "allgather_bucket_size": bucket,
        }
        if self._zero.stage == 3:
            zero["stage3_param_persistence_threshold"] = 0
        if self._zero.offload:
            zero["offload_optimizer"] = {"device": "cpu"}
        return {
            "train_micro_batch_size_per_gpu": self._rows,
            "gradient_accumulation_steps": self._parts,
            "gradient_clipping": self._clip,  # left out it would be 1
            "zero_allow_untested_optimizer": True,
            "zero_force_ds_cpu_optimizer": False,  # DeepSpeed's own would be compiled
            "steps_per_print": 10**9,
            "zero_optimization": zero,
        }

    def _told(self, text: str) -> str:
        """Return the leading process' text."""
        length = torch.tensor([len(text.encode())], device=self._device)
        dist.broadcast(length, 0)
        content = torch.zeros(int(length), dtype=torch.uint8, device=self._device)
        if self.leads:
            content.copy_(torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8) if text else content)
        if len(content):
            dist.broadcast(content, 0)
        return bytes(content.tolist()).decode()

    @torch.no_grad()
    def _collected(self, of: Callable[[Any], Tensor]) -> dict[str, Tensor]:
        """Return something of every parameter, one at a time, on the CPU of the leading process."""
        found: dict[str, Tensor] = {}
        for name, parameter in self._parameters.items():
            whole = of(parameter)
            if self.leads:
                found[name] = whole.to("cpu", copy=True)
        return found

    @torch.no_grad()
    def _put_optimizer(self, optimizer: Mapping[str, Mapping[str, Tensor]], step: int) -> None:
        """Put AdamW's state, which the leading process has whole, where each part of it belongs."""
        from deepspeed.utils import safe_set_full_optimizer_state, safe_set_local_optimizer_state

        partitions, zero = self._zero.stage == 3, self._engine.optimizer
        for flat in zero.fp32_partitioned_groups_flat if partitions else zero.single_partition_of_fp32_groups:
            zeros = {key: torch.zeros_like(flat) for key in MOMENTS}
            zero.optimizer.state[flat] = {"step": torch.tensor(float(step)), **zeros}
        if not partitions:
            zero._lazy_init_hp_params_optimizer_state()  # as after a first step
        for name, parameter in self._parameters.items():
            shape = parameter.ds_shape if partitions else parameter.shape
            for key in MOMENTS:
                whole = torch.empty(shape, device=self._device)
                if self.leads:
                    whole.copy_(optimizer[name][key])
                dist.broadcast(whole, 0)
                if partitions:
                    size = parameter.ds_tensor.numel()  # of the last process' part, zeros at the end
                    flat = nn.functional.pad(whole.flatten(), (0, size * self._size - whole.numel()))
                    part = flat[self._rank * size : (self._rank + 1) * size]
                    safe_set_local_optimizer_state(parameter, part, key)
                else:
                    safe_set_full_optimizer_state(parameter, whole, key)
