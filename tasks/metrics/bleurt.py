"""BLEURT (Sellam et al. 2020, arXiv:2004.04696) against the first reference, mean over lines. About -2 to 1.

Which checkpoint stands behind DART's published figures is not known: its script names a toy. The one here is
bleurt-base-128, of the time of the paper, in its PyTorch port on the hub, read as the BERT with one output that it is. Do
not claim that its figures compare with published ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from featherbench.tasks.base import Score, Unavailable
from featherbench.tasks.metrics.dart_text import RAW
from featherbench.tasks.metrics.signature import signature as _signature
from featherbench.tasks.metrics.weights import loaded, origin

MODEL, LONGEST = "lucadiliello/bleurt-base-128", 128
BATCH = 32
"""Lines that go through the model at once"""


def _load(place: str) -> tuple[Any, Any]:
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    config = BertConfig.from_pretrained(place, num_labels=1)
    names = {"^bleurt\\.": "bert."}
    read: Any = BertForSequenceClassification.from_pretrained(
        place, config=config, key_mapping=names, output_loading_info=True
    )
    model, report = read
    if missing := sorted(report["missing_keys"]):
        raise Unavailable(f"{len(missing)} of the model's tensors are missing, the first is {missing[0]}.")
    return BertTokenizer.from_pretrained(place), model.eval()


def bleurt_lines(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """Return the score of each line.

    Raises: Unavailable without the weights.
    """
    tokenizer, model = loaded(_load, MODEL)
    import torch

    found: list[float] = []
    for start in range(0, len(predictions), BATCH):
        golds = [refs[0] for refs in references[start : start + BATCH]]
        options = {"padding": "longest", "truncation": "longest_first", "max_length": LONGEST, "return_tensors": "pt"}
        batch = tokenizer(golds, list(predictions[start : start + BATCH]), **options)
        with torch.no_grad():
            found += model(**batch).logits[:, 0].tolist()
    return found


def bleurt(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Return the mean over lines."""
    lines = bleurt_lines(predictions, references)
    return sum(lines) / len(lines)


def signature(references: Sequence[Sequence[str]]) -> str:
    """Return checkpoint, version and counts."""
    options = (origin(MODEL), f"text:{RAW}", f"max:{LONGEST}")
    return _signature("bleurt", [refs[:1] for refs in references], *options, package="transformers")


BLEURT = Score(name="bleurt", corpus=bleurt, signature=signature, unit="BLEURT, about -2 to 1")
