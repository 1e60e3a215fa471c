"""Other processes that do a part of a report's work while this one goes on.

Each of them imports this file and that of the work which it is given.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

MANY = 48
"""Pieces of work from which on starting processes takes less time than it saves"""
MOST_PROCESSES = 8
"""One that draws and writes holds an engine of JavaScript and this package, some 250 MB"""
AHEAD = 3
"""Unfinished pieces a process from which on `share` gives it no more"""

Piece = tuple[Callable[..., None], tuple[Any, ...]]
"""A function of a module, and what it is given: both travel to another process"""


class Helpers:
    """Takes pieces of work; what comes of them must not depend on which process does them, nor on their order."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._processes = min(_cores() - 1, MOST_PROCESSES)  # the caller has more to do than each of these
        self._tried = False
        self._kept: list[Piece] = []
        """Given to nobody yet"""
        self._given: list[tuple[Future[None], Piece]] = []

    def do(self, work: Callable[..., None], *given: Any) -> None:
        """Have a piece done by the end of the block; many are given to other processes."""
        self._kept.append((work, given))
        if not self._tried and len(self._kept) >= MANY and self._processes and not multiprocessing.parent_process():
            self._tried = True
            anew = multiprocessing.get_context("spawn")  # a fork would copy the locks of threads that it does not copy
            self._pool = ProcessPoolExecutor(self._processes, mp_context=anew)
        try:
            while self._pool is not None and self._kept:
                function, arguments = piece = self._kept[0]
                self._given.append((self._pool.submit(function, *arguments), piece))
                del self._kept[0]
        except BrokenProcessPool:
            self._pool = None

    def share(self, work: Callable[..., None], *given: Any) -> None:
        """Have a piece done by a process that has little to do, or do it at once."""
        self._given = [(future, piece) for future, piece in self._given if not _went_well(future)]
        if self._pool is None or len(self._given) >= AHEAD * self._processes:
            work(*given)
        else:
            self.do(work, *given)

    def finish(self) -> None:
        """Wait for all pieces, and do those that are left. Raises: what went wrong in one."""
        for future, piece in self._given:
            try:
                future.result()
            except BrokenProcessPool:  # none can be started, as from a script that is not under `if __name__ …`
                self._kept.append(piece)
        for work, given in self._kept:
            work(*given)

    def leave(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


@contextmanager
def helpers() -> Iterator[Helpers]:
    """Give helpers whose work is done when the block ends."""
    found = Helpers()
    try:
        yield found
        found.finish()
    finally:
        found.leave()


def _went_well(future: Future[None]) -> bool:
    return future.done() and future.exception() is None


def _cores() -> int:
    """Return on how many cores this process may run; not every system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
