"""What a trial costs: computed FLOPs, measured peak memory, and whether seconds were measured undisturbed."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from featherbench.harness.counts import count
from featherbench.harness.records import Zero
from featherbench.methods.base import Anatomy, Method

# FLOPs are analytic, so that they do not depend on neighbours, padding or machine (PROTOCOL.md, section 2). A matrix
# product with P weights takes 2 P FLOPs a token forward, 2 P for the gradient of its input and 2 P for that of its
# weights. Attention takes 4 * context * width a token and layer forward, twice that backward. The method's own
# products (an MLP behind a prefix, an adapter's bottleneck) are left out; docs/DECISIONS.md says how large they are.


Pair = tuple[int, int]
"""Lengths in tokens of a prompt (with separator and virtual tokens) and of its target (with end mark)"""


def forward_flops(anatomy: Anatomy, pairs: Iterable[Pair], extra_keys: int = 0, future: bool = False) -> float:
    """Return the FLOPs of a forward pass over (prompt, target) pairs.

    Only positions that predict a target go through the head and through what is behind a causal model's last attention.
    Every attention sees `extra_keys` more keys than the text has. A causal kernel that skips nothing also multiplies
    with keys of the `future`.
    """
    kept = list(pairs)
    return sum(
        sum(2.0 * weights + 4.0 * attention for weights, attention, _ in blocks) + 2.0 * _head(anatomy) * target
        for (_, target), blocks in zip(kept, _blocks(anatomy, kept, extra_keys, future), strict=True)
    )


def train_flops(
    anatomy: Anatomy, method: Method, config: Any, pairs: Iterable[Pair], extra_keys: int = 0, future: bool = False
) -> float:
    """Return the FLOPs of forward and backward over (prompt, target) pairs.

    Gradients flow down to the lowest point or unfrozen weight; only unfrozen weights need weight gradients.
    """
    unfrozen = set(method.unfrozen(anatomy, config))
    lowest = min(
        [
            p.layer + (p.kind == "residual") for p in method.points(anatomy, config)
        ]  # a residual point is above its block
        + [i for i, names in enumerate(anatomy.blocks) if unfrozen & set(names)]
        + [-1 for name in unfrozen if name in anatomy.token_table]
        + [anatomy.num_layers]
    )
    head = 2.0 * _head(anatomy) * (2 if set(anatomy.token_table) <= unfrozen else 1)
    kept = list(pairs)
    total = forward_flops(anatomy, kept, extra_keys, future) + head * sum(target for _, target in kept)
    for blocks in _blocks(anatomy, kept, extra_keys, future):
        for i, (weights, attention, source_keys) in enumerate(blocks):
            if i < lowest:
                continue
            # keys and values of the source: no gradient goes on into an encoder that needs none
            total += 2.0 * (weights - (source_keys if lowest >= anatomy.encoder_layers else 0.0)) + 8.0 * attention
            if any(name in unfrozen for name in anatomy.blocks[i]):
                total += 2.0 * weights
    return total


def decode_flops(
    anatomy: Anatomy, prompts: Sequence[int], outputs: Sequence[int], extra_keys: int, beams: int = 1
) -> float:
    """Return the FLOPs of decoding with a cache: prompts and outputs are lengths in tokens, a pair for each item.

    Every beam reads a causal model's prompt; an encoder reads it once.
    """
    total, width, weights = 0.0, _attention_width(anatomy), _block_weights(anatomy)
    if anatomy.encoder_layers:
        for output, both in zip(outputs, _blocks(anatomy, zip(prompts, outputs, strict=True), extra_keys), strict=True):
            encoder, decoder = both[: anatomy.encoder_layers], both[anatomy.encoder_layers :]
            once = sum(2.0 * w + 4.0 * a for w, a, _ in encoder) + sum(2.0 * keys for *_, keys in decoder)
            each = sum(2.0 * (w - keys) + 4.0 * a for w, a, keys in decoder) + 2.0 * _head(anatomy) * output
            total += once + beams * each
        return total
    # all of a prompt goes through the last block, as if every position predicted something
    read = _blocks(anatomy, [(0, prompt) for prompt in prompts], extra_keys)
    for prompt, output, blocks in zip(prompts, outputs, read, strict=True):
        first = sum(2.0 * w + 4.0 * a for w, a, _ in blocks)
        context = prompt + output / 2 + extra_keys
        steps = (output - 1) * (2.0 * sum(weights) + 4.0 * anatomy.num_layers * context * width)
        total += beams * (first + steps + 2.0 * _head(anatomy) * output)
    return total


def keys_in_front(method: Method, config: Any, anatomy: Anatomy) -> int:
    """Return how many keys beyond the text's every attention sees."""
    in_front = any(p.kind == "attention" for p in method.points(anatomy, config))
    return getattr(config, str(method.size_field)) if in_front else 0


