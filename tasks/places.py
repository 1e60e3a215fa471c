"""Places: a fictional place's fields -> one to three sentences, from the seeded grammar in places_generator.py.

The test split holds as many items of fourteen categories that training never shows ("seen": "unseen") as of the
fourteen that it does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from featherbench.tasks.base import Decoding, Example, File, Task
from featherbench.tasks.metrics.bleu import BLEU

SHA256 = {
    "train": "8fb14ca8a76a576870a60c09d97241a35f2a0f8f7d4766256c89e1155050870f",
    "validation": "4ccaf6aa96158963ddcf7ee9582257c93279c850f42a0c79736acc2dba703ae0",
    "test": "97c6c0911b6e91179a1299e0bbbda69f22fa5db7491e60cb1bfad907fb41e125",
}
KEYS = ("source", "references", "category", "seen")


def parse(line: str) -> Example:
    """Return the Example of one line.

    Raises: ValueError that says what is wrong with the line.
    """
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"this is no JSON ({error})") from error
    if not isinstance(row, dict):
        raise ValueError(f"expected a JSON object, found {type(row).__name__}")
    if missing := [key for key in KEYS if key not in row]:
        raise ValueError(f"missing {', '.join(map(repr, missing))}; each line needs {', '.join(map(repr, KEYS))}")
    references = row["references"]
    if not isinstance(references, list) or not references:
        raise ValueError('"references" must be a list of at least one text')
    texts = [(key, row[key]) for key in KEYS if key != "references"] + [("references", text) for text in references]
    for key, text in texts:
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f'"{key}" must hold text, found {text!r}')
    if row["seen"] not in ("seen", "unseen"):
        raise ValueError(f'"seen" must be "seen" or "unseen", found {row["seen"]!r}')
    tags = {"category": row["category"], "seen": row["seen"]}
    return Example(source=row["source"], references=tuple(references), tags=tags)


def read(paths: Sequence[Path], split: str) -> Iterator[Example]:
    """Yield the examples of the files in their order; all splits are read alike.

    Raises: ValueError that names file, line number and fault of a damaged line.
    """
    for path in paths:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    yield parse(line)
                except ValueError as error:
                    message = f"{path}, line {number}: {error}. Restore the file: reinstall featherbench."
                    raise ValueError(message) from error


PLACES = Task(
    name="places",
    source="written for featherbench; tasks/places_generator.py",
    licence="CC0-1.0",
    samples_allowed=True,
    version=1,
    files={split: (File(path=f"places/{split}.jsonl", sha256=digest),) for split, digest in SHA256.items()},
    read=read,
    scores=(BLEU,),
    primary="bleu",
    words="describe the place:",
    decoding=Decoding(max_new_tokens=64),
)
