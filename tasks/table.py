"""Rows of JSON Lines and CSV files, and the tasks that a plan describes by such files, without code."""

from __future__ import annotations

import csv
import difflib
import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from featherbench.tasks.base import SPLITS, Decoding, Example, File, Score, Task, grouped, one_line
from featherbench.tasks.metrics.official import E2E_SCORES, XSUM_SCORES

ENDINGS = (".jsonl", ".csv", ".tsv")
"""Of files that `rows` reads; in tasks/files.py also with .gz"""

SCORES: Mapping[str, Score] = {score.name: score for score in (*E2E_SCORES, *XSUM_SCORES)}
"""The scores that a plan may name for its own data"""

TASK_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
"""Of a task that a plan describes; folders of the cache are named after it"""

MEND = "; mend the row or remove it"
"""What to do about one row"""
Row = Mapping[str, Any]


def rows(path: Path) -> Iterator[tuple[int, Row]]:
    """Yield (line number, row) of a file; empty lines of JSON Lines are no rows.

    A CSV field may hold line breaks inside quotes; its row has the number of its last line.
    Raises: ValueError that names file, line number and fault.
    """
    yield from rows_of(path, path.read_bytes())


def rows_of(path: Path, content: bytes) -> Iterator[tuple[int, Row]]:
    """Yield what `rows` does, of a file whose (decompressed) content is known."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path}, line {line}: this is no UTF-8 text ({error.reason}); save it as UTF-8, e.g. by "
            "`iconv -f WINDOWS-1252 -t UTF-8`"
        ) from error
    yield from _json_rows(path, text) if path.suffix == ".jsonl" else _csv_rows(path, text)


def _json_rows(path: Path, text: str) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(text.split("\n"), start=1):  # splitlines would also split at U+2028
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number}: this is no JSON ({error.msg}){MEND}") from error
        if not isinstance(row, dict):
            raise ValueError(f"{path}, line {number}: expected a JSON object, found {type(row).__name__}{MEND}")
        yield number, row


def _csv_rows(path: Path, text: str) -> Iterator[tuple[int, Row]]:
    csv.field_size_limit(2**31 - 1)  # articles are longer than the default
    reader = csv.DictReader(
        io.StringIO(text, newline=""), delimiter="\t" if path.suffix == ".tsv" else ",", strict=True
    )
    try:
        names = reader.fieldnames or []
        other = next((sign for sign in (";", "\t", "|", ",") if len(names) == 1 and sign in names[0]), None)
        if other is not None:
            raise ValueError(
                f"{path}, line 1: its columns seem to be separated by {other!r}. A .csv file has commas between them, a "
                ".tsv file tabs: save it so"
            )
        for row in reader:
            if None in row or None in row.values():
                fields = sum(value is not None for key, value in row.items() if key is not None) + len(
                    row.get(None, [])
                )
                expected = len(reader.fieldnames or ())
                raise ValueError(f"{path}, line {reader.line_num}: expected {expected} fields, found {fields}{MEND}")
            yield reader.line_num, row
    except csv.Error as error:
        begin = reader.line_num + 1  # of the row; quotes that stay open swallow the rest of the file
        raise ValueError(f"{path}, line {begin}: {error}") from error


def value(row: Row, column: str, where: str) -> Any:
    """Return a row's column, or raise a ValueError that names the nearest one."""
    if column in row:
        return row[column]
    near = difflib.get_close_matches(column, list(row), n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"{where}: there is no column {column!r}.{hint} Columns: {', '.join(row)}.")


def text_of(row: Row, column: str, where: str) -> str:
    """Return a row's text as one line, or raise a ValueError if it has none."""
    found = value(row, column, where)
    if not isinstance(found, str) or not found.strip():
        raise ValueError(f"{where}: {column!r} must hold text, found {found!r}{MEND}")
    return one_line(found)


# --- tasks that a plan describes -------------------------------------------------------------------------------------

Definition = Mapping[str, Any]
"""Everything about such a task, in plain JSON values. It travels in every trial, so that any process can read the data:
name; files: split -> {path, sha256, hub}; source, references: columns; tags: columns; words; decoding; scores; primary;
max_source_tokens"""


def identity(definition: Definition) -> dict[str, Any]:
    """Return the definition without what may change with the machine: where the files lie."""
    return {**definition, "files": {split: file["sha256"] for split, file in definition["files"].items()}}


def task_of(definition: Definition) -> Task:
    """Return the task. Its name ends in a hash of definition and contents, so that changed data are another task.

    Raises: ValueError for a name that is none; a store of unknown origin may hold one that leads out of the cache.
    """
    if not re.fullmatch(TASK_NAME, str(definition["name"])):
        raise ValueError(f"{definition['name']!r} is no name of a task")
    stated = json.dumps(identity(definition), sort_keys=True, ensure_ascii=False)
    digest = hashlib.sha256(stated.encode()).hexdigest()[:8]
    files = {split: (File(**definition["files"][split]),) for split in SPLITS}

    def read(paths: Sequence[Path], split: str) -> list[Example]:
        found = [(number, example(row, definition, f"{paths[0]}, line {number}")) for number, row in rows(paths[0])]
        for number, one in found:
            if split != "test" and one.tags.get("seen") == "unseen":
                raise ValueError(f'{paths[0]}, line {number}: only the test may have rows that are "unseen"{MEND}')
        return grouped(one for _, one in found)

    return Task(
        name=f"{definition['name']}@{digest}",
        source=f"the plan's own: {', '.join(files[split][0].hub or files[split][0].path for split in SPLITS)}",
        licence="as its owner says",
        samples_allowed=True,  # whoever wrote the plan has the data, and decides who sees the report
        version=1,
        files=files,
        read=read,
        scores=tuple(SCORES[name] for name in definition["scores"]),
        primary=definition["primary"],
        words=definition["words"],
        decoding=Decoding(**definition["decoding"]),
        max_source_tokens=definition["max_source_tokens"],
        overlap=None,
    )


def given_name(name: str) -> str:
    """Return a task's name as the plan that describes it gave it: without the hash of definition and contents."""
    return name.partition("@")[0]


def example(row: Row, definition: Definition, where: str) -> Example:
    """Return a row as an example, by the definition's columns `source`, `references` and `tags`.

    Raises: ValueError that says where, and what is missing.
    """
    column = definition["references"]
    given = value(row, column, where)
    texts = given if isinstance(given, list) else [given]
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise ValueError(f"{where}: {column!r} must hold a text, or a list of texts, found {given!r}{MEND}")
    tags = {tag: str(value(row, tag, where)) for tag in definition["tags"]}
    if tags.get("seen", "seen") not in ("seen", "unseen"):
        raise ValueError(f'{where}: the tag "seen" must be "seen" or "unseen", found {tags["seen"]!r}{MEND}')
    return Example(source=text_of(row, definition["source"], where), references=tuple(map(one_line, texts)), tags=tags)
