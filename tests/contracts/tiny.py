"""Tiny random backbones with a real tokenizer, written as ordinary local folders."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
)

VOCABULARY = 300
POSITIONS = 512
WIDTH = 32
LAYERS = 3
END = "<|end|>"


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
    """Write a random model of a family ("gpt2" or "llama") and its byte-level BPE tokenizer as a local folder."""
    from featherbench.tasks.load import load

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((e.source for e in load("places", "validation")), trainer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END).save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        AutoModelForCausalLM.from_config(config(family)).save_pretrained(folder)
    return folder
