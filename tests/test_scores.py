"""Predictions become official scores: the official figures, on every item, or a reason why not."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from featherbench.harness.data import tag_groups
from featherbench.harness.records import ItemStatistics, Prediction, ScoreValue
from featherbench.harness.score import score
from featherbench.tasks import TASKS
from featherbench.tasks.base import Example, Score
from featherbench.tasks.metrics.additive import pack, unpack
from featherbench.tasks.metrics.bleu import BLEU
from featherbench.tasks.places import PLACES

# --- BLEU ----------------------------------------------------------------------------------------------------------


def test_bleu_laws() -> None:
    references = [["A pub near the river in the city."], ["It is a cheap café.", "A café with low prices, it is."]]
    perfect = [refs[-1] for refs in references]
    assert BLEU.corpus(perfect, references) == pytest.approx(100)
    assert BLEU.corpus([p.upper() for p in perfect], references) == pytest.approx(100), "case does not count"
    assert BLEU.corpus(perfect[::-1], references[::-1]) == BLEU.corpus(perfect, references)
    assert BLEU.corpus([perfect[0], ""], references) < BLEU.corpus(perfect, references)
    assert BLEU.corpus(["", ""], references) == 0


def test_the_signature_holds_version_options_and_counts() -> None:
    signature = BLEU.signature([["a"], ["b", "c"]])
    for part in ("case:lc", "tok:13a", "version:2.", "items:2", "refs:3"):
        assert part in signature


# --- score() -------------------------------------------------------------------------------------------------------


def tagged(*seen: str) -> dict[int, Example]:
    return {
        10 * i: Example(source=f"s{i}", references=(f"word{i} a b c d",), tags={"seen": value} if value else {})
        for i, value in enumerate(seen)
    }


def predicted(texts: dict[int, str]) -> list[Prediction]:
    return [Prediction(item=item, text=text, truncated=False) for item, text in texts.items()]


def scored_by(monkeypatch: pytest.MonkeyPatch, *scores: Score) -> None:
    monkeypatch.setitem(TASKS, "places", dataclasses.replace(PLACES, scores=scores))


def count_of(name: str) -> Score:
    """A score that counts what it is given."""

    def corpus(outputs: Sequence[str], references: Sequence[Sequence[str]]) -> float:
        assert len(outputs) == len(references)
        return 1000.0 * len(outputs) + sum(map(len, outputs))

    return Score(name=name, corpus=corpus, signature=lambda references: f"count|items:{len(references)}")


def test_seen_and_unseen_items_are_scored_apart_and_together(monkeypatch: pytest.MonkeyPatch) -> None:
    scored_by(monkeypatch, count_of("count"))
    examples = tagged("seen", "unseen", "seen")
    found = score("places", predicted({0: "a", 10: "bb", 20: "cccc"}), examples)
    assert found.statistics == (), "this one has no sums"
    assert list(found.values) == [
        ScoreValue(metric="count", subset="all", value=3007.0, signature="count|items:3"),
        ScoreValue(metric="count", subset="seen=seen", value=2005.0, signature="count|items:2"),
        ScoreValue(metric="count", subset="seen=unseen", value=1002.0, signature="count|items:1"),
    ]


def test_without_tags_there_is_one_subset(monkeypatch: pytest.MonkeyPatch) -> None:
    scored_by(monkeypatch, count_of("count"))
    assert [s.subset for s in score("places", predicted({0: "a", 10: "b"}), tagged("", "")).values] == ["all"]
    assert tag_groups([]) == {"all": []}


def test_a_subset_is_a_corpus_score_of_its_own_and_no_average() -> None:
    examples = tagged("seen", "seen", "unseen")
    outputs = {0: "word0 a b c d", 10: "word1 a x y z and much more", 20: "word2 a b c"}
    found = {s.subset: s.value for s in score("places", predicted(outputs), examples).values}
    texts, golds = list(outputs.values()), [e.references for e in examples.values()]
    assert found["all"] == pytest.approx(BLEU.corpus(texts, golds), rel=1e-12)
    assert found["seen=seen"] == pytest.approx(BLEU.corpus(texts[:2], golds[:2]), rel=1e-12)
    assert found["seen=unseen"] == pytest.approx(BLEU.corpus(texts[2:], golds[2:]), rel=1e-12)


def test_an_empty_prediction_stays_and_is_scored() -> None:
    examples = tagged("seen", "seen")
    full = predicted({0: "word0 a b c d", 10: "word1 a b c d"})
    gap = predicted({0: "word0 a b c d", 10: ""})
    whole, part = (score("places", given, examples).values[0] for given in (full, gap))
    assert whole.value == pytest.approx(100)
    assert part.value is not None and 0 < part.value < 50, "half of the words: the brevity penalty is exp(-1)"
    assert part.value == pytest.approx(100 * math.exp(-1))
    assert "items:2" in part.signature


@pytest.mark.parametrize(
    "texts",
    [{0: "a"}, {0: "a", 10: "b", 20: "c"}, {0: "a", 20: "b"}, {10: "b", 0: "a"}, {}],
    ids=["too few", "too many", "another item", "another order", "none"],
)
def test_predictions_must_match_the_items_one_to_one(texts: dict[int, str]) -> None:
    with pytest.raises(ValueError, match=f"{len(texts)} predictions do not match the 2 items one to one"):
        score("places", predicted(texts), tagged("seen", "seen"))


def test_two_predictions_for_one_item_are_refused() -> None:
    twice = predicted({0: "a"}) * 2
    with pytest.raises(ValueError, match="do not match"):
        score("places", twice, tagged("seen", "seen"))


def raising(outputs: Any, references: Any) -> float:
    raise RuntimeError("no Java here")


@pytest.mark.parametrize(
    ("corpus", "reason"),
    [
        (raising, "RuntimeError: no Java here"),
        (lambda outputs, references: math.nan, "not finite; sig"),
        (lambda outputs, references: math.inf, "not finite; sig"),
        (lambda outputs, references: None, "TypeError"),
    ],
    ids=["raises", "NaN", "infinity", "None"],
)
def test_a_score_that_cannot_be_had_has_no_value_but_a_reason(
    corpus: Any, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Score(name="broken", corpus=corpus, signature=lambda references: "sig")
    scored_by(monkeypatch, broken, count_of("count"))
    found = score("places", predicted({0: "a"}), tagged("seen")).values
    assert [s.value for s in found] == [None, None, 1001.0, 1001.0], "the other scores are not touched"
    assert all(reason in s.signature for s in found[:2])


# --- sums over items ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["places", "webnlg", "xsum"])
def test_scores_by_sums_are_the_corpus_scores(task: str) -> None:
    """Only the scorer is official; the sums are ours: equal over all items and over either part."""
    examples = tagged("seen", "unseen", "seen", "unseen", "seen")
    texts = {item: " ".join(e.references[0].split()[: 5 - i]) for i, (item, e) in enumerate(examples.items())}
    by_sums = {s.name: s for s in TASKS[task].scores if s.additive and s.name not in ("rouge_l", "cider")}
    found = score(task, predicted(texts), examples, list(by_sums))
    assert {(s.metric, s.subset) for s in found.values} == {
        (name, subset) for name in by_sums for subset in ("all", "seen=seen", "seen=unseen")
    }
    members = tag_groups(list(examples.values()))
    for value in found.values:
        chosen = members[value.subset]
        outputs = [list(texts.values())[i] for i in chosen]
        golds = [list(examples.values())[i].references for i in chosen]
        assert value.value == pytest.approx(by_sums[value.metric].corpus(outputs, golds), rel=1e-12)


def test_item_statistics_travel_whole() -> None:
    given = np.random.default_rng(0).normal(size=(7, 3))
    kept = ItemStatistics(metric="bleu", names=("a", "b", "c"), packed=pack(given))
    again = ItemStatistics.model_validate_json(kept.model_dump_json())
    np.testing.assert_array_equal(unpack(again.packed, len(again.names)), given)
    assert len(kept.packed) <= given.nbytes + 64
