"""Boards -> lines of plain text for a terminal: what a sweep found, at its end."""

from __future__ import annotations

from collections.abc import Iterator

from featherbench.reports.boards import ALL, Board, Summary
from featherbench.reports.claims import answer
from featherbench.reports.report import Report
from featherbench.reports.statements import ClaimError, Statement
from featherbench.reports.statistics import Interval
from featherbench.reports.tables import board_title
from featherbench.reports.text import MISSING, estimate_text, number_text, visible

MOST_BOARDS = 4
"""That are printed; more are for the site"""


def leaderboard_lines(report: Report) -> Iterator[str]:
    """Yield one block of aligned lines a board: rows by their mean, with interval, rank interval and size."""
    for board in report.boards[:MOST_BOARDS]:
        if board.primary is not None:
            yield from _board(board, board.primary)
            yield ""
    if (more := len(report.boards) - MOST_BOARDS) > 0:
        yield f"{more} more boards: see the report."


def _board(board: Board, metric: str) -> Iterator[str]:
    yield f"{visible(board_title(board))}, {metric}, mean ± 95 % interval"
    lines = [("", metric, "rank", "stored", ""), *(_row(row, metric) for row in board.by_score())]
    widths = [max(len(line[i]) for line in lines) for i in range(4)]
    for name, score, rank, stored, note in lines:
        fields = (name.ljust(widths[0]), score.rjust(widths[1]), rank.rjust(widths[2]), stored.rjust(widths[3]), note)
        yield ("  " + "  ".join(fields)).rstrip()


def _row(row: Summary, metric: str) -> tuple[str, str, str, str, str]:
    rank = MISSING if row.rank is None else "-".join(map(str, dict.fromkeys(row.rank)))
    stored = row.costs["stored_parameters"].value
    return (
        visible(row.label).replace("\n", " "),
        estimate_text(row.scores[metric, ALL]),
        rank,
        MISSING if stored is None else number_text(stored),
        row.unranked,
    )


def headline_lines(report: Report) -> Iterator[str]:
    """Yield the answer to every comparison of the plans' headline lists; each is a look at a claim, and stored.

    One that waits for trials is no look: its difference is shown, and what it waits for.
    """
    for headline in report.headlines:
        for one in headline.differences:
            claimed = Statement(
                ours=one.ours,
                theirs=one.theirs,
                task=headline.task,
                subset=one.subset,
                sizes=one.sizes,
                backbone=headline.backbone,
            )
            if one.awaited:
                interval = one.effect.primary if one.effect else None
                shown = _effect(one.gain, interval, one.metric)
                yield f"  waits: {visible(str(claimed))}{shown}; {visible('; '.join(one.awaited))}"
                continue
            try:
                found = answer(report, str(claimed), headline.spec.smallest_effect)
            except ClaimError as error:
                yield f"  {visible(str(claimed))}: {error}"
                continue
            interval = found.found.interval if found.found else None
            yield f"  {found.answer}: {visible(str(claimed))}{_effect(found.estimate, interval, one.metric)}"
        yield from (f"  not there yet: {visible(text)}" for text in headline.missing)


def _effect(estimate: float | None, interval: Interval | None, metric: str) -> str:
    effect = "" if estimate is None else f"  {estimate:+.3g} {metric}"
    return effect if interval is None else f"{effect}, {interval.low:+.3g} to {interval.high:+.3g}"
