"""Store -> all that pages are made of, read and computed once."""

from __future__ import annotations

from dataclasses import dataclass

from featherbench.harness.store import Store
from featherbench.reports.aggregate import Board, boards
from featherbench.reports.provenance import Origin, provenance
from featherbench.reports.read import Contents, read
from featherbench.reports.search import Search, searches


@dataclass(frozen=True, kw_only=True)
class Report:
    """What every page is given."""

    contents: Contents
    boards: tuple[Board, ...]
    searches: tuple[Search, ...]
    origin: Origin
    store: Store
    """For texts that one page alone shows"""


def collect(store: Store) -> Report:
    """Read the store.

    Raises: ValueError if it holds no finished trial.
    """
    contents = read(store)
    return Report(
        contents=contents,
        boards=tuple(boards(contents)),
        searches=tuple(searches(store, contents)),
        origin=provenance(store, contents),
        store=store,
    )
