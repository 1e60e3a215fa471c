"""A plan file: its keys, what is allowed, and the words for mistakes. Loads no model library, so it answers at once."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from featherbench.harness.plan_text import TextError, plain_values
from featherbench.harness.records import PROTOCOL, Precision, Record, Settings, SizeUnit, WordsAs

PACKAGED_PLANS = Path(__file__).parent / "plans"


MOST_SEEDS = 1_000
"""Seeds or draws of a cell; a typing error beyond it would fill the memory with places"""
MOST_CONFIGURATIONS = 10_000
LONGEST_SHOWN = 200
"""Characters of a given value that a message repeats"""


class PlanError(ValueError):
    """The plan cannot be run as it is; the message says what to type, in one line whatever the plan held."""

    def __init__(self, message: str) -> None:
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in message))


def shown(given: Any) -> str:
    """Return a given value for a message, cut where it is long."""
    text = repr(given)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}... ({len(text):,} characters)"


def _no_truth_value(cls: type[BaseModel], value: Any, info: ValidationInfo) -> Any:
    """Refuse true and false where a number is meant: pydantic would read them as 1 and 0."""
    if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation is not bool:
        raise ValueError("true and false are not allowed here")
    return value


def _place(value: str) -> str:
    """Check a path or a hub id: the file system has no longer names, and an empty one would mean the plan's folder."""
    if not value.strip() or any(not c.isprintable() for c in value):
        raise ValueError("it must have at least one letter, and printable characters only")
    if len(value) > 1000 or any(len(part.encode()) > 255 for part in value.split("/")):
        raise ValueError("no path or hub id is as long as this")
    return value


Place = Annotated[str, AfterValidator(_place)]


class Spec(BaseModel):
    """A part of a plan; closed to unknown keys."""

    model_config = ConfigDict(extra="forbid")
    _numbers = field_validator("*", mode="before")(_no_truth_value)


class RowSpec(Spec):
    """One row of the report: a method with what is fixed about it."""

    method: str
    row: str | None = Field(None, min_length=1, max_length=100)
    config: dict[str, Any] = {}
    """The method's own fields, and learning_rate, steps or weight_decay"""
    budget: float | None = Field(None, gt=0, le=1, allow_inf_nan=False)
    """Stored parameters as a share of the backbone: 0.1% or 0.001"""
    words: WordsAs | None = None
    """How this row gets the plan's task words; default: as initialisation where the method can, else in the text"""
    own_words: str | None = Field(None, min_length=1)
    """Task words of this row in place of the plan's; "task" takes the task's"""

    @field_validator("budget", mode="before")
    @classmethod
    def _percent(cls, value: Any) -> Any:
        if isinstance(value, str) and value.strip().endswith("%"):
            return float(value.strip().rstrip("%")) / 100
        return value


class SearchSpec(Record):
    """The search phase; 0 configurations: the methods' defaults are used."""

    _numbers = field_validator("*", mode="before")(_no_truth_value)
    configurations: int = Field(0, ge=0, le=MOST_CONFIGURATIONS)
    sampler: Literal["sobol", "tpe"] = "sobol"
    draws: int = Field(1, ge=1, le=MOST_SEEDS)
    """Low-data search draws; a configuration counts by its mean validation score over them"""
    study: int = Field(0, ge=0)
    """Number of the scramble: another study, other points"""


class FinalSpec(Record):
    """The final phase: `seeds` fresh seeds on each of `draws` low-data draws."""

    _numbers = field_validator("*", mode="before")(_no_truth_value)
    seeds: int = Field(1, ge=1, le=MOST_SEEDS)
    draws: int = Field(1, ge=1, le=MOST_SEEDS)
    estimand: Literal["configuration", "procedure"] = "configuration"
    """What a row's mean speaks of: one configuration, found by one search; or the method as it is tuned, each replicate
    (draw; seed, where there is one draw) having a search of its own, with other points, search draws and seed"""

    def replicate_of(self, number: int, sized: bool) -> int:
        """Return the replicate of a place: its draw, or its seed where all share one draw or nothing is drawn."""
        return number // self.seeds if sized and self.draws > 1 else number

    def studies(self, sized: bool) -> int:
        """Return how many searches a searched cell has; `sized`: its training pairs are drawn."""
        return self.replicate_of(self.seeds * self.draws - 1, sized) + 1 if self.estimand == "procedure" else 1

    def stated(self) -> dict[str, Any]:
        """Return what cells record; the default estimand is left out, as in cells of before."""
        return self.model_dump(exclude=set() if self.estimand == "procedure" else {"estimand"})


