"""A claim -> supported, equivalent, not resolved or contradicted, with every look at it on record (protocol 1.2, 4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from featherbench.harness.store import Store
from featherbench.reports import read
from featherbench.reports.blocks import Entry, Table
from featherbench.reports.compare import same_comparison
from featherbench.reports.comparisons import Difference, mean_difference
from featherbench.reports.preregistered import REGISTERED, Registered
from featherbench.reports.report import Report
from featherbench.reports.statements import ClaimError, Look, Statement, earlier_units, parse, resolve
from featherbench.reports.statistics import (
    ALPHA,
    LOOK_ALPHA,
    LOOKS,
    POWER,
    Answer,
    Claim,
    claim,
    item_floor,
)

SMALLEST_EFFECT = 1.0
"""Points of the primary score, where nobody declared another smallest effect of interest"""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How surely a claim must hold, and whether it may be answered now."""

    alpha: float
    words: str
    adjusted_p: float | None = None
    """Holm's, within the plan's headline list"""
    waits: str = ""
    """Why there is no answer at this number of units"""


@dataclass(frozen=True, kw_only=True)
class Answered:
    """One claim with its answer. Effects are turned so that above 0 ours scores better."""

    statement: Statement
    answer: Answer
    reason: str
    """Why it is not resolved where the numbers alone do not say so"""
    difference: Difference
    """Ours - theirs in the score's own direction, with the effect"""
    found: Claim | None
    rule: Rule
    smallest_effect: float
    declared: str
    """Who declared the smallest effect"""
    settle: str
    """What more would settle it"""
    earlier: tuple[Look, ...]
    """Looks at this claim or its opposite that were on record before, oldest first"""

    @property
    def estimate(self) -> float | None:
        """The effect: above 0 ours scores better."""
        return self.difference.gain

    @property
    def look(self) -> dict[str, Any]:
        """This look, as it is stored."""
        interval = None if self.found is None else self.found.interval
        return {
            "claim": str(self.statement),
            "cells": sorted(self.difference.cells),
            "units": len(self.difference.units),
            "alpha": self.rule.alpha,
            "smallest_effect": self.smallest_effect,
            "answer": self.answer,
            "estimate": self.estimate,
            "low": None if interval is None else float(interval.low),
            "high": None if interval is None else float(interval.high),
            "p": None if self.found is None else self.found.p,
        }


def answer(report: Report, text: str, smallest_effect: float | None = None) -> Answered:
    """Answer a claim and store the look.

    Raises: ClaimError if the claim cannot be read, or speaks of what the store does not have.
    """
    if smallest_effect is not None and not 0 < smallest_effect < math.inf:
        raise ClaimError(f"the smallest effect must be above 0, not {smallest_effect:g}: give points of the score.")
    statement, contrasts = resolve(parse(text), report.boards)
    difference = mean_difference(contrasts, subset=statement.subset)
    earlier = tuple(look for look in read.claim_looks(report.store) if look["claim"] in statement.wordings)
    effect, declared = _smallest_effect(report, statement, difference, smallest_effect)
    rule = _rule(report, difference, earlier)
    found = None
    if difference.effect is not None:
        found = claim(difference.effect.primary, effect, adjusted_p=rule.adjusted_p, alpha=rule.alpha)
    reason = difference.treated_unlike
    if found is None:
        reason = difference.note or "there is no interval"
    result = Answered(
        statement=statement,
        answer="not resolved" if found is None or reason or rule.waits else found.answer,
        reason=reason or rule.waits,
        difference=difference,
        found=found,
        rule=rule,
        smallest_effect=effect,
        declared=declared,
        settle=_settle(difference, effect, rule),
        earlier=earlier,
    )
    _store(report.store, result.look, earlier)
    return result


def registered(report: Report) -> list[tuple[Registered, tuple[Answered | str, ...]]]:
    """Return the registered claims with the present answer of each statement, or what is missing; looks are stored."""
    found = []
    for one in REGISTERED:
        answers: list[Answered | str] = []
        for text in one.statements:
            try:
                answers.append(answer(report, text, one.smallest_effect))
            except ClaimError as error:
                answers.append(str(error))
        found.append((one, tuple(answers)))
    return found


