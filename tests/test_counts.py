"""Parameters by the published formulas, sizes that meet a budget, and FLOPs that a counter confirms. No real weights."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import BartConfig, BertConfig, GPT2Config, LlamaConfig

from featherbench.contracts.tiny import write_backbone
from featherbench.harness import backbones
from featherbench.harness.anatomy import UnsupportedBackbone, anatomy_of
from featherbench.harness.cost import decode_flops, forward_flops, keys_in_front, share_waited, train_flops
from featherbench.harness.counts import TOLERANCE, BudgetError, Counts, count, solve
from featherbench.harness.text import training_batch
from featherbench.harness.tuned import Tuned, new_slot
from featherbench.methods import METHODS, UNTUNED
from featherbench.methods.base import Anatomy

SIZED = {name: method for name, method in METHODS.items() if method.size_field}

# --- published counts ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def medium() -> Anatomy:
    """GPT-2 medium, by its shapes alone."""
    return anatomy_of(GPT2Config(n_layer=24, n_embd=1024, n_head=16))


@pytest.fixture(scope="module")
def grouped() -> Anatomy:
    """A Llama with 9 query and 3 key-value heads of width 64: SmolLM2-135M, by its shapes alone."""
    return anatomy_of(
        LlamaConfig(
            vocab_size=49152,
            hidden_size=576,
            intermediate_size=1536,
            num_hidden_layers=30,
            num_attention_heads=9,
            num_key_value_heads=3,
            tie_word_embeddings=True,
        )
    )


def counts(name: str, anatomy: Anatomy, **config: Any) -> Counts:
    method = METHODS[name]
    return count(method, method.config(**config), anatomy)


def mlp(length: int, d: int, hidden: int, out: int) -> int:
    """Table [L, d], Linear(d, hidden), Linear(hidden, out)."""
    return length * d + (d * hidden + hidden) + (hidden * out + out)


def test_gpt2_medium_has_the_published_number_of_parameters(medium: Anatomy) -> None:
    assert medium.total_parameters == 354_823_168
    assert (medium.num_layers, medium.width, medium.kv_heads, medium.head_dim) == (24, 1024, 16, 64)


# n = 24, d = 1024. Stored prefix: 2 L n d. Published: 25.74 M trained at L = 5 (Li & Liang 2021, MLP of width 512).
@pytest.mark.parametrize(("length", "stored", "trained"), [(5, 245_760, 25_744_896), (10, 491_520, 25_750_016)])
def test_a_prefix_stores_2Lnd_and_trains_its_mlp(medium: Anatomy, length: int, stored: int, trained: int) -> None:
    found = counts("prefix", medium, length=length)
    assert (found.stored, found.trained) == (stored, trained)
    assert found.stored == 2 * length * 24 * 1024
    assert found.trained == mlp(length, 1024, 512, 2 * 24 * 1024)
    direct = counts("prefix", medium, length=length, parametrisation="direct")
    assert direct.trained == direct.stored == stored


# Design 1: n (2 d b + b + d + 2 d). Published rows of Li & Liang: 0.1 % and 3 %.
@pytest.mark.parametrize(("bottleneck", "stored"), [(6, 368_784), (224, 11_089_152)])
def test_an_adapter_after_each_block(medium: Anatomy, bottleneck: int, stored: int) -> None:
    found = counts("adapter", medium, bottleneck=bottleneck)
    assert found.stored == found.trained == stored == 24 * (2 * 1024 * bottleneck + bottleneck + 3 * 1024)


def test_two_adapters_a_block_without_norms(medium: Anatomy) -> None:
    assert counts("adapter", medium, bottleneck=64, design=2).stored == 24 * 2 * (2 * 1024 * 64 + 64 + 1024)


def test_the_top_two_blocks_are_those_of_the_published_row(medium: Anatomy) -> None:
    """Block: 12 d^2 + 13 d; final norm: 2 d. Published: 25.19 M; 76.66 M with the token table."""
    found = counts("ft_top2", medium)
    assert found.stored == found.trained == 25_194_496 == 2 * (12 * 1024**2 + 13 * 1024) + 2 * 1024
    with_table = counts("ft_top2", medium, token_table=True)
    assert with_table.stored == 25_194_496 + 50257 * 1024
    assert round(with_table.stored / 1e6, 2) == 76.66


@pytest.mark.parametrize("length", [1, 10, 100])
def test_embedding_only_stores_one_vector_a_token(medium: Anatomy, length: int) -> None:
    direct = counts("embedding_only", medium, length=length)
    assert direct.stored == direct.trained == length * 1024
    reparametrised = counts("embedding_only", medium, length=length, parametrisation="mlp")
    assert reparametrised.stored == length * 1024
    assert reparametrised.trained == mlp(length, 1024, 512, 1024)


def test_an_infix_stores_an_embedding_and_offsets_of_all_keys_and_values(medium: Anatomy) -> None:
    found = counts("infix", medium, length=10)
    assert found.stored == 10 * 1024 + 2 * 10 * 24 * 1024
    assert found.trained == 10 * 1024 + mlp(10, 1024, 512, 2 * 24 * 1024)


def test_full_fine_tuning_trains_and_stores_everything_and_untuned_nothing(medium: Anatomy) -> None:
    found = counts("full_ft", medium)
    assert found.trained == found.stored == found.total == 354_823_168
    assert count(UNTUNED, UNTUNED.config(), medium) == Counts(trained=0, stored=0, total=354_823_168)


def test_grouped_queries_have_fewer_keys_and_values_to_store(grouped: Anatomy) -> None:
    assert grouped.total_parameters == 134_515_008
    for length in (1, 7):
        assert counts("prefix", grouped, length=length).stored == length * 2 * 30 * 3 * 64
        assert counts("infix", grouped, length=length).stored == length * (576 + 2 * 30 * 3 * 64)
        assert counts("embedding_only", grouped, length=length).stored == length * 576


def test_a_head_width_of_its_own_counts() -> None:
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
    )
    assert counts("prefix", anatomy_of(config), length=5).stored == 5 * 2 * 2 * 2 * 32


def test_a_family_that_is_not_covered_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedBackbone, match="'bert' is not supported. Supported: gpt2, llama, bart, t5"):
        anatomy_of(BertConfig())


# --- budgets -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2])
@pytest.mark.parametrize("name", SIZED)
@pytest.mark.parametrize("shape", ["medium", "grouped"])
def test_a_budget_is_met_within_tolerance_or_the_nearest_one_is_named(
    shape: str, name: str, budget: float, request: pytest.FixtureRequest
) -> None:
    anatomy: Anatomy = request.getfixturevalue(shape)
    method, wanted = SIZED[name], budget * anatomy.total_parameters
    field = method.size_field or ""

    def gap(size: int) -> float:
        return abs(counts(name, anatomy, **{field: size}).stored - wanted)

    try:
        size = getattr(solve(method, method.config(), anatomy, budget), field)
        assert gap(size) <= TOLERANCE * wanted
    except BudgetError as error:
        message = str(error)
        assert f"budget {budget:.4%}" in message and f"impossible for {name}: the nearest is {field}=" in message
        size = int(message.split(f"{field}=")[1].split()[0])
        assert f"({counts(name, anatomy, **{field: size}).stored:,})" in message
        assert gap(size) > TOLERANCE * wanted
    assert all(gap(size) <= gap(other) for other in (size - 1, size + 1) if other >= 1), "a neighbour comes nearer"


def test_a_solved_size_keeps_the_rest_of_the_configuration(medium: Anatomy) -> None:
    method = METHODS["prefix"]
    config = method.config(parametrisation="direct", shift_positions=False)
    solved = solve(method, config, medium, 0.01)
    assert dataclasses.replace(solved, length=config.length) == config
    assert solved.length == 72  # 1 % of 354,823,168 over 49,152 a token


def test_a_method_without_a_size_says_what_it_stores(medium: Anatomy) -> None:
    said = "ft_top2 has no size to solve for, so it takes no budget; it always stores 7.1.*% of the backbone"
    with pytest.raises(BudgetError, match=said):
        solve(METHODS["ft_top2"], METHODS["ft_top2"].config(), medium, 0.01)


# --- FLOPs ---------------------------------------------------------------------------------------------------------

TOKENS, ROWS, TARGETS = 48, 4, 20


@pytest.fixture(scope="module")
def tiny(tiny_llama: str) -> backbones.Backbone:
    return backbones.load(tiny_llama)


def counted(tiny: backbones.Backbone, name: str, backward: bool, **config: Any) -> tuple[float, float]:
    """Return (counted, computed) FLOPs of one step over equally long pairs.

    The math kernel computes every query against every key, the future included, in products that the counter sees; so
    the formula gets all keys as its context.
    """
    method = {**METHODS, UNTUNED.name: UNTUNED}[name]
    settings = method.config(**config)
    slot = new_slot(method, settings, tiny.anatomy, tiny.model, 0)
    tuned = Tuned(tiny.model, tiny.anatomy, [slot])
    ids = list(range(1, TOKENS + 1))
    batch = training_batch([(ids[:-TARGETS], ids[-TARGETS:])] * ROWS, tiny.end)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        sums, _ = tuned(batch)
        if backward:
            sums.sum().backward()
    pairs, extra = [(TOKENS - TARGETS, TARGETS)] * ROWS, keys_in_front(method, settings, tiny.anatomy)
    if backward:
        computed = train_flops(tiny.anatomy, method, settings, pairs, extra, future=True)
    else:
        computed = forward_flops(tiny.anatomy, pairs, extra, future=True)
    return float(counter.get_total_flops()), computed


def test_forward_flops_are_those_of_a_counter(tiny: backbones.Backbone) -> None:
    found, computed = counted(tiny, "untuned", backward=False)
    assert computed == pytest.approx(found, rel=1e-6)


# Unfrozen weights: exact. Prefix: the formula takes the lowest layer as a whole, but nothing below its attention needs a
# gradient, 5 % of a model with three layers.
@pytest.mark.parametrize(
    ("name", "config", "tolerance"),
    [
        ("full_ft", {}, 0.01),
        ("ft_top2", {}, 0.01),
        ("ft_top2", {"blocks": 1}, 0.01),
        ("ft_top2", {"token_table": True}, 0.01),
        ("embedding_only", {}, 0.01),
        ("prefix", {"parametrisation": "direct"}, 0.15),
    ],
    ids=["full_ft", "ft_top2", "top block", "ft_top2 with token table", "embedding_only", "prefix"],
)
def test_training_flops_are_those_of_a_counter(
    tiny: backbones.Backbone, name: str, config: dict[str, Any], tolerance: float
) -> None:
    found, computed = counted(tiny, name, backward=True, **config)
    assert computed == pytest.approx(found, rel=tolerance)


def test_training_less_costs_less(medium: Anatomy) -> None:
    pairs = [(30, 20)] * 20

    def flops(name: str, **config: Any) -> float:
        method = METHODS[name]
        return train_flops(medium, method, method.config(**config), pairs)

    forward = forward_flops(medium, pairs)
    assert forward < flops("ft_top2", blocks=1) < flops("ft_top2") < flops("prefix") < flops("full_ft")
    assert flops("full_ft") == pytest.approx(3 * forward), "backward is twice the forward"
    assert flops("prefix") < 2.1 * forward, "no gradients of frozen weights"
    assert flops("ft_top2") < flops("ft_top2", token_table=True), "gradients flow down to the token table"


def test_flops_are_a_sum_over_pairs(medium: Anatomy) -> None:
    method = METHODS["prefix"]
    one, other = [(30, 20)], [(11, 45)]
    both = train_flops(medium, method, method.config(), one + other, 10)
    assert both == pytest.approx(sum(train_flops(medium, method, method.config(), p, 10) for p in (one, other)))


def test_decoding_costs_more_with_beams_keys_and_longer_outputs(medium: Anatomy) -> None:
    base = decode_flops(medium, [30], [20], 0)
    assert decode_flops(medium, [30], [20], 0, beams=5) == pytest.approx(5 * base)
    assert base < decode_flops(medium, [30], [20], 10) < decode_flops(medium, [30], [30], 10)
    # token by token with a cache costs what one pass over all tokens costs, up to half a token's context
    assert base == pytest.approx(forward_flops(medium, [(30, 20)]), rel=0.03)


# --- encoder-decoder models ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bart_large() -> Anatomy:
    """BART-large, by its shapes alone."""
    shape = {"encoder_layers": 12, "decoder_layers": 12, "encoder_ffn_dim": 4096, "decoder_ffn_dim": 4096}
    return anatomy_of(BartConfig(d_model=1024, encoder_attention_heads=16, decoder_attention_heads=16, **shape))


def test_bart_large_has_three_prefixes(bart_large: Anatomy) -> None:
    """73,728 stored a prefix token = 3 stacks x 12 layers x 2 x 1024 (Li & Liang 2021, official seq2seq code)."""
    assert bart_large.total_parameters == 406_291_456
    for length in (1, 100, 200):
        assert counts("prefix", bart_large, length=length).stored == length * 73_728
    found = counts("prefix", bart_large, length=200, hidden=800)
    assert found.trained == 3 * mlp(200, 1024, 800, 12 * 2 * 1024)
    assert round((found.trained - 3 * 200 * 1024) / 1e6, 1) == 61.5, "15 % of BART-large, as users measured"


def test_bart_large_other_methods(bart_large: Anatomy) -> None:
    block = 8 * (1024**2 + 1024) + 2 * 4096 * 1024 + 4096 + 1024 + 3 * 2 * 1024
    assert counts("ft_top2", bart_large).stored == 2 * block, "whole decoder blocks; BART has no final norm"
    assert counts("adapter", bart_large, bottleneck=8).stored == 24 * (2 * 1024 * 8 + 8 + 3 * 1024)
    assert counts("embedding_only", bart_large, length=10).stored == 10 * 1024
    assert "different stacks" in str(METHODS["infix"].refuses(bart_large, METHODS["infix"].config()))
    assert "decoder has 12" in str(METHODS["ft_top2"].refuses(bart_large, METHODS["ft_top2"].config(blocks=13)))


# The formula takes the lowest decoder block as a whole, though nothing below its attention to the encoder needs a
# gradient: 5 % of a model with three blocks.
@pytest.mark.parametrize("family", ["bart", "t5"])
@pytest.mark.parametrize(
    ("name", "tolerance"), [("untuned", 1e-6), ("full_ft", 0.02), ("ft_top2", 0.06), ("embedding_only", 0.06)]
)
def test_encoder_decoder_flops_are_those_of_a_counter(
    family: str, name: str, tolerance: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    backbone = backbones.load(str(write_backbone(family, tmp_path_factory.mktemp(family))))
    method = {**METHODS, UNTUNED.name: UNTUNED}[name]
    slot = new_slot(method, method.config(), backbone.anatomy, backbone.model, 0)
    pairs = [(list(range(2, 30)), list(range(2, 22)))] * ROWS
    batch = training_batch(pairs, backbone.end, start=backbone.start)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        sums, _ = Tuned(backbone.model, backbone.anatomy, [slot])(batch)
        if name != "untuned":
            sums.sum().backward()
    lengths = [(28, 20)] * ROWS
    computed = (
        forward_flops(backbone.anatomy, lengths, future=True)
        if name == "untuned"
        else train_flops(backbone.anatomy, method, method.config(), lengths, future=True)
    )
    assert computed == pytest.approx(float(counter.get_total_flops()), rel=tolerance)


# --- seconds ----------------------------------------------------------------------------------------------------------

SPIN = """
import os, sys, time
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from featherbench.harness.cost import processor_seconds, share_waited
before, end = processor_seconds(), time.process_time() + float(sys.argv[1])
print("spinning", flush=True)
while time.process_time() < end:
    pass
print(share_waited(before, processor_seconds()))
"""


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="the system does not count waiting")
def test_who_shares_a_processor_has_waited_for_it() -> None:
    """Two processes that keep one core busy: each runs half of the time."""
    other = subprocess.Popen([sys.executable, "-c", SPIN, "600"], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout and other.stdout.readline() == "spinning\n"
        done = subprocess.run([sys.executable, "-c", SPIN, "0.5"], capture_output=True, text=True, timeout=120)
    finally:
        other.kill()
        other.wait()
    assert float(done.stdout.split()[1]) > 0.25, done.stderr


def test_what_was_not_told_has_no_share() -> None:
    assert share_waited(None, (1.0, 1.0)) is None and share_waited((0.0, 0.0), None) is None
    assert share_waited((1.0, 1.0), (4.0, 2.0)) == 0.25
    assert share_waited((1.0, 1.0), (1.0, 1.0)) == 0.0