class TrainingSpec(Settings):
    """Training of every trial."""

    _numbers = field_validator("*", mode="before")(_no_truth_value)
    steps: int = Field(100, ge=1)
    """Step cap: the default, and the largest number of steps a search may choose"""
    weight_decay: float = Field(0.0, ge=0, allow_inf_nan=False)


class TaskSpec(Spec):
    """A task: one that is known by name, or one that the plan describes by its files or by a hub id."""

    name: str
    train: Place | None = None
    """A .jsonl, .csv or .tsv file, also with .gz; relative to the plan's folder. With `hub`: the name of its split"""
    validation: Place | None = None
    test: Place | None = None
    hub: Place | None = None
    """Id of a data set that the `datasets` library loads"""
    source: str = "source"
    """Column of the inputs"""
    references: str = "references"
    """Column of the texts to be written: a text, or a list of texts; rows of one input are one item"""
    tags: list[str] = []
    """Columns that are kept as tags; one named "seen" splits the scores into its values, "seen" and "unseen" """
    words: str | None = None
    """Task words; default: the name and a colon"""
    decoding: dict[str, Any] = {}
    scores: list[str] = Field(["bleu"], min_length=1)
    primary: str | None = None
    """The score that chooses and ranks; default: the first"""
    max_source_tokens: int | None = Field(None, ge=1)
    """Inputs are cut after this many tokens; default: never, and too long ones are refused"""

    @property
    def described(self) -> bool:
        """True if the plan says more than the name."""
        return self.model_fields_set != {"name"}


def _task(value: Any) -> Any:
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, dict | TaskSpec):
        return value
    raise ValueError("a task is a name, or a mapping with the key name")


def _size(value: Any) -> Any:
    if value == "full" or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    if (
        isinstance(value, str)
        and re.fullmatch(r"[0-9]+(\.[0-9]+)?\s*%", value)
        and 0 < float(value.rstrip("% ")) <= 100
    ):
        return value.replace(" ", "")
    raise ValueError(
        "a size is a whole number of training pairs, at least 1, a percentage of the distinct inputs such as 10%, or full"
    )


class EngineSpec(BaseModel):
    """How trials are trained: each on one worker, or spread over several by DeepSpeed ZeRO. It changes no number."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: Literal["plain", "auto", "deepspeed"] = "plain"
    """auto: DeepSpeed if a trial does not fit one GPU by estimate"""
    stage: Literal[1, 2, 3] = 3
    workers: int = Field(2, ge=2)
    offload: bool = False

    @model_validator(mode="after")
    def _belongs_to_deepspeed(self) -> EngineSpec:
        more = sorted(self.model_fields_set - {"name"})
        if self.name != "deepspeed" and more:
            raise ValueError(f"{', '.join(more)} can be given with name: deepspeed only")
        return self


def _engine(value: Any) -> Any:
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, dict | EngineSpec):
        return value
    raise ValueError("an engine is plain, auto or deepspeed, or a mapping with the key name")


def _row(value: Any) -> Any:
    if isinstance(value, str):
        return {"method": value}
    if isinstance(value, dict | RowSpec):
        return value
    raise ValueError("a row is a method's name, or a mapping with the key method")


class HeadlineSpec(Spec):
    """The comparisons that the plan is about, fixed before any final trial: only these get a p, adjusted for their number."""

    reference: str
    """Row that the others are compared with"""
    rows: list[str] = Field(min_length=1, max_length=6)
    task: str | None = None
    """Default: the plan's only task"""
    size: Annotated[int | str, PlainValidator(_size)] | None = None
    """Default: the plan's only size; with several, their mean within each seed or draw"""
    subset: Literal["all", "seen", "unseen", "gap"] = "all"
    """Of the test items; gap: unseen minus seen"""
    smallest_effect: float = Field(1.0, gt=0, allow_inf_nan=False)
    """Smallest difference of interest, in points of the primary score: also the margin of equivalence"""


