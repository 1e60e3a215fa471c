"""Rows of one board, or the same rows of several -> their paired difference with all that can be said of it.

A difference is of two rows, or of two differences of rows: an interaction, such as whether words help one method more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from featherbench.harness.records import Cell
from featherbench.harness.spec import HeadlineSpec, PlanError, read_spec
from featherbench.reports.boards import Board, Summary
from featherbench.reports.items import ALL
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
from featherbench.tasks.table import given_name

SUBSETS = {"all": ALL, "seen": SEEN, "unseen": UNSEEN, "gap": GAP}
"""As plans and claims name them -> as they are stored"""
Contrast = tuple[Board, *tuple[Summary, ...]]
"""A board with two of its rows, ours - theirs; or with four, (first - second) - (third - fourth)"""
SIGNS = {2: (1, -1), 4: (1, -1, -1, 1)}
"""How the rows of a contrast are counted"""
UNVARIED = "one side does not vary: where runs are skewed or fail, the test errs in up to 9 % of cases, not 5 %"
"""Simulated (tests/test_statistics.py); where both sides vary, it stays below 7 % (protocol 1.2)"""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Ours minus theirs, paired by seed or draw and by item; over several sizes the mean within each seed or draw."""

    ours: str
    """Label of a row; or "(row - row)", where differences are compared"""
    theirs: str
    cells: frozenset[str]
    """Ids of the cells of all rows"""
    metric: str
    subset: str
    sizes: tuple[int | None, ...]
    unit: str
    """ "seed" or "draw" """
    units: tuple[object, ...]
    """Those that all rows have"""
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
    unlike: tuple[str, ...] = ()
    """What the two sides were given differently"""
    awaited: tuple[str, ...] = ()
    """What is missing of the planned trials: until then a comparison of a headline list has no p and no answer"""
    adjusted_p: float | None = None
    """Holm's, within the plan's headline list; only these have a p to be quoted, once nothing is awaited"""
    looked: str = ""
    """Of a headline list's: when it was asked before all trials were there, so that only a later look answers it"""
    smallest_effect: float | None = None
    """Declared by the plan or the claim"""

    @property
    def estimate(self) -> float | None:
        """The mean difference."""
        return float(np.mean(self.values)) if self.values else None

    @property
    def gain(self) -> float | None:
        """The mean effect: above 0 ours scores better, also where lower scores are better."""
        return self.estimate if self.estimate is None or self.higher_is_better else -self.estimate

    @property
    def effect(self) -> Intervals | None:
        """The intervals of the gain."""
        return self.found if self.found is None or self.higher_is_better else -self.found

    @property
    def treated_unlike(self) -> str:
        """Why the difference answers nothing, whatever its interval; empty where both sides were treated alike."""
        return f"the rows were not treated alike: another {', another '.join(self.unlike)}" if self.unlike else ""

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


