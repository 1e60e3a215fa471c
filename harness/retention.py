"""What is kept, and for how long: how much disk a run and the cache use, and what of it nobody needs any more.

A run keeps its store, its report and the deltas that its store names; checkpoints until the trial's result is kept (of a
failed trial for longer: run again, it goes on from them); frozen work while a driver works. The cache keeps backbones,
downloads and token ids; the latter two until they are not used for some days. Imports no torch.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from featherbench.harness import tables
from featherbench.harness.store import Store, StoreError
from featherbench.tasks.files import DAY

UNUSED_DAYS = 30.0
"""After so many days without use, token ids go"""
LEFT_BEHIND_DAYS = 1.0
"""What a killed process was writing goes after a day: until then it may still be written"""

TRIAL_ID = re.compile(r"[0-9a-f]{12}")
RUN_PARTS = ("store", "deltas", "checkpoints", "frozen", "logs", "report")
CACHE_PARTS = {"backbones": ("backbones",), "data": ("downloads", "hub", "data"), "tokenised": ("tokenised",)}


@dataclass(frozen=True, kw_only=True)
class Leftover:
    """A file or folder that nobody needs any more."""

    path: Path
    bytes: int
    why: str


def disk_of_run(folder: Path) -> dict[str, int]:
    """Return the bytes of each part of a run."""
    found = {part: size_of(folder / part) for part in RUN_PARTS}
    return found | {"store": sum(map(size_of, folder.glob("store.sqlite*")))}


def disk_of_cache(cache: Path) -> dict[str, int]:
    """Return the bytes of each part of the cache folder."""
    return {part: sum(size_of(cache / name) for name in names) for part, names in CACHE_PARTS.items()}


def leftovers_of_run(folder: Path, kept: Store) -> list[Leftover]:
    """Return what a run's folder holds that its store does not need.

    Raises: StoreError if the store is of another run: then all of the folder would seem unknown.
    """
    trials = {
        r["id"]: r for r in kept.rows(sa.select(tables.trials.c.id, tables.trials.c.status, tables.trials.c.delta))
    }
    checkpoints = [p for p in _inside(folder, "checkpoints/*") if TRIAL_ID.fullmatch(p.name)]
    deltas = [p for p in _inside(folder, "deltas/*") if TRIAL_ID.fullmatch(p.name.partition(".")[0])]
    known = {p.name.partition(".")[0] for p in (*checkpoints, *deltas)}
    if known and known.isdisjoint(trials):
        raise StoreError(
            f"{kept.shown_url} knows none of the {len(known)} trials that lie in {folder}. Give the --store of this run; "
            "if it is gone, remove the folder yourself."
        )
    found = []
    for path in checkpoints:
        if path.name not in trials:
            found.append(_leftover(path, "checkpoints of a trial that the store does not know"))
        elif trials[path.name]["status"] in ("ok", "diverged"):
            found.append(_leftover(path, "checkpoints of a trial whose result is kept"))
    named = {folder / row["delta"] for row in trials.values() if row["delta"]}
    found += [_leftover(path, "a delta that the store does not name") for path in deltas if path not in named]
    frozen = [p for pattern in ("frozen/*", "frozen/[0-9a-f][0-9a-f]/*.safetensors") for p in _inside(folder, pattern)]
    found += [_leftover(path, "frozen work, which runs compute again") for path in frozen if path.is_file()]
    return found


def leftovers_of_cache(cache: Path, older_than_days: float = UNUSED_DAYS, downloads: bool = False) -> list[Leftover]:
    """Return token ids, and data files if `downloads`, that were not used for so many days, and what was half written."""
    found = []
    old, ids = f"not used for {older_than_days:g} days", [p for p in _inside(cache, "tokenised/*.arrow")]
    files = [p for pattern in ("downloads/*", "hub/*/*") for p in _inside(cache, pattern) if p.is_file()]
    for path in (*ids, *(files if downloads else [])):
        if _age(path) > older_than_days * DAY:
            found.append(_leftover(path, old))
    for pattern in ("tokenised/tmp*", "backbones/tmp*"):
        for path in _inside(cache, pattern):
            if path.is_dir() and _age(path) > LEFT_BEHIND_DAYS * DAY:
                found.append(_leftover(path, "left behind half written"))
    return found


def remove(leftovers: Iterable[Leftover]) -> None:
    """Remove files and folders; links in them are removed, never followed."""
    for leftover in leftovers:
        if leftover.path.is_dir():
            shutil.rmtree(leftover.path)
        else:
            leftover.path.unlink(missing_ok=True)


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder; links count nothing, nor does what is absent."""
    if path.is_symlink():
        return 0
    total = 0
    for file in path.rglob("*") if path.is_dir() else [path]:
        with contextlib.suppress(OSError):  # it may go while we look
            total += file.stat().st_size if file.is_file() and not file.is_symlink() else 0
    return total


def shown(number: int) -> str:
    """Return bytes for people."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number} B"


def _inside(folder: Path, pattern: str) -> Iterator[Path]:
    """Yield what matches and really lies in the folder: no link, and nothing behind one."""
    root = folder.resolve()
    for path in sorted(folder.glob(pattern)):
        if not path.is_symlink() and path.resolve() == root / path.relative_to(folder):
            yield path


def _leftover(path: Path, why: str) -> Leftover:
    return Leftover(path=path, bytes=size_of(path), why=why)


def _age(path: Path) -> float:
    """Return the seconds since the last change of a file, or of a folder and anything in it."""
    changes = [p.stat().st_mtime for p in (path, *path.rglob("*")) if p.exists()]
    return time.time() - max(changes)
