"""A finished trial as a folder that others can use: with featherbench, with peft, or as a model of transformers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import torch
from pydantic import ValidationError
from safetensors.torch import load as load_tensors
from safetensors.torch import save_file
from torch import Tensor

from featherbench.harness import backbones, data, tables
from featherbench.harness.catalogue import BACKBONES
from featherbench.harness.decode import generation_config
from featherbench.harness.deltas import DeltaError, delta_bytes
from featherbench.harness.exported_readme import input_of, readme
from featherbench.harness.peft_form import NoPeftForm, peft_form
from featherbench.harness.records import Trial
from featherbench.harness.spec import lookup
from featherbench.harness.status import export_trial
from featherbench.harness.store import Store
from featherbench.harness.text import Encoder
from featherbench.harness.worker import DTYPES, config_of, encoder_for, method_of

ABOUT = "featherbench.json"
"""What a folder holds, and of which trial; `generate` reads it"""
DELTA = "delta.safetensors"


class ExportError(ValueError):
    """The trial cannot be written in this format, or the folder cannot be read as one."""


def export(kept: Store, trial_id: str, artifacts: str, destination: Path, kind: str) -> list[Path]:
    """Write a trial as a folder of a format (a key of FORMATS); return the files. `artifacts` is the run's folder.

    Of a trial that kept no delta, such as a failed one, `safetensors` writes the record alone.
    Raises: PlanError for another format; ExportError if the folder holds something, or with the reason if the format
    cannot hold what the trial tuned; StoreError, DeltaError, BackboneError.
    """
    write = lookup("format", kind, FORMATS)
    row = kept.trial(trial_id)
    if destination.is_dir() and any(destination.iterdir()):
        raise ExportError(f"{destination} holds something already. Give another folder with -o, or empty it.")
    if kind == "safetensors" and not row["delta"]:
        return export_trial(kept, row["id"], artifacts, destination)
    if not row["delta"]:
        raise DeltaError(f"trial {row['id']} kept no delta, so there is nothing to export as {kind}.")
    trial = Trial.model_validate(row["spec"])
    tuned = _Tuned(trial=trial, blob=delta_bytes(artifacts, row["delta"], row["delta_sha256"]))
    files = write(tuned, destination)
    if kind == "safetensors":
        files = export_trial(kept, row["id"], artifacts, destination)
    about = _about(kept, tuned, kind)
    (destination / ABOUT).write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (destination / "README.md").write_text(readme(about, trial, tuned.encoder()), encoding="utf-8")
    return [*files, destination / ABOUT, destination / "README.md"]


def read_exported(folder: Path) -> tuple[Trial, bytes]:
    """Return the trial of a folder in the format `safetensors`, and its delta.

    Raises: ExportError if it is none; DeltaError if its delta is missing or damaged.
    """
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        kind, trial = about["format"], Trial.model_validate(about["trial"])
        sha256 = about["delta_sha256"]
    except (OSError, ValueError, ValidationError, KeyError, TypeError) as error:
        raise ExportError(f"{folder} holds no {ABOUT} of an export: {str(error).splitlines()[0]}") from error
    if kind != "safetensors":
        raise ExportError(f"{folder} is an export for {kind}; its README.md says how to use it.")
    try:
        blob = (folder / DELTA).read_bytes()
    except OSError as error:
        raise DeltaError(f"{folder / DELTA}: {error.strerror}; export the trial again.") from error
    if (found := hashlib.sha256(blob).hexdigest()) != sha256:
        raise DeltaError(f"{folder / DELTA} is damaged: expected sha256 {sha256}, found {found}.")
    return trial, blob


@dataclass(kw_only=True)
class _Tuned:
    """What a trial left behind; its backbone is loaded when it is needed first."""

    trial: Trial
    blob: bytes
    _backbone: backbones.Backbone | None = None

    def backbone(self) -> backbones.Backbone:
        """Return the backbone, in the precision of the trial's weights, on the CPU."""
        if self._backbone is None:
            name = self.trial.backbone
            if backbones.fingerprint(name) != self.trial.backbone_sha256:
                raise backbones.BackboneError(f"{name} here is not the backbone of the trial (another sha256).")
            self._backbone = backbones.load(name, DTYPES[self.trial.precision])
        return self._backbone

    def encoder(self) -> Encoder:
        return encoder_for(self.trial, self.backbone())

    def tensors(self, kind: str) -> dict[str, Tensor]:
        """Return the tensors of a kind, "stored." or "weight.", without it in their names."""
        found = load_tensors(self.blob)
        return {name.removeprefix(kind): tensor for name, tensor in found.items() if name.startswith(kind)}


