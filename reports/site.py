"""Store -> the static site: pages, their tables and figures as files, and everything as data. It loads no network.

A new page is one file in pages/ and its name in PAGES.
"""

from __future__ import annotations

import gc
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path

from featherbench.harness.store import Store
from featherbench.reports import sheets
from featherbench.reports.aggregate import without_final
from featherbench.reports.blocks import Figure, Page, Table
from featherbench.reports.charts import images
from featherbench.reports.files import write
from featherbench.reports.helpers import helpers
from featherbench.reports.html import Link, write_pages, write_shared
from featherbench.reports.leaderboard_json import leaderboard_json
from featherbench.reports.markdown import markdown_report
from featherbench.reports.pages import (
    ablations,
    against_paper,
    board,
    efficiency,
    extrapolation,
    fairness,
    leaderboard,
    low_data,
    provenance,
    search,
    terms,
    trial,
)
from featherbench.reports.report import Report, collect
from featherbench.reports.spending import spend_by_cell

TITLE = "featherbench report"
PAGES: tuple[Callable[[Report], Page | None], ...] = (
    leaderboard.page,
    extrapolation.page,
    efficiency.page,
    low_data.page,
    ablations.page,
    against_paper.page,
    search.page,
    fairness.page,
    provenance.page,
    terms.page,
)
"""Pages of the menu, in its order; one that has nothing to show returns None"""
TOGETHER = 20
"""Pages that one process writes at a time"""
FOLDERS = ("boards", "trials", "tables", "figures")


def write_report(store: Store, out: Path) -> list[Path]:
    """Write the site of everything in the store into the folder `out`; return the files written, index.html first.

    Files of an earlier report in its folders are removed. The same store gives the same bytes.
    Raises: ValueError if the store holds no finished trial.
    """
    return write_site(collect(store), out)


def write_site(report: Report, out: Path) -> list[Path]:
    """Write the site of what was read."""
    with _no_collections():
        return _write_site(report, out)


@contextmanager
def _no_collections() -> Iterator[None]:
    """Leave the garbage collector off: it would visit the whole report again and again, and nothing here is a cycle."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _write_site(report: Report, out: Path) -> list[Path]:
    for folder in FOLDERS:
        (out / folder).mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    with helpers() as others:
        pages: list[Page] = []
        for page in chain((page for make in PAGES if (page := make(report))), board.pages(report)):
            for block in page.all_blocks():
                if isinstance(block, Figure):
                    others.do(images.write_images, block.name, block.spec, out / "figures")
            pages.append(page)
        tables, charts = _named(pages)
        menu = [Link(path=page.path, title=page.title) for page in pages if page.listed]
        every = chain(pages, trial.pages(report))
        while some := list(islice(every, TOGETHER)):
            others.share(write_pages, some, menu, out)
            written += [out / path for page in some for path in (page.path, page.record_path) if path]
        for table in tables:
            others.share(sheets.write_table, table, out / "tables")
        written += _write_data(report, pages, out)
    written += [out / "tables" / f"{table.name}.{ending}" for table in tables for ending in sheets.ENDINGS]
    written += [out / "figures" / f"{chart.name}.{ending}" for chart in charts for ending in images.ENDINGS]
    written += write_shared(out, bool(charts))
    _remove_old(out, set(written))
    return written


def _named(pages: Sequence[Page]) -> tuple[list[Table], list[Figure]]:
    """Return the tables and figures that become files of their own; pages of trials have none."""
    blocks = [
        block for page in pages for block in page.all_blocks() if isinstance(block, Table | Figure) and block.name
    ]
    (name, times), *_ = [*Counter(block.name for block in blocks).most_common(1), ("", 0)]
    assert times < 2, f"two tables or figures are named {name}"
    return [b for b in blocks if isinstance(b, Table)], [b for b in blocks if isinstance(b, Figure)]


def _write_data(report: Report, pages: list[Page], out: Path) -> list[Path]:
    texts = {
        "report.md": markdown_report(TITLE, pages),
        "leaderboard.json": leaderboard_json(report),
        "cells.csv": sheets.cells_csv(report.boards, without_final(report.contents), spend_by_cell(report.contents)),
        "trials.csv": sheets.trials_csv(report.contents),
        "provenance.json": json.dumps(report.origin, indent=2, ensure_ascii=False, allow_nan=False) + "\n",
    }
    for name, text in texts.items():
        write(out / name, text)
    return [out / name for name in texts]


def _remove_old(out: Path, written: set[Path]) -> None:
    """Remove what an earlier report left in the site's folders: pages of trials that the store no longer holds."""
    ours = re.compile(r"[a-z0-9-]+\.(html|json|csv|md|tex|parquet|svg|png)")
    for folder in FOLDERS:
        for path in (out / folder).iterdir():
            if path not in written and ours.fullmatch(path.name):
                path.unlink()
