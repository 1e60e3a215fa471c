"""Signatures: what a score was computed with, in the style of sacrebleu."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version


def signature(name: str, references: Sequence[Sequence[str]], *options: str, package: str | None = None) -> str:
    """Return "name|option|...|version:package==x|items:n|refs:m"; items and references are those that were scored."""
    versions = [f"version:{package}=={version(package)}"] if package else []
    count = sum(len(refs) for refs in references)
    return "|".join([name, *options, *versions, f"items:{len(references)}", f"refs:{count}"])
