"""METHODS: the table of all methods, in report order. A new method is one file and one line here."""

from __future__ import annotations

from importlib.metadata import entry_points

from featherbench.methods.adapter import ADAPTER
from featherbench.methods.base import Method
from featherbench.methods.copy_source import COPY_SOURCE as COPY_SOURCE
from featherbench.methods.embedding_only import EMBEDDING_ONLY
from featherbench.methods.ft_top2 import FT_TOP2
from featherbench.methods.full_ft import FULL_FT
from featherbench.methods.infix import INFIX
from featherbench.methods.plugins import PluginError, load_plugin
from featherbench.methods.prefix import PREFIX
from featherbench.methods.untuned import UNTUNED as UNTUNED

BUILT_IN: tuple[Method, ...] = (FULL_FT, FT_TOP2, ADAPTER, PREFIX, INFIX, EMBEDDING_ONLY)

BASELINES = {method.name: method for method in (UNTUNED, COPY_SOURCE)}
"""What trains nothing: rows of a plan's `baselines`, never of its `methods`"""


def _table() -> dict[str, Method]:
    """Return the built-in methods and those of the entry-point group featherbench.methods, by name.

    Raises: PluginError if one cannot be loaded, or two methods share a name.
    """
    plugins = [load_plugin(entry) for entry in entry_points(group="featherbench.methods")]
    table: dict[str, Method] = {}
    for method in (*BUILT_IN, *plugins):
        if method.name in table or method.name in BASELINES:
            raise PluginError(f"two methods are named {method.name!r}; rename the plug-in's")
        table[method.name] = method
    return table


METHODS = _table()
