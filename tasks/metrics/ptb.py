"""Penn Treebank tokens as the E2E scorer's COCO part has them: Stanford tokenizer, lower-cased, punctuation dropped."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from featherbench.tasks.base import Unavailable
from featherbench.tasks.metrics.java import jar, java

SECONDS = 300.0
"""Longest time the tokenizer may take; ten thousand lines take two"""

_LINE_BREAKS = re.compile(r"[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")


@lru_cache(maxsize=8)
def ptb(lines: tuple[str, ...]) -> tuple[str, ...]:
    """Return the tokens of each line, joined by single blanks; the last eight corpora are remembered.

    The lines go through one tokenizer in one file, as in the official scorer.
    Raises: Unavailable without Java, or if the tokenizer fails.
    """
    from pycocoevalcap.tokenizer.ptbtokenizer import PUNCTUATIONS

    path = jar("tokenizer", "stanford-corenlp-3.4.1.jar")
    with tempfile.TemporaryDirectory() as scratch:
        text = Path(scratch) / "lines.txt"
        text.write_bytes("\n".join(_LINE_BREAKS.sub(" ", line) for line in lines).encode())
        options = ["-preserveLines", "-lowerCase", "-encoding", "UTF-8"]
        main = [java(), "-Dfile.encoding=UTF-8", "-cp", str(path), "edu.stanford.nlp.process.PTBTokenizer"]
        try:
            done = subprocess.run([*main, *options, str(text)], capture_output=True, timeout=SECONDS, cwd=scratch)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(f"the PTB tokenizer failed: {error}") from error
    found = done.stdout.decode(errors="replace").split("\n")
    found += [""] * (len(lines) - len(found))  # empty lines at the end leave no trace
    if done.returncode or any(found[len(lines) :]):
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise Unavailable(f"the PTB tokenizer failed (exit code {done.returncode}): {' '.join(said)}")
    dropped = set(PUNCTUATIONS)
    kept = ([word for word in line.rstrip().split(" ") if word not in dropped] for line in found[: len(lines)])
    return tuple(" ".join(words) for words in kept)


def ptb_corpus(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """Return outputs and references as PTB tokens."""
    flat = iter(ptb(tuple(ref for refs in references for ref in refs)))
    golds = [[next(flat) for _ in refs] for refs in references]
    return list(ptb(tuple(predictions))), golds
