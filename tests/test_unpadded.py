"""Batches without padding: where each token stands, and that nothing but tokens has a gradient."""

from __future__ import annotations

import torch

from featherbench.harness.unpadded import layout_of

MASK = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 1, 0]])
"""Two slots of two texts: six and four tokens"""


def test_the_texts_of_a_slot_stand_end_to_end() -> None:
    """The slot with fewer tokens is filled up; every token comes back to where it was."""
    layout = layout_of(MASK, slots=2)
    x = torch.arange(16).view(4, 4, 1)
    packed = layout.in_slots(x)
    assert packed.shape == (2, 6, 1)
    assert packed[0].flatten().tolist() == [0, 1, 4, 5, 6, 7]
    assert packed[1, :4].flatten().tolist() == [8, 12, 13, 14]
    assert torch.equal(layout.in_rows(packed)[MASK.bool()], x[MASK.bool()])


def test_a_position_sees_its_own_text_up_to_itself() -> None:
    """And no padding."""
    seen = layout_of(MASK, slots=2).causal_mask()
    assert seen.shape == (4, 1, 4, 4)
    for row, length in enumerate((2, 4, 1, 3)):
        for t in range(4):
            assert seen[row, 0, t].nonzero().flatten().tolist() == list(range(min(t + 1, length)))


def test_only_tokens_have_gradients() -> None:
    """Both ways, whatever the gradients of what pads or fills up are."""
    layout, mask = layout_of(MASK, slots=2), MASK.bool()
    x = torch.randn(4, 4, 3, requires_grad=True)
    (there,) = torch.autograd.grad(layout.in_slots(x).sum(), x)
    assert torch.equal(there, mask[..., None].expand_as(there).float())
    packed = torch.randn(2, 6, 3, requires_grad=True)
    (back,) = torch.autograd.grad(layout.in_rows(packed).sum(), packed)
    assert back.sum() == 3 * mask.sum() and not back[1, 4:].any()


def test_rows_of_a_fixed_number_of_tokens() -> None:
    """As passes have whose shape must not depend on their texts."""
    layout = layout_of(MASK, tokens=32)
    packed = layout.in_slots(torch.arange(16).view(4, 4, 1))
    assert packed.shape == (1, 32, 1) and packed[0, :10, 0].tolist() == [0, 1, 4, 5, 6, 7, 8, 12, 13, 14]


def test_tokens_are_chosen_by_their_place_in_the_padded_batch() -> None:
    """And come back to it; a slot of which fewer are chosen is filled up, one of which none is, too."""
    layout, x = layout_of(MASK, slots=2), torch.arange(16).view(4, 4, 1)
    wanted = torch.zeros(4, 4, dtype=torch.bool)
    wanted[[0, 1, 1, 3], [1, 0, 3, 2]] = True
    chosen = layout.chosen(wanted)
    found = chosen.in_slots(layout.in_slots(x))
    assert found.shape == (2, 3, 1) and found[0].flatten().tolist() == [1, 4, 7] and found[1, 0] == 14
    assert chosen.tokens(found).flatten().tolist() == x[wanted].flatten().tolist()
    again = layout.in_rows(chosen.in_rows(found))
    assert torch.equal(again[wanted], x[wanted])
    none = layout.chosen(torch.zeros(4, 4, dtype=torch.bool))
    assert none.in_slots(layout.in_slots(x)).shape == (2, 1, 1) and len(none.tokens(torch.zeros(2, 1, 1))) == 0
