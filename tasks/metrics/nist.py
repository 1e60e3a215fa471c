"""NIST-5 (Doddington 2002) of the E2E challenge, in its two official variants. No fixed upper end; published: about 8.6.

`nist_py` is the Python code behind `measure_scores.py -p`, which the Prefix-Tuning and LoRA papers used; `nist_mteval`
is mteval-v13a.pl, behind the challenge's own table. They differ in the length penalty and in how short lines count.
"""

from __future__ import annotations

import math
import string
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

from featherbench.tasks.base import Score
from featherbench.tasks.metrics.additive import Additive, Array
from featherbench.tasks.metrics.signature import signature as _signature

ORDER = 5
_ASCII_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)

Words = list[str]
Ngram = tuple[str, ...]
_tokenise = lru_cache(maxsize=2**14)(Tokenizer13a())


def tokens(text: str) -> Words:
    """Return the 13a tokens, case kept; an empty text is one empty token."""
    return _tokenise(text).split(" ")


def _ngrams(words: Sequence[str]) -> Counter[Ngram]:
    return Counter(tuple(words[i : i + n]) for n in range(1, ORDER + 1) for i in range(len(words) - n + 1))


@lru_cache(maxsize=2)
def _reference_side(
    references: tuple[tuple[tuple[str, ...], ...], ...],
) -> tuple[dict[Ngram, float], list[Counter[Ngram]]]:
    """Return what the references say, kept for the next system's outputs.

    For every n-gram the bits that its last word adds to the words before it; for each line the largest count of every
    n-gram in one reference.
    """
    counts: Counter[Ngram] = Counter()
    clips = []
    for refs in references:
        most: Counter[Ngram] = Counter()
        for ref in refs:
            found = _ngrams(ref)
            counts.update(found)
            counts[()] += len(ref)
            most |= found
        clips.append(most)
    return {gram: math.log2(counts[gram[:-1]] / count) for gram, count in counts.items() if gram}, clips


def _gains(outputs: list[Words], references: list[list[Words]]) -> Iterator[tuple[int, int, float]]:
    """Yield (line, order, information) of the matched n-grams, clipped at the best reference of the line."""
    information, clips = _reference_side(tuple(tuple(tuple(ref) for ref in refs) for refs in references))
    for line, (output, most) in enumerate(zip(outputs, clips, strict=True)):
        for gram, count in _ngrams(output).items():
            if gram in most:
                yield line, len(gram) - 1, information[gram] * min(count, most[gram])


def _hits(outputs: list[Words], references: list[list[Words]]) -> list[float]:
    """Return for each order the information of all matched n-grams."""
    hits = [0.0] * ORDER
    for _, order, gain in _gains(outputs, references):
        hits[order] += gain
    return hits


def _item_hits(outputs: list[Words], references: list[list[Words]]) -> Array:
    hits = np.zeros((len(outputs), ORDER))
    for line, order, gain in _gains(outputs, references):
        hits[line, order] += gain
    return hits


def _penalty(ratio: float) -> float:
    """Return the brevity penalty: 1 from equal length on, .5 at two thirds of it."""
    if ratio <= 0 or ratio >= 1:
        return float(ratio >= 1)
    return math.exp(math.log(0.5) / math.log(1.5) ** 2 * math.log(ratio) ** 2)


def _penalties(ratios: Array) -> Array:
    """Return the brevity penalty of many ratios."""
    inside = np.log(np.clip(ratios, 1e-300, 1.0))
    return np.where(ratios > 0, np.exp(math.log(0.5) / math.log(1.5) ** 2 * inside**2), 0.0)


def _lower_tokens(
    predictions: Sequence[str], references: Sequence[Sequence[str]]
) -> tuple[list[Words], list[list[Words]]]:
    """Return outputs and references as the Python code splits them."""
    outputs = [[word.lower() for word in tokens(text)] for text in predictions]
    return outputs, [[[word.lower() for word in tokens(ref)] for ref in refs] for refs in references]


