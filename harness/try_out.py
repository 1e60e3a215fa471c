"""`featherbench try`: a few options -> the text of a plan, and one data file -> its three splits. Starts nothing.

What a comparison without a plan needs, and nothing that a plan could not say: the text is kept as plan.yaml.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from featherbench.harness.counts import BudgetError, count, solve
from featherbench.harness.records import PROTOCOL
from featherbench.harness.spec import PlanError, RowSpec, lookup, nearest, shown
from featherbench.methods import METHODS
from featherbench.methods.base import Anatomy, Method
from featherbench.tasks import TASKS
from featherbench.tasks.base import SPLITS, Example, File, grouped
from featherbench.tasks.files import read_checked
from featherbench.tasks.table import ENDINGS, example, rows_of

LEAST_INPUTS = 20
"""Distinct inputs of a data file: fewer would leave less than four for validation and for the test"""
HELD_OUT = 5
"""Validation and test get one input in so many each,"""
MOST_VALIDATION, MOST_TEST = 64, 128
"""but no more than this: a try is to be quick, and a plan can say more"""
BATCH_SIZE, EVALUATIONS = 8, 4


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked: which of these methods, for this backbone and these data?"""

    model: str
    """A backbone's name, hub id or folder"""
    methods: tuple[str, ...]
    task: str | Mapping[str, Any]
    """A known task, or a plan's description of one"""
    budget: str | None = None
    """Stored parameters as a share of the backbone, for the methods that have a size: "0.1%" """
    size: int | str = "full"
    """Training pairs, as in a plan"""
    seeds: int = 5
    """Final trials of a method; with a size below "full", each on a draw of its own"""
    search: int = 4
    """Configurations that are tried for each method; 0: its defaults"""
    steps: int = 100
    """Step cap"""
    test: int | None = None
    """Test items; None: as many as there are, up to MOST_TEST"""


def named_methods(text: str) -> tuple[str, ...]:
    """Return the methods of a list such as "prefix,adapter".

    Raises: PlanError for one that is unknown or stands there twice.
    """
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise PlanError(f"--methods {shown(text)} names none. Known: {', '.join(METHODS)}.")
    for name in names:
        lookup("method", name, METHODS)
        if names.count(name) > 1:
            raise PlanError(f"--methods: {name!r} stands there twice; remove one.")
    return names


def size_of(text: str) -> int | str:
    """Return a size as a plan has it; what is none is left for the plan's own check."""
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else text


def plan_of(question: Question, name: str, held_out: Mapping[str, int] | None = None) -> str:
    """Return the plan's text. `held_out` has the numbers of validation pairs and test items to use of a known task.

    The headline list compares every method with that which stands first in METHODS: full fine-tuning, if it is asked for.
    """
    unsized = [method for method in question.methods if METHODS[method].size_field is None]
    reference = min(question.methods, key=list(METHODS).index)
    others = [method for method in question.methods if method != reference]
    runs = {"seeds": question.seeds} if question.size == "full" else {"seeds": 1, "draws": question.seeds}
    content: dict[str, Any] = {
        "protocol": PROTOCOL,
        "name": name,
        "backbones": [question.model],
        "tasks": [question.task],
        "sizes": [question.size],
        "methods": [
            method if question.budget is None or method in unsized else {"method": method, "budget": question.budget}
            for method in question.methods
        ],
        "baselines": ["untuned", "copy"],
        "search": {"configurations": question.search},
        "final": runs,
        "training": {"batch_size": BATCH_SIZE, "steps": question.steps, "evaluations": EVALUATIONS},
        **(held_out or {}),
        **({} if question.test is None else {"test": question.test}),
        "headline": {"reference": reference, "rows": others} if 1 <= len(others) <= 6 else None,
    }
    plain = {key: value for key, value in content.items() if value is not None}
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)


def held_out_of(inputs: Mapping[str, int], size: int | str) -> dict[str, int]:
    """Return a plan's `validation` and `test` for a known task whose splits have so many inputs: only where they are long.

    A low-data size has a validation set of its own, in proportion.
    """
    most = {"validation": MOST_VALIDATION, "test": MOST_TEST} if size == "full" else {"test": MOST_TEST}
    return {split: number for split, number in most.items() if inputs[split] > number}


# --- the budget ------------------------------------------------------------------------------------------------------


def budget_notes(question: Question, anatomy: Anatomy) -> list[str]:
    """Return what a reader should know of the budget: which methods it sizes, and which it cannot.

    Raises: PlanError if a method cannot be of this size; it names the least that all of them can be.
    """
    methods = [METHODS[name] for name in question.methods]
    unsized = [method for method in methods if method.size_field is None]
    if question.budget is None:
        return []
    share = _share(question.budget)
    if len(unsized) == len(methods):
        raise PlanError(
            f"--budget {question.budget}: none of {', '.join(question.methods)} has a size; leave --budget out."
        )
    least: dict[str, float] = {}
    for method in methods:
        if method in unsized:
            continue
        try:
            solve(method, method.config(), anatomy, share)
        except BudgetError as error:
            if (smallest := _stored(method, anatomy, size=1)) <= share:
                raise PlanError(f"{error} Give another --budget, or leave {method.name} out of --methods.") from error
            least[method.name] = smallest
    if least:
        each = ", ".join(f"{name} (at least {_percent(smallest)})" for name, smallest in least.items())
        raise PlanError(
            f"--budget {question.budget} is too small for {each} on {question.model}. Give --budget "
            f"{_percent(max(least.values()))} or more, or leave out {' and '.join(least)} by --methods."
        )
    return [
        f"{method.name} has no size, so --budget does not apply to it: it stores {_percent(_stored(method, anatomy))} of "
        "the backbone and is kept as a reference."
        for method in unsized
    ]


