"""How long a report of many stored trials takes, by stage, and how quickly its leaderboard sorts and filters.

    python benchmarks/report.py [--trials 10000] [--keep FOLDER]

Prints JSON: trials, rows of the leaderboard, files and megabytes written, seconds by stage, and, if a Chromium is
installed (and the package playwright), milliseconds in it. Invented results; their numbers mean nothing.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from featherbench.harness import tables
from featherbench.harness.records import Cell, Cost, DecodingSettings, Settings, Subset, Trial
from featherbench.harness.store import Store, add_rows
from featherbench.reports import site
from featherbench.reports.pages import board, trial
from featherbench.reports.report import collect

TASKS, SIZES = ("e2e", "webnlg", "dart", "places"), (50, 100, 200, 500, None)
METHODS = ("untuned", "full_ft", "ft_top2", "adapter", "prefix", "infix", "embedding_only", "lora", "bitfit", "ia3")
SEARCHED, SEEDS, STEPS, ITEMS = 16, 8, 100, 64


def cells(trials: int) -> Iterator[Cell]:
    """Yield cells enough for `trials`, in the order of a plan."""
    needed = -(-trials // (SEARCHED + SEEDS))
    grid = itertools.product(range(needed), TASKS, SIZES, METHODS)
    for backbone, task, size, method in itertools.islice(grid, needed):
        budget = None if method in ("untuned", "full_ft") else 0.001
        yield Cell(
            row=method, backbone=f"backbone-{backbone}", task=task, size=size, method=method, budget=budget, fixed={}
        )


def trial_of(cell: Cell, phase: str, number: int) -> Trial:
    """Return the trial at a place."""
    evaluated = ("test64", "test") if phase == "final" else ("validation", "validation")
    seed, draw = (number, f"final{number}") if phase == "final" else (99, "search0")
    return Trial(
        backbone=cell.backbone,
        backbone_sha256=f"{int(cell.backbone.split('-')[1]):064x}",
        method=cell.method,
        method_version=1,
        config={"length": 5},
        learning_rate=1e-3 * (1 if phase == "final" else 1 + number),
        weight_decay=0.0,
        steps=STEPS,
        task=cell.task,
        task_version=1,
        train=Subset(name="train", split="train", size=cell.size, draw=draw, sha256=f"{number:064x}"),
        validation=Subset(name="validation", split="validation", sha256="f" * 64),
        evaluate=Subset(name=evaluated[0], split=evaluated[1], size=ITEMS, sha256=evaluated[1][0] * 64),
        settings=Settings(),
        decoding=DecodingSettings(beams=5, max_new_tokens=48, length_penalty=1.0),
        words="",
        words_as="none",
        seed=seed,
        precision="float32",
    )


def cost_of(method: str) -> Cost:
    """Return the same cost for every trial of a method."""
    stored = 1000 * (1 + METHODS.index(method))
    return Cost(
        trained_parameters=stored, stored_parameters=stored, total_parameters=10**8, stored_bytes=4 * stored, steps=STEPS,
        train_tokens=8000, train_seconds=100.0, decode_seconds=10.0, seconds=111.0, tokens_per_second=80.0,
        train_flops=1.5e12, decode_flops=1e11, train_peak_bytes=2 * 10**9, decode_peak_bytes=10**9, device="CPU",
    )  # fmt: skip


def fill(store: Store, number: int) -> None:
    """Put `number` invented trials into the store, some of them failed."""
    rng = np.random.default_rng(0)
    planned = list(cells(number))
    store.add_plan("p", "many", "name: many", planned)
    for task, split in itertools.product(TASKS, ("test64", "validation")):
        items = [
            {"item": i, "source": f"source {i}", "references": [f"reference {i}"], "tags": {}} for i in range(ITEMS)
        ]
        store.add_items(task, 1, split, items)
    places = [(c, "search", n) for c in planned for n in range(SEARCHED)]
    places += [(c, "final", n) for c in planned for n in range(SEEDS)]
    for start in range(0, len(places), 500):
        with store.transaction() as db:
            rows: dict[str, list[dict[str, Any]]] = {name: [] for name in ("places", "trials", "attempts", "scores")}
            rows |= {"curves": [], "predictions": []}
            for cell, phase, n in places[start : start + 500]:
                trial = trial_of(cell, phase, n)
                key = trial.id  # a hash of everything in it: made once, not for each of its 400 rows
                failed = rng.random() < 0.02
                status = "failed" if failed else "ok"
                outcome = {"status": status, "cause": "out of memory" if failed else None, "best_step": STEPS}
                outcome |= {"cost": None if failed else cost_of(cell.method).model_dump(), "provenance": {"gpu": None}}
                spec = {"id": key, "spec": trial.model_dump(mode="json"), "finished": "2026-01-01T00:00:00"}
                rows["places"].append({"cell": cell.id, "phase": phase, "number": n, "trial": key})
                rows["trials"].append({**spec, **outcome})
                rows["attempts"].append({"trial": key, "number": 1, "started": "2026-01-01", "outcome": status})
                if failed:
                    continue
                for position, metric in enumerate(("bleu", "meteor", "ter")):
                    score = {"metric": metric, "subset": "all", "value": float(rng.normal(40, 3))}
                    rows["scores"].append({"trial": key, "signature": metric, "position": position, **score})
                noise = np.exp(rng.normal(0, 0.3, STEPS + 1)).tolist()
                for name, every in (
                    ("train_loss", 1),
                    ("gradient_norm", 1),
                    ("learning_rate", 1),
                    ("validation_loss", 25),
                ):
                    rows["curves"] += [
                        {"trial": key, "name": name, "step": s, "value": noise[s]}
                        for s in range(0 if every > 1 else 1, STEPS + 1, every)
                    ]
                text = "The Eagle is a cheap coffee shop near the river that serves Italian food."
                rows["predictions"] += [
                    {"trial": key, "item": i, "text": f"{text} {i}", "truncated": False} for i in range(ITEMS)
                ]
            for name, found in rows.items():
                add_rows(db, tables.metadata.tables[name], found)


def in_browser(page: Path) -> dict[str, float] | str:
    """Return milliseconds in Chromium until the page is ready, of a sort and of a filter, frame drawn; or why not."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return "the package playwright is not installed"
    if (found := shutil.which("chromium") or shutil.which("google-chrome")) is None:
        return "no Chromium on the PATH"
    timed = """(act) => new Promise((done) => {
        const began = performance.now();
        eval?.(act);
        requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - began)));
    })"""
    sort = "document.querySelectorAll('th button')[1].click()"
    changed = "s.dispatchEvent(new Event('input', {bubbles: true}))"
    choose = f"{{ const s = document.querySelector('.filters select'); s.value = '1'; {changed}; }}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        opened = browser.new_context(bypass_csp=True).new_page()
        began = time.perf_counter()
        opened.goto(page.resolve().as_uri())
        times = {"open": 1000 * (time.perf_counter() - began)}
        times |= {"sort": opened.evaluate(timed, sort), "filter": opened.evaluate(timed, choose)}
        browser.close()
    return {name: round(value) for name, value in times.items()}


