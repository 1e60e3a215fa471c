"""Decoding limits: no output is shorter than the minimum, in either kind of model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from featherbench.contracts.tiny import write_backbone
from featherbench.harness import backbones
from featherbench.harness.decode import decode
from featherbench.harness.records import DecodingSettings, Settings
from featherbench.harness.text import Encoder
from featherbench.harness.train import train
from featherbench.harness.tuned import Tuned, new_slot
from featherbench.methods import METHODS
from featherbench.tasks.load import load

torch.set_num_threads(1)


@pytest.mark.parametrize("family", ["llama", "bart"])
def test_a_model_that_would_say_nothing_says_as_much_as_it_must(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tuned on empty targets; longer outputs than the minimum would show that it was not tuned."""
    backbone = backbones.load(str(write_backbone(family, tmp_path)))
    method = METHODS["full_ft"]
    encoder = Encoder(backbone=backbone, method=method, config=method.config())
    sources = [e.source[:40] for e in load("places", "validation")[:4]]
    pairs = [(encoder.prompt(source), [backbone.end]) for source in sources]
    tuned = Tuned(
        backbone.model, backbone.anatomy, [new_slot(method, method.config(), backbone.anatomy, backbone.model, 0)]
    )
    train(
        tuned,
        pairs,
        pairs,
        learning_rate=1e-2,
        weight_decay=0.0,
        steps=12,
        settings=Settings(batch_size=4, evaluations=2),
        seed=0,
        precision="float32",
        pad=backbone.end,
    )
    lengths: list[int] = []

    def counted(self: Encoder, ids: Sequence[int]) -> tuple[str, bool]:
        lengths.append(list(ids).index(backbone.end))
        return "", False

    monkeypatch.setattr(Encoder, "text", counted)
    for least in (0, 7):
        settings = DecodingSettings(beams=2, max_new_tokens=12, length_penalty=1.0, min_new_tokens=least)
        decode(tuned, encoder, list(enumerate(sources)), settings)
    assert lengths == [0] * 4 + [7] * 4


def test_without_a_minimum_the_record_and_so_every_id_is_as_it_was() -> None:
    given = {"beams": 5, "max_new_tokens": 64, "length_penalty": 1.0}
    assert DecodingSettings(**given).model_dump() == given
    assert DecodingSettings(**given, min_new_tokens=11).model_dump() == {**given, "min_new_tokens": 11}
