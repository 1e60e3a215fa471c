"""Our beam search gives the text of transformers' `generate`, for every method, together and alone."""

from __future__ import annotations

import dataclasses
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from featherbench.harness import backbones
from featherbench.harness import decode as decode_module
from featherbench.harness.backbones import Backbone
from featherbench.harness.beam import Memory, search
from featherbench.harness.decode import Request, Together, decode, decode_together, generate
from featherbench.harness.records import DecodingSettings, Prediction
from featherbench.harness.text import Encoder, training_batch
from featherbench.harness.tuned import Slot, Tuned, new_slot
from featherbench.harness.turns import Turns
from featherbench.methods import METHODS
from featherbench.methods.base import Method
from featherbench.tasks.load import load as load_examples

torch.set_num_threads(1)
SETTINGS = [
    DecodingSettings(beams=beams, max_new_tokens=tokens, length_penalty=penalty)
    for beams, tokens, penalty in [(1, 20, 1.0), (2, 3, 1.0), (5, 20, 1.0), (5, 20, 0.0), (3, 20, -0.5)]
]
SETTINGS += [DecodingSettings(beams=n, min_new_tokens=9, max_new_tokens=20, length_penalty=1.0) for n in (1, 4)]
# sources of very different length, so that much is padding
ITEMS = [(i, example.source[: 4 + 9 * i]) for i, example in enumerate(load_examples("places", "test")[:9])]
MANY = DecodingSettings(beams=5, max_new_tokens=70, length_penalty=1.0)


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def backbone(request: pytest.FixtureRequest) -> Backbone:
    """A tiny random backbone in float64 whose outputs depend on the source and often end early."""
    loaded = backbones.load(request.getfixturevalue(f"tiny_{request.param}"), torch.float64)
    # a head of its own: with the tied one, the separator before the output would ask for itself
    head = torch.randn(loaded.anatomy.vocab_size, loaded.anatomy.width, generator=torch.Generator().manual_seed(2))
    head[loaded.end] *= 4
    loaded.model.lm_head.weight = torch.nn.Parameter(0.3 * head.double(), requires_grad=False)
    return dataclasses.replace(loaded, forbidden=(*loaded.forbidden, 40, 41, 42, 200))


def slot_of(backbone: Backbone, method: Method, size: int = 4, seed: int = 0) -> Slot:
    """A slot far from its initial values, as after training."""
    config = method.config(**({method.size_field: size} if method.size_field else {}))
    slot = new_slot(method, config, backbone.anatomy, backbone.model, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in slot.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return slot


def decoded(backbone: Backbone, slot: Slot, settings: DecodingSettings, **arguments: Any) -> list[Prediction]:
    encoder = Encoder(backbone=backbone, method=slot.method, config=slot.config)
    return decode(Tuned(backbone.model, backbone.anatomy, [slot]), encoder, ITEMS, settings, **arguments)


@pytest.mark.parametrize("name", METHODS)
def test_the_text_is_that_of_generate(name: str, backbone: Backbone) -> None:
    slot = slot_of(backbone, METHODS[name])
    reference = [decoded(backbone, slot, s, engine="generate") for s in SETTINGS]
    assert [decoded(backbone, slot, s) for s in SETTINGS] == reference
    everything = [p for found in reference for p in found]
    assert {p.truncated for p in everything} == {True, False}, (
        "a test without ends, or without truncations, shows little"
    )
    assert len({p.text for p in everything}) >= len(ITEMS)


def test_long_outputs_outgrow_the_store_and_are_still_those_of_generate(backbone: Backbone) -> None:
    slot = slot_of(backbone, METHODS["prefix"])
    backbone = dataclasses.replace(backbone, end=7)  # hardly ever likely
    assert decoded(backbone, slot, MANY) == decoded(backbone, slot, MANY, engine="generate")


@pytest.mark.parametrize("name", ["adapter", "prefix"])
def test_the_company_of_other_inputs_changes_no_text(name: str, backbone: Backbone) -> None:
    slot = slot_of(backbone, METHODS[name])
    alone = decoded(backbone, slot, SETTINGS[2], batch_size=1)
    for batch_size in (2, 4, 9):
        assert decoded(backbone, slot, SETTINGS[2], batch_size=batch_size) == alone


@pytest.mark.parametrize("settings", [SETTINGS[0], SETTINGS[2]], ids=["greedy", "beams"])
@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("full_ft", "ft_top2")])
def test_slots_together_give_the_text_of_each_alone(name: str, settings: DecodingSettings, backbone: Backbone) -> None:
    """Three slots of different sizes with nine, four and no inputs."""
    slots = [slot_of(backbone, METHODS[name], size, seed) for seed, size in enumerate((3, 5, 2))]
    encoders = [Encoder(backbone=backbone, method=s.method, config=s.config) for s in slots]
    lists = [ITEMS, ITEMS[2:6], []]

    def together(members: list[int], batch_size: int) -> list[list[Prediction]]:
        tuned = Tuned(backbone.model, backbone.anatomy, [slots[i] for i in members])
        return decode_together(tuned, [encoders[i] for i in members], [lists[i] for i in members], settings, batch_size)

    alone = [together([i], 20)[0] for i in range(3)]
    assert alone[0][2:6] != alone[1], "the slots are different models"
    for batch_size in (40, 7):
        assert together([0, 1, 2], batch_size) == alone


