"""feather-3m: a small Llama, pretrained from the text in corpus.py by pretrain.py; README.md is its card."""
