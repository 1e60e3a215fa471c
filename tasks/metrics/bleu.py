"""BLEU (Papineni et al. 2002) as three official scripts count it, through sacrebleu. Points, 0 to 100.

E2E: mteval-v13a, lower-cased, over all references (exponential smoothing is sacrebleu's default and has no effect on
corpora with 4-gram matches). The Python re-implementation in the E2E scorer differs where an output has fewer than
four tokens. WebNLG 2017 and DART: multi-bleu.perl over three reference files, in which a missing reference is an empty
line: of length 0 where the closest reference length is looked for.

DART: `bleu` is that scorer on plain text. The official reference files are lower-cased and split at punctuation, and
published figures come from such text: `bleu_lower_split` prepares outputs and references alike. On test references
scored against each other, plain text gives 41.3 and that text 50.2.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import sacrebleu
from sacrebleu.metrics.bleu import BLEU as SacreBLEU

from featherbench.tasks.base import Score
from featherbench.tasks.metrics import dart_text
from featherbench.tasks.metrics.additive import Additive, Array
from featherbench.tasks.metrics.references import STREAMS, first_three
from featherbench.tasks.metrics.signature import signature as _signature
from featherbench.tasks.metrics.webnlg_text import prepare


def _streams(references: Sequence[Sequence[str]], most: int, missing: str | None) -> list[Any]:
    """Return one list per reference position; `missing` stands where an item has fewer references."""
    return [[refs[i] if i < len(refs) else missing for refs in references] for i in range(most)]


def bleu(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Return corpus BLEU of the E2E challenge; an empty prediction counts as an output of no words."""
    scorer = SacreBLEU(tokenize="13a", lowercase=True, force=True)
    if short := sum(len(scorer.tokenizer(text).split()) < 4 for text in predictions):
        warnings.warn(
            f"{short} outputs have fewer than 4 tokens: `measure_scores.py -p` counts them in another way than mteval-v13a "
            "and this BLEU do",
            stacklevel=2,
        )
    streams = _streams(references, max(len(refs) for refs in references), None)
    return float(scorer.corpus_score(list(predictions), streams).score)


def _perl_words(text: str) -> str:
    """Join the words that Perl's `split` finds: white space beyond ASCII does not separate them."""
    return " ".join(re.sub(r"[^\S \t\n\r\f\v]", "\N{REPLACEMENT CHARACTER}", text).split())


def _multi_bleu(predictions: Sequence[str], references: Sequence[Sequence[str]], lowercase: bool) -> float:
    scorer = SacreBLEU(tokenize="none", lowercase=lowercase, smooth_method="none", force=True)
    golds = [[_perl_words(ref) for ref in refs] for refs in references]
    outputs = [_perl_words(text) for text in predictions]
    return float(scorer.corpus_score(outputs, _streams(golds, STREAMS, "")).score)


