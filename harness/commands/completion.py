"""What a shell may complete names to, once `featherbench --install-completion` was said."""

from __future__ import annotations

from pathlib import Path


def complete_plans(incomplete: str) -> list[str]:
    """Return what a shell may complete a plan's name to: packaged plans, and plan files and folders below here."""
    from featherbench.harness.spec import PACKAGED_PLANS

    packaged = [path.stem for path in sorted(PACKAGED_PLANS.glob("*.yaml"))]
    begin = Path(incomplete) if incomplete.endswith("/") else Path(incomplete).parent
    try:
        here = [f"{p}/" if p.is_dir() else str(p) for p in sorted(begin.iterdir()) if p.is_dir() or p.suffix == ".yaml"]
    except OSError:
        here = []
    return [name for name in (*packaged, *here) if name.startswith(incomplete)]


def complete_tasks(incomplete: str) -> list[str]:
    """Return what a shell may complete a task's name to."""
    from featherbench.tasks import TASKS

    return [name for name in TASKS if name.startswith(incomplete)]


def complete_methods(incomplete: str) -> list[str]:
    """Return what a shell may complete the last of some methods with commas to."""
    from featherbench.methods import METHODS

    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in METHODS if name.startswith(last) and name not in before.split(",")]


def complete_names(incomplete: str) -> list[str]:
    """Return what a shell may complete the name of a backbone, task or method to."""
    from featherbench.harness.catalogue import BACKBONES

    names = [*BACKBONES, *complete_tasks(""), *complete_methods("")]
    return [name for name in names if name.startswith(incomplete)]


def complete_backbones(incomplete: str) -> list[str]:
    """Return what a shell may complete the name of a backbone to."""
    from featherbench.harness.catalogue import BACKBONES

    return [name for name in BACKBONES if name.startswith(incomplete)]
