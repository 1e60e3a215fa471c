"""plan.yaml -> plan -> cells and trials. Every mistake of a plan is found here, before anything trains."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from optuna.distributions import CategoricalDistribution
from pydantic import BaseModel, TypeAdapter, ValidationError

from featherbench.harness import backbones, data
from featherbench.harness.baselines import Row, name_of, rows_of
from featherbench.harness.catalogue import BACKBONES
from featherbench.harness.counts import MAX_SIZE, Counts, count, solve
from featherbench.harness.records import (
    Cell,
    DecodingSettings,
    Phase,
    Place,
    Settings,
    SizeUnit,
    Trial,
    WordsAs,
    content_hash,
)
from featherbench.harness.spec import (
    EngineSpec,
    FinalSpec,
    PlanError,
    PlanSpec,
    RowSpec,
    SearchSpec,
    TaskSpec,
    find_plan,
    lookup,
    mistakes_of,
    nearest,
    read_spec,
    read_text,
    shown,
)
from featherbench.harness.text import source_limit
from featherbench.methods import BASELINES, METHODS
from featherbench.methods.base import Anatomy, Method
from featherbench.tasks import TASKS
from featherbench.tasks.base import SPLITS, Decoding, Example, File, Task
from featherbench.tasks.files import HUB_ID, HUB_SPLIT, hub_file, read_checked
from featherbench.tasks.load import DEFINITIONS, TooSmall, content_sha256, largest_draw, register
from featherbench.tasks.load import load as load_examples
from featherbench.tasks.table import ENDINGS, TASK_NAME
from featherbench.tasks.table import SCORES as OWN_SCORES

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
    share: str = ""
    """The size as the plan gives it, where that is a percentage"""

    @property
    def num_final(self) -> int:
        """Trials of the final phase; where nothing is trained there is no randomness, and one is enough."""
        return self.final.seeds * self.final.draws if self.base.steps else 1

    @property
    def studies(self) -> int:
        """Searches of the cell: one, or one for each replicate of the final phase."""
        return self.final.studies(self.base.train.size is not None) if self.search.configurations else 1

    def study_of(self, number: int) -> int:
        """Return which search a place of the final phase follows."""
        return self.final.replicate_of(number, self.base.train.size is not None) if self.studies > 1 else 0

    @property
    def num_search(self) -> int:
        """Trials of the search phase."""
        return self.studies * self.search.configurations * self.search.draws

    def places(self) -> Iterable[tuple[Phase, int]]:
        """Return the cell's places, the search phase first."""
        yield from (("search", number) for number in range(self.num_search))
        yield from (("final", number) for number in range(self.num_final))

    def trial(self, phase: Phase, number: int, configuration: Mapping[str, Any]) -> Trial:
        """Return the trial of a place under a configuration: learning_rate, steps, weight_decay and the method's own."""
        own = {**self.base.config, **{k: v for k, v in configuration.items() if k in self.base.config}}
        shared = {k: configuration[k] for k in ("learning_rate", "steps", "weight_decay") if k in configuration}
        change: dict[str, Any] = {"config": own, **shared}
        size, unit = self.base.train.size, self.base.train.unit
        if phase == "search":
            study = number // (self.search.configurations * self.search.draws)
            draw = f"search{study * self.search.draws + number % self.search.draws}"
            change["seed"] = self.base.seed - FINAL_SEEDS + study
        else:
            draw = f"final{number // self.final.seeds}{'+' if (self.base.train.draw or '').endswith('+') else ''}"
            change["seed"] = self.base.seed + number
        if size is not None:
            change["train"] = data.subset(self.base.task, "train", size, draw, unit)
            change["validation"] = data.subset(self.base.task, "validation", self.base.validation.size, draw, unit)
        if phase == "search":
            change["evaluate"] = change.get("validation", self.base.validation)
        return self.base.model_copy(update=change)

    @property
    def spend(self) -> dict[str, int]:
        """Return what a user needs: training and validation pairs, and the distinct inputs that they belong to."""
        found: dict[str, int] = {}
        for name in ("train", "validation"):
            chosen = data.checked_indices(self.base.task, getattr(self.base, name))
            found |= {f"{name}_pairs": len(chosen), f"{name}_inputs": len({item for item, _ in chosen})}
        return found


