"""The golden cases: invented lines, the figures that the official scorers gave on them, and ours beside them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from featherbench.tasks.base import Score, Unavailable
from featherbench.tasks.files import PACKAGED
from featherbench.tasks.metrics import bleu, cider, meteor, nist, rouge, ter

SETS = ("main", "edge", "all", "with_empty", "short")


@dataclass(frozen=True, kw_only=True)
class Check:
    """One golden figure."""

    case: str
    """Name of the set of lines"""
    score: str
    """E.g. "webnlg ter" """
    official: float
    ours: float | None
    """On the official scale; None where the scorer cannot work here"""
    verdict: str
    """"ok", "differs" or "unavailable: " and the reason"""

    @property
    def row(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


@lru_cache(maxsize=1)
def golden() -> dict[str, Any]:
    """Return the golden file."""
    return json.loads((PACKAGED / "metric_golden.json").read_text(encoding="utf-8"))


def lines(case: str) -> tuple[list[str], list[list[str]]]:
    """Return outputs and references of a set; some sets name the lines of others."""
    sets = golden()["sets"]
    known = {line["id"]: line for chosen in sets.values() for line in chosen if isinstance(line, dict)}
    chosen = [known[line] if isinstance(line, str) else line for line in sets[case]]
    return [line["hyp"] for line in chosen], [line["refs"] for line in chosen]


@dataclass(frozen=True, kw_only=True)
class _Figure:
    name: str
    score: Score
    official: Callable[[dict[str, Any]], float]
    """Picks the figure out of a set's scores"""
    scale: float
    """Ours divided by this is on the official scale"""
    digits: int
    """Decimals that the official scorer gives; 9 stands for all but noise"""


def _printed_bleu(line: str) -> float:
    return float(line.removeprefix("BLEU = ").split(",")[0])


_FIGURES = (
    _Figure(
        name="e2e bleu",
        score=bleu.BLEU,
        official=lambda s: s["e2e"]["mteval_perl"]["BLEU"],
        scale=100,
        digits=4,
    ),
    _Figure(name="e2e nist_py", score=nist.NIST_PY, official=lambda s: s["e2e"]["pymteval"]["NIST"], scale=1, digits=9),
    _Figure(
        name="e2e nist_mteval",
        score=nist.NIST_MTEVAL,
        official=lambda s: s["e2e"]["mteval_perl"]["NIST"],
        scale=1,
        digits=4,
    ),
    _Figure(
        name="e2e meteor", score=meteor.E2E_METEOR, official=lambda s: s["e2e"]["coco"]["METEOR"], scale=100, digits=9
    ),
    _Figure(
        name="e2e rouge_l", score=rouge.ROUGE_L, official=lambda s: s["e2e"]["coco"]["ROUGE_L"], scale=100, digits=9
    ),
    _Figure(name="e2e cider", score=cider.CIDER, official=lambda s: s["e2e"]["coco"]["CIDEr"], scale=1, digits=9),
    _Figure(
        name="webnlg bleu",
        score=bleu.WEBNLG_BLEU,
        official=lambda s: _printed_bleu(s["webnlg"]["multi_bleu_perl"]),
        scale=1,
        digits=2,
    ),
    _Figure(
        name="webnlg meteor", score=meteor.WEBNLG_METEOR, official=lambda s: s["webnlg"]["meteor"], scale=100, digits=9
    ),
    _Figure(name="webnlg ter", score=ter.WEBNLG_TER, official=lambda s: s["webnlg"]["ter"], scale=100, digits=9),
    _Figure(
        name="dart bleu",
        score=bleu.DART_BLEU,
        official=lambda s: _printed_bleu(s["dart"]["multi_bleu_perl"]),
        scale=1,
        digits=2,
    ),
    _Figure(name="dart meteor", score=meteor.DART_METEOR, official=lambda s: s["dart"]["meteor"], scale=100, digits=9),
    _Figure(name="dart ter", score=ter.DART_TER, official=lambda s: s["dart"]["ter"], scale=100, digits=9),
    *(
        _Figure(
            name=f"xsum {score.name}",
            score=score,
            official=lambda s, key=score.name: s["rouge"]["use_stemmer"][key],  # type: ignore[misc]
            scale=1,
            digits=9,
        )
        for score in rouge.XSUM_ROUGE
    ),
)


def _check(
    figure: _Figure, case: str, official: float, predictions: Sequence[str], references: Sequence[Sequence[str]]
) -> Check:
    try:
        ours = figure.score.corpus(predictions, references) / figure.scale
    except Unavailable as error:
        return Check(case=case, score=figure.name, official=official, ours=None, verdict=f"unavailable: {error}")
    # a printed figure may have been rounded from either side of a half
    equal = abs(ours - official) <= 0.5 * 10**-figure.digits + 1e-9
    return Check(case=case, score=figure.name, official=official, ours=ours, verdict="ok" if equal else "differs")


NAMES = tuple(dict.fromkeys(figure.score.name for figure in _FIGURES))
"""Of the scores that have golden figures"""


def checks(names: Sequence[str] = ()) -> Iterator[Check]:
    """Score every golden case again, with `names` by the scores of these names only."""
    chosen = [figure for figure in _FIGURES if not names or figure.score.name in names]
    for case in SETS:
        for figure in chosen:
            yield _check(figure, case, figure.official(golden()["scores"][case]), *lines(case))
    for figure in chosen:
        if figure.name == "dart ter":
            yield _check(figure, "ter_hard", golden()["scores"]["ter_hard"]["tercom"]["ter"], *lines("ter_hard"))
