"""One trial from record to result: train -> decode -> score. Workers keep backbones loaded and write no database."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import TypeAdapter
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from featherbench.harness import backbones, data
from featherbench.harness.checkpoint import Training
from featherbench.harness.cost import (
    decode_flops,
    keys_in_front,
    peak_bytes,
    processor_seconds,
    reset_peak,
    share_waited,
    train_flops,
    training_bytes,
)
from featherbench.harness.counts import count
from featherbench.harness.decode import DecodingEngine, Request, Together
from featherbench.harness.deltas import ArtifactsError, DeltaError, delta_bytes, keep_delta
from featherbench.harness.frozen import Cache
from featherbench.harness.records import Cost, Prediction, Result, Trial, Zero
from featherbench.harness.score import scored
from featherbench.harness.text import EncodedPair, Encoder, decoding_batch
from featherbench.harness.tokenised import tokenizing
from featherbench.harness.train import Pack, Run
from featherbench.harness.tuned import CollapsedSlot, Slot, Tuned, new_slot
from featherbench.methods import BASELINES, METHODS, UNTUNED
from featherbench.methods.base import Method
from featherbench.tasks.files import cache_folder
from featherbench.tasks.load import load as load_examples

if TYPE_CHECKING:
    from featherbench.harness.deepspeed_engine import Spread

Progress = Callable[[str, int, int], None]
"""(stage, done, total)"""

DTYPES = {"float32": torch.float32, "bfloat16": torch.float32, "float64": torch.float64}
"""Precision -> dtype of the weights; bfloat16 keeps float32 weights and computes under autocast"""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """How trials are run here; changes no number beyond rounding, so it is no part of a trial."""

    artifacts: str
    """fsspec URL or folder for deltas"""
    scratch: str
    """Local folder for checkpoints"""
    micro_batch: int | None = None
    """Pairs per forward pass; None: the whole batch"""
    decode_batch: int | None = None
    """Inputs decoded at once; None: as memory allows"""
    decode_engine: DecodingEngine = "own"
    slots: int | None = None
    """Trials that share training steps; None: one on a CPU, on a GPU as many as pay"""
    checkpoint_seconds: float = 60.0
    cache_memory_bytes: int = 1 << 30
    """Most that a worker keeps of frozen work in memory; 0 here and for the disk keeps none"""
    cache_disk_bytes: int = 4 << 30
    """Most that the workers of a machine together keep of frozen work under `scratch`"""
    zero: Zero | None = None
    """How a trial is spread over several workers by DeepSpeed; None: each trial trains on one"""


def method_of(name: str) -> Method:
    """Return a method or a baseline by name."""
    known = {**METHODS, **BASELINES}
    if name not in known:
        raise DeltaError(f"method {name!r} of this trial is not installed here; known: {', '.join(METHODS)}.")
    return known[name]


def config_of(trial: Trial) -> Any:
    """Return the method's configuration of a trial."""
    return TypeAdapter(method_of(trial.method).config).validate_python(trial.config)