def mean_difference(contrasts: Sequence[Contrast], *, metric: str | None = None, subset: str = "all") -> Difference:
    """Return the paired difference of the rows, averaged over boards (sizes) within each seed or draw (protocol 1.2).

    Raises: ValueError for no board, boards without scores, or boards that differ in more than the size.
    """
    if not contrasts or contrasts[0][0].primary is None:
        raise ValueError("no trial of these rows has a score")
    if len({replace(board.key, size=None) for board, *_ in contrasts}) > 1:
        raise ValueError("only tables that differ in nothing but the size can be averaged")
    board, *rows = contrasts[0]
    chosen = metric or contrasts[0][0].primary
    parts = [_measured(contrast, chosen, SUBSETS[subset]) for contrast in contrasts]
    unlike_scorers = _mixed_scorers(contrasts, chosen, SUBSETS[subset])
    common = _common(parts)
    units = [] if unlike_scorers else common  # a difference of two scorers would be no difference of rows
    parts = [part.only(units) for part in parts]
    ours, theirs = _sides([row.label for row in rows])
    other = tuple(dict.fromkeys(name for _, *rows in contrasts for name in unlike(*rows)))
    awaited = _awaited(contrasts, common)
    varied = {row.deterministic for _, *rows in contrasts for row in rows}
    cautions = (
        *(f"the rows were given another {name}" for name in other),
        *awaited,
        *([UNVARIED] if len(varied) == 2 else []),
    )
    blank = Difference(
        ours=ours,
        theirs=theirs,
        cells=frozenset(row.cell.id for _, *rows in contrasts for row in rows),
        metric=chosen,
        subset=subset,
        sizes=tuple(board.key.size for board, *_ in contrasts),
        unit=next((row.unit for row in rows if not row.deterministic), rows[0].unit),
        units=tuple(units),
        values=tuple(float(value) for value in np.mean([part.values for part in parts], axis=0)) if units else (),
        higher_is_better=board.higher_is_better_in(chosen),
        found=None,
        spread=None,
        sign_flip=None,
        note=MIXED if unlike_scorers else "; ".join(cautions),
        unlike=other,
        awaited=awaited,
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


def _sides(labels: Sequence[str]) -> tuple[str, str]:
    """Return both sides of a contrast in the words of claims."""
    if len(labels) == 2:
        return labels[0], labels[1]
    return f"({labels[0]} - {labels[1]})", f"({labels[2]} - {labels[3]})"


def _measured(contrast: Contrast, metric: str, subset: str) -> Measured:
    board, *rows = contrast
    return combined(rows, [measured(row.counted, row.unit, metric, subset, board.items) for row in rows])


def combined(rows: Sequence[Summary], parts: Sequence[Measured]) -> Measured:
    """Return the rows' difference by unit, or their difference of differences; `parts` is what was measured of each.

    Units are those that all rows have; a row without randomness stands beside every unit of the others.
    """
    drawn = [part for row, part in zip(rows, parts, strict=True) if not row.deterministic]
    units = _common(drawn or parts)
    if drawn:
        parts = [part.repeated(units) if row.deterministic else part for row, part in zip(rows, parts, strict=True)]
    units = [unit for unit in units if all(unit in part.units for part in parts)]  # such a row may have no value
    parts, signs = [part.only(units) for part in parts], SIGNS[len(rows)]
    influences = [part.psi for part in parts if part.psi is not None]
    whole = len(influences) == len(parts)
    return Measured(
        units=tuple(units),
        values=np.tensordot(signs, [part.values for part in parts], 1),
        psi=np.tensordot(signs, influences, 1) if whole else None,
    )


def _common(parts: Sequence[Measured]) -> list[object]:
    return [unit for unit in parts[0].units if all(unit in part.units for part in parts)]


def _mixed_scorers(contrasts: Sequence[Contrast], metric: str, subset: str) -> bool:
    """Say whether the scores of the rows come from several scorers or versions of one."""
    parts = (SEEN, UNSEEN) if subset == GAP else (subset, ALL)
    return any(
        mixed(run.score(metric, part) for row in rows for run in row.counted)
        for _, *rows in contrasts
        for part in parts
    )


def unlike(*rows: Summary) -> list[str]:
    """Return the names of what was not given to both sides alike: to the rows that are counted + and to those counted -.

    So two rows must have been given the same. In a difference of differences what differs within one side must differ
    within the other in the same way: it is what the question is about. A row without training was given no training.
    Scorers are not among the names: values of different scorers are not even subtracted.
    """
    found, given = [], [_given(row) for row in rows]
    for key in dict.fromkeys(key for one in given for key in one):
        plus, minus = (
            Counter(one[key] for side, one in zip(SIGNS[len(rows)], given, strict=True) if side == sign and key in one)
            for sign in (1, -1)
        )
        if plus - minus and minus - plus:  # where a row has no such thing, the others of its side stand alone
            found.append(key[0])
    return list(dict.fromkeys(found))


def _given(row: Summary) -> dict[tuple[str, object], object]:
    """Return {(name, unit or None): what the row was given}; training pairs by unit, all else for the whole row."""
    skipped = {"scorer version"}
    if row.deterministic:
        skipped |= {"step cap", "search", "estimand", "training settings"}
    found: dict[tuple[str, object], object] = {
        (name, None): value for name, value in row.treatment.items() if name not in skipped
    }
    pairs: dict[object, set[str]] = {}
    for run in () if row.deterministic else row.counted:
        pairs.setdefault(unit_value(run, row.unit), set()).add(run.trial.train.sha256)
    return found | {("training pairs", unit): frozenset(hashes) for unit, hashes in pairs.items()}


def _awaited(contrasts: Sequence[Contrast], units: Sequence[object]) -> tuple[str, ...]:
    """Return what is missing until all planned trials of each row are compared; `units` are those compared now.

    A row without randomness is complete with one result. A place whose trial already stands at another one has its result.
    """
    lost, left_out = [], []
    for same in zip(*(rows for _, *rows in contrasts), strict=True):
        drawn = [row for row in same if not row.deterministic]
        runs = [run for row in drawn for run in row.runs]
        planned = sum(_planned(row) for row in drawn)
        if missing := planned - sum(run.status in ("ok", "diverged") for run in runs):
            causes = [run.cause or "" for run in runs if run.status == "failed"]
            lost.append(f"{same[0].label}: {missing} of {planned} places without a result{_retry(causes)}")
        had = {unit_value(run, row.unit) for row in drawn for run in row.counted}
        if compared := had - set(units):
            left_out.append(f"{same[0].label}: {len(had) - len(compared)} of {len(had)} {same[0].unit}s compared")
    return tuple(dict.fromkeys(lost or left_out))  # units are left out where places are lost: not said twice


def _planned(row: Summary) -> int:
    """Return the number of places of the final phase, also of those that the search has not reached yet."""
    final = row.cell.fixed.get("final", {})
    return max(row.counts.places, final.get("seeds", 0) * final.get("draws", 0))


def _retry(causes: Sequence[str]) -> str:
    """Return in words how many failed, and what to type."""
    kinds = {"oom" if cause.startswith("out of memory") else "error" for cause in causes}
    kind = f" --failed {kinds.pop()}" if len(kinds) == 1 else ""
    return f" ({len(causes)} failed: `featherbench retry PLAN{kind}`)" if causes else ""


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
    """Return the headline list of every plan that has one, p adjusted by Holm within it (protocol 1.2).

    A plan that was extended has the list of before: it stands once, with the plan that fixed it first.
    """
    found, fixed = [], set()
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
                if given_name(cell.task) == task
                and (size is None or cell.size == (None if size == "full" else int(size)))
            ]
            named = {*spec.headline.rows, spec.headline.reference}
            of_list = frozenset(cell.id for cell in cells if cell.row in named)
            if (content := (spec.headline.model_dump_json(), of_list)) not in fixed:
                fixed.add(content)
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
    p = {row: float(d.found.primary.p) for row, d in differences if d.found is not None and not d.awaited}
    # a comparison that waits, or cannot be made yet, still belongs to the family: the list was fixed before
    adjusted = headline({row: p.get(row, 1.0) for row in spec.rows})
    return Headline(
        plan=plan.id,
        name=plan.name,
        task=task,
        backbone=backbone,
        spec=spec,
        differences=tuple(replace(d, adjusted_p=adjusted[row] if row in p else None) for row, d in differences),
        missing=tuple(missing),
    )


def _row(board: Board, cells: Iterable[str]) -> Summary | None:
    return next((row for row in board.rows if row.cell.id in cells and row.counted), None)
