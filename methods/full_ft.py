"""Full fine-tuning: every weight of the backbone is trained in a private copy."""

from __future__ import annotations

from dataclasses import dataclass

from featherbench.methods.base import Anatomy, Method


@dataclass(frozen=True, kw_only=True)
class FullFTConfig:
    """Nothing of its own to configure."""


def every_weight(anatomy: Anatomy, config: FullFTConfig) -> tuple[str, ...]:
    """Return the names of all backbone parameters."""
    return tuple(anatomy.parameters)


FULL_FT = Method(
    name="full_ft",
    source="the fine-tuning baseline of Li & Liang 2021, arXiv:2101.00190, section 5.2",
    version=1,
    config=FullFTConfig,
    learning_rate=5e-5,
    learning_rate_source="E2E row of Li & Liang 2021, table 6",
    unfrozen=every_weight,
)
