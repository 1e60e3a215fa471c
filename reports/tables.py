"""Records -> fields of tables, and the names and addresses that pages share."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict

from featherbench.harness.records import Trial, content_hash
from featherbench.reports.blocks import Entry
from featherbench.reports.boards import Board, Quantity, Summary
from featherbench.reports.interval import Estimate
from featherbench.reports.read import Run
from featherbench.reports.text import (
    MISSING,
    bytes_text,
    estimate_text,
    flops_text,
    half_width_text,
    number_text,
    percent_text,
    seconds_text,
)

# --- names ----------------------------------------------------------------------------------------------------------


def size_text(size: int | None, unit: str) -> str:
    """Return e.g. "100 training pairs"."""
    if size is None:
        return "whole training split"
    return f"{size:,} training pairs" if unit == "pair" else f"{size:,} training inputs with all their references"


def board_title(board: Board) -> str:
    """Return e.g. "smollm2-135m · places.test · whole training split"."""
    key = board.key
    return f"{key.backbone} · {key.task}.{key.evaluated} · {size_text(key.size, key.size_unit)}"


def board_origin(board: Board) -> str:
    """Return the versions and hashes that tell boards of one title apart."""
    key = board.key
    return (
        f"task version {key.task_version}, protocol {key.protocol}, backbone {key.backbone_sha256[:12]}, "
        f"index list {key.evaluated_sha256[:12]}"
    )


def board_name(board: Board) -> str:
    """Return a name for files, the same in every report of the same cells: readable, and a hash of the whole key."""
    key = board.key
    readable = re.sub(r"[^a-z0-9]+", "-", f"{key.task}-{key.evaluated}-{key.size or 'full'}-{key.backbone}".lower())
    return f"{readable[:60].strip('-')}-{content_hash(asdict(key), 8)}"


def board_path(board: Board) -> str:
    """Return the address of the board's page within the site."""
    return f"boards/{board_name(board)}.html"


def trial_path(trial_id: str) -> str:
    """Return the address of a trial's page within the site; ids are hex digits, whatever a store holds."""
    return f"trials/{trial_id}.html" if re.fullmatch(r"[0-9a-f]{6,64}", trial_id) else ""


def configuration_text(trial: Trial) -> str:
    """Return what a search chooses, readable and rounded; trials.csv has the exact values."""
    shared = f"learning rate {trial.learning_rate:.4g}, weight decay {trial.weight_decay:.4g}, {trial.steps} steps"
    own = [f"{name} {_short(trial.config[name])}" for name in sorted(trial.config)]
    return ", ".join([shared, *own])


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


# --- fields -----------------------------------------------------------------------------------------------------------

COST_COLUMNS: tuple[tuple[str, str, Callable[[float], str]], ...] = (
    ("trained_parameters", "trained parameters", number_text),
    ("stored_parameters", "stored parameters", number_text),
    ("total_parameters", "total parameters", number_text),
    ("stored_percent", "stored, % of total", percent_text),
    ("stored_bytes", "stored bytes", bytes_text),
    ("train_peak_bytes", "peak memory, training", bytes_text),
    ("decode_peak_bytes", "peak memory, decoding", bytes_text),
    ("tokens_per_second", "training tokens per second", number_text),
    ("train_flops", "training FLOPs", flops_text),
    ("train_seconds", "training time", seconds_text),
    ("decode_seconds", "decoding time", seconds_text),
)


def estimate_entry(value: Estimate) -> Entry:
    """Return mean ± half width with the reason for what is missing."""
    exact = {"half width": value.half_width, "units": value.units}
    return Entry(text=estimate_text(value), value=value.mean, note=value.note, parts=exact)


def test_set_entry(value: Estimate) -> Entry:
    """Return ± the half width for this test set: over seeds or draws alone."""
    if value.test_set is None:
        return Entry(text=MISSING)
    note = "" if value.items else "no item statistics: the only interval"
    return Entry(text=f"± {half_width_text(value.test_set)}", value=value.test_set, note=note)


def rank_entry(row: Summary) -> Entry:
    """Return the rank interval, or why there is none."""
    if row.rank is None:
        return Entry(text=MISSING, note=row.unranked)
    low, high = row.rank
    return Entry(text=str(low) if low == high else f"{low} to {high}", value=low, parts={"highest": high})


def cost_entry(value: Quantity, show: Callable[[float], str]) -> Entry:
    """Return a cost with the reason if it is missing."""
    return Entry(text=MISSING if value.value is None else show(value.value), value=value.value, note=value.note)


def count_entry(number: int, note: str = "") -> Entry:
    """Return a whole number."""
    return Entry(text=f"{number:,}", value=number, note=note)


def share_entry(number: int, whole: int, missing: str = "no outputs kept") -> Entry:
    """Return a part of a whole in percent, with both numbers."""
    if not whole:
        return Entry(text=MISSING, note=missing)
    return Entry(text=percent_text(100 * number / whole), value=100 * number / whole, note=f"{number} of {whole}")


def trial_entry(run: Run) -> Entry:
    """Return a run's place and id with the way to its page."""
    return Entry(text=run.name, note=run.trial_id, link=trial_path(run.trial_id))
