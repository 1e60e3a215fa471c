"""Output files of any system: one line for each distinct input of a split, scored as the official scripts do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from featherbench.harness.records import Prediction
from featherbench.harness.score import score
from featherbench.harness.spec import lookup
from featherbench.tasks import TASKS
from featherbench.tasks.base import SPLITS
from featherbench.tasks.load import load


class OutputError(ValueError):
    """An output file does not answer the split."""


def inputs(task: str, split: str = "test") -> list[str]:
    """Return the distinct linearised sources of a split in file order.

    Raises: PlanError for an unknown task or split, DataError without data.
    """
    lookup("task", task, TASKS)
    return list(dict.fromkeys(e.source for e in load(task, lookup("split", split, {s: s for s in SPLITS}))))


def read_outputs(file: Path, expected: str) -> list[str]:
    """Return the lines of an output file; line ends may be LF or CRLF, an empty line is an empty output.

    Raises: OutputError if the file is not UTF-8; `expected` says what it should be.
    """
    lines = file.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if not lines[-1]:
        del lines[-1]
    texts = []
    for number, line in enumerate(lines, start=1):
        try:
            texts.append(line.removesuffix(b"\r").decode())
        except UnicodeDecodeError:
            raise OutputError(f"{file}: line {number} is not UTF-8. Expected {expected}; found {len(lines)}.") from None
    return texts


def score_file(task: str, file: Path, split: str = "test", names: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return every official score of the task for a file, or those in `names`: metric, subset, value, unit, signature.

    Where the official scorer counts a source several times, the file may have a line for each time instead.
    Raises: PlanError for an unknown task, split or name, OutputError for a file that does not fit, DataError without
    data.
    """
    sources = inputs(task, split)
    unit = {metric.name: metric.unit for metric in TASKS[task].scores}
    for name in names:
        lookup(f"score of {task}", name, unit)
    examples = list(load(task, split))
    expected = f"{len(sources)} lines, one for each input that `featherbench inputs {task} --split {split}` prints"
    if len(examples) != len(sources):
        expected += f" (or {len(examples)}, one for each item of the split)"
    outputs = read_outputs(file, expected)
    if len(outputs) == len(sources):
        by_source = dict(zip(sources, outputs, strict=True))
        outputs = [by_source[example.source] for example in examples]
    if len(outputs) != len(examples):
        raise OutputError(f"{file}: expected {expected}; found {len(outputs)}.")
    predictions = [Prediction(item=i, text=text, truncated=False) for i, text in enumerate(outputs)]
    found = score(task, predictions, dict(enumerate(examples)), names).values
    return [{**s.model_dump(), "unit": unit[s.metric]} for s in found]
