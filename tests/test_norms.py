"""RMS norms: the numbers of transformers' and torch's own, and their gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, LlamaConfig, T5Config
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from featherbench.harness.norms import RMSNorm, replace_norms


def weight_and_input(dtype: torch.dtype) -> tuple[nn.Parameter, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    weight = nn.Parameter(torch.randn(48, generator=generator, dtype=dtype))
    return weight, (torch.randn(2, 7, 48, generator=generator, dtype=dtype) * 3).requires_grad_()


def test_float32_has_the_bits_of_transformers() -> None:
    """Forward; so no text that was decoded before changes."""
    weight, x = weight_and_input(torch.float32)
    theirs = LlamaRMSNorm(48, eps=1e-5)
    theirs.weight = weight
    assert torch.equal(RMSNorm(weight, 1e-5)(x), theirs(x))


@pytest.mark.parametrize("eps", [1e-6, 0.5])
def test_values_and_gradients_are_those_of_torch(eps: float) -> None:
    """Of the input and of the weight, in float64."""
    weight, x = weight_and_input(torch.float64)
    outer = torch.randn(2, 7, 48, dtype=torch.float64)
    ours, theirs = RMSNorm(weight, eps)(x), nn.functional.rms_norm(x, (48,), weight, eps)
    assert torch.allclose(ours, theirs, rtol=1e-14, atol=0)
    for a, b in zip(
        torch.autograd.grad(ours, (x, weight), outer), torch.autograd.grad(theirs, (x, weight), outer), strict=True
    ):
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-14)


def test_a_frozen_weight_has_no_gradient_and_a_frozen_input_none() -> None:
    """And what is asked for is there."""
    weight, x = weight_and_input(torch.float64)
    RMSNorm(weight.requires_grad_(False), 1e-6)(x).sum().backward()
    assert x.grad is not None and weight.grad is None
    RMSNorm(weight.requires_grad_(True), 1e-6)(x.detach()).sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize("family", ["llama", "t5"])
def test_a_model_computes_with_them(family: str) -> None:
    """All of its norms, in float64 to rounding what it is in float32; no parameter changes its name."""
    small = dict(vocab_size=64, num_hidden_layers=2)
    if family == "llama":
        config = LlamaConfig(hidden_size=32, intermediate_size=64, num_attention_heads=4, **small)
        model = AutoModelForCausalLM.from_config(config)
        inputs = {"input_ids": torch.arange(12).view(2, 6)}
    else:
        config = T5Config(d_model=32, d_ff=64, num_heads=4, num_layers=2, vocab_size=64)
        model = AutoModelForSeq2SeqLM.from_config(config)
        inputs = {"input_ids": torch.arange(12).view(2, 6), "decoder_input_ids": torch.arange(6).view(2, 3)}
    model = model.eval()
    names = dict(model.named_parameters()).keys()
    with torch.no_grad():
        before = model(**inputs).logits
        replace_norms(model)
        assert torch.equal(model(**inputs).logits, before)
        assert torch.allclose(model.double()(**inputs).logits, before.double(), atol=1e-4)
    assert dict(model.named_parameters()).keys() == names
    assert not any(hasattr(module, "variance_epsilon") for module in model.modules())


def test_weights_of_half_precision_keep_the_norms_of_transformers() -> None:
    """Which go through float32 on the way."""
    config = LlamaConfig(
        hidden_size=32, intermediate_size=64, num_attention_heads=4, vocab_size=64, num_hidden_layers=1
    )
    model = AutoModelForCausalLM.from_config(config).bfloat16()
    replace_norms(model)
    assert not any(isinstance(module, RMSNorm) for module in model.modules())
