"""Final runs -> the same inputs decoded by every row. All texts are untrusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from featherbench.harness.store import Store
from featherbench.reports import read
from featherbench.reports.boards import Board, Summary
from featherbench.reports.read import Run

INPUTS = 8
"""Inputs shown per board"""


@dataclass(frozen=True, kw_only=True)
class Output:
    """What one row's trial wrote for an input."""

    label: str
    trial: str
    """Which trial: place, seed, draw; or why there is no output"""
    text: str | None
    truncated: bool
    empty: bool


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One input with every row's output."""

    item: int
    tags: str
    source: str
    reference: str | None
    """The first one"""
    references: int
    outputs: tuple[Output, ...]


def samples(store: Store, board: Board) -> list[Sample]:
    """Return up to INPUTS inputs of a board, spread evenly over seen and unseen ones."""
    shown = {row.cell.id: run for row in board.rows if (run := _first(row))}
    if not shown:
        return []
    trial = next(iter(shown.values())).trial
    predicted = read.predicted_items(store, [run.trial_id for run in shown.values()])
    written = [items for items in predicted.values() if items]
    if not written:
        return []
    tags = read.item_tags(store, trial)
    common = set.intersection(*written) or set.union(*written)
    chosen = choose(common, {item: tags.get(item, {}).get("seen", "") for item in common}, INPUTS)
    texts = read.item_texts(store, trial, chosen)
    outputs = read.predictions(store, list(predicted), chosen)
    return [_sample(item, tags.get(item, {}), texts.get(item), board.rows, shown, outputs) for item in chosen]


def choose(items: set[int], group: Mapping[int, str], limit: int) -> list[int]:
    """Return at most `limit` items: the groups take turns, each evenly spaced over its items; in group order."""
    groups = {name: sorted(i for i in items if group[i] == name) for name in sorted(set(group.values()))}
    quota = dict.fromkeys(groups, 0)
    while sum(quota.values()) < min(limit, len(items)):
        for name in groups:
            if quota[name] < len(groups[name]) and sum(quota.values()) < limit:
                quota[name] += 1
    return [item for name, members in groups.items() for item in evenly(members, quota[name])]


def evenly(values: Sequence[int], number: int) -> list[int]:
    """Return `number` of the values, evenly spaced from the first on."""
    return [values[i * len(values) // number] for i in range(number)]


def _first(row: Summary) -> Run | None:
    """Return the first finished final trial that kept outputs."""
    return next((run for run in sorted(row.counted, key=lambda r: r.number) if run.outputs.kept), None)


def _sample(
    item: int,
    tags: Mapping[str, str],
    texts: tuple[str, list[str]] | None,
    rows: Sequence[Summary],
    shown: Mapping[str, Run],
    outputs: Mapping[tuple[str, int], tuple[str, bool]],
) -> Sample:
    source, references = texts or ("(the store does not hold this input)", [])
    return Sample(
        item=item,
        tags=", ".join(f"{name}: {tags[name]}" for name in sorted(tags)),
        source=source,
        reference=references[0] if references else None,
        references=len(references),
        outputs=tuple(_output(row, shown.get(row.cell.id), item, outputs) for row in rows),
    )


def _output(row: Summary, run: Run | None, item: int, outputs: Mapping[tuple[str, int], tuple[str, bool]]) -> Output:
    if run is None:
        return Output(label=row.label, trial="no finished trial", text=None, truncated=False, empty=False)
    if (run.trial_id, item) not in outputs:
        why = f"{run.name}: no output kept"
        return Output(label=row.label, trial=why, text=None, truncated=False, empty=False)
    text, truncated = outputs[run.trial_id, item]
    return Output(label=row.label, trial=run.name, text=text, truncated=truncated, empty=not text.strip())