def _perl_tokens(
    predictions: Sequence[str], references: Sequence[Sequence[str]]
) -> tuple[list[Words], list[list[Words]]]:
    """Return outputs and references as mteval-v13a.pl splits them."""

    def words(text: str) -> Words:
        return [word for word in tokens(text.translate(_ASCII_LOWER)) if word]

    return [words(text) for text in predictions], [[words(ref) for ref in refs] for refs in references]


def nist_py(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Return NIST by the Python code: mean reference length of each line, totals without a floor at 0."""
    outputs, golds = _lower_tokens(predictions, references)
    length = sum(map(len, outputs))
    expected = sum(sum(map(len, refs)) / len(refs) for refs in golds)
    totals = [sum(len(output) - n for output in outputs) for n in range(ORDER)]
    gained = sum(hit / total for hit, total in zip(_hits(outputs, golds), totals, strict=True) if total)
    return _penalty(length / expected) * gained


def nist_mteval(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Return NIST by mteval-v13a.pl: pooled reference length, totals floored at 0, only A to Z lower-cased."""
    outputs, golds = _perl_tokens(predictions, references)
    length = sum(map(len, outputs))
    expected = sum(len(ref) for refs in golds for ref in refs) * len(golds) / sum(map(len, golds))
    totals = [max(1, sum(max(0, len(output) - n) for output in outputs)) for n in range(ORDER)]
    gained = sum(hit / total for hit, total in zip(_hits(outputs, golds), totals, strict=True))
    return _penalty(length / expected) * gained


# --- sums over items --------------------------------------------------------------------------------------------------

_BY_ORDER = tuple(f"{what} {n}" for what in ("n-grams", "information") for n in range(1, ORDER + 1))


def _py_statistics(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Array:
    outputs, golds = _lower_tokens(predictions, references)
    counts = [
        [len(output), sum(map(len, refs)) / len(refs), *(len(output) - n for n in range(ORDER))]
        for output, refs in zip(outputs, golds, strict=True)
    ]
    return np.hstack([np.array(counts, dtype=np.float64), _item_hits(outputs, golds)])


def _py_from(sums: Array) -> Array:
    totals, hits = sums[..., 2 : 2 + ORDER], sums[..., 2 + ORDER :]
    gained = np.divide(hits, totals, out=np.zeros_like(hits), where=totals != 0).sum(axis=-1)
    return _penalties(sums[..., 0] / sums[..., 1]) * gained


def _mteval_statistics(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Array:
    outputs, golds = _perl_tokens(predictions, references)
    counts = [
        [len(output), sum(map(len, refs)), len(refs), 1, *(max(0, len(output) - n) for n in range(ORDER))]
        for output, refs in zip(outputs, golds, strict=True)
    ]
    return np.hstack([np.array(counts, dtype=np.float64), _item_hits(outputs, golds)])


def _mteval_from(sums: Array) -> Array:
    length, words, count, items = np.moveaxis(sums[..., :4], -1, 0)
    totals, hits = sums[..., 4 : 4 + ORDER], sums[..., 4 + ORDER :]
    return _penalties(length / (words * items / count)) * (hits / np.maximum(1, totals)).sum(axis=-1)


_ADDITIVE = {
    "nist_py": Additive(
        names=("words", "mean reference words", *_BY_ORDER),
        statistics=_py_statistics,
        score=_py_from,
        weighted=True,
    ),
    "nist_mteval": Additive(
        names=("words", "reference words", "references", "items", *_BY_ORDER),
        statistics=_mteval_statistics,
        score=_mteval_from,
        weighted=True,
    ),
}


def _score(name: str, length: str, case: str) -> Score:
    def sign(references: Sequence[Sequence[str]]) -> str:
        return _signature(name, references, "tok:13a", f"case:{case}", "n:5", f"length:{length}", package="sacrebleu")

    return Score(name=name, corpus=globals()[name], signature=sign, unit="NIST, from 0", additive=_ADDITIVE[name])


NIST_PY = _score("nist_py", "line-mean", "lc")
NIST_MTEVAL = _score("nist_mteval", "pooled-mean", "lc-ascii")
