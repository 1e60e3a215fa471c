"""feather-3m: what it was trained on, what it never saw, that the weights are those of the record, and that it can learn."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from featherbench.backbones.feather_3m import corpus as text
from featherbench.backbones.feather_3m import pretrain
from featherbench.harness import backbones
from featherbench.harness.backbones import load
from featherbench.harness.catalogue import BACKBONES
from featherbench.harness.tuned import Tuned, new_slot
from featherbench.methods import UNTUNED
from featherbench.tasks.load import load as load_examples

NAME = "feather-3m"
FOLDER = BACKBONES[NAME].folder
RECORD = json.loads((FOLDER / "pretraining.json").read_text())


@pytest.fixture(scope="module")
def never(real_data: Path) -> text.Forbidden:
    return text.forbidden(real_data)


@pytest.fixture(scope="module")
def texts(real_data: Path) -> text.Corpus:
    return text.corpus(real_data)


# --- the text -------------------------------------------------------------------------------------------------------


def test_the_text_can_be_made_again(texts: text.Corpus) -> None:
    assert texts.sha256 == RECORD["corpus"]["sha256"]
    assert texts.dropped == RECORD["corpus"]["dropped"]
    assert {k: v["documents"] for k, v in RECORD["corpus"]["kinds"].items()} == {
        kind: sum(d.kind == kind for d in texts.train) for kind in texts.dropped
    }


def test_no_held_out_unit_is_trained_on(texts: text.Corpus) -> None:
    assert not {(d.kind, d.unit) for d in texts.train} & {(d.kind, d.unit) for d in texts.held_out}
    assert {d.kind for d in texts.held_out} == set(texts.dropped)


def searchable(documents: list[str]) -> str:
    return "\n".join(f" {' '.join(text.words(d))} " for d in documents)


def planted(task: str, split: str, rng: Random, number: int) -> list[str]:
    examples = load_examples(task, split)
    chosen = rng.sample(range(len(examples)), number)
    found = [t for i in chosen for t in (examples[i].source, *examples[i].references)]
    return [t for t in found if len(text.words(t)) >= text.WHOLE]


@pytest.mark.parametrize(
    ("task", "split"), [("e2e", "test"), ("e2e", "validation"), ("places", "test"), ("places", "train")]
)
def test_no_item_is_found_in_it_by_plain_search(task: str, split: str, texts: text.Corpus) -> None:
    """Independent of `Forbidden`: a sample of items, looked up word for word in everything that was trained on."""
    everything = searchable([d.text for d in (*texts.train, *texts.held_out)])
    sample = planted(task, split, Random(0), 60)
    assert sample and [t for t in sample if f" {' '.join(text.words(t))} " in everything] == []
    assert f" {' '.join(text.words(texts.train[17].text))} " in everything, "the search itself finds nothing"


@pytest.mark.parametrize(("task", "split"), [("e2e", "test"), ("e2e.paper", "validation"), ("places", "validation")])
def test_a_planted_item_is_found(task: str, split: str, never: text.Forbidden) -> None:
    for item in planted(task, split, Random(1), 20):
        assert never.found_in(f"Once upon a time, {item.upper()}! And so on.") is not None, item


def test_a_planted_text_of_another_data_set_is_found(real_data: Path, never: text.Forbidden) -> None:
    """Every test or validation file of the data folder counts, also those of tasks still to come."""
    sentence = (real_data / "sst2" / "test.tsv").read_text().splitlines()[1].split("\t")[0]
    assert len(text.words(sentence)) >= text.WHOLE and never.found_in(f"He said: {sentence}.")
    run = " ".join(text.words(load_examples("places", "test")[0].references[0])[1 : 1 + text.RUN])
    assert never.found_in(f"and then {run} again")
    assert never.found_in("A text of a few harmless words about nothing that anybody ever wrote down.") is None


def test_nothing_but_the_declared_files_is_read(texts: text.Corpus, real_data: Path) -> None:
    assert set(RECORD["data"]) == {text.SQUAD, "e2e/trainset.csv.gz"}
    assert RECORD["seen_tasks"].keys() == {"e2e", "e2e.paper"}


# --- the model ------------------------------------------------------------------------------------------------------


def test_size_and_form() -> None:
    weights = FOLDER / "model.safetensors"
    assert weights.stat().st_size <= 16e6
    assert 2_000_000 <= backbones.anatomy(NAME).total_parameters == RECORD["parameters"] <= 5_000_000
    assert "CC BY-SA 4.0" in (FOLDER / "README.md").read_text() and BACKBONES[NAME].licence == "CC BY-SA 4.0"


def test_the_tokenizer_gives_every_text_back(real_data: Path) -> None:
    tok = backbones.shared_tokenizer(NAME)
    for string in ("name : Café Zoë | price : £20-25", "a\nb  c", "北京 1,234.5%", " leading", "'quotes' “curly”"):
        assert tok.decode(tok(string)["input_ids"]) == string
    assert tok.convert_ids_to_tokens(tok("2048")["input_ids"]) == ["2", "0", "4", "8"]


def test_the_weights_have_the_recorded_perplexity(texts: text.Corpus) -> None:
    backbone = load(NAME)
    tuned = Tuned(
        backbone.model, backbone.anatomy, [new_slot(UNTUNED, UNTUNED.config(), backbone.anatomy, backbone.model, 0)]
    )
    few = text.Corpus(
        train=(),
        held_out=tuple(d for d in texts.held_out if d.kind in ("e2e", "prose")),
        dropped={"e2e": 0, "prose": 0},
    )
    found = pretrain.held_out_losses(tuned, few, backbone.tokenizer, backbone.end)
    for kind in ("e2e", "prose"):
        assert found[kind]["tokens"] == RECORD["held_out"][kind]["tokens"]
        assert found[kind]["perplexity"] == pytest.approx(RECORD["held_out"][kind]["perplexity"], rel=2e-3)


def test_the_recorded_curve_falls() -> None:
    losses = [value for _, name, value in RECORD["curve"] if name == "validation_loss"]
    assert len(losses) == pretrain.EVALUATIONS + 1
    assert losses[-1] == min(losses) and losses[-1] < 0.5 * losses[0]


def test_the_command_trains_writes_and_goes_on(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole command on a little text: tokenizer, weights, record; loaded again like any folder."""
    monkeypatch.setattr(text, "DESCRIPTIONS", 600)
    monkeypatch.setattr(text, "PROSE", 300)
    monkeypatch.setattr(text, "HELD_OUT", 2)
    monkeypatch.setattr(text, "_restaurants", lambda: iter(()))
    monkeypatch.setattr(text, "_paragraphs", lambda path: iter(()))
    monkeypatch.setattr(pretrain, "EVALUATIONS", 2)
    record = pretrain.pretrain(real_data, tmp_path, seed=0, steps=3)
    assert record["steps"] == 3 and record["held_out"]["all"]["tokens"] > 100
    assert "left" not in capsys.readouterr().err
    backbone = load(str(tmp_path))
    assert backbone.tokenizer.eos_token == pretrain.END and backbone.anatomy.total_parameters == RECORD["parameters"]
    assert backbones.pretraining(str(tmp_path))["seed"] == 0
