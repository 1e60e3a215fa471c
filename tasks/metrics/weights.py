"""Where the neural scores find their models: a local folder, else the Hugging Face hub.

FEATHERBENCH_SCORERS names a folder with one sub-folder a model ("roberta-large", "lucadiliello--bleurt-base-128", as
`save_pretrained` writes them); without it the folder `scorers` of FEATHERBENCH_CACHE is looked into.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from featherbench.tasks.base import Unavailable
from featherbench.tasks.files import cache_folder

T = TypeVar("T")


def _folder(name: str) -> Path:
    root = os.environ.get("FEATHERBENCH_SCORERS")
    return (Path(root).expanduser() if root else cache_folder() / "scorers") / name.replace("/", "--")


def place(name: str) -> str:
    """Return the local folder of a model if there is one, else its name on the hub."""
    return str(_folder(name)) if _folder(name).is_dir() else name


@lru_cache(maxsize=16)
def _digest(folder: str) -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(folder).iterdir()):
        if path.is_file():
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def origin(name: str) -> str:
    """Return "model:NAME@hub", or "model:NAME@local-" and twelve digits of the SHA-256 of the folder's files."""
    found = place(name)
    return f"model:{name}@" + ("hub" if found == name else f"local-{_digest(found)}")


@lru_cache(maxsize=16)
def _attempt(load: Callable[[str], T], found: str) -> T | Unavailable:
    try:
        return load(found)
    except ImportError as error:
        return Unavailable(f"{error}; `pip install 'featherbench[neural]'`")
    except (OSError, ValueError, Unavailable) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        return Unavailable(f"no weights of {found}: {reason} Put them into a folder of FEATHERBENCH_SCORERS.")


def loaded(load: Callable[[str], T], name: str) -> T:
    """Return load(place of the model), tried once a process.

    Raises: Unavailable if package or weights are missing.
    """
    if isinstance(found := _attempt(load, place(name)), Unavailable):
        raise found
    return found
