"""Two rows of one board, or the same two rows of several -> their paired difference with all that can be said of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from featherbench.harness.records import Cell
from featherbench.harness.spec import HeadlineSpec, PlanError, read_spec
from featherbench.reports.aggregate import Board, Summary, treatment
from featherbench.reports.items import ALL, scorer
from featherbench.reports.measured import GAP, MIXED, SEEN, UNSEEN, Measured, measured, mixed, unit_value
from featherbench.reports.read import Contents, Plan
from featherbench.reports.statistics import (
    ALPHA,
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
    cells: frozenset[str]
    """Ids of the cells of both rows"""
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

    def needed(self, effect: float, alpha: float = ALPHA) -> int | None:
        """Return the number of units that would find `effect` in 80 % of experiments; None: no number does."""
        return units_needed(self.spread.planned(), effect, alpha=alpha) if self.spread else None


def difference(
    board: Board, ours: Summary, theirs: Summary, *, metric: str | None = None, subset: str = "all"
) -> Difference:
    """Return the paired difference of two rows of a board; `subset` is one of SUBSETS."""
    return mean_difference([(board, ours, theirs)], metric=metric, subset=subset)


def mean_difference(
    pairs: Sequence[tuple[Board, Summary, Summary]], *, metric: str | None = None, subset: str = "all"
) -> Difference:
    """Return the paired difference of two rows, averaged over boards (sizes) within each seed or draw (protocol 1.2).

    Raises: ValueError for no board, boards without scores, or boards that differ in more than the size.
    """
    if not pairs or pairs[0][0].primary is None:
        raise ValueError("no trial of these rows has a score")
    if len({replace(board.key, size=None) for board, _, _ in pairs}) > 1:
        raise ValueError("only tables that differ in nothing but the size can be averaged")
    chosen = metric or pairs[0][0].primary
    parts = [_difference(board, ours, theirs, chosen, SUBSETS[subset]) for board, ours, theirs in pairs]
    unlike_scorers = _mixed_scorers(pairs, chosen, SUBSETS[subset])
    common = [unit for unit in parts[0].units if all(unit in part.units for part in parts)]
    units = [] if unlike_scorers else common  # a difference of two scorers would be no difference of rows
    parts = [part.only(units) for part in parts]
    board, ours, theirs = pairs[0]
    trial = (ours.runs or theirs.runs)[0].trial
    known = scorer(trial, chosen)
    blank = Difference(
        ours=ours.label,
        theirs=theirs.label,
        cells=frozenset(row.cell.id for _, *rows in pairs for row in rows),
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
        note=MIXED if unlike_scorers else "; ".join(_cautions(pairs)),
    )
    if unlike_scorers:
        return blank
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
    first, second = (measured(row.counted, row.unit, metric, subset, board.items) for row in (ours, theirs))
    return paired(ours, theirs, first, second)


def paired(ours: Summary, theirs: Summary, first: Measured, second: Measured) -> Measured:
    """Return first - second by unit, as measured of two rows; one without randomness stands beside every unit of the other."""
    if ours.deterministic and not theirs.deterministic:
        first = first.repeated(second.units)
    elif theirs.deterministic and not ours.deterministic:
        second = second.repeated(first.units)
    units = [unit for unit in first.units if unit in second.units]
    first, second = first.only(units), second.only(units)
    psi = None if first.psi is None or second.psi is None else first.psi - second.psi
    return Measured(units=tuple(units), values=first.values - second.values, psi=psi)


def _mixed_scorers(pairs: Sequence[tuple[Board, Summary, Summary]], metric: str, subset: str) -> bool:
    """Say whether the scores of the two rows come from several scorers or versions of one."""
    parts = (SEEN, UNSEEN) if subset == GAP else (subset, ALL)
    return any(
        mixed(run.score(metric, part) for row in (ours, theirs) for run in row.counted)
        for _, ours, theirs in pairs
        for part in parts
    )


def unlike(ours: Summary, theirs: Summary) -> list[str]:
    """Return the names of what two rows were given differently; a row without training was given no training.

    Scorers are not among them: values of different scorers are not even subtracted.
    """
    untrained = {"step cap", "search", "training settings", "scorer version"}
    skipped = untrained if ours.deterministic or theirs.deterministic else {"scorer version"}
    first, second = treatment(ours), treatment(theirs)
    found = [name for name in first if name not in skipped and first[name] != second[name]]
    drawn, other = _training_pairs(ours), _training_pairs(theirs)
    if any(drawn[unit] != other[unit] for unit in drawn.keys() & other.keys()):
        found.append("training pairs")
    return found


def _training_pairs(row: Summary) -> dict[object, set[str]]:
    """Return {unit: hashes of the index lists that its trials were trained on}; nothing for a row without training."""
    found: dict[object, set[str]] = {}
    for run in () if row.deterministic else row.counted:
        found.setdefault(unit_value(run, row.unit), set()).add(run.trial.train.sha256)
    return found


def _cautions(pairs: Sequence[tuple[Board, Summary, Summary]]) -> list[str]:
    """Return what makes the difference less than it seems, each once."""
    found = [f"the rows were given another {name}" for _, *rows in pairs for name in unlike(*rows)]
    for _, *rows in pairs:
        for row in rows:
            if lost := row.counts.failed + row.counts.unfinished:
                found.append(f"{row.label}: {lost} of {row.counts.places} places without a result")
    return list(dict.fromkeys(found))


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
    known = {cell.id: cell for cell in contents.cells}
    for plan in contents.plans:
        try:
            spec = read_spec(plan.text)
            if plan.name != spec.name:  # it was run at one of its scales
                spec = read_spec(plan.text, scale=plan.name.removeprefix(f"{spec.name}."))
        except PlanError:
            continue  # of another protocol: shown with its text, not judged
        if spec.headline is not None:
            task = spec.headline.task or spec.tasks[0].name
            size = spec.headline.size
            cells = [
                cell
                for cell in map(known.__getitem__, plan.cells)
                if (cell.task, cell.backbone) == (task, spec.backbones[0])
                and (size is None or cell.size == (None if size == "full" else int(size)))
            ]
            found.append(_headline(plan, task, spec.backbones[0], spec.headline, cells, boards))
    return found


def _headline(
    plan: Plan, task: str, backbone: str, spec: HeadlineSpec, cells: Sequence[Cell], boards: Sequence[Board]
) -> Headline:
    """Return the list's comparisons; `cells` are the plan's own, since other plans may have rows of the same names."""
    differences, missing = [], []
    for row in spec.rows:
        ours, theirs = ({cell.id for cell in cells if cell.row == name} for name in (row, spec.reference))
        pairs = [
            (board, first, second)
            for board in boards
            if (first := _row(board, ours)) is not None and (second := _row(board, theirs)) is not None
        ]
        if not pairs or len(pairs) < len(ours):
            missing.append(f"{row} - {spec.reference}: {len(pairs)} of {len(ours)} sizes have trials of both")
            continue
        one = mean_difference(pairs, subset=spec.subset)
        differences.append((row, replace(one, smallest_effect=spec.smallest_effect)))
    p = {row: float(d.found.primary.p) for row, d in differences if d.found is not None}
    # a comparison that cannot be made yet still belongs to the family: the list was fixed before
    adjusted = headline({**p, **{row: 1.0 for row in spec.rows if row not in p}})
    return Headline(
        plan=plan.id,
        name=plan.name,
        task=task,
        backbone=backbone,
        spec=spec,
        differences=tuple(replace(d, adjusted_p=adjusted[row] if d.found else None) for row, d in differences),
        missing=tuple(missing),
    )


def _row(board: Board, cells: Iterable[str]) -> Summary | None:
    return next((row for row in board.rows if row.cell.id in cells and row.counted), None)
