"""MoverScore (Zhao et al. 2019, arXiv:1909.02622) as the DART script calls it: first reference only. Points, up to 100.

One minus the earth mover's distance between the word pieces of output and reference: Euclidean between unit vectors of
the last layer, each piece weighted by its idf on its own side. The published package cannot run on present libraries.
An output in which nothing has weight scores 0.
"""

from __future__ import annotations

import math
import string
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featherbench.tasks.base import Score
from featherbench.tasks.metrics.dart_text import RAW
from featherbench.tasks.metrics.signature import signature as _signature
from featherbench.tasks.metrics.weights import loaded, origin

MODEL = "distilbert-base-uncased"
BATCH = 32
"""Lines that go through the model at once"""

Vectors = NDArray[np.float64]


def _load(place: str) -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(place, use_safetensors=True, trust_remote_code=False)
    return AutoTokenizer.from_pretrained(place, trust_remote_code=False), model.eval()


def _weights(tokenizer: Any, lines: list[list[int]]) -> list[Vectors]:
    """Return the weights of each line's pieces, which sum to 1 unless all are 0: idf over the lines of this side."""
    frequency = Counter(piece for line in lines for piece in set(line))
    found = []
    for line in lines:
        pieces = tokenizer.convert_ids_to_tokens(line)
        idf = [math.log((len(lines) + 1) / (frequency[number] + 1)) for number in line]
        counts = [not (piece.startswith("##") or piece in string.punctuation) for piece in pieces]
        weights = np.where(counts, idf, 0.0)
        found.append(weights / weights.sum() if weights.sum() else weights)
    return found


def _vectors(model: Any, tokenizer: Any, lines: list[list[int]]) -> list[Vectors]:
    """Return unit vectors [pieces, width] of each line from the last layer."""
    import torch

    found: list[Vectors] = []
    for start in range(0, len(lines), BATCH):
        batch = tokenizer.pad({"input_ids": lines[start : start + BATCH]}, return_tensors="pt")
        with torch.no_grad():
            hidden = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
        unit = torch.nn.functional.normalize(hidden.double(), dim=-1).numpy()
        found += [unit[i, : len(line)] for i, line in enumerate(lines[start : start + BATCH])]
    return found


def earth_movers_distance(ours: Vectors, theirs: Vectors, distances: Vectors) -> float:
    """Return the least cost of moving weights `ours` [n] to `theirs` [m] over `distances` [n, m]; both sum to 1."""
    from scipy.optimize import linprog
    from scipy.sparse import eye_array, kron, vstack

    n, m = distances.shape
    rows, columns = kron(eye_array(n), np.ones((1, m))), kron(np.ones((1, n)), eye_array(m))
    done = linprog(distances.ravel(), A_eq=vstack([rows, columns]), b_eq=np.concatenate([ours, theirs]), method="highs")
    if done.status != 0:
        raise ValueError(f"the transport problem was not solved: {done.message}")
    return float(done.fun)


def mover_lines(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """Return 1 - distance of each line; at most 1, and -1 for opposite vectors.

    Raises: Unavailable without the weights.
    """
    tokenizer, model = loaded(_load, MODEL)
    sides = []
    for texts in (list(predictions), [refs[0] for refs in references]):
        lines = [tokenizer(text, truncation=True, max_length=512)["input_ids"] for text in texts]
        sides.append(list(zip(_weights(tokenizer, lines), _vectors(model, tokenizer, lines), strict=True)))
    found = []
    for (our_weights, ours), (their_weights, theirs) in zip(*sides, strict=True):
        a, b = our_weights > 0, their_weights > 0
        if not a.any() or not b.any():
            found.append(0.0)
            continue
        distances = np.linalg.norm(ours[a][:, None] - theirs[b][None], axis=-1)
        found.append(1 - earth_movers_distance(our_weights[a], their_weights[b], distances))
    return found


def mover_score(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Return the mean over lines."""
    lines = mover_lines(predictions, references)
    return 100 * sum(lines) / len(lines)


def signature(references: Sequence[Sequence[str]]) -> str:
    """Return model, options, version and counts."""
    options = (origin(MODEL), f"text:{RAW}", "layer:last", "idf:by-side", "n:1")
    return _signature("moverscore", [refs[:1] for refs in references], *options, package="featherbench")


MOVER_SCORE = Score(name="moverscore", corpus=mover_score, signature=signature)
