"""A claim in words, such as "prefix > full_ft on webnlg.unseen at 0.1%" -> the rows of the boards that it speaks of."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import permutations
from typing import Any

from featherbench.harness.spec import nearest
from featherbench.reports.boards import Board, Key, Summary
from featherbench.reports.comparisons import SIGNS, SUBSETS, Contrast, Difference, Headline
from featherbench.reports.statistics import ALPHA, LOOKS
from featherbench.tasks.table import given_name

GRAMMAR = "ROW (>|<) ROW on TASK[.seen|.unseen|.gap] [at BUDGET%] [with SIZE[,SIZE...]|full] [of BACKBONE]"
DIFFERENCES = "(ROW - ROW) (>|<) (ROW - ROW)"
"""What may stand before "on", too: a difference of differences"""
_CLAIM = re.compile(r"(?P<ours>.+?)\s+(?P<sign>[<>])\s+(?P<theirs>.+?)\s+on\s+(?P<task>\S+)(?P<rest>(?:\s.*)?)")
_REST = re.compile(
    r"(?:\s+at\s+(?P<budget>[0-9.]+)\s*%)?"
    r"(?:\s+with\s+(?:sizes?\s+)?(?P<sizes>(?:[0-9]+|full)(?:\s*,\s*(?:[0-9]+|full))*)(?:\s+pairs)?)?"
    r"(?:\s+of\s+(?P<backbone>\S+))?\s*"
)


Look = Mapping[str, Any]
"""A row of the table `claims`"""


class ClaimError(ValueError):
    """A claim or comparison that cannot be read, or that speaks of what the store does not have."""


@dataclass(frozen=True, kw_only=True)
class Statement:
    """ "Ours scores better than theirs": better, so that it means the same for a score of which lower is better."""

    ours: str
    """Name of a row, of a method or of a cell; or "(name - name)": what the first gains over the second"""
    theirs: str
    """The same; a difference beside a difference"""
    task: str
    """Also with the evaluated part, e.g. places.test64"""
    subset: str = "all"
    """One of SUBSETS"""
    budget: float | None = None
    """Stored parameters as a share of the backbone"""
    sizes: tuple[int | None, ...] | None = None
    """Training pairs; None: the whole training split. Without any: the store's only size"""
    backbone: str | None = None
    """Default: the store's only one"""

    @property
    def rows(self) -> tuple[str, ...]:
        """The two or four names, in the order of the words."""
        return _names(self.ours) + _names(self.theirs)

    @property
    def reversed(self) -> Statement:
        """The claim that theirs scores better."""
        return replace(self, ours=self.theirs, theirs=self.ours)

    @property
    def wordings(self) -> frozenset[str]:
        """This claim and its opposite in all their words: (a - b) > (c - d) is (a - c) > (b - d), too."""
        signed = list(zip(SIGNS[len(self.rows)], self.rows, strict=True))
        plus, minus = ([name for sign, name in signed if sign == side] for side in (1, -1))
        found = {self} | {
            replace(self, ours=f"({p} - {m})", theirs=f"({n} - {q})")
            for p, *others in permutations(plus)
            for m, *other in permutations(minus)
            for q, n in zip(others, other, strict=True)
        }
        return frozenset(str(one) for claim in found for one in (claim, claim.reversed))

    def __str__(self) -> str:
        """Return the claim in its canonical words."""
        part = "" if self.subset == "all" else f".{self.subset}"
        at = "" if self.budget is None else f" at {100 * self.budget:g}%"
        sizes = "" if self.sizes is None else f" with {','.join(map(size_word, self.sizes))}"
        of = "" if self.backbone is None else f" of {self.backbone}"
        return f"{self.ours} > {self.theirs} on {self.task}{part}{at}{sizes}{of}"


def size_word(size: int | None) -> str:
    """Return a size as claims and plans write it."""
    return "full" if size is None else str(size)


def table_words(key: Key, others: Iterable[Key] = ()) -> str:
    """Return a board in the words of claims, e.g. "places.test64 with 100 of feather-3m".

    What tells it apart from `others` of the same words, such as a version, follows in brackets.
    """
    words = f"{key.task}.{key.evaluated} with {size_word(key.size)} of {key.backbone}"
    twins = [other for other in others if other != key and table_words(other) == words]
    names = [name.name for name in fields(Key) if any(getattr(t, name.name) != getattr(key, name.name) for t in twins)]
    told = ", ".join(f"{name.replace('_', ' ')} {str(getattr(key, name))[:12]}" for name in names)
    return f"{words} ({told})" if told else words