FINAL_SEEDS = 1000
"""Final seeds start this far above the plan's seed, so that they never meet the search's"""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """An expanded plan."""

    id: str
    name: str
    text: str
    cells: tuple[CellPlan, ...]
    engine: EngineSpec = EngineSpec()


def read_plan(name: str, scale: str | None = None) -> Plan:
    """Read, check and expand a plan given by path or packaged name, at one of its scales or as it stands.

    Raises: PlanError; DataError for missing or damaged data; BackboneError for a backbone that cannot be had.
    """
    path = find_plan(name)
    return expand(read_text(path), path.name, path.parent, scale)


def tasks_of(spec: PlanSpec, folder: Path) -> list[Task]:
    """Return the tasks of a plan that lies in `folder`; those that it describes become known in this process.

    Raises: PlanError; DataError for a file that is missing.
    """
    names = [task.name for task in spec.tasks]
    for twice in {name for name in names if names.count(name) > 1}:
        raise PlanError(f"tasks: {twice!r} stands there twice; remove one, or give one another name.")
    return [_described(task, folder) if task.described else lookup("task", task.name, TASKS) for task in spec.tasks]


def _described(given: TaskSpec, folder: Path) -> Task:
    if given.name in TASKS:
        raise PlanError(f"tasks: {given.name!r} is a task that is known already; give yours another name.")
    if not re.fullmatch(TASK_NAME, given.name):
        raise PlanError(
            f"tasks: {shown(given.name)} is no name; use letters, digits, dots, underscores and hyphens, at most 100."
        )
    for score in given.scores:
        lookup("score", score, OWN_SCORES)
    for twice in {score for score in given.scores if given.scores.count(score) > 1}:
        raise PlanError(f"tasks: {given.name}: scores: {twice!r} stands there twice; remove one.")
    if given.primary is not None and given.primary not in given.scores:
        raise PlanError(
            f"tasks: {given.name}: primary {given.primary!r} is none of its scores: {', '.join(given.scores)}."
        )
    decoding = dataclasses.asdict(Decoding())
    for key in given.decoding:
        if key not in decoding:
            near = nearest(key, decoding)
            raise PlanError(f"tasks: {given.name}: unknown key 'decoding.{key}'.{near} Known: {', '.join(decoding)}.")
    _refuse_truth_values(given.decoding, f"tasks: {given.name}: decoding")
    try:
        decoding = DecodingSettings(**{**decoding, **given.decoding}).model_dump()
    except ValidationError as error:
        raise PlanError(mistakes_of(error, f"tasks: {given.name}: decoding")) from error
    found = {split: _own_file(given, split, folder) for split in SPLITS}  # all mistakes before any download
    files = {
        split: {**dataclasses.asdict(file), "sha256": hashlib.sha256(read_checked(file)).hexdigest()}
        for split, file in found.items()
    }
    return register(
        {
            "name": given.name,
            "files": {split: {key: file[key] for key in ("path", "sha256", "hub")} for split, file in files.items()},
            "source": given.source,
            "references": given.references,
            "tags": given.tags,
            "words": (given.words or "").strip() or f"{given.name}:",
            "decoding": decoding,
            "scores": given.scores,
            "primary": given.primary or given.scores[0],
            "max_source_tokens": given.max_source_tokens,
        }
    )


def _own_file(given: TaskSpec, split: str, folder: Path) -> File:
    """Return the file of a split of a task that the plan describes."""
    path = getattr(given, split)
    if given.hub is not None:
        if not re.fullmatch(HUB_ID, given.hub):
            raise PlanError(f"tasks: {given.name}, hub: {shown(given.hub)} is no data set's id, such as owner/name.")
        if not re.fullmatch(HUB_SPLIT, path or split):
            raise PlanError(
                f"tasks: {given.name}, {split}: {shown(path)} is no split of a data set, such as {split}; for a file "
                "of yours leave out hub."
            )
        return hub_file(given.hub, path or split)
    if path is None:
        raise PlanError(
            f"tasks: {given.name} has no {split} file; give train, validation and test, or hub: with the data set's id. "
            f"(To use a task that is known, give its name only: {', '.join(TASKS)}.)"
        )
    if not path.removesuffix(".gz").endswith(ENDINGS):
        raise PlanError(
            f"tasks: {given.name}, {split}: {shown(path)} should end in {', '.join(ENDINGS)}, or these with .gz."
        )
    try:
        place = Path(path).expanduser()
    except RuntimeError as error:
        raise PlanError(f"tasks: {given.name}, {split}: {shown(path)}: {error}; write the folder out.") from error
    return File(path=str((folder / place).absolute()), sha256=None)


