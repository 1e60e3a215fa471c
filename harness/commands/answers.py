"""Commands that answer questions from a store: how two rows compare, and whether a claim holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featherbench.harness.commands.terminal import (
    ENVIRONMENT,
    USAGE,
    Json,
    Out,
    StoreUrl,
    mended_errors,
    say,
    show_json,
    store_to_read,
)

if TYPE_CHECKING:
    from featherbench.reports.claims import Answered
    from featherbench.reports.compare import Compared
    from featherbench.reports.comparisons import Difference
    from featherbench.reports.interval import Estimate
    from featherbench.reports.preregistered import Registered
    from featherbench.reports.report import Report
    from featherbench.reports.statements import Look
    from featherbench.reports.statistics import Interval


def compare(
    ours: Annotated[str, typer.Argument(metavar="A", help="A row's name, a method, or a cell's id")],
    theirs: Annotated[str, typer.Argument(metavar="B", help="The row that A is compared with")],
    task: Annotated[str | None, typer.Option(help="Only this task, also with its part, e.g. places.test64")] = None,
    size: Annotated[str | None, typer.Option(help="Only this number of training pairs, or full")] = None,
    backbone: Annotated[str | None, typer.Option(help="Only this backbone")] = None,
    subset: Annotated[str, typer.Option(help="all, seen, unseen, or gap (unseen minus seen)")] = "all",
    metric: Annotated[str | None, typer.Option(help="Another score than the primary one")] = None,
    margin: Annotated[float | None, typer.Option(help="Test equivalence within ± this many points")] = None,
    store: StoreUrl = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Compare two rows, paired by seed or draw and by item, on every table that has both, across the plans of a store.

    Only comparisons of a plan's headline list have a p; all others have intervals. For a yes or no: `featherbench claim`.

    Examples:

      featherbench compare prefix full_ft --out runs/low-data

      featherbench compare prefix adapter --task webnlg --subset unseen --margin 1 --out runs/mine
    """
    with mended_errors():
        from featherbench.reports.compare import compare as compared
        from featherbench.reports.compare import compared_json

        found, single = compared(
            _collected(store, out),
            ours,
            theirs,
            task=task,
            size=_size(size),
            backbone=backbone,
            subset=subset,
            metric=metric,
            margin=margin,
        )
    if as_json:
        show_json({"comparisons": [compared_json(one) for one in found], "not_compared": single})
        return
    for one in found:
        for line in _comparison_lines(one):
            say(line)
    for words in single:
        say(f"not compared: {words}")


