"""CIDEr (Vedantam et al. 2015) of the E2E scorer, through pycocoevalcap. From 0 to 10.

This is the clipped variant with a length penalty ("CIDEr-D"). The weights of words come from the references at hand: the
score of some items cannot be compared with that of all.
"""

from __future__ import annotations

from collections.abc import Sequence

from featherbench.tasks.base import Score
from featherbench.tasks.metrics.additive import mean_of
from featherbench.tasks.metrics.ptb import ptb_corpus
from featherbench.tasks.metrics.signature import signature as _signature


def cider_lines(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[float, list[float]]:
    """Return the corpus' score and that of each line."""
    from pycocoevalcap.cider.cider import Cider

    outputs, golds = ptb_corpus(predictions, references)
    corpus, lines = Cider().compute_score(dict(enumerate(golds)), {i: [text] for i, text in enumerate(outputs)})
    return float(corpus), [float(line) for line in lines]


def cider(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Return the mean over lines."""
    return cider_lines(predictions, references)[0]


CIDER = Score(
    name="cider",
    corpus=cider,
    signature=lambda refs: _signature("cider", refs, "tok:ptb", "n:4", "sigma:6", "idf:refs", package="pycocoevalcap"),
    unit="CIDEr, 0 to 10",
    additive=mean_of(lambda outputs, references: cider_lines(outputs, references)[1], scale=1, weighted=True),
)
