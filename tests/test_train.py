"""The training loop: schedule, order of data, loss rule, choice of checkpoint, exact resume."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from featherbench.contracts.tiny import write_backbone
from featherbench.harness import backbones
from featherbench.harness.decode import decode
from featherbench.harness.records import DecodingSettings, Settings
from featherbench.harness.text import Encoder, training_batch
from featherbench.harness.train import (
    Training,
    batch_indices,
    evaluation_steps,
    learning_rate_at,
    train,
    validation_loss,
)
from featherbench.harness.tuned import Slot, Tuned, new_slot
from featherbench.harness.weights import Whole
from featherbench.methods import METHODS, UNTUNED
from featherbench.tasks.load import load

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def backbone(tiny_llama: str) -> backbones.Backbone:
    return backbones.load(tiny_llama)


def run(backbone: backbones.Backbone, method: Any, **changes: Any) -> tuple[Training, Tuned]:
    config = method.config()
    encoder = Encoder(backbone=backbone, method=method, config=config)
    pairs = [
        (encoder.prompt(e.source[:40]), encoder.target(e.references[0][:30])) for e in load("places", "validation")
    ]
    slot = new_slot(method, config, backbone.anatomy, backbone.model, 0)
    tuned = Tuned(backbone.model, backbone.anatomy, [slot])
    arguments: dict[str, Any] = dict(
        learning_rate=1e-2,
        weight_decay=0.0,
        steps=6,
        settings=Settings(batch_size=4, evaluations=3),
        seed=0,
        precision="float32",
        pad=backbone.end,
    )
    return train(tuned, pairs[:20], pairs[20:24], **{**arguments, **changes}), tuned


def curve(state: Training, name: str) -> list[float]:
    return [p.value for p in state.curve if p.name == name]


def test_every_pair_comes_once_an_epoch_in_an_order_of_the_seed() -> None:
    epochs = [[i for step in range(5) for i in batch_indices(e * 5 + step, 4, 20, seed=1)] for e in range(2)]
    assert [sorted(e) for e in epochs] == [list(range(20))] * 2
    assert epochs[0] != epochs[1]
    assert batch_indices(3, 4, 20, seed=1) == batch_indices(3, 4, 20, seed=1) != batch_indices(3, 4, 20, seed=2)
    assert len(batch_indices(0, 8, 3, seed=1)) == 8, "a batch may be larger than the data"


def test_the_rate_warms_up_and_falls_linearly_to_zero() -> None:
    rates = [learning_rate_at(step, 10, 1.0, 2) for step in range(10)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert all(a - b == pytest.approx(0.125) for a, b in zip(rates[2:], rates[3:], strict=False))
    assert learning_rate_at(10, 10, 1.0, 0) == 0.0


def test_the_evaluation_grid_starts_at_zero_and_ends_at_the_end() -> None:
    assert evaluation_steps(12, 3) == {0, 4, 8, 12}
    assert max(evaluation_steps(7, 4)) == 7


def test_the_loss_is_the_mean_over_target_tokens(backbone: backbones.Backbone) -> None:
    """Against transformers' own cross-entropy on the bare backbone."""
    encoder = Encoder(backbone=backbone, method=UNTUNED, config=UNTUNED.config())
    pairs = [(encoder.prompt(e.source), encoder.target(e.references[0])) for e in load("places", "test")[:3]]
    batch = training_batch(pairs, backbone.end)
    slot = new_slot(UNTUNED, UNTUNED.config(), backbone.anatomy, backbone.model, 0)
    with torch.no_grad():
        sums, counts = Tuned(backbone.model, backbone.anatomy, [slot])(batch)
        expected = backbone.model(**batch).loss
    assert (sums / counts).item() == pytest.approx(expected.item(), rel=1e-5)
    assert counts.item() == sum(len(target) for _, target in pairs)


def test_the_weights_of_the_lowest_validation_loss_are_kept(backbone: backbones.Backbone) -> None:
    state, tuned = run(backbone, METHODS["prefix"], learning_rate=3.0)  # far too large: it gets worse
    losses = curve(state, "validation_loss")
    assert state.best_loss == min(losses) and state.best_step == [0, 2, 4, 6][losses.index(min(losses))]
    encoder = Encoder(backbone=backbone, method=METHODS["prefix"], config=METHODS["prefix"].config())
    pairs = [
        (encoder.prompt(e.source[:40]), encoder.target(e.references[0][:30])) for e in load("places", "validation")
    ]
    again = validation_loss(tuned, pairs[20:24], backbone.end, "float32", 4)
    assert again == state.best_loss, "the weights in place are those of the best loss"


def test_nothing_trained_is_step_zero(backbone: backbones.Backbone) -> None:
    state, _ = run(backbone, UNTUNED, steps=0)
    assert state.best_step == 0 and len(curve(state, "validation_loss")) == 1 and not state.diverged


def test_divergence_stops_the_run_and_leaves_the_best_checkpoint(backbone: backbones.Backbone) -> None:
    state, _ = run(backbone, METHODS["full_ft"], learning_rate=1e30)
    assert state.diverged and "step" in state.diverged
    assert math.isfinite(state.best_loss)