Baseline = Literal["untuned", "untuned+words", "copy", "default", "direct"]


def _each_once(values: list[Baseline]) -> list[Baseline]:
    for twice in {value for value in values if values.count(value) > 1}:
        raise ValueError(f"{twice} stands there twice; remove one")
    return values


def _file_name(value: str) -> str:
    if re.fullmatch(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?|.*\.", value, re.IGNORECASE):
        raise ValueError("Windows can have no folder of this name; the run's folder is named so")
    return value


class PlanSpec(Spec):
    """A plan file."""

    protocol: int
    name: Annotated[str, AfterValidator(_file_name)] = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)
    """Also of the run's folder"""
    backbones: list[Place] = Field(min_length=1)
    tasks: list[Annotated[TaskSpec, BeforeValidator(_task)]] = Field(min_length=1)
    sizes: list[Annotated[int | str, PlainValidator(_size)]] = Field(["full"], min_length=1)
    """Training pairs, one per distinct input; "10%" of the distinct inputs; or "full": all pairs"""
    size_unit: SizeUnit = "pair"
    """ "item": a size counts inputs, each with all its references"""
    methods: list[Annotated[RowSpec, BeforeValidator(_row)]] = Field(min_length=1)
    baselines: Annotated[list[Baseline], AfterValidator(_each_once)] = list(get_args(Baseline))
    """Rows beside the methods. untuned: the bare backbone; untuned+words: with the plan's or else the task's words in its
    text; copy: the source itself; default: each searched row without its search; direct: each row that trains an MLP
    behind what it stores, without it"""
    words: str = ""
    """Task words for every method: "task" takes the task's own; empty: none"""
    search: SearchSpec = SearchSpec()
    final: FinalSpec = FinalSpec()
    training: TrainingSpec = TrainingSpec()
    validation: int | None = Field(None, ge=1)
    """Validation pairs; default: 30 % of a low-data size or as many as there are inputs, else the whole split"""
    test: int | None = Field(None, ge=1)
    """Decode a fixed random part of the test items, named test<N>; default: all"""
    decoding: dict[str, Any] = {}
    """Overrides of the task's decoding, for all methods"""
    precision: Precision | Literal["auto"] = "auto"
    seed: int = Field(0, ge=0)
    engine: Annotated[EngineSpec, BeforeValidator(_engine)] = EngineSpec()
    headline: HeadlineSpec | None = None
    scales: dict[str, dict[str, Any]] = {}
    """Name -> keys that take the place of the plan's own when it is run at this scale, as the plan NAME.SCALE"""


T = TypeVar("T")


def lookup(kind: str, name: str, table: Mapping[str, T]) -> T:
    """Return table[name], or raise a PlanError that names the nearest entry, or the line that a new file lacks."""
    if name in table:
        return table[name]
    file, module = f"{kind}s/{name}.py", f"featherbench.{kind}s.{name}"
    if name.isidentifier() and module not in sys.modules and (Path(__file__).parents[1] / file).is_file():
        raise PlanError(
            f"{file} is there, but no line of {kind}s/__init__.py: import its record and add it to BUILT_IN."
        )
    raise PlanError(f"unknown {kind} {shown(name)}.{nearest(name, table)} Known: {', '.join(sorted(table))}.")


