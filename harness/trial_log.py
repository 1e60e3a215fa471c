"""What a worker says while it runs a trial: stages, warnings and log records, kept with the result by the trial's id."""

from __future__ import annotations

import datetime
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MOST_CHARACTERS = 100_000
"""Of a log that is kept; the middle of a longer one is left out"""


def log_file(scratch: str, trial_id: str) -> Path:
    """Return where a trial's log is written while it runs, one attempt after the other."""
    return Path(scratch) / "logs" / f"{trial_id}.log"


class TrialLog(logging.Handler):
    """Writes what one thread says to a file, line by line, and remembers it."""

    def __init__(self, path: Path) -> None:
        super().__init__(logging.INFO)
        self._thread, self._lines, self._stage = threading.get_ident(), list[str](), ""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8")

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record of this thread."""
        if record.thread == self._thread:
            self.say(f"{record.levelname} {record.name}: {record.getMessage().strip()}")

    def stage(self, name: str, done: int, total: int) -> None:
        """Keep that a stage has begun, or ended."""
        if name != self._stage or done == total:
            self._stage = name
            self.say(f"{name} {done}/{total}")

    def say(self, text: str) -> None:
        """Keep a line."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self._lines.append(f"{now} {text}")
        self._file.write(self._lines[-1] + "\n")
        self._file.flush()

    @property
    def text(self) -> str:
        """All that was said."""
        text = "\n".join(self._lines)
        half = MOST_CHARACTERS // 2
        return text if len(text) <= MOST_CHARACTERS else f"{text[:half]}\n[...]\n{text[-half:]}"

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


@contextmanager
def trial_log(scratch: str, trial_id: str) -> Iterator[TrialLog]:
    """Collect what this thread logs and warns of while a trial runs."""
    logging.captureWarnings(True)
    handler, root = TrialLog(log_file(scratch, trial_id)), logging.getLogger()
    root.addHandler(handler)
    try:
        yield handler
    finally:
        root.removeHandler(handler)
        handler.close()
