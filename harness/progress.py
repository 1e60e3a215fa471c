"""Live progress of a sweep: counts, what runs now, and when it will be done."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from featherbench.harness.records import Result
from featherbench.harness.run import Sweep

LINE_SECONDS = 30.0
"""Where there is no terminal, a line is printed at most this often"""


class Board:
    """Shows a sweep on a terminal, or as plain lines elsewhere."""

    def __init__(self, sweep: Sweep, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet)
        counts = sweep.done()
        self._total, self._done = sweep.total, sweep.total - counts.get("new", 0)
        self._labels = sweep.labels
        self._began, self._ran, self._last_line = time.monotonic(), 0, 0.0
        self._plain = not self._console.is_terminal or self._console.no_color  # no colours and no moving lines
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=self._console,
            disable=self._plain,
        )
        self._sweep_bar = self._bars.add_task("trials", total=self._total, completed=self._done, note="")
        self._trial_bars: dict[str, Any] = {}

    def __enter__(self) -> Board:
        self._bars.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._bars.stop()

    def finished(self, result: Result) -> None:
        """Announce a stored result."""
        self._done, self._ran = self._done + 1, self._ran + 1
        found = [f"{s.metric} {s.value:.2f}" for s in result.scores if s.subset == "all" and s.value is not None]
        seconds = f"{result.cost.seconds:.0f} s" if result.cost else ""
        cause = (result.cause or "").splitlines()[:1]
        label = self._labels[result.trial_id]
        self.say(" ".join(filter(None, (f"{result.trial_id} {label}: {result.status}", *found, *cause, seconds))))
        self._bars.update(self._sweep_bar, completed=self._done, note=self._eta())
        if result.trial_id in self._trial_bars:
            self._bars.remove_task(self._trial_bars.pop(result.trial_id))

    def show(self, running: dict[str, tuple[str, int, int]]) -> None:
        """Show what the workers are doing."""
        note = self._eta() or ("" if running else self._starting())
        self._bars.update(self._sweep_bar, note=note)
        for trial, (stage, done, total) in running.items():
            label = f"  {self._labels.get(trial, trial)} {stage}"
            if trial not in self._trial_bars:
                self._trial_bars[trial] = self._bars.add_task(label, total=total, note="")
            self._bars.update(self._trial_bars[trial], description=label, completed=done, total=total)
        if self._plain and time.monotonic() - self._last_line > LINE_SECONDS:
            self._last_line = time.monotonic()
            now = "; ".join(f"{self._labels.get(t, t)} {stage} {d}/{n}" for t, (stage, d, n) in running.items())
            self.say(" ".join(filter(None, (f"{self._done}/{self._total} trials", note, now))))

    def say(self, text: str) -> None:
        """Print a line among the others; as one line also where nobody knows the width."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _starting(self) -> str:
        """Say what is waited for before the first trial: seconds on an idle machine, minutes on a busy one."""
        return f"Ray starts the workers, which load torch: {time.monotonic() - self._began:.0f} s"

    def _eta(self) -> str:
        if not self._ran:
            return ""
        seconds = (time.monotonic() - self._began) / self._ran * (self._total - self._done)
        return f"about {seconds / 60:.0f} min left"