def expand(text: str, origin: str = "plan", folder: Path | None = None, scale: str | None = None) -> Plan:
    """Expand a plan's text to its cells. `folder` is the one that file names in it are relative to."""
    spec = read_spec(text, origin, scale)
    rows = rows_of(spec)
    _check_headline(spec, [name_of(row.given) for row in rows])
    _check_estimand(spec)
    for key in ("backbones", "sizes"):
        values = getattr(spec, key)
        for twice in {v for v in values if values.count(v) > 1}:
            raise PlanError(f"{key}: {twice!r} stands there twice; remove one.")
    for backbone in spec.backbones:
        check_backbone(backbone)
    cells = tuple(
        _cell(spec, backbone, task, size, share, row)
        for backbone in spec.backbones
        for task in tasks_of(spec, folder or Path())
        for size, share in _sizes(spec, task)
        for row in rows
    )
    identity = content_hash([text, [c.cell.id for c in cells], *([scale] if scale else [])])
    return Plan(id=identity, name=spec.name, text=text, cells=cells, engine=spec.engine)


def _check_estimand(spec: PlanSpec) -> None:
    """Refuse an own search for each replicate where there is none, or where its points depend on earlier scores."""
    if spec.final.estimand == "configuration":
        return
    if not spec.search.configurations:
        raise PlanError(
            "final.estimand: procedure gives each draw or seed a search of its own, but there is no search; add "
            "`search: {configurations: 16}`, or leave estimand out."
        )
    if spec.search.sampler != "sobol":
        raise PlanError(
            f"final.estimand: procedure has independent searches of the sampler sobol; given: search.sampler "
            f"{spec.search.sampler}. Leave search.sampler out, or write a plan for each search.study."
        )


def _check_headline(spec: PlanSpec, rows: Sequence[str]) -> None:
    """Refuse a headline list that names what the plan does not have."""
    found = spec.headline
    if found is None:
        return
    for key, row in [("reference", found.reference), *(("rows", row) for row in found.rows)]:
        if row not in rows:
            raise PlanError(
                f"headline.{key}: no row is named {shown(row)}.{nearest(row, rows)} Rows: {', '.join(rows)}."
            )
    for twice in {row for row in [found.reference, *found.rows] if [found.reference, *found.rows].count(row) > 1}:
        raise PlanError(f"headline: {twice!r} stands there twice; a row is compared with the reference once.")
    tasks = [task.name for task in spec.tasks]
    if found.task not in (tasks if len(tasks) > 1 else [*tasks, None]):
        raise PlanError(f"headline.task: give one of the plan's tasks: {', '.join(tasks)}; given: {shown(found.task)}")
    if isinstance(found.size, str) and found.size != "full":
        raise PlanError(
            f"headline.size: {found.size} is another number for every task; give the plan one size, and leave out headline.size"
        )
    if found.size is not None and found.size not in spec.sizes:
        sizes = ", ".join(map(str, spec.sizes))
        raise PlanError(f"headline.size: give one of the plan's sizes: {sizes}; given: {shown(found.size)}")
    if len(spec.backbones) > 1:
        raise PlanError("headline: a plan with a headline list has one backbone; write a plan for each.")


def _sizes(spec: PlanSpec, task: Task) -> list[tuple[int | None, str]]:
    """Return the plan's sizes for a task as counts, each with the percentage it was given as."""
    found: list[tuple[int | None, str]] = []
    for size in spec.sizes:
        if isinstance(size, int):
            found.append((size, ""))
        elif size == "full":
            found.append((None, ""))
        else:
            part = float(size.rstrip("%")) / 100
            found.append((max(1, round(part * len(load_examples(task.name, "train")))), size))
    counts = [count for count, _ in found]
    for number, given in found:
        if counts.count(number) > 1:
            raise PlanError(
                f"sizes: {given or number} of {task.name} is {number}, which stands there twice; remove one."
            )
    return found


