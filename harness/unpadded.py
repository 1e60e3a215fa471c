"""A causal model's pass over a batch without its padding: the texts of a slot stand end to end in one row.

Whatever works on a position by itself (embeddings, norms, projections, feed-forward, a method's edits) then sees tokens
only. Attention alone needs to know which text a token belongs to: there the texts stand in rows of their own again.
Behind the last attention no token looks at another, so there those are enough whose outputs are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Layout:
    """Where R texts of at most T tokens, sorted by slot, stand in S rows of N tokens each.

    A slot with fewer tokens than another is filled up with copies that nothing reads.
    """

    place: Tensor
    """[R * T] the token at each position of the padded batch; any where there is none"""
    position: Tensor
    """[S * N] the position of each token in the padded batch; any for a token that fills up"""
    padding: Tensor
    """[R * T] true where a position holds no token"""
    filling: Tensor | None
    """[S * N] true for a token that fills up; None: there are none"""
    slots: int
    rows: int

    def in_slots(self, x: Tensor) -> Tensor:
        """[R, T, ...] -> [S, N, ...]."""
        flat = _Moved.apply(x.flatten(0, 1).flatten(1), self.position, self.place, self.padding)
        return flat.view(self.slots, -1, *x.shape[2:])

    def in_rows(self, x: Tensor) -> Tensor:
        """[S, N, ...] -> [R, T, ...]."""
        flat = _Moved.apply(x.flatten(0, 1).flatten(1), self.place, self.position, self.filling)
        return flat.view(self.rows, -1, *x.shape[2:])

    def chosen(self, wanted: Tensor) -> Layout:
        """Return the layout that chooses, out of [S, N] tokens, those at wanted positions [R, T] of the padded batch."""
        there = self.in_slots(wanted[..., None])[..., 0]
        if self.filling is not None:
            there = there & ~self.filling.view(there.shape)
        return layout_of(there, self.slots)

    def tokens(self, x: Tensor) -> Tensor:
        """[S, N, ...] -> the tokens of all slots [M, ...], without those that fill up."""
        flat = x.flatten(0, 1)
        return flat if self.filling is None else flat[~self.filling]

    def inputs(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what a causal model takes of a batch: input_ids and position_ids [S, N], the attentions' mask."""
        ids = {name: self.in_slots(batch[name][..., None])[..., 0] for name in ("input_ids", "position_ids")}
        return ids | {"attention_mask": self.causal_mask()}

    def causal_mask(self) -> Tensor:
        """Return which positions a position of its own text sees: [R, 1, T, T]."""
        padding = self.padding.view(self.rows, -1)
        length = padding.shape[1]
        earlier = torch.ones(length, length, dtype=torch.bool, device=padding.device).tril()
        return (earlier & ~padding[:, None])[:, None]


def layout_of(mask: Tensor, slots: int = 1, tokens: int | None = None) -> Layout:
    """Return the layout of a batch with this attention mask [R, T], padded anywhere; N as needed, or `tokens`."""
    rows, length = mask.shape
    exists = mask.bool().view(slots, -1)
    counts = exists.sum(1)
    most = tokens or max(int(counts.max()), 1)
    first = torch.arange(slots, device=mask.device)[:, None]
    place = ((exists.cumsum(1) - 1).clamp(min=0) + first * most).flatten()
    present = exists.flatten().nonzero().squeeze(1)
    if len(present) == slots * most:
        return Layout(place, present, ~exists.flatten(), None, slots, rows)
    position = (first * exists.shape[1]).repeat(1, most).flatten()
    position[place[present]] = present
    filling = (torch.arange(most, device=mask.device) >= counts[:, None]).flatten()
    return Layout(place, position, ~exists.flatten(), filling, slots, rows)


@contextmanager
def unpadded(attentions: Sequence[nn.Module], layout: Layout) -> Iterator[None]:
    """Let the attentions of a pass over [S, N] tokens see [R, T] rows."""
    try:
        for module in attentions:
            module.__dict__["featherbench_layout"] = layout
        yield
    finally:
        for module in attentions:
            module.__dict__.pop("featherbench_layout", None)


@contextmanager
def chosen_only(
    block: nn.Module, norm: nn.Module, output: nn.Module, chosen: Layout, then: Callable[[], None]
) -> Iterator[None]:
    """Behind the attention of the last block, compute the tokens that `chosen` takes out of [S, N], to the block's end.

    norm: the module through which the attention reads what enters the block. output: the projection of what it found;
    `then` is called where the others are left out. What leaves the block has their places again, filled with anything.
    """
    entered: list[Tensor] = []

    def enter(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        entered.append(args[0])
        return (chosen.in_slots(args[0]), *args[1:])

    def look_at_all(module: nn.Module, args: tuple[Any, ...]) -> tuple[Tensor]:
        return (entered.pop(),)

    def go_on(module: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
        then()
        return (chosen.in_slots(args[0]),)

    def leave(module: nn.Module, args: tuple[Any, ...], found: Any) -> Any:
        return (chosen.in_rows(found[0]), *found[1:]) if isinstance(found, tuple) else chosen.in_rows(found)

    with ExitStack() as stack:
        stack.callback(block.register_forward_pre_hook(enter).remove)
        stack.callback(norm.register_forward_pre_hook(look_at_all).remove)
        stack.callback(output.register_forward_pre_hook(go_on).remove)
        stack.callback(block.register_forward_hook(leave).remove)
        yield


class _Moved(torch.autograd.Function):
    """Rows of x [A, w] to where they stand in the other form [B, w].

    Both forms hold the same tokens once, so gradients go the other way by choosing, not by summing; what fills up a
    form only (`nothing` [A]) has no gradient.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, there: Tensor, back: Tensor, nothing: Tensor | None) -> Tensor:
        ctx.save_for_backward(back, nothing)
        return x.index_select(0, there)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        back, nothing = ctx.saved_tensors
        gradient = gradients[0].index_select(0, back)
        return gradient if nothing is None else gradient.masked_fill_(nothing[:, None], 0), None, None, None