def parse(text: str) -> Statement:
    """Return the statement of a claim in words; "A < B" is "B > A".

    Raises: ClaimError that says what is allowed.
    """
    allowed = f"Write {GRAMMAR}, e.g. 'prefix > full_ft on webnlg.unseen at 0.1%', or {DIFFERENCES}."
    found = _CLAIM.fullmatch(text.strip())
    if found is None:
        lacking = next(
            (what for word, what in ((r"[<>]", "'>' or '<'"), (r"\son\s", "'on TASK'")) if not re.search(word, text)),
            "a row on each side",
        )
        raise ClaimError(f"the claim {text!r} has no {lacking}. {allowed}")
    rest = _REST.fullmatch(found["rest"])
    if rest is None:
        raise ClaimError(f"{found['rest'].strip()!r} cannot be read in the claim {text!r}. {allowed}")
    task, _, last = found["task"].rpartition(".")
    subset = last if task and last in SUBSETS else "all"
    statement = Statement(
        ours=_side(found["ours"]),
        theirs=_side(found["theirs"]),
        task=task if task and last in SUBSETS else found["task"],
        subset=subset,
        budget=_budget(rest["budget"]),
        sizes=_sizes(rest["sizes"]),
        backbone=rest["backbone"],
    )
    names, twice = statement.rows, [name for name in statement.rows if statement.rows.count(name) > 1]
    if len(names) not in SIGNS:
        raise ClaimError(f"the claim {text!r} compares a difference with a row. Write ROW > ROW, or {DIFFERENCES}.")
    if twice:
        raise ClaimError(f"the claim {text!r} compares {twice[0]!r} with itself: name each row once.")
    return statement if found["sign"] == ">" else statement.reversed


def _names(side: str) -> tuple[str, ...]:
    """Return the name of a side, or the two of "(name - name)".

    Raises: ClaimError for brackets that do not hold one difference.
    """
    if (side.startswith("(") or side.endswith(")")) and side.count("(") != side.count(")"):
        raise ClaimError(f"{side!r} has a bracket without its other one. Write {DIFFERENCES}.")
    names = side[1:-1].split(" - ") if side.startswith("(") and side.endswith(")") else []
    if len(names) > 2:
        raise ClaimError(
            f"{side!r} can be read in several ways: write one ' - ', and a row with ' - ' in its name by its cell's id."
        )
    return tuple(name.strip() for name in names) if len(names) == 2 else (side,)


def _side(text: str) -> str:
    """Return a side in its canonical words."""
    names = _names(text)
    return text if len(names) == 1 else f"({names[0]} - {names[1]})"


