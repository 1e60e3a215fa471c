"""From a trial's subsets to pairs and items; the index lists are recomputed anywhere and checked by their hash."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from featherbench.harness.records import SizeUnit, Subset, Trial, content_hash
from featherbench.tasks import TASKS
from featherbench.tasks.base import Example, Task
from featherbench.tasks.files import DataError
from featherbench.tasks.load import (
    Pair,
    all_pairs,
    content_sha256,
    load,
    low_data_pairs,
    low_data_validation,
    num_references,
    random_items,
    register,
    with_all_references,
)


def task_of(trial: Trial) -> Task:
    """Return a trial's task, made known to this process if a plan described it.

    Raises: DataError if it is not installed here.
    """
    if trial.definition is not None:
        found = register(trial.definition)
        if found.name != trial.task:
            raise DataError(
                f"this featherbench reads the data of {trial.task} as {found.name}; were they planned here?"
            )
    if trial.task not in TASKS:
        raise DataError(f"task {trial.task!r} of this trial is not installed here; known: {', '.join(TASKS)}.")
    return TASKS[trial.task]


def check_content(trial: Trial) -> None:
    """Check that files whose sha256 the task does not state are the planned ones.

    Raises: DataError if they are not.
    """
    if (found := content_sha256(task_of(trial).name)) != trial.data_sha256:
        raise DataError(
            f"the data of {trial.task} here are not the planned ones: expected {trial.data_sha256}, found {found}."
        )


def _indices(task: str, split: str, size: int | None, draw: str | None, unit: SizeUnit) -> list[Any]:
    """Return the index list of a subset: pairs for train and validation, items for test.

    Raises: DataError if there is not enough data.
    """
    examples = load(task, split)
    if split == "test":
        return list(range(len(examples))) if size is None else random_items(examples, size)
    if size is None:
        return [list(pair) for pair in all_pairs(examples)]
    if split == "validation":
        pairs = low_data_validation(examples, size, draw or "")
    elif draw is None:
        raise AssertionError("a part of the training split needs a draw")
    else:
        pairs = low_data_pairs(examples, size, draw)
    return [list(pair) for pair in (with_all_references(pairs, examples) if unit == "item" else pairs)]


@lru_cache(maxsize=4096)
def _hashed(task: str, split: str, size: int | None, draw: str | None, unit: SizeUnit) -> tuple[list[Any], str]:
    """Return the index list of a subset and its hash."""
    found = _indices(task, split, size, draw, unit)
    return found, content_hash(found, 64)


@lru_cache(maxsize=4096)
def subset(task: str, split: Any, size: int | None = None, draw: str | None = None, unit: SizeUnit = "pair") -> Subset:
    """Return the subset's record with the hash of its index list."""
    counted = f"{size}items" if unit == "item" else str(size)
    name = split + (counted if size else "") + (f".{draw}" if draw else "")
    _, sha256 = _hashed(task, split, size, draw, unit)
    return Subset(name=name, split=split, size=size, draw=draw, sha256=sha256, unit=unit)


def checked_indices(task: str, wanted: Subset) -> list[Any]:
    """Return the index list of a subset after checking that it is the planned one."""
    found, sha256 = _hashed(task, wanted.split, wanted.size, wanted.draw, wanted.unit)
    if sha256 != wanted.sha256:
        raise DataError(
            f"{task} {wanted.name}: the index list here differs from the planned one; are the data the same?"
        )
    return found


def pairs(task: str, wanted: Subset) -> list[tuple[str, str]]:
    """Return (source, target) texts of a training or validation subset."""
    examples = load(task, wanted.split)
    found: list[Pair] = checked_indices(task, wanted)
    read = {item: examples[item] for item in {item for item, _ in found}}  # once, whatever the number of references
    return [(read[item].source, read[item].references[reference]) for item, reference in found]


def items(task: str, wanted: Subset) -> list[int]:
    """Return the distinct items of a subset, in file order."""
    found = checked_indices(task, wanted)
    return sorted({i if isinstance(i, int) else i[0] for i in found})


def references(task: str, wanted: Subset) -> dict[int, Example]:
    """Return item -> what its output is scored against, in file order: the subset's references of a pair list, else all."""
    examples = load(task, wanted.split)
    chosen: dict[int, list[int]] = {}
    many = num_references(examples)
    for entry in checked_indices(task, wanted):
        item, reference = (entry, None) if isinstance(entry, int) else entry
        chosen.setdefault(item, []).extend(range(many[item]) if reference is None else [reference])
    return {item: _with_references(examples[item], kept) for item, kept in sorted(chosen.items())}


def _with_references(example: Example, kept: Sequence[int]) -> Example:
    return Example(source=example.source, references=tuple(example.references[r] for r in kept), tags=example.tags)


@lru_cache(maxsize=64)
def also_trained_on(task: str) -> dict[str, int]:
    """Return {"validation", "test"} -> how many distinct inputs of the split also stand in the training split."""
    trained = {example.source for example in load(task, "train")}
    return {split: len({example.source for example in load(task, split)} & trained) for split in ("validation", "test")}


def tag_groups(examples: Sequence[Example]) -> dict[str, list[int]]:
    """Return subset name -> positions: "all", and for the tag "seen" one group a value."""
    groups: dict[str, list[int]] = {"all": list(range(len(examples)))}
    for position, example in enumerate(examples):
        if "seen" in example.tags:
            groups.setdefault(f"seen={example.tags['seen']}", []).append(position)
    return groups
