"""ROUGE (Lin 2004): ROUGE-L of the E2E scorer, and ROUGE-1/2/L of XSUM. Points, 0 to 100.

E2E: COCO's ROUGE-L on PTB tokens. XSUM: rouge-score with stemming, the F1 of the first reference. The Prefix-Tuning
code resamples and prints the bootstrap's middle; its expectation, the plain mean over lines, is what stands here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from rapidfuzz.distance import LCSseq

from featherbench.tasks.base import Score
from featherbench.tasks.metrics.additive import mean_of
from featherbench.tasks.metrics.ptb import ptb_corpus
from featherbench.tasks.metrics.signature import signature as _signature

BETA = 1.2
"""How much more recall counts than precision in COCO's ROUGE-L"""


def rouge_l_line(output: str, references: Sequence[str]) -> float:
    """Return F of one line of PTB tokens, 0 to 1; best precision and best recall may come from different references."""
    words = output.split(" ")
    common = [(LCSseq.similarity(words, gold), len(gold)) for gold in (ref.split(" ") for ref in references)]
    precision = max(length / len(words) for length, _ in common)
    recall = max(length / size for length, size in common)
    if precision == 0 or recall == 0:
        return 0.0
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


def rouge_l_lines(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """Return the E2E scorer's ROUGE-L of each line, 0 to 1."""
    return [rouge_l_line(out, refs) for out, refs in zip(*ptb_corpus(predictions, references), strict=True)]


def rouge_l(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Return the mean over lines."""
    lines = rouge_l_lines(predictions, references)
    return 100 * sum(lines) / len(lines)


XSUM_KEYS = ("rouge1", "rouge2", "rougeL")


@lru_cache(maxsize=4)
def _xsum_lines(predictions: tuple[str, ...], golds: tuple[str, ...]) -> list[dict[str, float]]:
    from rouge_score.rouge_scorer import RougeScorer  # takes a second to import

    scorer = RougeScorer(list(XSUM_KEYS), use_stemmer=True)
    found = [scorer.score(gold, output) for output, gold in zip(predictions, golds, strict=True)]
    return [{key: float(line[key].fmeasure) for key in XSUM_KEYS} for line in found]


def xsum_lines(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> list[dict[str, float]]:
    """Return rouge1, rouge2 and rougeL of each line against its first reference, F1 from 0 to 1."""
    return _xsum_lines(tuple(predictions), tuple(refs[0] for refs in references))


def _xsum(key: str) -> Score:
    def corpus(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
        return 100 * sum(line[key] for line in xsum_lines(predictions, references)) / len(predictions)

    options = ("f1", "stemmer:yes", "mean:plain")
    return Score(
        name=key,
        corpus=corpus,
        signature=lambda references: _signature(key, [r[:1] for r in references], *options, package="rouge-score"),
        additive=mean_of(lambda outputs, references: [line[key] for line in xsum_lines(outputs, references)]),
    )


ROUGE_L = Score(
    name="rouge_l",
    corpus=rouge_l,
    signature=lambda refs: _signature("rouge_l", refs, "tok:ptb", f"beta:{BETA}", package="pycocoevalcap"),
    additive=mean_of(rouge_l_lines),
)
XSUM_ROUGE = tuple(_xsum(key) for key in XSUM_KEYS)
