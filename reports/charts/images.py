"""Charts -> SVG and PNG files, on white; many are drawn by several processes at once.

Each process imports this file, so it imports no other of the reports.
"""

from __future__ import annotations

import multiprocessing
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import vl_convert

ENDINGS = ("svg", "png")
MANY = 48
"""Charts from which on starting processes takes less time than it saves"""
MOST_PROCESSES = 8
"""Each holds an engine of JavaScript, some 150 MB"""


@contextmanager
def drawing(charts: Sequence[tuple[str, dict[str, Any]]], folder: Path) -> Iterator[None]:
    """Write NAME.svg and NAME.png of every (name, chart); many are drawn while the caller's block runs.

    The bytes do not depend on how many processes draw. Where none can be started, as from a script that is not under
    `if __name__ == "__main__":`, this one draws.
    """
    processes = min(_cores(), MOST_PROCESSES)
    if len(charts) < MANY or processes < 2 or multiprocessing.parent_process():
        for name, spec in charts:
            write_images(name, spec, folder)
        yield
        return
    anew = multiprocessing.get_context("spawn")  # a fork would copy the locks of threads that it does not copy
    with ProcessPoolExecutor(processes, mp_context=anew, initializer=_give_way) as pool:
        drawn = {}
        with suppress(BrokenProcessPool):
            for name, spec in charts:
                drawn[name] = pool.submit(write_images, name, spec, folder)
        try:
            yield
            for name, spec in charts:
                try:
                    drawn[name].result()
                except (
                    BrokenProcessPool,
                    KeyError,
                ):  # no process can be started from here, as when Python reads from a pipe
                    write_images(name, spec, folder)
        finally:
            pool.shutdown(cancel_futures=True)


def _give_way() -> None:
    """Let the caller go first: it has more to do than each of these, and then leaves its core to them."""
    if hasattr(os, "nice"):
        os.nice(10)


def _cores() -> int:
    """Return on how many cores this process may run; not every system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def write_images(name: str, spec: dict[str, Any], folder: Path) -> None:
    """Write NAME.svg and NAME.png of one chart."""
    svg = _renumbered(vl_convert.vegalite_to_svg(spec | {"background": "white"}))
    (folder / f"{name}.svg").write_text(svg, encoding="utf-8", newline="\n")
    (folder / f"{name}.png").write_bytes(vl_convert.svg_to_png(svg, scale=2))


def _renumbered(svg: str) -> str:
    """Number the clip paths from 0: Vega counts them over all charts of a process, so equal charts would differ."""
    numbers = {old: str(i) for i, old in enumerate(dict.fromkeys(re.findall(r'id="clip(\d+)"', svg)))}
    return re.sub(r'(?<=id="clip)\d+(?=")|(?<=url\(#clip)\d+(?=\))', lambda found: numbers.get(found[0], found[0]), svg)
