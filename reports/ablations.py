"""Boards -> ablations, found by themselves: rows of one board that differ in exactly one thing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from featherbench.reports.boards import ALL, Board, Summary
from featherbench.reports.comparisons import Difference, difference
from featherbench.reports.search import Search
from featherbench.reports.spending import BARE

FAMILY = ("prefix", "infix", "embedding_only")
"""Methods whose virtual tokens differ in their position alone"""
POSITION, WORDS = "position", "task words"
SEARCHED = "searched"
"""Stands for the value of a dimension that the search chose"""
Value = str | int | float | bool | None


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One row of an ablation."""

    value: Value
    row: Summary
    against: Difference | None
    """Paired difference to the reference, the primary score over all items; None for the reference itself"""


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """Rows that differ in one thing."""

    board: Board
    method: str
    """A method's name, or those of the family"""
    factor: str
    """A field of the method's configuration, POSITION, or WORDS"""
    variants: tuple[Variant, ...]
    """Numbers in rising order, other values in that of the plan"""
    reference: Summary
    """The first row of the plan"""
    also: tuple[str, ...]
    """Optimisation settings that differ, too, since the plan gives them by row"""

    @property
    def numeric(self) -> bool:
        """True if every value is a number."""
        return all(_is_number(variant.value) for variant in self.variants)


def ablations(boards: Sequence[Board], searches: Sequence[Search]) -> list[Ablation]:
    """Return every ablation of every board, in the boards' order."""
    searched = {search.cell.id: frozenset(search.space) for search in searches}
    return [one for board in boards if board.primary for one in _of_board(board, searched)]


def _of_board(board: Board, searched: Mapping[str, frozenset[str]]) -> Iterator[Ablation]:
    rows = [row for row in board.rows if row.cell.method not in BARE and row.counted]
    for method in dict.fromkeys(row.cell.method for row in rows):
        settings = [
            (row, settings_of(row, searched.get(row.cell.id, frozenset()))) for row in rows if row.cell.method == method
        ]
        for factor in dict.fromkeys(name for _, found in settings for name in found):
            groups: dict[str, list[tuple[Value, Summary]]] = {}
            for row, found in settings:
                rest = {name: value for name, value in found.items() if name != factor}
                groups.setdefault(_text([_search(row), rest]), []).append((found.get(factor), row))
            yield from (_ablation(board, method, factor, group) for group in groups.values() if _differ(group))
    positions: dict[str, list[tuple[Value, Summary]]] = {}
    for row in rows:
        if row.cell.method in FAMILY:
            found = settings_of(row, searched.get(row.cell.id, frozenset()))
            # that of the trials, also where a search chose it: else it would differ beside the position
            length = row.counted[0].trial.config.get("length")
            size = row.cell.budget if row.cell.budget is not None else length
            alike = [_search(row), row.cell.budget is not None, size, found[WORDS]]
            positions.setdefault(_text(alike), []).append((row.cell.method, row))
    for group in positions.values():
        if _differ(group):
            methods = ", ".join(dict.fromkeys(row.cell.method for _, row in group))
            yield _ablation(board, methods, POSITION, group)


def settings_of(row: Summary, searched: frozenset[str]) -> dict[str, Value]:
    """Return what the plan fixed of a row: its configuration and its task words; SEARCHED for what the search chose."""
    trial = row.counted[0].trial
    planned = row.cell.fixed.get("trial", {}).get("config", trial.config)
    config = {name: SEARCHED if name in searched else value for name, value in planned.items()}
    words = "none" if trial.words_as == "none" else f"{trial.words_as}: {trial.words}"
    return {**config, WORDS: words}


def _search(row: Summary) -> object:
    """Return the search that a row had: rows with and without one differ in more than a factor."""
    return row.cell.fixed.get("search")


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def _differ(group: Sequence[tuple[Value, Summary]]) -> bool:
    return len({_text(value) for value, _ in group}) > 1


def _ablation(board: Board, method: str, factor: str, group: Sequence[tuple[Value, Summary]]) -> Ablation:
    reference = group[0][1]
    variants = [
        Variant(value=value, row=row, against=None if row is reference else difference(board, row, reference))
        for value, row in group
    ]
    if all(_is_number(variant.value) for variant in variants):
        variants.sort(key=lambda variant: float(str(variant.value)))
    return Ablation(
        board=board,
        method=method,
        factor=factor,
        variants=tuple(variants),
        reference=reference,
        also=tuple(_also([row for _, row in group])),
    )


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _also(rows: Sequence[Summary]) -> Iterator[str]:
    """Yield what the plan gave these rows unequally beside the factor; what a search chose is no such thing."""
    given = [row.cell.fixed.get("given", {}) for row in rows]
    for name in ("learning_rate", "steps", "weight_decay"):
        values = [one.get(name, "default") for one in given]
        if len(set(values)) > 1:
            yield f"{name.replace('_', ' ')} ({', '.join(map(str, values))})"


def has_score(variant: Variant, metric: str) -> bool:
    """Return whether a row has a mean to be drawn."""
    return variant.row.scores[metric, ALL].mean is not None
