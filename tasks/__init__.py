"""TASKS: the table of all tasks. A new task is one file and one line here."""

from __future__ import annotations

from importlib.metadata import entry_points

from featherbench.tasks.base import Task
from featherbench.tasks.dart import DART, DART_WEBNLG_PART
from featherbench.tasks.e2e import E2E, E2E_PAPER
from featherbench.tasks.places import PLACES
from featherbench.tasks.plugins import PluginError, load_plugin
from featherbench.tasks.webnlg import WEBNLG
from featherbench.tasks.xsum import XSUM, XSUM_NEWS_TO_SPORTS, XSUM_SAMPLE, XSUM_WITHIN_NEWS

BUILT_IN: tuple[Task, ...] = (
    PLACES,
    E2E,
    E2E_PAPER,
    WEBNLG,
    DART,
    DART_WEBNLG_PART,
    XSUM,
    XSUM_SAMPLE,
    XSUM_NEWS_TO_SPORTS,
    XSUM_WITHIN_NEWS,
)


def _table() -> dict[str, Task]:
    """Return the built-in tasks and those of the entry-point group featherbench.tasks, by name.

    Raises: PluginError if one cannot be loaded, or two tasks share a name.
    """
    plugins = [load_plugin(entry) for entry in entry_points(group="featherbench.tasks")]
    table: dict[str, Task] = {}
    for task in (*BUILT_IN, *plugins):
        if task.name in table:
            raise PluginError(f"two tasks are named {task.name!r}; rename the plug-in's")
        table[task.name] = task
    return table


TASKS = _table()
