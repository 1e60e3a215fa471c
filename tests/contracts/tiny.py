"""Tiny random backbones with a real tokenizer, written as ordinary local folders."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    BartConfig,
    GPT2Config,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    T5Config,
)

VOCABULARY = 300
POSITIONS = 512
WIDTH = 32
LAYERS = 3
END, BEGIN, PAD = "<|end|>", "<|begin|>", "<|pad|>"


def config(family: str) -> PreTrainedConfig:
    """Return the configuration of a three-layer model; Llama with grouped-query attention."""
    if family == "gpt2":
        return GPT2Config(
            vocab_size=VOCABULARY,
            n_layer=LAYERS,
            n_embd=WIDTH,
            n_head=4,
            n_positions=POSITIONS,
            bos_token_id=0,
            eos_token_id=0,
            initializer_range=0.2,  # so that a random model's outputs depend on its inputs
        )
    if family == "bart":
        return BartConfig(
            vocab_size=VOCABULARY,
            d_model=WIDTH,
            encoder_layers=2,
            decoder_layers=LAYERS,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=48,
            decoder_ffn_dim=48,
            max_position_embeddings=POSITIONS,
            bos_token_id=1,
            eos_token_id=0,
            pad_token_id=2,
            decoder_start_token_id=0,
            forced_eos_token_id=None,
            init_std=0.2,
        )
    if family == "t5":
        return T5Config(
            vocab_size=VOCABULARY,
            d_model=WIDTH,
            d_kv=8,
            d_ff=48,
            num_layers=LAYERS,  # as many as the decoder's: transformers' cache counts the encoder's for both
            num_decoder_layers=LAYERS,
            num_heads=4,
            eos_token_id=0,
            pad_token_id=2,
            decoder_start_token_id=2,
            initializer_factor=1.0,
            is_gated_act=True,
            dense_act_fn="gelu_new",
            tie_word_embeddings=True,
        )
    return LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=48,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=POSITIONS,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=None,
        initializer_range=0.2,
    )


def write_backbone(family: str, folder: Path, seed: int = 0) -> Path:
    """Write a random model of a family ("gpt2", "llama", "bart", "t5") and its byte-level BPE tokenizer as a local folder.

    As with real ones, an encoder-decoder model's tokenizer ends every text with the end mark; BART's also begins it.
    """
    from featherbench.harness.anatomy import FAMILIES
    from featherbench.tasks.load import load

    around = {"bart": f"{BEGIN}:0 $A:0 {END}:0", "t5": f"$A:0 {END}:0"}.get(family)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END, BEGIN, PAD] if around else [END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((e.source for e in load("places", "validation")), trainer)
    if around:
        tokenizer.post_processor = processors.TemplateProcessing(single=around, special_tokens=[(END, 0), (BEGIN, 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, bos_token=BEGIN if around else None
    ).save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        FAMILIES[family].auto.from_config(config(family)).save_pretrained(folder)
    return folder
