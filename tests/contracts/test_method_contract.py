"""What every method must satisfy, on tiny GPT-2, Llama (grouped queries), BART and T5 models in float64."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from transformers import GenerationConfig

from featherbench.harness.backbones import Backbone
from featherbench.harness.counts import count
from featherbench.harness.decode import decode
from featherbench.harness.records import DecodingSettings, Settings
from featherbench.harness.search import sobol_configuration
from featherbench.harness.text import Encoder, decoding_batch, training_batch
from featherbench.harness.train import train
from featherbench.harness.tuned import CollapsedSlot, Slot, Tuned, new_slot
from featherbench.methods import METHODS
from featherbench.methods.base import Method
from featherbench.tasks.load import load as load_examples

SIZES = (3, 5, 2)
BEAMS = DecodingSettings(beams=3, max_new_tokens=12, length_penalty=1.0)


def configured(method: Method, size: int | None = None) -> Any:
    """The default configuration, small enough for a tiny backbone."""
    return method.config(**({method.size_field: size or 4} if method.size_field else {}))


def pairs_of(backbone: Backbone, method: Method, config: Any, number: int = 6) -> list[tuple[list[int], list[int]]]:
    encoder = Encoder(backbone=backbone, method=method, config=config)
    examples = load_examples("places", "validation")[:number]
    return [
        (encoder.prompt(e.source[: 20 + 7 * i]), encoder.target(e.references[0][: 15 + 5 * i]))
        for i, e in enumerate(examples)
    ]


def batch_of(backbone: Backbone, pairs: list[Any]) -> dict[str, torch.Tensor]:
    return training_batch(pairs, backbone.end, start=backbone.start)


def slot_of(backbone: Backbone, method: Method, size: int | None = None, seed: int = 0) -> Slot:
    return new_slot(method, configured(method, size), backbone.anatomy, backbone.model, seed)


def trained_slot(backbone: Backbone, method: Method, steps: int = 2, seed: int = 0) -> tuple[Tuned, Slot]:
    """A slot after a few real steps, so that nothing is at its initial value any more."""
    slot = slot_of(backbone, method, seed=seed)
    tuned = Tuned(backbone.model, backbone.anatomy, [slot])
    pairs = pairs_of(backbone, method, slot.config)
    fit(tuned, pairs, steps, backbone)
    return tuned, slot


def fit(tuned: Tuned, pairs: list[Any], steps: int, backbone: Backbone, **changes: Any) -> Any:
    arguments: dict[str, Any] = dict(
        learning_rate=1e-2,
        weight_decay=0.01,
        steps=steps,
        settings=Settings(batch_size=4, evaluations=1),
        seed=0,
        precision="float64",
        pad=backbone.end,
    )
    return train(tuned, pairs, pairs[:2], **{**arguments, **changes})


def bytes_of(model: torch.nn.Module) -> str:
    total = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        total.update(name.encode() + tensor.numpy().tobytes())
    return total.hexdigest()


def test_the_record_is_complete(method: Method) -> None:
    assert method.name.isidentifier()
    assert method.source and method.learning_rate_source
    assert method.version >= 1 and method.learning_rate > 0
    assert dataclasses.is_dataclass(method.config) and method.config.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert sum(bool(f.metadata.get("size")) for f in dataclasses.fields(method.config)) <= 1
    json.dumps(dataclasses.asdict(method.config()))  # a configuration travels as JSON
    assert METHODS[method.name] is method


def test_the_search_space_gives_valid_configurations(method: Method, backbone: Backbone) -> None:
    own = {f.name for f in dataclasses.fields(method.config)}
    space = method.space(backbone.anatomy)
    assert set(space) <= own
    for number in range(4):
        config = method.config(**sobol_configuration(space, 0, number))
        assert method.refuses(backbone.anatomy, config) is None


def test_a_lightweight_trial_leaves_the_backbone_as_it_was(method: Method, backbone: Backbone) -> None:
    before = bytes_of(backbone.model)
    tuned, slot = trained_slot(backbone, method)
    examples = [(0, "name : Harrow Quay | category : pier")]
    decode(tuned, Encoder(backbone=backbone, method=method, config=slot.config), examples, BEAMS)
    assert bytes_of(backbone.model) == before
    assert not any(p.requires_grad for p in backbone.model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in backbone.model.modules())


def test_a_step_moves_every_trained_tensor_and_nothing_else(method: Method, backbone: Backbone) -> None:
    slot = slot_of(backbone, method)
    before = {k: p.detach().clone() for k, p in slot.named_parameters()}
    frozen = bytes_of(backbone.model)
    state = fit(Tuned(backbone.model, backbone.anatomy, [slot]), pairs_of(backbone, method, slot.config), 2, backbone)
    assert state.best_step > 0, "the learning rate of this test must lower the loss"
    assert all(not torch.equal(p, before[k]) for k, p in slot.named_parameters())
    assert bytes_of(backbone.model) == frozen


def test_counts_are_those_of_the_real_tensors(method: Method, backbone: Backbone) -> None:
    slot = slot_of(backbone, method)
    counts = count(method, slot.config, backbone.anatomy)
    assert counts.trained == sum(p.numel() for p in slot.parameters())
    assert counts.stored == sum(t.numel() for t in slot.delta().values())
    assert counts.total == sum(p.numel() for p in backbone.model.parameters())


def test_collapse_save_and_load_change_no_logit(method: Method, backbone: Backbone) -> None:
    tuned, slot = trained_slot(backbone, method)
    batch = batch_of(backbone, pairs_of(backbone, method, slot.config))
    delta = load(save(slot.delta()))
    again = CollapsedSlot(method, slot.config, delta)
    with torch.no_grad():
        assert torch.equal(tuned.logits(batch), Tuned(backbone.model, backbone.anatomy, [again]).logits(batch))


def cached_logits(backbone: Backbone, batch: dict[str, torch.Tensor], given: list[int], new: list[int]) -> torch.Tensor:
    """The logits before each of the tokens `new`, one token a step; `given` stands before them in the decoder's input."""
    model, found, cache = backbone.model, [], None
    ids = torch.tensor([[*given, *new]])
    source = {k: batch[k] for k in ("input_ids", "attention_mask")}
    encoded = None if backbone.start is None else model.get_encoder()(**source)
    for end in range(len(given), ids.shape[1]):
        start = 0 if cache is None else end - 1
        if encoded is None:
            positions = torch.arange(start, end)[None]
            step = {"input_ids": ids[:, start:end], "attention_mask": torch.ones(1, end, dtype=torch.long)}
            step["position_ids"] = positions
        else:
            step = {"encoder_outputs": encoded, "attention_mask": source["attention_mask"]}
            step["decoder_input_ids"] = ids[:, start:end]
        output = model(**step, past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        found.append(output.logits[0, -1])
    return torch.stack(found)


def test_generation_uses_the_tuned_model(method: Method, backbone: Backbone) -> None:
    """Greedy generation takes the tokens that uncached logits prefer; cached logits equal them; the bare model's differ."""
    tuned, slot = trained_slot(backbone, method, steps=4)
    encoder = Encoder(backbone=backbone, method=method, config=slot.config)
    prompt = encoder.prompt("name : Harrow Quay | category : pier | built : 1874")
    with torch.no_grad(), tuned.attached():
        batch = decoding_batch([prompt], backbone.end, encoder=backbone.start is not None)
        chosen = GenerationConfig(
            max_new_tokens=8, do_sample=False, pad_token_id=0, eos_token_id=299, decoder_start_token_id=backbone.start
        )
        output = backbone.model.generate(**batch, generation_config=chosen)[0].tolist()
        given = prompt if backbone.start is None else [backbone.start]
        new = output[len(given) :]
        cached = cached_logits(backbone, batch, given, new)
    full = batch_of(backbone, [(prompt, new)])
    with torch.no_grad():
        wanted = slice(len(prompt) - 1, -1) if backbone.start is None else slice(None)
        uncached = tuned.logits(full)[0, wanted]
        sums, _ = tuned(full)
        bare_input = {k: v for k, v in full.items() if k != "labels"} | {"input_ids": full["input_ids"].clamp(max=299)}
        bare = backbone.model(**bare_input).logits[0, wanted]
    assert (cached - uncached).abs().max() < 1e-10
    assert new == uncached.argmax(-1).tolist()
    assert (uncached - bare).abs().max() > 1e-6, "the output is the bare backbone's"
    loss = torch.nn.functional.cross_entropy(uncached, torch.tensor(new), reduction="sum")
    assert sums.item() == pytest.approx(loss.item(), rel=1e-10), "the loss is that of the logits generation sees"


def test_batch_of_one_and_of_many_give_the_same_text(method: Method, backbone: Backbone) -> None:
    tuned, slot = trained_slot(backbone, method)
    encoder = Encoder(backbone=backbone, method=method, config=slot.config)
    items = [(i, e.source[: 15 + 11 * i]) for i, e in enumerate(load_examples("places", "test")[:5])]
    many = decode(tuned, encoder, items, BEAMS, batch_size=5)
    assert many == decode(tuned, encoder, items, BEAMS, batch_size=1)
    assert [p.item for p in many] == [i for i, _ in items]


def test_the_loss_is_that_of_all_logits(method: Method, backbone: Backbone) -> None:
    """What is never computed (padding, logits where there is no target) changes neither the loss nor a gradient."""
    tuned, slot = trained_slot(backbone, method)
    batch = batch_of(backbone, pairs_of(backbone, method, slot.config))
    labels = batch["labels"]
    assert (labels[:, -1] < 0).any(), "nothing is padded"
    logits = tuned.logits(batch)
    if backbone.start is None:  # a causal model's logits are those of the next token
        logits, labels = logits[:, :-1], labels[:, 1:]
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")
    found = tuned(batch)[0]
    assert torch.allclose(found, expected, rtol=1e-12, atol=0)
    parameters = list(slot.parameters())
    for a, b in zip(
        torch.autograd.grad(found.sum(), parameters, allow_unused=True),
        torch.autograd.grad(expected, parameters, allow_unused=True),
        strict=True,
    ):
        assert (a is None) == (b is None)
        assert a is None or torch.allclose(a, b, rtol=1e-10, atol=1e-12)


def test_behind_the_last_attention_only_what_predicts_targets_is_computed(method: Method, backbone: Backbone) -> None:
    """Of causal models, in whose last block no token looks at another any more."""
    if backbone.start is not None:
        pytest.skip("an encoder-decoder model, whose decoder reads nothing but targets")
    tuned, slot = trained_slot(backbone, method)
    batch = batch_of(backbone, pairs_of(backbone, method, slot.config))
    seen: dict[str, int] = {}
    blocks = {point.module: point.place for point in backbone.anatomy.at("mlp_output")}
    hooks = [
        backbone.model.get_submodule(name).register_forward_pre_hook(
            lambda module, args, name=name: seen.__setitem__(name, args[0].shape[1])
        )
        for name in blocks
    ]
    tuned(batch)
    for hook in hooks:
        hook.remove()
    *lower, last = sorted(seen, key=lambda name: blocks[name])
    assert seen[last] == (batch["labels"] >= 0).sum()
    assert all(seen[name] == batch["attention_mask"].sum() for name in lower)


def test_slots_together_equal_slots_alone(method: Method, backbone: Backbone) -> None:
    """Three slots of other sizes give the losses, logits and gradients that each gives alone."""
    if method.unfrozen(backbone.anatomy, configured(method)):
        with pytest.raises(ValueError, match="cannot share a pack"):
            Tuned(backbone.model, backbone.anatomy, [slot_of(backbone, method), slot_of(backbone, method)])
        return
    slots = [slot_of(backbone, method, size, seed) for seed, size in enumerate(SIZES)]
    texts = [pairs_of(backbone, method, slot.config, 3) for slot in slots]
    losses, logits, gradients = [], [], []
    for slot, pairs in zip(slots, texts, strict=True):
        alone = Tuned(backbone.model, backbone.anatomy, [slot])
        batch = batch_of(backbone, pairs)
        sums, counts = alone(batch)
        losses.append(sums / counts)
        sums.sum().backward()
        gradients.append({k: p.grad.clone() for k, p in slot.named_parameters() if p.grad is not None})
        slot.zero_grad()
        logits.append(alone.logits(batch).detach()[batch["labels"] >= 0])
    together = Tuned(backbone.model, backbone.anatomy, slots)
    batch = batch_of(backbone, [pair for pairs in texts for pair in pairs])
    sums, counts = together(batch)
    sums.sum().backward()
    assert torch.allclose(sums / counts, torch.cat(losses), rtol=0, atol=1e-12)
    found = together.logits(batch).detach()[batch["labels"] >= 0]
    assert torch.allclose(found, torch.cat(logits), rtol=0, atol=1e-10)
    for slot, expected in zip(slots, gradients, strict=True):
        for name, parameter in slot.named_parameters():
            if name in expected:
                assert parameter.grad is not None
                assert torch.allclose(parameter.grad, expected[name], rtol=0, atol=1e-10), name


def test_packed_training_steps_equal_alone(method: Method, backbone: Backbone) -> None:
    """The padding of a smaller slot never leaks into its weights: the same AdamW steps, packed and alone."""
    if method.unfrozen(backbone.anatomy, configured(method)):
        pytest.skip("trains weights of the backbone, so it does not pack")
    if method.size_field is None:
        pytest.skip("has no size, so its slots are never padded; other tests pack it")

    def losses(groups: list[list[int]]) -> dict[int, list[float]]:
        slots = [slot_of(backbone, method, size, seed) for seed, size in enumerate(SIZES)]
        curves: dict[int, list[float]] = {i: [] for i in range(len(slots))}
        for group in groups:
            tuned = Tuned(backbone.model, backbone.anatomy, [slots[i] for i in group])
            optimizers = {i: torch.optim.AdamW(slots[i].parameters(), lr=1e-2) for i in group}
            for _ in range(8):
                pairs = [p for i in group for p in pairs_of(backbone, method, slots[i].config, 2)]
                batch = batch_of(backbone, pairs)
                sums, counts = tuned(batch)
                (sums / counts).sum().backward()
                for row, i in enumerate(group):
                    curves[i].append((sums[row] / counts[row]).item())
                    optimizers[i].step()
                    optimizers[i].zero_grad()
        return curves

    alone, packed = losses([[0], [1], [2]]), losses([[0, 1, 2]])
    gaps = [abs(a - b) for i in alone for a, b in zip(alone[i], packed[i], strict=True)]
    assert max(gaps) < 1e-10


def test_micro_batches_change_nothing(method: Method, backbone: Backbone) -> None:
    """The loss is a sum over target tokens divided by their number in the whole batch, however it is split."""

    def run(micro_batch: int | None) -> list[float]:
        slot = slot_of(backbone, method)
        tuned = Tuned(backbone.model, backbone.anatomy, [slot])
        pairs = pairs_of(backbone, method, slot.config)
        state = fit(tuned, pairs, 3, backbone, micro_batch=micro_batch)
        return [p.value for p in state.curve if p.name in ("train_loss", "validation_loss")]

    whole = run(None)
    assert whole == pytest.approx(run(1), abs=1e-9)
    assert whole == pytest.approx(run(3), abs=1e-9)


def test_the_same_seed_gives_the_same_run(method: Method, backbone: Backbone) -> None:
    def losses() -> list[float]:
        tuned, _ = trained_slot(backbone, method, seed=5)
        batch = batch_of(backbone, pairs_of(backbone, method, configured(method)))
        with torch.no_grad():
            return tuned(batch)[0].tolist()

    assert losses() == losses()


def test_task_words_can_be_the_initialisation(method: Method, backbone: Backbone) -> None:
    """A method that takes words starts from them; one that cannot says so by its record."""
    from featherbench.harness.worker import WordsProbe

    if not method.takes_words or backbone.start is not None:
        return  # encoder-decoder models: every method gets the words in its text
    probe = WordsProbe(backbone, "describe the place:")
    config = configured(method)
    with_words = method.init(backbone.anatomy, config, torch.Generator().manual_seed(0), probe)
    without = method.init(backbone.anatomy, config, torch.Generator().manual_seed(0), None)
    assert {k: v.shape for k, v in with_words.items()} == {k: v.shape for k, v in without.items()}
    assert any(not torch.equal(with_words[k], without[k]) for k in without)
