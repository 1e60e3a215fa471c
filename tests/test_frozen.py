"""Frozen work done once: what is constant is derived, and training with it equals training without."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from featherbench.contracts.tiny import LAYERS, config, write_backbone
from featherbench.harness import backbones
from featherbench.harness.frozen import HEADER_BYTES, Batches, Cache, Constant, Varying, constant_work
from featherbench.harness.plan import expand
from featherbench.harness.records import Settings
from featherbench.harness.text import EncodedPair, Encoder, shared_source_batch, training_batch
from featherbench.harness.train import Training, parts_of, train, validation_loss
from featherbench.harness.tuned import Tuned, new_slot
from featherbench.harness.worker import Engine, run_trial
from featherbench.methods import METHODS, UNTUNED
from featherbench.methods.base import Method
from featherbench.tasks.load import load

torch.set_num_threads(1)

MIB = 1 << 20
KEPT = {"ft_top2": Constant(blocks=LAYERS - 2), "infix": Constant(source=True)}
"""The methods below which something is constant, on the three-layer models of these tests"""


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def backbone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> backbones.Backbone:
    """A tiny causal model in float64; Llama with grouped queries."""
    folder: Path = write_backbone(request.param, tmp_path_factory.mktemp(request.param))
    return backbones.load(str(folder), torch.float64)


@pytest.fixture(scope="module")
def encoder_decoder(tmp_path_factory: pytest.TempPathFactory) -> backbones.Backbone:
    return backbones.load(str(write_backbone("bart", tmp_path_factory.mktemp("bart"))), torch.float64)


def tuned_by(backbone: backbones.Backbone, method: Method, **options: Any) -> Tuned:
    slot = new_slot(method, method.config(**options), backbone.anatomy, backbone.model, 0)
    return Tuned(backbone.model, backbone.anatomy, [slot])


def pairs_for(backbone: backbones.Backbone, method: Method, **options: Any) -> list[EncodedPair]:
    """Twelve pairs of six sources, all of other lengths: each source has two references."""
    encoder = Encoder(backbone=backbone, method=method, config=method.config(**options))
    return [
        (encoder.prompt(e.source[: 12 + 7 * i]), encoder.target(e.references[0][: 9 + 5 * i + 4 * j]))
        for i, e in enumerate(load("places", "validation")[:6])
        for j in range(2)
    ]


def cache_of(memory: int = 64 * MIB, folder: Path | None = None, disk: int = 0, backbone: str = "one") -> Cache:
    return Cache(backbone_sha256=backbone, memory_bytes=memory, folder=folder, disk_bytes=disk)


def run(
    backbone: backbones.Backbone, name: str, cache: Cache | None, steps: int = 4, **changes: Any
) -> tuple[Training, Tuned]:
    method = METHODS[name]
    tuned, pairs = tuned_by(backbone, method), pairs_for(backbone, method)
    arguments: dict[str, Any] = dict(
        learning_rate=1e-2,
        weight_decay=0.01,
        steps=steps,
        settings=Settings(batch_size=4, evaluations=2),
        seed=0,
        precision="float64",
        pad=backbone.end,
    )
    return train(tuned, pairs[:8], pairs[8:], **{**arguments, **changes}, cache=cache), tuned


def losses(state: Training) -> list[float]:
    return [p.value for p in state.curve if p.name in ("train_loss", "validation_loss")]


# --- what is constant -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("ft_top2", {}, Constant(blocks=LAYERS - 2)),
        ("ft_top2", {"blocks": 1}, Constant(blocks=LAYERS - 1)),
        ("ft_top2", {"token_table": True}, Varying(reason="the token table is trained")),
        ("ft_top2", {"blocks": LAYERS}, Varying(reason="weights of block 0 are trained")),
        ("full_ft", {}, Varying(reason="the token table is trained")),
        ("prefix", {}, Varying(reason="every position sees trained keys and values from block 0 on")),
        ("adapter", {}, Varying(reason="every position is edited from block 0 on")),
        ("adapter", {"design": 2}, Varying(reason="every position is edited from block 0 on")),
        ("infix", {}, Constant(source=True)),
        ("embedding_only", {}, Varying(reason="no position stands before the first virtual token")),
    ],
)
def test_what_is_constant_follows_from_what_a_method_touches(
    name: str, options: dict[str, Any], expected: Constant | Varying, backbone: backbones.Backbone
) -> None:
    assert constant_work(tuned_by(backbone, METHODS[name], **options)) == expected


def test_nothing_is_kept_where_nothing_is_trained(backbone: backbones.Backbone) -> None:
    assert constant_work(tuned_by(backbone, UNTUNED)) == Varying(reason="nothing is trained")


def test_an_edit_that_starts_at_an_upper_block_leaves_the_lower_ones_constant(backbone: backbones.Backbone) -> None:
    upper = dataclasses.replace(METHODS["adapter"], points=lambda anatomy, config: anatomy.at("block")[2:])
    assert constant_work(tuned_by(backbone, upper)) == Constant(blocks=2)


def test_under_a_final_norm_that_is_trained_alone_the_last_block_still_runs(backbone: backbones.Backbone) -> None:
    method = dataclasses.replace(METHODS["ft_top2"], unfrozen=lambda anatomy, config: anatomy.final_norm)
    tuned, pairs = tuned_by(backbone, method), pairs_for(backbone, METHODS["ft_top2"])
    assert constant_work(tuned) == Constant(blocks=LAYERS - 1)
    plain, _ = tuned(training_batch(pairs, backbone.end))
    found, _ = tuned(Batches(tuned, backbone.end, "float64", cache_of())(pairs))
    assert found.item() == pytest.approx(plain.item(), rel=1e-12)


def test_an_edit_that_starts_as_the_identity_is_still_an_edit(backbone: backbones.Backbone) -> None:
    """An adapter whose second layer starts at zero touches nothing yet, and every position later."""

    def silent(*arguments: Any) -> dict[str, torch.Tensor]:
        tensors = METHODS["adapter"].init(*arguments)
        return {**tensors, "up": torch.zeros_like(tensors["up"])}

    method = dataclasses.replace(METHODS["adapter"], init=silent)
    assert constant_work(tuned_by(backbone, method)) == Varying(reason="every position is edited from block 0 on")


def test_virtual_tokens_below_a_trained_block_are_refused(backbone: backbones.Backbone) -> None:
    method = dataclasses.replace(METHODS["infix"], unfrozen=lambda anatomy, config: anatomy.blocks[-1])
    assert constant_work(tuned_by(backbone, method)) == Varying(
        reason="virtual tokens stand below what else is trained"
    )


@pytest.mark.parametrize("name", KEPT)
def test_shifted_positions_are_refused(name: str, backbone: backbones.Backbone) -> None:
    method = dataclasses.replace(METHODS[name], offset=lambda config: 3)
    assert constant_work(tuned_by(backbone, method)) == Varying(reason="the text's positions are shifted")


@pytest.mark.parametrize("name", KEPT)
def test_a_weight_of_the_backbone_that_is_trained_below_is_refused(name: str, backbone: backbones.Backbone) -> None:
    tuned = tuned_by(backbone, METHODS[name])
    weight = backbone.model.get_parameter(backbone.anatomy.blocks[0][0])
    weight.requires_grad_(True)
    try:
        assert constant_work(tuned) == Varying(reason="weights of block 0 are trained")
    finally:
        weight.requires_grad_(False)


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("name", KEPT)
def test_dropout_is_refused(family: str, name: str) -> None:
    shape = config(family)
    if family == "llama":
        shape.attention_dropout = 0.1
    model = AutoModelForCausalLM.from_config(shape)
    from featherbench.harness.anatomy import anatomy_of

    method, anatomy = METHODS[name], anatomy_of(shape)
    tuned = Tuned(model, anatomy, [new_slot(method, method.config(), anatomy, model, 0)])
    assert constant_work(tuned) == KEPT[name], "in eval mode nothing is dropped"
    model.train()
    assert constant_work(tuned) == Varying(reason="dropout is on")


@pytest.mark.parametrize("name", ["ft_top2", "full_ft", "prefix"])
def test_encoder_decoder_models_are_refused(name: str, encoder_decoder: backbones.Backbone) -> None:
    tuned = tuned_by(encoder_decoder, METHODS[name])
    assert constant_work(tuned) == Varying(reason="encoder-decoder models are not covered")


def test_the_reason_is_kept_with_the_run(backbone: backbones.Backbone) -> None:
    said = {name: run(backbone, name, cache_of(), steps=1)[0].frozen_work for name in ("ft_top2", "infix", "full_ft")}
    assert said == {
        "ft_top2": "hidden states below block 1",
        "infix": "keys and values of the source",
        "full_ft": "nothing: the token table is trained",
    }
    assert run(backbone, "infix", cache_of(memory=0), steps=1)[0].frozen_work == "nothing: no cache is allowed"


# --- equal numbers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("memory", [64 * MIB, 20_000, 1], ids=["all kept", "some evicted", "none kept"])
@pytest.mark.parametrize("name", KEPT)
def test_twenty_steps_equal_those_without_a_cache(name: str, memory: int, backbone: backbones.Backbone) -> None:
    """Training and validation losses, and the gradient norms, to 1e-10; then the gradients themselves."""
    plain, one = run(backbone, name, None, steps=20, learning_rate=1e-3)
    cached, other = run(backbone, name, cache_of(memory), steps=20, learning_rate=1e-3)
    for a, b in zip(plain.curve, cached.curve, strict=True):
        assert (a.step, a.name) == (b.step, b.name)
        assert a.value == pytest.approx(b.value, rel=0, abs=1e-10), a
    pairs = pairs_for(backbone, METHODS[name])
    other.slots.load_state_dict(one.slots.state_dict())
    one(training_batch(pairs, backbone.end))[0].sum().backward()
    other(Batches(other, backbone.end, "float64", cache_of(memory))(pairs))[0].sum().backward()
    for (key, a), (_, b) in zip(one.slots.named_parameters(), other.slots.named_parameters(), strict=True):
        assert a.grad is not None and b.grad is not None and a.grad.abs().max() > 0 or "k_proj" in key or "attn" in key
        assert torch.allclose(a.grad, b.grad, rtol=0, atol=1e-10), key


@pytest.mark.parametrize("name", KEPT)
def test_less_is_computed_with_a_cache(name: str, backbone: backbones.Backbone) -> None:
    """The lowest block sees nothing of a text whose states are known; of one whose source is known, what follows it."""
    seen: list[int] = []
    method = METHODS[name]
    tuned, pairs = tuned_by(backbone, method), pairs_for(backbone, method)
    batches = Batches(tuned, backbone.end, "float64", cache_of())
    batches.prepare(pairs)
    lowest = backbone.model.get_submodule(backbone.anatomy.at("block")[0].module)
    with lowest.register_forward_pre_hook(lambda module, args: seen.append(args[0].shape[1])):
        tuned(batches(pairs[:4]))
    rest = sum(method.config().length + 1 + len(target) for _, target in pairs[:4]) if name == "infix" else None
    assert seen == ([rest] if rest else [])


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("name", KEPT)
def test_the_bits_of_an_entry_do_not_depend_on_what_was_computed_with_it(
    name: str, family: str, tmp_path: Path
) -> None:
    """So a trial finds the same numbers whichever trial came first; a high learning rate makes any rounding large."""
    backbone = backbones.load(str(write_backbone(family, tmp_path)))
    pairs = pairs_for(backbone, METHODS[name])

    def entries(*calls: list[EncodedPair]) -> dict[str, torch.Tensor]:
        cache = cache_of()
        batches = Batches(tuned_by(backbone, METHODS[name]), backbone.end, "float32", cache)
        for some in calls:
            batches.prepare(some)
        return {key: cache.get(key) for pair in pairs for key in batches._keys(pair)}  # type: ignore[misc]

    together = entries(pairs)
    for calls in ([[pair] for pair in pairs], [pairs[7:], pairs[:9]], [pairs[::-3], pairs[::2], pairs]):
        found = entries(*calls)
        assert found.keys() == together.keys()
        assert all(torch.equal(found[key], together[key]) for key in together)


@pytest.mark.parametrize("memory", [64 * MIB, 20_000, 1], ids=["all kept", "some evicted", "none kept"])
@pytest.mark.parametrize("name", KEPT)
def test_a_trial_has_the_same_bits_after_another_one(name: str, memory: int, tmp_path: Path) -> None:
    """One that trained on some of its texts and on others, with any bound that lets something be kept."""
    backbone = backbones.load(str(write_backbone("llama", tmp_path)))

    def found(cache: Cache) -> list[float]:
        return losses(run(backbone, name, cache, precision="float32", learning_rate=0.1)[0])

    alone, used = found(cache_of()), cache_of(memory, tmp_path / "frozen", disk=MIB)
    others = Batches(tuned_by(backbone, METHODS[name]), backbone.end, "float32", used)
    others.prepare(pairs_for(backbone, METHODS[name])[5::3])
    assert found(used) == alone
    assert found(cache_of(memory)) == alone


def test_slots_of_a_pack_share_their_sources(backbone: backbones.Backbone) -> None:
    """Infixes of other lengths train together on cached sources as they do on plain batches."""
    method, lengths = METHODS["infix"], (3, 5, 2)
    slots = [
        new_slot(method, method.config(length=n), backbone.anatomy, backbone.model, seed)
        for seed, n in enumerate(lengths)
    ]
    tuned = Tuned(backbone.model, backbone.anatomy, slots)
    pairs = [pair for n in lengths for pair in pairs_for(backbone, method, length=n)[:5]]
    cache = cache_of()
    batches = Batches(tuned, backbone.end, "float64", cache)
    plain, found = tuned(training_batch(pairs, backbone.end)), tuned(batches(pairs))
    assert torch.allclose(plain[0], found[0], rtol=0, atol=1e-10)
    assert torch.equal(plain[1], found[1])
    assert cache.computed == 3, "five pairs of three sources, the same for every slot"


@pytest.mark.parametrize("name", KEPT)
def test_bfloat16_is_as_near_as_bfloat16_is(name: str, tmp_path: Path) -> None:
    """Sources are kept as the attention rounds them; hidden states stay float32 as the residual stream does."""
    backbone = backbones.load(str(write_backbone("llama", tmp_path)))
    method = METHODS[name]
    exact = losses(run(backbone, name, None, precision="float32", steps=2, learning_rate=1e-3)[0])
    plain = losses(run(backbone, name, None, precision="bfloat16", steps=2, learning_rate=1e-3)[0])
    cached = losses(run(backbone, name, cache_of(), precision="bfloat16", steps=2, learning_rate=1e-3)[0])
    assert cached == pytest.approx(exact, rel=0.02)
    assert cached == pytest.approx(plain, rel=0.02)
    batch = Batches(tuned_by(backbone, method), backbone.end, "bfloat16", cache_of())(pairs_for(backbone, method))
    dtypes = {key: tensor.dtype for key, tensor in batch.items() if tensor.is_floating_point()}
    assert dtypes == (
        {"hidden": torch.float32}
        if name == "ft_top2"
        else {"source_keys": torch.bfloat16, "source_values": torch.bfloat16}
    )


def test_the_backbone_is_as_before(backbone: backbones.Backbone) -> None:
    """Also when the pass fails half way."""
    names = [name for name, _ in backbone.model.named_modules()]
    for name in KEPT:
        _, tuned = run(backbone, name, cache_of(), steps=1)
        batch = Batches(tuned, backbone.end, "float64", cache_of())(pairs_for(backbone, METHODS[name]))
        with pytest.raises(IndexError):
            tuned({**batch, "labels": batch["labels"][:, :3]})
    assert [name for name, _ in backbone.model.named_modules()] == names
    for module in backbone.model.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks
        assert not [key for key in module.__dict__ if key.startswith("featherbench")]


# --- references that share a source -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*METHODS, "untuned"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "bart", "t5"])
def test_references_share_their_source_in_the_validation_loss(name: str, family: str, tmp_path: Path) -> None:
    backbone = backbones.load(str(write_backbone(family, tmp_path)), torch.float64)
    method = UNTUNED if name == "untuned" else METHODS[name]
    if method.refuses(backbone.anatomy, method.config()):
        pytest.skip("refused on this family")
    tuned, pairs = tuned_by(backbone, method), pairs_for(backbone, method)
    plain = training_batch(pairs, backbone.end, start=backbone.start)
    shared = shared_source_batch(pairs, backbone.end, start=backbone.start)
    assert shared["source_rows"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    with torch.no_grad():
        (sums, counts), (found, same) = tuned(plain), tuned(shared)
    assert torch.allclose(sums, found, rtol=0, atol=1e-10) and torch.equal(counts, same)
    mean = validation_loss(tuned, pairs, backbone.end, "float64", batch_size=5)
    assert mean == pytest.approx((sums.sum() / counts.sum()).item(), rel=0, abs=1e-10)


def test_slots_of_a_pack_share_nothing_with_each_other(backbone: backbones.Backbone) -> None:
    """Each slot's prompts stand once, with as many rows for one slot as for another."""
    method = METHODS["prefix"]
    slots = [new_slot(method, method.config(length=n), backbone.anatomy, backbone.model, n) for n in (3, 5)]
    tuned, pairs = Tuned(backbone.model, backbone.anatomy, slots), pairs_for(backbone, method)
    rows = [*pairs[:4], *pairs[6:8], pairs[9], pairs[8]]  # two sources for each slot, in another order
    shared = shared_source_batch(rows, backbone.end, slots=2)
    assert shared["source_rows"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    with torch.no_grad():
        assert torch.allclose(tuned(training_batch(rows, backbone.end))[0], tuned(shared)[0], rtol=0, atol=1e-10)


def test_prompts_that_stand_once_share_nothing(backbone: backbones.Backbone) -> None:
    pairs = pairs_for(backbone, METHODS["prefix"])
    assert "source_rows" not in shared_source_batch(pairs[::2], backbone.end)


# --- the cache --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "entries"), [("ft_top2", 6 + 12), ("infix", 6)])
def test_trials_share_and_references_share(name: str, entries: int, backbone: backbones.Backbone) -> None:
    """Six sources with two references each: sources are kept once, and a second trial computes nothing."""
    cache = cache_of()
    first, _ = run(backbone, name, cache)
    assert cache.computed == entries
    second, _ = run(backbone, name, cache, seed=1)
    assert cache.computed == entries
    assert losses(first) != losses(second)


@pytest.mark.parametrize("name", KEPT)
def test_processes_share_through_the_folder(name: str, backbone: backbones.Backbone, tmp_path: Path) -> None:
    first, second = (cache_of(folder=tmp_path, disk=64 * MIB) for _ in range(2))
    before, _ = run(backbone, name, first)
    after, _ = run(backbone, name, second)
    assert first.computed > 0 and second.computed == 0
    assert losses(before) == losses(after)


@pytest.mark.parametrize("name", KEPT)
def test_another_backbone_precision_or_method_shares_nothing(
    name: str, backbone: backbones.Backbone, tmp_path: Path
) -> None:
    def computed(**changes: Any) -> int:
        cache = cache_of(folder=tmp_path, disk=64 * MIB, **{k: v for k, v in changes.items() if k == "backbone"})
        run(backbone, changes.get("name", name), cache, steps=1, precision=changes.get("precision", "float64"))
        return cache.computed

    entries = computed()
    assert entries > 0 and computed() == 0
    assert computed(backbone="two") == entries
    assert computed(precision="bfloat16") == entries
    assert computed(name=next(other for other in KEPT if other != name)) > 0
    assert computed() == 0


def test_another_dtype_or_depth_shares_nothing(backbone: backbones.Backbone) -> None:
    method, pairs = METHODS["ft_top2"], pairs_for(backbone, METHODS["ft_top2"])
    cache = cache_of()
    for blocks, expected in ((1, 18), (2, 36), (1, 54)):  # the memory is that of one scope at a time
        Batches(tuned_by(backbone, method, blocks=blocks), backbone.end, "float64", cache).prepare(pairs)
        assert cache.computed == expected
    backbone.model.to(torch.float32)
    try:
        Batches(tuned_by(backbone, method), backbone.end, "float64", cache).prepare(pairs)
        assert cache.computed == 72
    finally:
        backbone.model.to(torch.float64)


@pytest.mark.parametrize("damage", [lambda b: b[:40], lambda b: b[:-3] + b"abc", lambda b: b""])
@pytest.mark.parametrize("name", KEPT)
def test_a_damaged_file_is_computed_again(
    name: str, damage: Callable[[bytes], bytes], backbone: backbones.Backbone, tmp_path: Path
) -> None:
    before, _ = run(backbone, name, cache_of(folder=tmp_path, disk=64 * MIB))
    files = sorted(tmp_path.glob("*/*.safetensors"))
    whole = {path: path.read_bytes() for path in files}
    for path in files[:3]:
        path.write_bytes(damage(whole[path]))
    cache = cache_of(folder=tmp_path, disk=64 * MIB)
    after, _ = run(backbone, name, cache)
    assert cache.computed == 3
    assert losses(after) == pytest.approx(losses(before), rel=0, abs=1e-10)
    assert {path: len(path.read_bytes()) for path in files} == {path: len(b) for path, b in whole.items()}


def entry(number: int, size: int = 1000) -> dict[str, torch.Tensor]:
    return {f"{number:02d}": torch.full((size,), number, dtype=torch.uint8)}


def test_memory_keeps_its_bound_and_what_was_used_last() -> None:
    cache = cache_of(memory=3000)
    for number in range(3):
        cache.put(entry(number), write=False)
    assert cache.get("00") is not None
    cache.put(entry(3), write=False)
    assert [key for key in ("00", "01", "02", "03") if cache.get(key) is not None] == ["00", "02", "03"]
    assert cache.held == 3000
    cache.put(entry(4, size=3001), write=False)
    assert cache.get("04") is None and cache.held == 3000, "what can never fit drives nothing out"


def used(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*/*.safetensors"))


def test_the_folder_keeps_its_bound_and_what_was_used_last(tmp_path: Path) -> None:
    """Two processes write in turn; neither knows of the other's files but by the folder."""
    bound = 10 * (1000 + HEADER_BYTES)
    caches = [cache_of(memory=0, folder=tmp_path, disk=bound) for _ in range(2)]
    for number in range(40):
        caches[number % 2].put(entry(number), write=True)
        assert used(tmp_path) <= bound
        os.utime(next(tmp_path.glob(f"*/{number:02d}.*")), (number, number))
        assert caches[0].get("00") is not None, "read again and again, so it stays"
    assert used(tmp_path) > bound // 2
    assert torch.equal(caches[1].get("39"), entry(39)["39"])  # type: ignore[arg-type]
    assert caches[1].get("01") is None


def test_a_killed_writer_leaves_nothing_that_is_read(tmp_path: Path) -> None:
    cache = cache_of(memory=0, folder=tmp_path, disk=MIB)
    cache.put(entry(1), write=True)
    (tmp_path / "writing.tmp").write_bytes(b"half")
    (tmp_path / "used").write_text("")
    cache.put(entry(2), write=True)
    assert cache.get("01") is not None and cache.get("02") is not None
    assert int((tmp_path / "used").read_text()) >= used(tmp_path)


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where the folder should be")
    cache = cache_of(folder=tmp_path / "taken", disk=MIB)
    cache.put(entry(1), write=True)
    assert cache.get("01") is not None, "memory has it"


@pytest.mark.parametrize("name", KEPT)
def test_bounds_hold_while_training(name: str, backbone: backbones.Backbone, tmp_path: Path) -> None:
    cache = cache_of(memory=20_000, folder=tmp_path, disk=40_000)
    held: list[int] = []
    run(backbone, name, cache, on_progress=lambda done, total: held.append(cache.held))
    assert held and max(held) <= 20_000 and 0 < used(tmp_path) <= 40_000


# --- around it --------------------------------------------------------------------------------------------------------


def test_micro_batches_group_like_lengths_of_one_batch() -> None:
    batch = [([1] * n, [2]) for n in (9, 1, 8, 2)]
    assert [[len(prompt) for prompt, _ in part] for part in parts_of(batch, 2)] == [[1, 2], [8, 9]]
    assert parts_of(batch, None) == [batch], "the whole batch stays in its order"


@pytest.mark.parametrize("name", KEPT)
def test_a_trial_uses_the_engines_bounds_and_says_what_was_reused(name: str, tiny_llama: str, tmp_path: Path) -> None:
    plan = f"""
protocol: 1
name: frozen
backbones: [{tiny_llama}]
tasks: [places]
sizes: [20]
methods: [{name}]
baselines: []
training: {{steps: 4, batch_size: 4, evaluations: 2}}
test: 4
decoding: {{beams: 2, max_new_tokens: 8}}
"""
    trial = expand(plan).cells[0].base
    kept = run_trial(trial, Engine(artifacts=str(tmp_path), scratch=str(tmp_path)))
    plain = run_trial(
        trial, Engine(artifacts=str(tmp_path), scratch=str(tmp_path), cache_memory_bytes=0, cache_disk_bytes=0)
    )
    assert kept.status == plain.status == "ok", (kept.cause, plain.cause)
    assert kept.provenance["frozen_work"] == str(KEPT[name])
    assert plain.provenance["frozen_work"] == "nothing: no cache is allowed"
    assert used(tmp_path / "frozen") > 0
    assert [p.value for p in kept.curve] == pytest.approx([p.value for p in plain.curve], rel=1e-3, abs=1e-5)
    assert kept.cost is not None and plain.cost is not None
    assert kept.cost.train_flops == plain.cost.train_flops, "FLOPs are those of the plain step"
