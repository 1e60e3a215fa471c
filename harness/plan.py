"""plan.yaml -> plan -> cells and trials. Every mistake of a plan is found here, before anything trains."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from optuna.distributions import CategoricalDistribution
from pydantic import TypeAdapter, ValidationError

from featherbench.harness import backbones, data
from featherbench.harness.catalogue import BACKBONES
from featherbench.harness.counts import Counts, count, solve
from featherbench.harness.records import (
    Cell,
    DecodingSettings,
    Phase,
    Place,
    Settings,
    Trial,
    WordsAs,
    content_hash,
)
from featherbench.harness.spec import (
    FinalSpec,
    PlanError,
    PlanSpec,
    RowSpec,
    SearchSpec,
    find_plan,
    lookup,
    mistakes_of,
    nearest,
    read_spec,
    read_text,
)
from featherbench.methods import METHODS, UNTUNED
from featherbench.methods.base import Anatomy, Method
from featherbench.tasks import TASKS
from featherbench.tasks.base import Task
from featherbench.tasks.load import TooSmall
from featherbench.tasks.load import load as load_examples

LENGTH_PROBES = 64
"""The longest texts by characters whose length in tokens is checked"""


@dataclass(frozen=True, kw_only=True)
class CellPlan:
    """A cell with what is needed to make its trials."""

    cell: Cell
    method: Method
    anatomy: Anatomy
    base: Trial
    """The trial with the cell's default configuration at final place 0"""
    counts: Counts
    search: SearchSpec
    final: FinalSpec
    origins: Mapping[str, str]
    """Value -> where it came from"""

    @property
    def num_final(self) -> int:
        """Trials of the final phase; the untuned backbone has no randomness and needs one."""
        return 1 if self.method is UNTUNED else self.final.seeds * self.final.draws

    @property
    def num_search(self) -> int:
        """Trials of the search phase."""
        return 0 if self.method is UNTUNED else self.search.configurations * self.search.draws

    def trial(self, phase: Phase, number: int, configuration: Mapping[str, Any]) -> Trial:
        """Return the trial of a place under a configuration: learning_rate, steps, weight_decay and the method's own."""
        own = {**self.base.config, **{k: v for k, v in configuration.items() if k in self.base.config}}
        shared = {k: configuration[k] for k in ("learning_rate", "steps", "weight_decay") if k in configuration}
        change: dict[str, Any] = {"config": own, **shared}
        size = self.base.train.size
        if phase == "search":
            draw = f"search{number % self.search.draws}"
            change["seed"] = self.base.seed - FINAL_SEEDS
        else:
            draw = f"final{number // self.final.seeds}"
            change["seed"] = self.base.seed + number
        if size is not None:
            change["train"] = data.subset(self.base.task, "train", size, draw)
            change["validation"] = data.subset(self.base.task, "validation", self.base.validation.size, draw)
        if phase == "search":
            change["evaluate"] = change.get("validation", self.base.validation)
        return self.base.model_copy(update=change)


FINAL_SEEDS = 1000
"""Final seeds start this far above the plan's seed, so that they never meet the search's"""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """An expanded plan."""

    id: str
    name: str
    text: str
    cells: tuple[CellPlan, ...]

    def places(self) -> Iterable[tuple[CellPlan, Phase, int]]:
        """Return all places, the search phase first."""
        for cell in self.cells:
            yield from ((cell, "search", i) for i in range(cell.num_search))
        for cell in self.cells:
            yield from ((cell, "final", i) for i in range(cell.num_final))


def read_plan(name: str) -> Plan:
    """Read, check and expand a plan given by path or packaged name.

    Raises: PlanError; DataError for missing or damaged data; BackboneError for a backbone that cannot be had.
    """
    path = find_plan(name)
    return expand(read_text(path), path.name)


def expand(text: str, origin: str = "plan") -> Plan:
    """Expand a plan's text to its cells."""
    spec = read_spec(text, origin)
    rows = spec.methods
    words_rows: list[RowSpec] = []
    if spec.untuned:
        words_rows = [RowSpec(method=UNTUNED.name, words="none")]
        if spec.words:
            words_rows.append(RowSpec(method=UNTUNED.name, row="untuned+words", words="text"))
    names = [row.row or row.method for row in (*words_rows, *rows)]
    for twice in {n for n in names if names.count(n) > 1}:
        raise PlanError(f"two rows are named {twice!r}; give one a `row:` name of its own.")
    for row in rows:
        lookup("method", row.method, METHODS)
    for task in spec.tasks:
        lookup("task", task, TASKS)
    for key in ("backbones", "tasks", "sizes"):
        values = getattr(spec, key)
        for twice in {v for v in values if values.count(v) > 1}:
            raise PlanError(f"{key}: {twice!r} stands there twice; remove one.")
    for backbone in spec.backbones:
        _check_backbone(backbone)
    cells = tuple(
        _cell(spec, backbone, TASKS[task], None if size == "full" else size, row)
        for backbone in spec.backbones
        for task in spec.tasks
        for size in spec.sizes
        for row in (*words_rows, *rows)
    )
    return Plan(id=content_hash([text, [c.cell.id for c in cells]]), name=spec.name, text=text, cells=cells)


