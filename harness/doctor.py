"""Does this machine have what featherbench needs?"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from featherbench.harness.catalogue import BACKBONES
from featherbench.harness.retention import disk_of_cache, disk_of_run, shown
from featherbench.tasks.files import cache_folder
from featherbench.tasks.metrics.java import JAVA_SCORES

NEEDED_DISK = 5 * 2**30
NVIDIA = tuple(map(Path, ("/proc/driver/nvidia/version", "/dev/nvidia0", "/dev/nvidiactl")))
"""One of these is there where a GPU's driver is loaded, or handed into a container"""
CGROUP = Path("/sys/fs/cgroup")
"""Where a container's limit of memory stands"""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    what: str
    ok: bool
    found: str
    mend: str = ""
    needed: bool = True
    """Whether featherbench cannot do without it; else something less can be done"""


def examine(run: Path | None = None) -> list[Finding]:
    """Look at Python, torch, accelerator, memory, Java, disk, cache and data folder, and at what a run's parts take."""
    import torch
    import transformers

    cache = cache_folder()
    found = [
        Finding(
            what="python", ok=sys.version_info >= (3, 11), found=sys.version.split()[0], mend="use Python 3.11 or 3.12"
        ),
        Finding(what="torch", ok=True, found=torch.__version__),
        Finding(what="transformers", ok=True, found=transformers.__version__),
        accelerator(torch.cuda.is_available(), torch.version.cuda, has_driver()),
        memory(free_memory()),
        java(),
        _writable("cache", cache, "set FEATHERBENCH_CACHE to a folder you may write to"),
    ]
    existing = next((p for p in (cache, *cache.parents) if p.exists()), Path("/"))
    free = shutil.disk_usage(existing).free
    found.append(
        Finding(
            what="disk",
            ok=free > NEEDED_DISK,
            found=f"{free / 2**30:.0f} GiB free at {existing}",
            mend="free some space (`featherbench gc` tells what nobody needs), or set FEATHERBENCH_CACHE to another disk",
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


def has_driver() -> bool:
    """Say whether there is an NVIDIA GPU's driver here."""
    return shutil.which("nvidia-smi") is not None or any(path.exists() for path in NVIDIA)


def accelerator(available: bool, built_for: str | None, driver: bool) -> Finding:
    """Judge the accelerator: a GPU that torch cannot use is worth mending, no GPU at all is not.

    `built_for` is the CUDA version that torch was built for, None for a CPU build.
    """
    if available:
        return Finding(what="accelerator", ok=True, found=f"CUDA {built_for}")
    if not driver:
        return Finding(what="accelerator", ok=True, found="none; trials run on the CPU")
    if built_for is None:
        return Finding(
            what="accelerator",
            ok=False,
            found="a GPU that torch cannot use, since it is a CPU build",
            mend="install the CUDA build of the same version, e.g. `pip install --force-reinstall torch` without an "
            "--index-url or PIP_FIND_LINKS that has CPU builds",
        )
    return Finding(
        what="accelerator",
        ok=False,
        found=f"a GPU that torch, built for CUDA {built_for}, cannot use",
        mend="bring the driver up to that version (`nvidia-smi` shows its own), or start the container with the GPU in it",
    )


def free_memory() -> int:
    """Return the bytes of main memory that may still be taken here, also inside a container with a limit."""
    import psutil

    free = int(psutil.virtual_memory().available)
    try:
        limit = (CGROUP / "memory.max").read_text().strip()
        used = int((CGROUP / "memory.current").read_text())
    except (OSError, ValueError):  # no container, or an older kind
        return free
    return min(free, int(limit) - used) if limit.isdigit() else free


def memory(free: int) -> Finding:
    """Judge `free` bytes of main memory by what the packaged backbones take."""
    lacking = [f"{name} ({shown(known.memory)})" for name, known in BACKBONES.items() if known.memory > free]
    enough = len(lacking) < len(BACKBONES)
    return Finding(
        what="memory",
        ok=not lacking,
        found=f"{shown(free)} free" + (f", too little for {', '.join(lacking)}" if lacking else ""),
        mend="close other programs, or raise the container's limit"
        + ("; the smaller backbones run as it is" if enough else ""),
        needed=not enough,
    )


def java() -> Finding:
    """Look for Java, which some official scores run in."""
    path = shutil.which("java")
    return Finding(
        what="java",
        ok=path is not None,
        found=path or f"none, so these scores stay absent: {', '.join(JAVA_SCORES)}",
        mend="install a Java runtime, e.g. `apt-get install default-jre-headless`, and have `java` on the PATH",
        needed=False,
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