class WordsProbe:
    """The frozen backbone's view of the task words: the `Probe` of the contract."""

    def __init__(self, backbone: backbones.Backbone, words: str) -> None:
        self._backbone = backbone
        with tokenizing:
            self._ids = backbone.tokenizer(f" {words}", add_special_tokens=False)["input_ids"]

    def _fitted(self, length: int) -> list[int]:
        return (self._ids * (length // len(self._ids) + 1))[:length]

    @torch.no_grad()
    def keys_values(self, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the activations [L, layers, kv_heads, head_dim] of the words, repeated or cut to `length` tokens."""
        batch = decoding_batch([self._fitted(length)], 0, self._backbone.model.device)
        cache_ = self._backbone.model(**batch, use_cache=True).past_key_values
        pairs = [(layer.keys, layer.values) for layer in cache_.layers]  # each [1, kv_heads, L, head_dim]
        keys, values = (torch.stack([pair[i][0] for pair in pairs]).permute(2, 0, 1, 3) for i in (0, 1))
        return keys.float().cpu(), values.float().cpu()

    @torch.no_grad()
    def embeddings(self, length: int) -> torch.Tensor:
        """Return the words' input embeddings [L, d], repeated or cut to `length` tokens."""
        table = self._backbone.model.get_input_embeddings().weight
        return table[torch.tensor(self._fitted(length), device=table.device)].float().cpu()


_loaded: dict[tuple[str, str, str, Engine], tuple[backbones.Backbone, Pack, Together]] = {}
_loading = threading.Lock()


def backbone_for(trial: Trial, device: str, engine: Engine) -> tuple[backbones.Backbone, Pack, Together]:
    """Return the trial's backbone and what trains and decodes with it, kept loaded until another backbone is needed."""
    key = (trial.backbone, trial.precision, device, engine)
    with _loading:
        if key not in _loaded:
            _loaded.clear()
            if backbones.fingerprint(trial.backbone) != trial.backbone_sha256:
                raise backbones.BackboneError(f"{trial.backbone} here is not the planned one (another sha256).")
            backbone = backbones.load(trial.backbone, DTYPES[trial.precision], device)
            slots = engine.slots or (1 if device == "cpu" else None)
            pack = Pack(backbone.model, backbone.anatomy, slots, _cache(trial.backbone_sha256, engine))
            _loaded[key] = backbone, pack, Together(pack.turns, engine.decode_batch, engine.decode_engine)
        return _loaded[key]


def _unload() -> None:
    with _loading:
        _loaded.clear()


@lru_cache(maxsize=1)
def _cache(backbone_sha256: str, engine: Engine) -> Cache:
    """Return this process' cache of frozen work, kept until another backbone is needed; its files stay for all."""
    return Cache(
        backbone_sha256=backbone_sha256,
        memory_bytes=engine.cache_memory_bytes,
        folder=Path(engine.scratch) / "frozen",
        disk_bytes=engine.cache_disk_bytes,
    )


def _give_up(model: Any, names: set[str]) -> None:
    """Free a loaded backbone's own copies of weights that a trial tunes, so that no peak counts them twice.

    The model is spent afterwards: the next trial loads a fresh one.
    """
    _unload()
    for name, parameter in model.named_parameters():
        if name in names:
            parameter.data = parameter.data.new_empty(0)


def encoder_for(trial: Trial, backbone: backbones.Backbone) -> Encoder:
    """Return the trial's linearisation."""
    return Encoder(
        backbone=backbone,
        method=method_of(trial.method),
        config=config_of(trial),
        words=trial.words if trial.words_as == "text" else "",
        max_source_tokens=data.task_of(trial).max_source_tokens,
    )


def spread_of(trial: Trial, engine: Engine) -> Zero | None:
    """Return how a trial is spread over workers; None if it trains on one: nothing is trained, or it needs no more."""
    zero = engine.zero
    if zero is None or not trial.steps:
        return None
    needed = training_bytes(method_of(trial.method), config_of(trial), backbones.anatomy(trial.backbone))
    return zero if needed > zero.above_bytes else None


def checkpoint_folder(engine: Engine, trial_id: str) -> Path:
    """Return where a trial's checkpoints lie until its result is kept."""
    return Path(engine.scratch) / "checkpoints" / trial_id


def run_trial(
    trial: Trial,
    engine: Engine,
    on_progress: Progress = lambda stage, done, total: None,
    with_scores: bool = True,
) -> Result:
    """Train, decode and score one trial. Whatever goes wrong becomes a result with status failed and its cause.

    But where no delta can be written, no trial can end well: that is raised (ArtifactsError), and ends the sweep.

    Without scores, `harness.score.scored` adds them, here or in another process.
    """
    try:
        result = _run(trial, engine, on_progress)
        return scored(trial, result) if with_scores else result
    except torch.OutOfMemoryError as error:
        _unload()
        torch.cuda.empty_cache()
        return Result(trial_id=trial.id, status="failed", cause=f"out of memory: {error}", provenance=provenance())
    except ArtifactsError:
        raise
    except torch.AcceleratorError:
        raise  # the device is unusable for this process; the pool replaces the worker and runs the trial again
    except Exception as error:
        where = "".join(traceback.format_exception(error)[-3:])
        return Result(
            trial_id=trial.id,
            status="failed",
            cause=f"{type(error).__name__}: {error}\n{where}",
            provenance=provenance(),
        )


@dataclass(frozen=True, kw_only=True)
class _Trained:
    """A trial after training, ready to decode."""

    slot: Slot
    backbone: backbones.Backbone
    together: Together
    encoder: Encoder
    pairs: Sequence[EncodedPair]
    """For training"""
    sources: Mapping[str, set[str]]
    """Of training and validation pairs, by split"""
    training: Training
    micro_batch: int | None
    """Pairs a forward pass at the end; None: the whole batch"""
    peak: int
    """Bytes while it trained"""
    started: float
    """When its backbone was there, on the monotonic clock"""
    processors: tuple[float, float] | None
    """What `processor_seconds` told then"""


def follow_trial(trial: Trial, engine: Engine) -> None:
    """Do another process' part of a trial that is spread over workers: training, no more."""
    _train(trial, engine, lambda stage, done, total: None)


def _train(trial: Trial, engine: Engine, on_progress: Progress) -> _Trained:
    torch.manual_seed(trial.seed)
    data.check_content(trial)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    zero = spread_of(trial, engine)
    on_progress("loading", 0, 1)
    # DeepSpeed brings each part of a spread trial to its GPU, none of which may hold the whole
    backbone, pack, together = backbone_for(trial, "cpu" if zero else device, engine)
    started, processors = time.monotonic(), processor_seconds()
    method, config = method_of(trial.method), config_of(trial)
    encoder = replace(encoder_for(trial, backbone), folder=cache_folder() / "tokenised")
    if reason := method.refuses(backbone.anatomy, config):
        raise ValueError(f"{method.name} refuses: {reason}")
    probe = WordsProbe(backbone, trial.words) if trial.words_as == "init" else None
    with pack.turns:
        slot = new_slot(method, config, backbone.anatomy, backbone.model, trial.seed, probe)
    private = slot.weights()
    if private:
        _give_up(backbone.model, set(private))
    spread = _spread(trial, engine, zero, backbone, slot) if zero else None
    train_texts, validation_texts = (data.pairs(trial.task, chosen) for chosen in (trial.train, trial.validation))
    train_pairs = encoder.pairs(train_texts)
    run = Run(
        slot=slot,
        pairs=train_pairs,
        validation=encoder.pairs(validation_texts),
        learning_rate=trial.learning_rate,
        weight_decay=trial.weight_decay,
        steps=trial.steps,
        settings=trial.settings,
        seed=trial.seed,
        precision=trial.precision,
        pad=backbone.end,
        micro_batch=engine.micro_batch,
        checkpoint=checkpoint_folder(engine, trial.id),
        checkpoint_seconds=engine.checkpoint_seconds,
        on_progress=lambda done, total: on_progress("training", done, total),
        held=spread,
    )
    reset_peak(device)
    training = pack.train(run)
    peak = peak_bytes(device)
    if spread:
        _unload()  # what DeepSpeed took apart
        if spread.leads:
            backbone, _, together = backbone_for(trial, device, engine)
            slot = spread.slot().to(device=backbone.model.device, dtype=backbone.model.dtype)
            encoder = replace(encoder, backbone=backbone)
            if private:
                _give_up(backbone.model, set(private))
    return _Trained(
        slot=slot,
        backbone=backbone,
        together=together,
        encoder=encoder,
        pairs=train_pairs,
        sources={"train": {s for s, _ in train_texts}, "validation": {s for s, _ in validation_texts}},
        training=training,
        micro_batch=run.at_once(evaluating=False),
        peak=peak,
        started=started,
        processors=processors,
    )


def _spread(trial: Trial, engine: Engine, zero: Zero, backbone: backbones.Backbone, slot: Slot) -> Spread:
    """Return the trial's weights spread over the workers of this world; its backbone is spent by that."""
    from featherbench.harness.deepspeed_engine import Spread  # slow to import, and rarely needed

    _unload()
    return Spread(
        zero,
        backbone.model,
        backbone.anatomy,
        slot,
        pad=backbone.end,
        learning_rate=trial.learning_rate,
        weight_decay=trial.weight_decay,
        settings=trial.settings,
        micro_batch=engine.micro_batch,
        precision=trial.precision,
    )


def _run(trial: Trial, engine: Engine, on_progress: Progress) -> Result:
    if answer := method_of(trial.method).answer:
        return _answered(trial, engine, answer)
    trained = _train(trial, engine, on_progress)
    slot, backbone, encoder, training = trained.slot, trained.backbone, trained.encoder, trained.training
    method, config = method_of(trial.method), config_of(trial)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    reset_peak(device)
    request = Request(
        slot=slot,
        encoder=encoder,
        items=sources_of(trial),
        settings=trial.decoding,
        on_progress=lambda done, total: on_progress("decoding", done, total),
    )
    trained.together.decode(request)
    predictions, decode_peak = request.predictions, peak_bytes(device)
    waited = share_waited(trained.processors, processor_seconds())
    alone = training.shared == training.step  # the peak of a pack is nobody's own
    delta = slot.delta()
    about = {"trial": trial.id, "method": trial.method, "config": trial.config}
    blob = save_tensors(delta, {"featherbench": json.dumps(about)})  # one entry: several have no fixed order
    # a search trial is over once its score is known
    kept = keep_delta(engine.artifacts, trial.id, blob) if delta and trial.evaluate.split == "test" else None
    counts = count(method, config, backbone.anatomy)
    extra = keys_in_front(method, config, backbone.anatomy)
    lengths = [(len(prompt), len(target)) for prompt, target in trained.pairs]
    flops_per_token = train_flops(backbone.anatomy, method, config, lengths, extra) / sum(map(sum, lengths))
    evaluated = data.references(trial.task, trial.evaluate)
    decoded = {evaluated[p.item].source: p.text for p in predictions}  # a source that stands twice is decoded once
    prompts = [len(prompt) for prompt in encoder.prompts(list(decoded))]
    outputs = [len(encoder.ids(text)) + 1 for text in decoded.values()]
    cost = Cost(
        trained_parameters=counts.trained,
        stored_parameters=counts.stored,
        total_parameters=counts.total,
        stored_bytes=len(blob) if delta else 0,
        steps=training.step,
        train_tokens=training.tokens,
        train_seconds=training.seconds,
        decode_seconds=request.seconds,
        seconds=time.monotonic() - trained.started + training.earlier_seconds,
        tokens_per_second=training.tokens / training.seconds if training.seconds else 0.0,
        train_flops=training.tokens * flops_per_token,
        decode_flops=decode_flops(backbone.anatomy, prompts, outputs, extra, trial.decoding.beams),
        train_peak_bytes=trained.peak if alone else 0,
        decode_peak_bytes=decode_peak if alone else 0,
        pack=training.shared / training.step if training.step else 1.0,
        micro_batch=trained.micro_batch,
        halvings=training.halvings,
        evaluation_halvings=training.evaluation_halvings,
        decode_batch=request.at_once,
        decode_halvings=request.halvings,
        device=_device_name(device),
        processor_wait=waited,
    )
    inputs = {"validation": trained.sources["validation"], trial.evaluate.split: set(decoded)}
    return Result(
        trial_id=trial.id,
        status="diverged" if training.diverged else "ok",
        cause=training.diverged,
        curve=tuple(training.curve),
        predictions=tuple(predictions),
        best_step=training.best_step,
        cost=cost,
        delta=kept,
        delta_sha256=hashlib.sha256(blob).hexdigest() if kept else None,
        provenance={
            **provenance(),
            "engine": _engine_of(trial, engine),
            "frozen_work": training.frozen_work,
            "notes": training.notes,
            "also_trained_on": {split: len(sources & trained.sources["train"]) for split, sources in inputs.items()},
            "seen_in_pretraining": backbones.pretraining(trial.backbone).get("seen_tasks", {}).get(trial.task),
        },
    )


def _answered(trial: Trial, engine: Engine, answer: Callable[[str], str]) -> Result:
    """Return the result of a baseline whose outputs no model writes: nothing is loaded, and nothing spent."""
    data.check_content(trial)
    counts = count(method_of(trial.method), config_of(trial), backbones.anatomy(trial.backbone))
    cost = Cost(
        trained_parameters=counts.trained,
        stored_parameters=counts.stored,
        total_parameters=counts.total,
        stored_bytes=0,
        steps=0,
        train_tokens=0,
        train_seconds=0.0,
        decode_seconds=0.0,
        seconds=0.0,
        tokens_per_second=0.0,
        train_flops=0.0,
        decode_flops=0.0,
        train_peak_bytes=0,
        decode_peak_bytes=0,
        device="none",
    )
    return Result(
        trial_id=trial.id,
        status="ok",
        predictions=tuple(Prediction(item=i, text=answer(s), truncated=False) for i, s in sources_of(trial)),
        cost=cost,
        provenance={**provenance(), "engine": _engine_of(trial, engine)},
    )


def sources_of(trial: Trial) -> list[tuple[int, str]]:
    """Return the trial's evaluation items with their sources; no reference is read here."""
    examples = load_examples(trial.task, trial.evaluate.split)
    return [(item, examples[item].source) for item in data.items(trial.task, trial.evaluate)]


def tuned_from_delta(trial: Trial, artifacts: str, path: str | None, sha256: str | None) -> tuple[Tuned, Encoder]:
    """Return the tuned model of a finished trial and its linearisation."""
    if method_of(trial.method).answer:
        raise DeltaError(f"trial {trial.id} has no model: its outputs are {method_of(trial.method).source}.")
    if path is None and trial.steps:
        raise DeltaError(f"trial {trial.id} kept no delta.")
    return tuned_from(trial, None if path is None else delta_bytes(artifacts, path, sha256), artifacts)


def tuned_from(trial: Trial, blob: bytes | None, scratch: str) -> tuple[Tuned, Encoder]:
    """Return the tuned model of a delta's content, or without one the untuned backbone, and the linearisation."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    backbone, *_ = backbone_for(trial, device, Engine(artifacts=scratch, scratch=scratch))
    if blob is None:
        slot: Slot = new_slot(UNTUNED, config_of(trial), backbone.anatomy, backbone.model, 0)
    else:
        slot = CollapsedSlot(method_of(trial.method), config_of(trial), load_tensors(blob)).to(
            backbone.model.device, backbone.model.dtype
        )
    return Tuned(backbone.model, backbone.anatomy, [slot]).to(backbone.model.device), encoder_for(trial, backbone)


def _engine_of(trial: Trial, engine: Engine) -> dict[str, Any]:
    """Return what trained a trial."""
    zero = spread_of(trial, engine)
    if zero is None:
        return {"name": "plain"}
    how = zero.model_dump(include={"stage", "workers", "offload"})
    return {"name": "deepspeed", "version": version("deepspeed"), **how}


def _device_name(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' * (threads != 1)}"


@cache
def provenance() -> dict[str, Any]:
    """Return versions, commit and hardware; what a reader needs to judge a number."""
    packages = (
        "featherbench",
        "torch",
        "transformers",
        "tokenizers",
        "datasets",
        "ray",
        "optuna",
        "sacrebleu",
        "numpy",
    )
    ours = _git("ls-files", "--error-unmatch", Path(__file__).name) is not None  # else it is somebody else's checkout
    commit, dirty = (_git("rev-parse", "HEAD"), _git("status", "--porcelain")) if ours else (None, None)
    return {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
        "git_commit": commit,
        "git_dirty": bool(dirty) if commit else None,
        "platform": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "device": _device_name("cuda" if torch.cuda.is_available() else "cpu"),
        "cuda": torch.version.cuda,
    }


def _git(*arguments: str) -> str | None:
    """Return git's answer about the checkout that holds this file, or None outside one."""
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
