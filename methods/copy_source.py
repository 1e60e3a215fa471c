"""A copy of the source: the row that shows what a task's scores give for repeating the input. No model writes it."""

from __future__ import annotations

from dataclasses import dataclass

from featherbench.methods.base import Method


@dataclass(frozen=True, kw_only=True)
class CopySourceConfig:
    """Nothing to configure."""


COPY_SOURCE = Method(
    name="copy_source",
    source="the source text as it stands, whole",
    version=1,
    config=CopySourceConfig,
    learning_rate=0.0,
    learning_rate_source="nothing is trained",
    answer=lambda source: source,
)
