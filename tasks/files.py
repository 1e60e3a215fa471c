"""Release files: found in the data folder, inside the package or on the network, and checked by sha256 where one is known."""

from __future__ import annotations

import contextlib
import csv
import gzip
import hashlib
import io
import json
import os
import re
import time
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from featherbench.tasks.base import File

PACKAGED = Path(__file__).parent / "data"
DAY = 86400.0
"""Seconds"""
TABLES = (".jsonl", ".csv", ".parquet")
"""Endings of local files that may stand for a split of a `datasets` data set; the first two also with .gz"""


HUB_ID = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}(/[A-Za-z0-9][A-Za-z0-9._-]{0,99})?"
HUB_SPLIT = r"\w[\w.:%+\[\]-]{0,99}"
"""A split of a hub's data set, or a part of one such as train[:10%]"""


class DataError(ValueError):
    """A data file is missing, damaged or empty."""


class DataMissing(DataError):
    """A data file cannot be had here; the message says how to get it."""


def cache_folder() -> Path:
    """Return where downloads and conversions are kept: FEATHERBENCH_CACHE, else ~/.cache/featherbench."""
    return Path(os.environ.get("FEATHERBENCH_CACHE", "~/.cache/featherbench")).expanduser()


def note_use(path: Path) -> None:
    """Keep, to the day, when a file of the cache was used last: `featherbench gc` removes what was not for many days."""
    with contextlib.suppress(OSError):  # a cache that others prepared
        if time.time() - path.stat().st_mtime > DAY:
            os.utime(path)


def read_checked(file: File) -> bytes:
    """Return the content of a release file.

    FEATHERBENCH_DATA names a data folder, or its fsspec URL (s3://, gs://, https://, …), whose files are copied into the
    cache when they are needed; without it, files that are not packaged are downloaded once.
    Raises: DataMissing if the file is missing; DataError if its content has another sha256 than declared.
    """
    root = os.environ.get("FEATHERBENCH_DATA")
    roots = [PACKAGED, *([_copied(root, file) if "://" in root else Path(root)] if root else [])]
    path = next((place / name for place in roots for name in _names(file) if (place / name).is_file()), None)
    if path is None and (root or Path(file.path).is_absolute()) and not (file.hub and Path(file.path).is_absolute()):
        where = "" if Path(file.path).is_absolute() else f" in the data folder {_without_secret(root or '')}"
        expected = f" Expected sha256 {file.sha256} (decompressed)." if file.sha256 else ""
        source = f" It can be had from {file.url}; put it there." if file.url else ""
        source += f" {file.mend}" if file.mend else ""
        source += f" Or unset FEATHERBENCH_DATA to take {file.hub} from the hub." if file.hub else ""
        raise DataMissing(f"{file.path} is missing{where}.{expected}{source}")
    if path is None:
        path = _from_hub(file) if file.hub else _download(file)
        note_use(path)
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
    except (gzip.BadGzipFile, zlib.error, EOFError, OSError) as error:
        raise DataError(f"{path} cannot be read: {error}. Get the file again.") from error
    if file.hub and path.name.removesuffix(".gz").endswith((".csv", ".parquet")):
        content = _as_lines(path, content)
    if file.sha256 is not None and (found := hashlib.sha256(content).hexdigest()) != file.sha256:
        raise DataError(f"{path} is damaged or of another release: expected sha256 {file.sha256}, found {found}.")
    return content


def _without_secret(url: str) -> str:
    """Return a URL without the name and password before its host."""
    return re.sub(r"(?<=://)[^/@]*@", "", url)


def _copied(root: str, file: File) -> Path:
    """Copy a file from the data folder behind an fsspec URL into the cache, if it is there; return the folder of copies.

    One whose sha256 is not declared is copied each time, since it may have changed.
    """
    import fsspec

    folder = cache_folder() / "data" / hashlib.sha256(root.encode()).hexdigest()[:12]
    try:
        fs, top = fsspec.core.url_to_fs(root)
        for name in _names(file):
            copy = folder / name
            if (file.sha256 is None or not copy.exists()) and fs.exists(f"{top}/{name}"):
                copy.parent.mkdir(parents=True, exist_ok=True)
                fresh = copy.with_name(f"{copy.name}.{os.getpid()}")
                fresh.write_bytes(fs.cat_file(f"{top}/{name}"))
                os.replace(fresh, copy)
    except Exception as error:  # each file system has its own
        reason = _without_secret(f"{type(error).__name__}: {error}")
        raise DataMissing(
            f"cannot read {file.path} from FEATHERBENCH_DATA={_without_secret(root)}: {reason}"
        ) from error
    return folder


