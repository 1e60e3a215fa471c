"""Two rows of one board, or the same two rows of several -> their paired difference with all that can be said of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from featherbench.harness.spec import HeadlineSpec, PlanError, read_spec
from featherbench.reports.aggregate import Board, Summary
from featherbench.reports.items import ALL, scorer
from featherbench.reports.measured import GAP, SEEN, UNSEEN, Measured, measured
from featherbench.reports.read import Contents
from featherbench.reports.statistics import (
    LEAST_UNITS,
    Equivalence,
    Intervals,
    Spread,
    detectable,
    equivalence,
    headline,
    intervals,
    item_floor,
    sign_flip,
    spread,
    units_needed,
)

SUBSETS = {"all": ALL, "seen": SEEN, "unseen": UNSEEN, "gap": GAP}
"""As plans and claims name them -> as they are stored"""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Ours minus theirs, paired by seed or draw and by item; over several sizes the mean within each seed or draw."""

    ours: str
    theirs: str
    metric: str
    subset: str
    sizes: tuple[int | None, ...]
    unit: str
    """ "seed" or "draw" """
    units: tuple[object, ...]
    """Those that both rows have"""
    values: tuple[float, ...]
    """By unit, in the score's own points"""
    higher_is_better: bool
    found: Intervals | None
    """Of ours - theirs; None where nothing can be said"""
    spread: Spread | None
    """What the variance is made of: for planning"""
    sign_flip: float | None
    """p of the exact check; None below eight blocks"""
    note: str = ""
    """Why there is no interval, or how far it holds"""
    adjusted_p: float | None = None
    """Holm's, within the plan's headline list; only these have a p to be quoted"""
    smallest_effect: float | None = None
    """Declared by the plan or the claim"""

    @property
    def estimate(self) -> float | None:
        """The mean difference."""
        return float(np.mean(self.values)) if self.values else None

    @property
    def equivalence(self) -> Equivalence | None:
        """The test that the difference lies within the declared margin."""
        if self.found is None or self.smallest_effect is None:
            return None
        return equivalence(self.found.primary, self.smallest_effect)

    @property
    def detectable(self) -> float | None:
        """Smallest true difference that this design finds in 80 % of experiments, at the upper limit of the spread."""
        if self.spread is None:
            return None
        return detectable(*self.spread.planned().error(len(self.units)))

    @property
    def floor(self) -> float | None:
        """Difference that no number of seeds could find on this test set; 0 where the score has no item statistics."""
        return item_floor(self.spread) if self.spread else None

    def needed(self, effect: float) -> int | None:
        """Return the number of units that would find `effect` in 80 % of experiments; None: no number does."""
        return units_needed(self.spread.planned(), effect) if self.spread else None


def difference(
    board: Board, ours: Summary, theirs: Summary, *, metric: str | None = None, subset: str = "all"
) -> Difference:
    """Return the paired difference of two rows of a board; `subset` is one of SUBSETS."""
    return mean_difference([(board, ours, theirs)], metric=metric, subset=subset)


def mean_difference(
    pairs: Sequence[tuple[Board, Summary, Summary]], *, metric: str | None = None, subset: str = "all"
) -> Difference:
    """Return the paired difference of two rows, averaged over boards (sizes) within each seed or draw (protocol 1.2).

    Raises: ValueError for no board, or boards of which one has no score.
    """
    if not pairs or pairs[0][0].primary is None:
        raise ValueError("no trial of these rows has a score")
    chosen = metric or pairs[0][0].primary
    parts = [_difference(board, ours, theirs, chosen, SUBSETS[subset]) for board, ours, theirs in pairs]
    units = [unit for unit in parts[0].units if all(unit in part.units for part in parts)]
    parts = [part.only(units) for part in parts]
    board, ours, theirs = pairs[0]
    trial = (ours.runs or theirs.runs)[0].trial
    known = scorer(trial, chosen)
    blank = Difference(
        ours=ours.label,
        theirs=theirs.label,
        metric=chosen,
        subset=subset,
        sizes=tuple(board.key.size for board, _, _ in pairs),
        unit=ours.unit if not ours.deterministic else theirs.unit,
        units=tuple(units),
        values=tuple(float(value) for value in np.mean([part.values for part in parts], axis=0)) if units else (),
        higher_is_better=known.higher_is_better if known else True,
        found=None,
        spread=None,
        sign_flip=None,
        note="; ".join(_unlike(pairs)),
    )
    if len(units) < LEAST_UNITS:
        few = f"{len(units)} common {blank.unit}s: no interval below {LEAST_UNITS}"
        return replace(blank, note="; ".join(part for part in (few, blank.note) if part))
    values = np.array(blank.values)
    stacked = [part.psi for part in parts if part.psi is not None]
    whole = len(stacked) == len(parts) and len({psi.shape for psi in stacked}) == 1
    psi = np.mean(stacked, axis=0) if whole else None
    return replace(
        blank,
        found=intervals(values, psi),
        spread=spread(values, psi),
        sign_flip=sign_flip(values) if len(values) <= 40 else None,
    )


