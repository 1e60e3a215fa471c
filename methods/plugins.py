"""Loading of third-party records through entry points."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any


class PluginError(RuntimeError):
    """An installed plug-in cannot be used."""


def load_plugin(entry: EntryPoint) -> Any:
    """Return the record that an entry point names.

    Raises: PluginError that names the plug-in and the package it comes from.
    """
    try:
        return entry.load()
    except Exception as error:
        package = entry.dist.name if entry.dist else "an unknown package"
        raise PluginError(
            f"plug-in {entry.name!r} ({entry.value}, from {package}) cannot be loaded: {type(error).__name__}: {error}. "
            f"Mend it, or `pip uninstall {package}`."
        ) from error
