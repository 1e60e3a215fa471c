"""Token ids of many texts: computed once on a machine, kept as memory-mapped Arrow that its workers share.

A file is named by a hash of everything that determines its ids: the texts themselves, what is done with them, the
tokenizer's content and the versions of the tokenising libraries. Methods and their configurations are no part of it:
their layout comes on top, row by row, when a row is asked for.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterable, Sequence
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from featherbench.tasks.files import note_use

FORMAT = 1
"""Raise it when files of an earlier version must not be read"""

IDS = pa.large_list(pa.int32())

AT_ONCE = 1024
"""Texts of one call of the tokenizer, whose answer takes far more memory than the ids in it"""

T = TypeVar("T")


class Lazily(Sequence[T]):
    """`make(0)`, `make(1)`, and so on: each when it is asked for, and anew each time."""

    def __init__(self, length: int, make: Callable[[int], T]) -> None:
        self._numbers, self._make = range(length), make

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        number = self._numbers[index]
        return [self._make(i) for i in number] if isinstance(number, range) else self._make(number)


def tokenised(
    texts: Sequence[str], tokenise: Callable[[list[str]], list[list[int]]], about: Any, folder: Path | None
) -> Sequence[list[int]]:
    """Return the ids of each text as `tokenise` gives them, for each distinct text once.

    They are read from `folder` if they were kept there, under the texts and `about`: plain JSON that tells whatever
    else determines them. A damaged file is written anew. Without a folder, or where it cannot be written, the ids stay
    in memory.
    """
    distinct = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    path = folder / f"{_key(distinct, about)}.arrow" if folder else None
    ids = _read(path, len(distinct)) if path else None
    if ids is None:
        ids = _computed(list(distinct), tokenise)
        if path and _write(path, ids):
            ids = _read(path, len(distinct)) or ids
    offsets, values, rows = ids.offsets.to_numpy(), ids.values.to_numpy(), [distinct[text] for text in texts]
    return Lazily(len(rows), lambda i: values[offsets[rows[i]] : offsets[rows[i] + 1]].tolist())


tokenizing = threading.RLock()
"""Held while a tokenizer is called: a call changes its settings, and the threads of a worker share one object"""


@lru_cache(maxsize=4)
def content_of(tokenizer: Any) -> str | None:
    """Return the hash of everything in a tokenizer that determines ids; None for one that is not made of plain data."""
    if not tokenizer.is_fast:
        return None
    with tokenizing:
        content = json.loads(tokenizer.backend_tokenizer.to_str())
    for name in ("truncation", "padding"):  # what the latest call asked for
        content.pop(name, None)
    about = [content, type(tokenizer).__name__, tokenizer.truncation_side, tokenizer.split_special_tokens]
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


@cache
def _versions() -> list[str]:
    return [version(package) for package in ("tokenizers", "transformers")]


def _key(texts: Iterable[str], about: Any) -> str:
    total = hashlib.sha256(json.dumps([FORMAT, _versions(), about]).encode())
    for text in texts:
        content = text.encode()
        total.update(b"%d " % len(content) + content)
    return total.hexdigest()


def _computed(texts: list[str], tokenise: Callable[[list[str]], list[list[int]]]) -> pa.LargeListArray:
    parts = (texts[start : start + AT_ONCE] for start in range(0, len(texts), AT_ONCE))
    return pa.concat_arrays([pa.array([], IDS), *(pa.array(tokenise(part), IDS) for part in parts)])


def _checksum(ids: pa.LargeListArray) -> bytes:
    return b"%d" % zlib.crc32(ids.values.to_numpy(), zlib.crc32(ids.offsets.to_numpy()))


def _read(path: Path, num_texts: int) -> pa.LargeListArray | None:
    """Return the ids of a file, its pages shared with whoever else reads it; None if it is absent or damaged."""
    try:
        file = pa.ipc.open_file(pa.memory_map(str(path)))
        batch = file.get_batch(0)
        batch.validate(full=True)  # no offset leads out of the file
        ids = batch.column("ids")
        told = file.schema.metadata[b"crc32"]
        whole = ids.type == IDS and len(ids) == num_texts and _checksum(ids) == told
    except (OSError, pa.ArrowException, KeyError, TypeError):
        return None
    if not whole:
        return None
    note_use(path)
    return ids


def _write(path: Path, ids: pa.LargeListArray) -> bool:
    """Put a file in its place in one step; False if that cannot be."""
    schema = pa.schema([pa.field("ids", IDS)], {b"crc32": _checksum(ids)})
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
            fresh = Path(scratch) / path.name
            with pa.ipc.new_file(str(fresh), schema) as file:
                file.write_batch(pa.record_batch([ids], schema=schema))
            os.replace(fresh, path)
        return True
    return False