def webnlg_bleu(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Return multi-bleu.perl -lc on the prepared text of WebNLG 2017."""
    return _multi_bleu(*prepare(predictions, references), lowercase=True)


def dart_bleu(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Return multi-bleu.perl, case counts, on the text as it is."""
    return _multi_bleu(predictions, first_three(references), lowercase=False)


def dart_bleu_lower_split(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Return multi-bleu.perl on outputs and references in the form of DART's reference files."""
    return _multi_bleu(*dart_text.prepare(predictions, references), lowercase=False)


# --- sums over items --------------------------------------------------------------------------------------------------

ORDER = 4
NAMES = ("words", "reference words", *(f"{what} {n}" for what in ("matches", "n-grams") for n in range(1, ORDER + 1)))


def _counts(scorer: SacreBLEU, outputs: Sequence[str], golds: Sequence[Sequence[str]]) -> Array:
    """Return lengths, matches and n-grams of each item, as `NAMES` says."""
    found = [scorer.sentence_score(output, refs) for output, refs in zip(outputs, golds, strict=True)]
    return np.array([[line.sys_len, line.ref_len, *line.counts, *line.totals] for line in found], dtype=np.float64)


def _from_counts(sums: Array, smooth: bool) -> Array:
    """Return BLEU of many sums at once. Source: Papineni et al. 2002; `smooth`: NIST's, each order without a match counts
    as half of what the order before would (Chen & Cherry 2014, method 3)."""
    words, reference_words = sums[..., 0], sums[..., 1]
    matches, totals = sums[..., 2 : 2 + ORDER], sums[..., 2 + ORDER :]
    reached = np.logical_and.accumulate(totals > 0, axis=-1)
    if smooth:
        matched = matches.any(axis=-1, keepdims=True)
        halved = 0.5 ** np.cumsum(reached & (matches == 0), axis=-1)
        matches = np.where((matches == 0) & matched, halved, matches)
    with np.errstate(divide="ignore", invalid="ignore"):
        precisions = np.where(reached, matches / totals, 0.0)
        brevity = np.where(words > 0, np.minimum(0.0, 1 - reference_words / words), -np.inf)
        return 100 * np.exp(brevity + np.log(precisions).mean(axis=-1))


def item_counts(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> Array:
    """Return the counts of `bleu` for each item, [items, 10]."""
    scorer = SacreBLEU(tokenize="13a", lowercase=True, force=True, effective_order=True)
    return _counts(scorer, predictions, references)


def _multi_bleu_counts(predictions: Sequence[str], references: Sequence[Sequence[str]], lowercase: bool) -> Array:
    scorer = SacreBLEU(tokenize="none", lowercase=lowercase, force=True, effective_order=True)
    golds = [[_perl_words(refs[i]) if i < len(refs) else "" for i in range(STREAMS)] for refs in references]
    return _counts(scorer, [_perl_words(text) for text in predictions], golds)


def _additive(statistics: Callable[[Sequence[str], Sequence[Sequence[str]]], Array], smooth: bool = False) -> Additive:
    return Additive(names=NAMES, statistics=statistics, score=lambda sums: _from_counts(sums, smooth))


# --- records ----------------------------------------------------------------------------------------------------------


def signature(references: Sequence[Sequence[str]]) -> str:
    """Return options, sacrebleu's version and the item and reference counts."""
    count = sum(len(refs) for refs in references)
    return (
        f"bleu|case:lc|tok:13a|smooth:exp|eff:no|version:{sacrebleu.__version__}|items:{len(references)}|refs:{count}"
    )


def _multi_bleu_signature(references: Sequence[Sequence[str]], case: str, text: str) -> str:
    used = first_three(references)
    options = (f"case:{case}", "tok:none", f"text:{text}", "smooth:none", "eff:no", f"streams:{STREAMS}")
    return _signature("bleu", used, *options, package="sacrebleu")


BLEU = Score(name="bleu", corpus=bleu, signature=signature, additive=_additive(item_counts, smooth=True))
WEBNLG_BLEU = Score(
    name="bleu",
    corpus=webnlg_bleu,
    signature=lambda refs: _multi_bleu_signature(refs, "lc", "webnlg2017"),
    additive=_additive(lambda outputs, refs: _multi_bleu_counts(*prepare(outputs, refs), lowercase=True)),
)
DART_BLEU = Score(
    name="bleu",
    corpus=dart_bleu,
    signature=lambda refs: _multi_bleu_signature(refs, "mixed", dart_text.RAW),
    additive=_additive(lambda outputs, refs: _multi_bleu_counts(outputs, first_three(refs), lowercase=False)),
)
DART_BLEU_LOWER_SPLIT = Score(
    name="bleu_lower_split",
    corpus=dart_bleu_lower_split,
    signature=lambda refs: _multi_bleu_signature(refs, "lc", "dart-lower-split"),
    additive=_additive(lambda outputs, refs: _multi_bleu_counts(*dart_text.prepare(outputs, refs), lowercase=False)),
)
