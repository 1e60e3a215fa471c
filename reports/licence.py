"""May texts of a trial's data be shown? The task says so, from its licence."""

from __future__ import annotations

from featherbench.harness.records import Trial
from featherbench.tasks import TASKS


def why_not_shown(trial: Trial) -> str:
    """Return why sources, references and outputs are left out; empty if they may be shown."""
    if trial.definition is not None:  # the plan's own data: whoever wrote the plan decides who sees the report
        return ""
    task = TASKS.get(trial.task)
    if task is None:
        return f"No samples: the task {trial.task} is not installed here, so its licence is not known."
    return "" if task.samples_allowed else f"No samples: the licence of {task.name} does not allow it ({task.licence})."


def attribution(trial: Trial) -> str:
    """Return where the texts come from and under which licence."""
    if trial.definition is not None:
        return "Data described by the plan: publish their texts only if their licence allows it."
    task = TASKS[trial.task]
    return f"Data: {task.name}, {task.source}; licence: {task.licence}."
