"""A score that looks at the first few references of each item, as the WebNLG and DART scorers do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from featherbench.tasks.base import Score


def first_references(score: Score, number: int) -> Score:
    """Return `score` over the first `number` references of each item; the signature says so."""

    def cut(references: Sequence[Sequence[str]]) -> list[Sequence[str]]:
        return [refs[:number] for refs in references]

    return replace(
        score,
        corpus=lambda predictions, references: score.corpus(predictions, cut(references)),
        signature=lambda references: f"{score.signature(cut(references))}|first:{number}",
    )
