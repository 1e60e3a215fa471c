"""Trained, stored and total parameters, and the solver that sizes a method to a budget. No weight is read."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch

from featherbench.methods.base import Anatomy, Method

TOLERANCE = 0.10
"""A budget missed by more than this share is not matched (PROTOCOL.md, section 2)"""
MAX_SIZE = 1 << 20


class BudgetError(ValueError):
    """No size of this method meets the budget."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Parameters of one slot on one backbone."""

    trained: int
    stored: int
    total: int
    """Of the untouched backbone"""


def count(method: Method, config: Any, anatomy: Anatomy) -> Counts:
    """Count by running `init` and `stored` on meta tensors."""
    with torch.device("meta"):
        trained = method.init(anatomy, config, None, None)
        stored = method.stored(config, trained)
    private = sum(torch.Size(anatomy.parameters[name]).numel() for name in method.unfrozen(anatomy, config))
    return Counts(
        trained=sum(t.numel() for t in trained.values()) + private,
        stored=sum(t.numel() for t in stored.values()) + private,
        total=anatomy.total_parameters,
    )


def solve(method: Method, config: Any, anatomy: Anatomy, budget: float) -> Any:
    """Return `config` with the size whose stored parameters come nearest to `budget` (a share of the backbone).

    Raises: BudgetError naming the nearest feasible budget if it is missed by more than TOLERANCE.
    """
    field = method.size_field
    wanted = budget * anatomy.total_parameters
    if field is None:
        share = count(method, config, anatomy).stored / anatomy.total_parameters
        raise BudgetError(
            f"{method.name} has no size to solve for, so it takes no budget; it always stores {share:.3%} of the backbone."
        )

    def stored(size: int) -> int:
        return count(method, dataclasses.replace(config, **{field: size}), anatomy).stored

    low, high = 1, 2
    while stored(high) < wanted and high < MAX_SIZE:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if stored(middle) <= wanted else (low, middle)
    best = min((low, high), key=lambda size: abs(stored(size) - wanted))
    if abs(stored(best) - wanted) > TOLERANCE * wanted:
        raise BudgetError(
            f"budget {budget:.4%} ({wanted:,.0f} parameters) is impossible for {method.name}: the nearest is "
            f"{field}={best} with {stored(best) / anatomy.total_parameters:.4%} ({stored(best):,})."
        )
    return dataclasses.replace(config, **{field: best})
