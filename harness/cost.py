"""What a trial costs: computed FLOPs, measured peak memory."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from featherbench.methods.base import Anatomy, Method

# FLOPs are analytic, so that they do not depend on neighbours, padding or machine (PROTOCOL.md, section 2). A matrix
# product with P weights takes 2 P FLOPs a token forward, 2 P for the gradient of its input and 2 P for that of its
# weights. Attention takes 4 * context * width a token and layer forward, twice that backward. The method's own
# products (an MLP behind a prefix, an adapter's bottleneck) are left out; docs/DECISIONS.md says how large they are.


def forward_flops(anatomy: Anatomy, tokens: int, context: float, predicted: int | None = None) -> float:
    """Return the FLOPs of a forward pass over `tokens` tokens that see `context` keys on average.

    The language-model head is computed at `predicted` positions (default: all).
    """
    attention = 4.0 * anatomy.num_layers * context * _attention_width(anatomy) * tokens
    head = 2.0 * _head(anatomy) * (tokens if predicted is None else predicted)
    return 2.0 * sum(_block_weights(anatomy)) * tokens + attention + head


def decode_flops(anatomy: Anatomy, prompts: Sequence[int], outputs: Sequence[int], extra_keys: int) -> float:
    """Return the FLOPs of decoding one beam: prompts and outputs are lengths in tokens, a pair for each item."""
    total = 0.0
    for prompt, output in zip(prompts, outputs, strict=True):
        total += forward_flops(anatomy, prompt, prompt / 2 + extra_keys, 1)
        total += forward_flops(anatomy, output - 1, prompt + output / 2 + extra_keys)
    return total


def keys_in_front(method: Method, config: Any, anatomy: Anatomy) -> int:
    """Return how many keys beyond the text's every attention sees."""
    in_front = any(p.kind == "attention" for p in method.points(anatomy, config))
    return getattr(config, str(method.size_field)) if in_front else 0


def train_flops(anatomy: Anatomy, method: Method, config: Any, tokens: int, context: float, predicted: int) -> float:
    """Return the FLOPs of forward and backward over `tokens` training tokens, `predicted` of them with a loss.

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
    weights = _block_weights(anatomy)
    above = sum(weights[max(lowest, 0) :])
    trained = sum(_matrix_size(anatomy, n) for names in anatomy.blocks for n in names if n in unfrozen)
    layers_above = anatomy.num_layers - max(lowest, 0)
    backward = 2.0 * (above + trained) * tokens + 8.0 * layers_above * context * _attention_width(anatomy) * tokens
    head = 2.0 * _head(anatomy) * predicted * (2 if set(anatomy.token_table) <= unfrozen else 1)
    return forward_flops(anatomy, tokens, context, predicted) + backward + head


def _matrix_size(anatomy: Anatomy, name: str) -> int:
    """Parameters that take part in a matrix product; vectors do not count."""
    shape = anatomy.parameters[name]
    return torch.Size(shape).numel() if len(shape) == 2 else 0


def _block_weights(anatomy: Anatomy) -> list[int]:
    return [sum(_matrix_size(anatomy, name) for name in names) for names in anatomy.blocks]


def _attention_width(anatomy: Anatomy) -> int:
    """Heads times head width: the columns of the attention's output projection's input."""
    return anatomy.at("attention_output")[0].shape[0]


def _head(anatomy: Anatomy) -> int:
    return anatomy.vocab_size * anatomy.width


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
