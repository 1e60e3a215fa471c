"""Examples of a split, Arrow-backed and cached, and the index lists that choose among them."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from featherbench.tasks import TASKS
from featherbench.tasks.base import SPLITS, Example, Task
from featherbench.tasks.files import DataError, cache_folder, read_checked
from featherbench.tasks.table import Definition, task_of

if TYPE_CHECKING:
    import datasets

DEFINITIONS: dict[str, Definition] = {}
"""Name -> definition of the tasks in TASKS that a plan described"""


def register(definition: Definition) -> Task:
    """Make a task that a plan describes known in this process, under a name that no other content has; return it.

    The same content in another place is the same task; the place that is told last holds.
    Raises: DataError for a name that is none.
    """
    try:
        task = task_of(definition)
    except ValueError as error:
        raise DataError(f"{error}; the store or plan that describes it is damaged.") from error
    TASKS[task.name], DEFINITIONS[task.name] = task, definition
    return task


class TooSmall(DataError):
    """More data were asked for than there are."""


Pair = tuple[int, int]
"""(item, reference): one training pair"""


def load(task_name: str, split: str) -> Sequence[Example]:
    """Return the examples of a split in file order, memory-mapped from the cache's Arrow files.

    Raises: DataError if a file is missing or damaged, or the split is empty.
    """
    return _loaded(task_name, split)[0]


def content_sha256(task_name: str) -> str | None:
    """Return the hash of what was found in files whose sha256 nobody states; None if there are no such files.

    Raises: DataError as `load` does.
    """
    files = [f for split in SPLITS for f in TASKS[task_name].files[split]]
    if all(f.sha256 for f in files):
        return None
    return hashlib.sha256("".join(_loaded(task_name, split)[1] for split in SPLITS).encode()).hexdigest()


@lru_cache(maxsize=64)
def _loaded(task_name: str, split: str) -> tuple[Sequence[Example], str]:
    """Return the examples of a split and the joined sha256 of its files."""
    import datasets

    task = TASKS[task_name]
    contents = [read_checked(file) for file in task.files[split]]
    found = [f.sha256 or hashlib.sha256(c).hexdigest() for f, c in zip(task.files[split], contents, strict=True)]
    key = hashlib.sha256("".join([*found, _code(task.read.__module__)]).encode()).hexdigest()[:12]
    folder = cache_folder() / "examples" / f"{task.name}-v{task.version}-{split}-{key}"
    if not folder.exists():
        examples = _read(task, split, contents)
        if not examples:
            names = ", ".join(file.hub or file.path for file in task.files[split])
            raise DataError(f"the {split} split of task {task.name} is empty; see {names}.")
        rows = [{"source": e.source, "references": list(e.references), "tags": json.dumps(e.tags)} for e in examples]
        folder.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=folder.parent))
        try:
            datasets.disable_progress_bars()
            datasets.Dataset.from_list(rows).save_to_disk(str(fresh))
            os.replace(fresh, folder)
        except OSError:
            if not folder.exists():  # else another process was first
                raise
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return _Examples(datasets.load_from_disk(str(folder))), "".join(found)


@lru_cache(maxsize=64)
def _code(module: str) -> str:
    """Return the text of a task's module, if it has one: what another text of it has read is read again."""
    try:
        return inspect.getsource(sys.modules[module])
    except (OSError, TypeError, KeyError):
        return ""


def _read(task: Task, split: str, contents: Sequence[bytes]) -> list[Example]:
    with tempfile.TemporaryDirectory() as scratch:
        paths = []
        for number, (file, content) in enumerate(zip(task.files[split], contents, strict=True)):
            path = Path(scratch) / str(number) / Path(file.path).name.removesuffix(".gz")
            path.parent.mkdir()
            path.write_bytes(content)
            paths.append(path)
        try:
            return list(task.read(paths, split))
        except ValueError as error:  # it names the copy that was read; people know the original
            message = str(error)
            for file, path in zip(task.files[split], paths, strict=True):
                message = message.replace(str(path), file.path)
            raise DataError(f"{task.name}, {split}: {message}") from error


