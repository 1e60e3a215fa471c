"""BERTScore (Zhang et al. 2020) as the DART script calls it, through bert-score. F1 in points, 0 to 100.

English's default model and layer, no idf weights, no rescaling; the best of the first three references, mean over lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from featherbench.tasks.base import Score
from featherbench.tasks.metrics.dart_text import RAW
from featherbench.tasks.metrics.references import first_three
from featherbench.tasks.metrics.signature import signature as _signature
from featherbench.tasks.metrics.weights import loaded, origin

MODEL, LAYER, LONGEST = "roberta-large", 17, 512


def _load(place: str) -> Any:
    from bert_score import BERTScorer

    scorer = BERTScorer(model_type=place, num_layers=LAYER, idf=False, rescale_with_baseline=False)
    tokenizer = scorer._tokenizer  # one that states no length would be asked to cut at 10^30 tokens
    tokenizer.model_max_length = min(tokenizer.model_max_length, LONGEST)
    return scorer


def bert_score(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Return the mean F1; as in the package, a line without an output or without a reference counts 0.

    Raises: Unavailable without the package or its weights.
    """
    scorer = loaded(_load, MODEL)
    golds = first_three(references)
    full = [i for i, output in enumerate(predictions) if output.strip() and golds[i] != [""]]
    if not full:
        return 0.0
    _, _, f1 = scorer.score([predictions[i] for i in full], [golds[i] for i in full])
    return 100 * float(f1.double().sum()) / len(predictions)


def signature(references: Sequence[Sequence[str]]) -> str:
    """Return model, layer, options, version and counts."""
    options = (origin(MODEL), f"text:{RAW}", f"layer:{LAYER}", "idf:no", "rescale:no", "f1")
    return _signature("bertscore", first_three(references), *options, package="bert-score")


BERT_SCORE = Score(name="bertscore", corpus=bert_score, signature=signature)