def _smallest_effect(
    report: Report, statement: Statement, difference: Difference, given: float | None
) -> tuple[float, str]:
    """Return the smallest effect of interest and who declared it."""
    if given is not None:
        return given, "given"
    for one in report.headlines:
        if any(same_comparison(difference, d) for d in one.differences):
            return one.spec.smallest_effect, f"declared by the plan {one.name}"
    for claimed in REGISTERED:
        if any(str(statement) in parse(text).wordings for text in claimed.statements):
            return claimed.smallest_effect, f"registered for {claimed.id}"
    return SMALLEST_EFFECT, "the default"


def _rule(report: Report, difference: Difference, earlier: Sequence[Look]) -> Rule:
    """Return Holm's rule for a finished comparison of a headline list; else that of the looks (1.2)."""
    units, unit = len(difference.units), difference.unit
    before = earlier_units(earlier, units)
    listed = [(one, d) for one in report.headlines for d in one.differences if same_comparison(difference, d)]
    looked = next((d.looked for _, d in listed if d.looked), "")
    if before and not looked:
        looked = f"looked at before with {before[0]} {unit}s"
    if listed and not difference.awaited and not looked:
        one, d = listed[0]
        words = f"Holm over the {len(one.spec.rows)} comparisons of the plan {one.name}'s headline list"
        return Rule(alpha=ALPHA, words=words, adjusted_p=d.adjusted_p)
    why = "in no headline list"
    if listed:
        why = looked or "the headline list's trials are not all there"
    words = f"one of the looks at {', '.join(map(str, LOOKS))} {unit}s, {LOOK_ALPHA} each ({why})"
    following = next((look for look in LOOKS if look > units), None)
    if units in LOOKS:
        waits = ""
    elif following is not None:
        waits = f"{units} {unit}s are no look: {following - units} more until the look at {following}"
    else:
        waits = (
            f"{units} {unit}s are beyond the last look at {LOOKS[-1]}: only a headline list, fixed before, can answer"
        )
    return Rule(alpha=LOOK_ALPHA, words=words, waits=waits)


def _settle(difference: Difference, effect: float, rule: Rule) -> str:
    """Return what more would find a true difference as large as the smallest effect (1.6)."""
    spread, unit, units = difference.spread, difference.unit, len(difference.units)
    if spread is None:
        return f"run more {unit}s of these rows: {units} are common to them"
    floor = item_floor(spread, alpha=rule.alpha)
    if floor >= effect:
        return (
            f"no number of {unit}s finds a difference of {effect:g} on this test set: with its {spread.items} items, "
            f"differences below {floor:.2g} stay undetectable; more test items would help"
        )
    needed = difference.needed(effect, rule.alpha)
    often = f"a difference of {effect:g} in {POWER:.0%} of repeats".replace("%", " %")
    if needed is None:
        return f"more than 1,000 {unit}s would be needed to find {often}: too many to be worth it"
    if needed <= units:
        return f"these {units} {unit}s would find {often}"
    return f"about {needed - units} more {unit}s, {needed} in all, would find {often}"


def _store(store: Store, look: Look, earlier: Sequence[Look]) -> None:
    """Put the look on record, unless the last one of the same claim, cells and units says the same."""
    same = [one for one in earlier if all(one[name] == look[name] for name in ("claim", "cells", "units"))]
    if not same or not all(_equal(look[name], same[-1][name]) for name in look):
        store.add_claim_look(look)


def _equal(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    return one == other


def looks_table(store: Store) -> Table | None:
    """Return all looks at claims, oldest first; None if there were none."""
    looks = read.claim_looks(store)
    if not looks:
        return None
    header = ("claim", "answer", "effect", "interval", "p", "α", "smallest effect", "units", "at")
    return Table(
        name="looks-at-claims",
        title="Looks at claims",
        header=tuple(Entry(text=name) for name in header),
        rows=tuple(_look_row(look) for look in looks),
    )


def _look_row(look: Look) -> tuple[Entry, ...]:
    level = f"{100 * (1 - look['alpha']):.4g} %"
    bounds = look["low"] is not None and look["high"] is not None
    return (
        Entry(text=look["claim"]),
        Entry(text=look["answer"]),
        _number(look["estimate"], "above 0: the first row scores better"),
        Entry(text=f"{look['low']:.2f} to {look['high']:.2f}" if bounds else "–", note=level if bounds else ""),
        _number(look["p"]),
        _number(look["alpha"]),
        _number(look["smallest_effect"]),
        Entry(text=str(look["units"]), value=look["units"]),
        Entry(text=look["at"]),
    )


def _number(value: float | None, note: str = "") -> Entry:
    return Entry(text="–") if value is None else Entry(text=f"{value:.3g}", value=value, note=note)
