"""Does this machine have what featherbench needs?"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from featherbench.harness.retention import disk_of_cache, disk_of_run, shown
from featherbench.tasks.files import cache_folder

NEEDED_DISK = 5 * 2**30
NEEDED_MEMORY = 4 * 2**30


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    what: str
    ok: bool
    found: str
    mend: str = ""


def examine(run: Path | None = None) -> list[Finding]:
    """Look at Python, torch, accelerator, memory, disk, cache and data folder, and at what a run's parts take."""
    import psutil
    import torch
    import transformers

    cache, memory = cache_folder(), psutil.virtual_memory().available
    found = [
        Finding(
            what="python", ok=sys.version_info >= (3, 11), found=sys.version.split()[0], mend="use Python 3.11 or 3.12"
        ),
        Finding(what="torch", ok=True, found=torch.__version__),
        Finding(what="transformers", ok=True, found=transformers.__version__),
        _accelerator(torch.cuda.is_available()),
        Finding(
            what="memory",
            ok=memory > NEEDED_MEMORY,
            found=f"{memory / 2**30:.1f} GiB free",
            mend="close other programs",
        ),
        _writable("cache", cache, "set FEATHERBENCH_CACHE to a folder you may write to"),
    ]
    existing = next((p for p in (cache, *cache.parents) if p.exists()), Path("/"))
    free = shutil.disk_usage(existing).free
    found.append(
        Finding(
            what="disk",
            ok=free > NEEDED_DISK,
            found=f"{free / 2**30:.0f} GiB free at {existing}",
            mend="free some space",
        )
    )
    found.append(Finding(what="cache parts", ok=True, found=_sizes(disk_of_cache(cache))))
    if run is not None:
        there = run.is_dir()
        taken = _sizes(disk_of_run(run)) if there else f"there is no folder {run}"
        found.append(Finding(what="run parts", ok=there, found=taken, mend="give the --out folder of a run"))
    root = os.environ.get("FEATHERBENCH_DATA")
    found.append(
        Finding(
            what="data",
            ok=root is None or Path(root).is_dir(),
            found=root or "FEATHERBENCH_DATA is not set: files are downloaded when needed",
            mend="set FEATHERBENCH_DATA to an existing folder, or unset it",
        )
    )
    return found


def _sizes(parts: Mapping[str, int]) -> str:
    return ", ".join(f"{part} {shown(taken)}" for part, taken in parts.items())


def _accelerator(available: bool) -> Finding:
    """A GPU that torch cannot see is worth mending; no GPU at all is not."""
    has_driver = shutil.which("nvidia-smi") is not None
    return Finding(
        what="accelerator",
        ok=available or not has_driver,
        found="CUDA" if available else "none seen by torch; trials run on the CPU",
        mend="there is a GPU driver, but torch is a CPU build; install the CUDA build of the same version",
    )


def _writable(what: str, folder: Path, mend: str) -> Finding:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.write_text("")
        probe.unlink()
        return Finding(what=what, ok=True, found=str(folder))
    except OSError as error:
        return Finding(what=what, ok=False, found=f"{folder}: {error.strerror}", mend=mend)
