"""Our scoring beside its peers: the whole E2E test set beside pycocoevalcap's classes, TER beside sacrebleu's.

Both sides score the same made-up outputs: each item's last reference, with some words dropped or moved. They run in turn,
and each repeat changes the outputs, so that nothing is answered from memory but what a harness really keeps (tokenised
references, the loaded METEOR). Prints JSON.

  FEATHERBENCH_DATA=... python benchmarks/scoring.py --repeats 3
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

from featherbench.tasks.load import load
from featherbench.tasks.metrics.official import E2E_SCORES
from featherbench.tasks.metrics.ter import ter

Corpus = tuple[list[str], list[list[str]]]


def corpus(references: Sequence[Sequence[str]], seed: int) -> Corpus:
    """Return outputs of an invented system, and the references."""
    rng = random.Random(seed)
    outputs = []
    for refs in references:
        words = [word for word in refs[-1].split() if rng.random() > 0.1]
        cut = rng.randrange(len(words) + 1) if rng.random() < 0.3 else 0
        outputs.append(" ".join(words[cut:] + words[:cut]))
    return outputs, [list(refs) for refs in references]


def ours_e2e(texts: Corpus) -> dict[str, float]:
    """Return all six official scores."""
    return {score.name: score.corpus(*texts) for score in E2E_SCORES}


def peer_e2e() -> Callable[[Corpus], dict[str, float]]:
    """Return pycocoevalcap's own way to its tokenizer, BLEU, METEOR, ROUGE-L and CIDEr; it has no NIST."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    scorers = {"bleu": Bleu(4), "meteor": Meteor(), "rouge_l": Rouge(), "cider": Cider()}

    def run(texts: Corpus) -> dict[str, float]:
        with contextlib.redirect_stdout(sys.stderr):  # its classes print
            return scores(*texts)

    def scores(outputs: list[str], references: list[list[str]]) -> dict[str, float]:
        gts = PTBTokenizer().tokenize({i: [{"caption": ref} for ref in refs] for i, refs in enumerate(references)})
        res = PTBTokenizer().tokenize({i: [{"caption": out}] for i, out in enumerate(outputs)})
        found = {name: scorer.compute_score(gts, res)[0] for name, scorer in scorers.items()}
        return {name: float(value[-1] if isinstance(value, list) else value) for name, value in found.items()}

    return run


def ours_ter(texts: Corpus) -> dict[str, float]:
    """Return corpus TER."""
    return {"ter": ter(*texts)}


def peer_ter(texts: Corpus) -> dict[str, float]:
    """Return sacrebleu's TER: near, not equal."""
    from sacrebleu.metrics.ter import TER

    outputs, references = texts
    most = max(map(len, references))
    streams: Any = [[refs[i] if i < len(refs) else None for refs in references] for i in range(most)]
    return {"ter": float(TER().corpus_score(outputs, streams).score)}


def beside(
    references: Sequence[Sequence[str]],
    repeats: int,
    **sides: Callable[[Corpus], dict[str, float]],
) -> dict[str, Any]:
    """Run both sides in turn; the first repeat warms them up and is reported apart."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    values: dict[str, dict[str, float]] = {}
    for repeat in range(repeats + 1):
        texts = corpus(references, repeat)
        for name, run in sides.items():
            began = time.perf_counter()
            values[name] = run(texts)
            seconds[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    ours, peer = sides
    return {
        "items": len(references),
        "references": sum(map(len, references)),
        "seconds": {
            name: {
                "first": round(times[0], 2),
                "median": round(medians[name], 2),
                "range": [round(min(times[1:]), 2), round(max(times[1:]), 2)],
            }
            for name, times in seconds.items()
        },
        "peer_over_ours": round(medians[peer] / medians[ours], 2),
        "scores_of_the_last_repeat": values,
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=3, help="Timed repeats a side (default: 3)")
    parser.add_argument("--ter-items", type=int, default=200, help="Items of the TER comparison (default: 200)")
    options = parser.parse_args()
    references = [list(example.references) for example in load("e2e", "test")]
    three = [refs[:3] for refs in references[: options.ter_items]]
    packages = ("featherbench", "sacrebleu", "pycocoevalcap", "rapidfuzz")
    result = {
        "e2e": beside(references, options.repeats, ours=ours_e2e, pycocoevalcap=peer_e2e()),
        "ter": beside(three, options.repeats, ours=ours_ter, sacrebleu=peer_ter),
        "repeats": options.repeats,
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "load": round(os.getloadavg()[0], 1),
            "python": platform.python_version(),
        },
        "versions": {name: version(name) for name in packages},
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
