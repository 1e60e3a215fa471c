"""What trials leave behind: safetensors below the artifact root, written whole or not at all. Imports no torch."""

from __future__ import annotations

import contextlib
import hashlib
import re

import fsspec

PATH = r"deltas/[A-Za-z0-9][A-Za-z0-9._-]*\.safetensors"
"""Of a delta below the artifact root. A store of unknown origin may name any other file"""


class DeltaError(ValueError):
    """What a trial left behind is missing or damaged."""


class ArtifactsError(ValueError):
    """No delta can be written there: every further trial would fail as well."""


def keep_delta(artifacts: str, trial_id: str, blob: bytes) -> str:
    """Write a delta below the artifact root (folder or fsspec URL); return its path there.

    Raises: ArtifactsError if it cannot be written; then no part of it stays.
    """
    name = f"deltas/{trial_id}.safetensors"
    fs, root = fsspec.core.url_to_fs(artifacts)
    part = f"{root}/{name}.part"
    try:
        fs.makedirs(f"{root}/deltas", exist_ok=True)
        fs.pipe_file(part, blob)
        fs.mv(part, f"{root}/{name}")
    except OSError as error:
        with contextlib.suppress(OSError):
            fs.rm_file(part)
        raise ArtifactsError(
            f"the delta of trial {trial_id} ({len(blob):,} bytes) cannot be written below {artifacts}: "
            f"{error.strerror or error}. Free some space there or give another --artifacts; the same command goes on."
        ) from error
    return name


def delta_bytes(artifacts: str, path: str, sha256: str | None = None) -> bytes:
    """Return the content of a delta.

    Raises: DeltaError if it is missing, or not what was stored; also for a path that is no delta's.
    """
    if not re.fullmatch(PATH, path):
        raise DeltaError(f"{path!r} is no delta's path, such as deltas/TRIAL.safetensors; the store is damaged.")
    fs, root = fsspec.core.url_to_fs(artifacts)
    try:
        blob: bytes = fs.cat_file(f"{root}/{path}")
    except OSError as error:
        raise DeltaError(f"there is no {path} below {artifacts}; give the --out folder of the run.") from error
    found = hashlib.sha256(blob).hexdigest()
    if sha256 not in (None, found):
        raise DeltaError(f"{path} is damaged: expected sha256 {sha256}, found {found}.")
    return blob