def nearest(name: str, names: Iterable[str]) -> str:
    """Return " Did you mean ...?" for the most similar of `names`, or nothing."""
    near = difflib.get_close_matches(name, list(names), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def find_plan(name: str) -> Path:
    """Return the file of a plan given by path or by the name of a packaged one."""
    packaged = {path.stem: path for path in sorted(PACKAGED_PLANS.glob("*.yaml"))}
    if name in packaged:
        return packaged[name]
    try:
        if Path(name).is_file():
            return Path(name)
    except OSError:  # no file system has such a long name
        pass
    raise PlanError(
        f"there is no plan file {shown(name)}.{nearest(name, packaged)} Packaged plans: {', '.join(packaged)}."
    )


def read_text(path: Path) -> str:
    """Return a plan file's text."""
    content = path.read_bytes()
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise PlanError(f"{path}, line {line}: this is no UTF-8 text ({error.reason}).") from error


def read_spec(text: str, origin: str = "plan", scale: str | None = None) -> PlanSpec:
    """Parse and check a plan's text, all its scales included; return it at `scale`, or as it stands.

    Raises: PlanError that names each wrong key with what was given and what is allowed.
    """
    try:
        content = plain_values(text)
    except TextError as error:
        raise PlanError(f"{origin}: {error}") from error
    except yaml.YAMLError as error:
        raise PlanError(f"{origin} is no valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise PlanError(f"{origin} must be a mapping of keys to values; see `featherbench cp quickstart`.")
    given = content.get("protocol")
    if given != PROTOCOL or type(given) is not int:
        raise PlanError(
            f"{origin} says protocol: {shown(given)}; this featherbench runs protocol: {PROTOCOL}. "
            "Set it after reading CHANGELOG.md, or install the version the plan was written for."
        )
    spec = _checked(content, origin)
    scaled = {name: _at_scale(content, name, f"{origin}, scale {name}") for name in spec.scales}
    if scale is None:
        return spec
    if not scaled:
        raise PlanError(f"{origin} has no scales; given: {shown(scale)}. Leave --scale out.")
    return lookup("scale", scale, scaled)


def _checked(content: Mapping[str, Any], origin: str) -> PlanSpec:
    try:
        return PlanSpec.model_validate(content)
    except ValidationError as error:
        raise PlanError(mistakes_of(error, origin)) from error


def _at_scale(content: Mapping[str, Any], scale: str, origin: str) -> PlanSpec:
    """Return the plan with the keys of one of its scales in place of its own."""
    changes = content["scales"][scale]
    if kept := sorted(changes.keys() & {"protocol", "name", "scales"}):
        raise PlanError(f"{origin}: a scale cannot change {', '.join(kept)}; remove it there.")
    return _checked({**content, **changes, "name": f"{content['name']}.{scale}", "scales": {}}, origin)


SECTIONS: dict[str, type[BaseModel]] = {
    "search": SearchSpec,
    "final": FinalSpec,
    "training": TrainingSpec,
    "methods": RowSpec,
    "tasks": TaskSpec,
    "engine": EngineSpec,
    "headline": HeadlineSpec,
}


MOST_MISTAKES = 20
"""That one message tells"""


def mistakes_of(error: ValidationError, origin: str) -> str:
    """Return one line for each mistake; unknown keys with the nearest known one."""
    lines = []
    mistakes = error.errors()
    for mistake in mistakes[:MOST_MISTAKES]:
        where = [str(part) for part in mistake["loc"]]
        key = ".".join(where)
        if mistake["type"] == "extra_forbidden":
            known = SECTIONS.get(where[0], PlanSpec).model_fields if len(where) > 1 else PlanSpec.model_fields
            inside = (
                "" if where[0] != "methods" else " A method's own options go into config, e.g. config: {length: 10}."
            )
            lines.append(f"unknown key {shown(key)}.{nearest(where[-1], known)} Known: {', '.join(known)}.{inside}")
        else:
            given = mistake.get("input")
            said = mistake["msg"].removeprefix("Value error, ")
            lines.append(f"{key}: {said}" + ("" if mistake["type"] == "missing" else f"; given: {shown(given)}"))
    if len(mistakes) > MOST_MISTAKES:
        lines.append(f"And {len(mistakes) - MOST_MISTAKES} more.")
    return f"{origin}: " + " ".join(lines)