def _blocks(
    anatomy: Anatomy, pairs: Iterable[Pair], extra_keys: int, future: bool = False
) -> Iterator[list[tuple[float, float, float]]]:
    """Yield for each pair a list over blocks: weights x tokens, context x width x tokens, and of the first the decoder's
    products for the source's keys and values."""
    width, weights, half = _attention_width(anatomy), _block_weights(anatomy), 1.0 if future else 0.5
    if not anatomy.encoder_layers:
        behind = _weights_behind_attention(anatomy)
        for prompt, target in pairs:
            tokens = prompt + target
            products = [weight * tokens for weight in weights]
            products[-1] -= behind * prompt
            attention = (tokens * half + extra_keys) * width * tokens
            yield [(each, attention, 0.0) for each in products]
        return
    first, crossed = anatomy.encoder_layers, _cross_weights(anatomy)
    for prompt, target in pairs:
        encoder = (prompt + extra_keys) * width * prompt
        decoder = (target * half + extra_keys + prompt + extra_keys) * width * target
        yield [(weight * prompt, encoder, 0.0) for weight in weights[:first]] + [
            ((weight - cross) * target + cross * prompt, decoder, float(cross * prompt))
            for weight, cross in zip(weights[first:], crossed[first:], strict=True)
        ]


def _cross_weights(anatomy: Anatomy) -> list[int]:
    """Parameters of each block that make keys and values of the encoder's output."""
    modules = {p.layer: p.module for p in anatomy.at("cross_attention")}
    ends = (".k_proj.weight", ".v_proj.weight", ".k.weight", ".v.weight")
    return [
        sum(_matrix_size(anatomy, n) for n in names if n.startswith(f"{modules[i]}.") and n.endswith(ends))
        if i in modules
        else 0
        for i, names in enumerate(anatomy.blocks)
    ]


def _weights_behind_attention(anatomy: Anatomy) -> int:
    """Parameters of the last block that come behind its attention: its output projection and the feed-forward network."""
    attention, output = (f"{anatomy.at(name)[-1].module}." for name in ("attention", "attention_output"))
    return sum(
        _matrix_size(anatomy, name)
        for name in anatomy.blocks[-1]
        if name.startswith(output) or not name.startswith(attention)
    )


def _matrix_size(anatomy: Anatomy, name: str) -> int:
    """Parameters that take part in a matrix product; vectors and tables that are looked up do not count."""
    shape = anatomy.parameters[name]
    return torch.Size(shape).numel() if len(shape) == 2 and "relative_attention_bias" not in name else 0


def _block_weights(anatomy: Anatomy) -> list[int]:
    return [sum(_matrix_size(anatomy, name) for name in names) for names in anatomy.blocks]


def _attention_width(anatomy: Anatomy) -> int:
    """Heads times head width: the columns of the attention's output projection's input."""
    return anatomy.at("attention_output")[0].shape[0]


def _head(anatomy: Anatomy) -> int:
    return anatomy.vocab_size * anatomy.width


def training_bytes(method: Method, config: Any, anatomy: Anatomy, zero: Zero | None = None) -> int:
    """Return by estimate what training holds on each worker: float32 weights, their gradients and AdamW's state.

    Alone: 4 bytes a frozen weight, and 4 + 4 + 8 a trained one. Under ZeRO AdamW's 8 and 4 more, for DeepSpeed's own copy
    of the weights, are divided by the workers (none of them with offload); from stage 2 on so are the gradients, in
    stage 3 all weights. Activations are not in it, see FILLED.
    """
    trained = count(method, config, anatomy).trained
    private = sum(torch.Size(anatomy.parameters[name]).numel() for name in method.unfrozen(anatomy, config))
    weights, gradients, state = 4 * (anatomy.total_parameters - private + trained), 4 * trained, 8 * trained
    if zero is None:
        return weights + gradients + state
    workers, state = zero.workers, 0 if zero.offload else state + 4 * trained
    each = (
        weights / (workers if zero.stage == 3 else 1) + gradients / (workers if zero.stage > 1 else 1) + state / workers
    )
    return math.ceil(each)


FILLED = 0.6
"""The share of a GPU's memory that an estimate may fill; activations, buffers and what lies in between take the rest"""


def reset_peak(device: str) -> None:
    """Start a new measurement of peak memory, with what earlier trials left behind given back first."""
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # freed pages count as resident until glibc returns them
        Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    except (OSError, AttributeError):
        pass  # not Linux with glibc: the peak is that of the process so far


def peak_bytes(device: str) -> int:
    """Return the peak since `reset_peak`: CUDA memory, or the process' resident memory on a CPU."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device)
    try:
        status = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        import psutil

        return psutil.Process().memory_info().rss


def processor_seconds() -> tuple[float, float] | None:
    """Return for how long this process' threads have run, and for how long they could have and had to wait.

    None where the system does not tell: Linux counts both for each thread (/proc/self/task/*/schedstat, nanoseconds).
    """
    ran = waited = 0
    with contextlib.suppress(FileNotFoundError):
        for task in Path("/proc/self/task").iterdir():
            with contextlib.suppress(OSError, ValueError):  # a thread that ends meanwhile
                run, wait, _ = map(int, (task / "schedstat").read_text().split())
                ran, waited = ran + run, waited + wait
    return (ran / 1e9, waited / 1e9) if ran else None


def share_waited(before: tuple[float, float] | None, after: tuple[float, float] | None) -> float | None:
    """Return the share of waiting between two looks at `processor_seconds`; None if one of them is."""
    if before is None or after is None:
        return None
    ran, waited = (max(0.0, b - a) for a, b in zip(before, after, strict=True))
    return waited / (ran + waited) if ran + waited else 0.0
