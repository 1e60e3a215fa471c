"""METEOR 1.5 (Denkowski & Lavie 2014), English, with its own normalisation: `-l en -norm`. Points, 0 to 100.

The jar of pycocoevalcap gives the figures of the E2E, WebNLG 2017 and DART scripts, which differ in the text they hand
over: PTB tokens, prepared text, the text as it is. Its table of paraphrases takes many seconds to load and a gigabyte,
so one Java process a Python process is started at the first score and kept until the end. Where several Python
processes work side by side, `use` lets one of them score for all.
"""

from __future__ import annotations

import atexit
import os
import queue
import re
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from typing import IO

from featherbench.tasks.base import Score, Unavailable
from featherbench.tasks.metrics.dart_text import RAW
from featherbench.tasks.metrics.java import jar, java
from featherbench.tasks.metrics.ptb import ptb_corpus
from featherbench.tasks.metrics.references import first_three
from featherbench.tasks.metrics.signature import signature as _signature
from featherbench.tasks.metrics.webnlg_text import prepare

START_SECONDS, ANSWER_SECONDS = 300.0, 60.0
"""Longest wait for the first answer, which loads the tables, and for any later one"""

_SEPARATORS = re.compile(r"\|\|\||[\n\r\v\f\x85\u2028\u2029]")


def _plain(text: str) -> str:
    """Take out what the line protocol means something by."""
    return _SEPARATORS.sub(" ", text)


class _Jvm:
    """One METEOR process; any trouble raises Unavailable, and then the process is of no more use."""

    def __init__(self) -> None:
        path = jar("meteor", "meteor-1.5.jar")
        command = [java(), "-Xmx2G", "-Dfile.encoding=UTF-8", "-jar", path.name]
        self.owner = os.getpid()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  a pipe that nobody reads would fill
        try:
            self._process = subprocess.Popen(
                [*command, "-", "-", "-stdio", "-l", "en", "-norm"],
                cwd=path.parent,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
            )
        except OSError as error:
            raise Unavailable(f"METEOR cannot start: {error}") from error
        self._answers: queue.Queue[str | None] = queue.Queue()
        assert self._process.stdout is not None
        threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True).start()
        self._warm = False

    def _listen(self, stream: IO[bytes]) -> None:
        for line in stream:
            self._answers.put(line.decode(errors="replace").strip())
        self._answers.put(None)

    def send(self, line: str) -> None:
        """Send one request."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()
        except OSError as error:
            raise Unavailable(f"METEOR ended: {error}{self._last_words()}") from error

    def answer(self) -> str:
        """Return the next line of answer, which holds numbers."""
        seconds = ANSWER_SECONDS if self._warm else START_SECONDS
        try:
            answer = self._answers.get(timeout=seconds)
        except queue.Empty:
            raise Unavailable(f"METEOR did not answer within {seconds:.0f} s") from None
        if answer is None:
            raise Unavailable(f"METEOR ended{self._last_words()}")
        self._warm = True
        try:
            if [float(part) for part in answer.split()]:
                return answer
        except ValueError:
            pass
        raise Unavailable(f"METEOR answered {answer[:80]!r}, which is no number")

    def _last_words(self) -> str:
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return f": {lines[-1][:200]}" if lines else ""

    def end(self) -> None:
        """End the process; of a process that this one was forked from, leave it alone."""
        if self.owner == os.getpid():
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._said):
                try:
                    stream.close()  # type: ignore[union-attr]
                except OSError:
                    pass  # what was not written yet cannot be any more


LineScorer = Callable[[Sequence[str], Sequence[Sequence[str]]], tuple[float, list[float]]]
"""What `meteor_lines` is: (outputs, references) -> METEOR of the corpus and of each line"""

_lock = threading.Lock()
_running: _Jvm | None = None
_elsewhere: LineScorer | None = None


def use(scorer: LineScorer | None) -> None:
    """Let `scorer` answer every later call of `meteor_lines` in this process; None: a Java process of its own again."""
    global _elsewhere
    _elsewhere = scorer


def _stop() -> None:
    global _running
    if _running is not None:
        _running.end()
    _running = None


atexit.register(_stop)


def meteor_lines(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[float, list[float]]:
    """Return METEOR of the corpus and of each line, 0 to 1, for texts as they are.

    Raises: Unavailable without Java, or if the process dies, is too slow or answers nonsense.
    """
    return (_elsewhere or _lines_here)(predictions, references)


def _lines_here(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[float, list[float]]:
    global _running
    with _lock:
        try:
            if _running is None or _running.owner != os.getpid():
                _running = _Jvm()
            statistics = []
            for output, refs in zip(predictions, references, strict=True):
                _running.send(" ||| ".join(["SCORE", *map(_plain, refs), _plain(output)]))
                statistics.append(_running.answer())
            _running.send(" ||| ".join(["EVAL", *statistics]))
            found = [_running.answer() for _ in range(len(statistics) + 1)]
            if any(" " in answer for answer in found):
                raise Unavailable("METEOR answered with several numbers where one was due")
        except BaseException:  # an interrupt, too, leaves answers behind that belong to nobody
            _stop()
            raise
    *lines, corpus = map(float, found)
    return corpus, lines


def meteor_e2e(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Return METEOR of the E2E scorer."""
    return 100 * meteor_lines(*ptb_corpus(predictions, references))[0]


def meteor_webnlg(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Return METEOR of the WebNLG 2017 scripts."""
    return 100 * meteor_lines(*prepare(predictions, references))[0]


def meteor_dart(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Return METEOR of the DART script."""
    return 100 * meteor_lines(predictions, first_three(references))[0]


def _score(text: str, corpus: Callable[[Sequence[str], Sequence[Sequence[str]]], float], every: bool = False) -> Score:
    def sign(references: Sequence[Sequence[str]]) -> str:
        used = references if every else first_three(references)
        return _signature("meteor-1.5", used, f"text:{text}", "l:en", "norm:yes", package="pycocoevalcap")

    return Score(name="meteor", corpus=corpus, signature=sign)


E2E_METEOR = _score("ptb", meteor_e2e, every=True)
WEBNLG_METEOR = _score("webnlg2017", meteor_webnlg)
DART_METEOR = _score(RAW, meteor_dart)