def claim(
    statement: Annotated[
        str | None, typer.Argument(metavar="CLAIM", help='E.g. "prefix > full_ft on webnlg.unseen at 0.1%"')
    ] = None,
    smallest_effect: Annotated[
        float | None,
        typer.Option(help="Smallest difference that matters, in points; default: the headline list's, else 1"),
    ] = None,
    registered: Annotated[
        bool, typer.Option("--list", help="The claims that the protocol registered; with a store, their answers")
    ] = False,
    store: StoreUrl = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Answer a claim: supported, equivalent, not resolved or contradicted; every look is stored.

    A claim reads ROW > ROW on TASK[.seen|.unseen|.gap] [at BUDGET%] [with SIZE|SIZE,SIZE|full] [of BACKBONE]; ">" means
    "scores better". Of two differences, (ROW - ROW) > (ROW - ROW), it means "gains more". A finished comparison of a
    plan's headline list is answered at .05 with Holm's p, any other at 5, 8, 12 and 16 seeds or draws with .0167 each.

    Examples:

      featherbench claim "prefix > full_ft on places with 50,100,200,500" --out runs/low-data

      featherbench claim "(prefix - prefix, default) > (full_ft - full_ft, default) on places with 200" --out runs/low-data

      featherbench claim --list
    """
    if registered == (statement is not None):
        say("error: give a claim, e.g. 'prefix > full_ft on webnlg.unseen at 0.1%', or --list.", error=True)
        raise typer.Exit(USAGE)
    with mended_errors():
        if registered:
            _show_registered(_collected(store, out) if store or out else None, as_json)
            return
        from featherbench.reports.claims import answer

        found = answer(_collected(store, out), str(statement), smallest_effect)
    if as_json:
        show_json(_answer_json(found))
        return
    for line in _answer_lines(found):
        say(line)


def _collected(store: str | None, out: Path | None) -> Report:
    from featherbench.reports.report import collect

    kept = store_to_read(store, out)
    try:
        return collect(kept)
    except ValueError as error:  # nothing finished yet
        say(f"error: {error}", error=True)
        raise typer.Exit(ENVIRONMENT) from None


def _size(given: str | None) -> int | None | str:
    if given is None:
        return "any"
    if given == "full":
        return None
    if given.isdecimal():
        return int(given)
    from featherbench.reports.statements import ClaimError

    raise ClaimError(f"--size {given!r} is no number of training pairs: give e.g. 100, or full.")


# --- for people -------------------------------------------------------------------------------------------------------


def _comparison_lines(found: Compared) -> Iterator[str]:
    one = found.difference
    direction = "" if one.higher_is_better else ", lower is better"
    part = "" if one.subset == "all" else f", {one.subset}"
    yield f"{found.where}: {one.metric}{part}{direction}"
    for size, (ours, theirs) in zip(one.sizes, found.means, strict=True):
        at = "" if len(found.means) == 1 else f"with {'full' if size is None else size}: "
        yield f"  {at}{one.ours} {_mean(ours)}; {one.theirs} {_mean(theirs)}"
    if one.estimate is None:
        yield f"  no difference: {one.note}"
        return
    yield f"  {one.ours} - {one.theirs}: {one.estimate:+.3g} over {len(one.units)} common {one.unit}s"
    if one.found is None:
        yield f"  no interval: {one.note}"
        return
    yield from _intervals(one)
    if not found.listed:
        yield "  no p: not in a headline list"
    elif one.looked:
        yield f"  no p: a headline comparison {one.looked}, so a further look answers it: featherbench claim"
    elif one.adjusted_p is None:
        yield f"  no p and no test yet, a headline comparison waits: {'; '.join(one.awaited)}"
    else:
        yield f"  p {_p(one.adjusted_p)}, by Holm within the plan's headline list"
    if one.sign_flip is not None:
        yield f"  check: exact sign-flip p {_p(one.sign_flip)} over {len(one.units)} {one.unit}s"
    if (tested := one.equivalence) is not None:
        holds = "shown to lie" if tested.holds else "not shown to lie"
        yield f"  {holds} within ±{tested.margin:g}: p {_p(float(tested.p))} (two one-sided tests)"
    if one.detectable is not None and one.floor is not None:
        limit = f"; below {one.floor:.2g} no number of {one.unit}s finds it on this test set" if one.floor else ""
        yield f"  smallest difference found in 80 % of repeats: {one.detectable:.2g}{limit}"
    yield f"  both had the same {', '.join(found.alike)}"
    if found.other:
        yield f"  CAUTION, not treated alike: another {', another '.join(found.other)}"
    elif one.note and not found.listed:  # what a listed one waits for is said above
        yield f"  CAUTION: {one.note}"


def _intervals(one: Difference) -> Iterator[str]:
    assert one.found is not None
    if one.found.new_inputs is not None:
        yield f"  {_interval(one.found.new_inputs)} for new inputs ({one.found.new_inputs.items} items)"
    else:
        yield "  no interval for new inputs: no item statistics of this score are stored"
    few = "; fewer than 5 are few" if one.found.test_set.few else ""
    yield f"  {_interval(one.found.test_set)} on this test set ({len(one.units)} {one.unit}s{few})"


def _answer_lines(found: Answered) -> Iterator[str]:
    one = found.difference
    yield f"{found.answer}: {found.statement}"
    if found.reason:
        yield f"  because {found.reason}"
    if found.estimate is not None:
        turned = "" if one.higher_is_better else " (lower is better: turned, so that above 0 the first is better)"
        few = " (fewer than 5 are few)" if one.found and one.found.test_set.few else ""
        yield f"  effect {found.estimate:+.3g} {one.metric} over {len(one.units)} {one.unit}s{few}{turned}"
    if one.effect is not None and found.found is not None:
        level = 1 - found.rule.alpha
        if one.effect.new_inputs is not None:
            yield f"  {_interval(one.effect.new_inputs.at(level))} for new inputs ({one.effect.new_inputs.items} items)"
        else:
            yield "  no interval for new inputs: no item statistics of this score are stored"
        yield f"  {_interval(one.effect.test_set.at(level))} on this test set"
        yield f"  p {_p(found.found.p)} at α = {found.rule.alpha:g}: {found.rule.words}"
        tested = found.found.equivalence
        yield f"  within ±{tested.margin:g}: p {_p(float(tested.p))}"
    yield f"  smallest effect {found.smallest_effect:g} ({found.declared})"
    yield f"  {found.settle}"
    if one.note and one.note != found.reason:
        yield f"  CAUTION: {one.note}"
    for look in found.earlier:
        yield f"  earlier look: {_look(look)}"


def _show_registered(report: Report | None, as_json: bool) -> None:
    from featherbench.reports.claims import registered
    from featherbench.reports.preregistered import REGISTERED

    found: list[tuple[Registered, tuple[Answered | str, ...]]] = (
        [(one, ()) for one in REGISTERED] if report is None else registered(report)
    )
    if as_json:
        show_json(
            [
                {**asdict(one), "answers": [a if isinstance(a, str) else _answer_json(a) for a in answers]}
                for one, answers in found
            ]
        )
        return
    for one, answers in found:
        say(f"{one.id}  {one.words}")
        say(f"    unit: {one.unit}; test: {one.test}; smallest effect {one.smallest_effect:g}; plan: {one.plan}")
        for position, text in enumerate(one.statements):
            say(f'    featherbench claim "{text}"' + (f" -> {one.expected}?" if not answers else ""))
            for given in answers[position : position + 1]:
                told = f"missing: {given}" if isinstance(given, str) else f"{given.answer} (sought: {one.expected})"
                say(f"      {told}")
                if not isinstance(given, str) and given.reason:
                    say(f"      because {given.reason}")


def _mean(found: Estimate) -> str:
    if found.mean is None:
        return f"none ({found.note})"
    half = "" if found.half_width is None else f" ± {found.half_width:.2g}"
    return f"{found.mean:.4g}{half}"


def _interval(found: Interval) -> str:
    return f"{100 * found.level:.4g} % interval {found.low:+.3g} to {found.high:+.3g}"


def _p(value: float) -> str:
    return "< 0.0001" if value < 0.0001 else f"{value:.2g}"


def _look(look: Look) -> str:
    bounds = "" if look["low"] is None else f", {look['low']:+.3g} to {look['high']:+.3g}"
    effect = "" if look["estimate"] is None else f", effect {look['estimate']:+.3g}{bounds}"
    rule = f"α {look['alpha']:g}, smallest effect {look['smallest_effect']:g}"
    return f"{look['at']} {look['claim']}: {look['answer']} at {look['units']} units{effect} ({rule})"


# --- for programs -----------------------------------------------------------------------------------------------------


def _answer_json(found: Answered) -> dict[str, Any]:
    from featherbench.reports.compare import difference_json, interval_json

    level = 1 - found.rule.alpha
    both = found.difference.effect
    return {
        "claim": str(found.statement),
        "answer": found.answer,
        "reason": found.reason,
        "effect": found.estimate,
        "new_inputs": interval_json(both.new_inputs.at(level)) if both and both.new_inputs else None,
        "test_set": interval_json(both.test_set.at(level)) if both else None,
        "p": found.found.p if found.found else None,
        "alpha": found.rule.alpha,
        "rule": found.rule.words,
        "equivalence_p": float(found.found.equivalence.p) if found.found else None,
        "smallest_effect": found.smallest_effect,
        "declared": found.declared,
        "settle": found.settle,
        "difference": difference_json(found.difference),
        "earlier_looks": [dict(look) for look in found.earlier],
    }