def _difference(board: Board, ours: Summary, theirs: Summary, metric: str, subset: str) -> Measured:
    """Return ours - theirs by unit; a row without randomness stands beside every unit of the other."""
    first, second = (measured(row.counted, row.unit, metric, subset, board.items) for row in (ours, theirs))
    if ours.deterministic and not theirs.deterministic:
        first = first.repeated(second.units)
    elif theirs.deterministic and not ours.deterministic:
        second = second.repeated(first.units)
    units = [unit for unit in first.units if unit in second.units]
    first, second = first.only(units), second.only(units)
    psi = None if first.psi is None or second.psi is None else first.psi - second.psi
    return Measured(units=tuple(units), values=first.values - second.values, psi=psi)


def _unlike(pairs: Sequence[tuple[Board, Summary, Summary]]) -> list[str]:
    """Return why the rows were not treated alike, each once."""
    reasons = [
        f"{row.label}: {row.unranked}"
        for _, ours, theirs in pairs
        for row in (ours, theirs)
        if row.unranked and not row.deterministic
    ]
    return list(dict.fromkeys(reasons))


# --- the plan's headline list -----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The comparisons that a plan named before its final phase."""

    plan: str
    """Id of the plan: a hash of its text and cells, stored before any trial ran"""
    name: str
    task: str
    backbone: str
    spec: HeadlineSpec
    differences: tuple[Difference, ...]
    missing: tuple[str, ...]
    """Comparisons that cannot be made, with the reason"""


def headlines(contents: Contents, boards: Sequence[Board]) -> list[Headline]:
    """Return the headline list of every plan that has one, p adjusted by Holm within it (protocol 1.2)."""
    found = []
    for plan in contents.plans:
        try:
            spec = read_spec(plan.text)
            if plan.name != spec.name:  # it was run at one of its scales
                spec = read_spec(plan.text, scale=plan.name.removeprefix(f"{spec.name}."))
        except PlanError:
            continue  # of another protocol: shown with its text, not judged
        if spec.headline is not None:
            task = spec.headline.task or spec.tasks[0].name
            of_plan = [b for b in boards if (b.key.task, b.key.backbone) == (task, spec.backbones[0])]
            found.append(_headline(plan.id, plan.name, task, spec.backbones[0], spec.headline, of_plan))
    return found


def _headline(plan: str, name: str, task: str, backbone: str, spec: HeadlineSpec, boards: Sequence[Board]) -> Headline:
    differences, missing = [], []
    chosen = [board for board in boards if spec.size is None or board.key.size == _size(spec.size)]
    for row in spec.rows:
        pairs = [
            (board, ours, theirs)
            for board in chosen
            if (ours := _row(board, row)) is not None and (theirs := _row(board, spec.reference)) is not None
        ]
        if not pairs or len(pairs) < len(chosen):
            missing.append(f"{row} - {spec.reference}: no trials of both in {len(chosen) - len(pairs) or 'any'} tables")
            continue
        one = mean_difference(pairs, subset=spec.subset)
        differences.append(replace(one, smallest_effect=spec.smallest_effect))
    p = {d.ours: float(d.found.primary.p) for d in differences if d.found is not None}
    # a comparison that cannot be made yet still belongs to the family: the list was fixed before
    adjusted = headline({**p, **{row: 1.0 for row in spec.rows if row not in p}})
    return Headline(
        plan=plan,
        name=name,
        task=task,
        backbone=backbone,
        spec=spec,
        differences=tuple(replace(d, adjusted_p=adjusted[d.ours] if d.found else None) for d in differences),
        missing=tuple(missing),
    )


def _size(given: int | str) -> int | None:
    return None if given == "full" else int(given)


def _row(board: Board, name: str) -> Summary | None:
    """Return the row of a name, which the plan gave: `label` has the cell's id where a board has two of them."""
    return next((row for row in board.rows if row.cell.row == name and row.counted), None)
