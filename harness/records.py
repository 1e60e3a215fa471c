"""Everything that crosses a stage: plain frozen records, equal when their content is equal. Imports no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_serializer

from featherbench.harness.secrets import without_secrets

PROTOCOL = 1
"""Version of the evaluation protocol; part of every trial id"""

Precision = Literal["float32", "bfloat16", "float64"]
Phase = Literal["search", "final"]
WordsAs = Literal["none", "text", "init"]
Status = Literal["ok", "diverged", "failed"]
SizeUnit = Literal["pair", "item"]


class Record(BaseModel):
    """Frozen, and closed to unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", ser_json_inf_nan="strings", ser_json_bytes="base64", val_json_bytes="base64"
    )


class Named(Record):
    """A record with an `id` that follows from its content; both are worked out once."""

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with other values; these have an id of their own."""
        copied = super().model_copy(update=update, deep=deep)
        for name in ("id", "content"):
            vars(copied).pop(name, None)
        return copied

    @cached_property
    def content(self) -> dict[str, Any]:
        """The record as plain JSON values, to be read only."""
        return self.model_dump(mode="json")


class Grown(Record):
    """A record that was stored before it had all of its fields."""

    later: ClassVar[frozenset[str]]
    """Fields that came after the first stored results: left out while they have their default, so that ids stay"""

    @model_serializer(mode="wrap")
    def _as_ever(self, dump: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        content = dump(self)
        for name in self.later:
            if getattr(self, name) == self.__pydantic_fields__[name].default:
                content.pop(name, None)
        return content


def content_hash(content: Any, digits: int = 12) -> str:
    """Return the first hex digits of the SHA-256 of the canonical JSON of `content`."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


class Subset(Grown):
    """Which pairs or items of a split a trial uses; the index list itself is kept in the store by its hash."""

    name: str
    """E.g. "train", "train100.final0", "validation30.final0", "test64" """
    split: Literal["train", "validation", "test"]
    size: int | None = None
    """Pairs (train, validation) or items (test); None: all"""
    draw: str | None = None
    """E.g. "final0" or "search0": which random subset; None when it is not a low-data draw"""
    sha256: str
    """Of the index list"""
    unit: SizeUnit = "pair"
    """What `size` counts: pairs, one per distinct input; or inputs with all their references"""

    later = frozenset({"unit"})


class Settings(Record):
    """How every trial of a cell is trained; equal for all methods."""

    batch_size: int = Field(8, ge=1)
    """Training pairs per optimiser step"""
    evaluations: int = Field(4, ge=1)
    """Number of validation-loss evaluations after step 0, evenly spread; the best one's weights are kept"""
    warmup_steps: int = Field(0, ge=0)
    clip: float = Field(1.0, gt=0, allow_inf_nan=False)
    """Largest global gradient norm"""
    patience: int | None = Field(None, ge=1)
    """Stop after this many evaluations without a better validation loss; None: run the schedule to its end"""


class DecodingSettings(Grown):
    """How every output is decoded; equal for all methods."""

    beams: int = Field(ge=1)
    max_new_tokens: int = Field(ge=1)
    length_penalty: float = Field(allow_inf_nan=False)
    min_new_tokens: int = Field(0, ge=0)
    """An output ends after this many tokens at the earliest"""

    later = frozenset({"min_new_tokens"})

    @field_validator("min_new_tokens")
    @classmethod
    def _below_the_most(cls, least: int, info: ValidationInfo) -> int:
        most = info.data.get("max_new_tokens", least)  # absent if it was no number itself
        if least > most:
            raise ValueError(f"must not be above max_new_tokens, which is {most}")
        return least


class Zero(Record):
    """DeepSpeed ZeRO: over how many workers a trial is spread, and what of it."""

    stage: Literal[1, 2, 3] = 3
    """Spread are AdamW's state (1), also gradients (2), also all weights, frozen ones included (3)"""
    workers: int = Field(2, ge=2)
    offload: bool = False
    """Keep AdamW's state in the main memory, and take its step there"""
    above_bytes: int = Field(0, ge=0)
    """A trial that needs no more by estimate (harness/cost.py) trains on one worker"""


class Trial(Grown, Named):
    """One training run. Every field that changes the number is part of the id."""

    protocol: int = PROTOCOL
    backbone: str
    backbone_sha256: str
    """Of weights and tokenizer"""
    method: str
    method_version: int
    config: dict[str, Any]
    """The method's own configuration, complete"""
    learning_rate: float
    weight_decay: float
    steps: int
    """Optimiser steps"""
    task: str
    task_version: int
    train: Subset
    validation: Subset
    evaluate: Subset
    """Items that are decoded and scored: validation items while searching, test items in the final phase"""
    settings: Settings
    decoding: DecodingSettings
    words: str
    """The task words, or empty"""
    words_as: WordsAs
    seed: int
    precision: Precision
    data_sha256: str | None = None
    """Of the content of the task's files, where the task itself does not state it"""
    definition: dict[str, Any] | None = None
    """Of a task that the plan describes: where its files lie, their sha256 and how they are read (tasks/table.py)"""

    later = frozenset({"data_sha256", "definition"})

    def stated(self) -> dict[str, Any]:
        """Return the record as plain JSON values without the places where data files lie: their hashes count."""
        content = dict(self.content)
        if self.definition is not None:
            from featherbench.tasks.table import identity  # here, since scorers load slowly and plans are read first

            content["definition"] = identity(self.definition)
        return content

    @cached_property
    def id(self) -> str:
        """Twelve hex digits; equal trials share an id. Names of backbone and subsets do not count, their hashes do."""
        content = self.stated()
        del content["backbone"]
        for subset in ("train", "validation", "evaluate"):
            content[subset] = {name: value for name, value in content[subset].items() if name != "name"}
        return content_hash(content)


