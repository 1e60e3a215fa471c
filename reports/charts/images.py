"""Charts -> SVG and PNG files, on white; many are drawn by several processes at once.

Each process imports this file, so it imports little.
"""

from __future__ import annotations

import multiprocessing
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import vl_convert

from featherbench.reports.files import write

Chart = tuple[str, dict[str, Any]]
"""Name of its files, Vega-Lite specification"""
ENDINGS = ("svg", "png")
MANY = 48
"""Charts from which on starting processes takes less time than it saves"""
MOST_PROCESSES = 8
"""Each holds an engine of JavaScript, some 150 MB"""


@contextmanager
def drawing(folder: Path) -> Iterator[Callable[[Sequence[Chart]], None]]:
    """Give a function that takes charts (name, specification), whose NAME.svg and NAME.png are there when the block ends.

    Many are drawn by other processes while the block goes on. The bytes do not depend on how many processes draw. Where
    none can be started, as from a script that is not under `if __name__ == "__main__":`, this one draws.
    """
    charts: list[Chart] = []
    drawn: dict[str, Future[None]] = {}
    with ExitStack() as pools:
        pool: ProcessPoolExecutor | None = None

        def draw(more: Sequence[Chart]) -> None:
            nonlocal pool
            charts.extend(more)
            if pool is None and len(charts) >= MANY and (pool := _pool()) is not None:
                pools.callback(pool.shutdown, cancel_futures=True)
            if pool is not None:
                with suppress(BrokenProcessPool):
                    for name, spec in charts[len(drawn) :]:
                        drawn[name] = pool.submit(write_images, name, spec, folder)

        yield draw
        for name, spec in charts:
            try:
                drawn[name].result()
            except (BrokenProcessPool, KeyError):  # few, or no process can be started from here
                write_images(name, spec, folder)


def _pool() -> ProcessPoolExecutor | None:
    """Return processes that draw; None where there would be one, or this is one of them."""
    processes = min(_cores() - 1, MOST_PROCESSES)  # the caller has more to do than each of these
    if processes < 1 or multiprocessing.parent_process():
        return None
    anew = multiprocessing.get_context("spawn")  # a fork would copy the locks of threads that it does not copy
    return ProcessPoolExecutor(processes, mp_context=anew)


def _cores() -> int:
    """Return on how many cores this process may run; not every system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def write_images(name: str, spec: dict[str, Any], folder: Path) -> None:
    """Write NAME.svg and NAME.png of one chart."""
    # without a description of every mark, which is a third of the file: the tables have the numbers
    config = spec.get("config", {}) | {"aria": False}
    svg = _renumbered(vl_convert.vegalite_to_svg(spec | {"background": "white", "config": config}))
    write(folder / f"{name}.svg", svg)
    write(folder / f"{name}.png", vl_convert.svg_to_png(svg, scale=2))


def _renumbered(svg: str) -> str:
    """Number the clip paths from 0: Vega counts them over all charts of a process, so equal charts would differ."""
    numbers = {old: str(i) for i, old in enumerate(dict.fromkeys(re.findall(r'id="clip(\d+)"', svg)))}
    return re.sub(r'(?<=id="clip)\d+(?=")|(?<=url\(#clip)\d+(?=\))', lambda found: numbers.get(found[0], found[0]), svg)
