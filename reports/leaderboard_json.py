"""Boards -> leaderboard.json; docs/reference has its schema and a page that tells it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from featherbench.reports.boards import Board, Summary
from featherbench.reports.read import Run
from featherbench.reports.report import Report
from featherbench.reports.spending import Spend, spend_by_cell
from featherbench.reports.tables import board_path, trial_path

SCHEMA = 1
"""Raised whenever a key changes its meaning or goes; new keys may come at any time"""


def leaderboard_json(report: Report) -> str:
    """Return all boards as JSON text with every digit; missing values are null."""
    spend = spend_by_cell(report.contents)
    content = {
        "schema": SCHEMA,
        "plans": [{"id": plan.id, "name": plan.name, "created": plan.created} for plan in report.contents.plans],
        "boards": [_board(board, spend) for board in report.boards],
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _board(board: Board, spend: Spend) -> dict[str, Any]:
    return {
        **asdict(board.key),
        "page": board_path(board),
        "primary": board.primary,
        "metrics": list(board.metrics),
        "cautions": [caution.text for caution in board.cautions],
        "rows": [_row(row, spend) for row in board.rows],
    }


def _row(row: Summary, spend: Spend) -> dict[str, Any]:
    trials, seconds = spend.get(row.cell.id, (0, None))
    return {
        "row": row.label,
        "cell": row.cell.id,
        "method": row.cell.method,
        "budget": row.cell.budget,
        "unit": row.unit,
        "deterministic": row.deterministic,
        "rank": list(row.rank) if row.rank else None,
        "unranked": row.unranked,
        "notes": list(row.notes),
        "counts": asdict(row.counts),
        "scores": [{"metric": m, "subset": s, **asdict(value)} for (m, s), value in row.scores.items()],
        "gaps": [{"metric": metric, **asdict(value)} for metric, value in row.gaps.items()],
        "costs": {name: asdict(value) for name, value in row.costs.items()},
        "spend": {"trials": trials, "seconds": seconds},
        "trials": [_trial(run) for run in row.runs],
    }


def _trial(run: Run) -> dict[str, Any]:
    return {
        "id": run.trial_id,
        "page": trial_path(run.trial_id),
        "place": run.number,
        "seed": run.trial.seed,
        "draw": run.trial.train.draw,
        "status": run.status,
        "counted": run.counts,
        "scores": [{"metric": s.metric, "subset": s.subset, "value": s.value} for s in run.scores],
    }