def processor() -> float:
    """Return the processor seconds of this process and of those it started and saw end."""
    return sum(os.times()[:4])


def main() -> None:
    """Print the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--keep", type=Path, help="folder for store and site, which then stay")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        store = Store(f"sqlite:///{folder / 'store.sqlite'}")
        seconds, clock = {}, time.perf_counter()
        if not store.finished():
            fill(store, given.trials)
            seconds["fill the store"], clock = time.perf_counter() - clock, time.perf_counter()
        report = collect(store)
        seconds["read and compute"], clock = time.perf_counter() - clock, time.perf_counter()
        for name, make in [
            (make.__module__.rsplit(".", 1)[1], make) for make in (*site.PAGES, board.pages, trial.pages)
        ]:
            made = make(report)
            pages = len(list(made)) if isinstance(made, Iterator) else 1
            seconds[f"blocks of {pages} pages: {name}"] = time.perf_counter() - clock
            clock = time.perf_counter()
        spent = processor()
        written = site.write_report(store, folder / "report")
        seconds["whole report"] = time.perf_counter() - clock
        seconds["whole report, processor"] = processor() - spent
        found = {
            "trials": len({run.trial_id for run in report.contents.runs}),
            "rows": sum(len(board.rows) for board in report.boards),
            "files": len(written),
            "megabytes": round(sum(path.stat().st_size for path in written) / 1e6),
            "seconds": {name: round(value, 1) for name, value in seconds.items()},
            "milliseconds in the browser": in_browser(folder / "report" / "index.html"),
        }
        print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