class _Examples(Sequence[Example]):
    """Examples over an Arrow table."""

    def __init__(self, table: datasets.Dataset) -> None:
        self._table = table

    def __len__(self) -> int:
        return len(self._table)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        row = self._table[index]
        return Example(source=row["source"], references=tuple(row["references"]), tags=json.loads(row["tags"]))

    @cached_property
    def num_references(self) -> list[int]:
        """Of each example."""
        import pyarrow.compute

        found: list[int] = pyarrow.compute.list_value_length(self._table.data["references"]).to_pylist()
        return found


def all_pairs(examples: Sequence[Example]) -> list[Pair]:
    """Return every (item, reference) in file order."""
    return [(i, r) for i, many in enumerate(num_references(examples)) for r in range(many)]


def num_references(examples: Sequence[Example]) -> list[int]:
    """Return how many references each example has, without reading their texts where they lie in a file."""
    if isinstance(examples, _Examples):
        return examples.num_references
    return [len(example.references) for example in examples]


def shuffle(stream: random.Random, items: list[int]) -> None:
    """Do what `stream.shuffle(items)` does in Python 3.11 and 3.12, in half of the time: it is most of a low-data draw."""
    bits, length = stream.getrandbits, len(items)
    for width in range(length.bit_length(), 1, -1):  # of the numbers `many` of places left
        for many in range(min(length, 2**width - 1), 2 ** (width - 1) - 1, -1):
            while (other := bits(width)) >= many:
                pass
            items[many - 1], items[other] = items[other], items[many - 1]


@lru_cache(maxsize=64)
def _halves(length: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the two fixed halves of a split: for search draws, and for final draws."""
    order = list(range(length))
    shuffle(random.Random("featherbench halves"), order)
    return tuple(order[: length // 2]), tuple(order[length // 2 :])


def low_data_pairs(examples: Sequence[Example], size: int, draw: str) -> list[Pair]:
    """Return `size` pairs, one per distinct input: nested (a smaller size of the same draw is its beginning), seeded.

    Items of "search" draws and of "final" draws come from two fixed halves of the split, so they never meet. A draw
    whose name ends in "+" begins as the one without and goes on into the other half: for sizes beyond the half, where
    nothing is searched.
    Raises: TooSmall if there are fewer than `size` items to draw from.
    """
    searched, final = (list(half) for half in _halves(len(examples)))
    pool, other = (searched, final) if draw.startswith("search") else (final, searched)
    begin = draw.removesuffix("+")
    stream = random.Random(f"featherbench draw {begin}")
    shuffle(stream, pool)
    if draw != begin:
        shuffle(random.Random(f"featherbench draw {draw}"), other)
        pool = pool + other
    if size > len(pool):
        raise TooSmall(
            f"size {size} is larger than the {len(pool)} inputs that {begin.rstrip('0123456789')} draws may use."
        )
    # one number a pair, whatever the references, so that the draw of a smaller size is the beginning of a larger one's
    many = num_references(examples)
    return [(item, int(stream.random() * many[item])) for item in pool[:size]]


def largest_draw(examples: Sequence[Example]) -> int:
    """Return the largest size whose search and final draws share no input."""
    return len(examples) // 2


def with_all_references(pairs: Sequence[Pair], examples: Sequence[Example]) -> list[Pair]:
    """Return every pair of the inputs of `pairs`, in their order."""
    many = num_references(examples)
    return [(item, r) for item, _ in pairs for r in range(many[item])]


def low_data_validation(examples: Sequence[Example], size: int, draw: str) -> list[Pair]:
    """Return `size` validation pairs: distinct inputs drawn at random, the first reference of each."""
    if size > len(examples):
        raise TooSmall(f"a validation set of {size} is larger than the {len(examples)} inputs of the split.")
    order = list(range(len(examples)))
    shuffle(random.Random(f"featherbench validation {draw}"), order)
    return [(item, 0) for item in order[:size]]


def random_items(examples: Sequence[Example], size: int) -> list[int]:
    """Return a fixed random `size` of the items, in file order."""
    if size > len(examples):
        raise TooSmall(f"{size} items were asked for, the split has {len(examples)}.")
    return sorted(random.Random("featherbench test items").sample(range(len(examples)), size))