class Cell(Grown, Named):
    """All trials that estimate one number of a report."""

    row: str
    """Label of the row, unique within the plan"""
    backbone: str
    task: str
    size: int | None
    """Training pairs, one per distinct input; None: the whole training split"""
    method: str
    budget: float | None = None
    """Stored parameters as a share of the backbone, if the size was solved for"""
    fixed: dict[str, Any]
    """Everything else that all trials of the cell share; part of the id"""
    size_unit: SizeUnit = "pair"
    """"item": `size` counts inputs, each with all its references"""

    later = frozenset({"size_unit"})

    @cached_property
    def id(self) -> str:
        """Twelve hex digits; equal cells share an id, also across plans."""
        return content_hash(self.content)

    @property
    def label(self) -> str:
        """Readable name."""
        unit = "items" if self.size_unit == "item" else ""
        return f"{self.backbone}/{self.task}/{self.size or 'full'}{unit}/{self.row}"


class Place(Record):
    """Where a trial stands in the design; a trial fills it once its configuration is known."""

    cell: str
    phase: Phase
    number: int


class CurvePoint(Record):
    """One value of a training curve."""

    step: int
    name: Literal["train_loss", "validation_loss", "gradient_norm", "learning_rate"]
    value: float


class Prediction(Record):
    """The output for one item."""

    item: int
    """Row of the split's examples"""
    text: str
    truncated: bool
    """True if the output reached the length limit without an end mark"""


class ScoreValue(Record):
    """One official score over all items of `subset`."""

    metric: str
    subset: str
    """"all", or "seen=unseen" and the like: a tag and its value"""
    value: float | None
    """None when the score could not be computed; never NaN"""
    signature: str
    """Scorer, version, options, item and reference counts; or the reason why there is no value"""


class ItemStatistics(Record):
    """What a corpus score sums over items (tasks/metrics/additive.py), one row for each prediction in their order."""

    metric: str
    names: tuple[str, ...]
    """What each column counts"""
    packed: bytes
    """[items, names], as tasks/metrics/additive.py packs it"""


class Cost(Grown):
    """What the trial took. Bytes and seconds are measured, FLOPs are computed (harness/cost.py)."""

    trained_parameters: int
    stored_parameters: int
    total_parameters: int
    stored_bytes: int
    steps: int
    train_tokens: int
    train_seconds: float
    decode_seconds: float
    seconds: float
    tokens_per_second: float
    train_flops: float
    decode_flops: float
    train_peak_bytes: int
    """0 where it was not measured: a pack's peak is nobody's own"""
    decode_peak_bytes: int
    device: str
    processor_wait: float | None = None
    """Share of the time in which the worker's threads could have run and had to wait for a processor, that others used;
    None: not recorded. Where it is large, the seconds say more about the others than about the method."""
    pack: float = 1.0
    """Trials that shared a training step, mean over steps; `train_seconds` is this trial's share of them"""
    micro_batch: int | None = None
    """Pairs a forward pass at the end of training; None: the whole batch"""
    halvings: int = 0
    """How often memory ran out and the micro-batch was halved"""
    evaluation_halvings: int = 0
    """The same of the validation loss"""
    decode_batch: int | None = None
    """At most as many inputs were to be decoded at once; None: not recorded"""
    decode_halvings: int = 0
    """How often memory ran out and that was halved"""

    later = frozenset(
        {"processor_wait", "micro_batch", "halvings", "evaluation_halvings", "decode_batch", "decode_halvings"}
    )


class Result(Record):
    """What a worker returns for one trial."""

    trial_id: str
    status: Status
    cause: str | None = None
    """For failed and diverged trials: what happened, with the traceback's end"""
    scores: tuple[ScoreValue, ...] = ()
    item_statistics: tuple[ItemStatistics, ...] = ()
    """Of the scores that follow from sums over items"""
    curve: tuple[CurvePoint, ...] = ()
    predictions: tuple[Prediction, ...] = ()
    best_step: int | None = None
    cost: Cost | None = None
    delta: str | None = None
    """Path of the delta below the artifact root"""
    delta_sha256: str | None = None
    provenance: dict[str, Any] = {}
    log: str = ""
    """What the worker said meanwhile"""

    @field_validator("cause")
    @classmethod
    def _without_secrets(cls, cause: str | None) -> str | None:
        """Libraries name the URL that failed, and causes are stored and shown."""
        return cause if cause is None else without_secrets(cause)
