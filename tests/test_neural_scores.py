"""BERTScore, MoverScore and BLEURT on tiny random models; without weights they are absent, with the reason."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from featherbench.tasks.base import Score, Unavailable
from featherbench.tasks.metrics import bert_score, bleurt, mover_score, weights

WORDS = ["the", "a", "pub", "river", "near", "is", "cheap", "cafe", ",", ".", "##s", "unused"]
NEURAL = [bert_score.BERT_SCORE, mover_score.MOVER_SCORE, bleurt.BLEURT]


def write(folder: Path, kind: str) -> None:
    """Write a random model of the given architecture with a tokenizer of a few words."""
    import torch
    import transformers as hf

    torch.manual_seed(0)
    folder.mkdir(parents=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    shape = {"vocab_size": len(vocabulary), "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16}
    if kind == "distilbert":
        model = hf.DistilBertModel(
            hf.DistilBertConfig(vocab_size=len(vocabulary), dim=16, hidden_dim=16, n_heads=2, n_layers=1)
        )
    elif kind == "bleurt":
        model = hf.BertForSequenceClassification(hf.BertConfig(**shape, num_hidden_layers=1, num_labels=1))
    else:
        model = hf.BertModel(hf.BertConfig(**shape, num_hidden_layers=18))
    model.save_pretrained(folder)
    hf.BertTokenizerFast(vocab={word: i for i, word in enumerate(vocabulary)}).save_pretrained(folder)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scorers")
    for name, kind in ((bert_score.MODEL, "bert"), (mover_score.MODEL, "distilbert"), (bleurt.MODEL, "bleurt")):
        write(root / name.replace("/", "--"), kind)
    return root


@pytest.fixture(autouse=True)
def local(monkeypatch: pytest.MonkeyPatch, models: Path) -> Iterator[None]:
    monkeypatch.setenv("FEATHERBENCH_SCORERS", str(models))
    weights._attempt.cache_clear()
    yield
    weights._attempt.cache_clear()


OUTPUTS = ["the cheap pub is near the river .", "a cafe near the pub"]
REFERENCES = [["the pub is near a river .", "a pub , cheap"], ["the cafe is near the pub"]]


@pytest.mark.parametrize("score", NEURAL, ids=lambda s: s.name)
def test_a_local_model_gives_a_number_whose_signature_names_it(score: Score) -> None:
    if score is bert_score.BERT_SCORE:
        pytest.importorskip("bert_score")
    value = score.corpus(OUTPUTS, REFERENCES)
    assert math.isfinite(value)
    assert score.corpus(OUTPUTS[::-1], REFERENCES[::-1]) == pytest.approx(value, rel=1e-5)
    signature = score.signature(REFERENCES)
    assert "@local-" in signature and "items:2" in signature
    assert math.isfinite(score.corpus(["", OUTPUTS[1]], REFERENCES)), "an empty output is scored"


@pytest.mark.parametrize("score", NEURAL, ids=lambda s: s.name)
def test_without_weights_there_is_a_reason_and_no_number(
    score: Score, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FEATHERBENCH_SCORERS", str(tmp_path))
    for name in (bert_score.MODEL, mover_score.MODEL, bleurt.MODEL):
        (tmp_path / name.replace("/", "--")).mkdir()
    with pytest.raises(Unavailable, match="no weights of|pip install"):
        score.corpus(OUTPUTS, REFERENCES)


def test_a_missing_package_is_named_with_its_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "bert_score", None)
    with pytest.raises(Unavailable, match=r"pip install 'featherbench\[neural\]'"):
        bert_score.bert_score(OUTPUTS, REFERENCES)


def test_weights_that_lack_the_output_layer_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / bleurt.MODEL.replace("/", "--"), "bert")
    monkeypatch.setenv("FEATHERBENCH_SCORERS", str(tmp_path))
    with pytest.raises(Unavailable, match="tensors are missing"):
        bleurt.bleurt(OUTPUTS, REFERENCES)


def test_mover_score_of_the_reference_is_100_and_only_the_first_counts() -> None:
    golds = [["the pub is cheap"], ["a cafe near the river", "the pub"]]
    first = [refs[0] for refs in golds]
    assert mover_score.mover_score(first, golds) == pytest.approx(100, abs=1e-6)
    assert mover_score.mover_score(["the pub is cheap", "the pub"], golds) < 100
    assert mover_score.mover_lines(["", ". ,"], golds) == [0.0, 0.0]


def test_mover_weights_are_idf_by_side_and_leave_out_pieces_and_punctuation() -> None:
    tokenizer, _ = weights.loaded(mover_score._load, mover_score.MODEL)
    lines = [tokenizer(text)["input_ids"] for text in ("the pub , near", "the cafes")]
    first, second = mover_score._weights(tokenizer, lines)
    rare = math.log(3 / 2)
    assert first == pytest.approx(np.array([0, 0, rare, 0, rare, 0]) / (2 * rare)), "[CLS] the pub , near [SEP]"
    assert second.sum() == pytest.approx(1) and second[3] == 0, "##s"


@pytest.mark.parametrize(
    ("ours", "theirs", "distances", "expected"),
    [
        ([1.0], [0.25, 0.75], [[1.0, 2.0]], 1.75),
        ([0.5, 0.5], [0.5, 0.5], [[0.0, 1.0], [1.0, 0.0]], 0.0),
        ([0.5, 0.5], [1.0], [[1.0], [3.0]], 2.0),
    ],
)
def test_earth_movers_distance(ours: list, theirs: list, distances: list, expected: float) -> None:
    found = mover_score.earth_movers_distance(np.array(ours), np.array(theirs), np.array(distances))
    assert found == pytest.approx(expected)