def test_finished_inputs_leave_and_dead_beams_columns_with_them(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: list[tuple[int, int]] = []
    tidy = Memory.tidy

    def noted(memory: Memory, rows: torch.Tensor) -> None:
        before = memory.used
        tidy(memory, rows)
        shapes.append((len(rows), memory.used))
        assert memory.used <= before

    monkeypatch.setattr(Memory, "tidy", noted)
    decoded(backbone, slot_of(backbone, METHODS["prefix"]), MANY)
    assert shapes[-1][0] < len(ITEMS), "some inputs finish before others"
    inputs = [n for n, _ in shapes]
    assert inputs == sorted(inputs, reverse=True)
    assert shapes[-1][1] < MANY.beams * MANY.max_new_tokens, "the beams share most of their past"


def test_progress_counts_finished_inputs_up_to_all(backbone: Backbone) -> None:
    seen: list[tuple[int, int]] = []
    slot = slot_of(backbone, METHODS["adapter"])
    decoded(backbone, slot, SETTINGS[2], batch_size=4, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(seen) and seen[-1] == (9, 9) and {total for _, total in seen} == {9}


def test_nothing_to_decode_is_no_error(backbone: Backbone) -> None:
    slot = slot_of(backbone, METHODS["adapter"])
    encoder = Encoder(backbone=backbone, method=slot.method, config=slot.config)
    assert decode(Tuned(backbone.model, backbone.anatomy, [slot]), encoder, [], SETTINGS[2]) == []


def test_generate_refuses_several_slots(backbone: Backbone) -> None:
    slots = [slot_of(backbone, METHODS["adapter"], seed=seed) for seed in (0, 1)]
    encoders = [Encoder(backbone=backbone, method=s.method, config=s.config) for s in slots]
    tuned = Tuned(backbone.model, backbone.anatomy, slots)
    with pytest.raises(ValueError, match="one slot at a time"):
        decode_together(tuned, encoders, [ITEMS, ITEMS], SETTINGS[2], engine="generate")


def score(tuned: Tuned, backbone: Backbone, prompt: list[int], output: list[int]) -> float:
    """What a beam search with length penalty 1 ranks an output by: its mean log-probability a token, in nats."""
    ended = output[: output.index(backbone.end) + 1] if backbone.end in output else output
    sums, counts = tuned(training_batch([(prompt, ended)], backbone.end))
    return -sums.item() / int(counts)


def test_in_float32_outputs_differ_only_where_they_are_equally_good(real_data: Path) -> None:
    """On real sources: another output than `generate`'s has its score within 1e-4 nats a token."""
    backbone = backbones.load("feather-3m")
    slot = slot_of(backbone, METHODS["prefix"])
    encoder = Encoder(backbone=backbone, method=slot.method, config=slot.config)
    tuned = Tuned(backbone.model, backbone.anatomy, [slot])
    prompts = [encoder.prompt(example.source) for example in load_examples("e2e", "test")[:24]]
    settings = DecodingSettings(beams=5, max_new_tokens=24, length_penalty=1.0)
    theirs = generate(tuned, encoder, prompts, settings, batch_size=8)
    (ours,) = search(tuned, [prompts], settings, end=backbone.end, forbidden=backbone.forbidden, at_once=24)
    found = list(zip(prompts, ours, theirs, strict=True))
    others = [(prompt, a, b) for prompt, a, b in found if encoder.text(a) != encoder.text(b)]
    assert len(others) <= 4
    for prompt, a, b in others:
        assert abs(score(tuned, backbone, prompt, a) - score(tuned, backbone, prompt, b)) < 1e-4


def requests(backbone: Backbone, name: str, number: int) -> list[Request]:
    slots = [slot_of(backbone, METHODS[name], size=2 + n, seed=n) for n in range(number)]
    encoders = [Encoder(backbone=backbone, method=s.method, config=s.config) for s in slots]
    return [
        Request(slot=slot, encoder=encoder, items=ITEMS[n:], settings=SETTINGS[2])
        for n, (slot, encoder) in enumerate(zip(slots, encoders, strict=True))
    ]


def decode_all(backbone: Backbone, wanted: list[Request]) -> list[BaseException | None]:
    """Let every request wait before the first is served; return what each raised."""
    turns = Turns()
    together = Together(turns)
    with ThreadPoolExecutor(len(wanted)) as threads:
        with turns:
            asked = [threads.submit(together.decode, request) for request in wanted]
            while len(turns._queue) <= len(wanted):
                time.sleep(0.001)
        return [future.exception() for future in asked]


def test_trials_that_wait_are_decoded_together(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    together, alone = requests(backbone, "prefix", 3), requests(backbone, "prefix", 3)
    passes: list[int] = []
    plain = decode_module.search
    monkeypatch.setattr(
        decode_module, "search", lambda tuned, *a, **k: (passes.append(len(tuned.slots)), plain(tuned, *a, **k))[1]
    )
    assert decode_all(backbone, together) == [None] * 3
    assert passes == [3]
    for request in alone:
        Together(Turns()).decode(request)
    assert [r.predictions for r in together] == [r.predictions for r in alone]


def test_one_that_fails_takes_no_other_along(backbone: Backbone) -> None:
    together, alone = requests(backbone, "adapter", 3), requests(backbone, "adapter", 3)
    for request in (together[1], alone[1]):
        request.items = [None]  # type: ignore[list-item]
    assert [error is None for error in decode_all(backbone, together)] == [True, False, True]
    for n in (0, 2):
        Together(Turns()).decode(alone[n])
        assert together[n].predictions == alone[n].predictions


def test_methods_that_unfreeze_weights_are_decoded_one_by_one(backbone: Backbone) -> None:
    assert decode_all(backbone, requests(backbone, "full_ft", 2)) == [None, None]