def _names(file: File) -> list[str]:
    """Return the names under which a file may lie in a data folder."""
    plain = file.path.removesuffix(".gz")
    if file.hub is None:
        return list(dict.fromkeys([file.path, plain, f"{plain}.gz"]))
    stem = plain.removesuffix(Path(plain).suffix)
    return [plain, f"{plain}.gz", *(stem + ending + packed for ending in TABLES for packed in ("", ".gz"))]


def _lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    return b"".join(json.dumps(dict(row), ensure_ascii=False, default=str).encode() + b"\n" for row in rows)


def _as_lines(path: Path, content: bytes) -> bytes:
    """Return a CSV or Parquet file as JSON Lines."""
    import polars

    try:
        if path.suffix == ".parquet":
            return _lines(polars.read_parquet(content).iter_rows(named=True))
        return _lines(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True))
    except (polars.exceptions.PolarsError, csv.Error, UnicodeDecodeError, AttributeError, TypeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def ask_hub(kind: Literal["model", "dataset"], name: str) -> None:
    """Ask the hub about a repository before anything is fetched from it: its own library may wait for ever.

    It has HF_HUB_ETAG_TIMEOUT seconds (10 by default) to connect, and as many to answer.
    Raises: whatever keeps it from answering; ConnectionError if HF_HUB_OFFLINE is set.
    """
    from huggingface_hub import HfApi, constants

    api, seconds = HfApi(), float(constants.HF_HUB_ETAG_TIMEOUT)
    (api.model_info if kind == "model" else api.dataset_info)(name, timeout=seconds)


def hub_trouble(error: Exception) -> str:
    """Return in a line what kept the hub from answering, and who was asked."""
    from huggingface_hub import constants

    said = " ".join(str(error).split())[:300]
    return f"{constants.ENDPOINT}: {type(error).__name__}{f': {said}' if said else ''}"


def hub_file(name: str, split: str) -> File:
    """Return the file of a split of any data set of the hub; no local file goes before it but its copy in the cache."""
    return File(path=str(_hub_copy(name, split).absolute()), sha256=None, hub=f"{name}:{split}")


def _hub_copy(name: str, split: str) -> Path:
    """Return where the cache keeps a split.

    Raises: DataError for names that would lead out of it: a store of unknown origin may hold such.
    """
    if not (re.fullmatch(HUB_ID, name) and re.fullmatch(HUB_SPLIT, split)):
        raise DataError(f"{name!r}, {split!r} are no data set's id and split, such as owner/name and train.")
    return cache_folder() / "hub" / name.replace("/", "--") / f"{split}.jsonl"


def _from_hub(file: File) -> Path:
    """Return a split of a `datasets` data set as a JSON Lines file in the cache, fetching it once."""
    name, _, split = str(file.hub).rpartition(":")
    path = _hub_copy(name, split)
    if path.exists():
        return path
    import datasets
    from huggingface_hub import constants

    try:
        if not constants.HF_HUB_OFFLINE:  # else what `datasets` has kept is taken
            ask_hub("dataset", name)
        content = _lines(datasets.load_dataset(name, split=split))
    except Exception as error:  # no network, no such data set, a data set that is a script: each has its own
        raise DataMissing(
            f"cannot get {name} ({split}) from the hub, {hub_trouble(error)}. Where there is no network, put the split at "
            f"<folder>/{file.path} ({', '.join(TABLES)}) and set FEATHERBENCH_DATA=<folder>; or fetch it where there is "
            "one with `featherbench prepare` and the same FEATHERBENCH_CACHE."
        ) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.write_bytes(content)
    os.replace(fresh, path)
    return path


def _download(file: File) -> Path:
    """Return the file from the download cache, fetching it once."""
    import pooch

    if file.url is None and file.mend:
        raise DataMissing(
            f"{file.path} is missing. {file.mend} Put it at <folder>/{file.path} and set FEATHERBENCH_DATA=<folder>."
        )
    if file.url is None:
        raise DataError(
            f"{file.path} should be inside the package but is missing, and it has no url. For a task of your own set "
            "FEATHERBENCH_DATA to the folder that holds it; otherwise install featherbench again."
        )
    pooch.get_logger().setLevel("WARNING")  # it would tell the URL, which may hold a password
    known = f"sha256:{file.sha256}" if file.sha256 else None
    name = Path(file.path).stem if file.sha256 else file.path.replace("/", "-")
    try:
        found = pooch.retrieve(file.url, known, name, cache_folder() / "downloads")
    except Exception as error:  # network, proxy, hash: each library has its own
        raise DataMissing(
            f"cannot download {file.url}: {error}. Put it at <folder>/{file.path} and set FEATHERBENCH_DATA=<folder>."
        ) from error
    return Path(found)
