"""The bare backbone: the row every report needs below the methods. It trains nothing."""

from __future__ import annotations

from dataclasses import dataclass

from featherbench.methods.base import Method


@dataclass(frozen=True, kw_only=True)
class UntunedConfig:
    """Nothing to configure."""


UNTUNED = Method(
    name="untuned",
    source="the backbone as it was loaded",
    version=1,
    config=UntunedConfig,
    learning_rate=0.0,
    learning_rate_source="nothing is trained",
)
