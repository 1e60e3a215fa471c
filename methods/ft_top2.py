"""FT-top2: train the top blocks and the final norm (Li & Liang 2021, arXiv:2101.00190, section 5.2).

The official script names blocks 22 and 23 of a 24-layer model; here they are counted from the top of any model. The
published row has 25.19 M parameters for GPT-2 medium, which is the variant without the token table. Of an
encoder-decoder model the top blocks are the decoder's last ones, whole: self-attention, attention to the encoder,
feed-forward and their norms; T5's final norm of the decoder is trained as well, BART has none.
"""

from __future__ import annotations

from dataclasses import dataclass

from featherbench.methods.base import Anatomy, Method


@dataclass(frozen=True, kw_only=True)
class FTTop2Config:
    """Which of the backbone's weights are trained."""

    blocks: int = 2
    """Number of top blocks"""
    token_table: bool = False
    """Also train the token embedding, and with it a tied language-model head"""


def top_weights(anatomy: Anatomy, config: FTTop2Config) -> tuple[str, ...]:
    """Return the names of the top blocks' parameters, the final norm's and, if asked for, the token table's."""
    blocks = [name for block in anatomy.blocks[-config.blocks :] for name in block]
    return (*(anatomy.token_table if config.token_table else ()), *blocks, *anatomy.final_norm)


def refuses(anatomy: Anatomy, config: FTTop2Config) -> str | None:
    """Refuse to train more blocks than there are."""
    most = anatomy.num_layers - anatomy.encoder_layers
    if 1 <= config.blocks <= most:
        return None
    owner = "backbone's decoder" if anatomy.encoder_layers else "backbone"
    return f"blocks is {config.blocks}, the {owner} has {most}; give 1 to {most}"


FT_TOP2 = Method(
    name="ft_top2",
    source="Li & Liang 2021, arXiv:2101.00190, section 5.2",
    version=1,
    config=FTTop2Config,
    learning_rate=5e-5,
    learning_rate_source="E2E row of Li & Liang 2021, table 6",
    refuses=refuses,
    unfrozen=top_weights,
)