def check_backbone(name: str) -> None:
    """Refuse a bare word that is nearly a packaged backbone: a typing error. Others may be hub ids such as gpt2.

    Raises: PlanError.
    """
    near = nearest(name, BACKBONES)
    if name not in BACKBONES and near and not Path(name).exists():
        raise PlanError(
            f"backbones: unknown backbone {name!r}.{near} Known: {', '.join(BACKBONES)}; or give a hub id or a local folder."
        )


class _Shared(BaseModel):
    """Hyper-parameters that every method has."""

    learning_rate: float
    steps: int
    weight_decay: float


def _configured(row: RowSpec, method: Method, spec: PlanSpec) -> tuple[Any, dict[str, Any], dict[str, str]]:
    """Return the method's configuration, the shared hyper-parameters and where each value came from."""
    own = {f.name for f in dataclasses.fields(method.config)}
    shared: dict[str, Any] = {
        "learning_rate": method.learning_rate,
        "steps": 0 if method.name in BASELINES else spec.training.steps,
        "weight_decay": spec.training.weight_decay,
    }
    for key in row.config:
        if key not in own and key not in shared:
            known = sorted(own | set(shared))
            raise PlanError(
                f"unknown key {shown(key)} in the config of {method.name}.{nearest(key, known)} Known: {', '.join(known)}."
            )
    plain = {f.name for f in dataclasses.fields(method.config) if isinstance(f.default, bool)}
    _refuse_truth_values({k: v for k, v in row.config.items() if k not in plain}, f"config of {method.name}")
    try:
        config: Any = TypeAdapter(method.config).validate_python({k: v for k, v in row.config.items() if k in own})
        shared = _Shared(**{k: row.config.get(k, v) for k, v in shared.items()}).model_dump()
    except ValidationError as error:
        mistakes = "; ".join(
            f"{'.'.join(map(str, m['loc']))}: {m['msg']}; given: {shown(m.get('input'))}" for m in error.errors()
        )
        raise PlanError(f"config of {method.name}: {mistakes}") from error
    for key, value in {**dataclasses.asdict(config), "steps": shared["steps"]}.items():
        least = 0 if method.name in BASELINES else 1
        if isinstance(value, int) and not isinstance(value, bool) and value < least:
            raise PlanError(f"config of {method.name}: {key} must be at least {least}; given: {value}")
        if isinstance(value, int) and key != "steps" and value > MAX_SIZE:
            raise PlanError(f"config of {method.name}: {key} must be at most {MAX_SIZE}; given: {value}")
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


def _cell(spec: PlanSpec, backbone: str, task: Task, size: int | None, share: str, of_board: Row) -> CellPlan:
    row, search = of_board.given, of_board.search
    method = {**METHODS, **BASELINES}[row.method]
    anatomy = backbones.anatomy(backbone)
    config: Any
    config, shared, origins = _configured(row, method, spec)
    origins |= dict.fromkeys(of_board.added, "plan's baselines")
    if row.budget is not None:
        if method.size_field in row.config:
            raise PlanError(f"{name_of(row)}: give budget or {method.size_field}, not both.")
        try:
            config = solve(method, config, anatomy, row.budget)
        except ValueError as error:
            raise PlanError(f"{name_of(row)}: {error}") from error
        origins[str(method.size_field)] = f"solved for budget {row.budget:.4%}"
    if reason := method.refuses(anatomy, config):
        raise PlanError(f"{method.name} on {backbone}: {reason}.")
    asked = row.own_words or spec.words or ("task" if method.name in BASELINES else "")
    words = task.words if asked == "task" else asked
    # no probe reads the activations of an encoder-decoder model
    can_init = method.takes_words and not anatomy.encoder_layers
    words_as: WordsAs = row.words or ("none" if not words else "init" if can_init else "text")
    if words_as != "none" and not words:
        raise PlanError(f"{name_of(row)}: words: {words_as}, but the plan has no words; add `words: task`.")
    if words_as == "init" and not can_init:
        raise PlanError(f"{method.name} on {backbone} cannot take words as initialisation; use words: text or none.")
    validation_size, draw = spec.validation, None
    unit: SizeUnit = spec.size_unit if size is not None else "pair"
    if size is not None:
        largest = largest_draw(load_examples(task.name, "train"))
        searched = spec.search.configurations > 0
        draw = "final0" if size <= largest or searched else "final0+"
        if validation_size is None:
            validation_size = min(max(1, round(0.3 * size)), len(load_examples(task.name, "validation")))
    subsets = {}
    for key, use, wanted in (
        ("sizes", "train", (task.name, "train", size, draw, unit)),
        ("validation", "validation", (task.name, "validation", validation_size, draw, unit)),
        ("test", "evaluate", (task.name, "test", spec.test)),
    ):
        try:
            subsets[use] = data.subset(*wanted)
        except TooSmall as error:
            hint = " The search has the other half; without it (search: {configurations: 0}) there are more."
            beyond = size is not None and searched and size > largest
            raise PlanError(f"{key}: {task.name}: {error}{hint if beyond else ''}") from error
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
        data_sha256=content_sha256(task.name),
        definition=DEFINITIONS.get(task.name),
    )
    _check_lengths(base, method, _longest(method, config, anatomy, row, search))
    cell = Cell(
        row=name_of(row),
        backbone=backbone,
        task=task.name,
        size=size,
        method=method.name,
        budget=row.budget,
        fixed={
            "trial": base.stated(),
            "search": search.model_dump() if search else {},
            "final": spec.final.stated(),
            "given": row.config,
        },
        size_unit=unit,
    )
    return CellPlan(
        cell=cell,
        method=method,
        anatomy=anatomy,
        base=base,
        counts=count(method, config, anatomy),
        search=search or SearchSpec(),
        final=spec.final,
        origins=origins,
        share=share,
    )


