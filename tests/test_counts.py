"""Parameters by the published formulas, sizes that meet a budget, and FLOPs that a counter confirms. No real weights."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, GPT2Config, LlamaConfig

from featherbench.harness import backbones
from featherbench.harness.anatomy import UnsupportedBackbone, anatomy_of
from featherbench.harness.cost import forward_flops, train_flops
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
    with pytest.raises(UnsupportedBackbone, match="'bert' is not supported. Supported: gpt2, llama"):
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
    with pytest.raises(BudgetError, match="ft_top2 has no size to solve for; it always stores 7.1.*% of the backbone"):
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
    tokens, context, predicted = TOKENS * ROWS, TOKENS + method.offset(settings), TARGETS * ROWS
    if backward:
        computed = train_flops(tiny.anatomy, method, settings, tokens, context, predicted)
    else:
        computed = forward_flops(tiny.anatomy, tokens, context, predicted)
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


def test_a_head_at_all_positions_costs_more_than_at_target_positions(tiny: backbones.Backbone) -> None:
    anatomy = tiny.anatomy
    difference = forward_flops(anatomy, 100, 10) - forward_flops(anatomy, 100, 10, 40)
    assert difference == 2 * 60 * anatomy.vocab_size * anatomy.width


def test_training_less_costs_less(medium: Anatomy) -> None:
    def flops(name: str, **config: Any) -> float:
        method = METHODS[name]
        return train_flops(medium, method, method.config(**config), tokens=1000, context=50, predicted=400)

    forward = forward_flops(medium, 1000, 50, 400)
    assert forward < flops("ft_top2", blocks=1) < flops("ft_top2") < flops("prefix") < flops("full_ft")
    assert flops("full_ft") == pytest.approx(3 * forward), "backward is twice the forward"
    assert flops("prefix") < 2.1 * forward, "no gradients of frozen weights"
    assert flops("ft_top2") < flops("ft_top2", token_table=True), "gradients flow down to the token table"


def test_flops_grow_in_proportion_to_the_tokens(medium: Anatomy) -> None:
    method = METHODS["prefix"]

    def flops(tokens: int) -> float:
        return train_flops(medium, method, method.config(), tokens, 50, tokens // 2)

    assert flops(2000) == pytest.approx(2 * flops(1000))
