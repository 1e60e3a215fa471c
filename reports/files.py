"""Writes the files of a site. It imports no other file of the reports."""

from __future__ import annotations

from pathlib import Path


def write(path: Path, content: str | bytes) -> None:
    """Write a file, texts as UTF-8 with a lone surrogate escaped; one that has this content is left as it is.

    Most files of a report that is written again are equal, and disks are many times slower in replacing than in reading.
    """
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    try:
        if path.stat().st_size == len(data) and path.read_bytes() == data:
            return
    except FileNotFoundError:
        pass
    path.write_bytes(data)
