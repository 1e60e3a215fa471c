"""A lock that serves threads in the order in which they asked; Python's own may let one wait for ever."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any


class Turns:
    """Use as a context manager. It cannot be entered twice by one thread."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._queue: deque[threading.Event] = deque()
        """The first event belongs to the thread whose turn it is"""

    def __enter__(self) -> None:
        mine = threading.Event()
        with self._guard:
            self._queue.append(mine)
            if len(self._queue) == 1:
                mine.set()
        try:
            mine.wait()
        except BaseException:  # Ctrl-C while waiting
            self._leave(mine)
            raise

    def __exit__(self, *_: Any) -> None:
        self._leave(self._queue[0])

    def _leave(self, mine: threading.Event) -> None:
        with self._guard:
            self._queue.remove(mine)
            if self._queue:
                self._queue[0].set()
