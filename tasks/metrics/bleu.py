"""BLEU as the E2E challenge counts it (mteval-v13a), through sacrebleu; options by comparison with the official scorer.

Lower-cased, 13a tokens, exponential smoothing is sacrebleu's default and has no effect on corpora with 4-gram matches.
The Python re-implementation in the official scorer differs where an output has fewer than four tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sacrebleu
from sacrebleu.metrics.bleu import BLEU as SacreBLEU

from featherbench.tasks.base import Score


def _scorer() -> SacreBLEU:
    return SacreBLEU(tokenize="13a", lowercase=True, force=True)


def _streams(references: Sequence[Sequence[str]]) -> list[Any]:
    """Return one list per reference position; an item with fewer references has None there."""
    most = max(len(refs) for refs in references)
    return [[refs[i] if i < len(refs) else None for refs in references] for i in range(most)]


def bleu(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Return corpus BLEU in points, 0 to 100; an empty prediction counts as an output of no words."""
    return float(_scorer().corpus_score(list(predictions), _streams(references)).score)


def signature(references: Sequence[Sequence[str]]) -> str:
    """Return options, sacrebleu's version and the item and reference counts."""
    count = sum(len(refs) for refs in references)
    return (
        f"bleu|case:lc|tok:13a|smooth:exp|eff:no|version:{sacrebleu.__version__}|items:{len(references)}|refs:{count}"
    )


BLEU = Score(name="bleu", corpus=bleu, signature=signature)
