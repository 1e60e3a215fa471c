"""Store -> everything that pages show, read and computed once."""

from __future__ import annotations

from dataclasses import dataclass

from featherbench.harness.store import Store
from featherbench.reports.aggregate import boards
from featherbench.reports.boards import Board
from featherbench.reports.comparisons import Headline, headlines
from featherbench.reports.provenance import Origin, provenance
from featherbench.reports.read import Contents, claim_looks, read
from featherbench.reports.search import Search, searches
from featherbench.reports.statements import withheld


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a page is a function of."""

    store: Store
    """For texts that are read on demand, such as samples"""
    contents: Contents
    boards: tuple[Board, ...]
    headlines: tuple[Headline, ...]
    searches: tuple[Search, ...]
    origin: Origin


def collect(store: Store) -> Report:
    """Read the store. Raises: ValueError if it holds no finished trial."""
    contents = read(store)
    found, looks = tuple(boards(contents, store)), claim_looks(store)
    return Report(
        store=store,
        contents=contents,
        boards=found,
        headlines=tuple(withheld(one, looks) for one in headlines(contents, found)),
        searches=tuple(searches(store, contents)),
        origin=provenance(store, contents),
    )
