"""Fixtures of all tests. Nothing here needs a network, a GPU or the real data."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("DS_ACCELERATOR", "cpu")

DATA = Path(os.environ.get("FEATHERBENCH_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def real_data() -> Iterator[Path]:
    """The folder with the real data sets; skips where it is absent."""
    if not (DATA / "e2e").is_dir():
        pytest.skip(f"no data sets at {DATA}; set FEATHERBENCH_DATA")
    before = os.environ.get("FEATHERBENCH_DATA")
    os.environ["FEATHERBENCH_DATA"] = str(DATA)
    yield DATA
    if before is None:
        del os.environ["FEATHERBENCH_DATA"]
    else:
        os.environ["FEATHERBENCH_DATA"] = before


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a tiny random Llama with a real tokenizer."""
    from featherbench.contracts.tiny import write_backbone

    return str(write_backbone("llama", tmp_path_factory.mktemp("tiny-llama")))


@pytest.fixture(scope="session")
def tiny_gpt2(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of a tiny random GPT-2 with a real tokenizer."""
    from featherbench.contracts.tiny import write_backbone

    return str(write_backbone("gpt2", tmp_path_factory.mktemp("tiny-gpt2")))