def _check_backbone(name: str) -> None:
    """A bare word that is no packaged backbone is a typing error, or a hub id without its owner such as gpt2."""
    near = nearest(name, BACKBONES)
    if name not in BACKBONES and near and not Path(name).exists():
        raise PlanError(
            f"unknown backbone {name!r}.{near} Known: {', '.join(BACKBONES)}; or give a hub id or a local folder."
        )


def _configured(row: RowSpec, method: Method, spec: PlanSpec) -> tuple[Any, dict[str, Any], dict[str, str]]:
    """Return the method's configuration, the shared hyper-parameters and where each value came from."""
    own = {f.name for f in dataclasses.fields(method.config)}
    shared: dict[str, Any] = {
        "learning_rate": method.learning_rate,
        "steps": 0 if method is UNTUNED else spec.training.steps,
        "weight_decay": spec.training.weight_decay,
    }
    for key in row.config:
        if key not in own and key not in shared:
            known = sorted(own | set(shared))
            raise PlanError(
                f"unknown key {key!r} in the config of {method.name}.{nearest(key, known)} Known: {', '.join(known)}."
            )
    try:
        config: Any = TypeAdapter(method.config).validate_python({k: v for k, v in row.config.items() if k in own})
        shared |= {
            k: TypeAdapter(int if k == "steps" else float).validate_python(row.config[k])
            for k in shared
            if k in row.config
        }
    except ValidationError as error:
        mistakes = "; ".join(
            f"{'.'.join(map(str, m['loc']))}: {m['msg']}; given: {m.get('input')!r}" for m in error.errors()
        )
        raise PlanError(f"config of {method.name}: {mistakes}") from error
    for key, value in {**dataclasses.asdict(config), "steps": shared["steps"]}.items():
        least = 0 if method is UNTUNED else 1
        if isinstance(value, int) and not isinstance(value, bool) and value < least:
            raise PlanError(f"config of {method.name}: {key} must be at least {least}; given: {value}")
    if shared["steps"] > spec.training.steps:
        raise PlanError(
            f"config of {method.name}: steps {shared['steps']} exceeds the step cap of all rows, training.steps = "
            f"{spec.training.steps}; raise the cap or lower the row's steps."
        )
    for key in ("learning_rate", "weight_decay"):
        if not (math.isfinite(shared[key]) and shared[key] >= 0):
            raise PlanError(f"config of {method.name}: {key} must be a number of at least 0; given: {shared[key]}")
    origins = {k: "plan" if k in row.config else "method default" for k in own}
    origins |= {k: "plan" if k in row.config else "plan's training" for k in ("steps", "weight_decay")}
    origins["learning_rate"] = (
        "plan" if "learning_rate" in row.config else f"method default: {method.learning_rate_source}"
    )
    return config, shared, origins


