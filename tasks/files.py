"""Release files: found in the data folder, inside the package or on the network, and always checked by sha256."""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from pathlib import Path

from featherbench.tasks.base import File

PACKAGED = Path(__file__).parent / "data"


class DataError(ValueError):
    """A data file is missing, damaged or empty."""


def cache_folder() -> Path:
    """Return where downloads and conversions are kept: FEATHERBENCH_CACHE, else ~/.cache/featherbench."""
    return Path(os.environ.get("FEATHERBENCH_CACHE", "~/.cache/featherbench")).expanduser()


def read_checked(file: File) -> bytes:
    """Return the content of a release file.

    FEATHERBENCH_DATA names a data folder; without it, files that are not packaged are downloaded once.
    Raises: DataError if the file is missing, or its content has another sha256 than declared.
    """
    root = os.environ.get("FEATHERBENCH_DATA")
    places = [PACKAGED / file.path, *([Path(root) / file.path] if root else [])]
    path = next((place for place in places if place.exists()), None)
    if path is None and root:
        raise DataError(
            f"{file.path} is missing in the data folder {root}. Expected sha256 {file.sha256} (decompressed)."
        )
    if path is None:
        path = _download(file)
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (gzip.BadGzipFile, zlib.error, EOFError, OSError) as error:
        raise DataError(f"{path} cannot be read: {error}. Get the file again.") from error
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise DataError(f"{path} is damaged or of another release: expected sha256 {file.sha256}, found {found}.")
    return content


def _download(file: File) -> Path:
    """Return the file from the download cache, fetching it once."""
    import pooch

    if file.url is None:
        raise DataError(
            f"{file.path} should be inside the package but is missing, and it has no url. For a task of your own set "
            "FEATHERBENCH_DATA to the folder that holds it; otherwise install featherbench again."
        )
    try:
        name = pooch.retrieve(file.url, f"sha256:{file.sha256}", Path(file.path).stem, cache_folder() / "downloads")
    except Exception as error:  # network, proxy, hash: each library has its own
        raise DataError(
            f"cannot download {file.url}: {error}. Put it at <folder>/{file.path} and set FEATHERBENCH_DATA=<folder>."
        ) from error
    return Path(name)