def _as_safetensors(tuned: _Tuned, destination: Path) -> list[Path]:
    return []  # the delta and the record are copied as they are


def _as_peft(tuned: _Tuned, destination: Path) -> list[Path]:
    trial, backbone = tuned.trial, tuned.backbone()
    method = method_of(trial.method)
    try:
        form = peft_form(method, config_of(trial), backbone.anatomy, tuned.tensors("stored."))
    except NoPeftForm as error:
        instead = "transformers" if method.unfrozen(backbone.anatomy, config_of(trial)) else "safetensors"
        raise ExportError(
            f"trial {trial.id} ({trial.method}) cannot be a peft folder, since {error}. Use --format {instead}."
        ) from error
    destination.mkdir(parents=True, exist_ok=True)
    config = {**form.config, "base_model_name_or_path": trial.backbone}
    (destination / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    save_file({"prompt_embeddings": form.weight.contiguous()}, destination / "adapter_model.safetensors")
    files = ["adapter_config.json", "adapter_model.safetensors", _write_generation_config(tuned, destination)]
    return [destination / name for name in files]


def _as_transformers(tuned: _Tuned, destination: Path) -> list[Path]:
    trial, backbone = tuned.trial, tuned.backbone()
    method, config = method_of(trial.method), config_of(trial)
    if method.points(backbone.anatomy, config) or not method.unfrozen(backbone.anatomy, config):
        raise ExportError(
            f"trial {trial.id} ({trial.method}) cannot be a model folder of transformers, since the method adds to the "
            "backbone what the model's own code does not compute. Use --format peft or --format safetensors."
        )
    parameters = dict(backbone.model.named_parameters())
    with torch.no_grad():
        for name, tensor in tuned.tensors("weight.").items():
            parameters[name].copy_(tensor)
    backbone.model.save_pretrained(destination)
    backbone.tokenizer.save_pretrained(destination)
    _write_generation_config(tuned, destination)
    return sorted(destination.iterdir())


FORMATS: dict[str, Callable[[_Tuned, Path], list[Path]]] = {
    "safetensors": _as_safetensors,
    "peft": _as_peft,
    "transformers": _as_transformers,
}


def _write_generation_config(tuned: _Tuned, destination: Path) -> str:
    name = "generation_config.json"
    content = generation_config(tuned.backbone(), tuned.trial.decoding).to_json_string()
    (destination / name).write_text(content, encoding="utf-8")
    return name


def _about(kept: Store, tuned: _Tuned, kind: str) -> dict[str, Any]:
    """Return what a user of the folder must know."""
    trial, method, task = tuned.trial, method_of(tuned.trial.method), data.task_of(tuned.trial)
    where = tables.scores.c.trial == trial.id
    columns = tables.scores.c["metric", "subset", "value", "signature"]
    known = BACKBONES.get(trial.backbone)
    return {
        "format": kind,
        "featherbench": version("featherbench"),
        "id": trial.id,
        "trial": trial.model_dump(mode="json"),
        "input": input_of(tuned.encoder()),
        "delta_sha256": hashlib.sha256(tuned.blob).hexdigest(),
        "scores": kept.rows(sa.select(*columns).where(where).order_by(tables.scores.c.position)),
        "licences": {
            "backbone": known.licence if known else "see where the backbone comes from",
            "data": task.licence,
        },
        "cite": {"method": method.source, "task": task.source, "harness": f"featherbench {version('featherbench')}"},
    }
