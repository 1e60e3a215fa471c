"""The loss of a target token, beside torch's own."""

from __future__ import annotations

import pytest
import torch

from featherbench.harness.losses import cross_entropy


def given() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Hidden states, a head and targets; some logits are so large that their exponentials are not finite."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(7, 5, generator=generator, dtype=torch.float64) * 100
    head = torch.randn(31, 5, generator=generator, dtype=torch.float64) * 10
    return hidden.requires_grad_(), head.requires_grad_(), torch.randint(0, 31, (7,), generator=generator)


def test_losses_and_gradients_are_those_of_torch() -> None:
    """Of the hidden states and of a trained head, each loss with a weight of its own."""
    hidden, head, targets = given()
    weights = torch.linspace(-1, 2, 7, dtype=torch.float64)
    found = cross_entropy(hidden @ head.T, targets)
    expected = torch.nn.functional.cross_entropy(hidden @ head.T, targets, reduction="none")
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)
    for a, b in zip(
        torch.autograd.grad(found, (hidden, head), weights),
        torch.autograd.grad(expected, (hidden, head), weights),
        strict=True,
    ):
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-12)


def test_logits_stay_where_no_gradient_is_wanted() -> None:
    hidden, head, targets = given()
    with torch.no_grad():
        logits = hidden @ head.T
        before = logits.clone()
        cross_entropy(logits, targets)
    assert torch.equal(logits, before)


def test_a_second_gradient_is_refused() -> None:
    hidden, head, targets = given()
    losses = cross_entropy(hidden @ head.T, targets).sum()
    losses.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="computed before"):
        losses.backward()


def test_large_logits_cost_no_digits() -> None:
    """GPT-2's stand at about -100: the loss of a confident token must not drown in them."""
    logits = torch.randn(64, 50, generator=torch.Generator().manual_seed(0)) * 3 - 100
    targets = torch.arange(64) % 50
    expected = torch.nn.functional.cross_entropy(logits.double(), targets, reduction="none")
    found = cross_entropy(logits.clone().requires_grad_() + 0, targets)
    assert (found - expected).abs().max() < 2e-6