def _decoding(spec: PlanSpec, task: Task) -> DecodingSettings:
    known = dataclasses.asdict(task.decoding)
    for key in spec.decoding:
        if key not in known:
            raise PlanError(f"unknown key {shown(f'decoding.{key}')}.{nearest(key, known)} Known: {', '.join(known)}.")
    _refuse_truth_values(spec.decoding, "decoding")
    try:
        return DecodingSettings(**{**known, **spec.decoding})
    except ValidationError as error:
        raise PlanError(mistakes_of(error, "decoding")) from error


def _refuse_truth_values(given: Mapping[str, Any], where: str) -> None:
    """Refuse true and false for numbers: pydantic would read them as 1 and 0."""
    for key, value in given.items():
        if isinstance(value, bool):
            raise PlanError(f"{where}: {key} must be no truth value; given: {str(value).lower()}")


def _longest(method: Method, config: Any, anatomy: Anatomy, row: RowSpec, search: SearchSpec | None) -> Any:
    """Return the configuration with the largest size that a search may choose."""
    size = method.space(anatomy).get(str(method.size_field)) if search and search.configurations else None
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
    most = source_limit(
        TASKS[trial.task].max_source_tokens, words, lambda text: tok(text, add_special_tokens=False)["input_ids"]
    )

    for split in ("train", "validation", "test"):
        examples = load_examples(trial.task, split)
        source = _longest_source(trial.backbone, examples, words)
        source = source if most is None else min(source, most)
        target = trial.decoding.max_new_tokens  # test and validation sources are decoded, pairs are trained on
        if split != "test":
            target = max(target, _longest_reference(trial.backbone, examples) + 1)
        need = max(virtual + source + 2, target + 1) if anatomy.encoder_layers else virtual + source + 1 + target
        if need > anatomy.max_positions:
            raise PlanError(
                f"{method.name} on {trial.backbone}: {virtual} virtual tokens + {source + 1} source and separator + {target} "
                f"target = {need} positions ({trial.task}, {split}), the backbone has {anatomy.max_positions}. "
                "Give a smaller length or budget, or fewer decoding.max_new_tokens."
            )


@lru_cache(maxsize=256)  # the same for most cells of a plan
def _longest_source(backbone: str, examples: Sequence[Example], words: str) -> int:
    return _most_tokens(backbone, (f" {words} {e.source}" for e in examples))


@lru_cache(maxsize=256)
def _longest_reference(backbone: str, examples: Sequence[Example]) -> int:
    return _most_tokens(backbone, (r for e in examples for r in e.references))


def _most_tokens(backbone: str, texts: Iterable[str]) -> int:
    """Return the tokens of the longest text, looked for among those with the most characters."""
    probes = sorted(texts, key=len)[-LENGTH_PROBES:]
    return max(len(ids) for ids in backbones.shared_tokenizer(backbone)(probes, add_special_tokens=False)["input_ids"])


def place_of(cell: CellPlan, phase: Phase, number: int) -> Place:
    """Return the place's record."""
    return Place(cell=cell.cell.id, phase=phase, number=number)
