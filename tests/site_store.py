"""An invented store for the site's pages: real items of `places`, outputs whose quality is known, scores by the real scorer.

An output is the first reference with some of its words replaced; how many is what a method, a side (seen, unseen), a size
and a seed decide. So every board has rows that are truly apart, two that are truly equal, and one that failed.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

from scipy import stats

from featherbench.harness.records import (
    Cell,
    Cost,
    DecodingSettings,
    Place,
    Prediction,
    Result,
    Settings,
    Subset,
    Trial,
)
from featherbench.harness.score import score
from featherbench.harness.store import Store
from featherbench.tasks.base import Example
from featherbench.tasks.load import load
from featherbench.tasks.metrics.bleu import BLEU

TOTAL = 1_000_000
"""Parameters of the invented backbone"""
STORED = {
    "untuned": 0,
    "full_ft": TOTAL,
    "prefix": 1_000,  # solved for 0.1 %
    "infix": 1_050,  # within 10 % of 0.1 %
    "adapter": 12_000,  # of no budget
    "embedding_only": 100,
    "ft_top2": 400_000,
}
BUDGETS = {"prefix": 0.001}
LOST = {
    "untuned": (0.8, 0.9),
    "full_ft": (0.10, 0.40),
    "prefix": (0.15, 0.25),
    "infix": (0.15, 0.25),
    "adapter": (0.30, 0.45),
    "embedding_only": (0.5, 0.6),
}
"""Method -> share of words that its outputs get wrong on seen and on unseen items"""
SEEDS, DRAWS, SIZES = 5, 4, (50, 100, 200)


@cache
def some_items(each: int = 2, unseen: int = 14) -> dict[int, Example]:
    """Return `each` test items of `places` of every seen category and of the first `unseen` unseen ones."""
    kept: dict[tuple[str, str], list[int]] = {}
    examples = load("places", "test")
    for item, example in enumerate(examples):
        kept.setdefault((example.tags["seen"], example.tags["category"]), []).append(item)
    chosen = [items for (seen, _), items in kept.items() if seen == "seen"]
    chosen += [items for (seen, _), items in kept.items() if seen == "unseen"][:unseen]
    return {item: examples[item] for item in sorted(i for items in chosen for i in items[:each])}


def written(example: Example, lost: float, source: random.Random) -> str:
    """Return the first reference with about this share of its words replaced."""
    return " ".join("thing" if source.random() < lost else word for word in example.references[0].split())


def predictions(method: str, key: str, items: Mapping[int, Example], factor: float = 1.0) -> tuple[Prediction, ...]:
    """Return the outputs of a trial: the same for the same method, key and items."""
    source = random.Random(f"{method} {key}")
    wobble = factor * source.uniform(0.9, 1.1)
    shares = {"seen": LOST[method][0] * wobble, "unseen": LOST[method][1] * wobble}
    return tuple(
        Prediction(item=item, text=written(example, shares[example.tags.get("seen", "seen")], source), truncated=False)
        for item, example in items.items()
    )


def cost_of(method: str, **changes: object) -> Cost:
    """Return an invented cost: more stored parameters take longer."""
    tuned, stored = method != "untuned", STORED[method]
    values = {
        "trained_parameters": stored,
        "stored_parameters": stored,
        "total_parameters": TOTAL,
        "stored_bytes": (4 * stored + 120) * tuned,
        "steps": 40 * tuned,
        "train_tokens": 8_000 * tuned,
        "train_seconds": (50.0 + stored / 10_000) * tuned,
        "decode_seconds": 11.2 + stored / 1_000_000,
        "seconds": 111.0,
        "tokens_per_second": 80.0 * tuned,
        "train_flops": (1e12 + 1e6 * stored) * tuned,
        "decode_flops": 1e11,
        "train_peak_bytes": (20_000_000 + 12 * stored) * tuned,
        "decode_peak_bytes": 8_000_000,
        "device": "CPU",
    }
    return Cost(**(values | changes))


def cell_of(method: str, size: int | None = None, budget: float | None = None) -> Cell:
    """Return the cell of a method, which is its row, too."""
    return Cell(
        row=method,
        backbone="tiny",
        task="places",
        size=size,
        method=method,
        budget=budget if budget is not None else BUDGETS.get(method),
        fixed={"trial": {"steps": 40}, "search": {"configurations": 2}},
    )


def trial_of(cell: Cell, seed: int, draw: str | None, evaluate: Subset, words: str = "") -> Trial:
    """Return a trial of the cell."""
    size = cell.size
    return Trial(
        backbone=cell.backbone,
        backbone_sha256="b" * 64,
        method=cell.method,
        method_version=1,
        config={},
        learning_rate=1e-3,
        weight_decay=0.0,
        steps=0 if cell.method == "untuned" else 40,
        task="places",
        task_version=1,
        train=Subset(name="train", split="train", size=size, draw=draw, sha256="d" * 64),
        validation=Subset(
            name="validation",
            split="validation",
            size=None if size is None else size * 3 // 10,
            draw=draw,
            sha256="f" * 64,
        ),
        evaluate=evaluate,
        settings=Settings(),
        decoding=DecodingSettings(beams=5, max_new_tokens=48, length_penalty=1.0),
        words=words,
        words_as="text" if words else "none",
        seed=seed,
        precision="float32",
    )


def finish(store: Store, cell: Cell, number: int, trial: Trial, result: Result, phase: str = "final") -> None:
    """Put the trial at a place and record its result."""
    store.add_places([(Place(cell=cell.id, phase=phase, number=number), trial)])
    store.record([(result, store.begin_attempts([trial.id]).get(trial.id, 0))])


def result_of(trial: Trial, outputs: Sequence[Prediction], items: Mapping[int, Example], **changes: object) -> Result:
    """Return the result with scores and item statistics of the real scorer."""
    found = score("places", outputs, items)
    values = {
        "status": "ok",
        "scores": found.values,
        "item_statistics": found.statistics,
        "predictions": tuple(outputs),
        "best_step": trial.steps,
        "cost": cost_of(trial.method),
    }
    return Result(trial_id=trial.id, **(values | changes))


def add_items(store: Store, name: str, items: Mapping[int, Example], sha256: str) -> Subset:
    """Record evaluated items with their tags; return their subset."""
    rows = [
        {"item": item, "source": e.source, "references": list(e.references), "tags": dict(e.tags)}
        for item, e in items.items()
    ]
    store.add_items("places", 1, name, rows)
    store.add_index_lists({sha256: list(items)})
    return Subset(name=name, split="test", size=len(items), sha256=sha256)


# --- the same numbers on another way ------------------------------------------------------------------------------------


def bleu(outputs: Sequence[Prediction], items: Mapping[int, Example], members: Sequence[int]) -> float:
    """Return corpus BLEU of some items from the official scorer, not from sums."""
    kept = {output.item: output.text for output in outputs}
    return BLEU.corpus([kept[item] for item in members], [items[item].references for item in members])


def jackknife(
    outputs: Sequence[Prediction], items: Mapping[int, Example], groups: Sequence[Sequence[int]]
) -> list[float]:
    """Return N · θ - (N - 1) · θ(without the group) for each group, scored again each time."""
    whole = bleu(outputs, items, [item for group in groups for item in group])
    n = len(groups)
    rest = [[item for j, group in enumerate(groups) if j != i for item in group] for i in range(n)]
    return [n * whole - (n - 1) * bleu(outputs, items, members) for members in rest]


def half_width(psi: Sequence[Sequence[float]]) -> float:
    """Return t(.975, df) · √v of protocol 1.1 for psi[unit][item], written out."""
    s, n = len(psi), len(psi[0])
    grand = sum(map(sum, psi)) / (s * n)
    rows = [sum(row) / n for row in psi]
    columns = [sum(psi[u][i] for u in range(s)) / s for i in range(n)]
    by_unit = n * sum((row - grand) ** 2 for row in rows) / (s - 1) / (s * n)
    by_item = s * sum((column - grand) ** 2 for column in columns) / (n - 1) / (s * n)
    left = sum((psi[u][i] - rows[u] - columns[i] + grand) ** 2 for u in range(s) for i in range(n))
    left /= (s - 1) * (n - 1) * s * n
    v = by_unit + by_item - left
    assert v > 0
    df = v**2 / (by_unit**2 / (s - 1) + by_item**2 / (n - 1) + left**2 / ((s - 1) * (n - 1)))
    return float(stats.t.ppf(0.975, max(df, s - 1))) * math.sqrt(v)


def t_half_width(values: Sequence[float]) -> float:
    """Return t(.975, S - 1) · s / √S."""
    return float(stats.t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))


# --- stores -------------------------------------------------------------------------------------------------------------


def full_store(
    folder: Path,
    items: Mapping[int, Example] | None = None,
    costs: Callable[[str, int], Cost | None] | None = None,
    methods: Sequence[str] = tuple(STORED),
) -> Store:
    """Return one board over the whole training split: rows on five seeds, one of which ran out of memory."""
    store, items = Store(f"sqlite:///{folder}/full.sqlite"), some_items() if items is None else items
    subset = add_items(store, f"test{len(items)}", items, "e" * 64)
    store.add_plan("p", "invented", "name: invented", [cell_of(method) for method in methods])
    for method in methods:
        cell = cell_of(method)
        for seed in range(1 if method == "untuned" else SEEDS):
            trial = trial_of(cell, seed, None, subset)
            if method == "ft_top2":
                finish(store, cell, seed, trial, Result(trial_id=trial.id, status="failed", cause="out of memory"))
                continue
            outputs = predictions(method, f"seed {seed}", items)
            changes = {"cost": costs(method, seed)} if costs else {}
            finish(store, cell, seed, trial, result_of(trial, outputs, items, **changes))
    return store


def sizes_store(folder: Path, missing: Sequence[tuple[str, int]] = ()) -> Store:
    """Return a board a size on nested draws, without the cells of `missing`; the fewer pairs, the more words are wrong."""
    store, items = Store(f"sqlite:///{folder}/sizes.sqlite"), some_items(1, 6)
    subset = add_items(store, f"test{len(items)}", items, "e" * 64)
    methods = ("untuned", "full_ft", "prefix", "infix")
    cells = [cell_of(m, size) for size in SIZES for m in methods if (m, size) not in missing]
    store.add_plan("p", "invented", "name: invented", cells)
    for cell in cells:
        for number in range(1 if cell.method == "untuned" else DRAWS):
            draw = f"final{number}"
            trial = trial_of(cell, 10 + number, draw, subset)
            finish(store, cell, number, trial, result_of(trial, outputs_at(cell.method, draw, cell.size, items), items))
    return store


def outputs_at(method: str, draw: str, size: int | None, items: Mapping[int, Example]) -> tuple[Prediction, ...]:
    """Return the outputs of a trial of `sizes_store`."""
    if method == "untuned":
        return predictions(method, "bare", items)
    return predictions(method, f"{draw} {size}", items, (200 / (size or 200)) ** 0.3)