def test_patience_stops_early_when_asked_for(backbone: backbones.Backbone) -> None:
    settings = Settings(batch_size=4, evaluations=6, patience=2)
    state, _ = run(backbone, METHODS["full_ft"], learning_rate=1.0, settings=settings)
    assert state.step < 6 and state.step >= 2


@pytest.mark.parametrize("name", ["full_ft", "prefix", "adapter"])
def test_a_resumed_run_is_the_uninterrupted_run(name: str, backbone: backbones.Backbone, tmp_path: Path) -> None:
    """Stopped after any step's checkpoint and started again: the same curve and the same weights, bit for bit."""

    class Stop(Exception):
        pass

    def stop_at_four(done: int, total: int) -> None:
        if done == 4:
            raise Stop

    method = METHODS[name]
    whole, expected = run(backbone, method)
    with pytest.raises(Stop):
        run(backbone, method, checkpoint=tmp_path, checkpoint_seconds=0.0, on_progress=stop_at_four)
    assert [path.name[:12] for path in sorted(tmp_path.iterdir())] == ["step00000002", "step00000003"]
    steps: list[int] = []
    resumed, found = run(
        backbone,
        method,
        checkpoint=tmp_path,
        checkpoint_seconds=1e9,
        on_progress=lambda done, total: steps.append(done),
    )
    assert steps == [4, 5, 6], "the work before the checkpoint is not repeated"
    assert [p for p in resumed.curve] == [p for p in whole.curve]
    for (key, a), (_, b) in zip(expected.slots.named_parameters(), found.slots.named_parameters(), strict=True):
        assert torch.equal(a, b), key


def test_a_resumed_run_may_have_transposed_tensors(tmp_path: Path) -> None:
    """Whatever strides a method's `init` gives: AdamW's state belongs to the same numbers before and after."""
    start = torch.arange(6.0).view(2, 3)
    gradients = torch.randn(6, 3, 2, generator=torch.Generator().manual_seed(0))

    def stepped(weights: Whole, slot: Slot, steps: range) -> None:
        for step in steps:
            slot.trained["w"].grad = gradients[step].clone()
            weights.step()

    def fresh() -> tuple[Slot, Whole]:
        slot = Slot(METHODS["prefix"], None, {"w": start.T}, {})
        return slot, Whole(dict(slot.named_parameters()), 0.1, 0.0)

    (whole, weights), (first, some), (second, others) = fresh(), fresh(), fresh()
    stepped(weights, whole, range(6))
    stepped(some, first, range(3))
    some.save(tmp_path, Training(step=3), 0.0)
    others.begin(tmp_path)
    stepped(others, second, range(3, 6))
    assert torch.equal(whole.trained["w"], second.trained["w"])


def test_every_method_learns_the_same_data_in_the_same_order(backbone: backbones.Backbone) -> None:
    """Equal treatment: tokens of a step differ between methods by the virtual tokens only."""
    tokens = {name: run(backbone, method, steps=2)[0].tokens for name, method in METHODS.items()}
    virtual = METHODS["infix"].config().length * 2 * 4
    assert tokens["full_ft"] == tokens["ft_top2"] == tokens["adapter"] == tokens["prefix"]
    assert tokens["infix"] == tokens["embedding_only"] == tokens["full_ft"] + virtual


@pytest.mark.parametrize("name", METHODS)
def test_bfloat16_computes_nearly_the_same_loss(name: str, backbone: backbones.Backbone) -> None:
    """Weights stay float32 and so do the updates; only the computation is coarser, for every method."""
    exact, _ = run(backbone, METHODS[name], steps=2, learning_rate=1e-3)
    coarse, tuned = run(backbone, METHODS[name], steps=2, learning_rate=1e-3, precision="bfloat16")
    assert curve(coarse, "validation_loss") == pytest.approx(curve(exact, "validation_loss"), rel=0.02)
    assert all(p.dtype == torch.float32 for p in tuned.slots.parameters())


@pytest.mark.parametrize("family", ["bart", "t5"])
@pytest.mark.parametrize(("name", "rate", "steps"), [("full_ft", 3e-3, 120), ("adapter", 1e-2, 250)])
def test_a_handful_of_examples_is_learned_by_heart(
    family: str, name: str, rate: float, steps: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Encoder-decoder models: training, then beam search with the tuned model, gives the targets back to the letter."""
    backbone = backbones.load(str(write_backbone(family, tmp_path_factory.mktemp(family))))
    method = METHODS[name]
    config = method.config()
    encoder = Encoder(backbone=backbone, method=method, config=config)
    chosen = [(e.source[:40], e.references[0][:20].strip()) for e in load("places", "validation")[:4]]
    pairs = [(encoder.prompt(source), encoder.target(target)) for source, target in chosen]
    tuned = Tuned(backbone.model, backbone.anatomy, [new_slot(method, config, backbone.anatomy, backbone.model, 0)])
    train(
        tuned,
        pairs,
        pairs,
        learning_rate=rate,
        weight_decay=0.0,
        steps=steps,
        settings=Settings(batch_size=4, evaluations=2),
        seed=0,
        precision="float32",
        pad=backbone.end,
    )
    settings = DecodingSettings(beams=3, max_new_tokens=30, length_penalty=1.0)
    found = decode(tuned, encoder, [(i, source) for i, (source, _) in enumerate(chosen)], settings)
    assert [p.text for p in found] == [target for _, target in chosen]
