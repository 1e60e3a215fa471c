"""Corpus scores from sums over items: the same score, and the same without any item as if that had never been there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from featherbench.reports.statistics import crossed, intervals, pseudo_values
from featherbench.tasks import TASKS
from featherbench.tasks.base import Score, Unavailable
from featherbench.tasks.golden import SETS, lines
from featherbench.tasks.metrics.additive import Additive, by_group, left_out
from featherbench.tasks.metrics.bleu import BLEU, DART_BLEU, DART_BLEU_LOWER_SPLIT, WEBNLG_BLEU
from featherbench.tasks.metrics.cider import CIDER
from featherbench.tasks.metrics.nist import NIST_MTEVAL, NIST_PY
from featherbench.tasks.metrics.rouge import ROUGE_L, XSUM_ROUGE
from featherbench.tasks.metrics.ter import DART_TER, WEBNLG_TER

SCORES = {
    "bleu": BLEU,
    "webnlg bleu": WEBNLG_BLEU,
    "dart bleu": DART_BLEU,
    "dart bleu lower split": DART_BLEU_LOWER_SPLIT,
    "nist_py": NIST_PY,
    "nist_mteval": NIST_MTEVAL,
    "rouge_l": ROUGE_L,
    **{f"xsum {score.name}": score for score in XSUM_ROUGE},
    "cider": CIDER,
    "webnlg ter": WEBNLG_TER,
    "dart ter": DART_TER,
}
WEIGHTED = {"nist_py", "nist_mteval", "cider"}
"""Their weights come from all references, so fewer references would be another score"""

WORDS = "the a pub river near city Café is cheap low prices it has , . old food in 1999 of £20".split()


def texts(rng: np.random.Generator, least: int = 0) -> str:
    return " ".join(rng.choice(WORDS, size=rng.integers(least, 14)))


@pytest.fixture(scope="module")
def corpus() -> tuple[list[str], list[tuple[str, ...]]]:
    """Thirty items with one to four references; outputs are near the first, empty, or anything."""
    rng = np.random.default_rng(5)
    references = [tuple(texts(rng, 5) for _ in range(rng.integers(1, 5))) for _ in range(30)]
    outputs = [" ".join(w for w in refs[0].split() if rng.random() > 0.15) for refs in references]
    outputs[3], outputs[4], outputs[5] = "", "pub", texts(rng, 6)
    return outputs, references


def additive(score: Score) -> Additive:
    assert score.additive is not None
    return score.additive


def statistics(score: Score, outputs: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
    try:
        return additive(score).statistics(outputs, references)
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.mark.filterwarnings("ignore:.*fewer than 4 tokens")
@pytest.mark.parametrize("case", SETS)
@pytest.mark.parametrize("name", SCORES)
def test_the_sums_give_the_score_of_every_golden_case(name, case):
    outputs, references = lines(case)
    value = additive(SCORES[name]).score(statistics(SCORES[name], outputs, references).sum(axis=0))
    assert value == pytest.approx(SCORES[name].corpus(outputs, references), rel=1e-12)


@pytest.mark.filterwarnings("ignore:.*fewer than 4 tokens")
@pytest.mark.parametrize("name", SCORES)
def test_the_sums_give_the_score(name, corpus):
    outputs, references = corpus
    found = statistics(SCORES[name], outputs, references)
    assert found.shape == (30, len(additive(SCORES[name]).names))
    value = additive(SCORES[name]).score(found.sum(axis=0))
    assert value == pytest.approx(SCORES[name].corpus(outputs, references), rel=1e-12) and value > 0


@pytest.mark.filterwarnings("ignore:.*fewer than 4 tokens")
@pytest.mark.parametrize("name", [name for name in SCORES if name not in WEIGHTED])
def test_leaving_an_item_out_is_scoring_the_others(name, corpus):
    outputs, references = corpus
    fast = left_out(additive(SCORES[name]).score, statistics(SCORES[name], outputs, references))
    tried = [0, 3] if name == "rouge_l" else range(30)  # there every score starts a Java process
    brute = [SCORES[name].corpus(outputs[:i] + outputs[i + 1 :], references[:i] + references[i + 1 :]) for i in tried]
    np.testing.assert_allclose(fast[tried], brute, rtol=1e-11)


@pytest.mark.parametrize("name", sorted(WEIGHTED))
def test_weights_are_held_at_the_whole_set(name, corpus):
    """Statistics of an item do not depend on which other outputs there are, but on all references."""
    outputs, references = corpus
    found = statistics(SCORES[name], outputs, references)
    others = statistics(SCORES[name], [outputs[0], *outputs[:0:-1]], references)
    np.testing.assert_array_equal(found[0], others[0])
    fewer = statistics(SCORES[name], outputs[:10], references[:10])
    assert not np.allclose(found[:10], fewer)


def test_a_corpus_without_matches_has_a_score_of_sums_too():
    outputs, references = ["x y", ""], [("a b c d",), ("e f g h",)]
    for score in (BLEU, WEBNLG_BLEU, DART_BLEU):
        assert additive(score).score(additive(score).statistics(outputs, references).sum(axis=0)) == 0


def test_the_jackknife_centres_on_the_corpus_score(corpus):
    """The whole way of a paired difference: item statistics of two methods over three seeds, to both intervals."""
    outputs, references = corpus
    rng = np.random.default_rng(3)

    def method(loss: float) -> tuple[np.ndarray, np.ndarray]:
        texts = [[" ".join(w for w in text.split() if rng.random() > loss) for text in outputs] for _ in range(3)]
        counts = [additive(BLEU).statistics(found, references) for found in texts]
        scores = np.array([additive(BLEU).score(seed.sum(axis=0)) for seed in counts])
        return scores, pseudo_values(scores, np.stack([left_out(additive(BLEU).score, seed) for seed in counts]))

    ours, theirs = method(0.02), method(0.3)
    scores, psi = ours[0] - theirs[0], ours[1] - theirs[1]
    assert scores.shape == (3,) and psi.shape == (3, 30)
    np.testing.assert_allclose(psi.mean(axis=1), scores, atol=2, err_msg="but for the jackknife's bias")
    found = intervals(scores, psi)
    assert found.primary.items == 30 and found.primary.estimate == scores.mean()
    assert found.primary.standard_error > found.test_set.standard_error


def test_groups_are_summed_before_they_are_left_out(corpus):
    outputs, references = corpus
    groups = [f"category {i % 4}" for i in range(30)]
    sums = by_group(additive(BLEU).statistics(outputs, references), groups)
    assert sums.shape == (4, 10)
    without = left_out(additive(BLEU).score, sums)
    kept = [i for i in range(30) if i % 4 != 2]
    with pytest.warns(UserWarning, match="fewer than 4 tokens"):
        brute = BLEU.corpus([outputs[i] for i in kept], [references[i] for i in kept])
    assert without[2] == pytest.approx(brute)
    with pytest.raises(ValueError, match="10 groups"):
        by_group(np.ones((30, 2)), groups[:10])
    with pytest.raises(ValueError, match="one item"):
        left_out(additive(BLEU).score, np.ones((1, 10)))


def test_every_primary_score_has_an_interval_for_new_inputs():
    for task in TASKS.values():
        primary = next(score for score in task.scores if score.name == task.primary)
        assert primary.additive is not None, task.name


@pytest.mark.simulation
def test_intervals_of_corpus_bleu_cover_new_inputs():
    """Counts of 2,000 items are the population; 60 of them and 5 seeds are drawn 2,000 times (± 1 point).

    A seed moves the share of matches; two methods share seeds' items. The target is the difference over the population.
    """
    rng = np.random.default_rng(11)
    population, items, seeds, repeats = 2_000, 60, 5, 2_000
    lengths = rng.integers(8, 30, size=population)
    ease = rng.normal(0, 0.5, size=(2, population)) * 0.4 + rng.normal(0, 0.5, size=population)

    def counts(method: int, chosen: np.ndarray, effect: np.ndarray) -> np.ndarray:
        """Expected matches of each order: [..., items, 10] for effects [..., 1]."""
        words = lengths[chosen]
        totals = np.stack([words - n for n in range(4)], axis=-1).astype(float)
        share = 1 / (1 + np.exp(-(0.6 + ease[method, chosen] + effect)))
        matches = totals * share[..., None] ** np.arange(1, 5)
        full = np.broadcast_to(totals, matches.shape)
        sizes = np.broadcast_to(np.stack([words, words + 1], axis=-1), (*matches.shape[:-1], 2))
        return np.concatenate([sizes, matches, full], axis=-1)

    def bleu(sums: np.ndarray) -> np.ndarray:
        precisions = np.log(sums[..., 2:6] / sums[..., 6:10]).mean(axis=-1)
        return 100 * np.exp(np.minimum(0, 1 - sums[..., 1] / sums[..., 0]) + precisions)

    everything, sd = np.arange(population), 0.05
    effects = sd * rng.standard_normal((400, 1))
    target = [np.mean([bleu(counts(m, everything, e).sum(axis=0)) for e in effects]) for m in (0, 1)]
    covered = 0
    for _ in range(repeats):
        chosen = rng.integers(population, size=items)
        psi = []
        for method in (0, 1):
            found = counts(method, chosen, sd * rng.standard_normal((seeds, 1)))
            total = found.sum(axis=1)
            psi.append(pseudo_values(bleu(total), bleu(total[:, None] - found)))
        interval = crossed(psi[0] - psi[1])
        covered += bool(interval.low <= target[0] - target[1] <= interval.high)
    print(f"bleu coverage {100 * covered / repeats:.1f}")
    assert 0.92 <= covered / repeats <= 0.97