def _budget(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        share = float(text) / 100
    except ValueError:
        share = math.nan
    if not 0 < share <= 1:
        raise ClaimError(f"the budget {text}% is no share of the backbone: give e.g. 0.1%, at most 100%.")
    return share


def _sizes(text: str | None) -> tuple[int | None, ...] | None:
    if text is None:
        return None
    sizes = [None if word.strip() == "full" else int(word) for word in text.split(",")]
    if len(set(sizes)) < len(sizes):
        raise ClaimError(f"the sizes {text} name one twice: give each once.")
    return tuple(sorted(sizes, key=lambda size: math.inf if size is None else size))


# --- earlier looks ----------------------------------------------------------------------------------------------------


def earlier_units(looks: Iterable[Look], units: int) -> list[int]:
    """Return at how many units looks could have answered before, so that they took their part of the error (1.2)."""
    return sorted({look["units"] for look in looks if look["units"] != units and _could_answer(look)})


def _could_answer(look: Look) -> bool:
    return look["units"] in LOOKS or look["alpha"] == ALPHA


def withheld(headline: Headline, looks: Sequence[Look]) -> Headline:
    """Return the list without Holm's p where a comparison was asked before all of its trials were there."""
    return replace(headline, differences=tuple(_withheld(one, looks) for one in headline.differences))


def _withheld(one: Difference, looks: Sequence[Look]) -> Difference:
    same = [look for look in looks if frozenset(look["cells"]) == one.cells and _subset(look) == one.subset]
    before = earlier_units(same, len(one.units))
    if one.awaited or not before:
        return one
    return replace(one, adjusted_p=None, looked=f"looked at before with {before[0]} {one.unit}s")


def _subset(look: Look) -> str:
    try:
        return parse(look["claim"]).subset
    except ClaimError:  # words of another version
        return ""


# --- what the store has -----------------------------------------------------------------------------------------------


_NAMES: tuple[Callable[[Summary], tuple[str, ...]], ...] = (
    lambda row: (row.label,),
    lambda row: (row.cell.row, row.cell.id),
    lambda row: (row.cell.method,),
)
"""What a name may stand for, the nearest first"""


def named(board: Board, name: str, budget: float | None = None) -> list[Summary]:
    """Return the rows with results that `name` may stand for: by label, row or cell; else by method.

    With a budget those solved for it; else those without any, such as full fine-tuning.
    """
    rows = [row for row in board.rows if row.counted]
    for names in _NAMES:
        if found := [row for row in rows if name in names(row) and (budget is None or _sized(row, budget))]:
            return found
    if budget is None:
        return []
    return [row for row in rows if row.cell.budget is None and name in (row.label, row.cell.row, row.cell.id)]


def _sized(row: Summary, budget: float) -> bool:
    return row.cell.budget is not None and math.isclose(row.cell.budget, budget, rel_tol=1e-6)


def matching(
    boards: Sequence[Board], *, task: str | None, sizes: Sequence[int | None] | None, backbone: str | None
) -> list[Board]:
    """Return the boards with scores of a task, of some sizes and of a backbone; None: of any.

    Raises: ClaimError that names what the store has.
    """
    kept = [board for board in boards if board.primary is not None]
    if task is not None:
        kept = _of("task", task, kept, _task_names)
    if backbone is not None:
        kept = _of("backbone", backbone, kept, lambda key: (key.backbone,))
    for size in sizes or ():
        _of("size", size_word(size), kept, lambda key: (size_word(key.size),))
    return [board for board in kept if sizes is None or board.key.size in sizes]


def _task_names(key: Key) -> tuple[str, ...]:
    """Return what a board's task may be called: also as a plan named it, which several contents may share."""
    names = dict.fromkeys((given_name(key.task), key.task))
    return (*names, *(f"{name}.{key.evaluated}" for name in names))


def _of(kind: str, name: str, boards: Sequence[Board], names: Callable[[Key], Iterable[str]]) -> list[Board]:
    if found := [board for board in boards if name in names(board.key)]:
        return found
    known = list(dict.fromkeys(one for board in boards for one in names(board.key)))
    raise ClaimError(f"the store has no scores of the {kind} {name!r}.{nearest(name, known)} It has: {_list(known)}.")


def _list(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def one_row(board: Board, name: str, budget: float | None = None) -> Summary | None:
    """Return the row that `name` stands for; None if the board has none.

    Raises: ClaimError if it stands for several.
    """
    found = named(board, name, budget)
    if len(found) > 1:
        labels = _list(repr(row.label) for row in found)
        raise ClaimError(f"{name!r} stands for several rows on {table_words(board.key)}: give one of {labels}.")
    return found[0] if found else None


def together(
    boards: Sequence[Board], names: Sequence[str], budget: float | None = None
) -> tuple[list[Contrast], list[str]]:
    """Return the boards that have all the rows, and in words those that have only some of them.

    Raises: ClaimError if no board has all, or if two names stand for one row.
    """
    found: list[Contrast] = []
    single = []
    keys = [board.key for board in boards]
    for board in boards:
        here = {name: one_row(board, name, budget) for name in names}
        rows = [row for row in here.values() if row is not None]
        if len({row.cell.id for row in rows}) < len(rows):
            raise ClaimError(f"{_list(map(repr, names))} name one row twice on {table_words(board.key)}.")
        if len(rows) == len(names):
            found.append((board, *rows))
        elif rows:
            single.append(f"{table_words(board.key, keys)} has only {_list(name for name in names if here[name])}")
    if found:
        return found, single
    known = list(dict.fromkeys(row.cell.row for board in boards for row in board.rows if row.counted))
    for name in names:
        if not any(named(board, name, budget) for board in boards):
            at = "" if budget is None else f" at {100 * budget:g}%"
            raise ClaimError(f"no row is named {name!r}{at} there.{nearest(name, known)} Rows: {_list(known)}.")
    raise ClaimError(f"no table has all of {_list(map(repr, names))}: {'; '.join(single)}.")


def resolve(statement: Statement, boards: Sequence[Board]) -> tuple[Statement, list[Contrast]]:
    """Return the statement with its size and backbone filled in, and its rows on one board a size.

    Raises: ClaimError if it speaks of what the store does not have, or of several things.
    """
    kept = matching(boards, task=statement.task, sizes=statement.sizes, backbone=statement.backbone)
    contrasts, single = together(kept, statement.rows, statement.budget)
    if statement.budget is not None and all(r.cell.budget is None for _, *rows in contrasts for r in rows):
        raise ClaimError(
            f"none of {_list(map(repr, statement.rows))} was sized for {100 * statement.budget:g}%: leave out 'at', or "
            "run a plan with `budget`."
        )
    keys = [board.key for board, *_ in contrasts]
    backbones = list(dict.fromkeys(key.backbone for key in keys))
    if len(backbones) > 1:
        raise ClaimError(f"several backbones have these rows: add 'of BACKBONE'. Backbones: {_list(backbones)}.")
    if len({replace(key, size=None) for key in keys}) > 1 or len({key.size for key in keys}) < len(keys):
        tables = _list(table_words(key, keys) for key in keys)
        raise ClaimError(
            f"several tables have these rows; name the part, e.g. {keys[0].task}.{keys[0].evaluated}: {tables}."
        )
    sizes = tuple(sorted((key.size for key in keys), key=lambda size: math.inf if size is None else size))
    if statement.sizes is None and len(sizes) > 1:
        words = _list(map(size_word, sizes))
        raise ClaimError(
            f"several sizes have these rows: add 'with SIZE', or 'with {words.replace(' ', '')}' for their mean."
        )
    if statement.sizes is not None and sizes != statement.sizes:
        raise ClaimError(f"a size lacks a row: {'; '.join(single)}. Run it, or name other sizes.")
    contrasts.sort(key=lambda one: math.inf if one[0].key.size is None else one[0].key.size)
    return replace(statement, sizes=sizes, backbone=backbones[0]), contrasts
