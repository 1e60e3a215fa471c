"""Parts of a causal model's forward pass: up to a block, from a block on, behind keys and values that are given.

A position's keys and values, and the states that enter a block, depend on that position and earlier ones only. So a
pass may stop where enough is known, start at an upper block, or run behind positions that were computed before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

KeysValues = tuple[Tensor, Tensor]
"""Keys and values of one layer, each [R, kv_heads, T, head_dim], keys after any rotary embedding"""


class _Reached(Exception):
    """Ends a forward pass when all that was wanted of it is known."""


@contextmanager
def keys_values_kept(attentions: Sequence[nn.Module], then_stop: bool = False) -> Iterator[list[KeysValues]]:
    """Collect every attention's keys and values, lowest layer first; `then_stop` ends the pass with the last one."""
    kept: list[KeysValues] = []

    def keep(key: Tensor, value: Tensor) -> None:
        kept.append((key, value))
        if then_stop and len(kept) == len(attentions):
            raise _Reached

    try:
        for module in attentions:
            module.__dict__["featherbench_keep"] = keep
        yield kept
    except _Reached:
        pass
    finally:
        for module in attentions:
            module.__dict__.pop("featherbench_keep", None)


@contextmanager
def keys_values_in_front(
    attentions: Sequence[nn.Module], layers: Sequence[KeysValues], visible: Tensor, rows: Tensor | None = None
) -> Iterator[None]:
    """Put keys and values in front of each row's own; visible [R, T] says which of them exist.

    With `rows` [R], row i sees those at rows[i]: rows that continue one text share its keys and values.
    """

    def in_front(layer: KeysValues) -> Any:
        def rows_of(num_rows: int) -> tuple[Tensor, Tensor, Tensor]:
            found = (*layer, visible)
            return found if rows is None else tuple(t.index_select(0, rows) for t in found)  # type: ignore[return-value]

        return rows_of

    try:
        for module, layer in zip(attentions, layers, strict=True):
            module.__dict__["featherbench_source"] = in_front(layer)
        yield
    finally:
        for module in attentions:
            module.__dict__.pop("featherbench_source", None)


@contextmanager
def hidden_kept(block: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the hidden states that enter a block, [R, T, d] or without padding [S, N, d], where the pass ends."""
    kept: list[Tensor] = []

    def stop(module: nn.Module, args: tuple[Any, ...]) -> None:
        kept.append(args[0])
        raise _Reached

    hook = block.register_forward_pre_hook(stop)
    try:
        yield kept
    except _Reached:
        pass
    finally:
        hook.remove()


@contextmanager
def started_at(backbone: nn.Module, blocks: Sequence[str], first: int, hidden: Tensor) -> Iterator[None]:
    """Leave out the blocks below `first` and let hidden states enter there, in the form that the pass has; `blocks`: names."""
    place, _, _ = blocks[first].rpartition(".")
    owner, _, name = place.rpartition(".")
    stack, parent = backbone.get_submodule(place), backbone.get_submodule(owner)
    upper = [backbone.get_submodule(block) for block in blocks[first:]]

    def enter(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (hidden, *args[1:])

    hook = upper[0].register_forward_pre_hook(enter)
    parent._modules[name] = nn.ModuleList(upper)
    try:
        yield
    finally:
        parent._modules[name] = stack
        hook.remove()