def _share(budget: str) -> float:
    try:
        return float(RowSpec.model_validate({"method": "any", "budget": budget}).budget or 0)
    except ValidationError as error:
        raise PlanError(
            f"--budget {shown(budget)} is no share of the backbone; give one such as 0.1% or 0.001."
        ) from error


def _stored(method: Method, anatomy: Anatomy, size: int | None = None) -> float:
    """Return the share of the backbone that a method stores, with its defaults or with the given size."""
    config = method.config() if size is None else method.config(**{str(method.size_field): size})
    return count(method, config, anatomy).stored / anatomy.total_parameters


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"


# --- one's own data --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Data:
    """The examples of a data file, divided."""

    name: str
    rows: int
    splits: Mapping[str, Sequence[Example]]
    """Split -> its items, each a distinct input with all its references"""

    @property
    def told(self) -> str:
        """Return the counts in a sentence."""
        inputs = sum(map(len, self.splits.values()))
        parts = ", ".join(f"{len(examples)} for {split}" for split, examples in self.splits.items())
        return f"{self.name}: {self.rows:,} rows with {inputs:,} distinct inputs: {parts}; none is in two splits."

    def files(self) -> dict[str, str]:
        """Return relative path -> JSON Lines, a file for each split, with the columns `source` and `references`."""
        return {
            f"data/{split}.jsonl": "".join(
                json.dumps({"source": e.source, "references": list(e.references)}, ensure_ascii=False) + "\n"
                for e in examples
            )
            for split, examples in self.splits.items()
        }

    def task(self, scores: Sequence[str]) -> dict[str, Any]:
        """Return the description of a task for a plan that lies beside `files`."""
        name = slug(self.name)
        described = {"name": f"own-{name}" if name in TASKS else name}
        return {**described, **{split: f"data/{split}.jsonl" for split in SPLITS}, "scores": list(scores)}


def read_data(path: Path, source: str, references: str) -> Data:
    """Read a file of pairs and divide it by distinct input: a fifth for the test, a fifth for validation, at most so many.

    Which split an input goes to follows from its hash alone: neither the order of the rows nor chance decides.
    Raises: PlanError for a file or column that is missing, or too few inputs; DataError for a damaged file.
    """
    plain = path.name.removesuffix(".gz")
    if not path.is_file():
        raise PlanError(
            f"there is no file {shown(str(path))}; give --data a file in {', '.join(ENDINGS)}, or with .gz."
        )
    if not plain.endswith(ENDINGS):
        raise PlanError(f"--data {shown(str(path))} should end in {', '.join(ENDINGS)}, or these with .gz.")
    content = read_checked(File(path=str(path.absolute()), sha256=None))
    columns = {"source": source, "references": references, "tags": []}
    try:
        rows = list(rows_of(path.with_name(plain), content))
        for option, column in (("--source", source), ("--references", references)):
            if rows and column not in rows[0][1]:
                found = list(rows[0][1])
                raise PlanError(
                    f"{path} has no column {column!r}.{nearest(column, found)} Say by {option} which of its columns it "
                    f"is: {', '.join(found)}."
                )
        examples = grouped(example(row, columns, f"{path}, line {number}") for number, row in rows)
    except PlanError:
        raise
    except ValueError as error:
        raise PlanError(f"{str(error).rstrip('.')}.") from error
    if len(examples) < LEAST_INPUTS:
        raise PlanError(
            f"{path} has {len(rows)} rows with {len(examples)} distinct inputs; at least {LEAST_INPUTS} are needed, so that "
            f"validation and test get {LEAST_INPUTS // HELD_OUT} each."
        )
    return Data(name=plain.rpartition(".")[0], rows=len(rows), splits=divided(examples))


def divided(examples: Sequence[Example]) -> dict[str, list[Example]]:
    """Return split -> examples, by the order of the inputs' hashes; within a split as in the file."""
    held = len(examples) // HELD_OUT
    test, validation = min(held, MOST_TEST), min(held, MOST_VALIDATION)
    order = sorted(range(len(examples)), key=lambda i: hashlib.sha256(examples[i].source.encode()).digest())
    chosen = {
        "train": order[test + validation :],
        "validation": order[test : test + validation],
        "test": order[:test],
    }
    return {split: [examples[i] for i in sorted(chosen[split])] for split in SPLITS}


def slug(name: str) -> str:
    """Return a name that a plan and its folder may have, as near as possible to `name`."""
    return re.sub("[^A-Za-z0-9._-]+", "-", name).strip("-._")[:60] or "data"