def _cell(spec: PlanSpec, backbone: str, task: Task, size: int | None, row: RowSpec) -> CellPlan:
    method = UNTUNED if row.method == UNTUNED.name else METHODS[row.method]
    anatomy = backbones.anatomy(backbone)
    config: Any
    config, shared, origins = _configured(row, method, spec)
    if row.budget is not None:
        if method.size_field in row.config:
            raise PlanError(f"{row.row or row.method}: give budget or {method.size_field}, not both.")
        try:
            config = solve(method, config, anatomy, row.budget)
        except ValueError as error:
            raise PlanError(str(error)) from error
        origins[str(method.size_field)] = f"solved for budget {row.budget:.4%}"
    if reason := method.refuses(anatomy, config):
        raise PlanError(f"{method.name} on {backbone}: {reason}.")
    words = task.words if spec.words == "task" else spec.words
    can_init = (
        method.takes_words and not anatomy.encoder_layers
    )  # no probe reads an encoder-decoder model's activations
    words_as: WordsAs = row.words or ("none" if not words else "init" if can_init else "text")
    if words_as != "none" and not words:
        raise PlanError(f"{row.row or row.method}: words: {words_as}, but the plan has no words; add `words: task`.")
    if words_as == "init" and not can_init:
        raise PlanError(f"{method.name} on {backbone} cannot take words as initialisation; use words: text or none.")
    validation_size = (
        spec.validation if spec.validation is not None else None if size is None else max(1, round(0.3 * size))
    )
    draw = "final0" if size is not None else None
    try:
        subsets = {
            "train": data.subset(task.name, "train", size, draw),
            "validation": data.subset(task.name, "validation", validation_size, draw),
            "evaluate": data.subset(task.name, "test", spec.test),
        }
    except TooSmall as error:
        raise PlanError(f"{task.name}: {error}") from error
    base = Trial(
        backbone=backbone,
        backbone_sha256=backbones.fingerprint(backbone),
        method=method.name,
        method_version=method.version,
        config=dataclasses.asdict(config),
        **shared,
        task=task.name,
        task_version=task.version,
        **subsets,
        settings=Settings(**{k: getattr(spec.training, k) for k in Settings.model_fields}),
        decoding=_decoding(spec, task),
        words=words if words_as != "none" else "",
        words_as=words_as,
        seed=spec.seed + FINAL_SEEDS,
        precision=("bfloat16" if torch.cuda.is_available() else "float32")
        if spec.precision == "auto"
        else spec.precision,
    )
    _check_lengths(base, method, _longest(method, config, anatomy, row, spec))
    searched = {} if method is UNTUNED else spec.search.model_dump()
    cell = Cell(
        row=row.row or row.method,
        backbone=backbone,
        task=task.name,
        size=size,
        method=method.name,
        budget=row.budget,
        fixed={
            "trial": base.model_dump(mode="json"),
            "search": searched,
            "final": spec.final.model_dump(),
            "given": row.config,
        },
    )
    return CellPlan(
        cell=cell,
        method=method,
        anatomy=anatomy,
        base=base,
        counts=count(method, config, anatomy),
        search=spec.search,
        final=spec.final,
        origins=origins,
    )


def _decoding(spec: PlanSpec, task: Task) -> DecodingSettings:
    known = dataclasses.asdict(task.decoding)
    for key in spec.decoding:
        if key not in known:
            raise PlanError(f"unknown key 'decoding.{key}'.{nearest(key, known)} Known: {', '.join(known)}.")
    try:
        return DecodingSettings(**{**known, **spec.decoding})
    except ValidationError as error:
        raise PlanError(mistakes_of(error, "decoding")) from error


def _longest(method: Method, config: Any, anatomy: Anatomy, row: RowSpec, spec: PlanSpec) -> Any:
    """Return the configuration with the largest size that a search may choose."""
    size = method.space(anatomy).get(str(method.size_field)) if spec.search.configurations else None
    if size is None or row.budget is not None or method.size_field in row.config:
        return config
    largest: Any = (
        max(int(c) for c in size.choices if isinstance(c, int))
        if isinstance(size, CategoricalDistribution)
        else getattr(size, "high", None)
    )
    return config if largest is None else dataclasses.replace(config, **{str(method.size_field): largest})


def _check_lengths(trial: Trial, method: Method, config: Any) -> None:
    """Refuse inputs that need more positions than the backbone has; nothing is cut silently."""
    anatomy = backbones.anatomy(trial.backbone)
    tok = backbones.shared_tokenizer(trial.backbone)
    in_layout = len(method.layout(config, [], lambda length: [0] * length))
    virtual = in_layout if anatomy.encoder_layers else method.offset(config) or in_layout
    words = trial.words if trial.words_as == "text" else ""

    def longest(texts: Iterable[str]) -> int:
        probes = sorted(texts, key=len)[-LENGTH_PROBES:]
        return max(len(ids) for ids in tok(probes, add_special_tokens=False)["input_ids"])

    for split in ("train", "validation", "test"):
        examples = load_examples(trial.task, split)
        source = longest(f" {words} {e.source}" for e in examples)
        target = trial.decoding.max_new_tokens  # test and validation sources are decoded, pairs are trained on
        if split != "test":
            target = max(target, longest(r for e in examples for r in e.references) + 1)
        need = max(virtual + source + 2, target + 1) if anatomy.encoder_layers else virtual + source + 1 + target
        if need > anatomy.max_positions:
            raise PlanError(
                f"{method.name} on {trial.backbone}: {virtual} virtual tokens + {source + 1} source and separator + {target} "
                f"target = {need} positions ({trial.task}, {split}), the backbone has {anatomy.max_positions}. "
                "Give a smaller length or budget, or fewer decoding.max_new_tokens."
            )


def place_of(cell: CellPlan, phase: Phase, number: int) -> Place:
    """Return the place's record."""
    return Place(cell=cell.cell.id, phase=phase, number=number)
